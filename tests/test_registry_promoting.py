"""Promoting: a named person, who gives a reason and has seen a replay; and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from inference.model import ModelError
from service import errors
from service.ledger.audit import SYSTEM, Actor, AuditEntry, verify
from service.queue import Queue
from service.registry.errors import ModelConflict, ModelNotFound, ModelRefused
from service.registry.promoting import last_replay, promote, promotions, roll_back
from service.registry.replay import REPLAY
from service.registry.store import Registry
from service.registry.tables import ModelVersion
from tests.people import at_once, database
from tests.registries import known, played_by

REVIEWER = Actor("李审核")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with database(tmp_path) as found:
        yield found


@pytest.fixture
def registry(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    played_by(monkeypatch, a=None, b=None, c=None)
    return Registry(engine, tmp_path)


@pytest.fixture
def versions(engine: Engine) -> list[ModelVersion]:
    return known(engine, ("a", "active"), ("b", "candidate"), ("c", "candidate"))


def replayed(engine: Engine, version: ModelVersion, against: ModelVersion) -> str:
    """As if a worker had done it."""
    queue = Queue(engine)
    queue.enqueue(REPLAY, {"version": version.id})
    job = queue.claim([REPLAY])
    assert job
    assert queue.finish(job, {"version": version.id, "against": against.id, "sum": {"changed": 3}})
    return job.id


def states(registry: Registry) -> dict[str, str]:
    return {each.name: each.state for each in registry.versions()}


def conflict(work: Any) -> str:
    with pytest.raises(ModelConflict) as refused:
        work()
    return refused.value.code


def test_a_version_speaks_once_a_person_has_promoted_it(registry: Registry, versions: Any, engine: Engine) -> None:
    a, b, _ = versions
    replay = replayed(engine, b, a)
    assert promote(registry, REVIEWER, b.id[:8], "夜间误报较少").id == b.id
    assert states(registry) == {"a": "retired", "b": "active", "c": "candidate"}
    active = registry.active("overhead")
    assert active
    assert active.id == b.id
    (made,) = promotions(engine)
    assert (made.version, made.previous, made.actor, made.replay) == (b.id, a.id, "李审核", replay)
    with Session(engine) as session:
        entry = session.scalars(select(AuditEntry)).one()
        assert (entry.action, entry.subject, entry.actor) == ("model.promoted", f"model:{b.id}", "李审核")
        detail = json.loads(entry.detail)
        assert (detail["reason"], detail["replay"], detail["sum"]) == ("夜间误报较少", replay, {"changed": 3})
        assert verify(session).problem is None


def test_nothing_is_promoted_without_a_replay_of_it_on_what_is_active_now(
    registry: Registry, versions: Any, engine: Engine
) -> None:
    a, b, c = versions
    assert conflict(lambda: promote(registry, REVIEWER, b.id, "x")) == "model_replay_required"
    replayed(engine, c, a)
    replayed(engine, b, c)
    assert conflict(lambda: promote(registry, REVIEWER, b.id, "x")) == "model_replay_required"
    promote(registry, REVIEWER, c.id, "x")
    promote(registry, REVIEWER, b.id, "x")
    assert states(registry) == {"a": "retired", "b": "active", "c": "retired"}


def test_a_replay_that_is_not_done_does_not_count(registry: Registry, versions: Any, engine: Engine) -> None:
    a, b, _ = versions
    queue = Queue(engine)
    job_id = queue.enqueue(REPLAY, {"version": b.id})
    assert conflict(lambda: promote(registry, REVIEWER, b.id, "x")) == "model_replay_required"
    queue.cancel(job_id)
    assert conflict(lambda: promote(registry, REVIEWER, b.id, "x")) == "model_replay_required"
    with Session(engine) as session:
        assert last_replay(session, b.id) is None
    newest = [replayed(engine, b, a) for _ in range(2)][1]
    with Session(engine) as session:
        found = last_replay(session, b.id, a.id)
        assert found
        assert found.id == newest


@pytest.mark.parametrize(
    ("actor", "reason", "refused"),
    [
        (SYSTEM, "x", errors.PersonRequired),
        (Actor("program", human=False), "x", errors.PersonRequired),
        (REVIEWER, "", errors.ReasonRequired),
        (REVIEWER, " \n", errors.ReasonRequired),
    ],
)
def test_a_named_person_answers_for_it_and_says_why(
    registry: Registry, versions: Any, engine: Engine, actor: Actor, reason: str, refused: type[Exception]
) -> None:
    a, b, _ = versions
    replayed(engine, b, a)
    with pytest.raises(refused):
        promote(registry, actor, b.id, reason)
    with pytest.raises(refused):
        roll_back(registry, actor, a.id, reason)
    assert states(registry)["a"] == "active"


def test_what_is_active_is_not_promoted_and_what_is_not_there_is_not_found(registry: Registry, versions: Any) -> None:
    assert conflict(lambda: promote(registry, REVIEWER, versions[0].id, "x")) == "model_active"
    with pytest.raises(ModelNotFound):
        promote(registry, REVIEWER, "0" * 64, "x")


def test_damaged_files_are_not_promoted(
    registry: Registry, versions: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = versions
    replayed(engine, b, a)

    def damaged(self: Registry, version: ModelVersion) -> None:
        raise ModelError("gone")

    monkeypatch.setattr(Registry, "load", damaged)
    with pytest.raises(ModelRefused, match="gone"):
        promote(registry, REVIEWER, b.id, "x")
    assert states(registry)["a"] == "active"


def test_of_two_promotions_at_once_one_takes_place(registry: Registry, versions: Any, engine: Engine) -> None:
    a, b, _ = versions
    replayed(engine, b, a)
    results = at_once(lambda: promote(registry, REVIEWER, b.id, "x").id, 4)
    assert sorted(results, key=str) == sorted([b.id, *[ModelConflict] * 3], key=str)
    assert len(promotions(engine)) == 1


# --- Back -------------------------------------------------------------------------------------------------


def test_the_way_back_is_the_way_that_was_come(registry: Registry, versions: Any, engine: Engine) -> None:
    a, b, c = versions
    for version, against in ((b, a), (c, b), (b, c)):
        replayed(engine, version, against)
        promote(registry, REVIEWER, version.id, "x")
    for back_from, to in ((b, c), (c, b), (b, a)):
        assert roll_back(registry, REVIEWER, back_from.id, "误报增多").id == to.id
        active = registry.active("overhead")
        assert active
        assert active.id == to.id
    assert conflict(lambda: roll_back(registry, REVIEWER, a.id, "x")) == "model_first"
    assert all(each.undone_at for each in promotions(engine))
    with Session(engine) as session:
        newest = session.scalars(select(AuditEntry).order_by(AuditEntry.number.desc())).first()
        assert newest
        assert (newest.action, newest.subject) == ("model.rolled_back", f"model:{b.id}")
        assert json.loads(newest.detail)["again"] == a.id


def test_only_what_is_active_can_be_taken_back(registry: Registry, versions: Any, engine: Engine) -> None:
    a, b, _ = versions
    replayed(engine, b, a)
    promote(registry, REVIEWER, b.id, "x")
    assert conflict(lambda: roll_back(registry, REVIEWER, a.id, "x")) == "model_not_active"
    results = at_once(lambda: roll_back(registry, REVIEWER, b.id, "x").id, 4)
    assert sorted(results, key=str) == sorted([a.id, *[ModelConflict] * 3], key=str)


def test_what_was_taken_back_can_be_promoted_again(registry: Registry, versions: Any, engine: Engine) -> None:
    a, b, _ = versions
    replayed(engine, b, a)
    promote(registry, REVIEWER, b.id, "x")
    roll_back(registry, REVIEWER, b.id, "x")
    promote(registry, REVIEWER, b.id, "x")
    assert roll_back(registry, REVIEWER, b.id, "x").id == a.id
