"""The inbox: exactly once, in order, and nothing missed by whoever follows it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from service.notify.inbox import put
from tests.fakes_notify import World, new_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with new_world(tmp_path) as made:
        yield made


def lay(world: World, owner: str, message_id: str) -> None:
    with Session(world.engine) as session, session.begin():
        put(session, owner, message_id, "title", "body", None, world.clock())


def test_numbers_count_up_per_owner_without_gaps_whoever_writes(world: World) -> None:
    threads = [
        threading.Thread(target=lay, args=(world, owner, f"{owner} {number}")) for number in range(12) for owner in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for owner in "ab":
        rows = world.box.after(owner, 0)
        assert [row.number for row in rows] == list(range(1, 13))
        assert {row.message_id for row in rows} == {f"{owner} {number}" for number in range(12)}


def test_the_same_message_is_laid_in_once(world: World) -> None:
    for _ in range(3):
        lay(world, "wang", "msg_1")
    assert world.box.count("wang") == 1


def test_a_message_that_was_laid_in_before_the_sender_died_is_not_laid_in_again(world: World) -> None:
    world.subscribe()
    world.enqueue("a")
    world.outbox.form()
    claim = world.outbox.claim()
    assert claim
    lay(world, "wang", claim.message.id)
    world.end_leases()
    world.send()
    assert world.box.count("wang") == 1
    assert world.messages()[0].state == "sent"


def test_reading_is_noted_once_and_only_by_the_owner(world: World) -> None:
    lay(world, "wang", "msg_1")
    lay(world, "wang", "msg_2")
    assert world.box.count("wang", unread=True) == 2
    assert world.box.read("wang", 1, world.clock())
    first = world.clock()
    world.clock.advance(hours=1)
    assert world.box.read("wang", 1, world.clock())
    assert not world.box.read("li", 1, world.clock())
    assert not world.box.read("wang", 3, world.clock())
    assert world.box.count("wang", unread=True) == 1
    assert world.box.after("wang", 0)[0].read_at == first


def test_newest_first_and_everything_after_a_number(world: World) -> None:
    for number in range(5):
        lay(world, "wang", f"msg_{number}")
    assert [row.number for row in world.box.recent("wang", 2)] == [5, 4]
    assert [row.number for row in world.box.recent("wang", 2, 2)] == [3, 2]
    assert [row.number for row in world.box.after("wang", 3)] == [4, 5]
