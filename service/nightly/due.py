"""From due times to nights in the queue: one job for each area and due time, none twice, none silently left out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

from sqlalchemy import Engine, and_, or_, select, update
from sqlalchemy.orm import Session

from service.ledger.tables import new_id
from service.nightly.tables import UNFINISHED, AreaLock, Night, Schedule
from service.nightly.times import due
from service.notify.outbox import insert_once
from service.queue import Queue, enqueue

log = logging.getLogger("jingdi")

NIGHT = "night"
LOOK_EVERY_S = 20.0
ATTEMPTS = 40
"""A night waits for another of its area; with the queue's delays, for up to six hours."""
FORGOTTEN = timedelta(days=1)
"""So long a night in the foreground may wait for those before it."""


def take_due(engine: Engine, now: datetime, put: Callable[[Session, Night], None]) -> list[str]:
    """Make nights of what is due by now. Any number of processes may do so at once.

    The newest due time of a schedule is scanned; older ones that nobody was there for are recorded as missed. While a
    night of the same area is unfinished a new one waits, and is missed if the next is due before it could begin.

    Args:
        put: has the new night carried out, in the transaction that makes it.

    Returns:
        Ids of the nights that are to be carried out.
    """
    _bury(engine, now)
    with Session(engine) as session:
        schedules = session.scalars(select(Schedule).where(Schedule.enabled).order_by(Schedule.id)).all()
    found = []
    for schedule in schedules:
        try:
            moments = due(schedule.cron, schedule.time_zone, schedule.checked_until, now)
            night = _make(engine, schedule, moments, now, put) if moments else None
        except Exception:  # the others need not wait for what is wrong with this one
            log.exception("schedule %s could not be looked at", schedule.name)
            continue
        if night is not None:
            found.append(night)
    return found


def keep_watch(queue: Queue, stop: Event) -> None:
    """Put what is due into the queue, until `stop` is set."""
    while not stop.is_set():
        try:
            if take_due(queue.engine, datetime.now(UTC), enqueue_night):
                queue.ring()
        except Exception:
            log.exception("nightly scans could not be looked at; tried again soon")
        stop.wait(LOOK_EVERY_S)


def begin(session: Session, schedule: Schedule, now: datetime) -> Night:
    """A night out of turn, for now."""
    night = Night(**_night(schedule, now, now))
    session.add(night)
    session.flush()
    return night


def enqueue_night(session: Session, night: Night) -> None:
    """Have the workers of the service carry it out."""
    night.job_id = enqueue(session, NIGHT, {"night": night.id}, key=f"{NIGHT}:{night.id}", max_attempts=ATTEMPTS)


def _make(
    engine: Engine,
    schedule: Schedule,
    moments: Sequence[datetime],
    now: datetime,
    put: Callable[[Session, Night], None],
) -> str | None:
    *older, newest = moments
    unchanged = (
        Schedule.id == schedule.id, Schedule.checked_until == schedule.checked_until, Schedule.enabled,
        Schedule.cron == schedule.cron,
    )  # fmt: skip
    with Session(engine, expire_on_commit=False) as session, session.begin():
        # Written first: SQLite refuses to write after reading what another process has since changed.
        reached = older[-1] if older else schedule.checked_until
        first = session.connection().execute(update(Schedule).where(*unchanged).values(checked_until=reached))
        if first.rowcount != 1:
            return None  # another process was first, or it was changed meanwhile
        busy = _busy(session, schedule)
        why = "area_busy" if busy else "service_down"
        for moment in older:
            missed = {"state": "missed", "reasons": [{"code": why, "values": {}}], "finished_at": now}
            insert_once(session, Night, _night(schedule, moment, now) | missed)
        if busy:
            return None  # the newest still has its chance
        session.connection().execute(update(Schedule).where(Schedule.id == schedule.id).values(checked_until=newest))
        values = _night(schedule, newest, now)
        if not insert_once(session, Night, values):
            return None  # somebody has it scanned in the foreground at this very moment
        put(session, session.get_one(Night, values["id"]))
        return str(values["id"])


def _bury(engine: Engine, now: datetime) -> None:
    """End the nights in the foreground whose process died: nobody else would take them up."""
    held = select(AreaLock.night_id).where(AreaLock.until > now)
    stopped = and_(Night.state == "running", Night.id.not_in(held))
    never_begun = and_(Night.state == "queued", Night.created_at < now - FORGOTTEN)
    dead = (Night.job_id.is_(None), or_(stopped, never_begun))
    values = {"state": "failed", "reasons": [{"code": "worker_died", "values": {}}], "finished_at": now}
    with Session(engine) as session:
        if session.scalar(select(Night.id).where(*dead).limit(1)) is None:
            return
    with Session(engine) as session, session.begin():
        session.connection().execute(update(Night).where(*dead).values(**values))


def _night(schedule: Schedule, moment: datetime, now: datetime) -> dict[str, Any]:
    return {
        "id": new_id(), "schedule_id": schedule.id, "due_at": moment, "state": "queued", "reasons": [],
        "created_at": now,
    }  # fmt: skip


def _busy(session: Session, schedule: Schedule) -> bool:
    query = select(Night.id).join(Schedule).where(
        Schedule.area_key == schedule.area_key, Night.state.in_(UNFINISHED)
    )  # fmt: skip
    return session.scalar(query.limit(1)) is not None
