"""A scan from files to findings: what it says, what it must not say, and what it survives."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Geod, Transformer
from rasterio.shutil import copy

from inference.clouds import RIM_PX
from inference.reasons import InputError
from inference.scan import journal
from inference.scan.plan import grid_for
from inference.scan.run import Scan
from tests import scans
from tests.imagery import UTM, CloudyModel, MagentaModel, ground
from tests.scans import dated, features, lit, opened, pair, run, write

NEW, GONE, STAYS = (30, 40, 60, 40), (200, 20, 30, 30), (120, 130, 50, 40)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    scans.small_windows(monkeypatch)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return pair(tmp_path, (GONE, STAYS), (NEW, STAYS))


def outline(feature: dict[str, Any]) -> shapely.Polygon:
    """In pixels of the scene."""
    to_map = Transformer.from_crs(4326, 32650, always_xy=True)

    def to_pixels(p: Any) -> Any:
        x, y = to_map.transform(p[:, 0], p[:, 1])
        return np.stack([(x - UTM.c) / UTM.a, (y - UTM.f) / UTM.e], axis=1)

    return shapely.transform(shapely.geometry.shape(feature["geometry"]), to_pixels)


# --- Findings ---------------------------------------------------------------------------------------------


def test_what_is_new_what_remains_and_what_is_gone_is_found_where_it_is(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    found = run(*files, tmp_path / "run")
    shapes = {f["properties"]["kind"]: outline(f) for f in features(tmp_path / "run")}
    assert len(shapes) == len(features(tmp_path / "run")) == 3
    for kind, (x, y, w, h) in (("new", NEW), ("removed", GONE), ("remaining", STAYS)):
        assert shapes[kind].hausdorff_distance(shapely.box(x, y, x + w, y + h)) < 0.5
    assert found.summary["observed_share"] == 1.0
    assert found.summary["windows"] == {"observed": 24}


def test_a_structure_across_many_windows_is_one_finding(tmp_path: Path) -> None:
    long = ((10, 60, 280, 24), (140, 10, 24, 180))
    run(*pair(tmp_path, (), long), tmp_path / "run")
    (cross,) = features(tmp_path / "run")
    assert outline(cross).area == pytest.approx(280 * 24 + 24 * 180 - 24 * 24, rel=1e-3)
    assert len(cross["geometry"]["coordinates"][0]) == 13


def test_a_square_of_100_m_reads_10000_m2(tmp_path: Path) -> None:
    run(*pair(tmp_path, (), ((40, 50, 200, 200),), height=300, width=300), tmp_path / "run")
    (square,) = features(tmp_path / "run")
    scale = _scale_factor()
    assert square["properties"]["area_m2"] == pytest.approx(10_000 / scale**2, rel=1e-4)
    assert square["properties"]["area_m2"] == pytest.approx(10_000, rel=1e-3)
    assert 0 < square["properties"]["area_error_m2"] < 1000


def _scale_factor() -> float:
    """Metres of the map for a metre on the ground, at the square."""
    lon, lat = Transformer.from_crs(32650, 4326, always_xy=True).transform([UTM.c, UTM.c + 100], [UTM.f - 75] * 2)
    return 100 / Geod(ellps="WGS84").inv(lon[0], lat[0], lon[1], lat[1])[2]


def test_every_file_knows_where_it_lies_and_what_made_it(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(*files, out)
    with rasterio.open(files[0]) as given, rasterio.open(out / "probabilities.tif") as made:
        assert (made.crs, made.transform, made.shape) == (given.crs, given.transform, given.shape)
        assert made.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert made.descriptions == ("structure_before", "structure_after", "change")
        assert made.read(2)[60, 50] * made.scales[1] == pytest.approx(0.9, abs=0.002)
    meta, _, geometry, columns = pyogrio.raw.read(out / "findings.gpkg", layer="findings")
    row = dict(zip(meta["fields"], (column[0] for column in columns), strict=True))
    assert "32650" in meta["crs"]
    assert row["model_sha256"] == MagentaModel.sha256
    assert (row["status"], row["before_date"][:10], row["after_date"][:10]) == ("suspected", "2016-06-01", "2017-09-20")
    x, y, w, h = NEW
    corners = [UTM @ corner for corner in ((x, y), (x + w, y + h))]
    box = shapely.box(corners[0][0], corners[1][1], corners[1][0], corners[0][1])
    assert shapely.from_wkb(geometry[0]).hausdorff_distance(box) < 0.25
    item = json.loads((out / "item.json").read_text())
    assert item["properties"]["jingdi:model"]["sha256"] == MagentaModel.sha256
    assert item["properties"]["end_datetime"].startswith("2017-09-20")
    assert all((out / asset["href"]).exists() for asset in item["assets"].values())


def test_rings_turn_as_rfc_7946_says(files: tuple[Path, Path], tmp_path: Path) -> None:
    run(*files, tmp_path / "run")
    for feature in features(tmp_path / "run"):
        assert shapely.geometry.shape(feature["geometry"]).exterior.is_ccw


def test_what_a_cloud_hides_is_not_observed_and_nothing_is_found_there(tmp_path: Path) -> None:
    before, after = dated(GONE, STAYS), lit(dated(STAYS, NEW))
    x, y, width, height = GONE
    cloud = np.s_[y - 10 : y + height + 10, x - 10 : x + width + 10]
    after[cloud] = 255
    files = write(tmp_path / "before.tif", before), write(tmp_path / "after.tif", after, 1)
    found = run(*files, tmp_path / "run", load=CloudyModel)
    assert sorted(f["properties"]["kind"] for f in features(tmp_path / "run")) == ["new", "remaining"]
    hidden = (width + 20 + 2 * RIM_PX) * (height + 20 + 2 * RIM_PX)
    assert found.summary["not_observed_px"] == {"cloud": hidden}
    run(*files, tmp_path / "moved", load=CloudyModel, origin=(37, 37))
    assert features(tmp_path / "moved") == features(tmp_path / "run")


def test_moving_the_windows_changes_nothing(files: tuple[Path, Path], tmp_path: Path) -> None:
    run(*files, tmp_path / "a")
    run(*files, tmp_path / "b", origin=(37, 37))
    assert features(tmp_path / "a") == features(tmp_path / "b")


def test_an_area_is_all_that_is_looked_at(files: tuple[Path, Path], tmp_path: Path) -> None:
    to_lonlat = Transformer.from_crs(32650, 4326, always_xy=True)
    corners = [to_lonlat.transform(*(UTM @ c)) for c in ((0, 0), (110, 0), (110, 100), (0, 100))]
    found = run(*files, tmp_path / "run", lonlat=shapely.Polygon(corners))
    assert [f["properties"]["kind"] for f in features(tmp_path / "run")] == ["new"]
    assert found.summary["area_px"] == pytest.approx(110 * 100, rel=0.02)


# --- Not observed is not clear ----------------------------------------------------------------------------


def test_what_was_not_seen_is_said_to_be_not_observed(files: tuple[Path, Path], tmp_path: Path) -> None:
    pixels = np.dstack([lit(dated(NEW, STAYS)), np.full((200, 300), 255, np.uint8)])
    pixels[:, :150, 3] = 0
    after = write(tmp_path / "half.tif", pixels, 1)
    found = run(files[0], after, tmp_path / "run")
    assert found.summary["not_observed_px"] == {"nodata": 200 * 150}
    assert found.summary["observed_share"] == 0.5
    assert {"observed", "partly_observed", "not_observed"} == set(found.summary["windows"])
    assert "new" not in {f["properties"]["kind"] for f in features(tmp_path / "run")}
    with rasterio.open(tmp_path / "run" / "coverage.tif") as file:
        assert file.tags()["value_2"] == "nodata"
        assert set(np.unique(file.read(1)[:, :150])) == {2}
        assert set(np.unique(file.read(1)[:, 150:])) == {1}
    with rasterio.open(tmp_path / "run" / "probabilities.tif") as file:
        assert not file.dataset_mask()[:, :150].any()


def test_a_pair_without_any_pixel_is_not_clear(tmp_path: Path) -> None:
    empty = np.zeros((200, 300, 4), np.uint8)
    found = run(write(tmp_path / "a.tif", empty), write(tmp_path / "b.tif", empty, 1), tmp_path / "run")
    assert found.summary["observed_share"] == 0.0
    assert set(found.summary["windows"]) == {"not_observed"}


def test_clouds_of_a_supplied_mask_hide_what_lies_below(files: tuple[Path, Path], tmp_path: Path) -> None:
    mask = np.zeros((200, 300), np.uint8)
    mask[:, :100] = 1
    clouds = write(tmp_path / "clouds.tif", mask)
    found = run(opened(files[0]), opened(files[1], clouds=[str(clouds)]), tmp_path / "run")
    assert found.summary["not_observed_px"] == {"cloud": 200 * 100}
    assert "new" not in {f["properties"]["kind"] for f in features(tmp_path / "run")}


def test_a_later_date_that_lies_too_far_off_is_not_judged(tmp_path: Path) -> None:
    pixels = dated(NEW, height=512, width=512)
    far = UTM @ Affine.translation(12, 0)
    found = run(
        write(tmp_path / "a.tif", pixels), write(tmp_path / "b.tif", lit(pixels), 1, transform=far), tmp_path / "run"
    )
    assert found.summary["registration"]["largest_px"] == pytest.approx(12, abs=0.5)
    assert found.summary["not_observed_px"]["misregistered"] > 0.5 * 512 * 512
    assert not features(tmp_path / "run")


def test_a_few_pixels_off_are_corrected(tmp_path: Path) -> None:
    pixels = dated(STAYS, height=512, width=512)
    off = UTM @ Affine.translation(5, -3)
    found = run(
        write(tmp_path / "a.tif", pixels), write(tmp_path / "b.tif", lit(pixels), 1, transform=off), tmp_path / "run"
    )
    (stays,) = features(tmp_path / "run")
    x, y, w, h = STAYS
    assert stays["properties"]["kind"] == "remaining"
    assert outline(stays).hausdorff_distance(shapely.box(x, y, x + w, y + h)) < 1.5
    assert found.summary["registration"]["median_px"] == pytest.approx(np.hypot(5, 3), abs=0.3)


# --- Faults -----------------------------------------------------------------------------------------------


class Vanishing(MagentaModel):
    """Takes the later file away while it works."""

    sha256 = "1" * 64
    path: Path | None = None
    calls = 0

    def probabilities(self, before: Any, after: Any) -> Any:
        self.calls += 1
        if self.calls == 4 and self.path:
            self.path.unlink()
        return super().probabilities(before, after)


def test_a_file_that_vanishes_leaves_windows_set_aside_and_comes_back_on_resume(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*files, tmp_path / "whole", load=Vanishing)
    kept = files[1].read_bytes()
    times = files[1].stat()
    monkeypatch.setattr(Vanishing, "path", files[1])
    found = run(*files, tmp_path / "run", load=Vanishing)
    monkeypatch.setattr(Vanishing, "path", None)
    assert 0 < found.set_aside < 24
    assert found.summary["observed_share"] < 1
    assert "source_unreadable" in found.summary["errors"][0]
    files[1].write_bytes(kept)
    os.utime(files[1], ns=(times.st_atime_ns, times.st_mtime_ns))
    again = run(*files, tmp_path / "run", load=Vanishing, resume=True)
    assert again.set_aside == 0
    assert _but_the_name(tmp_path / "run") == _but_the_name(tmp_path / "whole")


def test_a_truncated_file_loses_no_more_than_what_is_missing(files: tuple[Path, Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.tif"
    copy(files[1], cut, driver="COG", blocksize=128, compress="deflate", overviews="none")
    cut.write_bytes(cut.read_bytes()[: int(cut.stat().st_size * 0.7)])
    found = run(files[0], cut, tmp_path / "run")
    assert found.set_aside > 0
    assert 0 < found.summary["observed_share"] < 1
    assert "new" in {f["properties"]["kind"] for f in features(tmp_path / "run")}


def test_a_poisoned_window_is_tried_three_times(files: tuple[Path, Path], tmp_path: Path) -> None:
    tries: list[bytes] = []

    class Poisoned(MagentaModel):
        """Cannot stand the first window that it was shown."""

        def probabilities(self, before: Any, after: Any) -> Any:
            if not tries or before.tobytes() == tries[0]:
                tries.append(before.tobytes())
                raise RuntimeError("poison")
            return super().probabilities(before, after)

    found = run(*files, tmp_path / "run", load=Poisoned)
    assert len(tries) == 3
    assert found.set_aside == 1
    assert found.summary["errors"] == ["RuntimeError: poison"]


def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*files, tmp_path / "whole")
    real, written = os.fsync, []

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 15:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(journal.os, "fsync", full)
        with pytest.raises(InputError) as refused:
            run(*files, tmp_path / "run")
    assert refused.value.reason.code == "cannot_write"
    assert not list((tmp_path / "run").rglob("*.partial"))
    run(*files, tmp_path / "run", resume=True)
    assert _but_the_name(tmp_path / "run") == _but_the_name(tmp_path / "whole")


def _but_the_name(out: Path) -> dict[str, bytes]:
    """The item is called after the folder."""
    found = scans.contents(out)
    found["item.json"] = found["item.json"].replace(out.name.encode(), b"")
    return found


KILLED = """
import os, signal, sys
from pathlib import Path
import pytest
from tests import scans

real, left = os.fsync, int(sys.argv[4])

def last(descriptor):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    real(descriptor)

os.fsync = last
with pytest.MonkeyPatch.context() as patch:
    scans.small_windows(patch)
    scans.run(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), resume=True)
"""


def test_a_scan_killed_again_and_again_goes_on_to_the_same_bytes(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Killed before a file is on the disk or before its name is, some files further each time."""
    run(*files, tmp_path / "whole")
    out = tmp_path / "run"
    for after in (1, 4, 9, 2, 13, 6, 11, 3, 8, 5):
        command = [sys.executable, "-c", KILLED, *map(str, (*files, out, after))]
        ended = subprocess.run(command, cwd=Path(__file__).parents[1], stderr=subprocess.DEVNULL, check=False)
        assert ended.returncode == -signal.SIGKILL
    run(*files, out, resume=True)
    assert _but_the_name(out) == _but_the_name(tmp_path / "whole")


def test_two_scans_do_not_share_a_folder(files: tuple[Path, Path], tmp_path: Path) -> None:
    held = journal.Journal(tmp_path / "run")
    with held.locked(), pytest.raises(InputError) as refused:
        run(*files, tmp_path / "run")
    assert refused.value.reason.code == "run_busy"


def test_a_run_is_neither_overwritten_nor_mixed_with_another(files: tuple[Path, Path], tmp_path: Path) -> None:
    run(*files, tmp_path / "run")
    before = scans.contents(tmp_path / "run")
    for options, code in (({}, "run_exists"), ({"origin": (16, 0), "resume": True}, "run_differs")):
        with pytest.raises(InputError) as refused:
            run(*files, tmp_path / "run", **options)
        assert refused.value.reason.code == code
    assert isinstance(run(*files, tmp_path / "run", resume=True), Scan)
    assert scans.contents(tmp_path / "run") == before


def test_the_wrong_order_of_dates_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        run(files[1], files[0], tmp_path / "run")
    assert refused.value.reason.code == "wrong_order"


def test_pixels_too_coarse_for_the_model_are_refused(tmp_path: Path) -> None:
    coarse = UTM @ Affine.scale(10)
    paths = [write(tmp_path / f"{i}.tif", ground(i, 64), i, transform=coarse) for i in (0, 1)]
    with pytest.raises(InputError) as refused:
        run(*paths, tmp_path / "run")
    assert refused.value.reason.code == "gsd_out_of_range"


@pytest.mark.parametrize(("asked", "scanned"), [(None, 0.4), (0.3, 0.3), (0.5, 0.5)])
def test_a_scene_finer_than_it_is_scored_is_scanned_coarser_unless_asked(
    tmp_path: Path, asked: float | None, scanned: float
) -> None:
    fine = UTM @ Affine.scale(0.4)  # of half a metre
    paths = [write(tmp_path / f"{i}.tif", ground(1, 200, 300), i, transform=fine) for i in (0, 1)]
    grid, _ = grid_for(*(opened(path) for path in paths), gsd=asked)
    assert grid.gsd == pytest.approx(scanned, rel=1e-2)
    assert grid.width == pytest.approx(300 * 0.2 / scanned, abs=1.5)


def test_a_scene_across_the_antimeridian_gives_polygons_on_both_sides(tmp_path: Path) -> None:
    x, y = Transformer.from_crs(4326, 32601, always_xy=True).transform(180.0, 0.5)
    place = Affine(0.5, 0, round(x) - 75, 0, -0.5, round(y))
    paths = [
        write(tmp_path / f"{i}.tif", lit(dated(*blocks)), i, transform=place, crs="EPSG:32601")
        for i, blocks in enumerate(((), ((120, 60, 60, 40),)))
    ]
    run(*paths, tmp_path / "run")
    (feature,) = features(tmp_path / "run")
    assert feature["geometry"]["type"] == "MultiPolygon"
    spans = [shapely.geometry.Polygon(p[0]).bounds for p in feature["geometry"]["coordinates"]]
    assert sorted((b[0] < 0, b[2] - b[0] < 0.001) for b in spans) == [(False, True), (True, True)]
    assert feature["properties"]["area_m2"] == pytest.approx(60 * 40 / 4, rel=0.01)
