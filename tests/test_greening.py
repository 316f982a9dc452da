"""Greened land per site: near the truth, with an error that says how near, and nothing said of what was not seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from datasets.district import Changes, District, generate
from inference.greening import Greened, season_notes, survey
from inference.reasons import InputError
from inference.site import Site
from tests.greenings import Box, boxes, scene, scenes, site, spoilt, truth_m2, write
from tests.imagery import geotiff

SEED, SIZE = 104, 320
WHOLE: Box = (16, 16, SIZE - 16, SIZE - 16)


@pytest.fixture(scope="module")
def district() -> District:
    return generate(SEED, size=SIZE, changes=Changes(new=2, removed=2, greened=9, nets=4, shift_px=1.5))


@pytest.fixture(scope="module")
def lot(district: District) -> Box:
    """The place where most was made green."""
    return max(boxes(district, 0, others=0), key=lambda box: truth_m2(district, box))


def estimate(pair: Any, *sites: Site, **options: Any) -> tuple[Greened, ...]:
    return survey(*pair, list(sites), **options).sites


@pytest.mark.parametrize("light", [{}, {"haze": 0.3}, {"gamma": 0.75}], ids=str)
def test_the_truth_lies_within_the_error(tmp_path: Path, district: District, light: dict[str, float]) -> None:
    places = list(boxes(district, 5, others=2))
    found = estimate(scenes(tmp_path, district, **light), *(site(district, box) for box in places))
    greened = 0
    for box, one in zip(places, found, strict=True):
        truth = truth_m2(district, box)
        assert one.greened_m2 is not None
        assert one.error_m2 is not None
        assert abs(one.greened_m2 - truth) <= 2 * one.error_m2 + 5
        if truth > 100:
            greened += 1
            assert one.greened_m2 == pytest.approx(truth, rel=0.25)
            assert one.error_m2 < 0.5 * truth
    assert greened >= 2


def test_near_infrared_is_used_where_the_files_name_it_or_it_is_named(
    tmp_path: Path, district: District, lot: Box
) -> None:
    pair = scenes(tmp_path, district, nir=True)
    place = [site(district, lot)]
    by_rgb, by_ndvi = survey(*pair, place), survey(*pair, place, infrared=(4, 4))
    assert (by_rgb.index, by_ndvi.index) == ("rgb", "ndvi")
    assert by_ndvi.sites[0].greened_m2 == pytest.approx(truth_m2(district, lot), rel=0.15)
    import rasterio

    for each in pair:
        with rasterio.open(each.sources[0], "r+") as file:
            file.descriptions = ("red", "green", "blue", "NIR")
    assert survey(*pair, place).index == "ndvi"


def test_nothing_is_greened_where_only_the_light_and_the_nets_differ(tmp_path: Path) -> None:
    made = generate(SEED, size=SIZE, changes=Changes(new=2, removed=0, greened=0, nets=6, season=0.0))
    [one] = estimate(scenes(tmp_path, made), site(made, WHOLE))
    assert one.greened_m2 is not None
    assert one.greened_m2 < 0.006 * one.site_m2


def test_with_the_dates_swapped_it_is_what_was_lost(tmp_path: Path, district: District, lot: Box) -> None:
    before, after = scenes(tmp_path, district)
    swapped = replace(after, captured_at=None), replace(before, captured_at=None)
    [there], [back] = estimate((before, after), site(district, lot)), estimate(swapped, site(district, lot))
    assert there.greened_m2 is not None
    assert back.greened_m2 is not None
    assert back.greened_m2 < 0.05 * there.greened_m2
    # The one is laid on the grid of the other, so pixels are not the very same.
    assert (back.before_m2, back.after_m2) == pytest.approx((there.after_m2, there.before_m2), rel=0.03)


def test_what_was_not_seen_is_left_out_and_said(tmp_path: Path, district: District, lot: Box) -> None:
    before, _ = scenes(tmp_path, district)
    alpha = np.full((SIZE, SIZE, 1), 255, np.uint8)
    x0, y0, x1, _ = lot
    alpha[:, : (x0 + x1) // 2] = 0
    after = scene(write(district.after, tmp_path / "half.tif", np.dstack([district.after.pixels, alpha])))
    [half] = estimate((before, after), site(district, lot))
    assert half.observed_share == pytest.approx(0.5, abs=0.04)
    assert half.not_observed["nodata"] == pytest.approx(0.5, abs=0.04)
    assert [note.code for note in half.notes] == ["partly_observed"]
    seen = truth_m2(district, ((x0 + x1) // 2, y0, x1, lot[3]))
    assert half.greened_m2 == pytest.approx(seen, rel=0.3)


def test_a_site_that_was_not_seen_at_all_has_no_figure(tmp_path: Path, district: District, lot: Box) -> None:
    before, after = scenes(tmp_path, district)
    clouds = np.zeros((SIZE, SIZE), np.uint8)
    x0, y0, x1, y1 = lot
    clouds[max(0, y0 - 9) : y1 + 9, max(0, x0 - 9) : x1 + 9] = 1
    transform = district.before.transform
    assert transform is not None
    (tmp_path / "clouds.tif").write_bytes(geotiff(clouds, transform=transform))
    clouded = replace(after, clouds=(str(tmp_path / "clouds.tif"),))
    beside = site(district, (SIZE + 40, 0, SIZE + 80, 40))
    hidden, outside = estimate((before, clouded), site(district, lot), beside)
    for one, code in ((hidden, "cloud"), (outside, "nodata")):
        assert one.greened_m2 is None
        assert one.error_m2 is None
        assert one.observed_share == 0
        assert one.not_observed == {code: 1.0}
        assert one.site_m2 > 100


def test_dates_that_cannot_be_laid_on_each_other_give_no_figure(tmp_path: Path, district: District) -> None:
    before, _ = scenes(tmp_path, district)
    moved = replace(district.after, pixels=np.roll(district.after.pixels, 24, axis=1))
    [one] = estimate((before, scene(write(moved, tmp_path / "moved.tif"))), site(district, WHOLE))
    assert one.greened_m2 is None
    assert set(one.not_observed) == {"misregistered"}


def test_a_point_is_its_circle_and_a_large_site_is_the_sum_of_its_tiles(
    tmp_path: Path, district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = scenes(tmp_path, district)
    whole = site(district, WHOLE)
    point = Site(shapely.Point(whole.geometry.centroid), 60.0)
    circle, at_once = estimate(pair, point, whole)
    assert circle.site_m2 == pytest.approx(np.pi * 60**2, rel=0.01)
    assert at_once.greened_m2 is not None
    monkeypatch.setattr("inference.greening._TILE_PX", 128)
    [in_tiles] = estimate(pair, whole)
    assert in_tiles.greened_m2 == pytest.approx(at_once.greened_m2, rel=0.1)
    assert in_tiles.observed_share == 1


def test_an_area_is_in_square_metres_in_any_projection(tmp_path: Path, district: District, lot: Box) -> None:
    """Web Mercator is 30 % too long at Beijing, and its squares 70 % too large."""
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    pair = scenes(tmp_path, district)
    warped = []
    for each in (district.before, district.after):
        assert each.transform is not None
        bounds = (each.transform.c, each.transform.f - SIZE / 2, each.transform.c + SIZE / 2, each.transform.f)
        transform, width, height = calculate_default_transform(each.crs, "EPSG:3857", SIZE, SIZE, *bounds)
        bands = np.zeros((4, height, width), np.uint8)
        full = np.dstack([each.pixels, np.full((SIZE, SIZE), 255, np.uint8)]).transpose(2, 0, 1)
        reproject(
            np.ascontiguousarray(full), bands, src_transform=each.transform, src_crs=each.crs,
            dst_transform=transform, dst_crs=CRS.from_epsg(3857), resampling=Resampling.bilinear,
        )  # fmt: skip
        path = tmp_path / f"{each.name}.tif"
        placed = replace(each, transform=Affine(*transform[:6]))
        warped.append(scene(write(placed, path, bands.transpose(1, 2, 0), crs="EPSG:3857")))
    [plain], [mercator] = estimate(pair, site(district, lot)), estimate(warped, site(district, lot))
    assert mercator.site_m2 == pytest.approx(plain.site_m2)
    assert mercator.greened_m2 == pytest.approx(plain.greened_m2, rel=0.1)


@pytest.mark.parametrize(
    ("before", "after", "codes"),
    [
        ((2016, 6, 1), (2017, 7, 20), []),
        ((2016, 6, 1), (2017, 9, 20), ["season_differs"]),
        ((2016, 7, 1), (2017, 1, 10), ["season_differs", "leafless"]),
        ((2016, 12, 20), (2017, 1, 10), ["leafless", "leafless"]),
        ((2016, 4, 15), (2016, 5, 1), []),
        (None, (2017, 7, 1), ["season_unknown"]),
    ],
)
def test_another_season_is_said(before: Any, after: Any, codes: list[str]) -> None:
    moments = [None if day is None else datetime(*day, 3, tzinfo=UTC) for day in (before, after)]
    assert [note.code for note in season_notes(*moments)] == codes


def test_days_between_seasons_are_counted_over_the_new_year() -> None:
    [note, *_] = season_notes(datetime(2016, 11, 20, tzinfo=UTC), datetime(2017, 2, 15, tzinfo=UTC))
    assert 86 <= note.values["days"] <= 88


def test_the_wrong_order_of_dates_is_refused(tmp_path: Path, district: District, lot: Box) -> None:
    before, after = scenes(tmp_path, district)
    with pytest.raises(InputError, match="later"):
        estimate((after, before), site(district, lot))


def test_sites_elsewhere_are_refused(tmp_path: Path, district: District) -> None:
    far = Site(shapely.box(110.0, 30.0, 110.001, 30.001))
    with pytest.raises(InputError, match="outside"):
        estimate(scenes(tmp_path, district), far)


def test_a_band_that_is_not_there_is_refused(tmp_path: Path, district: District, lot: Box) -> None:
    with pytest.raises(InputError, match="bands"):
        estimate(scenes(tmp_path, district), site(district, lot), infrared=(4, 4))


def test_spoiling_is_what_it_says() -> None:
    grey = np.full((2, 2, 3), 100, np.uint8)
    assert spoilt(grey, gain=0.5)[0, 0].tolist() == [50, 50, 50]
    assert spoilt(grey, haze=0.5)[0, 0].tolist() == [148, 152, 156]
