"""The outbox: written with what caused it, once per key and subscription, leased, never lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.notify.outbox import LEASE, Event, enqueue
from service.notify.tables import Delivery, EventRow
from tests.fakes_notify import World, new_world, rebound


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with new_world(tmp_path) as made:
        yield made


def count(world: World, table: type[EventRow] | type[Delivery]) -> int:
    with Session(world.engine) as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


# --- Writing ----------------------------------------------------------------------------------------------


def test_nothing_is_told_if_the_cause_is_rolled_back(world: World) -> None:
    world.subscribe()
    with Session(world.engine) as session:
        session.add(EventRow(key="cause", kind="rebound_suspected", params={}, created_at=world.clock()))
        assert enqueue(session, rebound("a"), world.clock()) == 1
        session.rollback()
    assert count(world, EventRow) == count(world, Delivery) == 0


def test_a_transaction_that_only_told_can_still_be_rolled_back(world: World) -> None:
    """SQLite's driver begins late: what enqueue writes first must already be inside."""
    world.subscribe()
    with Session(world.engine) as session:
        enqueue(session, rebound("a"), world.clock())
        session.rollback()
    assert count(world, EventRow) == 0


def test_the_same_key_is_told_once(world: World) -> None:
    world.subscribe()
    assert world.enqueue("a", "a") == 1
    assert world.enqueue("a") == 0
    assert world.send() == 1
    assert world.box.count("wang") == 1


def test_the_same_key_at_the_same_time_is_told_once(world: World) -> None:
    world.subscribe()
    told: list[int] = []
    threads = [threading.Thread(target=lambda: told.append(world.enqueue("a"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [0] * 7 + [1]
    assert count(world, Delivery) == 1


def test_whoever_subscribes_twice_is_told_by_each_subscription(world: World) -> None:
    first = world.subscribe(kinds=["rebound_suspected"])
    world.subscriptions.subscribe("wang", first.endpoint_id, streets=["古城街道"])
    assert world.enqueue("a") == 2


@pytest.mark.parametrize(
    ("wanted", "rule"),
    [
        ({}, {}),
        ({"systems": ["shougang", "state_assets"]}, {"system": "state_assets"}),
        ({"streets": ["古城街道"], "areas": ["west"]}, {"street": "古城街道", "area": "west"}),
        ({"kinds": ["rebound_suspected"]}, {"kind": "rebound_suspected"}),
        ({"kinds": ["rebound_dismissed"]}, None),
        ({"systems": ["state_assets"], "streets": ["八角街道"]}, None),
    ],
)
def test_all_wishes_must_be_met_and_the_rule_says_by_what(
    world: World, wanted: dict[str, list[str]], rule: dict[str, str] | None
) -> None:
    world.subscribe(**wanted)
    assert world.enqueue("a") == (rule is not None)
    with Session(world.engine) as session:
        assert session.scalars(select(Delivery.rule)).all() == ([] if rule is None else [rule])


def test_an_event_without_a_street_does_not_match_a_street(world: World) -> None:
    world.subscribe(streets=["古城街道"])
    assert world.enqueue("a", street=None) == 0


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("fine_imposed", {}),
        ("rebound_suspected", {"name": "x", "area_m2": 1, "probability": 0.5}),  # incomplete
        ("rebound_suspected", {"name": "x", "area_m2": 1, "probability": 0.5, "looks": 2, "resident": "王某"}),
        ("rebound_suspected", {"name": "x", "area_m2": "large", "probability": 0.5, "looks": 2}),
    ],
)
def test_an_event_that_could_not_be_told_is_refused_when_it_is_made(kind: str, params: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Event(kind, "a", params)


# --- Sending ----------------------------------------------------------------------------------------------


def test_two_senders_never_have_the_same_message(world: World) -> None:
    world.subscribe()
    world.enqueue("a", "b")
    world.outbox.form()
    first, second = world.outbox.claim(), world.outbox.claim()
    assert first
    assert second
    assert first.message.id != second.message.id
    assert world.outbox.claim() is None


def test_many_senders_make_one_message_of_one_delivery(world: World) -> None:
    world.subscribe()
    world.enqueue(*(f"key {number}" for number in range(20)))
    threads = [threading.Thread(target=world.outbox.form) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.messages()) == 20


def test_a_lease_that_has_ended_is_given_to_another_and_the_message_may_be_a_repeat(world: World) -> None:
    world.subscribe()
    world.enqueue("a")
    world.outbox.form()
    dead = world.outbox.claim()
    assert dead
    assert not dead.message.uncertain
    world.clock.now += LEASE
    assert world.outbox.claim() is None
    world.clock.advance(seconds=1)
    heir = world.outbox.claim()
    assert heir
    assert (heir.message.id, heir.message.uncertain, heir.message.failures) == (dead.message.id, True, 0)
    with Session(world.engine) as session, session.begin():
        assert not world.outbox.settle(session, dead, "failed")  # it was not dead after all, but it is too late
        assert world.outbox.settle(session, heir, "sent")
    assert [message.state for message in world.messages()] == ["sent"]


def test_a_part_that_was_taken_renews_the_lease(world: World) -> None:
    world.subscribe()
    world.enqueue("a")
    world.outbox.form()
    claim = world.outbox.claim()
    assert claim
    world.clock.now += LEASE - timedelta(seconds=1)
    with Session(world.engine) as session, session.begin():
        assert world.outbox.settle(session, claim, "sending", parts_done=1)
    world.clock.now += LEASE - timedelta(seconds=1)
    assert world.outbox.claim() is None


def test_a_digest_is_one_message_and_latecomers_are_in_the_next(world: World) -> None:
    world.subscribe(digest="hourly")
    world.enqueue("a", "b")
    assert world.send() == 0
    world.clock.advance(minutes=60)
    assert world.send() == 1
    world.enqueue("c")
    assert world.send() == 0
    world.clock.advance(minutes=60)
    assert world.send() == 1
    titles = [row.title for row in world.box.after("wang", 0)]
    assert titles == ["线索汇总：2 条", "疑似反弹：SJS-001 铸造厂"]


def test_a_digest_is_one_message_even_if_the_sender_was_down_when_it_was_due(world: World) -> None:
    world.subscribe(digest="hourly")
    world.enqueue("a", "b")
    world.clock.advance(hours=3)
    assert world.send() == 1


def test_quiet_hours_hold_and_bundle(world: World) -> None:
    world.subscribe(quiet_from="09:00", quiet_until="11:30")  # it is 10:00
    world.enqueue("a", "b", "c")
    assert world.send() == 0
    world.clock.advance(minutes=90)
    assert world.send() == 1
    assert world.box.after("wang", 0)[0].title == "线索汇总：3 条"


def test_a_retry_keeps_the_quiet_hours_too(world: World) -> None:
    world.subscribe(quiet_from="10:01", quiet_until="11:00")
    world.enqueue("a")
    world.outbox.form()
    world.clock.advance(minutes=2)
    assert world.outbox.claim() is None
    world.clock.advance(minutes=58)
    assert world.send() == 1


def test_what_was_muted_goes_out_as_soon_as_it_is_not(world: World) -> None:
    row = world.subscribe(muted_until=world.clock() + timedelta(days=30))
    world.enqueue("a")
    assert world.send() == 0
    world.subscriptions.change("wang", row.id, muted_until=None)
    assert world.send() == 1


def test_unsubscribing_cancels_what_waits_and_what_is_queued(world: World) -> None:
    row = world.subscribe()
    world.enqueue("a")
    world.outbox.form()
    world.enqueue("b")
    assert world.subscriptions.unsubscribe("wang", row.id)
    assert world.send() == 0
    assert world.enqueue("c") == 0
    assert [message.state for message in world.messages()] == ["cancelled"]
    with Session(world.engine) as session:
        assert session.scalar(select(func.count()).where(Delivery.cancelled_at.is_not(None))) == 1


def test_unsubscribing_while_it_is_being_sent_cancels_the_retry(world: World) -> None:
    row = world.subscribe()
    world.enqueue("a")
    world.outbox.form()
    claim = world.outbox.claim()
    assert claim
    world.subscriptions.unsubscribe("wang", row.id)
    with Session(world.engine) as session, session.begin():
        world.outbox.settle(session, claim, "queued", due_at=world.clock())
    assert world.outbox.claim() is None
    assert [message.state for message in world.messages()] == ["cancelled"]
