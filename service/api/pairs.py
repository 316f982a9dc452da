"""The HTTP interface, version 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from inference.compare import Asked
from inference.domain import KindAsked
from inference.site import Site
from service import derivatives, errors
from service.corrections import review as corrections
from service.database import PairRow
from service.idempotency import IdempotentRoute, new_id
from service.intake import Upload
from service.language import negotiate
from service.openapi import problems
from service.pages.rendering import page_language
from service.printing.errors import NoResult
from service.printing.pair_pdf import pair_pdf
from service.schemas import PairOut, PairPage, PairSummary
from service.services import PairDep, ServicesDep

router = APIRouter(prefix="/api/v1", tags=["pairs"], route_class=IdempotentRoute)


NO_PAIR = "No pair has this id."


class PairForm(BaseModel):
    """The two pictures. A misspelt field is refused: a `gsd` that is overlooked would change the result."""

    model_config = ConfigDict(extra="forbid")

    before: Annotated[UploadFile, Field(description="The earlier picture: JPEG, PNG, WebP, HEIC, TIFF or GeoTIFF.")]
    after: Annotated[UploadFile, Field(description="The later picture.")]
    gsd: Annotated[float | None, Field(description="Metres on the ground per pixel, where the files do not say.")] = (
        None
    )
    kind: Annotated[
        KindAsked,
        Field(
            description="`overhead` for satellite and aerial imagery, `photos` for photographs taken by hand; `auto` "
            "goes by georeference, `gsd`, what cameras wrote into the files, and what the pictures look like."
        ),
    ] = "auto"
    site: Annotated[
        str | None,
        Field(
            description="Where photographs should have been taken, WGS-84: GeoJSON (Polygon, MultiPolygon, or a "
            "Feature with one) or `longitude,latitude,radius in metres`. Photographs from elsewhere are refused.",
            max_length=100_000,
        ),
    ] = None


def multipart(request: Request) -> None:
    """Dependency: the body is a multipart form."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise errors.WrongMediaType


@router.post(
    "/pairs",
    operation_id="createPair",
    summary="Submit a pair",
    status_code=202,
    dependencies=[Depends(multipart)],
    responses={
        202: {"headers": {"Location": {"description": "Address of the pair.", "schema": {"type": "string"}}}},
        **problems(
            s413="A picture is too large.",
            s415="A file is not a picture, or the request is not a multipart form.",
            s422="A picture or a field cannot be used. Nothing was stored.",
            s503="The model is not available.",
        ),
    },
)
def create_pair(
    form: Annotated[PairForm, Form(media_type="multipart/form-data")],
    parts: ServicesDep,
    request: Request,
    response: Response,
) -> PairOut:
    """Checks and stores both pictures, then compares them in the background. See `Location` for the result."""
    if parts.intake is None:
        raise errors.ModelUnavailable
    before, after = (Upload(file.filename or "", file.file) for file in (form.before, form.after))
    asked = Asked(form.kind, Site.parse(form.site) if form.site else None)
    row = parts.intake.submit(before, after, form.gsd, asked, new_id(request))
    response.headers["Location"] = request.app.url_path_for("read_pair", id=row.id)
    return PairOut.of(row)


@router.get(
    "/pairs",
    operation_id="listPairs",
    summary="List pairs, newest first",
    responses=problems(s422="A parameter cannot be used."),
)
def list_pairs(
    parts: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=100, description="How many.")] = 20,
    offset: Annotated[int, Query(ge=0, le=1_000_000, description="How many to skip.")] = 0,
) -> PairPage:
    """Where each pair stands, without its report."""
    rows = parts.pairs.recent(limit, offset)
    items = [PairSummary.of(row) for row in rows]
    return PairPage(items=items, total=parts.pairs.count(), limit=limit, offset=offset)


@router.get(
    "/pairs/{id}",
    operation_id="readPair",
    summary="Read a pair",
    responses=problems(s404=NO_PAIR),
)
def read_pair(row: PairDep, parts: ServicesDep, request: Request) -> PairOut:
    """Where the pair stands and, once it is `done`, the report."""
    return PairOut.of(row, negotiate(request.headers.get("accept-language"), parts.settings.languages))


@router.delete(
    "/pairs/{id}",
    operation_id="deletePair",
    summary="Delete a pair",
    status_code=204,
    responses=problems(s404=NO_PAIR),
)
def delete_pair(row: PairDep, parts: ServicesDep) -> None:
    """Deletes the pictures and everything derived from them. A running comparison is abandoned."""
    if not parts.pairs.remove(row.id):
        raise errors.PairNotFound
    parts.storage.remove(row.id)


def _serve(name: str, media_type: str) -> Callable[[PairRow, ServicesDep], FileResponse]:
    def serve(row: PairDep, parts: ServicesDep) -> FileResponse:
        if row.status in ("queued", "running"):
            raise errors.NotFinished
        path = parts.storage.folder(row.id) / name
        if not path.is_file():
            raise errors.NoImagery
        return FileResponse(path, media_type=media_type, headers={"Cache-Control": "private, max-age=3600"})

    return serve


for _name, _media_type, _operation, _summary, _description in (
    (derivatives.BEFORE, "image/jpeg", "readBefore", "Earlier picture", "Upright and without metadata."),
    (derivatives.AFTER, "image/jpeg", "readAfter", "Later picture", "Laid over the earlier one."),
    (derivatives.OVERLAY, "image/png", "readOverlay", "Marked picture", "The later picture, findings drawn in."),
    (derivatives.THUMB, "image/jpeg", "readThumb", "Both pictures, small", "Side by side, earlier one left."),
    (derivatives.GEOJSON, "application/geo+json", "readFindings", "Findings as GeoJSON", "RFC 7946, in WGS-84."),
):
    router.add_api_route(
        f"/pairs/{{id}}/{_name}",
        _serve(_name, _media_type),
        operation_id=_operation,
        name=_operation,
        summary=_summary,
        description=_description,
        response_class=FileResponse,
        responses={
            200: {"content": {_media_type: {}}},
            **problems(
                s404="No pair has this id, or it was refused before both pictures lay on one grid.",
                s409="The comparison is not finished.",
            ),
        },
    )


@router.get(
    "/pairs/{id}/report.pdf",
    operation_id="readReport",
    summary="Report as PDF",
    response_class=Response,
    responses={
        200: {"content": {"application/pdf": {}}},
        **problems(s404=f"{NO_PAIR} Or it came to no result.", s409="The comparison is not finished."),
    },
)
def read_report(row: PairDep, parts: ServicesDep, request: Request) -> Response:
    """What the page of the pair says, on paper, in the language chosen there or the one that `Accept-Language` prefers.

    The same bytes each time. Photographs are in it once a person has checked them.
    """
    if row.status in ("queued", "running"):
        raise errors.NotFinished
    if row.status == "failed":
        raise NoResult
    language = page_language(request, parts.settings.languages)
    headers = {
        "Content-Disposition": f'inline; filename="jingdi-{row.id[:8]}.pdf"',
        "Content-Language": language,
        "Cache-Control": "private, no-cache",
        "Vary": "Accept-Language, Cookie",
    }
    with Session(parts.pairs.engine) as session:
        review = corrections.read(session, row.id)
    content = pair_pdf(row, parts.storage.folder(row.id), language, review)
    return Response(content, media_type="application/pdf", headers=headers)
