"""Replays: what would come and what would go, for each pair and scan and in sum; and nothing stored is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from shapely.geometry import Polygon, box, mapping, shape
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from datasets.geotiff import write_geotiff
from datasets.raster import Raster
from inference.model import ModelError
from service.ledger.audit import AuditEntry, writing
from service.ledger.tables import Alert, Observation
from service.registry.difference import Found, count, difference
from service.registry.errors import ModelConflict
from service.registry.replay import REPLAY
from service.registry.store import Registry
from tests import scans as small
from tests.conftest import RedModel
from tests.imagery import MagentaModel
from tests.ledgers import site
from tests.queues import ended, until
from tests.registries import known, played_by

CODE = "A"


class Blind(RedModel):
    """Finds nothing."""

    name, sha256 = "blind", "1" * 64

    def probabilities(self, before: Any, after: Any) -> Any:
        return super().probabilities(before, after) * 0.01


class BlindScan(MagentaModel):
    sha256 = "1" * 64

    def probabilities(self, before: Any, after: Any) -> Any:
        return super().probabilities(before, after) * 0.01


def replay(service: Any, version: Any, *, pairs: int = 10, scans: int = 0) -> dict[str, Any]:
    """The result of a replay by the service's own worker."""
    background = service.client.app.state.services.background
    job = ended(background.queue, background.replays.submit(version.id, pairs=pairs, scans=scans).id)
    assert job.state == "done", job.error
    result: dict[str, Any] = job.result
    return result


def engine_of(service: Any) -> Any:
    return service.client.app.state.services.pairs.engine


@pytest.fixture
def versions(service: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The model that sees red speaks; one that is blind wants to."""
    played_by(monkeypatch, red=RedModel(), blind=Blind())
    return known(engine_of(service), ("red", "active"), ("blind", "candidate"))


# --- Pairs ------------------------------------------------------------------------------------------------


def test_each_pair_says_what_it_would_lose(service: Any, versions: Any, before: bytes, after: bytes) -> None:
    pair = service.finish(before, after)
    same = service.finish(before, before)
    result = replay(service, versions[1])
    assert (result["version"], result["against"], result["domain"]) == (versions[1].id, versions[0].id, "overhead")
    newest, oldest = result["pairs"]
    assert (newest["id"], newest["verdict"]) == (same["id"], ["not_comparable"] * 2)
    assert (oldest["id"], oldest["verdict"]) == (pair["id"], ["new", "clear"])
    assert oldest["lost"] == {"new": 1, "remaining": 1, "removed": 1}
    assert oldest["gained"] == dict.fromkeys(oldest["lost"], 0)
    assert result["sum"] == {
        "pairs": 2, "scans": 0, "changed": 1, "verdicts_changed": 1, "gained": oldest["gained"],
        "lost": oldest["lost"], "alerts_gained": 0, "alerts_lost": 0,
    }  # fmt: skip
    assert service.wait(pair["id"]) == pair


def test_as_many_pairs_as_asked_for_the_newest_first(service: Any, versions: Any, before: bytes, after: bytes) -> None:
    ids = [service.finish(before, after)["id"] for _ in range(3)]
    assert [each["id"] for each in replay(service, versions[1], pairs=2)["pairs"]] == ids[:0:-1]


def test_what_cannot_be_replayed_is_named(service: Any, versions: Any, before: bytes, after: bytes) -> None:
    damaged, gone = (service.finish(before, after)["id"] for _ in range(2))
    folder = service.settings.data_dir / "pairs"
    (folder / damaged / "after").write_bytes(b"")
    (folder / gone / "after").unlink()
    result = replay(service, versions[1])
    assert result["pairs"] == []
    assert result["left_out"] == [{"id": gone, "code": "files_gone"}, {"id": damaged, "code": "empty_file"}]


def test_pairs_of_the_other_kind_are_left_alone(
    service: Any, versions: Any, before: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.finish(before, after)
    played_by(monkeypatch, g1=None, g2=None)
    _, ground = known(engine_of(service), ("g1", "active"), ("g2", "candidate"), domain="ground")
    result = replay(service, ground)
    assert (result["pairs"], result["left_out"], result["sum"]["pairs"]) == ([], [], 0)


def test_a_located_pair_says_which_closed_sites_would_gain_or_lose_an_alert(
    service: Any, versions: Any, scene: Any, tmp_path: Path
) -> None:
    files = []
    for name, pixels in zip(("before.tif", "after.tif"), scene, strict=True):
        placed = Affine(0.5, 0, 430_000, 0, -0.5, 4_418_000)
        raster = Raster(pixels, np.ones(pixels.shape[:2], np.bool_), name, CRS.from_epsg(32650), placed, 0.5)
        write_geotiff(raster, tmp_path / name)
        files.append((tmp_path / name).read_bytes())
    pair = service.finish(*files)
    found = service.client.get(f"/api/v1/pairs/{pair['id']}/findings.geojson").json()["features"]
    new = next(each for each in found if each["properties"]["kind"] == "new")
    put_site(service, shape(new["geometry"]).buffer(1e-4))
    (change,) = replay(service, versions[1])["pairs"]
    assert (change["alerts_gained"], change["alerts_lost"]) == ([], [[CODE, "new"]])


def put_site(service: Any, outline: Any, **values: Any) -> None:
    west, south, east, north = outline.bounds
    placed = {"geometry": mapping(outline), "west": west, "south": south, "east": east, "north": north}
    with writing(engine_of(service)) as session:
        site(session, CODE, **placed, **values)


# --- Scans ------------------------------------------------------------------------------------------------


def test_scans_whose_imagery_is_there_are_run_again_and_the_ledger_is_left_alone(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.small_windows(monkeypatch)
    played_by(monkeypatch, sees=MagentaModel(), blind=BlindScan())
    _, blind = known(engine_of(service), ("sees", "active"), ("blind", "candidate"))
    folder = service.settings.scene_folders[0]
    for night in ("one", "two"):
        (folder / night).mkdir(parents=True)
        small.pair(folder / night, (), ((60, 60, 40, 40),))
    ids = [scan(service, night) for night in ("one", "two")]
    found = service.client.get(f"/api/v1/scans/{ids[1]}/findings.geojson").json()["features"][0]
    put_site(service, shape(found["geometry"]).envelope)
    (folder / "one" / "after.tif").unlink()
    before = everything(service)
    result = replay(service, blind, scans=5)
    assert everything(service) == before
    (change,) = result["scans"]
    assert (change["id"], change["name"], change["verdict"]) == (ids[1], "two/after.tif", None)
    assert (change["lost"]["new"], change["gained"]["new"]) == (1, 0)
    assert change["alerts_lost"] == [[CODE, "new"]]
    assert result["left_out"] == [{"id": ids[0], "code": "scene_outside"}]
    assert (result["sum"]["scans"], result["sum"]["alerts_lost"], result["sum"]["changed"]) == (1, 1, 1)
    assert list((service.settings.data_dir / "replays").iterdir()) == []


def scan(service: Any, night: str) -> str:
    order = {"before": [f"{night}/before.tif"], "after": [f"{night}/after.tif"]}
    scan_id: str = service.client.post("/api/v1/scans", json=order).json()["id"]
    until(lambda: service.client.get(f"/api/v1/scans/{scan_id}").json()["state"] == "done")
    return scan_id


def everything(service: Any) -> list[int]:
    with Session(engine_of(service)) as session:
        return [
            session.scalar(select(func.count()).select_from(each)) or 0 for each in (Observation, Alert, AuditEntry)
        ]


# --- What is refused --------------------------------------------------------------------------------------


def test_the_active_version_is_not_replayed_against_itself(service: Any, versions: Any) -> None:
    replays = service.client.app.state.services.background.replays
    with pytest.raises(ModelConflict, match="model_active"):
        replays.submit(versions[0].id, pairs=1, scans=0)


def test_a_version_that_became_active_meanwhile_is_not_replayed(
    service: Any, versions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    background = service.client.app.state.services.background
    monkeypatch.setattr(Registry, "active", lambda self, domain: versions[1])
    failed = ended(background.queue, background.replays.submit(versions[1].id, pairs=1, scans=0).id)
    assert (failed.state, failed.error["code"]) == ("failed", "model_active")


def test_damaged_weights_end_a_replay_with_the_reason(
    service: Any, versions: Any, before: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.finish(before, after)
    background = service.client.app.state.services.background

    def gone(self: Registry, version: Any) -> None:
        raise ModelError("gone")

    monkeypatch.setattr(Registry, "model", gone)
    failed = ended(background.queue, background.replays.submit(versions[1].id, pairs=1, scans=0).id)
    assert (failed.state, failed.error["code"]) == ("failed", "model_unloadable")
    assert background.queue.count(REPLAY, "done") == 0


# --- The difference ---------------------------------------------------------------------------------------


def found(left: float, kind: str = "new", size: float = 10) -> Found:
    return Found(kind, 0.9, size**2, box(left, 0, left + size, size))


def test_findings_are_the_same_if_half_of_the_smaller_lies_in_the_other() -> None:
    assert difference([found(0)], [found(5)]) == ([], [])
    assert difference([found(0)], [found(0, size=30)]) == ([], [])
    gained, lost = difference([found(0)], [found(6)])
    assert (gained, lost) == ([found(6)], [found(0)])


def test_another_kind_at_the_same_place_is_another_finding() -> None:
    gained, lost = difference([found(0, "remaining")], [found(0, "new")])
    assert (count(gained), count(lost)) == (
        {"new": 1, "remaining": 0, "removed": 0},
        {"new": 0, "remaining": 1, "removed": 0},
    )


def test_from_nothing_everything_is_gained() -> None:
    assert difference([], [found(0), found(50)]) == ([found(0), found(50)], [])
    assert difference([], []) == ([], [])


def test_an_outline_that_crosses_itself_is_compared_all_the_same() -> None:
    crossed = Found("new", 0.9, None, Polygon([(0, 0), (10, 10), (10, 0), (0, 10)]))
    assert difference([crossed], [found(0)])[0] == []
