"""What a bulletin says: the totals of a period per responsible system, and how closing went on.

States at the end of a period are read back from the audit log, so that the bulletin of last spring says today what it
said then. A suspicion is in no bulletin: a rebound counts once a named person has confirmed it.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.ledger.check import STALE_DAYS
from service.ledger.states import CHINA
from service.ledger.tables import CLOSED_SITE, SITE_STATES, SYSTEMS, AuditEntry, Decision, Observation, Site, System
from service.ledger.watch import WHOLE

_POINTS = 60
_COLUMNS = (
    Site.id, Site.code, Site.system, Site.street, Site.courtyard_id, Site.land_m2, Site.building_m2, Site.greened_m2,
    Site.state, Site.opened_on, Site.closed_on, Site.observed_at,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Period:
    """Days in China, both included.

    Raises:
        ValueError: the last one comes before the first.
    """

    since: date
    until: date

    def __post_init__(self) -> None:
        if self.until < self.since:
            raise ValueError(f"{self.until} comes before {self.since}")

    @property
    def start(self) -> datetime:
        """Its first moment."""
        return _midnight(self.since)

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return _midnight(self.until + timedelta(days=1))


@dataclass(frozen=True, slots=True)
class Line:
    """A responsible system, or (`system` None) all of them. Areas in m2, as the ledger states them.

    Attributes:
        closed_in_period: sites that two named persons accepted in the period.
        open, watched: entries that are open, and that are closed, at the end of the period; together all sites.
        rebounds: sites of which a named person confirmed a rebound in the period.
        not_observed: of those watched, sites that were not seen whole in the last 90 days. Nothing is known of them.
    """

    system: System | None
    courtyards: int
    sites: int
    land_m2: float
    building_m2: float
    greened_m2: float
    closed_in_period: int
    open: int
    watched: int
    rebounds: int
    not_observed: int


@dataclass(frozen=True, slots=True)
class Closed:
    """A site that was closed in the period."""

    site_id: str
    code: str
    system: System
    street: str | None
    land_m2: float
    closed_at: datetime
    evidence: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Bulletin:
    """The figures of a period.

    Attributes:
        lines: the responsible systems that have sites; `total` is all of them.
        closed: sites closed in the period, the largest first; their land in m2 is `closed_land_m2`.
        progress: (day, entries that are closed on its evening), from the day before the period on.
    """

    period: Period
    lines: Sequence[Line]
    total: Line
    closed: Sequence[Closed]
    closed_land_m2: float
    progress: Sequence[tuple[date, int]]


def bulletin(session: Session, period: Period) -> Bulletin:
    """The figures of a period. Sites whose entries were opened after it are left out."""
    rows = session.execute(select(*_COLUMNS).order_by(Site.code)).all()
    sites = [row for row in rows if row.opened_on is None or row.opened_on <= period.until]
    steps = _steps(session, {site.id for site in sites})
    accepted = {each.site_id: each for each in steps if each.target == "accepted" and _within(each, period)}
    rebounds = {each.site_id for each in steps if each.target == "rebound_confirmed" and _within(each, period)}
    states = _states(session, sites, period.end)
    seen = _seen(session, period.end)
    stale = period.end - timedelta(days=STALE_DAYS)

    def line(system: System | None, chosen: Sequence[Any]) -> Line:
        watched = [site for site in chosen if states[site.id] in CLOSED_SITE]
        return Line(
            system, len({site.courtyard_id for site in chosen}), len(chosen), sum(site.land_m2 for site in chosen),
            sum(site.building_m2 for site in chosen), sum(site.greened_m2 for site in chosen),
            sum(site.id in accepted for site in chosen), len(chosen) - len(watched), len(watched),
            sum(site.id in rebounds for site in chosen),
            sum(_last_seen(site, seen, period.end) < stale for site in watched),
        )  # fmt: skip

    closed = [
        Closed(site.id, site.code, site.system, site.street, site.land_m2, step.decided_at, step.evidence)
        for site in sites
        if (step := accepted.get(site.id)) is not None
    ]
    lines = [line(system, [site for site in sites if site.system == system]) for system in SYSTEMS]
    return Bulletin(
        period, [each for each in lines if each.sites], line(None, sites),
        sorted(closed, key=lambda each: (-each.land_m2, each.code)), sum(each.land_m2 for each in closed),
        _progress(sites, states, steps, period),
    )  # fmt: skip


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), CHINA).astimezone(UTC)


def _within(step: Any, period: Period) -> bool:
    return bool(period.start <= step.decided_at < period.end)


def _steps(session: Session, known: set[str]) -> list[Any]:
    """Steps by which named persons closed entries or confirmed rebounds, oldest first."""
    query = (
        select(Decision.site_id, Decision.target, Decision.decided_at, Decision.evidence)
        .where(Decision.alert_id.is_(None), Decision.target.in_(("accepted", "rebound_confirmed")))
        .order_by(Decision.decided_at, Decision.id)
    )
    return [row for row in session.execute(query) if row.site_id in known]


def _states(session: Session, sites: Iterable[Any], end: datetime) -> dict[str, str]:
    """Site -> its state at `end`: what the first step after it led away from, or what it is now."""
    states = {site.id: site.state for site in sites}
    later = (
        select(AuditEntry.subject, AuditEntry.detail)
        .where(AuditEntry.action.in_([f"site.{state}" for state in SITE_STATES]), AuditEntry.at >= end)
        .order_by(AuditEntry.number.desc())
    )
    for entry in session.execute(later):
        site_id = entry.subject.removeprefix("site:")
        if site_id in states:
            states[site_id] = json.loads(entry.detail)["from"]
    return states


def _seen(session: Session, end: datetime) -> dict[str, datetime]:
    """Site -> when it was last seen whole before `end`."""
    whole = (Observation.observed_share >= WHOLE, Observation.observed_at < end)
    query = select(Observation.site_id, func.max(Observation.observed_at)).where(*whole).group_by(Observation.site_id)
    return {site_id: _utc(moment) for site_id, moment in session.execute(query)}


def _last_seen(site: Any, seen: Mapping[str, datetime], end: datetime) -> datetime:
    never = datetime.min.replace(tzinfo=UTC)
    noted = site.observed_at if site.observed_at and site.observed_at < end else never
    return max(seen.get(site.id, never), noted)


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _progress(
    sites: Sequence[Any], states: Mapping[str, str], steps: Sequence[Any], period: Period
) -> list[tuple[date, int]]:
    """How many entries were closed, evening by evening, at some 60 days of the period."""
    changes: list[tuple[datetime, int]] = []
    closed: set[str] = set()
    told = {step.site_id for step in steps if step.target == "accepted"}
    for site in sites:
        if site.id not in told and states[site.id] in CLOSED_SITE:  # closed before it came into this ledger
            changes.append((_midnight(site.closed_on) if site.closed_on else period.start - timedelta(days=1), 1))
    for step in steps:
        closing = step.target == "accepted"
        if closing != (step.site_id in closed):
            changes.append((step.decided_at, 1 if closing else -1))
            (closed.add if closing else closed.discard)(step.site_id)
    first, days = period.since - timedelta(days=1), (period.until - period.since).days + 1
    offsets = sorted({round(days * i / min(days, _POINTS)) for i in range(min(days, _POINTS) + 1)})
    evenings = [first + timedelta(days=offset) for offset in offsets]
    changes.sort()
    moments, running = [at for at, _ in changes], list(accumulate((change for _, change in changes), initial=0))
    return [(each, running[bisect_left(moments, _midnight(each + timedelta(days=1)))]) for each in evenings]
