"""Sites as lists and maps show them: searched, filtered, sorted, paged, and summed per responsible system."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, case, distinct, func, or_, select
from sqlalchemy.orm import Session, joinedload

from service.ledger.tables import CLOSED_SITE, SITE_STATES, SYSTEMS, Courtyard, Site, SiteState, System

Sort = Literal[
    "code", "courtyard", "state", "system", "street", "batch", "land", "building", "greened", "opened", "closed",
    "observed",
]  # fmt: skip
_STATE_ORDER = case({state: number for number, state in enumerate(SITE_STATES)}, value=Site.state)
_SYSTEM_ORDER = case({system: number for number, system in enumerate(SYSTEMS)}, value=Site.system)
_SORTS: Mapping[Sort, ColumnElement[Any]] = {
    "code": Site.code.expression,
    "courtyard": Courtyard.code.expression,
    "state": _STATE_ORDER,
    "system": _SYSTEM_ORDER,
    "street": Site.street.expression,
    "batch": Site.batch.expression,
    "land": Site.land_m2.expression,
    "building": Site.building_m2.expression,
    "greened": Site.greened_m2.expression,
    "opened": Site.opened_on.expression,
    "closed": Site.closed_on.expression,
    "observed": Site.observed_at.expression,
}
_SEARCHED = (Site.code, Courtyard.code, Courtyard.name, Site.name, Site.street, Site.community)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which sites; all of them if nothing is said.

    Attributes:
        text: words that all occur in code, courtyard, name, street or community, whatever their case and width.
        unseen_since: only sites that were not seen whole at or after this moment; those never seen are among them.
        never_seen: only those.
    """

    text: str = ""
    state: SiteState | None = None
    system: System | None = None
    street: str | None = None
    batch: str | None = None
    unseen_since: datetime | None = None
    never_seen: bool = False


EVERYTHING = Wanted()


@dataclass(frozen=True, slots=True)
class Total:
    """Sums of sites: of one responsible system, or (`system` None) of all. Areas in m2, as the ledger states them."""

    system: System | None
    sites: int
    courtyards: int
    closed: int
    land_m2: float
    building_m2: float
    greened_m2: float


def sites(
    session: Session,
    wanted: Wanted,
    *,
    sort: Sort = "code",
    descending: bool = False,
    limit: int | None = None,
    offset: int = 0,
) -> Sequence[Site]:
    """Sites with their courtyards. What a row lacks comes last; never seen counts as seen longest ago."""
    column = _SORTS[sort]
    order = column.desc() if descending else column.asc()
    order = order.nulls_first() if sort == "observed" and not descending else order.nulls_last()
    query = _of(select(Site), wanted).options(joinedload(Site.courtyard)).order_by(order, Site.code)
    return session.scalars(query.limit(limit).offset(offset)).all()


def best(session: Session, text: str, limit: int) -> Sequence[Site]:
    """What a search finds: a code that is the text itself, codes that begin with it, then all others by code."""
    plain = _plain(text.strip())
    rank = case((func.lower(Site.code) == plain.lower(), 0), (_like(Site.code, plain, anywhere=False), 1), else_=2)
    query = _of(select(Site), Wanted(text)).options(joinedload(Site.courtyard)).order_by(rank, Site.code)
    return session.scalars(query.limit(limit)).all()


def count(session: Session, wanted: Wanted) -> int:
    """How many sites there are of them."""
    return session.scalar(_of(select(func.count(Site.id)), wanted)) or 0


def by_state(session: Session, wanted: Wanted) -> Mapping[SiteState, int]:
    """How many there are in each state, whatever state was wanted."""
    query = _of(select(Site.state, func.count(Site.id)), replace(wanted, state=None)).group_by(Site.state)
    found: dict[SiteState, int] = dict(session.execute(query).all())
    return {state: found.get(state, 0) for state in SITE_STATES}


def totals(session: Session, wanted: Wanted) -> list[Total]:
    """One for each responsible system, in the ledger's order, and last that of all."""
    figures = (
        func.count(Site.id), func.count(distinct(Site.courtyard_id)),
        func.coalesce(func.sum(case((Site.state.in_(CLOSED_SITE), 1), else_=0)), 0),
        *(func.coalesce(func.sum(area), 0.0) for area in (Site.land_m2, Site.building_m2, Site.greened_m2)),
    )  # fmt: skip
    query = _of(select(Site.system, *figures), wanted).group_by(Site.system)
    found = {system: Total(system, *sums) for system, *sums in session.execute(query)}
    everything = Total(None, *session.execute(_of(select(*figures), wanted)).one())
    return [*(found.get(system, Total(system, 0, 0, 0, 0.0, 0.0, 0.0)) for system in SYSTEMS), everything]


def choices(session: Session, column: Literal["street", "batch"]) -> Sequence[str]:
    """What the ledger has in this column."""
    chosen = {"street": Site.street, "batch": Site.batch}[column]
    return [each for each in session.scalars(select(chosen).distinct().order_by(chosen)) if each is not None]


def _of(query: Any, wanted: Wanted) -> Any:
    """A query about sites, of those alone that are wanted."""
    query = query.join(Site.courtyard)
    for term in wanted.text.split():
        spellings = {term, _plain(term)}
        query = query.where(or_(*(_like(column, each) for column in _SEARCHED for each in spellings)))
    for column, value in (
        (Site.state, wanted.state), (Site.system, wanted.system), (Site.street, wanted.street),
        (Site.batch, wanted.batch),
    ):  # fmt: skip
        query = query if value is None else query.where(column == value)
    if wanted.never_seen:
        return query.where(Site.observed_at.is_(None))
    if wanted.unseen_since is not None:
        return query.where(Site.observed_at.is_(None) | (Site.observed_at < wanted.unseen_since))
    return query


def _plain(text: str) -> str:
    """Full-width letters and digits, as Chinese input methods give them, made plain ones."""
    return unicodedata.normalize("NFKC", text)


def _like(column: Any, text: str, *, anywhere: bool = True) -> ColumnElement[bool]:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    found: ColumnElement[bool] = column.ilike(f"%{escaped}%" if anywhere else f"{escaped}%", escape="\\")
    return found
