"""The page of triage: one lead per screen, the next ones ready beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from service.api.field import AlertDep
from service.api.ledger import SessionDep
from service.language import say, word
from service.ledger.audit import Actor
from service.ledger.states import CHINA, SURE
from service.ledger.tables import CLOSED_SITE, UNDECIDED, Alert
from service.ledger.watch import rank
from service.pages.rendering import page_language, render
from service.pages.view import areas, moment, percent
from service.services import Services, ServicesDep
from service.triage.decide import open_proposal
from service.triage.evidence import SIZE_PX, Look, View, covers, looks, neighbours
from service.triage.reasons import NOT_REAL, parse
from service.triage.tables import Proposal

router = APIRouter(include_in_schema=False)

MOST = 500
"""Leads on one list; whoever is through loads the next ones."""
MOST_LOOKS = 6
NEAR_M = 300.0


@dataclass(frozen=True, slots=True)
class LookView:
    """One look, ready to be drawn. `before` and `after` are addresses of cut-outs, or None."""

    id: str
    title: str
    before_at: str
    after_at: str
    before: str | None
    after: str | None
    outline: str
    site: str
    metres: int
    probability: str
    area: str
    share: str
    model: str | None


@dataclass(frozen=True, slots=True)
class Near:
    """A site nearby."""

    code: str
    metres: int
    state: str
    alerts: Sequence[str]


@dataclass(frozen=True, slots=True)
class CardView:
    """A lead as it is shown.

    Attributes:
        sure: probability, 0..1.
        second: two people have to dismiss it.
        proposal: (person, moment, reason) of what waits for a second person.
        own: whether whoever looks has proposed it.
    """

    id: str
    kind: str
    state: str
    site: str
    sure: float
    probability: str
    area: str
    area_error: str
    mu: str
    facts: Sequence[tuple[str, str]]
    looks: Sequence[LookView]
    near: Sequence[Near]
    second: bool
    proposal: tuple[str, str, str] | None
    own: bool


def queue(session: Session, asking: str) -> tuple[list[str], int]:
    """Ids of the leads to look at, and how many proposals of one's own wait for somebody else.

    First what another one proposed to dismiss, then what nobody was sent to, the most urgent first.
    """
    waiting = session.scalars(select(Alert).where(Alert.state.in_(UNDECIDED)).options(joinedload(Alert.site))).all()
    proposals = select(Proposal.alert_id, Proposal.actor).where(Proposal.settled_at.is_(None))
    proposed = {alert: Actor(actor).key == Actor(asking).key for alert, actor in session.execute(proposals)}
    ranked = sorted(waiting, key=lambda alert: (alert.id not in proposed, *rank(alert)))
    shown = [each.id for each in ranked if not proposed.get(each.id, each.state == "dispatched")]
    own = sum(proposed.get(each.id, False) for each in waiting)
    return shown[:MOST], own


@router.get("/triage")
def triage(
    request: Request,
    session: SessionDep,
    parts: ServicesDep,
    alert: Annotated[str | None, Query(max_length=32)] = None,
) -> HTMLResponse:
    """The first lead of the list, or the one that is asked for."""
    ids, own = queue(session, request.state.signed_in.name)
    if alert is not None and alert not in ids and session.get(Alert, alert) is not None:
        ids.insert(0, alert)
    number = ids.index(alert) if alert in ids else 0
    first = session.get(Alert, ids[number]) if ids else None
    return render(
        request, "triage.html", parts.settings,
        ids=ids, number=number, own=own, account=account(request), codes=NOT_REAL, size=SIZE_PX,
        card=first and _card(request, session, first, parts),
    )  # fmt: skip


@router.get("/triage/{id}")
def triage_card(request: Request, alert: AlertDep, session: SessionDep, parts: ServicesDep) -> HTMLResponse:
    """One lead alone, for the script that has the next ones ready."""
    card = _card(request, session, alert, parts)
    return render(request, "triage_card.html", parts.settings, card=card, size=SIZE_PX)


def account(request: Request) -> str:
    """Name of the account that is signed in here; empty without accounts."""
    asking = request.state.signed_in
    return asking.name if asking.session else ""


def _card(request: Request, session: Session, alert: Alert, parts: Services) -> CardView:
    language = page_language(request, parts.settings.languages)
    return card(session, alert, request.state.signed_in.name, parts.settings.scene_folders, language)


def card(session: Session, alert: Alert, asking: str, folders: Sequence[Path], language: str) -> CardView:
    """A lead in words and figures."""
    seen = looks(session, alert, folders)[:MOST_LOOKS]
    error = seen[0].area_error_m2 if seen else None
    proposal = open_proposal(session, alert)
    in_m2, in_mu = areas(alert.area_m2, language)
    return CardView(
        id=alert.id, kind=alert.cause, state=alert.state, site=alert.site.code, sure=alert.probability,
        probability=percent(alert.probability),
        area=in_m2,
        area_error=say(language, "triage.fact.area_error_unknown")
        if error is None
        else say(language, "triage.fact.area_error", value=f"{error:,.0f}"),
        mu=in_mu,
        facts=_facts(alert, language),
        looks=[_look(look, alert, language) for look in seen],
        near=[
            Near(each.site.code, round(each.metres), each.site.state, [found.state for found in each.alerts])
            for each in neighbours(session, alert, NEAR_M)
        ],
        second=alert.probability >= SURE or alert.site.state in CLOSED_SITE,
        proposal=None
        if proposal is None
        else (proposal.actor, moment(proposal.proposed_at, language), told(proposal.reason, language)),
        own=proposal is not None and Actor(proposal.actor).key == Actor(asking).key,
    )  # fmt: skip


def told(reason: str, language: str) -> str:
    """A reason in the reader's language, with the words that were given."""
    code, words = parse(reason)
    if code is None:
        return words
    name = say(language, f"triage.code.{code}")
    return say(language, "triage.reason", code=name, words=words) if words else name


def _facts(alert: Alert, language: str) -> list[tuple[str, str]]:
    """Label and text."""

    def fact(name: str, **values: object) -> str:
        return say(language, f"triage.fact.{name}", **values)

    site, closed = alert.site, alert.site.closed_on
    days = (datetime.now(UTC).astimezone(CHINA).date() - closed).days if closed else 0
    since = moment(site.observed_at, language) if site.observed_at else fact("observed_never")
    place = " · ".join(part for part in (site.street, site.community) if part)
    return [
        (fact("site"), f"{site.code} {site.name}"),
        (fact("place"), place or say(language, "fact.unknown")),
        (fact("system"), word(language, site.system)),
        (fact("closed_on"), fact("closed_for", date=closed, days=days) if closed else fact("closed_unknown")),
        (fact("state"), say(language, f"triage.state.{alert.state}")),
        (fact("site_state"), word(language, site.state)),
        (fact("looks"), fact("looks_text", count=alert.looks)),
        (fact("first_seen"), moment(alert.first_seen_at, language)),
        (fact("last_seen"), moment(alert.last_seen_at, language)),
        (fact("observed_at"), since),
        (fact("sensitivity"), percent(site.sensitivity)),
        (fact("inspector"), site.inspector or fact("inspector_none")),
    ]


def _look(look: Look, alert: Alert, language: str) -> LookView:
    own, view = look.observation, View.around(look.outline)
    chips = {side: view.chip(look.scene.id, side) for side in look.sides} if look.scene else {}
    date = f"{own.observed_at.astimezone(CHINA):%Y-%m-%d}"
    return LookView(
        id=own.id,
        title=say(language, "triage.look.item", date=date, scene=look.scene.name if look.scene else own.scene),
        before_at=moment(look.scene.before_at if look.scene else None, language),
        after_at=moment(own.observed_at, language),
        before=chips.get("before"), after=chips.get("after"),
        outline=view.path(look.outline), site=view.path(covers(alert.site)), metres=view.metres,
        probability=percent(own.probability or 0),
        area=say(language, "unit.m2", value=f"{own.area_m2 or 0:,.0f}"),
        share=say(language, "triage.look.share", share=percent(own.observed_share, digits=1)),
        model=own.model_sha256,
    )  # fmt: skip
