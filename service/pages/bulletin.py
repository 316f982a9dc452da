"""The bulletin of a period and the evidence packet of a site: on screen, and as PDF."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, BeforeValidator
from sqlalchemy.orm import Session

from service.api.ledger import SessionDep, find_site
from service.ledger.check import STALE_DAYS
from service.ledger.states import CHINA
from service.ledger.tables import Site
from service.pages.rendering import page_language, render
from service.printing import bulletin_pdf, packet
from service.printing.bulletin import Bulletin, Closed, Period
from service.printing.bulletin import bulletin as figures
from service.printing.errors import PeriodReversed
from service.printing.packet_pdf import packet_pdf
from service.printing.pictures import Album, cited
from service.services import Services, ServicesDep

SHOWN = 12
"""Closed sites with pictures in one bulletin."""
DAYS = 30
CHART = (960, 220)

router = APIRouter(include_in_schema=False)

_Empty = BeforeValidator(lambda value: value or None)


class Asked(BaseModel):
    """From when to when; the last 30 days if nothing is said."""

    since: Annotated[date | None, _Empty] = None
    until: Annotated[date | None, _Empty] = None


def asked_period(asked: Annotated[Asked, Query()]) -> Period:
    """Dependency: the period that is asked for, up to today.

    Raises:
        PeriodReversed: it ends before it begins.
    """
    until = min(asked.until or today(), today())
    since = asked.since or until - timedelta(days=DAYS - 1)
    if since > until:
        raise PeriodReversed
    return Period(since, until)


PeriodDep = Annotated[Period, Depends(asked_period)]


def today() -> date:
    """In China."""
    return datetime.now(CHINA).date()


@router.get("/bulletin")
def bulletin(request: Request, session: SessionDep, parts: ServicesDep, period: PeriodDep) -> HTMLResponse:
    """The figures of a period, how closing went on, and what was closed, before and after."""
    language = page_language(request, parts.settings.languages)
    found = figures(session, period)
    albums, unshown = _albums(session, parts, found)
    return render(
        request, "bulletin.html", parts.settings, found=found, albums=albums, unshown=unshown, today=today(),
        spelled=bulletin_pdf.spell_period(period, language), sentences=bulletin_pdf.sentences(found, language),
        columns=bulletin_pdf.COLUMNS, rows=[bulletin_pdf.cells(line, language) for line in (*found.lines, found.total)],
        caption=bulletin_pdf.caption, dated=bulletin_pdf.dated, chart=_chart(found), chart_size=CHART,
        presets=_presets(today()), made=datetime.now(UTC), stale_days=STALE_DAYS,
    )  # fmt: skip


@router.get("/bulletin.pdf")
def bulletin_as_pdf(request: Request, session: SessionDep, parts: ServicesDep, period: PeriodDep) -> Response:
    """The same on paper."""
    language = page_language(request, parts.settings.languages)
    found = figures(session, period)
    albums, unshown = _albums(session, parts, found)
    content = bulletin_pdf.bulletin_pdf(found, albums, unshown, language, datetime.now(UTC))
    return _download(content, f"jingdi-{period.since}-{period.until}.pdf", language)


@router.get("/sites/{code:path}/packet.pdf")
def site_packet(request: Request, code: str, session: SessionDep, parts: ServicesDep) -> Response:
    """All the evidence there is about a site, with the hashes by which it can be checked."""
    language = page_language(request, parts.settings.languages)
    site = find_site(session, code)
    found = packet.packet(session, site, parts.storage, parts.settings.scene_folders, language)
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in code)
    return _download(packet_pdf(found, language, datetime.now(UTC)), f"jingdi-{name}.pdf", language)


def _download(content: bytes, name: str, language: str) -> Response:
    headers = {"Content-Disposition": f'inline; filename="{name}"', "Content-Language": language}
    return Response(content, media_type="application/pdf", headers=headers)


def _albums(
    session: Session, parts: Services, found: Bulletin
) -> tuple[Sequence[tuple[Closed, Album]], Mapping[str, int]]:
    """Pictures of the largest sites that have any, and how many other closed sites there are, by why."""
    shown: list[tuple[Closed, Album]] = []
    others: Counter[str] = Counter({"more": 0, "unchecked": 0, "without": 0})
    for closed in found.closed:
        if len(shown) == SHOWN:
            others["more"] = len(found.closed) - SHOWN - others["unchecked"] - others["without"]
            break
        site = session.get(Site, closed.site_id)
        assert site is not None
        album = cited(session, site, closed.evidence, parts.storage, parts.settings.scene_folders)
        if album.pairs:
            shown.append((closed, album))
        else:
            others["unchecked" if album.unchecked else "without"] += 1
    return shown, others


def _chart(found: Bulletin) -> str:
    """The progress as points of an SVG polyline."""
    width, height = CHART
    first, last = found.progress[0][0], found.progress[-1][0]
    days, most = max((last - first).days, 1), max(found.total.sites, 1)
    return " ".join(
        f"{width * (day - first).days / days:.1f},{height * (1 - count / most):.1f}" for day, count in found.progress
    )


def _presets(day: date) -> list[tuple[str, date, date]]:
    """Periods to choose: name of the sentence, first and last day."""
    month = day.replace(day=1)
    before = month - timedelta(days=1)
    quarter = day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    return [
        ("month", month, day),
        ("last_month", before.replace(day=1), before),
        ("quarter", quarter, day),
        ("year", day.replace(month=1, day=1), day),
    ]
