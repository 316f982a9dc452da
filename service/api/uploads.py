"""The HTTP interface of uploads in pieces, as tus 1.0.0 has it: begin, ask how far it is, go on, give up."""

from __future__ import annotations

import base64
import binascii
from email.utils import format_datetime
from tempfile import SpooledTemporaryFile
from typing import Annotated, BinaryIO, cast

import anyio
from fastapi import APIRouter, Depends, Header, Path, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from service.field.errors import TUS, UploadOffset, UploadRefused
from service.field.tables import Upload
from service.field.uploads import Uploads
from service.idempotency import IdempotentRoute, new_id
from service.openapi import problems
from service.services import ServicesDep

router = APIRouter(prefix="/api/v1/uploads", tags=["field"], route_class=IdempotentRoute)

NO_UPLOAD = "Whoever asks has no such upload, or it has expired."
PIECE = "application/offset+octet-stream"
_IN_MEMORY = 2**20


def uploads(parts: ServicesDep) -> Uploads:
    """Dependency: the uploads of the service."""
    return Uploads(parts.pairs.engine, parts.settings.data_dir / "uploads", parts.settings.max_bytes)


UploadsDep = Annotated[Uploads, Depends(uploads)]


def person(request: Request) -> str:
    """Whose uploads are meant: of whoever is signed in."""
    return str(request.state.signed_in.name)


def known_upload(
    kept: UploadsDep, request: Request, id: Annotated[str, Path(max_length=32, description="Id of an upload.")]
) -> Upload:
    """Dependency: the upload in the address.

    Raises:
        UploadNotFound: whoever asks has none such.
    """
    return kept.find(id, person(request))


UploadDep = Annotated[Upload, Depends(known_upload)]
_NUMBER = {"schema": {"type": "integer"}}
_HEADERS = {
    "Upload-Offset": {"description": "Bytes that are safely here.", **_NUMBER},
    "Upload-Expires": {"description": "When it is forgotten.", "schema": {"type": "string"}},
}


def _state(upload: Upload) -> dict[str, str]:
    return {
        "Tus-Resumable": TUS,
        "Upload-Offset": str(upload.received),
        "Upload-Length": str(upload.length),
        "Upload-Expires": format_datetime(upload.expires_at, usegmt=True),
        "Cache-Control": "no-store",
    }


@router.post(
    "",
    operation_id="createUpload",
    summary="Begin an upload",
    status_code=201,
    response_class=Response,
    responses={
        201: {"headers": {"Location": {"description": "Where to send pieces.", "schema": {"type": "string"}}}},
        **problems(
            s413="The file is too large.",
            s422="`Upload-Length` or `Upload-Metadata` makes no sense.",
            s429="Too many unfinished uploads.",
        ),
    },
)
def create_upload(
    kept: UploadsDep,
    request: Request,
    upload_length: Annotated[int, Header(description="Bytes in all.")],
    upload_metadata: Annotated[
        str, Header(max_length=2000, description="Pairs of a key and a value in base64; `filename` is used.")
    ] = "",
) -> Response:
    """Nothing is sent yet: pieces go to the address in `Location`."""
    name = metadata(upload_metadata).get("filename", "")
    row = kept.begin(new_id(request), person(request), name, upload_length)
    return Response(status_code=201, headers={"Location": f"{router.prefix}/{row.id}", **_state(row)})


@router.head(
    "/{id}",
    operation_id="readUpload",
    summary="How far an upload is",
    response_class=Response,
    responses={200: {"headers": _HEADERS}, **problems(s404=NO_UPLOAD)},
)
def read_upload(upload: UploadDep) -> Response:
    """`Upload-Offset` says where the next piece begins."""
    return Response(headers=_state(upload))


@router.patch(
    "/{id}",
    operation_id="appendUpload",
    summary="Send a piece",
    status_code=204,
    response_class=Response,
    responses={
        204: {"headers": _HEADERS},
        **problems(
            s404=NO_UPLOAD,
            s409="The piece does not begin where the upload ends.",
            s422=f"The piece is no `{PIECE}`, or longer than what is missing.",
        ),
    },
)
async def append_upload(
    upload: UploadDep,
    kept: UploadsDep,
    request: Request,
    upload_offset: Annotated[int, Header(description="Where the piece begins.")],
) -> Response:
    """The body is the piece. If the line breaks off, what has come till then counts."""
    if request.headers.get("content-type") != PIECE:
        raise UploadRefused("upload_malformed")
    if upload_offset != upload.received:
        raise UploadOffset
    with SpooledTemporaryFile(max_size=_IN_MEMORY) as piece:
        try:
            async for chunk in request.stream():
                if piece.tell() + len(chunk) > upload.length - upload_offset:
                    raise UploadRefused("upload_too_long")
                piece.write(chunk)
        except ClientDisconnect:
            pass  # nobody reads the answer, but what came is not lost
        piece.seek(0)
        with anyio.CancelScope(shield=True):
            upload = await run_in_threadpool(kept.append, upload, upload_offset, cast(BinaryIO, piece))
    return Response(status_code=204, headers=_state(upload))


@router.delete(
    "/{id}",
    operation_id="deleteUpload",
    summary="Give an upload up",
    status_code=204,
    response_class=Response,
    responses=problems(s404=NO_UPLOAD),
)
def delete_upload(upload: UploadDep, kept: UploadsDep) -> Response:
    """What has come is deleted."""
    kept.drop(upload.id)
    return Response(status_code=204, headers={"Tus-Resumable": TUS})


def metadata(header: str) -> dict[str, str]:
    """`Upload-Metadata`: pairs, separated by commas, of a key and a value in base64.

    Raises:
        UploadRefused: `upload_malformed`.
    """
    found = {}
    for pair in filter(None, (part.strip() for part in header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError):
            raise UploadRefused("upload_malformed") from None
    return found
