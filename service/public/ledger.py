"""The ledger as the public reads it: by code, street, system, state, m2 and date.

**Where.** The street and nothing finer. A cell of 0.01 degrees (0.9 km2 here) would often hold one site of its kind
and, with its area and an aerial picture, show the courtyard; a street of the district has 9 km2 and dozens of sites.
So no coordinate is even read: the query names its columns, and the geometry is not among them. A street that fewer
than `STREET_OF_MANY` sites give is left out, because then it is an address, or names one courtyard.

**Who.** No names: neither of sites and courtyards, which may be a person's, nor of inspectors. Codes only.

**What.** The state is the last one that a named person decided. Being watched and being suspected are the system's own
doing, so both read as `accepted` (closed), and nobody learns from here of a suspicion.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from service.language import say, word
from service.ledger.tables import SYSTEMS, Site, SiteState, System

PublicState = Literal["open", "claimed_clear", "accepted", "rebound_confirmed"]
PUBLIC_STATES: tuple[PublicState, ...] = get_args(PublicState)
SHOWN_AS: Mapping[SiteState, PublicState] = {
    "open": "open",
    "claimed_clear": "claimed_clear",
    "accepted": "accepted",
    "watched": "accepted",
    "rebound_suspected": "accepted",
    "rebound_confirmed": "rebound_confirmed",
}
STREET_OF_MANY = 3
OTHER_STREETS = "-"
"""Asks for sites whose street is left out."""
_COLUMNS = (
    Site.code, Site.street, Site.system, Site.state, Site.land_m2, Site.building_m2, Site.greened_m2, Site.opened_on,
    Site.closed_on,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PublicSite:
    """What is public of a site. Areas in m2, as the ledger states them; `street` None where it is left out."""

    code: str
    street: str | None
    system: System
    state: PublicState
    land_m2: float
    building_m2: float
    greened_m2: float
    opened_on: date | None
    closed_on: date | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which sites; all if nothing is said. `code` is how it begins, the dates are those of closing, both included."""

    code: str = ""
    street: str = ""
    system: System | None = None
    state: PublicState | None = None
    closed_from: date | None = None
    closed_until: date | None = None


@dataclass(frozen=True, slots=True)
class PublicTotal:
    """Sums of a responsible system, or (`system` None) of all. Areas in m2."""

    system: System | None
    sites: int
    closed: int
    land_m2: float
    building_m2: float
    greened_m2: float


def streets(session: Session) -> list[str]:
    """The streets that are shown."""
    many = select(Site.street).where(Site.street.is_not(None)).group_by(Site.street)
    found = session.scalars(many.having(func.count() >= STREET_OF_MANY).order_by(Site.street))
    return [street for street in found if street]


def count(session: Session, wanted: Wanted) -> int:
    """How many sites are wanted."""
    chosen = select(Site.code).where(*_conditions(wanted, streets(session)))
    return session.scalar(select(func.count()).select_from(chosen.subquery())) or 0


def sites(session: Session, wanted: Wanted, limit: int | None = None, offset: int = 0) -> list[PublicSite]:
    """Sites by code."""
    shown = streets(session)
    query = select(*_COLUMNS).where(*_conditions(wanted, shown)).order_by(Site.code)
    return [
        PublicSite(
            row.code, row.street if row.street in shown else None, row.system, SHOWN_AS[row.state], row.land_m2,
            row.building_m2, row.greened_m2, row.opened_on,
            None if SHOWN_AS[row.state] in ("open", "claimed_clear") else row.closed_on,
        )
        for row in session.execute(query.limit(limit).offset(offset))
    ]  # fmt: skip


def totals(session: Session) -> list[PublicTotal]:
    """Sums per responsible system that has sites, and of all."""
    areas = (func.sum(Site.land_m2), func.sum(Site.building_m2), func.sum(Site.greened_m2))
    rows = session.execute(select(Site.system, Site.state, func.count(), *areas).group_by(Site.system, Site.state))
    parts = [(row[0], SHOWN_AS[row[1]] == "accepted", *row[2:]) for row in rows]
    found = [_sum(name, [part for part in parts if part[0] == name]) for name in SYSTEMS]
    return [*(each for each in found if each.sites), _sum(None, parts)]


def _sum(name: System | None, parts: Sequence[Any]) -> PublicTotal:
    closed = sum(part[2] for part in parts if part[1])
    return PublicTotal(name, sum(part[2] for part in parts), closed, *(sum(p[i] for p in parts) for i in (3, 4, 5)))


def _conditions(wanted: Wanted, shown: Sequence[str]) -> Iterator[ColumnElement[bool]]:
    if wanted.code:
        yield Site.code.startswith(wanted.code, autoescape=True)
    if wanted.street == OTHER_STREETS:
        yield Site.street.is_(None) | Site.street.not_in(shown)
    elif wanted.street:
        # A street that is left out cannot be asked for either.
        yield and_(Site.street == wanted.street, Site.street.in_(shown))
    if wanted.system:
        yield Site.system == wanted.system
    if wanted.state:
        yield Site.state.in_([state for state, public in SHOWN_AS.items() if public == wanted.state])
    if wanted.closed_from or wanted.closed_until:
        yield Site.state.not_in(("open", "claimed_clear"))
    if wanted.closed_from:
        yield Site.closed_on >= wanted.closed_from
    if wanted.closed_until:
        yield Site.closed_on <= wanted.closed_until


def as_csv(found: Sequence[PublicSite], language: str) -> bytes:
    """The same as a spreadsheet reads it: UTF-8 with a byte order mark, nothing that computes."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    names = [field.name for field in fields(PublicSite)]
    units = {name: f" ({say(language, 'public.m2')})" for name in names if name.endswith("_m2")}
    writer.writerow(word(language, name) + units.get(name, "") for name in names)
    for site in found:
        writer.writerow(_cell(name, getattr(site, name), language) for name in names)
    return stream.getvalue().encode("utf-8-sig")


def _cell(name: str, value: Any, language: str) -> str:
    if value is None:
        return say(language, "public.other_street") if name == "street" else ""
    if isinstance(value, float):
        return f"{value:.0f}"
    if isinstance(value, date):
        return value.isoformat()
    text = word(language, value) if name in ("system", "state") else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
