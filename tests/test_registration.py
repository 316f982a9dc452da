"""Two pictures are laid on one grid if they show one place, and refused if that cannot be shown."""

from __future__ import annotations

import math
from functools import cache
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject

from datasets.raster import Raster
from inference import registration
from inference.correlation import alignment
from inference.pair import Pair
from inference.registration import MIN_OVERLAP, NotComparable, register
from tests.imagery import MAGENTA, UTM, Pixels, built, ground, located, raster, relit

SIDE = 320
MARKS = ((430, 420, 12, 12), (520, 540, 12, 12), (400, 560, 12, 12))
"""Where something of one colour stands in the world, to see independently how well the dates fit."""


@cache
def world(seed: int = 1) -> Pixels:
    """A place much larger than a picture of it."""
    place = built(
        ground(seed, 900), *np.random.default_rng(seed).integers((310, 310, 20, 20), (580, 580, 60, 60), (6, 4))
    )
    return built(place, *MARKS, roof=MAGENTA) if seed == 1 else place


def cut(pixels: Pixels, left: int = 300, top: int = 300, width: int = SIDE, height: int = SIDE) -> Pixels:
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def moved(transform: NDArray[np.float64], width: int = SIDE, height: int = SIDE) -> Pixels:
    """The world seen through a transform from its pixels to those of the picture."""
    seen = cv2.warpPerspective(world(), transform, (width, height), flags=cv2.INTER_CUBIC)
    return relit(np.asarray(seen, dtype=np.uint8), 7)


def about_centre(degrees: float, scale: float, width: int = SIDE, height: int = SIDE) -> NDArray[np.float64]:
    """Turned and scaled about the middle of the cut, which stays in the middle."""
    turn: NDArray[np.float64] = np.eye(3)
    turn[:2] = cv2.getRotationMatrix2D((300 + SIDE / 2, 300 + SIDE / 2), degrees, scale)
    turn[:2, 2] += np.array([width / 2 - 300 - SIDE / 2, height / 2 - 300 - SIDE / 2])
    return turn


def marks(picture: Raster) -> NDArray[np.float64]:
    """(3, 2) centres x, y of what is magenta, from left to right."""
    r, g, b = picture.pixels.transpose(2, 0, 1).astype(int)
    mask = ((r - g > 90) & (b - g > 90)).astype(np.uint8)
    _, _, stats, centres = cv2.connectedComponentsWithStats(mask)
    kept = np.asarray(centres[1:][stats[1:, cv2.CC_STAT_AREA] > 30], dtype=np.float64)
    return np.asarray(kept[kept[:, 0].argsort()])


def misfit(pair: Pair) -> float:
    """The largest distance between a mark at one date and the same mark at the other, pixels."""
    before, after = marks(pair.before), marks(pair.after)
    assert before.shape == after.shape == (3, 2)
    return float(np.hypot(*(before - after).T).max())


def refusal(before: Raster, after: Raster) -> str:
    with pytest.raises(NotComparable) as caught:
        register(before, after)
    return caught.value.reason.code


BEFORE = raster(cut(world()))


# --- By content -------------------------------------------------------------------------------------------


def test_pictures_that_fit_are_left_as_they_are() -> None:
    after = raster(relit(BEFORE.pixels))
    pair = register(BEFORE, after)
    assert pair.registration.model == "identity"
    assert pair.after.pixels is after.pixels
    assert pair.registration.overlap == 1
    assert pair.registration.residual_px is not None
    assert pair.registration.residual_px < 0.5


def test_light_that_is_reversed_does_not_matter() -> None:
    """Shadows fall elsewhere and wet ground is dark; edges stay where they are."""
    brighter = np.clip(relit(BEFORE.pixels, gain=0.5).astype(int) + 90, 0, 255).astype(np.uint8)
    assert register(BEFORE, raster(brighter)).registration.model == "identity"


@pytest.mark.parametrize(("dx", "dy"), [(20, 0), (0, -20), (-14, 15)])
def test_a_displacement_is_corrected(dx: int, dy: int) -> None:
    pair = register(BEFORE, raster(relit(cut(world(), 300 + dx, 300 + dy))))
    assert misfit(pair) < 1
    assert pair.registration.model == "similarity"
    assert pair.registration.residual_px is not None
    assert pair.registration.residual_px < 1


def test_what_a_displacement_leaves_uncovered_is_not_observed() -> None:
    pair = register(BEFORE, raster(relit(cut(world(), 320, 300))))
    assert not pair.observed[:, :20].any()
    assert pair.observed[:, 22:].all()
    assert pair.registration.overlap == pytest.approx(300 / 320, abs=0.01)


def test_a_displacement_within_what_the_network_tolerates_is_left() -> None:
    pair = register(BEFORE, raster(relit(cut(world(), 302, 301))))
    assert pair.registration.model == "identity"
    assert pair.registration.residual_px == pytest.approx(math.hypot(2, 1), abs=0.3)


def test_turned_and_scaled_pictures_are_matched_point_by_point() -> None:
    pair = register(BEFORE, raster(moved(about_centre(5, 1.2))))
    assert misfit(pair) < 1
    assert pair.registration.model == "homography"
    assert pair.registration.inliers >= 12
    assert pair.registration.residual_px is not None
    assert pair.registration.residual_px < 1


@pytest.fixture
def no_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another season, haze, roofs that lean: nothing is left that two points could be told by."""
    nothing = np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)
    monkeypatch.setattr(registration, "sift_matches", lambda before, after: nothing)
    monkeypatch.setattr(registration, "bundled", lambda: SimpleNamespace(matches=lambda before, after: nothing))


@pytest.mark.parametrize(("degrees", "scale"), [(4.6, 1.0), (-4.5, 1.01), (5.5, 0.985)])
@pytest.mark.usefixtures("no_points")
def test_a_small_turn_is_undone_without_a_single_common_point(degrees: float, scale: float) -> None:
    pair = register(BEFORE, raster(moved(about_centre(degrees, scale))))
    assert pair.registration.model == "similarity"
    assert misfit(pair) < 1.0


@pytest.mark.parametrize("seed", [2, 5])
@pytest.mark.usefixtures("no_points")
def test_another_place_is_not_turned_until_it_fits(seed: int) -> None:
    assert refusal(BEFORE, raster(cut(world(seed)))) == "no_overlap"


@pytest.mark.parametrize("degrees", [90, 180])
def test_a_picture_lying_on_its_side_is_matched(degrees: float) -> None:
    assert misfit(register(BEFORE, raster(moved(about_centre(degrees, 1))))) < 1


@pytest.mark.parametrize(("width", "height"), [(480, 300), (250, 400)])
def test_pictures_of_different_shapes_are_laid_on_the_first(width: int, height: int) -> None:
    pair = register(BEFORE, raster(moved(about_centre(2, 1.1, width, height), width, height)))
    assert pair.after.pixels.shape == BEFORE.pixels.shape
    assert misfit(pair) < 1


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.5, 2.0, 3.0])
def test_the_same_view_at_another_size_is_laid_on_to_a_fraction_of_a_pixel(scale: float) -> None:
    side = round(SIDE * scale)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = np.asarray(cv2.resize(BEFORE.pixels, (side, side), interpolation=how), dtype=np.uint8)
    pair = register(BEFORE, raster(relit(resized)))
    assert misfit(pair) < 0.25
    assert pair.registration.model == "similarity"
    assert pair.observed.all()


def test_a_finer_picture_is_averaged_and_not_picked_from() -> None:
    """Stripes of one pixel would turn into wide bands if every third pixel were taken."""
    fine = np.asarray(cv2.resize(BEFORE.pixels, None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR), dtype=np.int16)
    fine[:, ::2] += 40
    fine[:, 1::2] -= 40
    pair = register(BEFORE, raster(np.clip(fine, 0, 255).astype(np.uint8)))
    difference = pair.after.pixels.astype(int) - BEFORE.pixels
    assert np.abs(difference).mean() < 16


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_unrelated_pictures_have_no_overlap(seed: int) -> None:
    assert refusal(BEFORE, raster(cut(world(seed)))) == "no_overlap"


def test_unrelated_pictures_of_different_shapes_have_no_overlap() -> None:
    assert refusal(BEFORE, raster(ground(9, 200, 500))) == "no_overlap"


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirrored_picture_has_no_overlap(axis: int) -> None:
    assert refusal(BEFORE, raster(relit(np.flip(BEFORE.pixels, axis).copy()))) == "no_overlap"


def test_too_little_in_common_is_no_overlap() -> None:
    """A corner of an eighth is shared: it might be found, but says too little."""
    assert (1 - 200 / SIDE) ** 2 < MIN_OVERLAP
    assert refusal(BEFORE, raster(relit(cut(world(), 500, 500)))) == "no_overlap"


def test_a_picture_without_any_feature_has_no_overlap() -> None:
    assert refusal(BEFORE, raster(np.full((200, 300, 3), 120, dtype=np.uint8))) == "no_overlap"


@pytest.mark.parametrize("scale", [5, 1 / 5])
def test_much_more_detail_in_one_picture_is_a_resolution_mismatch(scale: float) -> None:
    large, small = cut(world(), 100, 100, 700, 700), (140, 140)
    reduced = np.asarray(cv2.resize(large, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    pair = (raster(large), raster(reduced))
    assert refusal(*(pair if scale > 1 else pair[::-1])) == "resolution_mismatch"


@pytest.mark.parametrize(("first", "second"), [(0.5, 2.1), (2.1, 0.5)])
def test_stated_resolutions_too_far_apart_are_a_mismatch(first: float, second: float) -> None:
    before, after = raster(BEFORE.pixels, gsd=first), raster(relit(BEFORE.pixels), gsd=second)
    with pytest.raises(NotComparable) as caught:
        register(before, after)
    assert caught.value.reason.code == "resolution_mismatch"
    assert caught.value.reason.values == {"ratio": 4.2}


def test_the_pair_keeps_the_grid_of_the_first_and_the_date_of_the_second() -> None:
    before = located(BEFORE.pixels, name="first")
    pair = register(before, raster(relit(BEFORE.pixels), name="second", gsd=0.6))
    assert pair.before is before
    assert (pair.after.name, pair.after.crs, pair.after.transform) == ("second", before.crs, before.transform)
    assert pair.gsd == pair.after.gsd == 0.5


def test_what_either_date_did_not_see_is_not_observed() -> None:
    first, second = np.ones((2, SIDE, SIDE), dtype=np.bool_)
    first[:40], second[:, :50] = False, False
    pair = register(raster(BEFORE.pixels, first), raster(relit(BEFORE.pixels), second))
    assert np.array_equal(pair.observed, first & second)
    assert pair.registration.overlap == pytest.approx(270 / 320, abs=1e-4)


# --- By georeference --------------------------------------------------------------------------------------


def at(left: int, top: int, **size: int) -> Raster:
    """The cut of the world at its right place."""
    place = Affine(0.5, 0, UTM.c + 0.5 * left, 0, -0.5, UTM.f - 0.5 * top)
    return located(relit(cut(world(), left, top, **size), left), transform=place)


def test_georeferenced_pictures_are_laid_where_they_say() -> None:
    pair = register(at(300, 300), at(300, 300))
    assert pair.registration.model == "georeference"
    assert pair.registration.residual_px is not None
    assert pair.registration.residual_px < 0.3
    assert misfit(pair) < 0.3


def test_georeferenced_pictures_of_different_extent_are_cut_to_the_first() -> None:
    pair = register(at(300, 300), at(240, 250, width=500, height=460))
    assert misfit(pair) < 0.3
    assert pair.observed.all()
    assert pair.after.pixels.shape == pair.before.pixels.shape


def test_outside_of_a_partly_overlapping_picture_nothing_is_observed() -> None:
    pair = register(at(300, 300), at(400, 380))
    assert not pair.observed[:, :100].any()
    assert not pair.observed[:80].any()
    assert pair.observed[81:, 101:].all()
    assert pair.registration.overlap == pytest.approx((220 * 240) / SIDE**2, abs=0.01)


def test_nodata_of_a_georeferenced_picture_stays_nodata() -> None:
    after = at(300, 300)
    valid = np.ones((SIDE, SIDE), dtype=np.bool_)
    valid[100:150, 30:90] = False
    pair = register(at(300, 300), located(after.pixels, valid, transform=after.transform))
    assert np.array_equal(pair.observed, valid)


def _reprojected(source: Raster, crs: str, transform: Affine, side: int, gsd: float) -> Raster:
    pixels = np.zeros((3, side, side), dtype=np.uint8)
    valid = np.zeros((side, side), dtype=np.uint8)
    grid = {
        "src_transform": source.transform,
        "src_crs": source.crs,
        "dst_transform": transform,
        "dst_crs": CRS.from_string(crs),
    }
    reproject(source.pixels.transpose(2, 0, 1).copy(), pixels, resampling=Resampling.cubic, **grid)
    reproject(source.valid.astype(np.uint8), valid, resampling=Resampling.nearest, **grid)
    return raster(pixels.transpose(1, 2, 0).copy(), valid > 0, crs=CRS.from_string(crs), transform=transform, gsd=gsd)


@pytest.mark.parametrize(
    ("crs", "transform", "side", "gsd"),
    [
        ("EPSG:4326", Affine(5.5e-6, 0, 116.1942, 0, -4.5e-6, 39.90816), 420, 0.5),
        ("EPSG:4490", Affine(5.5e-6, 0, 116.1942, 0, -4.5e-6, 39.90816), 420, 0.5),
        ("EPSG:3857", Affine(0.7, 0, 12_934_679, 0, -0.7, 4_852_605), 420, 0.54),
    ],
)
def test_different_coordinate_systems_are_laid_on_one_grid(crs: str, transform: Affine, side: int, gsd: float) -> None:
    whole = located(world())
    after = _reprojected(whole, crs, transform, side, gsd)
    assert after.valid.mean() > 0.9
    pair = register(at(300, 300), raster(relit(after.pixels), after.valid, crs=after.crs, transform=transform, gsd=gsd))
    assert misfit(pair) < 1
    assert pair.registration.model == "georeference"
    assert pair.after.crs == CRS.from_epsg(32650)


def test_georeferenced_pictures_of_two_places_have_no_overlap() -> None:
    before, after = at(0, 0), at(500, 500)
    assert refusal(before, after) == "no_overlap"


def test_the_same_pixels_at_another_place_have_no_overlap() -> None:
    elsewhere = located(relit(BEFORE.pixels), transform=Affine(0.5, 0, UTM.c + 90_000, 0, -0.5, UTM.f))
    assert refusal(located(BEFORE.pixels), elsewhere) == "no_overlap"


@pytest.mark.parametrize("off", [15, -30])
def test_a_georeference_that_is_off_is_misregistered(off: int) -> None:
    before = at(300, 300)
    after = located(relit(cut(world(), 300 + off, 300), 5), transform=before.transform)
    with pytest.raises(NotComparable) as caught:
        register(before, after)
    assert caught.value.reason.code == "misregistered"
    assert caught.value.reason.values["residual_px"] == pytest.approx(abs(off), abs=1)


def test_a_georeference_stands_where_everything_has_changed() -> None:
    pair = register(at(300, 300), located(cut(world(8)), transform=at(300, 300).transform))
    assert pair.registration.model == "georeference"
    assert pair.registration.residual_px is None


# --- The measure ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (7, -3), (-25, 40)])
def test_alignment_measures_the_way_back(dx: int, dy: int) -> None:
    after, valid = relit(cut(world(), 300 + dx, 300 + dy)), BEFORE.valid
    found = alignment(BEFORE.pixels, valid, after, valid)
    assert (found.dx, found.dy) == pytest.approx((dx, dy), abs=0.5)
    assert found.is_significant


def test_alignment_of_unrelated_pictures_is_not_significant() -> None:
    valid = BEFORE.valid
    assert not alignment(BEFORE.pixels, valid, cut(world(6)), valid).is_significant


def test_alignment_of_nothing_is_not_significant() -> None:
    even, nothing = np.zeros_like(BEFORE.pixels), np.zeros_like(BEFORE.valid)
    assert not alignment(even, BEFORE.valid, even, BEFORE.valid).is_significant
    assert not alignment(BEFORE.pixels, nothing, BEFORE.pixels, nothing).is_significant
