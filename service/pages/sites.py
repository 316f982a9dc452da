"""How pages show sites: the mark of each state, areas in the reader's unit, how long ago a site was seen whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fastapi import Request
from shapely.geometry.base import BaseGeometry

from service.language import say
from service.ledger.check import STALE_DAYS
from service.ledger.states import CHINA
from service.ledger.tables import SiteState
from service.pages.view import M2_PER_MU, areas
from service.people.rights import OPERATOR, Action, SignedIn
from service.triage.evidence import View

Unit = Literal["wan", "mu", "m2"]
_M2: Mapping[Unit, float] = {"wan": 10_000.0, "mu": M2_PER_MU, "m2": 1.0}
_DIGITS: Mapping[Unit, int] = {"wan": 2, "mu": 1, "m2": 0}

_RING = "m0-6.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 1 1 0-13z"
MARKS: Mapping[SiteState, str] = {
    "open": "m-5.5-5.5h11v11h-11zm2.5 2.5v6h6v-6z",
    "claimed_clear": "m0-7 7 7-7 7-7-7zm0 3-4 4 4 4z",
    "accepted": f"{_RING}m-1 9.7-3.1-3.1 1.2-1.2 1.9 1.9 3.9-3.9 1.2 1.2z",
    "watched": f"{_RING}m0 2.1a4.4 4.4 0 1 1 0 8.8 4.4 4.4 0 1 1 0-8.8zm0 2.4a2 2 0 1 1 0 4 2 2 0 1 1 0-4z",
    "rebound_suspected": "m0-7 7 12.5h-14zm0 4.6-3.4 5.9h6.8z",
    "rebound_confirmed": "m0-7 7 12.5h-14zm-.9 4v4.6h1.8v-4.6zm0 5.8v1.8h1.8v-1.8z",
}
"""State -> SVG path around the origin, 14 wide, with even-odd filling. Relative, so that a map can put it anywhere."""

_CLOSER = 0.6


@dataclass(frozen=True, slots=True)
class Seen:
    """When a site was last seen whole, in words. `level`: `never`, `old` or `recent`; none of them means clear."""

    text: str
    level: Literal["never", "old", "recent"]
    sentence: str
    """The same where no heading says what it is."""


def seen(observed_at: datetime | None, now: datetime, language: str) -> Seen:
    """How long nothing is known of a site."""
    if observed_at is None:
        return Seen(say(language, "sites.seen_never"), "never", say(language, "sites.never_observed"))
    there = observed_at.astimezone(CHINA).date()
    days = max(0, (now.astimezone(CHINA).date() - there).days)
    key = "sites.seen_today" if days == 0 else "sites.seen_day" if days == 1 else "sites.seen_days"
    text = say(language, key, date=there.isoformat(), days=days)
    sentence = say(language, "sites.not_observed_since", since=text)
    return Seen(text, "old" if days > STALE_DAYS else "recent", sentence)


def figure(m2: float, unit: Unit) -> str:
    """An area as a number in the unit."""
    return f"{m2 / _M2[unit]:,.{_DIGITS[unit]}f}"


def area(m2: float, language: str) -> str:
    """An area in m2 and mu."""
    in_m2, in_mu = areas(m2, language)
    return say(language, "sites.area", m2=in_m2, mu=in_mu)


def close_up(outline: BaseGeometry) -> View:
    """A square piece of ground that a site (WGS-84) fills well."""
    wide = View.around(outline)
    return View(wide.lon, wide.lat, max(60, round(wide.metres * _CLOSER / 10) * 10))


def may(request: Request, action: Action) -> bool:
    """Whether whoever asks may do it."""
    asking: SignedIn | None = request.state.signed_in
    return asking is not None and action in asking.actions


def nameless(request: Request) -> bool:
    """Whether whoever acts has to say who answers for it, because accounts are off."""
    return request.state.signed_in is OPERATOR
