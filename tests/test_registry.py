"""The registry: only weights that fit get in, the first of a domain speaks, and files are what was added."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from inference.model import BUNDLED, Model, ModelError
from inference.reasons import LANGUAGES
from service.errors import describe
from service.ledger.audit import SYSTEM, Actor, AuditEntry
from service.registry.errors import ModelNotFound, ModelRefused
from service.registry.store import Registry
from tests.people import at_once, database
from tests.registries import blind, known, variant

CLERK = Actor("王经办")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with database(tmp_path) as found:
        yield found


@pytest.fixture
def registry(engine: Engine, tmp_path: Path) -> Registry:
    return Registry(engine, tmp_path / "var")


def states(registry: Registry) -> list[tuple[str, str, str]]:
    return [(each.domain, each.version, each.state) for each in registry.versions()]


def test_what_comes_with_jingdi_is_the_first_active_version(registry: Registry, engine: Engine) -> None:
    registry.prepare()
    registry.prepare()
    bundled = {domain: json.loads((BUNDLED / f"{domain}.json").read_bytes()) for domain in ("ground", "overhead")}
    assert states(registry) == [(domain, facts["version"], "active") for domain, facts in bundled.items()]
    active = registry.active("overhead")
    assert active
    assert (active.sha256, active.added_by) == (bundled["overhead"]["sha256"], SYSTEM.name)
    assert active.metrics == bundled["overhead"]["metrics"]
    assert registry.models("overhead").sha256 == Model.load().sha256
    assert registry.models("photos").sha256 == Model.load("ground").sha256
    with Session(engine) as session:
        assert [each.action for each in session.scalars(select(AuditEntry))] == ["model.added"] * 2


def test_several_processes_that_start_at_once_take_it_in_once(engine: Engine, tmp_path: Path) -> None:
    at_once(lambda: Registry(engine, tmp_path / "var").prepare(), 4)
    assert len(Registry(engine, tmp_path / "var").versions()) == 2


def test_what_is_added_later_is_a_candidate_and_loaded_from_its_own_folder(registry: Registry, tmp_path: Path) -> None:
    registry.prepare()
    onnx = variant(tmp_path / "new", "2027.1")
    added = registry.add(CLERK, onnx, onnx.with_suffix(".json"))
    shutil.rmtree(tmp_path / "new")
    assert (added.state, added.added_by, added.version) == ("candidate", "王经办", "2027.1")
    assert registry.models("overhead").version != "2027.1"
    assert registry.model(added).version == "2027.1"
    assert registry.files("overhead", added.id)[0].parent == tmp_path / "var" / "models" / "overhead" / added.id


def test_the_same_weights_again_change_nothing_and_calibrated_anew_are_another_version(
    registry: Registry, tmp_path: Path
) -> None:
    onnx = variant(tmp_path, "a")
    manifest, again = onnx.with_suffix(".json"), tmp_path / "again.json"
    first = registry.add(CLERK, onnx, manifest)
    assert registry.add(CLERK, onnx, manifest).id == first.id
    facts = json.loads(manifest.read_bytes())
    blind(facts)
    again.write_text(json.dumps(facts))
    other = registry.add(CLERK, onnx, again)
    assert (other.id != first.id, other.sha256, other.state) == (True, first.sha256, "candidate")


def test_an_upgrade_brings_a_candidate(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.prepare()
    newer = tmp_path / "newer"
    shutil.copytree(BUNDLED, newer)
    facts = json.loads((newer / "overhead.json").read_bytes()) | {"version": "2030"}
    (newer / "overhead.json").write_text(json.dumps(facts))
    monkeypatch.setattr("service.registry.store.BUNDLED", newer)
    registry.prepare()
    assert ("overhead", "2030", "candidate") in states(registry)
    assert registry.models("overhead").version != "2030"


def test_without_any_weights_comparing_says_so(registry: Registry) -> None:
    with pytest.raises(ModelError, match="jingdi models add"):
        registry.models("overhead")


def test_files_that_were_changed_or_taken_away_are_not_used(registry: Registry, tmp_path: Path) -> None:
    registry.prepare()
    active = registry.active("overhead")
    assert active
    onnx, manifest = registry.files("overhead", active.id)
    facts = json.loads(manifest.read_bytes())
    blind(facts)
    manifest.write_text(json.dumps(facts))
    with pytest.raises(ModelError, match="changed"):
        registry.models("overhead")
    onnx.unlink()
    with pytest.raises(ModelError, match="cannot read"):
        registry.models("overhead")
    registry.prepare()  # what comes with Jingdi is there to be copied once more
    assert registry.models("overhead").sha256 == active.sha256


def test_a_version_is_found_by_the_beginning_of_its_id(registry: Registry, engine: Engine) -> None:
    rows = known(engine, ("a", "active"), ("b", "candidate"))
    assert registry.find(rows[0].id).name == "a"
    assert registry.find(rows[1].id[:8].upper()).name == "b"
    for start in ("", rows[0].id[:7], "0" * 64, "%" * 8, rows[0].id + "0"):
        with pytest.raises(ModelNotFound):
            registry.find(start)


def test_of_a_domain_one_version_at_most_is_active(engine: Engine) -> None:
    known(engine, ("a", "active"), ("b", "retired"))
    known(engine, ("g", "active"), domain="ground")
    with pytest.raises(IntegrityError):
        known(engine, ("c", "active"))


# --- What does not fit ------------------------------------------------------------------------------------


def without(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(facts: dict[str, Any]) -> None:
        for name in path[:-1]:
            facts = facts[name]
        del facts[path[-1]]

    return change


def put(value: Any, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(facts: dict[str, Any]) -> None:
        for name in path[:-1]:
            facts = facts[name]
        facts[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        (put("f" * 64, "sha256"), "model_sha256", "ffffffffffff"),
        (put("BGR", "input", "channels"), "model_contract", "input.channels"),
        (put("float32", "input", "dtype"), "model_contract", "input.dtype"),
        (put(["x"], "input", "names"), "model_contract", "input.names"),
        (put(None, "input", "gsd_range_m"), "model_contract", "input.gsd_range_m"),
        (put("probabilities", "output", "meaning"), "model_contract", "output.meaning"),
        (put(["structure", "sky"], "output", "classes"), "model_outputs", "classes_before"),
        (put("radar", "domain"), "model_domain", "radar"),
        (put("ground", "domain"), "model_contract", "input.long_side"),
        (put("v" * 65, "version"), "model_unreadable", "version"),
        (without("output"), "model_unreadable", "output"),
        (without("calibration", "threshold"), "model_unloadable", "threshold"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_cause_and_remedy(
    registry: Registry, tmp_path: Path, change: Callable[[dict[str, Any]], None], code: str, named: str
) -> None:
    onnx = variant(tmp_path / "new", "bad", change)
    with pytest.raises(ModelRefused) as refused:
        registry.add(CLERK, onnx, onnx.with_suffix(".json"))
    for language in LANGUAGES:
        problem = describe(refused.value, language, 0)
        assert (problem.status, problem.code) == (422, code)
        assert named in problem.detail
        assert problem.remedy
    assert registry.versions() == []
    assert not (tmp_path / "var").exists()


def test_weights_with_an_output_that_nobody_knows_are_refused(registry: Registry, tmp_path: Path) -> None:
    facts = json.loads((BUNDLED / "ground.json").read_bytes())
    facts["output"]["classes"] = []  # the file has outputs for classes, the manifest says that it has none
    manifest = tmp_path / "m.json"
    manifest.write_text(json.dumps(facts))
    with pytest.raises(ModelRefused) as refused:
        registry.add(CLERK, BUNDLED / "ground.onnx", manifest)
    assert refused.value.code == "model_outputs"
    assert "classes_after" in refused.value.values["found"]


def test_files_that_are_none_are_refused(registry: Registry, tmp_path: Path) -> None:
    onnx = variant(tmp_path / "new", "bad")
    text = tmp_path / "text.json"
    for content, code in ((b"no JSON", "model_unreadable"), (b"[]", "model_unreadable"), (b"\xff", "model_unreadable")):
        text.write_bytes(content)
        with pytest.raises(ModelRefused) as refused:
            registry.add(CLERK, onnx, text)
        assert refused.value.code == code
    with pytest.raises(ModelRefused):
        registry.add(CLERK, tmp_path / "missing.onnx", onnx.with_suffix(".json"))


def test_a_file_that_is_no_network_is_refused(registry: Registry, tmp_path: Path) -> None:
    onnx = tmp_path / "garbage.onnx"
    onnx.write_bytes(b"garbage")
    facts = json.loads((BUNDLED / "overhead.json").read_bytes())
    manifest = onnx.with_suffix(".json")
    manifest.write_text(json.dumps(facts | {"sha256": hashlib.sha256(b"garbage").hexdigest()}))
    with pytest.raises(ModelRefused) as refused:
        registry.add(CLERK, onnx, manifest)
    assert refused.value.code == "model_unloadable"
