"""The queue in the database. Every change of a job is one UPDATE that names the state and the lease it expects."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Engine, and_, func, or_, select, update
from sqlalchemy.orm import Session

from service.notify.outbox import insert_once
from service.queue.tables import Job, State

LEASE = timedelta(seconds=30)
"""So long after its last sign of life whoever had a job is taken for dead."""
MAX_ATTEMPTS = 5
_NUMBERS = itertools.count(1)
_UNLEASED = {"lease_owner": None, "lease_until": None}


def utc_now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def enqueue(
    where: Session | Engine,
    kind: str,
    payload: Mapping[str, Any],
    *,
    key: str | None = None,
    priority: int = 0,
    run_after: datetime | None = None,
    max_attempts: int = MAX_ATTEMPTS,
) -> str:
    """Have something done. Of a key that is known already nothing new is made.

    Args:
        where: with a session, the job is there if and only if its transaction is committed.
        payload: what JSON can hold.
        key: what makes two jobs the same one, up to 200 characters; without it, it is a new job.
        run_after: not before this moment.
        max_attempts: how often it may be begun before it is given up.

    Returns:
        Id of the job.
    """
    if isinstance(where, Engine):
        with Session(where) as session, session.begin():
            return enqueue(
                session, kind, payload, key=key, priority=priority, run_after=run_after, max_attempts=max_attempts
            )
    job_id, now = uuid4().hex, utc_now()
    values = {
        "id": job_id, "key": key or job_id, "kind": kind, "payload": dict(payload), "priority": priority,
        "run_after": run_after or now, "attempts": 0, "max_attempts": max_attempts, "state": "queued",
        "progress": 0.0, "created_at": now,
    }  # fmt: skip
    if insert_once(where, Job, values):
        return job_id
    return where.scalars(select(Job.id).where(Job.key == key)).one()


class Queue:
    """The jobs of one database.

    Args:
        clock: gives the moment.
        lease: see `LEASE`.
    """

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = utc_now, lease: timedelta = LEASE) -> None:
        self.engine, self.clock, self.lease = engine, clock, lease
        self._bell, self._rung = threading.Condition(), 0

    # --- Looking ------------------------------------------------------------------------------------------

    def get(self, job_id: str) -> Job | None:
        """The job, or None."""
        with Session(self.engine) as session:
            return session.get(Job, job_id)

    def recent(self, kind: str, *states: State, limit: int | None = None, offset: int = 0) -> Sequence[Job]:
        """Jobs of a kind, in one of these states (or any), newest first."""
        query = select(Job).where(*_of(kind, states)).order_by(Job.created_at.desc(), Job.id)
        with Session(self.engine) as session:
            return session.scalars(query.limit(limit).offset(offset)).all()

    def count(self, kind: str, *states: State) -> int:
        """How many there are."""
        with Session(self.engine) as session:
            return session.scalar(select(func.count()).select_from(Job).where(*_of(kind, states))) or 0

    # --- From outside -------------------------------------------------------------------------------------

    def enqueue(self, kind: str, payload: Mapping[str, Any], **options: Any) -> str:
        """As the function `enqueue`; workers of this process begin at once."""
        job_id = enqueue(self.engine, kind, payload, **options)
        self.ring()
        return job_id

    def cancel(self, job_id: str) -> bool:
        """Whoever works on it stops at the next step. False if it is over, or there is none."""
        open_ = and_(Job.id == job_id, Job.state.in_(("queued", "running")))
        return self._change(open_, state="cancelled", finished_at=self.clock(), **_UNLEASED)

    def ring(self) -> None:
        """Have the workers of this process look now."""
        with self._bell:
            self._rung += 1
            self._bell.notify_all()

    @property
    def rung(self) -> int:
        """How often the bell was rung; `wait` returns at once if it has been since."""
        return self._rung

    def wait(self, since: int, seconds: float) -> None:
        """Until the bell is rung, or so long: other processes do not ring here."""
        with self._bell:
            self._bell.wait_for(lambda: self._rung != since, seconds)

    # --- Working ------------------------------------------------------------------------------------------

    def claim(self, kinds: Collection[str]) -> Job | None:
        """Take the lease of the job to do next, None if there is none now.

        Its `attempts` are more than its `max_attempts` if all of them ended with the death of the worker: then it is
        to be given up.
        """
        while True:
            now = self.clock()
            due = or_(
                and_(Job.state == "queued", Job.run_after <= now),
                and_(Job.state == "running", Job.lease_until <= now),
            )
            query = select(Job.id).where(Job.kind.in_(kinds), due)
            query = query.order_by(Job.priority.desc(), Job.run_after, Job.id).limit(1)
            owner = f"{socket.gethostname()[:64]}:{os.getpid()}:{next(_NUMBERS)}-{uuid4().hex[:8]}"
            taken = {
                "state": "running", "attempts": Job.attempts + 1, "lease_owner": owner,
                "lease_until": now + self.lease, "started_at": now, "stage": None, "progress": 0.0,
            }  # fmt: skip
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                # Who takes part with PostgreSQL takes different ones; with SQLite the second one of two comes too late.
                job_id = session.scalar(query.with_for_update(skip_locked=True))
                if job_id is None:
                    return None
                if _update(session, and_(Job.id == job_id, due), **taken):
                    return session.get_one(Job, job_id)

    def renew(self, job: Job) -> bool:
        """A sign of life. False if the lease is lost."""
        return self._change(_leased(job), lease_until=self.clock() + self.lease)

    def report(self, job: Job, stage: str, progress: float) -> bool:
        """Where it is; a sign of life as well. False if the lease is lost."""
        until = self.clock() + self.lease
        return self._change(_leased(job), stage=stage, progress=progress, lease_until=until)

    def finish(self, job: Job, result: Any) -> bool:
        """It is done. False if the lease is lost."""
        return self._change(
            _leased(job), state="done", result=result, error=None, stage=None, progress=1.0,
            finished_at=self.clock(), **_UNLEASED,
        )  # fmt: skip

    def retry(self, job: Job, error: Mapping[str, Any], delay: timedelta) -> bool:
        """It failed, and is tried again later."""
        again = {"run_after": self.clock() + delay, "error": dict(error)}
        return self._change(_leased(job), state="queued", stage=None, progress=0.0, **again, **_UNLEASED)

    def give_back(self, job: Job) -> bool:
        """It was not finished, through no fault of its own."""
        begun = {"attempts": Job.attempts - 1, "stage": None, "progress": 0.0}
        return self._change(_leased(job), state="queued", **begun, **_UNLEASED)

    def fail(self, session: Session, job: Job, error: Mapping[str, Any]) -> bool:
        """It failed for good, in the transaction of `session`. False if the lease is lost."""
        values = {"state": "failed", "error": dict(error), "stage": None, "finished_at": self.clock()}
        return _update(session, _leased(job), **values, **_UNLEASED)

    def _change(self, expected: ColumnElement[bool], **values: Any) -> bool:
        with Session(self.engine) as session, session.begin():
            return _update(session, expected, **values)


def _leased(job: Job) -> ColumnElement[bool]:
    return and_(Job.id == job.id, Job.state == "running", Job.lease_owner == job.lease_owner)


def _of(kind: str, states: tuple[State, ...]) -> list[ColumnElement[bool]]:
    return [Job.kind == kind, *([Job.state.in_(states)] if states else [])]


def _update(session: Session, expected: ColumnElement[bool], **values: Any) -> bool:
    return bool(session.connection().execute(update(Job).where(expected).values(**values)).rowcount == 1)
