"""Workers: threads that take jobs out of the queue and see them to an end, whatever that is."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from service.queue.store import Queue
from service.queue.tables import Job

log = logging.getLogger("jingdi")

FIRST_DELAY, LONGEST_DELAY = timedelta(seconds=5), timedelta(minutes=10)
POLL_S = 1.0
_WRITE_EVERY_S = 0.2


class Interrupted(Exception):
    """The service stops, or the job is cancelled or somebody else's by now: leave it where it is."""


class Refused(Exception):
    """The job can never succeed. `code` and `values` say why (`inference.reasons`, or a code of the kind)."""

    def __init__(self, code: str, **values: Any) -> None:
        self.code, self.values = code, values
        super().__init__(f"{code}: {values}" if values else code)

    @property
    def error(self) -> dict[str, Any]:
        """As it is kept."""
        return {"code": self.code, "values": self.values}


class Work:
    """A job, as its handler sees it.

    Attributes:
        id, kind, payload: of the job.
        attempt: from 1 on; up to `max_attempts`.
    """

    def __init__(self, queue: Queue, job: Job, stopping: threading.Event) -> None:
        self.id, self.kind, self.payload = job.id, job.kind, job.payload
        self.attempt, self.max_attempts = job.attempts, job.max_attempts
        self._queue, self._job, self._stopping, self._lost = queue, job, stopping, threading.Event()
        self._written_at, self._stage = 0.0, ""

    def check(self) -> None:
        """Call it now and then.

        Raises:
            Interrupted: stop.
        """
        if self._stopping.is_set() or self._lost.is_set():
            raise Interrupted

    def report(self, stage: str, share: float) -> None:
        """Say where the job is: share 0..1 of a stage. Call it as often as you like.

        Raises:
            Interrupted: stop.
        """
        self.check()
        now = time.monotonic()
        if stage == self._stage and now - self._written_at < _WRITE_EVERY_S:
            return
        self._written_at, self._stage = now, stage
        if not self._queue.report(self._job, stage, min(max(share, 0.0), 1.0)):
            self._lost.set()
            raise Interrupted

    def renew(self) -> None:
        """A sign of life, by the worker."""
        if not self._queue.renew(self._job):
            self._lost.set()


Handler = Callable[[Work], Any]
GivenUp = Callable[[Session, Job, Mapping[str, Any]], None]


def backoff(attempt: int) -> timedelta:
    """How long to wait after so many attempts: twice as long each time, up to a limit."""
    doublings: int = min(attempt - 1, 20)
    return min(FIRST_DELAY * (1 << doublings), LONGEST_DELAY)


class Worker:
    """Threads that work on some kinds of jobs.

    Args:
        handlers: kind -> what is called with the `Work`.
        given_up: kind -> what is called with a job that failed for good and why, in the transaction that says so.
        threads: how many jobs at once.
        poll_s: how often to look for what other processes have put into the queue.
    """

    def __init__(
        self,
        queue: Queue,
        handlers: Mapping[str, Handler],
        given_up: Mapping[str, GivenUp] | None = None,
        *,
        threads: int = 1,
        poll_s: float = POLL_S,
    ) -> None:
        self.queue, self.handlers, self.given_up = queue, dict(handlers), dict(given_up or {})
        self._poll_s, self._stopping, self._ended = poll_s, threading.Event(), threading.Event()
        self._works: dict[str, Work] = {}
        name = "-".join(self.handlers)
        self._threads = [threading.Thread(target=self._loop, name=f"{name}-{n}") for n in range(threads)]
        self._heart = threading.Thread(target=self._beat, name=f"{name}-heart")

    def start(self) -> None:
        """Begin."""
        for thread in (*self._threads, self._heart):
            thread.start()

    def stop(self) -> None:
        """Have handlers interrupted, give back what is unfinished, and return when that is done."""
        self._stopping.set()
        self.queue.ring()
        for thread in self._threads:
            thread.join()
        self._ended.set()
        self._heart.join()

    def step(self) -> bool:
        """Take one job to its end. False if there is none now."""
        job = self.queue.claim(self.handlers.keys())
        if job is None:
            return False
        if job.attempts > job.max_attempts:
            self._give_up(job, {"code": "worker_died", "values": {"attempts": job.max_attempts}})
            return True
        work = self._works[job.id] = Work(self.queue, job, self._stopping)
        try:
            if not self.queue.finish(job, self.handlers[job.kind](work)):
                log.warning("job %s (%s) took longer than its lease, or was cancelled", job.id, job.kind)
        except Interrupted:
            self.queue.give_back(job)
        except Refused as refused:
            self._give_up(job, refused.error)
        except Exception as error:
            log.exception("job %s (%s) failed on attempt %d of %d", job.id, job.kind, job.attempts, job.max_attempts)
            self._failed(job, error)
        finally:
            self._works.pop(job.id, None)
        return True

    def _failed(self, job: Job, error: Exception) -> None:
        kept = {"code": "internal", "values": {"detail": f"{type(error).__name__}: {error}"[:500]}}
        if job.attempts < job.max_attempts:
            self.queue.retry(job, kept, backoff(job.attempts))
        else:
            self._give_up(job, kept)

    def _give_up(self, job: Job, error: dict[str, Any]) -> None:
        with Session(self.queue.engine) as session, session.begin():
            if self.queue.fail(session, job, error) and job.kind in self.given_up:
                self.given_up[job.kind](session, job, error)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            rung = self.queue.rung
            try:
                busy = self.step()
            except Exception:
                log.exception("the queue cannot be reached; tried again")
                busy = False
            if not busy and not self._stopping.is_set():
                self.queue.wait(rung, self._poll_s)

    def _beat(self) -> None:
        """Renew every lease several times before it would run out, until the last thread has ended."""
        while not self._ended.wait(self.queue.lease.total_seconds() / 3):
            for work in list(self._works.values()):
                with suppress(Exception):  # a database that is away now may be back in time
                    work.renew()
