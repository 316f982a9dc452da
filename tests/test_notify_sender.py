"""The sender: retries, gives up, keeps the pace; and loses or doubles nothing, whatever fails and whoever is killed."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.notify.tables import ChannelName
from tests.fakes_notify import Killable, Receiver, World, http_receiver, make_sender, new_world, smtp_receiver

SPEED = 60.0
FAULTS: dict[ChannelName, Any] = {
    "email": "500", "webhook": "timeout_after", "wecom": "errcode", "dingtalk": "500", "feishu": "429",
}  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with new_world(tmp_path) as made:
        yield made


# --- Attempts ---------------------------------------------------------------------------------------------


def test_it_is_sent_only_once_the_receiver_has_said_so(world: World) -> None:
    receiver = Receiver("errcode")
    with http_receiver("wecom", receiver) as url:
        world.subscribe(url, "wecom")
        world.enqueue("a")
        world.send()
        (message,) = world.messages()
        assert (message.state, message.failures, message.sent_at) == ("queued", 1, None)
        assert message.error == "code 45009: api freq out of limit"
        receiver.mood = "well"
        assert world.send() == 0  # the robot asked for a minute
        world.clock.advance(seconds=60)
        assert world.send() == 1
    (message,) = world.messages()
    assert (message.state, message.sent_at, message.error) == ("sent", world.clock(), None)
    assert receiver.duplicates == 0


def test_ten_attempts_with_the_same_id_and_then_the_owner_is_told(world: World) -> None:
    receiver, started, moments = Receiver("500"), world.clock(), []
    with http_receiver("webhook", receiver) as url:
        world.subscribe(url, "webhook")
        world.enqueue("a")
        while world.messages("queued") or not moments:
            if world.messages():
                world.clock.now = max(world.clock.now, world.messages()[0].due_at)
            moments.append((world.clock() - started).total_seconds())
            assert world.send() == 1
        world.clock.advance(days=9)
        assert world.send() == 0
        assert moments == [0, 5, 305, 2105, 9305, 27305, 63305, 113705, 185705, 272105]
        assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1
        assert len({body for _, body in receiver.requests}) == 1
        stamps = [int(headers["webhook-timestamp"]) for headers, _ in receiver.requests]
        assert [stamp - stamps[0] for stamp in stamps] == moments
        (told,) = world.box.after("wang", 0)
        assert told.title == "Webhook发送失败"

        receiver.mood = "well"
        assert world.subscriptions.resume("wang", world.endpoint().id)
        assert world.send() == 1
    assert [message.state for message in world.messages()] == ["sent"]


def test_retry_after_is_kept_by_the_whole_endpoint(world: World) -> None:
    receiver = Receiver("429")
    with http_receiver("webhook", receiver) as url:
        world.subscribe(url, "webhook")
        world.enqueue("a", "b")
        assert world.send() == 1  # b is not tried once a was told to wait
        world.clock.advance(seconds=4.9)
        assert world.send() == 0
        receiver.mood = "well"
        world.clock.advance(seconds=0.1)
        assert world.send() == 2


def test_an_endpoint_that_is_gone_is_left_alone_and_its_messages_are_kept(world: World) -> None:
    receiver = Receiver("410")
    with http_receiver("webhook", receiver) as url:
        world.subscribe(url, "webhook")
        world.enqueue("a")
        world.send()
        assert world.endpoint().disabled_reason == "HTTP 410"
        assert [row.title for row in world.box.after("wang", 0)] == ["Webhook已停用"]
        world.enqueue("b")
        world.clock.advance(days=30)
        assert world.send() == 0
        receiver.mood = "well"
        world.subscriptions.resume("wang", world.endpoint().id)
        assert world.send() == 2
    assert len(receiver.ids) == 2


def test_a_mailbox_that_does_not_exist_is_not_tried_again(world: World) -> None:
    with smtp_receiver(Receiver("410")) as port:
        world.channels["email"] = make_sender("sqlite://", port, 1, 1).channels["email"]
        world.subscribe("wang@example.org", "email")
        world.enqueue("a")
        world.send()
    (message,) = world.messages()
    assert (message.state, message.error) == ("failed", "SMTP 550 no such mailbox")
    assert world.box.count("wang") == 1


def test_a_channel_that_is_not_set_up_any_more_keeps_its_messages(world: World) -> None:
    with http_receiver("webhook", Receiver()) as url:
        world.subscribe(url, "webhook")
        world.enqueue("a")
        channel = world.channels.pop("webhook")
        world.send()
        world.channels["webhook"] = channel
        world.clock.advance(seconds=5)
        assert world.send() == 1


def test_a_robot_gets_twenty_a_minute_and_all_of_them_in_the_end(world: World) -> None:
    receiver, moments = Receiver(), []
    with http_receiver("feishu", receiver) as url:
        world.subscribe(url, "feishu")
        world.enqueue(*(f"key {number}" for number in range(25)))
        while world.messages("queued") or not moments:
            before = len(receiver.accepted)
            world.send()
            moments += [world.clock()] * (len(receiver.accepted) - before)
            world.clock.advance(seconds=4)
    assert len(receiver.ids) == 25
    assert receiver.duplicates == 0
    assert 15 <= max(sum(start <= m < start + timedelta(minutes=1) for m in moments) for start in moments) <= 20


def test_of_a_long_text_only_the_parts_that_are_missing_are_sent_again(world: World) -> None:
    receiver = Receiver()
    with http_receiver("wecom", receiver) as url:
        world.subscribe(url, "wecom", digest="hourly")
        world.enqueue(*(f"key {number}" for number in range(60)), params={"name": "某某街道某某村某某厂"})
        world.clock.advance(hours=1)
        world.outbox.form()
        accept = receiver.decide
        receiver.decide = lambda: "well" if len(receiver.accepted) == 0 else "500"  # type: ignore[assignment]
        world.send()
        assert (world.messages()[0].parts_done, world.messages()[0].failures) == (1, 1)
        receiver.decide = accept  # type: ignore[method-assign]
        world.clock.advance(minutes=10)
        world.send()
    assert [message.state for message in world.messages()] == ["sent"]
    assert len(receiver.ids) == world.messages()[0].parts_done > 1
    assert receiver.duplicates == 0


def test_a_robot_that_may_have_it_already_is_told_so(world: World) -> None:
    receiver = Receiver()
    with http_receiver("wecom", receiver) as url:
        world.subscribe(url, "wecom")
        world.enqueue("a", "b")
        world.outbox.form()
        world.outbox.claim()  # a sender that is never heard of again
        world.end_leases()
        world.send()
    assert sorted("可能重复" in text for _, text in receiver.accepted) == [False, True]


# --- Everything fails -------------------------------------------------------------------------------------


def run(world: World, events: int, kills: int, failing: float, seed: int) -> dict[str, Receiver]:
    """Five receivers, each failing in its own way; a sender that is killed at random moments."""
    moment = random.Random(seed)
    receivers = {name: Receiver(mood, failing, speed=SPEED) for name, mood in FAULTS.items()}
    with ExitStack() as stack:
        port = stack.enter_context(smtp_receiver(receivers["email"]))
        world.channels["email"] = make_sender("sqlite://", port, 1, 1).channels["email"]
        for name in FAULTS:
            there = "wang@example.org"
            if name != "email":
                there = stack.enter_context(http_receiver(name, receivers[name]))
            world.subscribe(there, name)
        world.clock.now -= timedelta(days=365)  # whatever the fast clock says, it is due
        sender = Killable("tests.fakes_notify:keep_sending", world.url, port, SPEED, 300, 3)
        stack.callback(sender.close)
        for number in range(events):
            world.enqueue(f"event {number}", site=f"S-{number:03}")
        for _ in range(kills):
            sender.start()
            time.sleep(moment.uniform(0.02, 0.5))
            sender.kill()
            world.end_leases()
        sender.start()
        deadline = time.monotonic() + 240
        while len(world.messages("sent")) < 5 * events and time.monotonic() < deadline:
            time.sleep(0.05)
        sender.kill()
    return receivers


def check(world: World, receivers: dict[str, Receiver], events: int) -> None:
    """Nothing is lost, and no event has two ids at one receiver."""
    assert [message.state for message in world.messages()] == ["sent"] * 5 * events
    for name, receiver in receivers.items():
        sites = {f"S-{number:03}" for number in range(events)}
        told: dict[str, set[str]] = {site: set() for site in sites}
        for message_id, text in receiver.accepted:
            (site,) = {site for site in sites if site in text}
            told[site].add(message_id)
        assert {site: len(ids) for site, ids in told.items()} == dict.fromkeys(sites, 1), name
        assert len(receiver.ids) == events, name


def test_five_receivers_that_fail_a_third_of_the_time_get_everything_once(world: World) -> None:
    receivers = run(world, events=6, kills=0, failing=1 / 3, seed=1)
    check(world, receivers, events=6)
    assert {name: receiver.duplicates for name, receiver in receivers.items() if name != "webhook"} == dict.fromkeys(
        ("email", "wecom", "dingtalk", "feishu"), 0
    )


def test_a_sender_that_is_killed_again_and_again_loses_nothing_and_doubles_no_key(world: World) -> None:
    kills = 10
    receivers = run(world, events=8, kills=kills, failing=1 / 3, seed=2)
    check(world, receivers, events=8)
    # The one window: killed between the receiver's acceptance and the commit. Three workers, so three at most.
    assert sum(receivers[name].duplicates for name in ("email", "wecom", "dingtalk", "feishu")) <= 3 * kills
