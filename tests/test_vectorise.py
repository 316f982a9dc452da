"""From probabilities to outlines, kinds and areas that stand up to a surveyor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from pyproj import Geod, Transformer
from rasterio.crs import CRS
from shapely.geometry import Polygon, box

from datasets.raster import Raster
from inference.findings import Finding, Layers
from inference.pair import Pair, Registration
from inference.vectorise import classify, find
from model.decision import MIN_OBJECT_PX
from tests.imagery import UTM, MagentaModel, located, raster

CONTRACT = MagentaModel.contract
SIDE = 300
Layer = NDArray[np.float32]


def blank(height: int = SIDE, width: int = SIDE) -> Layer:
    return np.zeros((height, width), dtype=np.float32)


def painted(*blocks: tuple[int, int, int, int], value: float = 0.9) -> Layer:
    """Probability `value` in each (x, y, width, height)."""
    result = blank()
    for x, y, width, height in blocks:
        result[y : y + height, x : x + width] = value
    return result


def paired(before: Raster, after: Raster | None = None) -> Pair:
    return Pair(before, after or before, Registration("identity", 0, 1.0, 0.0))


def even(valid: NDArray[np.bool_] | None = None, **fields: Any) -> Raster:
    return raster(np.full((SIDE, SIDE, 3), 100, dtype=np.uint8), valid, **fields)


def grown(layer: Layer) -> Layers:
    """Structures that were not there before."""
    return Layers(blank(), layer, layer)


def gone(layer: Layer) -> Layers:
    return Layers(layer, blank(), layer)


def standing(layer: Layer) -> Layers:
    return Layers(layer, layer, blank())


def only(layers: Layers, pair: Pair | None = None) -> Finding:
    (finding,) = find(pair or paired(even()), layers, CONTRACT)
    return finding


def kinds(layers: Layers, pair: Pair | None = None) -> list[str]:
    return [finding.kind for finding in find(pair or paired(even()), layers, CONTRACT)]


# --- Areas ------------------------------------------------------------------------------------------------

SQUARE_PX = 200  # 100 m at half a metre


def test_a_100_metre_square_is_10_000_square_metres_by_pixel_size() -> None:
    finding = only(grown(painted((40, 50, SQUARE_PX, SQUARE_PX))), paired(even(gsd=0.5)))
    assert finding.area_m2 == pytest.approx(10_000, rel=1e-9)
    assert finding.area_px == SQUARE_PX**2
    assert finding.lonlat is None


@pytest.mark.parametrize("crs", [32650, 4548])
def test_a_100_metre_square_is_10_000_square_metres_on_a_map(crs: int) -> None:
    finding = only(grown(painted((40, 50, SQUARE_PX, SQUARE_PX))), paired(_even_at(crs, UTM)))
    # A metre of the grid is not quite one of the ground: the scale of UTM zone 50 here is 0.99966.
    grid = {32650: 0.99966**2, 4548: 1.00006**2}[crs]
    assert finding.area_m2 == pytest.approx(10_000 / grid, rel=1e-4)
    assert finding.area_m2 == pytest.approx(10_000, rel=1e-3)


@pytest.mark.parametrize("crs", [4326, 4490])
def test_a_100_metre_square_is_10_000_square_metres_in_degrees(crs: int) -> None:
    geod = Geod(ellps="WGS84")
    lon, lat, pixel = 116.2, 39.91, 0.5
    per_lon = geod.inv(lon - 0.005, lat, lon + 0.005, lat)[2] / 0.01
    per_lat = geod.inv(lon, lat - 0.005, lon, lat + 0.005)[2] / 0.01
    place = Affine(pixel / per_lon, 0, lon, 0, -pixel / per_lat, lat)
    finding = only(grown(painted((40, 50, SQUARE_PX, SQUARE_PX))), paired(_even_at(crs, place)))
    assert finding.area_m2 == pytest.approx(10_000, rel=1e-3)


def test_a_100_metre_square_is_10_000_square_metres_in_web_mercator() -> None:
    """Where its own metres would make it 17 000."""
    lat = 39.91
    stretch = 1 / np.cos(np.radians(lat))
    x, y = Transformer.from_crs(4326, 3857, always_xy=True).transform(116.2, lat)
    # The sphere of Web Mercator is not the ellipsoid: along a meridian here a metre is a little longer still.
    e2 = 0.00669438
    w = np.sqrt(1 - e2 * np.sin(np.radians(lat)) ** 2)
    place = Affine(0.5 * stretch * w, 0, x, 0, -0.5 * stretch * w**3 / (1 - e2), y)
    layer = painted((40, 50, SQUARE_PX, SQUARE_PX))
    assert only(grown(layer), paired(_even_at(3857, place))).area_m2 == pytest.approx(10_000, rel=1e-3)


def _even_at(crs: int, place: Affine) -> Raster:
    return even(crs=CRS.from_epsg(crs), transform=place, gsd=0.5)


def test_without_a_resolution_an_area_is_in_pixels_only() -> None:
    finding = only(grown(painted((10, 10, 20, 30))))
    assert (finding.area_px, finding.area_m2, finding.area_error_m2) == (600, None, None)


def test_the_error_of_an_area_grows_with_its_outline() -> None:
    square = only(grown(painted((10, 10, 40, 40))), paired(even(gsd=0.5)))
    strip = only(grown(painted((10, 10, 160, 10))), paired(even(gsd=0.5)))
    assert square.area_m2 == strip.area_m2 == 400
    # Half a pixel (the contract) along 160 and 340 pixels of outline, a quarter of a square metre each.
    assert square.area_error_m2 == pytest.approx(0.5 * 160 * 0.25)
    assert strip.area_error_m2 == pytest.approx(0.5 * 340 * 0.25)


def test_a_hole_is_kept_and_not_counted() -> None:
    layer = painted((40, 40, 100, 100))
    layer[70:110, 60:90] = 0
    for before in (even(gsd=0.5), located(np.full((SIDE, SIDE, 3), 100, np.uint8))):
        finding = only(grown(layer), paired(before))
        assert len(finding.polygon.interiors) == 1
        assert finding.area_px == 100 * 100 - 40 * 30
        assert finding.area_m2 == pytest.approx(finding.area_px * 0.25, rel=1e-3)


# --- Outlines ---------------------------------------------------------------------------------------------


def test_the_outline_of_a_block_runs_along_the_edges_of_its_pixels() -> None:
    assert only(grown(painted((10, 20, 30, 15)))).polygon.equals(box(10, 20, 40, 35))


def test_the_outline_on_the_map_is_where_the_block_is() -> None:
    finding = only(grown(painted((40, 60, 80, 30))), paired(located(np.full((SIDE, SIDE, 3), 100, np.uint8))))
    to_map = Transformer.from_crs(4326, 32650, always_xy=True)
    assert finding.lonlat is not None
    easting, northing = to_map.transform(*np.array(finding.lonlat.exterior.coords).T)
    found = Polygon(zip(easting, northing, strict=True))
    true = box(UTM.c + 0.5 * 40, UTM.f - 0.5 * 90, UTM.c + 0.5 * 120, UTM.f - 0.5 * 60)
    assert found.hausdorff_distance(true) < 0.5 * 0.5


def test_an_outline_is_simplified_by_less_than_a_pixel() -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    disc = (np.hypot(rows - 150, columns - 150) < 60).astype(np.float32)
    finding = only(grown(disc))
    circle = Polygon([(150.5 + 60 * np.cos(a), 150.5 + 60 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 400)])
    assert finding.polygon.hausdorff_distance(circle) < 2
    assert len(finding.polygon.exterior.coords) < 80
    assert finding.area_px == disc.sum()


def test_blocks_that_touch_at_a_corner_are_one_finding() -> None:
    finding = only(grown(painted((20, 20, 20, 20), (40, 40, 20, 20))), paired(even(gsd=0.5)))
    assert finding.area_px == 800
    assert finding.area_m2 == 200


def test_blocks_a_pixel_apart_are_two_findings() -> None:
    assert kinds(grown(painted((20, 20, 20, 20), (41, 20, 20, 20)))) == ["new", "new"]


def test_small_patches_are_dropped() -> None:
    assert MIN_OBJECT_PX == 40
    assert kinds(grown(painted((10, 10, 8, 5)))) == ["new"]
    assert kinds(grown(painted((10, 10, 13, 3)))) == []


def test_findings_are_cut_at_the_edge_of_the_picture() -> None:
    assert only(grown(painted((280, 290, 20, 10)))).polygon.equals(box(280, 290, 300, 300))


# --- Kinds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "kind"), [(grown, "new"), (gone, "removed"), (standing, "remaining")])
def test_each_kind_is_told_by_what_stands_when(make: Any, kind: str) -> None:
    finding = only(make(painted((20, 30, 40, 30))))
    assert finding.kind == kind
    assert finding.probability == pytest.approx(0.9)


def test_nothing_gives_nothing() -> None:
    assert kinds(grown(blank())) == []


def test_below_the_threshold_there_is_nothing() -> None:
    assert kinds(grown(painted((20, 30, 40, 30), value=0.49))) == []
    assert kinds(grown(painted((20, 30, 40, 30), value=0.5))) == ["new"]


def test_the_direction_is_decided_for_the_whole_patch() -> None:
    change = painted((20, 20, 100, 40))
    before, after = blank(), change.copy()
    before[20:60, 20:40], after[20:60, 20:40] = 0.9, 0.1  # a fifth points the other way
    finding = only(Layers(before, after, change))
    assert (finding.kind, finding.area_px) == ("new", 4000)


def test_a_patch_half_built_and_half_torn_down_is_both() -> None:
    change = painted((20, 20, 100, 40))
    before, after = painted((20, 20, 50, 40)), painted((70, 20, 50, 40))
    found = find(paired(even()), Layers(before, after, change), CONTRACT)
    assert [(f.kind, f.area_px) for f in found] == [("new", 2000), ("removed", 2000)]


def test_what_changed_does_not_remain() -> None:
    standing_all = painted((20, 20, 100, 40))
    change = painted((20, 20, 50, 40))
    found = find(paired(even()), Layers(standing_all, standing_all, change), CONTRACT)
    assert [(f.kind, f.area_px) for f in found] == [("new", 2000), ("remaining", 2000)]


def test_slivers_between_the_dates_do_not_remain() -> None:
    assert kinds(standing(painted((20, 20, 2, 200)))) == []


def test_one_structure_alone_at_either_date_does_not_remain() -> None:
    block = painted((20, 20, 40, 40))
    assert kinds(Layers(block, blank(), blank())) == []
    assert kinds(Layers(blank(), block, blank())) == []


def test_masks_of_kinds_never_overlap() -> None:
    rng = np.random.default_rng(0)
    layers = Layers(*(rng.random((3, SIDE, SIDE), dtype=np.float32)))
    masks = classify(layers, np.ones((SIDE, SIDE), dtype=np.bool_), CONTRACT)
    together = masks.new.astype(int) + masks.remaining + masks.removed
    assert together.max() == 1


@pytest.mark.parametrize("make", [grown, gone, standing])
def test_what_was_not_observed_yields_nothing(make: Any) -> None:
    layer = np.full((SIDE, SIDE), 0.95, dtype=np.float32)
    valid = np.ones((SIDE, SIDE), dtype=np.bool_)
    valid[:, 100:] = False
    found = find(paired(even(valid), even()), make(layer), CONTRACT)
    assert [finding.area_px for finding in found] == [100 * SIDE]
    assert find(paired(even(), even(np.zeros_like(valid))), make(layer), CONTRACT) == ()


def test_swapping_the_dates_swaps_new_and_removed() -> None:
    before, after = painted((20, 20, 40, 40), (200, 30, 30, 30)), painted((100, 150, 50, 20), (200, 30, 30, 30))
    change = np.abs(after - before)
    there = find(paired(even()), Layers(before, after, change), CONTRACT)
    back = find(paired(even()), Layers(after, before, change), CONTRACT)
    turned = {"new": "removed", "removed": "new", "remaining": "remaining"}
    assert {(f.kind, f.polygon.wkt) for f in there} == {(turned[f.kind], f.polygon.wkt) for f in back}
    assert len(there) == 3


def test_findings_come_by_kind_and_the_surest_first() -> None:
    change, after, before = blank(), blank(), blank()
    for i, value in enumerate((0.6, 0.9, 0.7)):
        cut = np.s_[20:40, 20 + 40 * i : 40 + 40 * i]
        change[cut] = after[cut] = value
    before[100:120, 20:40] = change[100:120, 20:40] = 0.95
    before[200:230, 20:50] = after[200:230, 20:50] = 0.8
    found = find(paired(even()), Layers(before, after, change), CONTRACT)
    assert [f.kind for f in found] == ["new", "new", "new", "remaining", "removed"]
    assert [round(f.probability, 2) for f in found] == [0.9, 0.7, 0.6, 0.8, 0.95]


def test_equally_sure_findings_come_largest_first() -> None:
    found = find(paired(even()), grown(painted((20, 20, 10, 10), (60, 20, 30, 30), (120, 20, 20, 20))), CONTRACT)
    assert [f.area_px for f in found] == [900, 400, 100]


def test_a_change_counts_only_where_its_peak_is_sure_enough() -> None:
    contract = replace(CONTRACT, change_peak=0.8)
    faint, sure = painted((20, 20, 40, 40), value=0.7), painted((100, 20, 40, 40), value=0.7)
    sure[25:45, 105:125] = 0.85
    layers = grown(np.maximum(faint, sure))
    (finding,) = find(paired(even()), layers, contract)
    assert finding.polygon.equals(box(100, 20, 140, 60))


@pytest.mark.parametrize(
    ("layers", "stated"),
    [
        (grown(painted((20, 20, 40, 40), value=0.9)), 1 / (1 + np.exp(-(0.5 * np.log(9) - 0.4)))),
        (gone(painted((20, 20, 40, 40), value=0.9)), 1 / (1 + np.exp(-(0.5 * np.log(9) - 0.4)))),
        (standing(painted((20, 20, 40, 40), value=0.9)), 1 / (1 + np.exp(-(np.log(9) - 1.5)))),
    ],
    ids=["new", "removed", "remaining"],
)
def test_a_finding_says_how_likely_it_is_right_as_a_whole(layers: Layers, stated: float) -> None:
    contract = replace(CONTRACT, findings={"change": (0.5, -0.4), "remaining": (1.0, -1.5)})
    (finding,) = find(paired(even()), layers, contract)
    assert finding.probability == pytest.approx(stated, abs=1e-4)


@pytest.mark.parametrize("make", [grown, gone, standing], ids=["new", "removed", "remaining"])
def test_a_small_finding_is_as_sure_as_a_large_one_within_its_rim(make: Any) -> None:
    """What is blurred all around must not count for more where there is more rim than inside."""
    blurred = np.maximum(
        painted((18, 18, 12, 12), (98, 18, 64, 64), value=0.6), painted((20, 20, 8, 8), (100, 20, 60, 60))
    )
    stated = {
        rim: [f.probability for f in find(paired(even()), make(blurred), replace(CONTRACT, change_rim=rim))]
        for rim in (0, 2)
    }
    assert stated[2] == pytest.approx([0.9, 0.9])
    assert min(stated[0]) < 0.75 < 0.85 < max(stated[0])
