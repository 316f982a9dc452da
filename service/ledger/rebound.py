"""From a scan to the people who must know: looks, alerts and messages in one transaction, all of them or none.

A suspicion is nobody's business until a second look or a person has corroborated it and it is within the budget of
its inspector's day. Then it is told of once, however often it is seen again; and once more when it is decided.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event as Signal

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.ledger import watch
from service.ledger.audit import writing
from service.ledger.tables import Alert
from service.ledger.watch import Outcome, Scan
from service.nightly.tracking import follow
from service.notify.outbox import Event, enqueue
from service.scenes.recording import Record, keep

log = logging.getLogger("jingdi")

LOOK_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Taken:
    """What a scan led to, and the ids of the alerts that were released with it."""

    outcome: Outcome
    dispatched: tuple[str, ...]


def take_in(
    engine: Engine, scan: Scan, budget: int, *, at: datetime | None = None, record: Record | None = None
) -> Taken:
    """Lay a scan over the ledger and tell inspectors of what is corroborated. The same scene again changes nothing.

    Args:
        record: what is kept of the scene itself.
    """
    moment = at or datetime.now(UTC)
    with writing(engine) as session:
        outcome = watch.take_in(session, scan, at=moment)
        scene = None if record is None else keep(session, scan, record, moment)
        if scene is not None:
            follow(session, scene)
        return Taken(outcome, release(session, budget, at=moment))


def release(session: Session, budget: int, *, at: datetime | None = None) -> tuple[str, ...]:
    """Dispatch what waits, at most `budget` alerts for each inspector on one day; the messages go into the outbox.

    Returns:
        Ids of the alerts.
    """
    moment = at or datetime.now(UTC)
    released = watch.dispatch(session, budget, at=moment)
    for alert in released:
        tell(session, alert, moment)
    return tuple(alert.id for alert in released)


def tell(session: Session, alert: Alert, at: datetime | None = None) -> None:
    """Put into the outbox that an alert was dispatched, or how it was decided if anybody was told of it before."""
    if alert.state == "dispatched":
        figures = {"area_m2": alert.area_m2, "probability": alert.probability, "looks": alert.looks}
        enqueue(session, _event(alert, "rebound_suspected", **figures), at)
    elif alert.state in ("confirmed", "dismissed") and alert.dispatched_at is not None:
        enqueue(session, _event(alert, f"rebound_{alert.state}"), at)


def keep_releasing(engine: Engine, budget: int, stop: Signal) -> None:
    """Release, until `stop` is set, what had to wait for another day or was corroborated by a person."""
    waiting = select(Alert.id).where(Alert.state == "corroborated").limit(1)
    while not stop.is_set():
        try:
            with Session(engine) as session:
                found = session.scalar(waiting)
            if found is not None:
                with writing(engine) as session:
                    release(session, budget)
        except Exception:
            log.exception("alerts could not be released; tried again in a minute")
        stop.wait(LOOK_EVERY_S)


def _event(alert: Alert, kind: str, **figures: float) -> Event:
    site = alert.site
    return Event(
        kind, f"alert:{alert.id}:{alert.state}", {"name": site.name, **figures},
        site=site.code, area=site.community, system=site.system, street=site.street,
        url=f"/api/v1/ledger/alerts/{alert.id}",
    )  # fmt: skip
