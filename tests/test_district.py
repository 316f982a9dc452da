"""The made-up district: its truth is exact, its pictures follow the truth, and the seed decides everything."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import Any

import numpy as np
import pytest
from pyproj import Transformer
from rasterio.features import rasterize
from shapely import union_all
from shapely.geometry import box

from datasets.district import Changes, District, generate

SIZE = 256
STILL = Changes(
    new=0, removed=0, vehicles=0, nets=0, greened=0, hoardings=0,
    sun_turn_deg=0, season=0, gain=0, shift_px=0, haze=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def district() -> District:
    return generate(27, size=SIZE)


@pytest.fixture(scope="module")
def quiet() -> District:
    """Structures come and go, and nothing else differs but the sensor's noise."""
    return generate(27, size=SIZE, changes=replace(STILL, new=4, removed=4))


def _difference(d: District) -> np.ndarray:
    """(H, W) mean absolute difference over the channels."""
    return np.abs(d.before.pixels.astype(int) - d.after.pixels.astype(int)).mean(axis=2)


def _inside(d: District, kind: str) -> list[np.ndarray]:
    return [
        rasterize([t.polygon], out_shape=d.change.shape, dtype=np.uint8).astype(bool)
        for t in d.structures
        if t.kind == kind
    ]


def test_the_same_seed_gives_the_same_bytes(district: District) -> None:
    again = generate(27, size=SIZE)
    assert again.before.pixels.tobytes() == district.before.pixels.tobytes()
    assert again.after.pixels.tobytes() == district.after.pixels.tobytes()
    assert again.structures == district.structures
    assert again.before.captured_at == district.before.captured_at


def test_another_seed_gives_another_district(district: District) -> None:
    other = generate(28, size=SIZE)
    assert (other.before.pixels != district.before.pixels).any(axis=2).mean() > 0.9
    assert (other.structure_before != district.structure_before).mean() > 0.1


def test_change_is_what_stands_at_one_date_only(district: District) -> None:
    assert np.array_equal(district.change, district.structure_before ^ district.structure_after)
    remaining = np.logical_or.reduce(_inside(district, "remaining"))
    assert not (district.change & remaining).any()
    assert (district.structure_before & district.structure_after == remaining).all()
    assert (
        district.structure_after & ~district.structure_before == np.logical_or.reduce(_inside(district, "new"))
    ).all()
    assert (
        district.structure_before & ~district.structure_after == np.logical_or.reduce(_inside(district, "removed"))
    ).all()


def test_polygons_have_the_area_of_the_masks(district: District) -> None:
    for mask, absent in ((district.structure_before, "new"), (district.structure_after, "removed")):
        stated = sum(t.area_m2 for t in district.structures if t.kind != absent)
        assert stated == pytest.approx(mask.sum() * 0.5**2, rel=0.02)
        assert 0.08 < mask.mean() < 0.6


def test_area_is_in_square_metres_whatever_the_resolution() -> None:
    fine, coarse = (generate(27, size=size, gsd=gsd, changes=STILL) for size, gsd in ((128, 0.5), (64, 1.0)))
    areas = [sum(t.area_m2 for t in d.structures) for d in (fine, coarse)]
    assert areas[0] == pytest.approx(areas[1], rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_structures_stay_within_the_scene_and_off_each_other(seed: int) -> None:
    polygons = [t.polygon for t in generate(seed, size=SIZE, changes=STILL).structures]
    frame = box(0, 0, SIZE, SIZE).buffer(1e-6)
    assert all(frame.contains(p) and p.is_valid for p in polygons)
    assert union_all(polygons).area == pytest.approx(sum(p.area for p in polygons), rel=0.002)


def test_as_many_come_and_go_as_asked_for(district: District) -> None:
    kinds = [t.kind for t in district.structures]
    assert (kinds.count("new"), kinds.count("removed")) == (Changes().new, Changes().removed)
    assert kinds.count("remaining") > 20


def test_asking_for_more_keeps_what_there_was() -> None:
    few, more = (
        generate(5, size=256, changes=replace(STILL, new=n, removed=m)).structures for n, m in ((2, 1), (4, 3))
    )
    for kind in ("new", "removed"):
        assert {t.polygon.wkt for t in few if t.kind == kind} < {t.polygon.wkt for t in more if t.kind == kind}


def test_a_larger_scene_shows_more_of_the_same_place() -> None:
    small, large = (generate(6, size=size, changes=STILL) for size in (96, 160))
    assert _alike(small.before.pixels, large.before.pixels[:96, :96])
    # At its edge a scene leaves slivers of roofs out.
    assert np.array_equal(small.structure_before[:88, :88], large.structure_before[:88, :88])


def test_tiles_meet_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = generate(6, size=128, changes=STILL).before.pixels
    monkeypatch.setattr("datasets.render._TILE", 64)
    tiled = generate(6, size=128, changes=STILL).before.pixels
    assert _alike(whole, tiled)
    assert _alike(whole[:, 60:68], tiled[:, 60:68])
    assert _alike(whole[60:68], tiled[60:68])


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    """The same to the eye: outlines are rounded where a tile cuts them, which the codec spreads a little."""
    difference = np.abs(a.astype(int) - b)
    return bool(np.median(difference) == 0 and difference.mean() < 1.5)


def test_what_comes_or_goes_shows_and_what_remains_does_not(quiet: District) -> None:
    difference = _difference(quiet)
    background = difference[~quiet.change].mean()
    for kind in ("new", "removed"):
        for inside in _inside(quiet, kind):
            assert difference[inside].mean() > 5 * background
    # A neighbour that goes takes its shadow along, so a few roofs do change: hence the median.
    steady = [np.median(difference[inside]) for inside in _inside(quiet, "remaining")]
    assert np.median(steady) < 5


def test_what_remains_is_drawn_at_both_dates(quiet: District) -> None:
    """Compared with the ground beneath, which a scene shows where the same structures have been removed."""
    cleared = generate(27, size=SIZE, changes=replace(STILL, removed=20))
    remaining = {t.polygon.wkt for t in quiet.structures if t.kind == "remaining"}
    removed = [t for t in cleared.structures if t.kind == "removed"]
    ground, tried = cleared.after.pixels.astype(int), 0
    for structure, inside in zip(removed, _inside(cleared, "removed"), strict=True):
        if structure.polygon.wkt in remaining:
            tried += 1
            for picture in (quiet.before.pixels, quiet.after.pixels):
                assert np.abs(picture.astype(int) - ground)[inside].mean() > 10
    assert tried > 10


def test_without_changes_only_the_noise_of_the_sensor_differs() -> None:
    still = generate(27, size=96, changes=STILL)
    assert not still.change.any()
    assert 0.3 < _difference(still).mean() < 4


@pytest.mark.parametrize(
    ("changes", "least"),
    [({"vehicles": 60}, 0.003), ({"nets": 5}, 0.003), ({"greened": 9}, 0.003), ({"hoardings": 9}, 0.001)],
    ids=str,
)
def test_what_is_no_structure_changes_pixels_but_not_the_truth(changes: dict[str, Any], least: float) -> None:
    d = generate(27, size=SIZE, changes=replace(STILL, **changes))
    assert not d.change.any()
    assert (_difference(d) > 14).mean() > least


@pytest.mark.parametrize(
    ("changes", "least"),
    [
        ({"sun_turn_deg": 60}, 0.02),
        ({"season": 0.5}, 0.005),
        ({"gain": 0.3}, 0.3),
        ({"haze": 0.4}, 0.3),
        ({"shift_px": 2}, 0.05),
    ],
    ids=str,
)
def test_another_light_changes_pixels_but_not_the_truth(changes: dict[str, Any], least: float) -> None:
    d = generate(27, size=96, changes=replace(STILL, **changes))
    assert not d.change.any()
    assert (_difference(d) > 14).mean() > least


def test_it_lies_in_shijingshan_with_north_up(district: District) -> None:
    for raster in (district.before, district.after):
        assert raster.crs is not None
        assert raster.transform is not None
        assert raster.crs.to_epsg() == 32650
        x, y = raster.transform.c + SIZE * 0.25, raster.transform.f - SIZE * 0.25
        lon, lat = Transformer.from_crs(32650, 4326, always_xy=True).transform(x, y)
        assert (lon, lat) == pytest.approx((116.20, 39.91), abs=0.01)
        assert (raster.transform.a, raster.transform.e, raster.gsd) == (0.5, -0.5, 0.5)
        assert raster.valid.all()
    assert district.before.captured_at is not None
    assert district.after.captured_at is not None
    assert district.before.captured_at < district.after.captured_at
    assert district.before.captured_at.tzinfo == UTC


def test_it_has_the_colours_and_contrast_of_a_satellite_picture(district: District) -> None:
    pixels = district.before.pixels.astype(float)
    assert 70 < pixels.mean() < 160
    assert 25 < pixels.mean(axis=2).std() < 70
    assert pixels.std(axis=2).mean() < 30  # mostly muted
    assert ((pixels < 2) | (pixels > 253)).mean() < 0.01  # hardly clipped


@pytest.mark.parametrize("size", [1, 37, 200])
def test_any_size_will_do(size: int) -> None:
    d = generate(7, size=size, changes=STILL)
    assert d.before.pixels.shape == (size, size, 3)
    assert d.change.shape == (size, size)


def test_more_changes_than_structures_are_refused() -> None:
    with pytest.raises(ValueError, match="structures lie wholly within 128 px"):
        generate(1, size=128, changes=Changes(new=50, removed=50))


@pytest.mark.parametrize("wrong", [{"new": -1}, {"haze": 1.0}, {"shift_px": 5.0}, {"season": 2.0}])
def test_changes_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"negative|shift_px"):
        Changes(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("seed", "size", "gsd"), [(-1, 64, 0.5), (0, 0, 0.5), (0, 64, 0.0)])
def test_a_scene_that_makes_no_sense_is_refused(seed: int, size: int, gsd: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        generate(seed, size=size, gsd=gsd)


def test_vegetation_is_where_grass_and_crowns_are_whatever_the_season() -> None:
    bare, green = (generate(105, size=SIZE, changes=replace(STILL, greened=n, season=0.4)) for n in (0, 9))
    assert np.array_equal(bare.vegetation_before, bare.vegetation_after)
    assert np.array_equal(bare.vegetation_before, green.vegetation_before)
    greened = green.vegetation_after & ~green.vegetation_before
    assert greened.sum() * 0.5**2 > 500
    assert not (green.vegetation_before & ~green.vegetation_after).any()
    excess = green.after.pixels[greened].mean(axis=0) @ (-1, 2, -1)
    assert excess > 20 > bare.after.pixels[greened].mean(axis=0) @ (-1, 2, -1)
