"""Workers: every job comes to an end that is written down, whatever becomes of the worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from service.queue import Interrupted, Job, Queue, Refused, Work, Worker, enqueue
from service.queue.worker import FIRST_DELAY, LONGEST_DELAY, backoff
from tests.fakes_notify import Killable
from tests.people import Clock
from tests.queues import LEASE, ended, fresh_queue, job, until, working


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with fresh_queue(tmp_path, lease=LEASE) as found:
        yield found


def add(queue: Queue, kind: str = "a", **options: Any) -> str:
    return enqueue(queue.engine, kind, {"n": 1}, run_after=queue.clock(), **options)


# --- An end -----------------------------------------------------------------------------------------------


def test_what_a_handler_returns_is_the_result(queue: Queue) -> None:
    def double(work: Work) -> Any:
        work.report("count", 0.5)
        return {"n": 2 * work.payload["n"]}

    job_id = add(queue)
    with working(queue, double):
        done = ended(queue, job_id)
    assert (done.state, done.result, done.attempts, done.progress, done.stage) == ("done", {"n": 2}, 1, 1.0, None)
    assert done.started_at
    assert done.finished_at
    assert done.created_at <= done.started_at <= done.finished_at


def test_workers_of_this_process_begin_at_once(queue: Queue) -> None:
    worker = Worker(queue, {"a": lambda work: None}, poll_s=600)
    worker.start()
    ended(queue, queue.enqueue("a", {}))
    ended(queue, queue.enqueue("a", {}))
    worker.stop()


def test_as_many_run_at_once_as_there_are_threads(queue: Queue) -> None:
    together = threading.Barrier(2)
    ids = [add(queue), add(queue)]
    with working(queue, lambda work: together.wait(20), threads=2):
        assert {ended(queue, job_id).state for job_id in ids} == {"done"}


def test_where_a_job_is_can_be_read_while_it_runs(queue: Queue) -> None:
    go = threading.Event()

    def run(work: Work) -> None:
        work.report("score", 0.25)
        assert go.wait(20)

    job_id = add(queue)
    with working(queue, run):
        found = until(lambda: (found := job(queue, job_id)).stage and found)
        assert (found.state, found.stage, found.progress) == ("running", "score", 0.25)
        go.set()


# --- Failures ---------------------------------------------------------------------------------------------


def test_the_delay_doubles_up_to_a_limit() -> None:
    assert [backoff(n) / FIRST_DELAY for n in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert backoff(50) == backoff(500) == LONGEST_DELAY


def test_what_fails_is_tried_again_later_and_later_and_then_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, begun, told = Clock(), [], []

    def fail(work: Work) -> None:
        begun.append(clock())
        raise OSError(f"disk full {work.attempt}")

    def give_up(session: Session, failed: Job, error: Any) -> None:
        told.append(failed.id)

    with fresh_queue(tmp_path, clock=clock) as queue:
        job_id = add(queue, max_attempts=3)
        worker = Worker(queue, {"a": fail}, {"a": give_up})
        for delay in (FIRST_DELAY, 2 * FIRST_DELAY):
            assert worker.step()
            waiting = job(queue, job_id)
            assert waiting.state == "queued"
            assert waiting.error == {"code": "internal", "values": {"detail": f"OSError: disk full {waiting.attempts}"}}
            assert told == []
            clock.pass_by(seconds=delay.total_seconds() - 1)
            assert not worker.step()
            clock.pass_by(seconds=1)
        assert worker.step()
        failed = job(queue, job_id)
    assert [b - a for a, b in pairwise(begun)] == [FIRST_DELAY, 2 * FIRST_DELAY]
    assert (failed.state, failed.attempts, told) == ("failed", 3, [job_id])
    assert failed.error == {"code": "internal", "values": {"detail": "OSError: disk full 3"}}
    assert "attempt 3 of 3" in caplog.text


def test_an_attempt_that_succeeds_forgets_the_errors_before(tmp_path: Path) -> None:
    clock = Clock()

    def second_time(work: Work) -> None:
        if work.attempt == 1:
            raise OSError

    with fresh_queue(tmp_path, clock=clock) as queue:
        job_id = add(queue)
        worker = Worker(queue, {"a": second_time})
        worker.step()
        clock.pass_by(seconds=FIRST_DELAY.total_seconds())
        worker.step()
        done = job(queue, job_id)
    assert (done.state, done.attempts, done.error) == ("done", 2, None)


def test_what_can_never_succeed_is_not_tried_again(queue: Queue) -> None:
    def refuse(work: Work) -> None:
        raise Refused("gsd_out_of_range", gsd=30.0)

    told: list[tuple[str, str]] = []
    job_id = add(queue)
    with working(queue, refuse, given_up={"a": lambda session, failed, error: told.append((failed.id, error["code"]))}):
        failed = ended(queue, job_id)
    assert (failed.state, failed.attempts, told) == ("failed", 1, [(job_id, "gsd_out_of_range")])
    assert failed.error == {"code": "gsd_out_of_range", "values": {"gsd": 30.0}}


def test_a_result_that_cannot_be_kept_is_a_failure(queue: Queue) -> None:
    job_id = add(queue, max_attempts=1)
    with working(queue, lambda work: object()):
        failed = ended(queue, job_id)
    assert failed.state == "failed"
    assert failed.error
    assert "JSON" in failed.error["values"]["detail"]


def test_a_job_that_kills_every_worker_is_given_up(tmp_path: Path) -> None:
    clock, begun, told = Clock(), [], []
    with fresh_queue(tmp_path, clock=clock) as queue:
        job_id = add(queue, max_attempts=3)
        worker = Worker(
            queue, {"a": begun.append}, {"a": lambda session, failed, error: told.append((failed.id, error["code"]))}
        )
        for _ in range(3):
            assert queue.claim(["a"])  # and dies
            assert not worker.step()
            clock.pass_by(seconds=queue.lease.total_seconds())
        assert worker.step()
        failed = job(queue, job_id)
    assert (failed.state, failed.error) == ("failed", {"code": "worker_died", "values": {"attempts": 3}})
    assert (begun, told) == ([], [(job_id, "worker_died")])


def test_what_is_told_of_a_failure_and_the_failure_are_one_transaction(queue: Queue) -> None:
    def fail(work: Work) -> None:
        raise Refused("no")

    def break_off(session: Session, failed: Job, error: Any) -> None:
        raise RuntimeError("killed here")

    job_id = add(queue)
    with pytest.raises(RuntimeError):
        Worker(queue, {"a": fail}, {"a": break_off}).step()
    assert job(queue, job_id).state == "running"


# --- Stopping, cancelling, dying --------------------------------------------------------------------------


def test_stopping_gives_back_what_is_unfinished(queue: Queue) -> None:
    begun = threading.Event()

    def hang(work: Work) -> None:
        begun.set()
        while True:
            work.check()
            time.sleep(0.01)

    job_id = add(queue)
    with working(queue, hang):
        assert begun.wait(20)
    given_back = job(queue, job_id)
    assert (given_back.state, given_back.attempts, given_back.lease_owner) == ("queued", 0, None)
    with working(queue, lambda work: "done"):
        assert ended(queue, job_id).result == "done"


def test_a_job_that_is_cancelled_stops_at_the_next_step(queue: Queue) -> None:
    begun, interrupted = threading.Event(), threading.Event()

    def hang(work: Work) -> None:
        share = 0.0
        try:
            while True:
                work.report("hang", share := share + 1e-6)
                begun.set()
                time.sleep(0.01)
        except Interrupted:
            interrupted.set()
            raise

    job_id = add(queue)
    with working(queue, hang):
        assert begun.wait(20)
        assert queue.cancel(job_id)
        assert interrupted.wait(20)
    assert job(queue, job_id).state == "cancelled"


def test_a_worker_that_takes_long_keeps_its_job(queue: Queue) -> None:
    begun: list[int] = []

    def sleep(work: Work) -> None:
        begun.append(work.attempt)
        time.sleep(2.5 * LEASE.total_seconds())

    job_id = add(queue)
    with working(queue, sleep), working(queue, sleep):
        assert ended(queue, job_id).state == "done"
    assert begun == [1]


def test_a_worker_that_lost_its_job_is_told(queue: Queue) -> None:
    other = Queue(queue.engine, clock=lambda: queue.clock() + timedelta(hours=1))
    lost = threading.Event()

    def run(work: Work) -> None:
        if work.attempt == 1:
            assert other.claim(["a"])
            with pytest.raises(Interrupted):
                work.report("score", 0.5)
            lost.set()
            raise Interrupted

    add(queue)
    with working(queue, run):
        assert lost.wait(20)


def test_what_a_killed_process_had_is_done_by_another_after_the_lease(queue: Queue, tmp_path: Path) -> None:
    job_id = add(queue)
    url = queue.engine.url.render_as_string(hide_password=False)
    process = Killable("tests.queues:begin_and_hang", url, str(tmp_path))
    try:
        process.start()
        until(lambda: (tmp_path / "begun-1").exists())
        process.kill()
    finally:
        process.close()
    assert job(queue, job_id).state == "running"
    with working(queue, lambda work: work.attempt):
        done = ended(queue, job_id)
    assert (done.state, done.result) == ("done", 2)
    assert not (tmp_path / "begun-2").exists()
