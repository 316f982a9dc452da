from __future__ import annotations

import numpy as np

from model.decision import MIN_PEAK_PX, hysteresis


def _patch(low: float, high: float, peak_px: int) -> np.ndarray:
    probability = np.zeros((40, 40), dtype=np.float32)
    probability[5:20, 5:20] = low
    rows, columns = np.unravel_index(np.arange(peak_px), (15, 15))
    probability[5 + rows, 5 + columns] = high
    return probability


def test_a_patch_with_a_peak_keeps_its_whole_outline() -> None:
    mask = hysteresis(_patch(0.6, 0.95, MIN_PEAK_PX), 0.5, 0.9)
    assert mask.sum() == 15 * 15


def test_a_patch_whose_peak_is_too_small_is_dropped() -> None:
    assert not hysteresis(_patch(0.6, 0.95, MIN_PEAK_PX - 1), 0.5, 0.9).any()


def test_a_peak_counts_for_its_own_patch_only() -> None:
    probability = _patch(0.6, 0.95, 100)
    probability[30:38, 30:38] = 0.6
    mask = hysteresis(probability, 0.5, 0.9)
    assert mask[10, 10]
    assert not mask[30:38, 30:38].any()


def test_patches_that_touch_at_a_corner_are_one() -> None:
    probability = _patch(0.6, 0.95, 100)
    probability[20:25, 20:25] = 0.6
    assert hysteresis(probability, 0.5, 0.9)[22, 22]


def test_with_the_peak_at_the_threshold_every_pixel_decides_for_itself() -> None:
    probability = np.zeros((8, 8), dtype=np.float32)
    probability[3, 3] = 0.5
    assert hysteresis(probability, 0.5, 0.5).sum() == 1


def _blurred(side: int) -> np.ndarray:
    """A sure square of `side` pixels within a blurred rim of two."""
    probability = np.zeros((40, 40), dtype=np.float32)
    probability[10 - 2 : 10 + side + 2, 10 - 2 : 10 + side + 2] = 0.6
    probability[10 : 10 + side, 10 : 10 + side] = 0.95
    return probability


def test_a_small_patch_is_as_sure_as_a_large_one_within_its_rim() -> None:
    small, large = _blurred(5), _blurred(20)
    assert hysteresis(large, 0.5, 0.9, 0.8).any()
    assert not hysteresis(small, 0.5, 0.9, 0.8).any()
    assert hysteresis(small, 0.5, 0.9, 0.8, rim=2).sum() == 9 * 9  # and its outline is the same
    assert not hysteresis(small, 0.5, 0.9, 0.96, rim=2).any()


def test_a_patch_that_is_all_rim_counts_as_a_whole() -> None:
    sliver = np.zeros((40, 40), dtype=np.float32)
    sliver[10:30, 10:14] = 0.7
    assert hysteresis(sliver, 0.5, 0.5, 0.6, rim=2).any()
    assert not hysteresis(sliver, 0.5, 0.5, 0.8, rim=2).any()


def test_there_is_no_rim_where_the_picture_ends() -> None:
    probability = np.zeros((40, 40), dtype=np.float32)
    probability[:6, :] = 0.6
    probability[:2, :] = 0.95
    assert hysteresis(probability, 0.5, 0.9, 0.7, rim=2).any()
    assert not hysteresis(np.roll(probability, 10, axis=0), 0.5, 0.9, 0.7, rim=2).any()
