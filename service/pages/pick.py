"""The page on which two dates of imagery that is here are picked for a place. It works without a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from inference.assess import CLEAR_NEEDS_OBSERVED
from inference.reasons import InputError
from service import errors
from service.api.ledger import SessionDep, find_site
from service.language import say
from service.ledger import listing
from service.ledger.filters import EMPTY, Words
from service.ledger.states import CHINA
from service.ledger.tables import Site
from service.pages.rendering import page_language, render
from service.pages.sites import MARKS
from service.pages.view import moment, percent
from service.scenes import cutting
from service.scenes.picking import NARROWEST_M, WIDEST_M, Imagery, Place, known
from service.services import Services, ServicesDep

LISTED = 30
"""So many dates are shown of a place: the newest, and the oldest, which the others are most often held against."""
FEW = 6
"""So many dates need no filter."""
FOUND, OFFERED = 20, 12
_MOST_URGENT = 300
THUMBNAIL_PX, PREVIEW_PX = 192, 480
DEFAULT_M = 300

router = APIRouter(include_in_schema=False)


class Asked(BaseModel):
    """What the address of the page asks for: a place, and which of the dates there are."""

    q: Annotated[str, Field(max_length=100)] = ""
    site: Words = None
    lon: Annotated[Annotated[float, Field(ge=-180, le=180)] | None, EMPTY] = None
    lat: Annotated[Annotated[float, Field(ge=-85, le=85)] | None, EMPTY] = None
    metres: Annotated[Annotated[int, Field(ge=NARROWEST_M, le=WIDEST_M)] | None, EMPTY] = None
    since: Annotated[date | None, EMPTY] = None
    until: Annotated[date | None, EMPTY] = None
    before: Words = None
    after: Words = None

    def address(self, **changes: Any) -> str:
        """The address of this page with something else asked for."""
        values = {**self.model_dump(exclude_defaults=True), **changes}
        query = urlencode({key: value for key, value in values.items() if value not in (None, "")})
        return f"/scenes?{query}" if query else "/scenes"

    def place(self, session: Session) -> Place | None:
        """Where the dates are to be compared, once that is said.

        Raises:
            SiteNotFound: no site has this code.
        """
        if self.site is not None:
            return Place.of_site(find_site(session, self.site))
        if self.lon is None or self.lat is None:
            return None
        return Place.of_point(self.lon, self.lat, self.metres or DEFAULT_M)

    def within(self, imagery: Imagery) -> bool:
        """Whether it was taken on one of the days asked for."""
        day = imagery.taken_at.astimezone(CHINA).date()
        return (self.since is None or day >= self.since) and (self.until is None or day <= self.until)


class Picked(BaseModel):
    """What the form sends; the place stands in its address."""

    before: Annotated[str, Field(max_length=64)] = ""
    after: Annotated[str, Field(max_length=64)] = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One date that can be picked.

    Attributes:
        share: of the place that it saw, None if that is not known; `level` and `seen` say the same.
        marks: keys of words that set it apart.
    """

    imagery: Imagery
    date: str
    gsd: str
    share: float | None
    level: Literal["whole", "part", "none", "unknown"]
    seen: str
    thumbnail: str
    preview: str
    marks: tuple[str, ...]


@router.get("/scenes")
def pick(request: Request, session: SessionDep, parts: ServicesDep, asked: Annotated[Asked, Query()]) -> Response:
    """A place, and the dates there are of it."""
    if asked.q.strip() and asked.site is None:
        exact = [row for row in listing.best(session, asked.q, 1) if row.code.lower() == asked.q.strip().lower()]
        if exact:
            return RedirectResponse(Asked(site=exact[0].code).address(), 303)
    return _page(request, session, parts, asked)


@router.post("/scenes")
def pick_compare(
    request: Request,
    session: SessionDep,
    parts: ServicesDep,
    asked: Annotated[Asked, Query()],
    form: Annotated[Picked, Form()],
) -> Response:
    """Has the two dates compared, or says in words why that cannot be."""
    place = asked.place(session)
    if place is None:
        return RedirectResponse(asked.address(), 303)
    asked = asked.model_copy(update={"before": form.before, "after": form.after})
    try:
        if parts.intake is None:
            raise errors.ModelUnavailable
        sides = form.before, form.after
        pair = cutting.submit(parts.intake, session, parts.settings.scene_folders, sides, place)
    except (errors.ServiceError, InputError) as error:
        return _page(request, session, parts, asked, error)
    return RedirectResponse(f"/pairs/{pair.id}", 303)


def _page(
    request: Request, session: Session, parts: Services, asked: Asked, error: Exception | None = None
) -> Response:
    language, folders = page_language(request, parts.settings.languages), parts.settings.scene_folders
    place = asked.place(session)
    everything = known(session, folders)
    problem = None if error is None else errors.describe(error, language, parts.settings.max_bytes)
    context: dict[str, Any] = {"rows": [], "left_out": 0, "chosen": (None, None), "sites": []}
    if place is not None:
        context |= _dates(place, everything, asked, language)
    elif everything:
        context |= _sites(session, everything, asked.q)
    return render(
        request,
        "pick.html",
        parts.settings,
        status_code=problem.status if problem else 200,
        asked=asked,
        place=place,
        outline=place.shown.path(place.outline, PREVIEW_PX) if place and place.outline else None,
        empty=not everything,
        problem=problem,
        ready=parts.intake is not None,
        side_px=PREVIEW_PX,
        thumbnail=THUMBNAIL_PX,
        few=FEW,
        default_metres=DEFAULT_M,
        narrowest=NARROWEST_M,
        widest=WIDEST_M,
        marks=MARKS,
        **context,
    )


def _sites(session: Session, everything: Sequence[Imagery], text: str) -> dict[str, Any]:
    """What a search finds; without one, urgent sites that there are two dates of."""
    if text.strip():
        rows, total = listing.best(session, text, FOUND), listing.count(session, listing.Wanted(text))
    else:
        urgent = listing.sites(session, listing.EVERYTHING, sort="state", descending=True, limit=_MOST_URGENT)
        rows = [row for row in urgent if _dated(row, everything) > 1][:OFFERED]
        total = len(rows)
    return {"sites": [(row, _dated(row, everything)) for row in rows], "total": total, "searched": text.strip()}


def _dated(row: Site, everything: Sequence[Imagery]) -> int:
    return sum(each.touches((row.west, row.south, row.east, row.north)) for each in everything)


def _dates(place: Place, everything: Sequence[Imagery], asked: Asked, language: str) -> dict[str, Any]:
    here = [each for each in everything if each.touches(place.bounds)]
    found = [each for each in here if asked.within(each)]
    listed = found if len(found) <= LISTED else [*found[: LISTED - 1], found[-1]]
    rows = [_row(each, place, here[0], language) for each in listed]
    return {
        "rows": rows,
        "here": len(here),
        "left_out": len(found) - len(listed),
        "chosen": _chosen(rows, asked),
    }


def _row(imagery: Imagery, place: Place, newest: Imagery, language: str) -> Row:
    share, gsd = imagery.seen_share(place), imagery.gsd
    level: Literal["whole", "part", "none", "unknown"]
    level = "unknown" if share is None else "none" if share == 0 else "part" if share < 1 else "whole"
    text = say(language, f"pick.seen_{level}", share=percent(share or 0))
    key = "pick.gsd_unknown" if gsd is None else "fact.gsd_text"
    marks = [("baseline", _is_baseline(imagery, place)), ("newest", imagery is newest)]
    return Row(
        imagery, moment(imagery.taken_at, language), say(language, key, value=f"{gsd or 0:.3g}"), share, level, text,
        imagery.thumbnail(place.shown, THUMBNAIL_PX), imagery.thumbnail(place.shown, PREVIEW_PX),
        tuple(name for name, holds in marks if holds),
    )  # fmt: skip


def _is_baseline(imagery: Imagery, place: Place) -> bool:
    """Whether it was taken when the look was that the site is compared with."""
    at: str | None = (place.site.baseline or {}).get("at") if place.site else None
    return at is not None and datetime.fromisoformat(at) == imagery.taken_at


def _chosen(rows: Sequence[Row], asked: Asked) -> tuple[str | None, str | None]:
    """Ids of both dates: those asked for, otherwise the baseline or the oldest, and the newest that saw the place."""
    ids = [row.imagery.id for row in rows]
    if asked.before in ids and asked.after in ids:
        return asked.before, asked.after
    whole = [row for row in rows if row.share is None or row.share >= CLEAR_NEEDS_OBSERVED]
    candidates = whole if len(whole) > 1 else rows
    earlier = [row for row in candidates[1:] if "baseline" in row.marks] or candidates[1:]
    before, after = earlier[-1:], candidates[:1]
    return next((row.imagery.id for row in before), None), next((row.imagery.id for row in after), None)
