"""The HTTP interface of the field: what somebody is sent to, and photographs taken there."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import FileResponse, Response

from inference.decode import read_raster
from inference.reasons import InputError
from inference.render import encode_jpeg
from service import derivatives, errors
from service.api.ledger import NO_ALERT, IdPath, SessionDep
from service.api.uploads import UploadsDep, person
from service.field import photographs
from service.field.duty import duties
from service.field.errors import PhotographNotFound
from service.field.photographs import Photographs
from service.field.schemas import DutyList, DutyOut, PhotographIn, PhotographOut
from service.idempotency import IdempotentRoute
from service.ledger.tables import Alert
from service.openapi import problems
from service.people.rights import acting
from service.services import ServicesDep

log = logging.getLogger("jingdi")

router = APIRouter(prefix="/api/v1/field", tags=["field"], route_class=IdempotentRoute)

KEPT = {"Cache-Control": "private, max-age=3600"}
JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}}


def known_alert(session: SessionDep, id: IdPath) -> Alert:
    """Dependency: the alert in the address.

    Raises:
        AlertNotFound: there is none.
    """
    alert = session.get(Alert, id)
    if alert is None:
        raise errors.AlertNotFound
    return alert


AlertDep = Annotated[Alert, Depends(known_alert)]


def album(parts: ServicesDep) -> Photographs:
    """Dependency: the photographs of the service."""
    return Photographs(parts.pairs.engine, parts.settings.data_dir / "photographs", parts.settings.limits)


AlbumDep = Annotated[Photographs, Depends(album)]


@router.get("/alerts", operation_id="listDuties", summary="List what one is sent to")
def list_duties(session: SessionDep, parts: ServicesDep, kept: AlbumDep, request: Request) -> DutyList:
    """Dispatched alerts of one's own sites, the most urgent first; for reviewers those of all sites."""
    asking = request.state.signed_in
    items = []
    for alert in duties(session, asking):
        before = photographs.earlier(session, kept, parts.storage, alert)
        address = request.app.url_path_for("read_earlier", id=alert.id) if before else None
        items.append(DutyOut.of(session, alert, parts.settings.scene_folders, address))
    return DutyList(person=asking.name, at=datetime.now(UTC), items=items)


@router.get(
    "/alerts/{id}/earlier.jpg",
    operation_id="readEarlier",
    summary="Earlier photograph of the place, to be laid over the view of a camera",
    response_class=Response,
    responses={**JPEG, **problems(s404=f"{NO_ALERT} Or there is no earlier photograph.")},
)
def read_earlier(alert: AlertDep, session: SessionDep, parts: ServicesDep, kept: AlbumDep) -> Response:
    """Upright and without metadata: of the last visit, else of the acceptance."""
    path = photographs.earlier(session, kept, parts.storage, alert)
    if path is None:
        raise PhotographNotFound
    pixels = read_raster(path, limits=parts.settings.limits, photograph=True).pixels
    return Response(encode_jpeg(derivatives.view(pixels, derivatives.GHOST_PX)), media_type="image/jpeg", headers=KEPT)


@router.post(
    "/alerts/{id}/photographs",
    operation_id="takePhotograph",
    summary="Add a photograph to an alert",
    status_code=201,
    responses=problems(
        s403="Nobody is named.",
        s404=f"{NO_ALERT} Or whoever asks has no such upload.",
        s409="The upload has not arrived in full.",
        s413="The picture is too large.",
        s415="The upload is no picture.",
        s422="The picture or a field cannot be used.",
    ),
)
def take_photograph(
    body: PhotographIn, alert: AlertDep, session: SessionDep, parts: ServicesDep, uploads: UploadsDep, kept: AlbumDep,
    request: Request,
) -> PhotographOut:  # fmt: skip
    """Made of an upload, whose id it takes over. It is compared with the earlier photograph of the place, if any."""
    actor = acting(request, body.actor.actor if body.actor else None)
    if not actor.person:
        raise errors.PersonRequired
    row = kept.find(body.upload)
    if row is None or row.taken_by != actor.name:
        upload = uploads.find(body.upload, person(request))
        row = kept.take(uploads, upload, alert.id, actor, body.taken_at, body.sha256)
    before = photographs.earlier(session, kept, parts.storage, alert)
    if before is not None and parts.intake is not None:
        try:
            photographs.compare(parts.intake, row, before, kept.file(row.id, photographs.ORIGINAL))
        except InputError:
            log.warning("photograph %s cannot be compared with the earlier one", row.id)
    return PhotographOut.of(row, compared=parts.pairs.get(row.id) is not None)


@router.get(
    "/photographs/{id}.jpg",
    operation_id="readPhotograph",
    summary="A photograph taken at a site",
    response_class=FileResponse,
    responses={**JPEG, **problems(s404="No photograph has this id.")},
)
def read_photograph(
    id: Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Id of a photograph.")], kept: AlbumDep
) -> FileResponse:
    """Upright and without metadata."""
    path = kept.file(id, photographs.SHOWN)
    return FileResponse(path, media_type="image/jpeg", headers=KEPT)
