"""Queues for tests, and a worker in a process of its own that can be killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from service.database import connect
from service.queue import Handler, Job, Queue, Work, Worker
from tests.databases import new_database

LEASE = timedelta(seconds=0.6)


@contextmanager
def fresh_queue(folder: Path, **options: Any) -> Iterator[Queue]:
    """A queue on a database of its own."""
    with new_database(folder) as url:
        engine = connect(url)
        yield Queue(engine, **options)
        engine.dispose()


@contextmanager
def working(queue: Queue, *handlers: Handler, **options: Any) -> Iterator[Worker]:
    """A worker, as long as the block takes. The first handler is of the kind `a`, the second of `b`."""
    worker = Worker(queue, dict(zip("ab", handlers, strict=False)), poll_s=0.02, **options)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def until(condition: Callable[[], Any], seconds: float = 90.0) -> Any:
    """What the condition gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return found


def job(queue: Queue, job_id: str) -> Job:
    """It is there."""
    found = queue.get(job_id)
    assert found is not None
    return found


def ended(queue: Queue, job_id: str) -> Job:
    """The job, once it is over."""
    return until(lambda: (found := job(queue, job_id)).state not in ("queued", "running") and found)


def begin_and_hang(url: str, folder: str) -> None:
    """A worker that begins a job and never ends it. Runs in a `tests.fakes_notify.Killable`."""

    def hang(work: Work) -> None:
        (Path(folder) / f"begun-{work.attempt}").touch()
        threading.Event().wait()

    Worker(Queue(connect(url), lease=LEASE), {"a": hang}, poll_s=0.02).start()
    threading.Event().wait()
