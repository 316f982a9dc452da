"""The HTTP interface of the ledger: sites, their history and transitions, alerts, candidates, import and export."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Query, Request, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from service import errors
from service.api.pairs import multipart
from service.idempotency import IdempotentRoute
from service.language import negotiate
from service.ledger import listing
from service.ledger.audit import Actor, writing
from service.ledger.exporting import MEDIA_TYPES, export_ledger
from service.ledger.filters import Filter
from service.ledger.importing import import_ledger
from service.ledger.reading import MAX_BYTES
from service.ledger.rebound import take_in, tell
from service.ledger.schemas import (
    AlertOut,
    AlertPage,
    AlertTransitionIn,
    CandidateOut,
    CandidatePage,
    DecisionOut,
    HistoryOut,
    ImportOut,
    Name,
    ObservationOut,
    ScanIn,
    SiteOut,
    SitePage,
    SiteTransitionIn,
    TakenOut,
)
from service.ledger.states import move_alert, move_site
from service.ledger.tables import Alert, AlertState, Candidate, Decision, Observation, Site
from service.ledger.watch import rank
from service.openapi import problems
from service.people.rights import acting
from service.services import ServicesDep

router = APIRouter(prefix="/api/v1/ledger", tags=["ledger"], route_class=IdempotentRoute)

NO_SITE, NO_ALERT = "No site has this code.", "No alert has this id."
REFUSED = problems(
    s403="Only a named person may take this step, or another person has to.",
    s409="No such step, not enough looks, or the state is no longer what was expected.",
    s422="The request, its reason or its evidence cannot be used.",
)


def reading(parts: ServicesDep) -> Iterator[Session]:
    """Dependency: a session to read with."""
    with Session(parts.pairs.engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(reading)]
CodePath = Annotated[str, Path(description="Code of a site.", max_length=64)]
IdPath = Annotated[str, Path(description="Id of an alert.", max_length=32)]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many.")]
Offset = Annotated[int, Query(ge=0, le=1_000_000, description="How many to skip.")]


def find_site(session: Session, code: str) -> Site:
    """The site with this code, and its courtyard.

    Raises:
        SiteNotFound: there is none.
    """
    site = session.scalar(select(Site).where(Site.code == code).options(joinedload(Site.courtyard)))
    if site is None:
        raise errors.SiteNotFound
    return site


def _alert(session: Session, alert_id: str) -> Alert:
    alert = session.get(Alert, alert_id)
    if alert is None:
        raise errors.AlertNotFound
    return alert


@router.get("/sites", operation_id="listSites", summary="List sites", responses=problems(s422="A parameter is wrong."))
def list_sites(
    session: SessionDep,
    asked: Annotated[Filter, Query()],
    limit: Limit = 100,
    offset: Offset = 0,
) -> SitePage:
    """Sites by code."""
    wanted = asked.wanted(datetime.now(UTC))
    items = [SiteOut.of(site) for site in listing.sites(session, wanted, limit=limit, offset=offset)]
    return SitePage(items=items, total=listing.count(session, wanted), limit=limit, offset=offset)


@router.get("/sites/{code}", operation_id="readSite", summary="Read a site", responses=problems(s404=NO_SITE))
def read_site(code: CodePath, session: SessionDep) -> SiteOut:
    """The entry of one site."""
    return SiteOut.of(find_site(session, code))


@router.get(
    "/sites/{code}/history",
    operation_id="readSiteHistory",
    summary="History of a site",
    responses=problems(s404=NO_SITE),
)
def read_history(code: CodePath, session: SessionDep) -> HistoryOut:
    """All that was seen of the site, and all that people decided about it."""
    site = find_site(session, code)
    looks = session.scalars(
        select(Observation).where(Observation.site_id == site.id).order_by(Observation.observed_at, Observation.id)
    )
    decisions = session.scalars(
        select(Decision).where(Decision.site_id == site.id).order_by(Decision.decided_at, Decision.id)
    )
    return HistoryOut(
        observations=[ObservationOut.model_validate(each, from_attributes=True) for each in looks],
        decisions=[DecisionOut.model_validate(each, from_attributes=True) for each in decisions],
    )


@router.post(
    "/sites/{code}/transitions",
    operation_id="moveSite",
    summary="Change the state of a site",
    responses={**problems(s404=NO_SITE), **REFUSED},
)
def move_a_site(code: CodePath, step: SiteTransitionIn, parts: ServicesDep, request: Request) -> SiteOut:
    """One step of `open -> claimed_clear -> accepted -> watched -> rebound_suspected -> rebound_confirmed -> open`.

    Accepting needs a verdict `clear` as evidence, and another person than the one who claimed the site clear.
    """
    actor = acting(request, step.actor.actor if step.actor else None)
    with writing(parts.pairs.engine) as session:
        site = find_site(session, code)
        cited = [each.evidence for each in step.evidence]
        move_site(session, site, step.expected, step.target, actor, step.reason, evidence=cited)
        return SiteOut.of(site)


@router.get(
    "/alerts", operation_id="listAlerts", summary="List alerts", responses=problems(s422="A parameter is wrong.")
)
def list_alerts(
    session: SessionDep,
    state: Annotated[AlertState | None, Query(description="Only in this state.")] = None,
    site: Annotated[str | None, Query(max_length=64, description="Only of the site with this code.")] = None,
    inspector: Annotated[str | None, Query(max_length=64, description="Only of sites of this inspector.")] = None,
    limit: Limit = 100,
) -> AlertPage:
    """Alerts, the most urgent first: closed sites, then probability, then area."""
    query = select(Alert).join(Alert.site).options(joinedload(Alert.site))
    for column, value in ((Alert.state, state), (Site.code, site), (Site.inspector, inspector)):
        query = query if value is None else query.where(column == value)
    found = sorted(session.scalars(query), key=rank)
    return AlertPage(items=[AlertOut.of(alert) for alert in found[:limit]], total=len(found))


@router.get("/alerts/{id}", operation_id="readAlert", summary="Read an alert", responses=problems(s404=NO_ALERT))
def read_alert(id: IdPath, session: SessionDep) -> AlertOut:
    """One alert. Its looks are in the history of its site."""
    return AlertOut.of(_alert(session, id))


@router.post(
    "/alerts/{id}/transitions",
    operation_id="moveAlert",
    summary="Change the state of an alert",
    responses={**problems(s404=NO_ALERT), **REFUSED},
)
def move_an_alert(id: IdPath, step: AlertTransitionIn, parts: ServicesDep, request: Request) -> AlertOut:
    """One step of `suspected -> corroborated -> dispatched -> confirmed | dismissed -> closed`.

    Corroborating takes two looks, or one look and a person. The site goes along.
    """
    actor = acting(request, step.actor.actor if step.actor else None)
    with writing(parts.pairs.engine) as session:
        alert = _alert(session, id)
        cited = [each.evidence for each in step.evidence]
        move_alert(session, alert, step.expected, step.target, actor, step.reason, evidence=cited)
        tell(session, alert)
        return AlertOut.of(alert)


@router.post(
    "/scans",
    operation_id="takeInScan",
    summary="Lay a scan over the ledger",
    responses=problems(s422="A field, a finding or an outline cannot be used. Nothing was written."),
)
def take_in_a_scan(scan: ScanIn, parts: ServicesDep) -> TakenOut:
    """Findings on closed sites become alerts, findings outside the ledger candidates; what was not seen stays unseen.

    Inspectors are told of an alert once it was seen twice, within their budget of the day. The same scene again
    changes nothing.
    """
    return TakenOut.of(take_in(parts.pairs.engine, scan.scan, parts.settings.alert_budget, record=scan.record))


@router.get(
    "/candidates",
    operation_id="listCandidates",
    summary="List candidates",
    responses=problems(s422="A parameter is wrong."),
)
def list_candidates(session: SessionDep, limit: Limit = 100, offset: Offset = 0) -> CandidatePage:
    """Findings outside the ledger, seen last first. Nobody is sent to them."""
    query = select(Candidate).order_by(Candidate.last_seen_at.desc(), Candidate.id).limit(limit).offset(offset)
    items = [CandidateOut.model_validate(each, from_attributes=True) for each in session.scalars(query)]
    total = session.scalar(select(func.count()).select_from(Candidate)) or 0
    return CandidatePage(items=items, total=total, limit=limit, offset=offset)


class ImportForm(BaseModel):
    """A ledger file and how to take it. A misspelt field is refused."""

    model_config = ConfigDict(extra="forbid")

    file: Annotated[UploadFile, Field(description="CSV (UTF-8 or GB18030), xlsx, GeoJSON or GeoPackage.")]
    crs: Annotated[str, Field(max_length=40, description="WGS-84, CGCS2000, GCJ-02, BD-09 or EPSG:n.")]
    actor: Annotated[
        Name | None, Field(description="Who answers for it; only without accounts, not for a dry run.")
    ] = None
    dry_run: Annotated[bool, Field(description="Check only.")] = True
    skip_bad: Annotated[bool, Field(description="Write the good rows although others are bad.")] = False


@router.post(
    "/import",
    operation_id="importLedger",
    summary="Import a ledger file",
    dependencies=[Depends(multipart)],
    responses=problems(
        s403="A named person has to answer for an import.",
        s413="The file is too large.",
        s415="The request is not a multipart form.",
        s422="A field is wrong, or rows cannot be imported. Nothing was written; a dry run lists every row's problem.",
    ),
)
def import_file(
    form: Annotated[ImportForm, Form(media_type="multipart/form-data")], parts: ServicesDep, request: Request
) -> ImportOut:
    """A dry run unless told otherwise. Lists every row's problem with cause and remedy."""
    actor = acting(request, Actor(form.actor or ""))
    data = form.file.file.read(MAX_BYTES + 1)
    report = import_ledger(
        parts.pairs.engine, data, form.crs, actor, file_name=form.file.filename or "",
        dry_run=form.dry_run, skip_bad=form.skip_bad,
    )  # fmt: skip
    if not form.dry_run and not report.written:
        raise errors.LedgerRowsRefused
    language = negotiate(request.headers.get("accept-language"), parts.settings.languages)
    return ImportOut.of(report, language)


def _export(kind: str) -> Callable[[SessionDep, Filter], Response]:
    def export(session: SessionDep, asked: Annotated[Filter, Query()]) -> Response:
        headers = {"Content-Disposition": f'attachment; filename="ledger.{kind}"', "Cache-Control": "no-store"}
        data = export_ledger(session, kind, wanted=asked.wanted(datetime.now(UTC)))
        return Response(data, media_type=MEDIA_TYPES[kind], headers=headers)

    return export


for _kind, _media_type in MEDIA_TYPES.items():
    _content: dict[str, Any] = {_media_type.split(";")[0]: {}}
    router.add_api_route(
        f"/export.{_kind}",
        _export(_kind),
        operation_id=f"exportLedger{_kind.capitalize()}",
        summary=f"Ledger as {_kind}",
        description="Sites in WGS-84, all of them unless told otherwise. Importing the file again changes nothing.",
        response_class=Response,
        responses={200: {"content": _content}, **problems(s422="A parameter is wrong.")},
    )
