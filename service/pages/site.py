"""The page of a site: state and figures, its outline, one timeline, and the steps that the reader may take."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field
from shapely.geometry import Point, shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy import select
from sqlalchemy.orm import Session

from inference.site import MAX_DISTANCE_M
from service import errors
from service.api.ledger import SessionDep, find_site
from service.database import PairRow
from service.language import say, word
from service.ledger.audit import Actor, writing
from service.ledger.coordinates import around as metres_around
from service.ledger.states import CHINA, SITE_STEPS, Evidence, move_site
from service.ledger.tables import UNDECIDED, Alert, Decision, Observation, Site
from service.pages.ledger import around
from service.pages.rendering import page_language, render
from service.pages.sites import MARKS, area, close_up, may, nameless, seen
from service.pages.timeline import timeline
from service.pages.view import moment, percent
from service.people.rights import acting
from service.scenes.imagery import layers
from service.scenes.tables import SceneRow
from service.services import Services, ServicesDep
from service.triage.evidence import View, covers

LINES = 40
OFFERED = 12
_NEWEST = 300
"""Compared pairs that are searched for such as show a site."""
HEAD_PX = 480
_PAIR = re.compile(r"[0-9a-f]{32}")
_FOR_CLEAR = ("claimed_clear", "accepted", "watched")
"""Steps that rest on having seen nothing; the others rest on having seen something."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that a decision can be rested on. `value` is `kind:ref`."""

    value: str
    text: str
    link: str | None = None


@dataclass(frozen=True, slots=True)
class StepView:
    """A step that leads on from where the site is. `clear`: it takes a look or pair that found nothing."""

    source: str
    target: str
    clear: bool
    offers: Sequence[Offer]


class StepForm(BaseModel):
    """What the form of a step sends."""

    expected: Annotated[str, Field(max_length=32)]
    target: Annotated[str, Field(max_length=32)]
    reason: Annotated[str, Field(max_length=4000)] = ""
    evidence: Annotated[list[str], Field(max_length=50)] = []
    pair: Annotated[str, Field(max_length=400)] = ""
    document: Annotated[str, Field(max_length=200)] = ""
    actor: Annotated[str, Field(max_length=64)] = ""

    def cited(self) -> list[Evidence]:
        """What the decision rests on.

        Raises:
            EvidenceNotFound: it is written in a way that names nothing.
        """
        kinds: dict[str, Any] = {"pair": "pair", "observation": "observation"}
        found = []
        for each in self.evidence:
            kind, _, ref = each.partition(":")
            if kind not in kinds or not ref:
                raise errors.EvidenceNotFound
            found.append(Evidence(kinds[kind], ref))
        if self.pair.strip():
            named = _PAIR.search(self.pair)
            if named is None:
                raise errors.EvidenceNotFound
            found.append(Evidence("pair", named.group()))
        if self.document.strip():
            found.append(Evidence("document", self.document.strip()))
        return found


@router.get("/sites/{code:path}")
def site(
    request: Request,
    code: str,
    session: SessionDep,
    parts: ServicesDep,
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
) -> Response:
    """Everything about one site."""
    return _page(request, session, find_site(session, code), parts, page)


@router.post("/sites/{code:path}")
def site_step(
    request: Request, code: str, session: SessionDep, parts: ServicesDep, form: Annotated[StepForm, Form()]
) -> Response:
    """Takes a step, or says in words why it cannot be taken."""
    try:
        actor = acting(request, Actor(form.actor))
        with writing(parts.pairs.engine) as own:
            row = find_site(own, code)
            move_site(own, row, form.expected, form.target, actor, form.reason, evidence=form.cited())
    except errors.SiteNotFound:
        raise
    except errors.ServiceError as error:
        return _page(request, session, find_site(session, code), parts, 1, form, error)
    return RedirectResponse(request.url.path, 303)


def _page(
    request: Request,
    session: Session,
    row: Site,
    parts: Services,
    page: int,
    form: StepForm | None = None,
    error: errors.ServiceError | None = None,
) -> Response:
    language, folders = page_language(request, parts.settings.languages), parts.settings.scene_folders
    lines = timeline(session, row, folders, language)
    pages = max(1, -(-len(lines) // LINES))
    page = min(page, pages)
    problem = None if error is None else errors.describe(error, language, parts.settings.max_bytes)
    outline = covers(row)
    view = close_up(outline)
    alerts = session.scalars(
        select(Alert).where(Alert.site_id == row.id, Alert.state.in_(UNDECIDED)).order_by(Alert.probability.desc())
    ).all()
    decides = may(request, "decide")
    return render(
        request,
        "site.html",
        parts.settings,
        status_code=problem.status if problem else 200,
        site=row,
        facts=list(_facts(row, language)),
        seen=seen(row.observed_at, datetime.now(UTC), language),
        marks=MARKS,
        view=view,
        outline=view.path(outline, HEAD_PX),
        side=HEAD_PX,
        picture_here=_picture(session, row, view, parts),
        bar=next(metres for metres in (200, 100, 50, 20, 10) if metres <= view.metres / 3),
        alerts=[(each, percent(each.probability), area(each.area_m2, language)) for each in alerts],
        claim=_claim(session, row),
        steps=list(_steps(session, row, outline, language)) if decides else [],
        decides=decides,
        compares=may(request, "compare"),
        form=form,
        problem=problem,
        nameless=nameless(request),
        lines=lines[(page - 1) * LINES : page * LINES],
        pages=around(page, pages, lambda number: f"?page={number}"),
    )


def _facts(row: Site, language: str) -> Iterable[tuple[str, str]]:
    """Label and text; what the ledger does not have is left out."""
    place = " · ".join(part for part in (row.street, row.community) if part)
    baseline = moment(row.baseline.get("at"), language) if row.baseline else None
    facts: tuple[tuple[str, str | None], ...] = (
        ("system", word(language, row.system)),
        ("street", place or None),
        ("batch", row.batch),
        ("land_m2", area(row.land_m2, language)),
        ("building_m2", area(row.building_m2, language)),
        ("greened_m2", area(row.greened_m2, language)),
        ("opened_on", row.opened_on.isoformat() if row.opened_on else None),
        ("closed_on", row.closed_on.isoformat() if row.closed_on else None),
        ("baseline", baseline),
        ("inspector", row.inspector),
        ("sensitivity", percent(row.sensitivity)),
    )
    yield from ((say(language, f"site_page.fact_{name}"), text) for name, text in facts if text)


def _picture(session: Session, row: Site, view: View, parts: Services) -> tuple[str, datetime] | None:
    """The newest picture there is of the whole site: its address and when it was taken."""
    around_it = (SceneRow.west <= row.west, SceneRow.east >= row.east, SceneRow.south <= row.south)
    scenes = select(SceneRow).where(*around_it, SceneRow.north >= row.north).order_by(SceneRow.taken_at.desc())
    for scene in session.scalars(scenes.limit(8)):
        seen_here = scene.coverage is not None and shape(scene.coverage).intersects(Point(view.lon, view.lat))
        if seen_here and "after" in layers(scene, parts.settings.scene_folders):
            return view.chip(scene.id, "after", HEAD_PX), scene.taken_at
    return None


def _claim(session: Session, row: Site) -> Decision | None:
    """Who claimed the site clear, while somebody else has yet to accept it."""
    if row.state != "claimed_clear":
        return None
    claims = select(Decision).where(Decision.site_id == row.id, Decision.target == "claimed_clear")
    return session.scalar(claims.order_by(Decision.decided_at.desc()).limit(1))


def _steps(session: Session, row: Site, outline: BaseGeometry, language: str) -> Iterable[StepView]:
    for step in SITE_STEPS:
        if step.source == row.state:
            clear = step.target in _FOR_CLEAR
            offers = [*_looks(session, row, clear, language), *_pairs(session, outline, clear, language)]
            yield StepView(step.source, step.target, step.target == "accepted", offers)


def _looks(session: Session, row: Site, clear: bool, language: str) -> Iterable[Offer]:
    results = ("clear",) if clear else ("new", "remaining")
    looks = select(Observation).where(Observation.site_id == row.id, Observation.result.in_(results))
    for look in session.scalars(looks.order_by(Observation.observed_at.desc()).limit(OFFERED)):
        text = say(
            language, "site_page.offer_look", date=f"{look.observed_at.astimezone(CHINA):%Y-%m-%d}",
            result=say(language, f"site_page.result_{look.result}"),
            share=percent(look.observed_share, digits=1), scene=look.scene,
        )  # fmt: skip
        yield Offer(f"observation:{look.id}", text)


def _pairs(session: Session, outline: BaseGeometry, clear: bool, language: str) -> Iterable[Offer]:
    """Compared pairs known to show the site: by the outline they were sent in with, or by where they were taken."""
    verdicts = ("clear",) if clear else ("new", "remaining")
    pairs = select(PairRow).where(PairRow.status == "done", PairRow.verdict.in_(verdicts))
    found = session.scalars(pairs.order_by(PairRow.created_at.desc()).limit(_NEWEST))
    near = [pair for pair in found if _shows(pair, outline)][:OFFERED]
    for pair in near:
        text = say(
            language, "site_page.offer_pair", date=f"{pair.created_at.astimezone(CHINA):%Y-%m-%d}",
            result=say(language, f"site_page.result_{pair.verdict}"), before=pair.before_name, after=pair.after_name,
        )  # fmt: skip
        yield Offer(f"pair:{pair.id}", text, f"/pairs/{pair.id}")


def _shows(pair: PairRow, outline: BaseGeometry) -> bool:
    metres = metres_around(outline)
    ground = metres.export_geometry(outline)
    if pair.site is not None:
        return bool(metres.export_geometry(shape(pair.site["geometry"])).dwithin(ground, MAX_DISTANCE_M))
    images = (pair.report or {}).get("images") or {}
    places = [place for side in ("before", "after") if (place := (images.get(side) or {}).get("place"))]
    return any(metres.export_geometry(Point(*place)).dwithin(ground, MAX_DISTANCE_M) for place in places)
