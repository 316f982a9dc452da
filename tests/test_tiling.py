"""Windows cover every pixel, leave no seam, and are what the model can take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.tiling import OVERLAP, WINDOW, predict_tiled

SIZES = [(1, 1), (5, 200), (16, 16), (17, 31), (65, 64), (100, 129), (128, 128), (129, 128), (128, 129), (300, 333)]
SMALL: dict[str, Any] = {"window": 128, "overlap": 32}


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """Each pixel tells where it is: row in the first channel, column in the second."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 255 / max(1, height - 1), columns * 255 / max(1, width - 1), rows * 0], axis=2).astype(
        np.uint8
    )


class Pointwise:
    """Answers before, after and their mean, each pixel by itself; remembers what it was given."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert before.shape == after.shape
        assert before.dtype == after.dtype == np.uint8
        self.shapes.append(before.shape)
        first, second = before[:, 0] / 255, after[:, 1] / 255
        return np.stack([first, second, (first + second) / 2], axis=1).astype(np.float32)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_what_is_decided_pixel_by_pixel_comes_out_as_if_in_one_piece(height: int, width: int) -> None:
    x = picture(height, width)
    out = predict_tiled(Pointwise(), x, x, **SMALL)
    assert out.shape == (3, height, width)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out[0], x[..., 0] / 255, atol=1e-5)
    np.testing.assert_allclose(out[1], x[..., 1] / 255, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("value", [0.0, 0.37, 1.0])
def test_a_constant_stays_that_constant(height: int, width: int, value: float) -> None:
    x = picture(height, width)
    out = predict_tiled(lambda b, a: np.full(b.shape, value, np.float32), x, x, **SMALL)
    np.testing.assert_allclose(out, value, atol=1e-6)


@pytest.mark.parametrize("multiple", [16, 32])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_model_is_given_whole_multiples_and_no_more_than_a_window(height: int, width: int, multiple: int) -> None:
    model = Pointwise()
    predict_tiled(model, picture(height, width), picture(height, width), multiple_of=multiple, **SMALL)
    for _, channels, h, w in model.shapes:
        assert channels == 3
        assert h % multiple == w % multiple == 0
        assert h <= 128
        assert w <= 128


def test_a_small_picture_is_one_window() -> None:
    model = Pointwise()
    predict_tiled(model, picture(100, 128), picture(100, 128), **SMALL)
    assert model.shapes == [(1, 3, 112, 128)]


def test_a_pixel_more_than_a_window_needs_two() -> None:
    model = Pointwise()
    predict_tiled(model, picture(128, 129), picture(128, 129), **SMALL)
    assert sum(shape[0] for shape in model.shapes) == 2


def test_windows_that_disagree_at_their_rims_leave_no_seam() -> None:
    """Each window is wrong by 1 at its rim, less further in; the blend must stay smooth and hide most of it."""
    size, side = 300, 128
    distance = np.minimum(np.arange(side), np.arange(side)[::-1])
    rim = np.clip(1 - np.minimum.outer(distance, distance) / 12, 0, 1).astype(np.float32)

    def predict(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.broadcast_to(rim, (len(before), 3, side, side)).copy()

    x = np.zeros((size, size, 3), dtype=np.uint8)
    inner = predict_tiled(predict, x, x, **SMALL)[0][20:-20, 20:-20]
    assert inner.max() < 0.15
    steps = max(np.abs(np.diff(inner, axis=0)).max(), np.abs(np.diff(inner, axis=1)).max())
    assert steps < 0.02


def test_windows_that_differ_altogether_are_blended_smoothly() -> None:
    calls = iter(range(100))

    def predict(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.stack([np.full(before.shape[1:], next(calls) % 2, np.float32) for _ in before])

    x = np.zeros((128, 400, 3), dtype=np.uint8)
    line = predict_tiled(predict, x, x, **SMALL)[0, 60]
    assert line.min() < 0.01
    assert line.max() > 0.99
    assert np.abs(np.diff(line)).max() < 0.06


@pytest.mark.parametrize(("height", "width"), [(64, 64), (128, 129), (300, 333)])
def test_progress_rises_to_one(height: int, width: int) -> None:
    shares: list[float] = []
    predict_tiled(Pointwise(), picture(height, width), picture(height, width), progress=shares.append, **SMALL)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert all(0 < share <= 1 for share in shares)


def test_the_dates_are_not_mixed_up() -> None:
    dark, bright = np.zeros((40, 40, 3), np.uint8), np.full((40, 40, 3), 255, np.uint8)
    out = predict_tiled(Pointwise(), dark, bright)
    assert out[0].max() == 0
    assert out[1].min() == 1


def test_the_windows_of_production_fit_any_model_of_ours() -> None:
    assert WINDOW % 32 == 0
    assert 0 < 2 * OVERLAP < WINDOW
