"""The interface and the commands of the registry: add, replay, promote, compare, take back; without a restart."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from inference.model import Model
from service.cli import app
from service.idempotency import HEADER
from service.ledger.audit import Actor, verify
from service.registry.store import Registry
from tests.conftest import RedModel
from tests.people import house
from tests.queues import until
from tests.registries import REASON, blind, known, played_by, variant
from tests.test_registry_replay import Blind

API = "/api/v1/models"


@pytest.fixture
def versions(service: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    played_by(monkeypatch, red=RedModel(), blind=Blind())
    return known(service.client.app.state.services.pairs.engine, ("red", "active"), ("blind", "candidate"))


def finish(client: Any, where: str) -> dict[str, Any]:
    found: dict[str, Any] = until(lambda: (job := client.get(where).json())["state"] in ("done", "failed") and job)
    return found


def replayed(client: Any, version_id: str, **body: int) -> dict[str, Any]:
    answer = client.post(f"{API}/{version_id}/replay", json=body)
    assert answer.status_code == 202, answer.text
    return finish(client, answer.headers["location"])


def test_the_next_comparison_is_made_with_the_version_that_is_active_then(
    open_service: Any, before: bytes, after: bytes, tmp_path: Path
) -> None:
    """The whole way, with the weights that come with Jingdi and others that find nothing."""
    with open_service(load=None) as service:
        first = service.finish(before, after, gsd="0.5")
        assert first["verdict"] != "clear"
        registry = service.client.app.state.services.background.registry
        onnx = variant(tmp_path, "blind", blind)
        version = registry.add(Actor("王经办"), onnx, onnx.with_suffix(".json"))
        early = service.client.post(f"{API}/{version.id}/promote", json=REASON)
        assert (early.status_code, early.json()["code"]) == (409, "model_replay_required")
        replay = replayed(service.client, version.id[:8], pairs=5, scans=0)
        assert replay["result"]["pairs"][0]["verdict"] == [first["verdict"], "clear"]
        assert sum(replay["result"]["sum"]["lost"].values()) == len(first["report"]["findings"])

        promoted = service.client.post(f"{API}/{version.id}/promote", json=REASON)
        assert (promoted.status_code, promoted.json()["state"]) == (200, "active")
        blinded = service.finish(before, after, gsd="0.5")
        assert (blinded["verdict"], blinded["report"]["model"]["version"]) == ("clear", "blind")

        back = service.client.post(f"{API}/{version.id}/rollback", json=REASON)
        assert (back.status_code, back.json()["sha256"]) == (200, Model.load().sha256)
        assert service.finish(before, after, gsd="0.5")["report"]["findings"] == first["report"]["findings"]
        with Session(registry.engine) as session:
            assert verify(session).problem is None


def test_versions_are_listed_with_what_became_of_them(service: Any, versions: Any) -> None:
    replay = replayed(service.client, versions[1].id)
    service.client.post(f"{API}/{versions[1].id}/promote", json=REASON)
    newest, oldest = service.client.get(API).json()
    assert (newest["id"], newest["state"], oldest["state"]) == (versions[1].id, "active", "retired")
    assert (newest["replay"], oldest["replay"]) == (replay["id"], None)
    (promotion,) = newest["promotions"]
    assert (promotion["actor"], promotion["reason"]) == ("李审核", "夜间误报较少")
    assert (promotion["previous"], promotion["replay"], promotion["undone_at"]) == (oldest["id"], replay["id"], None)


def test_a_replay_sent_twice_with_one_key_is_one(service: Any, versions: Any) -> None:
    send = lambda: service.client.post(f"{API}/{versions[1].id}/replay", json={}, headers={HEADER: "k"})  # noqa: E731
    assert send().json()["id"] == send().json()["id"]


def test_what_does_not_fit_is_refused(service: Any, versions: Any) -> None:
    red, candidate = versions
    for method, path, body, status, code in (
        ("post", f"{red.id}/replay", {}, 409, "model_active"),
        ("post", f"{'0' * 64}/replay", {}, 404, "model_not_found"),
        ("post", f"{candidate.id}/replay", {"pairs": 0}, 422, "invalid"),
        ("get", f"{candidate.id}/replays/{'0' * 32}", None, 404, "replay_not_found"),
        ("post", f"{red.id}/promote", REASON, 409, "model_active"),
        ("post", f"{candidate.id}/promote", REASON | {"reason": " "}, 422, "reason_required"),
        ("post", f"{candidate.id}/promote", {"reason": "x"}, 403, "person_required"),
        ("post", f"{candidate.id}/rollback", REASON, 409, "model_not_active"),
        ("post", f"{red.id}/rollback", REASON, 409, "model_first"),
    ):
        answer = service.client.request(method, f"{API}/{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), path


def test_reviewers_decide_which_version_speaks_and_programs_do_not(
    tmp_path: Path, red: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    played_by(monkeypatch, red=RedModel(), blind=Blind())
    with house(tmp_path, lambda: red) as place:
        _, candidate = known(place.engine, ("red", "active"), ("blind", "candidate"))
        reviewer, analyst, chief = (
            place.browser(n, r) for n, r in (("li", "reviewer"), ("wu", "analyst"), ("chief", "administrator"))
        )
        for other in (analyst, chief):
            assert other.post(f"{API}/{candidate.id}/replay", json={}).status_code == 403
            assert other.post(f"{API}/{candidate.id}/promote", json={"reason": "x"}).status_code == 403
        program = place.program(reviewer, "read", "models")
        replayed(program, candidate.id)
        refused = program.post(f"{API}/{candidate.id}/promote", json={"reason": "x"})
        assert (refused.status_code, refused.json()["code"]) == (403, "person_required")
        named = reviewer.post(f"{API}/{candidate.id}/promote", json=REASON)
        assert named.json()["promotions"][0]["actor"] == "li"


# --- Commands ---------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("JINGDI_LANGUAGE", raising=False)
    monkeypatch.delenv("JINGDI_DATABASE_URL", raising=False)
    return tmp_path / "var"


def jingdi(data: Path, *arguments: object, language: str = "en") -> Result:
    return CliRunner().invoke(
        app, ["models", *map(str, arguments), "--data-dir", str(data), "--language", language], env={"COLUMNS": "200"}
    )


def test_the_whole_way_by_commands(data: Path, tmp_path: Path) -> None:
    onnx = variant(tmp_path / "new", "2027.1", blind)
    added = jingdi(data, "add", onnx, "--actor", "王经办")
    assert added.exit_code == 0, added.output
    listed = json.loads(jingdi(data, "list", "--json").stdout)
    version_id = next(each["id"] for each in listed if each["version"] == "2027.1")
    assert version_id in added.stdout
    assert sorted(each["state"] for each in listed) == ["active", "active", "candidate"]
    assert "候选" in jingdi(data, "list", language="zh").stdout

    step = ("--actor", "李审核", "--reason", "夜间误报较少")
    early = jingdi(data, "promote", version_id, *step)
    assert (early.exit_code, "not replayed" in early.stderr) == (2, True)
    replay = jingdi(data, "replay", version_id[:8], "--pairs", "3")
    assert (replay.exit_code, "0 pairs" in replay.stdout) == (0, True)
    assert json.loads(jingdi(data, "replay", version_id, "--json").stdout)["sum"]["changed"] == 0
    assert "2027.1" in jingdi(data, "promote", version_id, *step).stdout
    assert "active again" in jingdi(data, "rollback", version_id, *step).stdout
    again = jingdi(data, "rollback", version_id, *step, language="zh")
    assert (again.exit_code, "只能退回正在使用的版本" in again.stderr) == (2, True)


def test_what_a_version_would_change_is_shown_line_by_line(
    open_service: Any, data: Path, before: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_service() as service:
        service.finish(before, after)
        settings = service.settings
        played_by(monkeypatch, red=RedModel(), blind=Blind())
        monkeypatch.setattr(Registry, "prepare", lambda self: None)
        _, candidate = known(service.client.app.state.services.pairs.engine, ("red", "active"), ("blind", "candidate"))
    monkeypatch.setenv("JINGDI_DATABASE_URL", settings.resolved_database_url)
    shown = jingdi(settings.data_dir, "replay", candidate.id, language="zh")
    assert shown.exit_code == 1, shown.output
    assert "疑似新增 → 未发现建筑" in shown.stdout
    assert "新增 1, 未拆 1, 已拆 1" in shown.stdout


def test_weights_that_do_not_fit_are_refused_by_the_command(data: Path, tmp_path: Path) -> None:
    onnx = variant(tmp_path / "new", "bad", lambda facts: facts["input"].update(channels="BGR"))
    refused = jingdi(data, "add", onnx)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "input.channels" in refused.stderr
    assert "jingdi export" in refused.stderr


def test_another_process_works_on_the_queue_and_stops_when_told(
    open_service: Any, settings: Any, before: bytes, after: bytes
) -> None:
    with open_service(settings=settings.model_copy(update={"workers": 0})) as service:
        pair_id = service.submit(before, after).json()["id"]
        environment = {"JINGDI_DATABASE_URL": settings.resolved_database_url, "JINGDI_LANGUAGE": "en"}
        command = [sys.executable, "-m", "service.cli", "work", "--data-dir", str(settings.data_dir)]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            until(lambda: service.client.get(f"/api/v1/pairs/{pair_id}").json()["status"] == "done")
        finally:
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
        assert "Working on the queue" in told
