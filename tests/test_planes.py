"""Planes through matching points: found, told from chance, and laid over each other without a seam."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inference.planes import Planes, fit
from tests.imagery import raster

SIZE = (400, 300)
TILTED = np.array([[1.05, 0.06, -12.0], [-0.04, 0.98, 9.0], [1e-4, -6e-5, 1.0]])
Places = NDArray[np.float32]


def scattered(seed: int, count: int, low: tuple[int, int] = (20, 20), high: tuple[int, int] = (380, 280)) -> Places:
    return np.random.default_rng(seed).uniform(low, high, (count, 2)).astype(np.float32)


def through(matrix: NDArray[np.float64], places: Places) -> Places:
    return np.asarray(cv2.perspectiveTransform(places[None].astype(np.float64), matrix)[0], dtype=np.float32)


def found(source: Places, target: Places) -> Planes:
    planes = fit(source, target, SIZE, SIZE)
    assert planes is not None
    return planes


def test_a_plane_is_found_among_wrong_matches() -> None:
    source = scattered(1, 60)
    target = through(TILTED, source)
    planes = found(np.concatenate([source, scattered(2, 60)]), np.concatenate([target, scattered(3, 60)]))
    assert planes.matrices[0] == pytest.approx(TILTED, abs=0.02)
    assert planes.inliers == pytest.approx(60, abs=4)
    assert planes.residual_px < 0.1
    assert planes.are_sure


def test_matches_by_chance_are_never_sure() -> None:
    for seed in range(20):
        planes = fit(scattered(seed, 80), scattered(seed + 100, 80), SIZE, SIZE)
        assert planes is None or not planes.are_sure


def test_many_points_in_one_spot_are_not_sure() -> None:
    """One sign or one car that both photographs show says nothing of the rest."""
    source = scattered(1, 80, (100, 100), (130, 130))
    assert not found(source, through(TILTED, source)).are_sure


@pytest.mark.parametrize("count", [0, 3, 11])
def test_too_few_matches_make_no_plane(count: int) -> None:
    source = scattered(1, count)
    assert fit(source, through(TILTED, source) if count else source, SIZE, SIZE) is None


@pytest.mark.parametrize(
    "impossible",
    [
        np.array([[-1.0, 0, 399], [0, 1, 0], [0, 0, 1]]),  # mirrored
        np.diag([0.1, 0.1, 1.0]),  # a photograph within a photograph
        np.array([[1.0, 0, 900], [0, 1, 0], [0, 0, 1]]),  # beside it
    ],
    ids=["mirrored", "ten times smaller", "beside"],
)
def test_what_no_camera_sees_so_is_refused(impossible: NDArray[np.float64]) -> None:
    source = scattered(1, 80)
    assert fit(source, through(impossible, source), SIZE, SIZE) is None


def test_the_overlap_is_the_frame_of_the_second_within_the_first() -> None:
    source = scattered(1, 60)
    planes = found(source, through(np.array([[1.0, 0, 100], [0, 1, 30], [0, 0, 1]]), source))
    assert planes.overlap.bounds == pytest.approx((99.5, 29.5, 399.5, 299.5), abs=0.2)


def test_ground_and_facade_are_two_planes_and_each_is_followed() -> None:
    facade, paving = scattered(1, 80, (20, 20), (380, 140)), scattered(2, 50, (20, 180), (380, 280))
    nearer = np.array([[1.0, 0.1, -2.0], [0, 1.1, -2.0], [0, 0, 1.0]])
    source = np.concatenate([facade, paving])
    target = np.concatenate([facade + np.float32(3), through(nearer, paving)])
    planes = found(source, target)
    assert len(planes.matrices) == 2
    x, y = planes.maps()
    inner = (target > (25, 25)).all(axis=1) & (target < (375, 275)).all(axis=1)
    columns, rows = target[inner].round().astype(int).T
    off = np.hypot(x[rows, columns] - source[inner, 0], y[rows, columns] - source[inner, 1])
    assert np.median(off) < 1
    assert np.percentile(off, 95) < 3


def test_points_that_would_move_across_the_picture_are_no_further_plane() -> None:
    fixed, driven = scattered(1, 80), scattered(2, 40, (20, 200), (180, 280))
    planes = found(np.concatenate([fixed, driven]), np.concatenate([fixed, driven + np.float32([150, 0])]))
    assert len(planes.matrices) == 1


def test_maps_of_large_photographs_are_as_exact() -> None:
    large = (4000, 3000)
    matrix = np.diag([10.0, 10, 1]) @ TILTED @ np.diag([0.1, 0.1, 1])
    source = scattered(1, 60) * 10
    planes = fit(source, through(matrix, source), large, large)
    assert planes is not None
    x, y = planes.maps()
    assert x.shape == y.shape == (3000, 4000)
    at = np.array([[0, 0], [3999, 2999], [1234, 777], [3999, 5]], dtype=np.float32)
    expected = through(np.linalg.inv(planes.matrices[0]), at)
    columns, rows = at.astype(int).T
    assert np.stack([x[rows, columns], y[rows, columns]], -1) == pytest.approx(expected, abs=0.5)


def test_a_finer_photograph_is_averaged_and_not_picked_from() -> None:
    source = scattered(1, 60) * 3
    planes = fit(source, (source + 0.5) / 3 - np.float32(0.5), (1200, 900), SIZE)
    assert planes is not None
    stripes = np.zeros((900, 1200, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    pixels, valid = planes.warp(raster(stripes))
    assert valid[5:-5, 5:-5].all()
    assert abs(pixels[5:-5, 5:-5].astype(int) - 100).max() < 40
