"""What the public reported, and what a named person makes of it: linked to a site, up for inspection, or dismissed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from pydantic import BeforeValidator
from shapely import Point
from shapely.geometry import shape
from sqlalchemy import select
from sqlalchemy.orm import Session

from service import errors
from service.api.ledger import SessionDep
from service.errors import ServiceError, describe
from service.language import say
from service.ledger.audit import Actor
from service.ledger.coordinates import footprint, local_metres
from service.ledger.tables import AuditEntry, Site
from service.pages.rendering import page_language, render
from service.pages.sites import may, nameless
from service.people.rights import acting
from service.public.errors import ReportNotFound
from service.public.photographs import ORIGINAL, SHOWN
from service.public.reports import PUBLIC, Decision, report_version
from service.public.tables import GROUNDS, REPORT_STATES, Ground, Report, ReportState
from service.services import Services, ServicesDep

PAGE = 50
NEAR_M, NEAR_COUNT = 500, 5
_SLACK_DEGREES = 0.01

router = APIRouter(include_in_schema=False)

_Empty = BeforeValidator(lambda value: value or None)
IdPath = Annotated[str, Path(max_length=32)]
Text = Annotated[str, Form(max_length=8000)]


@router.get("/reports")
def reports(
    request: Request,
    parts: ServicesDep,
    state: Annotated[ReportState | None, _Empty, Query()] = None,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> HTMLResponse:
    """Those that wait first, the oldest before the others."""
    counts = parts.reports.count()
    if state is None and not request.query_params.get("all") and counts["received"]:
        state = "received"
    total = sum(counts.values()) if state is None else counts[state]
    return render(
        request, "reports.html", parts.settings, rows=parts.reports.page(state, PAGE, offset), state=state,
        counts=counts, states=REPORT_STATES, total=total, everything=sum(counts.values()), offset=offset, page=PAGE,
        public=parts.settings.public == "on", days=parts.settings.report_days,
    )  # fmt: skip


@router.get("/reports/{id}")
def report(id: IdPath, request: Request, session: SessionDep, parts: ServicesDep) -> HTMLResponse:
    """One report, what is near it, what became of it, and the form to decide."""
    return _one(id, request, session, parts)


@router.post("/reports/{id}/decision")
def report_decide(
    id: IdPath,
    request: Request,
    session: SessionDep,
    parts: ServicesDep,
    decision: Annotated[ReportState | None, _Empty, Form()] = None,
    version: Text = "",
    site: Text = "",
    ground: Annotated[Ground | None, _Empty, Form()] = None,
    note: Text = "",
    person: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Records what a named person decided."""
    given = {"decision": decision or "", "site": site, "ground": ground or "", "note": note, "person": person}
    try:
        actor = acting(request, Actor(person.strip()) if person.strip() else None)
        parts.reports.decide(id, version, Decision(decision or "received", site, ground, note), actor)
    except ReportNotFound:
        raise
    except ServiceError as error:
        return _one(id, request, session, parts, error, given)
    return RedirectResponse(f"/reports/{id}", 303)


@router.get("/reports/{id}/photo.jpg")
def report_photograph(id: IdPath, parts: ServicesDep) -> FileResponse:
    """The photograph without anything the camera wrote."""
    return _file(parts, id, SHOWN, "image/jpeg")


@router.get("/reports/{id}/original")
def report_original(id: IdPath, parts: ServicesDep) -> FileResponse:
    """The photograph byte for byte. Closed unless `JINGDI_SERVE_ORIGINALS` opens it."""
    if not parts.settings.serve_originals:
        raise errors.OriginalsClosed
    return _file(parts, id, ORIGINAL, "application/octet-stream")


def _file(parts: Services, report_id: str, name: str, media_type: str) -> FileResponse:
    path = parts.reports.photographs.path(parts.reports.get(report_id).id, name)
    if path is None:
        raise ReportNotFound
    attached = f"report-{report_id[:8]}" if name == ORIGINAL else None
    return FileResponse(path, media_type=media_type, filename=attached, headers={"Cache-Control": "private, no-store"})


@dataclass(frozen=True, slots=True)
class Near:
    """A site near a report, and how far its edge is."""

    code: str
    street: str | None
    metres: int


@dataclass(frozen=True, slots=True)
class Step:
    """A step in the history of a report. `actor` None is the public."""

    at: datetime
    actor: str | None
    text: str
    hash: str


def _one(
    report_id: str, request: Request, session: Session, parts: Services, error: ServiceError | None = None,
    given: dict[str, str] | None = None,
) -> HTMLResponse:  # fmt: skip
    found, language = parts.reports.get(report_id), page_language(request, parts.settings.languages)
    problem = describe(error, language, parts.settings.max_bytes) if error else None
    empty = {"decision": "", "site": found.site.code if found.site else "", "ground": "", "note": "", "person": ""}
    return render(
        request, "report.html", parts.settings, status_code=problem.status if problem else 200, report=found,
        problem=problem, given=given or empty, version=report_version(found), near=_near(session, found),
        near_m=NEAR_M, history=_history(session, found, language), grounds=GROUNDS, nameless=nameless(request),
        erase_on=(found.received_at + timedelta(days=parts.settings.report_days)).date(),
        original=parts.settings.serve_originals and may(request, "originals"),
    )  # fmt: skip


def _near(session: Session, found: Report) -> list[Near]:
    """The nearest sites of the point that was given."""
    if found.lon is None or found.lat is None:
        return []
    lon, lat, slack = found.lon, found.lat, _SLACK_DEGREES
    box = (Site.west <= lon + slack, Site.east >= lon - slack, Site.south <= lat + slack, Site.north >= lat - slack)
    metres, here = local_metres(lon, lat), Point(0, 0)
    rows = session.execute(select(Site.code, Site.street, Site.geometry, Site.radius_m).where(*box))
    found_near = []
    for row in rows:
        edge = metres.export_geometry(footprint(shape(row.geometry), row.radius_m))
        found_near.append(Near(row.code, row.street, round(edge.distance(here))))
    within = [each for each in found_near if each.metres <= NEAR_M]
    return sorted(within, key=lambda each: (each.metres, each.code))[:NEAR_COUNT]


def _history(session: Session, found: Report, language: str) -> list[Step]:
    entries = session.scalars(
        select(AuditEntry).where(AuditEntry.subject == f"report:{found.id}").order_by(AuditEntry.number)
    )
    return [
        Step(entry.at, None if entry.actor == PUBLIC.name else entry.actor, _step(entry, language), entry.hash)
        for entry in entries
    ]


def _step(entry: AuditEntry, language: str) -> str:
    detail: dict[str, Any] = json.loads(entry.detail)
    ground = say(language, f"public.report.ground.{detail['ground']}") if detail.get("ground") else ""
    step = entry.action.removeprefix("report.")
    return say(language, f"reports.one.step_{step}", site=detail.get("site") or "", ground=ground)
