"""Vegetation is told by what it is and not by how the picture was taken; a green net is no lawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.district import Changes, District, generate
from inference.vegetation import Light, cover, measure
from tests.greenings import infrared, spoilt
from tests.test_district import STILL

GSD = 0.5
SOIL, GRASS, NET, PAVING = (158, 140, 115), (84, 108, 60), (88, 119, 90), (156, 153, 145)


@pytest.fixture(scope="module")
def district() -> District:
    return generate(101, size=256, changes=Changes(new=2, removed=2, greened=9, nets=4))


def told(before: NDArray[Any], after: NDArray[Any], index: Any = "rgb") -> tuple[Light, NDArray[Any], NDArray[Any]]:
    patch = (before, after, np.ones(before.shape[:2], np.bool_))
    light = measure([patch], index, GSD)
    return light, *cover(light, patch, GSD)


def agreement(share: NDArray[Any], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Share of the vegetation that is told, and of the rest that is taken for it."""
    return float((share > 0.5)[truth].mean()), float((share > 0.5)[~truth].mean())


@pytest.mark.parametrize(
    "light",
    [{}, {"gain": 0.7}, {"gain": 1.2}, {"gamma": 0.75}, {"gamma": 1.35}, {"haze": 0.4}],
    ids=str,
)
def test_another_light_at_one_date_changes_little(district: District, light: dict[str, float]) -> None:
    _, before, after = told(district.before.pixels, spoilt(district.after.pixels, **light))
    for share, truth in ((before, district.vegetation_before), (after, district.vegetation_after)):
        hit, wrong = agreement(share, truth)
        assert hit > 0.85
        assert wrong < 0.09
    _, _, plain = told(district.before.pixels, district.after.pixels)
    assert np.abs((after > 0.5).mean() - (plain > 0.5).mean()) < 0.02


def test_the_date_with_more_contrast_is_the_reference(district: District) -> None:
    pale = spoilt(district.before.pixels, haze=0.4)
    assert told(pale, district.before.pixels)[0].after is None
    assert told(district.before.pixels, pale)[0].before is None


def test_swapping_the_dates_swaps_the_shares(district: District) -> None:
    hazy = spoilt(district.after.pixels, haze=0.3)
    _, before, after = told(district.before.pixels, hazy)
    _, first, second = told(hazy, district.before.pixels)
    np.testing.assert_allclose(before, second, atol=1e-5)
    np.testing.assert_allclose(after, first, atol=1e-5)


def _laid(colour: tuple[int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A district, and the same with a square of 20 m of one colour laid on a corner of it."""
    before = generate(101, size=192, changes=STILL).before.pixels
    after = before.copy()
    noise = np.random.default_rng(0).normal(0, 4, (40, 40, 1))
    after[60:100, 60:100] = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    return before, after


@pytest.mark.parametrize(("colour", "plant"), [(GRASS, True), (NET, False), (SOIL, False), (PAVING, False)])
def test_grass_is_vegetation_and_a_dust_net_is_not(colour: tuple[int, int, int], plant: bool) -> None:
    share = told(*_laid(colour))[2][66:94, 66:94]
    assert share.mean() > 0.9 if plant else share.mean() < 0.25


def test_dry_turf_still_counts() -> None:
    summer, autumn = (
        generate(101, size=256, changes=replace(STILL, season=season)) for season in (0.0, 0.5)
    )  # fmt: skip
    told_in_autumn = told(autumn.before.pixels, autumn.after.pixels)[2]
    assert agreement(told_in_autumn, summer.vegetation_after)[0] > 0.7


def test_near_infrared_tells_it_too(district: District) -> None:
    sides = [
        np.dstack([raster.pixels[..., 0], infrared(raster.pixels, green)])
        for raster, green in (
            (district.before, district.vegetation_before),
            (district.after, district.vegetation_after),
        )
    ]
    _, before, after = told(*sides, index="ndvi")
    for share, truth in ((before, district.vegetation_before), (after, district.vegetation_after)):
        hit, wrong = agreement(share, truth)
        assert hit > 0.85
        assert wrong < 0.09


def test_sixteen_bits_say_the_same_as_eight(district: District) -> None:
    eight = told(district.before.pixels, district.after.pixels)[2]
    deep = told(district.before.pixels.astype(np.uint16) * 40 + 7, district.after.pixels.astype(np.uint16) * 40 + 7)[2]
    assert np.abs(eight - deep).mean() < 0.01


def test_what_was_not_seen_is_no_vegetation_and_spoils_nothing_beside_it(district: District) -> None:
    seen = np.ones((256, 256), np.bool_)
    seen[:, 128:] = False
    before, after = district.before.pixels.copy(), district.after.pixels.copy()
    before[:, 128:], after[:, 128:] = (0, 255, 0), (0, 255, 0)
    light = measure([(before, after, seen)], "rgb", GSD)
    _, share = cover(light, (before, after, seen), GSD)
    assert (share[:, 128:] == 0).all()
    assert agreement(share[:, :128], district.vegetation_after[:, :128])[1] < 0.09


def test_without_any_sample_nothing_is_made_of_it() -> None:
    nothing = np.zeros((32, 32, 3), np.uint8)
    light = measure([(nothing, nothing, np.zeros((32, 32), np.bool_))], "rgb", GSD)
    assert (light.before, light.after, light.haze) == (None, None, 0.0)
