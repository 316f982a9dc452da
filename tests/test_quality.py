"""The gate refuses pictures in which nothing can be seen, and lets ordinary ones pass."""

from __future__ import annotations

from datetime import UTC, datetime

import cv2
import numpy as np
import pytest

from datasets.raster import Raster
from inference.decode import read_raster
from inference.quality import MIN_SIDE_PX, pair_problems, picture_notes, picture_problems, same_image, sharpness
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


def test_sharpness_does_not_depend_on_the_light() -> None:
    valid = np.ones(PICTURE.shape[:2], dtype=np.bool_)
    gray = PICTURE[..., 0]
    assert sharpness(gray, valid) == pytest.approx(sharpness((gray * 0.5).astype(np.uint8), valid), rel=0.05)


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
