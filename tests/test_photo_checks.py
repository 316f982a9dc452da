"""Photographs that must not be compared: panoramas, screens, one photograph twice."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from inference.pair import Pair
from inference.photo_checks import moire, photograph_problems, same_photograph
from inference.registration import register
from tests.imagery import Pixels, raster, relit
from tests.screens import on_screen
from tests.street import from_elsewhere, street

SCENE = street(3)


def codes(pixels: Pixels) -> list[str]:
    return [reason.code for reason in photograph_problems(raster(pixels), "after")]


@pytest.mark.parametrize("seed", range(4))
def test_a_photograph_as_taken_has_no_moire(seed: int) -> None:
    assert codes(street(seed)) == []


@pytest.mark.parametrize("pitch", [0.3, 0.4])
def test_a_photograph_of_a_screen_is_refused(pitch: float) -> None:
    assert codes(on_screen(SCENE, np.random.default_rng(1), pitch=pitch)) == ["screen"]


def test_a_row_of_windows_is_no_screen() -> None:
    facade = SCENE.copy()
    for x in range(40, 260, 12):
        for y in range(60, 180, 14):
            cv2.rectangle(facade, (x, y), (x + 6, y + 8), (40, 40, 50), -1)
    assert codes(facade) == []


def test_nothing_is_said_of_a_picture_too_small_to_tell() -> None:
    assert moire(on_screen(SCENE, np.random.default_rng(1), 128, pitch=0.3)) == 0.0


@pytest.mark.parametrize("turned", [False, True])
def test_a_panorama_is_refused_with_its_shape(turned: bool) -> None:
    wide = street(1, 160, 512)
    reasons = photograph_problems(raster(wide.swapaxes(0, 1).copy() if turned else wide), "before")
    assert [(r.code, r.values["ratio"]) for r in reasons] == [("panorama", 3.2)]


def test_three_to_one_is_no_panorama() -> None:
    assert codes(street(1, 160, 480)) == []


def _pair(after: Pixels) -> Pair:
    return register(raster(SCENE), raster(after), "ground")


def test_one_photograph_cut_scaled_and_saved_again_is_seen() -> None:
    cut = cv2.resize(SCENE[20:370, 25:495], None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    saved = cv2.imdecode(cv2.imencode(".jpg", cut, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], 1)
    assert same_photograph(_pair(np.ascontiguousarray(saved)))


@pytest.mark.parametrize("later", [relit(SCENE, 1), from_elsewhere(SCENE)], ids=["other light", "a step aside"])
def test_the_same_view_on_another_day_is_another_photograph(later: Pixels) -> None:
    assert not same_photograph(_pair(later))


def test_one_house_less_is_another_photograph() -> None:
    assert not same_photograph(_pair(street(3, without=slice(2, 4))))
