"""The gate refuses pictures in which nothing can be seen, and lets ordinary ones pass."""

from __future__ import annotations

from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

from datasets.raster import Raster
from inference.correlation import block_shifts
from inference.decode import read_raster
from inference.pair import Pair, Registration
from inference.quality import (
    MIN_SIDE_PX,
    Measures,
    measure,
    pair_problems,
    picture_notes,
    picture_problems,
    placement_problems,
    same_image,
)
from tests.imagery import Pixels, built, encoded, ground, raster, relit

BLOCKS = ((40, 50, 60, 40), (150, 120, 50, 70))
PICTURE = built(ground(1), *BLOCKS)
JUNE, SEPTEMBER = datetime(2017, 6, 30, 9, 30), datetime(2017, 9, 20, 11, 0)


def problems(pixels: Pixels, side: str = "before") -> list[str]:
    return [reason.code for reason in picture_problems(raster(pixels), side)]


def pair_codes(before: Raster, after: Raster) -> list[str]:
    return [reason.code for reason in pair_problems(before, after)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("gain", [0.5, 1.0, 1.5])
def test_ordinary_ground_passes_in_any_ordinary_light(seed: int, gain: float) -> None:
    assert problems(relit(built(ground(seed), *BLOCKS), seed, gain=gain)) == []


def test_a_dark_picture_is_refused() -> None:
    assert problems((PICTURE * 0.1).astype(np.uint8)) == ["too_dark"]


def test_a_black_picture_is_refused() -> None:
    assert problems(np.zeros_like(PICTURE)) == ["too_dark"]


def test_an_overexposed_picture_is_refused() -> None:
    assert problems(np.clip(PICTURE.astype(int) + 170, 0, 255).astype(np.uint8)) == ["too_bright"]


def test_a_picture_mostly_under_cloud_is_refused() -> None:
    clouded = PICTURE.copy()
    clouded[:180] = 252
    assert problems(clouded) == ["too_bright"]


def test_a_few_white_roofs_are_no_cloud() -> None:
    assert problems(built(PICTURE, (10, 10, 100, 100), roof=(255, 255, 255))) == []


@pytest.mark.parametrize("sigma", [3.0, 6.0])
def test_a_blurred_picture_is_refused(sigma: float) -> None:
    assert problems(np.asarray(cv2.GaussianBlur(PICTURE, (0, 0), sigma), dtype=np.uint8)) == ["too_blurred"]


def test_blur_is_seen_in_a_large_picture_too() -> None:
    large = ground(3, 1400, 1300)
    assert problems(large) == []
    assert problems(np.asarray(cv2.GaussianBlur(large, (0, 0), 4), dtype=np.uint8)) == ["too_blurred"]


def test_an_even_picture_is_refused() -> None:
    assert problems(np.full((100, 100, 3), 128, dtype=np.uint8)) == ["too_blurred"]


def measured(pixels: Pixels) -> Measures:
    found = measure(pixels, np.ones(pixels.shape[:2], dtype=np.bool_))
    assert found is not None
    return found


def test_sharpness_does_not_depend_on_the_light() -> None:
    dimmed = (PICTURE * 0.5).astype(np.uint8)
    assert measured(PICTURE).sharpness == pytest.approx(measured(dimmed).sharpness, rel=0.05)


def test_rounding_to_grey_levels_does_not_pass_for_sharpness() -> None:
    pale = (cv2.GaussianBlur(PICTURE, (0, 0), 6.0) * 0.3 + 80).astype(np.uint8)
    assert problems(pale) == ["too_blurred"]


@pytest.mark.parametrize("vertical", [False, True])
def test_a_picture_blurred_along_one_direction_is_refused(vertical: bool) -> None:
    kernel = np.full((1, 15), 1 / 15, dtype=np.float32)
    streaked = cv2.filter2D(PICTURE, -1, kernel.T if vertical else kernel)
    assert problems(np.asarray(streaked, dtype=np.uint8)) == ["too_blurred"]


@pytest.mark.parametrize(("cover", "refused"), [(0.15, False), (0.7, True), (0.85, True)])
def test_thick_haze_is_refused_and_thin_haze_is_not(cover: float, refused: bool) -> None:
    hazed = (PICTURE * (1 - cover) + 226 * cover).round().astype(np.uint8)
    found = problems(hazed)
    assert found in (["hazy"], ["cloud"]) if refused else found == []


def test_a_picture_without_contrast_is_refused_however_sharp() -> None:
    assert problems((ground(1) * 0.06 + 100).round().astype(np.uint8)) == ["hazy"]


@pytest.mark.parametrize(("share", "refused"), [(0.2, False), (0.7, True)])
def test_cloud_is_told_by_its_share(share: float, refused: bool) -> None:
    rng = np.random.default_rng(0)
    clouded = PICTURE.copy()
    rows = round(256 * share)
    shading = cv2.GaussianBlur(rng.normal(0, 40, (rows, 256)), (0, 0), 12)
    clouded[:rows] = np.clip(225 + shading, 0, 240).astype(np.uint8)[..., None]
    found = picture_problems(raster(clouded), "after")
    assert [r.code for r in found] == (["cloud"] if refused else [])
    if refused:
        assert found[0].values["cloud_percent"] == pytest.approx(100 * share, abs=8)
        assert picture_problems(raster(clouded), "after", overhead=False) == []  # the sky of a photograph


@pytest.mark.parametrize(("noise", "refused"), [(6, False), (60, True), (90, True)])
def test_noise_that_drowns_all_detail_is_refused(noise: float, refused: bool) -> None:
    assert problems(relit(PICTURE, gain=1.0, noise=noise)) == (["too_noisy"] if refused else [])


@pytest.mark.parametrize(("quality", "refused"), [(2, True), (60, False), (90, False)])
def test_a_picture_compressed_to_blocks_is_refused(quality: int, refused: bool) -> None:
    compressed = read_raster(encoded(PICTURE, "JPEG", quality=quality)).pixels
    assert problems(compressed) == (["over_compressed"] if refused else [])


def placed(after: Pixels) -> Pair:
    before = raster(ground(7, 512))
    return Pair(before, raster(after), Registration("identity", 0, 1.0, 0.0))


def test_a_pair_that_fits_everywhere_passes() -> None:
    pair = placed(relit(ground(7, 512)))
    assert (block_shifts(pair.before, pair.after) < 1).all()
    assert len(block_shifts(pair.before, pair.after)) == 16
    assert placement_problems(pair) == []


@pytest.mark.parametrize(("shift", "refused"), [(4, False), (16, True)])
def test_a_pair_of_which_one_half_lies_elsewhere_is_refused(shift: int, refused: bool) -> None:
    after = relit(ground(7, 512))
    after[:, 256:] = np.roll(after, shift, axis=0)[:, 256:]
    found = placement_problems(placed(after))
    assert [r.code for r in found] == (["misregistered"] if refused else [])
    if refused:
        assert found[0].values["residual_px"] == pytest.approx(shift, abs=1)


def test_a_later_date_too_coarse_for_the_grid_is_refused() -> None:
    small = cv2.resize(relit(ground(7, 512)), (128, 128), interpolation=cv2.INTER_AREA)
    enlarged = cv2.resize(small, (512, 512), interpolation=cv2.INTER_LINEAR)
    (reason,) = placement_problems(placed(np.asarray(enlarged, dtype=np.uint8)))
    assert (reason.code, reason.values) == ("too_blurred", {"side": "after"})


def test_blocks_that_were_not_seen_say_nothing() -> None:
    pair = placed(relit(ground(7, 512)))
    unseen = np.zeros((512, 512), dtype=np.bool_)
    hidden = Pair(pair.before, raster(pair.after.pixels, unseen), pair.registration)
    assert len(block_shifts(hidden.before, hidden.after)) == 0


@pytest.mark.parametrize(("height", "width", "refused"), [(63, 200, True), (200, 63, True), (64, 64, False)])
def test_a_picture_narrower_than_the_minimum_is_refused(height: int, width: int, refused: bool) -> None:
    assert MIN_SIDE_PX == 64
    found = picture_problems(raster(ground(1, height, width)), "after")
    assert [reason.code for reason in found] == (["too_small"] if refused else [])
    if refused:
        assert found[0].values == {"side": "after", "width": width, "height": height, "minimum": 64}


def test_a_refusal_names_its_side() -> None:
    (reason,) = picture_problems(raster(np.zeros_like(PICTURE)), "after")
    assert reason.values == {"side": "after"}


def test_a_picture_of_which_nothing_was_seen_is_refused() -> None:
    nothing = np.zeros(PICTURE.shape[:2], dtype=np.bool_)
    assert [r.code for r in picture_problems(raster(PICTURE, nothing), "before")] == ["nodata"]


def test_only_what_was_seen_is_judged() -> None:
    half = PICTURE.copy()
    half[:, 128:] = 0
    valid = np.ones(PICTURE.shape[:2], dtype=np.bool_)
    valid[:, 128:] = False
    assert picture_problems(raster(half, valid), "before") == []


@pytest.mark.parametrize(("kind", "quality"), [("JPEG", 60), ("JPEG", 85), ("JPEG", 95), ("WEBP", 60), ("PNG", 0)])
def test_one_picture_saved_twice_is_the_same_image(kind: str, quality: int) -> None:
    again = read_raster(encoded(PICTURE, kind, quality=quality))
    assert pair_codes(raster(PICTURE), again) == ["same_image"]


def test_one_picture_at_two_sizes_is_the_same_image() -> None:
    large = ground(5, 512)
    half = np.asarray(cv2.resize(large, (256, 256), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    assert same_image(raster(large), raster(half))


@pytest.mark.parametrize(
    "after",
    [relit(PICTURE), relit(PICTURE, gain=0.97, noise=2.0), built(ground(1), BLOCKS[0]), ground(2), PICTURE[:, :200]],
    ids=["other light", "nearly the same light", "one building less", "another place", "another shape"],
)
def test_two_pictures_are_not_the_same_image(after: Pixels) -> None:
    assert pair_codes(raster(PICTURE), raster(after)) == []


def test_dates_in_the_wrong_order_are_refused() -> None:
    before, after = raster(PICTURE, captured_at=SEPTEMBER), raster(relit(PICTURE), captured_at=JUNE)
    (reason,) = pair_problems(before, after)
    assert reason.code == "wrong_order"
    assert reason.values == {"before": "2017-09-20 11:00", "after": "2017-06-30 09:30"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (JUNE, SEPTEMBER), (JUNE, JUNE), (None, JUNE), (SEPTEMBER, None), (None, None),
        (SEPTEMBER.replace(tzinfo=UTC), JUNE),
    ],
    ids=["right", "equal", "no first", "no second", "none", "zones cannot be compared"],
)  # fmt: skip
def test_dates_that_may_be_right_pass(first: datetime | None, second: datetime | None) -> None:
    assert pair_codes(raster(PICTURE, captured_at=first), raster(relit(PICTURE), captured_at=second)) == []


def test_a_picture_without_colour_is_noted() -> None:
    gray = np.repeat(PICTURE[..., :1], 3, axis=2)
    assert [(r.code, r.values) for r in picture_notes(raster(gray), "after")] == [("grayscale", {"side": "after"})]
    assert picture_notes(raster(PICTURE), "after") == []
