"""Scans from the queue: only from allowed folders, once per key, across restarts, and into the ledger."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.idempotency import HEADER
from service.ledger.tables import Alert
from service.queue import MAX_ATTEMPTS, Refused
from service.registry.store import Registry
from service.registry.tables import ModelVersion
from service.scans import Order, ScanUndated, SceneOutside, WindowsSetAside
from service.scenes.tables import SceneRow
from tests import scans as small
from tests.imagery import MagentaModel
from tests.people import at_once, house
from tests.queues import until

API = "/api/v1/scans"
NEW = (60, 60, 40, 40)
VERSION = ModelVersion(id="b" * 64, sha256=MagentaModel.sha256, domain="overhead", name="magenta", version="1")


class Gated(MagentaModel):
    """Waits before every window until it is let go."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def probabilities(self, before: Any, after: Any) -> Any:
        self.reached.set()
        assert self.go.wait(20)
        return super().probabilities(before, after)


class Weights:
    """What stands in for the registry's weights."""

    def __init__(self) -> None:
        self.model: Any = MagentaModel()


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> Weights:
    small.small_windows(monkeypatch)
    found = Weights()
    monkeypatch.setattr(Registry, "active", lambda self, domain: VERSION)
    monkeypatch.setattr(Registry, "model", lambda self, version: found.model)
    return found


@pytest.fixture
def files(settings: Any) -> Path:
    """The folder of scenes, with two dates of one place."""
    folder: Path = settings.scene_folders[0]
    folder.mkdir(parents=True)
    small.pair(folder, (), (NEW,))
    return folder


def order(**changes: Any) -> dict[str, Any]:
    return {"before": ["before.tif"], "after": ["after.tif"]} | changes


def finish(service: Any, scan_id: str, *states: str) -> dict[str, Any]:
    wanted = states or ("done", "failed", "cancelled")
    found: dict[str, Any] = until(
        lambda: (scan := service.client.get(f"{API}/{scan_id}").json())["state"] in wanted and scan
    )
    return found


def submit(service: Any, **changes: Any) -> Any:
    return service.client.post(API, json=order(**changes))


# --- From order to ledger ---------------------------------------------------------------------------------


def test_a_scan_is_accepted_at_once_and_ends_in_the_ledger(service: Any, weights: Weights, files: Path) -> None:
    answer = submit(service)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"{API}/{answer.json()['id']}"
    done = finish(service, answer.json()["id"])
    assert (done["state"], done["error"], done["attempts"]) == ("done", None, 1)
    assert done["summary"]["findings"]["new"]["count"] == 1
    assert len(done["taken"]["candidates"]) == 1
    assert done["model"] == {"name": "magenta", "version": "1", "sha256": MagentaModel.sha256}
    found = service.client.get(f"{API}/{done['id']}/findings.geojson")
    assert found.headers["content-type"] == "application/geo+json"
    assert [each["properties"]["kind"] for each in found.json()["features"]] == ["new"]
    with Session(service.client.app.state.services.pairs.engine) as session:
        scene = session.scalars(select(SceneRow)).one()
        assert (scene.findings_count, scene.taken_at.year) == (1, 2017)
        assert session.scalars(select(Alert)).all() == []


def test_scans_are_listed_newest_first(service: Any, weights: Weights, files: Path) -> None:
    ids = [submit(service).json()["id"] for _ in range(2)]
    page = service.client.get(API).json()
    assert [each["id"] for each in page["items"]] == ids[::-1]
    assert page["total"] == 2
    assert [each["id"] for each in service.client.get(API, params={"offset": 1}).json()["items"]] == ids[:1]
    for each in ids:
        finish(service, each)


def test_only_the_area_is_scanned(service: Any, weights: Weights, files: Path) -> None:
    everything = finish(service, submit(service).json()["id"])
    features = service.client.get(f"{API}/{everything['id']}/findings.geojson").json()["features"]
    area = features[0]["geometry"]
    part = finish(service, submit(service, area=area).json()["id"])
    assert 0 < part["summary"]["area_px"] < everything["summary"]["area_px"] / 10


def test_the_same_scene_again_is_no_second_look(service: Any, weights: Weights, files: Path) -> None:
    first = finish(service, submit(service).json()["id"])
    again = finish(service, submit(service).json()["id"])
    assert first["id"] != again["id"]
    assert len(first["taken"]["candidates"]) == 1
    assert again["taken"]["candidates"] == []


def test_a_key_sent_twenty_times_at_once_is_one_scan(service: Any, weights: Weights, files: Path) -> None:
    def send() -> Any:
        answer = service.client.post(API, json=order(), headers={HEADER: "tonight"})
        return answer.status_code, answer.json()["id"]

    answers = at_once(send, 20)
    assert len(set(answers)) == 1
    assert answers[0][0] == 202
    assert service.client.get(API).json()["total"] == 1
    finish(service, answers[0][1])


# --- What is refused --------------------------------------------------------------------------------------


def test_nothing_outside_the_allowed_folders_is_read(
    service: Any, weights: Weights, files: Path, tmp_path: Path
) -> None:
    outside = small.write(tmp_path / "outside.tif", small.dated())
    (files / "link.tif").symlink_to(outside)
    for name in (str(outside), "../../outside.tif", "link.tif", "missing.tif", "/etc/passwd", "x" * 400):
        refused = submit(service, after=[name])
        assert (refused.status_code, refused.json()["code"]) == (422, "scene_outside"), name
    unpaired = service.client.post(API, content=json.dumps(order(after=["\udc80.tif"])).encode())
    assert unpaired.status_code == 422
    for name in ("http://127.0.0.1/a.tif", "s3://bucket/a.tif", "/vsicurl/http://127.0.0.1/a.tif", "<GDAL_WMS/>"):
        assert submit(service, after=[name]).json()["code"] == "scene_outside"
    assert service.client.get(API).json()["total"] == 0


def test_a_document_in_the_folder_cannot_name_files_outside(
    service: Any, weights: Weights, files: Path, tmp_path: Path
) -> None:
    outside = small.write(tmp_path / "outside.tif", small.dated(), 1)
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "night", "properties": {"datetime": "2017-09-20T03:00:00Z"},
        "geometry": None, "links": [], "assets": {"visual": {"href": str(outside), "type": "image/tiff"}},
    }  # fmt: skip
    (files / "night.json").write_text(json.dumps(item))
    refused = submit(service, after=["night.json"])
    assert (refused.status_code, refused.json()["code"]) == (422, "scene_outside")


def test_what_cannot_be_scanned_is_refused_at_once_with_its_reason(service: Any, weights: Weights, files: Path) -> None:
    (files / "text.tif").write_text("no picture")
    elsewhere = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    for changes, code in (
        ({"after": ["text.tif"]}, "source_unreadable"),
        ({"area": elsewhere}, "area_elsewhere"),
        ({"area": {"type": "Point", "coordinates": [0, 0]}}, "bad_area"),
        ({"area": {}}, "bad_area"),
        ({"gsd": -1}, "invalid"),
        ({"after": []}, "invalid"),
        ({"surprise": 1}, "invalid"),
    ):
        refused = submit(service, **changes)
        assert (refused.status_code, refused.json()["code"]) == (422, code)
        assert refused.json()["remedy"]


def test_without_a_date_a_scan_is_no_look(service: Any, weights: Weights, files: Path) -> None:
    (files / "undated.tif").write_bytes(small.geotiff(small.lit(small.dated()), transform=small.UTM))
    assert submit(service, after=["undated.tif"]).json()["code"] == "scan_undated"
    assert submit(service, after=["undated.tif"], taken_at="2026-03-01T10:30:00").status_code == 422
    dated = submit(service, after=["undated.tif"], taken_at="2026-03-01T10:30:00+08:00")
    assert finish(service, dated.json()["id"])["state"] == "done"


def test_a_reason_that_shows_only_later_is_kept(service: Any, weights: Weights, files: Path) -> None:
    failed = finish(service, submit(service, before=["after.tif"], after=["before.tif"]).json()["id"])
    assert (failed["state"], failed["attempts"], failed["error"]["code"]) == ("failed", 1, "wrong_order")
    assert service.client.get(f"{API}/{failed['id']}/findings.geojson").json()["code"] == "scan_file_not_found"


def test_a_scan_that_is_not_there_is_not_found(service: Any) -> None:
    for scan_id in ("0" * 32, "x"):
        assert service.client.get(f"{API}/{scan_id}").json()["code"] == "scan_not_found"
        assert service.client.post(f"{API}/{scan_id}/cancel").status_code == 404


def test_who_may_scan(tmp_path: Path, red: Any) -> None:
    with house(tmp_path, lambda: red) as place:
        assert place.browser("zhao", "auditor").post(API, json=order()).status_code == 403
        assert place.browser("zhao").get(API).status_code == 200
        assert place.browser("wang", "analyst").post(API, json=order()).json()["code"] == "scene_outside"


# --- Stopping, cancelling, failing ------------------------------------------------------------------------


def test_a_scan_goes_on_after_a_restart_where_it_was(
    open_service: Any, weights: Weights, files: Path, settings: Any
) -> None:
    weights.model = Gated()
    with open_service() as service:
        scan_id = submit(service).json()["id"]
        assert weights.model.reached.wait(20)
        threading.Timer(0.3, weights.model.go.set).start()
    windows = settings.data_dir / "scans" / scan_id / "scratch" / "windows"
    kept = {path.name: path.stat().st_mtime_ns for path in windows.glob("*.zip")}
    assert kept
    weights.model = Gated()
    with open_service() as service:
        assert weights.model.reached.wait(20)
        assert {name: (windows / name).stat().st_mtime_ns for name in kept} == kept
        weights.model.go.set()
        done = finish(service, scan_id)
    assert (done["state"], done["attempts"]) == ("done", 1)
    assert done["summary"]["findings"]["new"]["count"] == 1


def test_a_running_scan_that_is_cancelled_leaves_nothing(
    service: Any, weights: Weights, files: Path, settings: Any
) -> None:
    weights.model = Gated()
    running, waiting = (submit(service).json()["id"] for _ in range(2))
    assert weights.model.reached.wait(20)
    for scan_id in (running, waiting):
        assert service.client.post(f"{API}/{scan_id}/cancel").json()["state"] == "cancelled"
    again = service.client.post(f"{API}/{running}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "scan_over")
    weights.model.go.set()
    until(lambda: not (settings.data_dir / "scans" / running).exists())
    assert finish(service, running)["taken"] is None


def test_what_cancelled_scans_left_is_swept_away_at_the_next_start(
    open_service: Any, weights: Weights, files: Path, settings: Any
) -> None:
    with open_service() as service:
        done = finish(service, submit(service).json()["id"])
    (settings.data_dir / "scans" / ("0" * 32)).mkdir()
    with open_service() as service:
        assert [path.name for path in (settings.data_dir / "scans").iterdir()] == [done["id"]]


@contextmanager
def alone(service: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The handler, called by the test itself."""
    parts = service.client.app.state.services.background
    monkeypatch.setattr(parts.queue, "ring", lambda: None)
    yield parts


class Call:
    """A `Work` of the test."""

    def __init__(self, payload: dict[str, Any], attempt: int = 1) -> None:
        self.id, self.payload, self.attempt, self.max_attempts = "c" * 32, payload, attempt, MAX_ATTEMPTS

    def report(self, stage: str, share: float) -> None:
        assert 0 <= share <= 1


class Poisoned(MagentaModel):
    def probabilities(self, before: Any, after: Any) -> Any:
        raise RuntimeError("poison")


def test_windows_that_cannot_be_read_are_tried_again_and_unseen_in_the_end(
    service: Any, weights: Weights, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights.model = Poisoned()
    with alone(service, monkeypatch) as parts:
        payload = Order(["before.tif"], ["after.tif"]).payload
        with pytest.raises(WindowsSetAside, match="poison"):
            parts.scans.run(Call(payload))
        last = parts.scans.run(Call(payload, attempt=MAX_ATTEMPTS))
        assert last["summary"]["observed_share"] == 0
        assert last["taken"]["clear"] == []
        weights.model = MagentaModel()
        assert parts.scans.run(Call(payload))["summary"]["findings"]["new"]["count"] == 1


def test_a_folder_that_is_in_use_is_tried_again(
    service: Any, weights: Weights, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inference.reasons import InputError
    from inference.scan.journal import Journal

    with alone(service, monkeypatch) as parts:
        call = Call(Order(["before.tif"], ["after.tif"]).payload)
        with Journal(parts.scans.folder(call.id)).locked(), pytest.raises(InputError):
            parts.scans.run(call)
        with pytest.raises(Refused, match="scene_outside"):
            parts.scans.run(Call(Order(["gone.tif"], ["after.tif"]).payload))


def test_a_scan_ends_with_the_weights_it_began_with(
    service: Any, weights: Weights, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ModelVersion(id="d" * 64, sha256="e" * 64, domain="overhead", name="other", version="2")

    class Other(MagentaModel):
        sha256 = other.sha256

    known = {VERSION.id: MagentaModel(), other.id: Other()}
    monkeypatch.setattr(Registry, "model", lambda self, version: known[version.id])
    monkeypatch.setattr(Registry, "versions", lambda self: [other, VERSION])
    with alone(service, monkeypatch) as parts:
        call = Call(Order(["before.tif"], ["after.tif"]).payload)
        assert parts.scans.run(call)["model"]["version"] == "1"
        monkeypatch.setattr(Registry, "active", lambda self, domain: other)
        assert parts.scans.run(call)["model"]["version"] == "1"


def test_orders_of_programs_are_checked_as_well(service: Any, weights: Weights, files: Path) -> None:
    assert service.client.get(API).json()["total"] == 0
    scans = service.client.app.state.services.background.scans
    (files / "undated.tif").write_bytes(small.geotiff(small.lit(small.dated()), transform=small.UTM))
    with pytest.raises(SceneOutside):
        scans.submit(Order(["before.tif"], ["/etc/passwd"]))
    with pytest.raises(ScanUndated):
        scans.submit(Order(["before.tif"], ["undated.tif"]))
    one, same = (scans.submit(Order(["before.tif"], ["after.tif"]), key="2026-03-02") for _ in range(2))
    assert one.id == same.id
    finish(service, one.id)
