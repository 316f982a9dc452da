"""The interface of delivery: endpoints, subscriptions, inbox, stream, and why somebody was told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from service import errors
from service.api import notify as notify_api
from service.notify.inbox import put
from service.notify.tables import Endpoint, Subscription
from tests.fakes_notify import Receiver, World, http_receiver, new_world

ROOT = "/api/v1/notify"
ADDRESS = "https://8.8.8.8/hook/with/a/long/and/secret/path"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with new_world(tmp_path) as made:
        made.clock.now = datetime.now(UTC)
        yield made


@pytest.fixture
def client(world: World) -> Iterator[TestClient]:
    app = FastAPI()
    app.state.services = SimpleNamespace(settings=world.settings, pairs=SimpleNamespace(engine=world.engine))
    app.include_router(notify_api.router)
    errors.install(app, ("zh", "en"), 1, lambda request, error: None)
    app.dependency_overrides[notify_api.current_person] = lambda: "wang"
    with TestClient(app) as made:
        yield made


def other(client: TestClient) -> None:
    """From now on somebody else asks."""
    client.app.dependency_overrides[notify_api.current_person] = lambda: "li"  # type: ignore[attr-defined]


def make(client: TestClient, channel: str = "webhook", address: str = ADDRESS, **more: Any) -> Any:
    return client.post(f"{ROOT}/endpoints", json={"channel": channel, "address": address} | more)


def subscribe(client: TestClient, endpoint_id: str, **more: Any) -> Any:
    return client.post(f"{ROOT}/subscriptions", json={"endpoint_id": endpoint_id} | more)


def test_a_webhook_shows_its_secret_once_and_its_address_never(client: TestClient) -> None:
    made = make(client)
    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    (listed,) = client.get(f"{ROOT}/endpoints").json()
    assert "secret" not in listed
    assert listed["address"] == "https://8.8.8.8/hook/wit…"


@pytest.mark.parametrize(
    ("channel", "address", "status", "code"),
    [
        ("webhook", "http://127.0.0.2/", 201, None),  # loopback is a named network here
        ("webhook", "http://10.0.0.1/", 422, "receiver_forbidden"),
        ("webhook", "file:///etc/passwd", 422, "receiver_forbidden"),
        ("wecom", "http://[::1]/", 422, "receiver_forbidden"),
        ("email", "wang@example.org", 422, "channel_unavailable"),  # no server is set
        ("inbox", "wang", 201, None),
        ("inbox", "li", 422, "receiver_forbidden"),  # into the inbox of somebody else
        ("pigeon", "x", 422, "invalid"),
    ],
)
def test_what_cannot_be_sent_to_is_refused_with_a_reason_in_both_languages(
    client: TestClient, channel: str, address: str, status: int, code: str | None
) -> None:
    answer = make(client, channel, address)
    assert answer.status_code == status
    if code:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == code
        english = client.post(
            f"{ROOT}/endpoints", json={"channel": channel, "address": address}, headers={"Accept-Language": "en"}
        )
        assert english.json()["detail"] != answer.json()["detail"]


@pytest.mark.parametrize(
    "code",
    ["channel_unavailable", "receiver_forbidden", "receiver_malformed", "receiver_own_adapter", "receiver_unknown"],
)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_reason_for_refusing_an_address_has_its_sentences(code: str, language: str) -> None:
    problem = errors.describe(errors.UnusableReceiver(code), language, 1)
    assert (problem.code, problem.status) == (code, 422)
    assert problem.remedy


def test_an_address_is_registered_once(client: TestClient) -> None:
    make(client)
    again = make(client)
    assert (again.status_code, again.json()["code"]) == (409, "address_taken")


def test_what_belongs_to_somebody_else_does_not_exist(client: TestClient, world: World) -> None:
    row = world.subscribe()
    world.enqueue("a")
    world.send()
    message_id = world.messages()[0].id
    other(client)
    assert client.get(f"{ROOT}/endpoints").json() == []
    assert client.get(f"{ROOT}/subscriptions").json() == []
    assert client.get(f"{ROOT}/inbox").json()["total"] == 0
    for answer in (
        client.delete(f"{ROOT}/endpoints/{row.endpoint_id}"),
        client.post(f"{ROOT}/endpoints/{row.endpoint_id}/resume"),
        client.post(f"{ROOT}/endpoints/{row.endpoint_id}/secret"),
        client.patch(f"{ROOT}/subscriptions/{row.id}", json={"digest": "daily"}),
        client.delete(f"{ROOT}/subscriptions/{row.id}"),
        client.get(f"{ROOT}/messages/{message_id}/why"),
        client.post(f"{ROOT}/inbox/1/read"),
        subscribe(client, row.endpoint_id),
    ):
        assert answer.status_code == 404
        assert answer.json()["remedy"]


def test_a_subscription_is_made_changed_and_ended(client: TestClient) -> None:
    endpoint_id = make(client).json()["id"]
    made = subscribe(client, endpoint_id, systems=["shougang"], quiet_from="22:00", quiet_until="07:00")
    assert made.status_code == 201
    row = made.json()
    assert (row["time_zone"], row["kinds"], row["systems"]) == ("Asia/Shanghai", [], ["shougang"])
    changed = client.patch(f"{ROOT}/subscriptions/{row['id']}", json={"digest": "daily"}).json()
    assert (changed["digest"], changed["quiet_from"]) == ("daily", "22:00")
    assert client.delete(f"{ROOT}/subscriptions/{row['id']}").status_code == 204
    assert client.get(f"{ROOT}/subscriptions").json() == []
    assert client.delete(f"{ROOT}/subscriptions/{row['id']}").status_code == 404


@pytest.mark.parametrize(
    "field",
    [
        {"quiet_from": "25:00"}, {"quiet_from": "7"}, {"time_zone": "Beijing"}, {"time_zone": "../../etc/passwd"},
        {"kinds": ["fine_imposed"]}, {"digest": "weekly"}, {"muted_until": "2017-07-03T10:00:00"}, {"muted": True},
        {"systems": [""]},
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_used_is_named(client: TestClient, field: dict[str, Any]) -> None:
    answer = subscribe(client, make(client).json()["id"], **field)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].split(".")[0] == next(iter(field))


def test_one_click_in_a_mail_program_unsubscribes(client: TestClient, world: World) -> None:
    world.subscribe(digest="daily")
    world.enqueue("a")
    with Session(world.engine) as session:
        token = session.scalars(select(Subscription.token)).one()
    other(client)
    assert client.post(f"{ROOT}/unsubscribe/{token}", data={"List-Unsubscribe": "One-Click"}).status_code == 204
    assert client.post(f"{ROOT}/unsubscribe/{token}").status_code == 404
    assert client.get(f"{ROOT}/unsubscribe/{token}").status_code == 405  # scanners of links do not unsubscribe
    world.clock.advance(days=1)
    assert world.send() == 0


def test_a_removed_endpoint_is_forgotten_and_its_address_free_again(client: TestClient, world: World) -> None:
    endpoint_id = make(client).json()["id"]
    subscribe(client, endpoint_id)
    world.enqueue("a")
    assert client.delete(f"{ROOT}/endpoints/{endpoint_id}").status_code == 204
    assert client.get(f"{ROOT}/subscriptions").json() == []
    with Session(world.engine) as session:
        row = session.get_one(Endpoint, endpoint_id)
        assert ADDRESS not in row.address
        assert row.secret is None
    assert world.send() == 0
    assert make(client).status_code == 201


def test_a_new_secret_signs_beside_the_old_one(client: TestClient, world: World) -> None:
    receiver = Receiver()
    with http_receiver("webhook", receiver) as url:
        made = make(client, "webhook", url).json()
        subscribe(client, made["id"])
        secret = client.post(f"{ROOT}/endpoints/{made['id']}/secret").json()["secret"]
        assert secret != made["secret"]
        world.enqueue("a")
        world.send()
    assert len(receiver.requests[0][0]["webhook-signature"].split()) == 2


def test_why_is_answered_for_every_message(client: TestClient, world: World) -> None:
    row = world.subscribe(systems=["state_assets"])
    world.enqueue("a")
    world.send()
    why = client.get(f"{ROOT}/messages/{world.messages()[0].id}/why", headers={"Accept-Language": "en"}).json()
    assert why == {
        "sentence": "You get this because you subscribed to responsible system state assets.",
        "subscription_id": row.id,
        "rules": [{"system": "state_assets"}],
        "events": ["a"],
    }
    world.subscriptions.change("wang", row.id, systems=[])
    again = client.get(f"{ROOT}/messages/{world.messages()[0].id}/why").json()
    assert again["rules"] == [{"system": "state_assets"}]  # as it was when it matched


def test_the_inbox_is_read(client: TestClient, world: World) -> None:
    world.subscribe()
    world.enqueue("a", "b")
    world.send()
    page = client.get(f"{ROOT}/inbox", params={"limit": 1}).json()
    assert (page["total"], page["unread"], [item["number"] for item in page["items"]]) == (2, 2, [2])
    assert client.post(f"{ROOT}/inbox/2/read").status_code == 204
    assert client.get(f"{ROOT}/inbox").json()["unread"] == 1


def stream(client: TestClient, **headers: str) -> list[dict[str, Any]]:
    """All events until the stream ends."""
    text = client.get(f"{ROOT}/inbox/stream", headers=headers).text
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            events.append(fields | {"data": json.loads(fields["data"])})
    return events


def test_whoever_comes_back_gets_what_came_meanwhile(
    client: TestClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify_api, "STREAM_FOR_S", 0.2)
    monkeypatch.setattr(notify_api, "LOOK_EVERY_S", 0.05)
    for number in range(3):
        with Session(world.engine) as session, session.begin():
            put(session, "wang", f"msg_{number}", f"title\n{number}", "body", None, world.clock())
    events = stream(client, **{"Last-Event-ID": "1"})
    assert [(event["id"], event["event"], event["data"]["message_id"]) for event in events] == [
        ("2", "message", "msg_1"),
        ("3", "message", "msg_2"),
    ]
    assert stream(client) == []  # without a number, only what is new


def test_whoever_stays_gets_what_comes_in(client: TestClient, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify_api, "STREAM_FOR_S", 0.5)
    monkeypatch.setattr(notify_api, "LOOK_EVERY_S", 0.05)
    world.subscribe()
    look, looks = type(world.box).after, []

    def look_and_send(box: Any, owner: str, number: int) -> Any:
        looks.append(number)
        if len(looks) == 2:
            world.enqueue("a")
            world.send()
        return look(box, owner, number)

    monkeypatch.setattr(type(world.box), "after", look_and_send)
    (event,) = stream(client)
    assert event["data"]["title"] == "疑似反弹：SJS-001 铸造厂"


def test_a_last_event_id_that_is_no_number_is_refused(client: TestClient) -> None:
    assert client.get(f"{ROOT}/inbox/stream", headers={"Last-Event-ID": "x"}).status_code == 422


def test_a_mute_can_be_set_with_an_offset(client: TestClient) -> None:
    until = datetime.now(UTC) + timedelta(days=1)
    row = subscribe(client, make(client).json()["id"], muted_until=until.isoformat()).json()
    assert datetime.fromisoformat(row["muted_until"]) == until
