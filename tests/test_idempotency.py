"""`Idempotency-Key`: the same request sent again, twenty times at once, and after its first sender died."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import Response
from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from service import errors
from service.database import connect
from service.idempotency import HEADER, KEPT_FOR, LEASE, IdempotentRequest, Kept
from service.ledger import fixture
from service.ledger.audit import writing
from service.ledger.tables import Decision
from tests.ledgers import site
from tests.people import database, house

API = "/api/v1"
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def engine(service: Any) -> Iterator[Engine]:
    found = connect(service.settings.resolved_database_url)
    yield found
    found.dispose()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Engine]:
    with database(tmp_path) as made:
        yield made


def submit(client: Any, before: bytes, after: bytes, key: str | None, **data: str) -> Any:
    files = {"before": ("before.png", before), "after": ("after.png", after)}
    return client.post(f"{API}/pairs", files=files, data=data, headers={HEADER: key} if key else {})


def count(service: Any) -> int:
    total: int = service.client.get(f"{API}/pairs").json()["total"]
    return total


# --- Pairs ------------------------------------------------------------------------------------------------


def test_twenty_at_once_are_one_job_with_one_answer(service: Any, before: bytes, after: bytes) -> None:
    gate, answers = threading.Barrier(20), []

    def send() -> None:
        gate.wait()
        answers.append(submit(service.client, before, after, "one"))

    threads = [threading.Thread(target=send) for _ in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [each.status_code for each in answers] == [202] * 20
    assert len({each.text for each in answers}) == 1
    assert len({each.headers["location"] for each in answers}) == 1
    assert sum("idempotency-replayed" in each.headers for each in answers) == 19
    assert count(service) == 1


def test_without_a_key_or_with_another_each_request_is_done(service: Any, before: bytes, after: bytes) -> None:
    for key in (None, None, "a", "b"):
        assert submit(service.client, before, after, key).status_code == 202
    assert count(service) == 4


def test_a_form_is_the_same_whatever_its_boundary(service: Any, before: bytes, after: bytes) -> None:
    first, second = (submit(service.client, before, after, "k", gsd="0.5") for _ in range(2))
    assert first.request.headers["content-type"] != second.request.headers["content-type"]
    assert (first.text, second.headers["idempotency-replayed"]) == (second.text, "true")


def test_a_job_whose_sender_died_before_the_answer_is_not_made_again(
    service: Any, engine: Engine, before: bytes, after: bytes
) -> None:
    first = submit(service.client, before, after, "k").json()["id"]
    with engine.begin() as connection:  # as kill -9 leaves it between storing the pair and keeping the answer
        connection.execute(update(IdempotentRequest).values(status=None, body=None, lease_until=NOW - LEASE))
    again = submit(service.client, before, after, "k")
    assert (again.status_code, again.json()["id"]) == (202, first)
    assert "idempotency-replayed" not in again.headers
    assert count(service) == 1


def test_another_request_with_the_same_key_is_refused(service: Any, before: bytes, after: bytes) -> None:
    submit(service.client, before, after, "k", gsd="0.5")
    for other in (
        submit(service.client, before, after, "k", gsd="0.6"),
        submit(service.client, before, after, "k"),
        submit(service.client, after, before, "k", gsd="0.5"),
        submit(service.client, before, after[:-1] + b"x", "k", gsd="0.5"),
    ):
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert count(service) == 1


def test_what_was_refused_may_be_tried_again_with_the_same_key(service: Any, before: bytes, after: bytes) -> None:
    assert submit(service.client, before, b"no picture", "k").status_code == 415
    assert submit(service.client, before, after, "k").status_code == 202
    assert count(service) == 1


@pytest.mark.parametrize("key", ["", "x" * 201, "\u00fc"])
def test_a_key_that_is_none_is_refused(service: Any, before: bytes, after: bytes, key: str) -> None:
    files = {"before": ("a", before), "after": ("b", after)}
    answer = service.client.post(f"{API}/pairs", files=files, headers={HEADER: key.encode("latin-1")})
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_malformed")


def test_a_key_is_its_senders_alone(tmp_path: Path, red: Any, before: bytes, after: bytes) -> None:
    with house(tmp_path, lambda: red) as place:
        wang, li = place.browser("wang", "analyst"), place.browser("li", "analyst")
        ids = [submit(each, before, after, "k").json()["id"] for each in (wang, li, wang)]
    assert ids[0] == ids[2] != ids[1]


# --- The ledger -------------------------------------------------------------------------------------------


def test_a_transition_sent_again_is_answered_as_the_first_time(service: Any, engine: Engine) -> None:
    with writing(engine) as session:
        site(session, "A", state="open")
    step = {"expected": "open", "target": "claimed_clear", "actor": {"name": "王经办"}, "reason": "现场核实"}

    def send(key: str, body: str) -> Any:
        headers = {HEADER: key, "Content-Type": "application/json"}
        return service.client.post(f"{API}/ledger/sites/A/transitions", content=body, headers=headers)

    first = send("k", json.dumps(step))
    again = send("k", json.dumps(dict(reversed(step.items())), indent=2))
    assert (first.status_code, again.status_code, first.json()) == (200, 200, again.json())
    assert send("k", json.dumps(step | {"reason": "其他"})).status_code == 422
    assert send("other", json.dumps(step)).status_code == 409
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Decision)) == 1


def test_an_import_sent_again_is_answered_as_the_first_time(service: Any) -> None:
    data = json.dumps({"type": "FeatureCollection", "features": fixture.features()[:3]}).encode()
    form = {"crs": "WGS-84", "actor": "王经办", "dry_run": "false"}
    first, again = (
        service.client.post(f"{API}/ledger/import", files={"file": ("l", data)}, data=form, headers={HEADER: "k"})
        for _ in range(2)
    )
    assert len(first.json()["created"]) == 3
    assert again.json() == first.json()


# --- The lock ---------------------------------------------------------------------------------------------


def test_the_lock_is_taken_by_one_of_twenty(alone: Engine) -> None:
    gate, got = threading.Barrier(20), []

    def take() -> None:
        gate.wait()
        got.append(Kept(alone, "wang", "k").take("d", NOW))

    threads = [threading.Thread(target=take) for _ in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(got) == [False] * 19 + [True]


def test_whoever_died_is_replaced_by_one_after_the_lease(alone: Engine) -> None:
    kept = Kept(alone, "wang", "k")
    assert kept.take("d", NOW)
    assert not kept.take("d", NOW + LEASE - timedelta(seconds=1))
    assert kept.take("d", NOW + LEASE)
    assert not kept.take("d", NOW + LEASE)
    with pytest.raises(errors.IdempotencyKeyUnusable):
        kept.take("other", NOW + LEASE)


def test_a_key_is_kept_for_a_day(alone: Engine) -> None:
    kept = Kept(alone, "wang", "k")
    kept.take("d", NOW)
    kept.keep(Response("done", 202, {"Location": "/x"}))
    late = NOW + KEPT_FOR - timedelta(seconds=1)
    assert not kept.take("d", late)
    answer = kept.answer()
    assert answer
    assert (answer.status_code, answer.body, answer.headers["location"]) == (202, b"done", "/x")
    assert kept.take("other", NOW + KEPT_FOR)
    assert kept.answer() is None


def test_a_request_whose_first_sender_hangs_is_told_to_come_back(
    service: Any, engine: Engine, before: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.idempotency.WAIT_S", 0.0)
    submit(service.client, before, after, "k")
    with engine.begin() as connection:
        connection.execute(update(IdempotentRequest).values(status=None))
    answer = submit(service.client, before, after, "k")
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_pending")
    assert answer.headers["retry-after"] == "1"


def test_the_interface_says_where_a_key_is_heeded(service: Any) -> None:
    paths = service.client.get(f"{API}/openapi.json").json()["paths"]
    heeded = {
        path
        for path, methods in paths.items()
        for operation in methods.values()
        if HEADER in [each["name"] for each in operation.get("parameters", ())]
    }
    assert f"{API}/pairs" in heeded
    assert f"{API}/ledger/import" in heeded
    assert f"{API}/ledger/sites/{{code}}/transitions" in heeded
    assert f"{API}/notify/endpoints" not in heeded
