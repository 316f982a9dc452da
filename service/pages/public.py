"""What the public sees: the ledger, how often the system is wrong, a form to report with, and what became of a report.

All of it answers 404 to strangers unless `JINGDI_PUBLIC` is `on`. No script is needed.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, BeforeValidator, Field
from starlette.exceptions import HTTPException

from inference.decode import Limits
from inference.reasons import InputError
from service.api.ledger import SessionDep
from service.api.people import address
from service.errors import ServiceError, describe
from service.language import say, word
from service.ledger.tables import SYSTEMS, System
from service.pages.ledger import around
from service.pages.rendering import page_language, render
from service.pages.sites import MARKS, figure
from service.pages.view import percent
from service.people.gate import REPORT, secure
from service.public import accuracy, ledger
from service.public.errors import PublicClosed, ReportNotFound, ReportUnusable
from service.public.ledger import OTHER_STREETS, PUBLIC_STATES, STREET_OF_MANY, PublicState, Wanted
from service.public.photographs import MAX_BYTES
from service.public.reports import LONGEST, LONGEST_PLACE, POINT_SYSTEMS, SHORTEST, Photograph, said
from service.services import Services, ServicesDep

PAGE = 50
OTHER = "public.other_street"
DECIDED_FOR = timedelta(days=365)
TOKEN_COOKIE, TOKEN_SHOWN_S = "jingdi_report", 600


def opened(request: Request, parts: ServicesDep) -> None:
    """Dependency: the public is let in.

    Raises:
        PublicClosed: it is not, as whoever is signed in is told.
        HTTPException: it is not, and for strangers there is nothing here.
    """
    if parts.settings.public == "off":
        raise PublicClosed if request.state.signed_in else HTTPException(404)


router = APIRouter(include_in_schema=False, dependencies=[Depends(opened)])

_Empty = BeforeValidator(lambda value: value or None)  # what a form sends of a field that nothing was chosen in
Text = Annotated[str, Form(max_length=4 * LONGEST)]


class Asked(BaseModel):
    """What the address of the ledger asks for."""

    code: Annotated[str, Field(max_length=64)] = ""
    street: Annotated[str, Field(max_length=64)] = ""
    system: Annotated[System | None, _Empty] = None
    state: Annotated[PublicState | None, _Empty] = None
    since: Annotated[date | None, _Empty] = None
    until: Annotated[date | None, _Empty] = None
    page: Annotated[int, Field(ge=1, le=100_000)] = 1

    @property
    def wanted(self) -> Wanted:
        """As the ledger takes it."""
        return Wanted(self.code.strip(), self.street, self.system, self.state, self.since, self.until)

    @property
    def query(self) -> str:
        """The filters, as part of an address."""
        values = self.model_dump(exclude={"page"}, mode="json")
        return urlencode({key: value for key, value in values.items() if value})

    def address(self, page: int) -> str:
        """Another page of the same."""
        return "/public?" + "&".join(filter(None, (self.query, f"page={page}")))


@router.get("/public")
def public_ledger(
    request: Request, session: SessionDep, parts: ServicesDep, asked: Annotated[Asked, Query()]
) -> HTMLResponse:
    """The ledger without places and persons."""
    language = page_language(request, parts.settings.languages)
    found = ledger.count(session, asked.wanted)
    pages = max(1, -(-found // PAGE))
    page = min(asked.page, pages)
    return render(
        request, "public_ledger.html", parts.settings, here="ledger", asked=asked, found=found, figure=figure,
        first=(page - 1) * PAGE + 1, rows=ledger.sites(session, asked.wanted, PAGE, (page - 1) * PAGE), marks=MARKS,
        totals=ledger.totals(session), systems=[(each, word(language, each)) for each in SYSTEMS],
        states=[(each, word(language, each)) for each in PUBLIC_STATES], street_of_many=STREET_OF_MANY,
        streets=[*((each, each) for each in ledger.streets(session)), (OTHER_STREETS, say(language, OTHER))],
        pages=around(page, pages, asked.address),
    )  # fmt: skip


@router.get("/public/ledger.csv")
def public_ledger_csv(
    request: Request, session: SessionDep, parts: ServicesDep, asked: Annotated[Asked, Query()]
) -> Response:
    """The same as a spreadsheet: all that the filters leave."""
    language = page_language(request, parts.settings.languages)
    content = ledger.as_csv(ledger.sites(session, asked.wanted), language)
    headers = {"Content-Disposition": 'attachment; filename="jingdi-ledger.csv"', "Content-Language": language}
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/public/accuracy")
def public_accuracy(request: Request, session: SessionDep, parts: ServicesDep) -> HTMLResponse:
    """How often the system is wrong."""
    now = datetime.now(UTC)
    return render(
        request, "public_accuracy.html", parts.settings, here="accuracy", percent=percent,
        year=accuracy.decided(session, now - DECIDED_FOR, now),
        ever=accuracy.decided(session, datetime(2000, 1, 1, tzinfo=UTC), now),
        weights=accuracy.validation(accuracy.manifest_in_use(parts.background.registry)),
    )  # fmt: skip


class ReportForm(BaseModel):
    """The form. `website` is there for programs that fill in whatever there is."""

    text: Text = ""
    street: Text = ""
    place: Text = ""
    lon: Text = ""
    lat: Text = ""
    crs: Text = ""
    website: Text = ""
    photograph: UploadFile | None = None


@router.get(REPORT)
def public_report(request: Request, session: SessionDep, parts: ServicesDep) -> HTMLResponse:
    """The form to report with."""
    return _form(request, session, parts)


@router.post(REPORT)
def public_report_send(
    form: Annotated[ReportForm, Form(media_type="multipart/form-data")],
    request: Request,
    session: SessionDep,
    parts: ServicesDep,
) -> Response:
    """Keeps a report, and shows its token on the next page, once."""
    try:
        if form.website:
            raise ReportUnusable("report_by_program")
        shown = form.street if form.street in ledger.streets(session) else ""
        given = said(form.text, shown, form.place, form.lon, form.lat, form.crs)
        file = form.photograph
        photograph = Photograph(file.filename, file.file) if file is not None and file.filename else None
        limits = Limits(MAX_BYTES, parts.settings.max_pixels)
        token = parts.reports.receive(given, photograph, limits, address(request))
    except (ServiceError, InputError) as error:
        return _form(request, session, parts, error, form.model_dump(exclude={"photograph", "website"}))
    response = RedirectResponse(f"{REPORT}/received", 303)
    response.set_cookie(
        TOKEN_COOKIE, token, max_age=TOKEN_SHOWN_S, path=REPORT, httponly=True, samesite="strict",
        secure=secure(request, parts.settings),
    )  # fmt: skip
    return response


def _form(
    request: Request, session: SessionDep, parts: Services, error: Exception | None = None, given: Any = None
) -> HTMLResponse:
    """The form, empty or with what was given and what was wrong with it."""
    problem = None
    if error is not None:
        problem = describe(error, page_language(request, parts.settings.languages), MAX_BYTES)
    names = ("text", "street", "place", "lon", "lat", "crs")
    response = render(
        request, "public_report.html", parts.settings, status_code=problem.status if problem else 200, here="report",
        problem=problem, given=given or dict.fromkeys(names, ""), streets=ledger.streets(session),
        point_systems=POINT_SYSTEMS, shortest=SHORTEST, longest=LONGEST, longest_place=LONGEST_PLACE,
        max_mb=MAX_BYTES // 2**20, days=parts.settings.report_days,
    )  # fmt: skip
    response.headers.update(getattr(error, "headers", {}))
    return response


@router.get(f"{REPORT}/received")
def public_report_received(request: Request, parts: ServicesDep) -> HTMLResponse:
    """The token, the one time it is shown."""
    token = request.cookies.get(TOKEN_COOKIE, "")
    shown = " ".join(re.findall(".{8}", token)) if re.fullmatch("[0-9a-f]{32}", token) else None
    response = render(
        request, "public_received.html", parts.settings, here="report", token=shown, days=parts.settings.report_days
    )
    response.headers["Cache-Control"] = "no-store"
    response.delete_cookie(TOKEN_COOKIE, path=REPORT)
    return response


@router.get(f"{REPORT}/status")
def public_report_status(request: Request, parts: ServicesDep) -> HTMLResponse:
    """Where the token goes in."""
    return render(request, "public_status.html", parts.settings, here="status", problem=None, report=None)


@router.post(f"{REPORT}/status")
def public_report_follow(
    request: Request, parts: ServicesDep, token: Annotated[str, Form(max_length=200)] = ""
) -> HTMLResponse:
    """What became of the report with this token. Sent in a form, so that the token stands in no address and no log."""
    try:
        report = parts.reports.follow(token)
    except ReportNotFound as error:
        problem = describe(error, page_language(request, parts.settings.languages), MAX_BYTES)
        return render(
            request, "public_status.html", parts.settings, status_code=problem.status, here="status", problem=problem,
            report=None,
        )  # fmt: skip
    state = ledger.SHOWN_AS[report.site.state] if report.site else None
    return render(
        request, "public_status.html", parts.settings, here="status", problem=None, report=report, site_state=state,
        marks=MARKS,
    )  # fmt: skip
