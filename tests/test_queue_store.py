"""The queue in the database: one job per key, one worker per job, and nothing is lost with a worker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.queue import LEASE, Job, Queue, enqueue
from tests.people import Clock, at_once
from tests.queues import fresh_queue, job


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[Queue]:
    with fresh_queue(tmp_path, clock=clock) as found:
        yield found


def add(queue: Queue, kind: str = "a", **options: object) -> str:
    """Due now, by the clock of the test."""
    return enqueue(queue.engine, kind, {}, **{"run_after": queue.clock(), **options})  # type: ignore[arg-type]


# --- In ---------------------------------------------------------------------------------------------------


def test_the_same_key_is_the_same_job(queue: Queue) -> None:
    first = enqueue(queue.engine, "a", {"n": 1}, key="night:2026-03-02")
    assert enqueue(queue.engine, "a", {"n": 2}, key="night:2026-03-02") == first
    assert enqueue(queue.engine, "a", {"n": 1}, key="night:2026-03-03") != first
    assert job(queue, first).payload == {"n": 1}
    assert queue.count("a") == 2


def test_without_a_key_each_is_a_job_of_its_own(queue: Queue) -> None:
    assert enqueue(queue.engine, "a", {}) != enqueue(queue.engine, "a", {})


def test_a_key_sent_twenty_times_at_once_makes_one_job(queue: Queue) -> None:
    assert len(set(at_once(lambda: enqueue(queue.engine, "a", {}, key="k"), 20))) == 1
    assert queue.count("a") == 1


def test_a_key_stays_its_job_when_that_is_over(queue: Queue) -> None:
    first = add(queue, key="k")
    claimed = queue.claim(["a"])
    assert claimed
    queue.finish(claimed, None)
    assert add(queue, key="k") == first
    assert queue.claim(["a"]) is None


def test_a_job_is_there_if_and_only_if_its_transaction_is(queue: Queue) -> None:
    with Session(queue.engine) as session:
        enqueue(session, "a", {}, key="k")
        session.rollback()
    assert queue.count("a") == 0
    with Session(queue.engine) as session, session.begin():
        enqueue(session, "a", {}, key="k")
    assert queue.count("a") == 1


def test_a_state_that_does_not_exist_is_refused_by_the_database(queue: Queue) -> None:
    wrong = update(Job).where(Job.id == add(queue)).values(state="perhaps")
    with queue.engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(wrong)


# --- Out --------------------------------------------------------------------------------------------------


def test_urgent_ones_come_first_and_then_those_that_have_waited_longest(queue: Queue, clock: Clock) -> None:
    late = add(queue)
    early = add(queue, run_after=clock() - timedelta(hours=1))
    urgent = add(queue, priority=5)
    taken = [queue.claim(["a"]) for _ in range(4)]
    assert [found and found.id for found in taken] == [urgent, early, late, None]


def test_nothing_is_begun_before_its_moment(queue: Queue, clock: Clock) -> None:
    add(queue, run_after=clock() + timedelta(minutes=1))
    assert queue.claim(["a"]) is None
    clock.pass_by(minutes=1)
    assert queue.claim(["a"])


def test_only_the_kinds_that_are_asked_for_are_taken(queue: Queue) -> None:
    add(queue, "scan")
    assert queue.claim(["compare"]) is None
    assert queue.claim(["compare", "scan"])


def test_of_many_workers_each_gets_another_job(queue: Queue) -> None:
    ids = {add(queue) for _ in range(12)}
    taken = at_once(lambda: queue.claim(["a"]), 16)
    assert {found.id for found in taken if found} == ids
    assert sum(found is None for found in taken) == 4
    assert len({found.lease_owner for found in taken if found}) == 12


# --- Leases -----------------------------------------------------------------------------------------------


def test_what_is_being_worked_on_is_nobody_elses_until_the_lease_runs_out(queue: Queue, clock: Clock) -> None:
    job_id = add(queue)
    first = queue.claim(["a"])
    clock.pass_by(seconds=LEASE.total_seconds() - 1)
    assert queue.claim(["a"]) is None
    clock.pass_by(seconds=1)
    second = queue.claim(["a"])
    assert first
    assert second
    assert (second.id, second.attempts) == (job_id, 2)
    assert second.lease_owner != first.lease_owner


def test_a_sign_of_life_keeps_the_lease(queue: Queue, clock: Clock) -> None:
    add(queue)
    claimed = queue.claim(["a"])
    assert claimed
    for sign in (lambda: queue.renew(claimed), lambda: queue.report(claimed, "score", 0.5)):
        clock.pass_by(seconds=LEASE.total_seconds() - 1)
        assert sign()
        assert queue.claim(["a"]) is None


def test_an_expired_job_is_taken_up_by_one_of_twenty(queue: Queue, clock: Clock) -> None:
    add(queue)
    queue.claim(["a"])
    clock.pass_by(seconds=LEASE.total_seconds())
    taken = at_once(lambda: queue.claim(["a"]), 20)
    assert sum(found is not None for found in taken) == 1


def test_whoever_lost_the_lease_changes_nothing_any_more(queue: Queue, clock: Clock) -> None:
    add(queue)
    slow = queue.claim(["a"])
    clock.pass_by(seconds=LEASE.total_seconds())
    holder = queue.claim(["a"])
    assert slow
    assert holder
    assert not queue.renew(slow)
    assert not queue.report(slow, "score", 0.5)
    assert not queue.finish(slow, "late")
    assert not queue.retry(slow, {}, timedelta())
    assert not queue.give_back(slow)
    with Session(queue.engine) as session, session.begin():
        assert not queue.fail(session, slow, {})
    assert queue.finish(holder, "in time")
    found = job(queue, holder.id)
    assert (found.state, found.result, found.lease_owner) == ("done", "in time", None)


def test_what_is_given_back_has_not_been_tried(queue: Queue) -> None:
    add(queue)
    claimed = queue.claim(["a"])
    assert claimed
    assert queue.give_back(claimed)
    again = queue.claim(["a"])
    assert again
    assert again.attempts == 1


def test_what_is_cancelled_is_taken_from_whoever_has_it_and_begun_by_nobody(queue: Queue) -> None:
    waiting, running = add(queue), add(queue, priority=1)
    claimed = queue.claim(["a"])
    assert claimed
    assert claimed.id == running
    assert queue.cancel(running)
    assert queue.cancel(waiting)
    assert not queue.renew(claimed)
    assert not queue.finish(claimed, None)
    assert queue.claim(["a"]) is None
    assert [found.state for found in queue.recent("a")] == ["cancelled"] * 2
    assert not queue.cancel(waiting)
    assert not queue.cancel("0" * 32)


def test_jobs_are_listed_newest_first_and_by_state(queue: Queue) -> None:
    first, second = add(queue), add(queue, priority=1)
    claimed = queue.claim(["a"])
    assert claimed
    queue.finish(claimed, None)
    assert [found.id for found in queue.recent("a")] == [second, first]
    assert [found.id for found in queue.recent("a", "queued", "running")] == [first]
    assert [found.id for found in queue.recent("a", limit=1, offset=1)] == [first]
    assert (queue.count("a"), queue.count("a", "done"), queue.count("b")) == (2, 1, 0)
