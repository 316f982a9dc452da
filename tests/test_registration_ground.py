"""Photographs taken by hand are laid on each other if they show one place, and refused if that cannot be shown."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from shapely.geometry import Polygon

from datasets.raster import Raster
from inference.pair import Pair
from inference.registration import NotComparable, register
from tests.imagery import MAGENTA, Pixels, built, raster, relit
from tests.street import from_elsewhere, street
from tests.test_registration import misfit


def refusal(before: Raster, after: Raster) -> str:
    with pytest.raises(NotComparable) as caught:
        register(before, after, "ground")
    return caught.value.reason.code


SPOTS = ((150, 200, 14, 14), (250, 280, 14, 14), (360, 190, 14, 14))


def photograph(seed: int = 1, **options: Any) -> Pixels:
    return built(street(seed, **options), *SPOTS, roof=MAGENTA)


PHOTOGRAPH = raster(photograph())


@cache
def laid(degrees: float = 3, scale: float = 1.1, without: int = 0) -> Pair:
    after = from_elsewhere(photograph(without=slice(without)), degrees=degrees, scale=scale)
    return register(PHOTOGRAPH, raster(after), "ground")


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1), (3, 1.1), (-8, 0.8), (5, 1.3)])
def test_a_photograph_from_a_step_aside_is_laid_on_the_first(degrees: float, scale: float) -> None:
    pair = laid(degrees, scale)
    assert misfit(pair) < 0.01 * PHOTOGRAPH.width
    told = pair.registration
    assert told.model == "homography"
    assert told.planes >= 1
    assert told.residual_px is not None
    assert told.residual_px < 2


def test_it_is_found_again_when_most_houses_are_gone() -> None:
    pair = laid(without=7)
    assert misfit(pair) < 0.01 * PHOTOGRAPH.width
    assert pair.registration.inliers < laid().registration.inliers


def test_the_overlap_is_told_as_a_polygon_on_the_grid() -> None:
    outline = laid(0, 0.7).registration.overlap_polygon
    assert outline is not None
    shape = Polygon(outline)
    observed = laid(0, 0.7).observed
    assert shape.area == pytest.approx(observed.sum(), rel=0.02)
    assert laid(0, 0.7).registration.overlap == pytest.approx(shape.area / observed.size, abs=0.02)
    left, top, right, bottom = shape.bounds
    assert min(left, top) >= -1
    assert (right, bottom) <= (PHOTOGRAPH.width, PHOTOGRAPH.height)


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_photographs_of_two_streets_have_no_overlap(seed: int) -> None:
    assert refusal(PHOTOGRAPH, raster(street(seed))) == "no_overlap"


@cache
def symmetric() -> Pixels:
    """A facade that looks nearly the same mirrored, in a street that does not."""
    pixels = photograph()
    pixels[:, 256:][40:240] = pixels[40:240, :256][:, ::-1]
    return pixels


@pytest.mark.parametrize("pixels", [photograph(), symmetric()], ids=["street", "even facade"])
def test_a_mirrored_photograph_is_told(pixels: Pixels) -> None:
    mirrored = relit(np.ascontiguousarray(pixels[:, ::-1]))
    assert refusal(raster(pixels), raster(mirrored)) == "mirrored"


def test_an_even_facade_is_not_taken_for_mirrored() -> None:
    pair = register(raster(symmetric()), raster(from_elsewhere(symmetric())), "ground")
    assert pair.registration.overlap > 0.8


def test_photographs_that_share_an_edge_have_no_overlap() -> None:
    left, right = PHOTOGRAPH.pixels[:, :300], PHOTOGRAPH.pixels[:, 250:]
    assert refusal(raster(left.copy()), raster(relit(right.copy()))) == "no_overlap"


def test_upright_and_broad_photographs_are_laid_on_each_other() -> None:
    after = from_elsewhere(PHOTOGRAPH.pixels, degrees=2, scale=1)[:, 110:420]
    assert after.shape[0] > after.shape[1]
    pair = register(PHOTOGRAPH, raster(after.copy()), "ground")
    assert pair.after.pixels.shape == PHOTOGRAPH.pixels.shape
    assert misfit(pair) < 0.01 * PHOTOGRAPH.width
    turned = register(raster(after.copy()), PHOTOGRAPH, "ground")
    assert misfit(turned) < 0.01 * PHOTOGRAPH.width


def test_what_a_photograph_did_not_see_stays_unseen() -> None:
    valid = np.ones(PHOTOGRAPH.valid.shape, dtype=np.bool_)
    valid[:100] = False
    after = raster(from_elsewhere(PHOTOGRAPH.pixels, degrees=0, scale=1, lean=0), valid)
    pair = register(PHOTOGRAPH, after, "ground")
    assert not pair.observed[:97].any()
    assert pair.observed[104:, 5:-5].all()
