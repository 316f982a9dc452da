"""Of which kind two pictures are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.district import Changes, generate
from inference.domain import SURE, features, known_kind, looks, recognised
from tests.imagery import built, ground, located, raster
from tests.street import street

SKY_ABOVE, FROM_ABOVE = street(1), ground(1)


def test_a_georeference_is_overhead_whatever_it_looks_like() -> None:
    assert recognised(located(SKY_ABOVE), located(SKY_ABOVE)) == ("overhead", True)


def test_a_ground_resolution_is_overhead() -> None:
    assert recognised(raster(SKY_ABOVE, gsd=0.5), raster(SKY_ABOVE, gsd=0.5)) == ("overhead", True)


def test_a_camera_makes_photographs_whatever_they_look_like() -> None:
    assert recognised(raster(FROM_ABOVE), raster(FROM_ABOVE, camera=True)) == ("photos", True)


def test_a_georeference_outranks_the_camera_that_flew() -> None:
    assert known_kind(located(SKY_ABOVE, camera=True), located(SKY_ABOVE, camera=True)) == "overhead"


@pytest.mark.parametrize("seed", range(5))
def test_streets_look_like_photographs(seed: int) -> None:
    before, after = raster(street(seed)), raster(street(seed, without=slice(0, 4)))
    assert known_kind(before, after) is None
    assert looks(before, after) > SURE


def test_ground_from_above_mostly_looks_overhead_however_it_is_turned() -> None:
    grounds = [built(ground(seed), (40, 30, 60, 40), (150, 60, 30, 50)) for seed in range(5)]
    turned = [raster(np.rot90(pixels, turn).copy()) for pixels in grounds for turn in range(4)]
    assert sum(looks(each, each) < 0 for each in turned) >= 18
    assert all(looks(each, each) < SURE for each in turned)


def test_a_district_looks_overhead() -> None:
    district = generate(3, size=256, changes=Changes(new=0, removed=0))
    assert looks(district.before, district.after) < 0


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((1, 1, 3), np.uint8), np.full((300, 4, 3), 255, np.uint8), np.zeros((256, 256, 3), np.uint8)],
    ids=["one pixel", "narrow", "black"],
)
def test_nothing_can_be_told_of_nothing_but_nothing_breaks(pixels: NDArray[np.uint8]) -> None:
    assert np.isfinite(features(pixels)).all()


def test_size_does_not_matter_much() -> None:
    large, small = features(street(2, 768, 1024)), features(street(2, 768, 1024)[::2, ::2].copy())
    assert abs(large - small).max() < 1.0
