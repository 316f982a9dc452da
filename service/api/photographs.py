"""What the interface adds for photographs: another try, the earlier one as a ghost, a person's check, originals."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from service import derivatives, errors, privacy
from service.api.pairs import NO_PAIR, multipart
from service.database import PairRow
from service.idempotency import IdempotentRoute, new_id
from service.intake import Upload
from service.ledger.audit import Actor
from service.openapi import problems
from service.people.rights import acting
from service.schemas import CheckIn, PairOut
from service.services import PairDep, Services, ServicesDep

router = APIRouter(prefix="/api/v1", tags=["photographs"], route_class=IdempotentRoute)


class RetakeForm(BaseModel):
    """The new photograph."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[UploadFile, Field(description="The later picture, taken again.")]


def ghost(row: PairRow, parts: Services) -> None:
    """The earlier photograph of the pair is there to be laid over a camera's view.

    Raises:
        NotFinished: not yet.
        NoGhost: the pair is none of photographs.
    """
    if row.status in ("queued", "running"):
        raise errors.NotFinished
    if not (parts.storage.folder(row.id) / derivatives.GHOST).is_file():
        raise errors.NoGhost


@router.get(
    "/pairs/{id}/ghost.jpg",
    operation_id="readGhost",
    summary="Earlier photograph, to be laid over the view of a camera",
    response_class=FileResponse,
    responses={
        200: {"content": {"image/jpeg": {}}},
        **problems(s404=f"{NO_PAIR} Or it is none of photographs.", s409="The comparison is not finished."),
    },
)
def read_ghost(row: PairDep, parts: ServicesDep) -> FileResponse:
    """Upright and without metadata; there even where the pair was refused."""
    ghost(row, parts)
    path = parts.storage.folder(row.id) / derivatives.GHOST
    return FileResponse(path, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


@router.post(
    "/pairs/{id}/retake",
    operation_id="retakeAfter",
    summary="Submit another later photograph",
    status_code=202,
    dependencies=[Depends(multipart)],
    responses={
        202: {"headers": {"Location": {"description": "Address of the new pair.", "schema": {"type": "string"}}}},
        **problems(
            s404=f"{NO_PAIR} Or it is none of photographs.",
            s409="The comparison is not finished.",
            s413="The picture is too large.",
            s415="The file is not a picture, or the request is not a multipart form.",
            s422="The picture or a field cannot be used. Nothing was stored.",
            s503="The model is not available.",
        ),
    },
)
def retake(
    form: Annotated[RetakeForm, Form(media_type="multipart/form-data")],
    row: PairDep,
    parts: ServicesDep,
    request: Request,
    response: Response,
) -> PairOut:
    """Makes a new pair of the earlier photograph of this one and the one sent; this one stays as it is."""
    ghost(row, parts)
    if parts.intake is None:
        raise errors.ModelUnavailable
    new = parts.intake.retake(row, Upload(form.after.filename or "", form.after.file), new_id(request))
    response.headers["Location"] = request.app.url_path_for("read_pair", id=new.id)
    return PairOut.of(new)


@router.put(
    "/pairs/{id}/check",
    operation_id="checkPair",
    summary="Say that nothing in the pictures must be kept from the public",
    responses=problems(
        s403="Only a named person can say so.",
        s404=NO_PAIR,
        s409="The comparison is not finished.",
        s422="Something is missing.",
    ),
)
def check(body: CheckIn, row: PairDep, parts: ServicesDep, request: Request) -> PairOut:
    """A named person has looked at both pictures. Until then the pair is not `publishable`. Goes into the audit log."""
    actor = acting(request, Actor(body.person.strip()) if body.person else None)
    if not actor.person:
        raise errors.PersonRequired
    if not privacy.check(parts.pairs, row.id, actor):
        raise errors.NotFinished
    return _again(row, parts)


@router.delete(
    "/pairs/{id}/check",
    operation_id="uncheckPair",
    summary="Take that back",
    responses=problems(s403="Only a named person can do so.", s404=NO_PAIR, s422="Nobody is named."),
)
def uncheck(
    row: PairDep,
    parts: ServicesDep,
    request: Request,
    person: Annotated[
        str | None, Query(min_length=1, max_length=64, description="Who takes it back; only without accounts.")
    ] = None,
) -> PairOut:
    """The pair is no longer `publishable`. Goes into the audit log."""
    actor = acting(request, Actor(person.strip()) if person else None)
    if not actor.person:
        raise errors.PersonRequired
    privacy.uncheck(parts.pairs, row.id, actor)
    return _again(row, parts)


def _again(row: PairRow, parts: Services) -> PairOut:
    found = parts.pairs.get(row.id)
    if found is None:
        raise errors.PairNotFound
    return PairOut.of(found)


@router.get(
    "/pairs/{id}/original/{side}",
    operation_id="readOriginal",
    summary="Picture as it was uploaded",
    response_class=FileResponse,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        **problems(s403="This service does not give out originals.", s404=NO_PAIR),
    },
)
def read_original(side: Literal["before", "after"], row: PairDep, parts: ServicesDep) -> FileResponse:
    """Byte for byte, with everything the camera wrote into it. Closed unless `JINGDI_SERVE_ORIGINALS` opens it."""
    if not parts.settings.serve_originals:
        raise errors.OriginalsClosed
    name = row.before_name if side == "before" else row.after_name
    path = parts.storage.folder(row.id) / side
    return FileResponse(path, media_type="application/octet-stream", filename=name or side)
