"""Comparisons in the background: once each, across restarts, and never half of one."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from inference.findings import Assessment
from inference.model import ModelError
from inference.reasons import InputError
from service.comparisons import COMPARE
from service.database import PairRow, connect
from service.intake import Upload, plain_name
from service.queue import MAX_ATTEMPTS, Job
from service.storage import Storage, copy
from tests.queues import ended


class Gate:
    """A comparison that stops in the middle until it is let go."""

    def __init__(self, red: Any) -> None:
        self.red, self.reached, self.go = red, threading.Event(), threading.Event()

    def __call__(self, before: Any, after: Any, asked: Any, progress: Any) -> Assessment:
        progress("score", 0.5)
        self.reached.set()
        while not self.go.wait(0.02):
            progress("score", 0.5)
        assessment: Assessment = self.red(before, after, asked, progress)
        return assessment


@pytest.fixture
def gate(red: Any) -> Gate:
    return Gate(red)


def test_progress_is_written_while_a_comparison_runs(
    open_service: Any, gate: Gate, before: bytes, after: bytes
) -> None:
    with open_service(gate) as service:
        pair = service.submit(before, after).json()
        assert gate.reached.wait(10)
        running = service.wait(pair["id"], "running")
        assert (running["stage"], running["progress"]) == ("score", pytest.approx(0.6))
        gate.go.set()
        service.wait(pair["id"])


def test_a_comparison_that_is_interrupted_by_a_stop_is_done_after_the_next_start(
    open_service: Any, gate: Gate, before: bytes, after: bytes
) -> None:
    with open_service(gate) as service:
        running = service.submit(before, after).json()["id"]
        waiting = service.submit(before, after).json()["id"]
        assert gate.reached.wait(10)
    with open_service() as service:
        assert service.wait(running)["status"] == "done"
        assert service.wait(waiting)["status"] == "done"


def test_a_comparison_that_was_running_in_a_crash_is_done_after_the_next_start(
    open_service: Any, before: bytes, after: bytes
) -> None:
    with open_service() as service:
        pair_id = service.finish(before, after)["id"]
        first = service.wait(pair_id)["report"]
        parts = service.client.app.state.services
        assert parts.pairs.change(pair_id, "done", status="running", report=None, verdict=None)
        crashed = {"state": "running", "lease_owner": "killed", "lease_until": datetime.now(UTC)}
        with parts.background.queue.engine.begin() as connection:
            connection.execute(update(Job).values(crashed))
    with open_service() as service:
        assert service.wait(pair_id)["report"] == first


def test_a_pair_that_is_done_is_not_compared_again(service: Any, before: bytes, after: bytes) -> None:
    done = service.finish(before, after)
    queue = service.client.app.state.services.background.queue
    ended(queue, queue.enqueue(COMPARE, {"pair": done["id"]}))
    assert service.wait(done["id"]) == done


def test_deleting_a_running_pair_abandons_it_and_leaves_nothing(
    open_service: Any, gate: Gate, before: bytes, after: bytes
) -> None:
    with open_service(gate) as service:
        pair_id = service.submit(before, after).json()["id"]
        assert gate.reached.wait(10)
        assert service.client.delete(f"/api/v1/pairs/{pair_id}").status_code == 204
        gate.go.set()
        other = service.submit(before, after).json()["id"]  # comes after it in the queue
        service.wait(other)
        assert service.client.delete(f"/api/v1/pairs/{other}").status_code == 204
        assert service.stored == []


def test_a_failure_is_written_down_and_the_next_pair_is_compared(
    open_service: Any, red: Any, before: bytes, after: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def fail_first(*args: Any) -> Assessment:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("no such luck")
        assessment: Assessment = red(*args)
        return assessment

    with open_service(fail_first) as service:
        failed = service.finish(before, after)
        assert (failed["status"], failed["error_code"], failed["report"]) == ("failed", "internal", None)
        assert "no such luck" in caplog.text
        assert service.finish(before, after)["status"] == "done"
        assert 'jingdi_pairs_total{verdict="failed"} 1.0' in service.client.get("/metrics").text


def test_a_picture_that_was_damaged_on_disk_fails_with_its_reason(
    open_service: Any, gate: Gate, before: bytes, after: bytes
) -> None:
    with open_service(gate) as service:
        service.submit(before, after)
        assert gate.reached.wait(10)
        pair_id = service.submit(before, after).json()["id"]
        (service.settings.data_dir / "pairs" / pair_id / "after").write_bytes(b"")
        gate.go.set()
        assert service.wait(pair_id)["error_code"] == "empty_file"


def test_nothing_is_stored_if_the_row_cannot_be_written(
    service: Any, before: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("service.intake.enqueue_comparison", fail)
    assert service.submit(before, after).status_code == 500
    assert service.stored == []


def test_nothing_is_stored_if_the_disk_is_full(
    service: Any, before: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("service.intake.copy", fail)
    assert service.submit(before, after).status_code == 500
    assert service.stored == []


def test_without_a_model_pairs_are_refused_and_the_service_is_not_ready(
    open_service: Any, before: bytes, after: bytes
) -> None:
    def load() -> None:
        raise ModelError("sha256 does not match")

    with open_service(load=load) as service:
        assert service.client.get("/healthz").status_code == 200
        assert service.client.get("/readyz").json()["checks"] == {"database": True, "model": False}
        refused = service.submit(before, after)
        assert (refused.status_code, refused.json()["code"]) == (503, "model_unavailable")
        assert service.client.get("/").status_code == 200
        assert service.stored == []


def test_the_demonstration_fills_an_empty_database_once(open_service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.demo.DEMO_SIZE_PX", 384)
    monkeypatch.setattr("service.app.furnish", lambda *_: None)
    with open_service(demo=True) as service:
        pair_id = service.client.get("/api/v1/pairs").json()["items"][0]["id"]
        service.wait(pair_id)
    with open_service(demo=True) as service:
        assert service.client.get("/api/v1/pairs").json()["total"] == 1


# --- Files ------------------------------------------------------------------------------------------------


def test_a_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    with storage.arriving("good") as folder:
        (folder / "before").write_bytes(b"x")
        assert not storage.folder("good").exists()
    assert (storage.folder("good") / "before").read_bytes() == b"x"
    with pytest.raises(FileNotFoundError), storage.arriving("bad") as folder:
        (folder / "nowhere" / "before").write_bytes(b"x")
    assert [path.name for path in (tmp_path / "pairs").iterdir()] == ["good"]
    assert list((tmp_path / "incoming").iterdir()) == []


def test_what_a_crash_left_behind_is_swept_away_after_a_while(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    for name in ("incoming/arriving", "incoming/abandoned", "pairs/known", "pairs/orphan"):
        (tmp_path / name).mkdir()
    long_ago = time.time() - 7200
    for name in ("incoming/abandoned", "pairs/known", "pairs/orphan"):
        os.utime(tmp_path / name, (long_ago, long_ago))
    storage.sweep({"known"})
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["arriving", "known"]


def test_a_stream_is_never_written_beyond_the_limit(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"\0" * (3 * 2**20))
    with source.open("rb") as stream, pytest.raises(InputError):
        copy(stream, tmp_path / "copy", 2**20)
    assert (tmp_path / "copy").stat().st_size <= 2**20


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a.png", "a.png"), ("/etc/passwd", "passwd"), ("C:\\x\\院.tif", "院.tif"), ("a\x00\n.png", "a.png"), ("", "")],
)
def test_a_name_is_only_a_name(given: str, kept: str) -> None:
    assert plain_name(given) == kept
    assert len(plain_name(given * 200)) <= 255


def test_submitting_in_process_is_the_same_as_uploading(
    service: Any, before: bytes, after: bytes, tmp_path: Path
) -> None:
    for name, content in (("a.png", before), ("b.png", after)):
        (tmp_path / name).write_bytes(content)
    intake = service.client.app.state.services.intake
    with (tmp_path / "a.png").open("rb") as first, (tmp_path / "b.png").open("rb") as second:
        row: PairRow = intake.submit(Upload("a.png", first), Upload("b.png", second), 0.5)
    assert row.created_at <= datetime.now(UTC)
    assert service.wait(row.id)["verdict"] == "new"


# --- The queue --------------------------------------------------------------------------------------------


def test_pairs_from_before_there_was_a_queue_are_compared_after_the_next_start(
    open_service: Any, gate: Gate, before: bytes, after: bytes
) -> None:
    with open_service(gate) as service:
        pair_id = service.submit(before, after).json()["id"]
        assert gate.reached.wait(10)
    engine = connect(service.settings.resolved_database_url)
    with engine.begin() as connection:
        connection.execute(delete(Job))
    engine.dispose()
    with open_service() as service:
        assert service.wait(pair_id)["status"] == "done"


def test_what_a_full_disk_stopped_is_tried_again(
    open_service: Any, red: Any, before: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.queue.worker.FIRST_DELAY", timedelta(0))
    calls: list[int] = []

    def fail_first(*args: Any) -> Assessment:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("disk full")
        assessment: Assessment = red(*args)
        return assessment

    with open_service(fail_first) as service:
        assert service.finish(before, after)["status"] == "done"
    assert len(calls) == 2


def test_a_pair_that_kills_every_worker_is_given_up(open_service: Any, before: bytes, after: bytes) -> None:
    with open_service() as service:
        pair_id = service.finish(before, after)["id"]
        parts = service.client.app.state.services
        assert parts.pairs.change(pair_id, "done", status="running", report=None, verdict=None)
        died = {"state": "running", "attempts": MAX_ATTEMPTS, "lease_owner": "k", "lease_until": datetime.now(UTC)}
        with parts.background.queue.engine.begin() as connection:
            connection.execute(update(Job).values(died))
        parts.background.queue.ring()
        failed = service.wait(pair_id)
        assert (failed["status"], failed["error_code"], failed["report"]) == ("failed", "worker_died", None)


def test_a_pair_that_one_process_accepts_is_compared_by_another(
    open_service: Any, settings: Any, before: bytes, after: bytes
) -> None:
    with open_service(settings=settings.model_copy(update={"workers": 0})) as accepting:
        pair_id = accepting.submit(before, after).json()["id"]
        assert accepting.wait(pair_id, "queued")
        with open_service():
            assert accepting.wait(pair_id)["status"] == "done"
