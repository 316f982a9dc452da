"""Score a picture of any size in overlapping windows that leave no seams.

Windows are blended with weights that fall to zero at their edges (a raised cosine over the overlap), so a pixel
is never decided by the rim of a window, where the network sees half of its surroundings only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

WINDOW = 512
OVERLAP = 96
_BATCH = 2

Predict = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]
"""(N, 3, H, W) uint8 before and after -> (N, C, H, W) float32 probabilities."""


def _starts(length: int, window: int, overlap: int) -> list[int]:
    """Window starts along one side, evenly spread, the last one flush with the end."""
    if length <= window:
        return [0]
    count = 1 + -(-(length - window) // (window - overlap))
    return [round(i * (length - window) / (count - 1)) for i in range(count)]


def _ramp(length: int, overlap: int) -> NDArray[np.float32]:
    """Blending weight along one side of a window: rises, stays at 1, falls; never quite 0."""
    distance = np.minimum(np.arange(length), np.arange(length)[::-1]) + 0.5
    t = np.clip(distance / overlap, 0, 1)
    return (0.5 - 0.5 * np.cos(np.pi * t) + 1e-3).astype(np.float32)


def _windows(height: int, width: int, window: int, overlap: int) -> Iterator[tuple[int, int]]:
    for top in _starts(height, window, overlap):
        for left in _starts(width, window, overlap):
            yield top, left


def predict_tiled(
    predict: Predict,
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    *,
    window: int = WINDOW,
    overlap: int = OVERLAP,
    multiple_of: int = 16,
    progress: Callable[[float], None] = lambda share: None,
) -> NDArray[np.float32]:
    """Probabilities for a whole pair.

    Args:
        before, after: (H, W, 3) uint8 RGB on one grid.
        window, overlap: side of a window and how far neighbours overlap, pixels; `window` a multiple of
            `multiple_of`.
        progress: called with the share done, 0..1.

    Returns:
        (C, H, W) float32, C as of `predict`.
    """
    height, width = before.shape[:2]
    # A small picture is mirrored up to whole multiples, so that no artificial edge enters the view.
    pad_h = max(0, min(window, -(-height // multiple_of) * multiple_of) - height)
    pad_w = max(0, min(window, -(-width // multiple_of) * multiple_of) - width)
    padding = ((0, pad_h), (0, pad_w), (0, 0))
    a, b = (np.pad(x, padding, mode="symmetric") for x in (before, after))
    h, w = a.shape[:2]
    side_h, side_w = min(window, h), min(window, w)
    weight = np.outer(_ramp(side_h, overlap), _ramp(side_w, overlap))
    total = np.zeros((0, h, w), dtype=np.float32)
    weights = np.zeros((h, w), dtype=np.float32)
    corners = list(_windows(h, w, window, overlap))
    for i in range(0, len(corners), _BATCH):
        batch = corners[i : i + _BATCH]
        cut_a, cut_b = (
            np.stack([x[t : t + side_h, s : s + side_w].transpose(2, 0, 1) for t, s in batch]) for x in (a, b)
        )
        predicted = predict(cut_a, cut_b)
        if not len(total):
            total = np.zeros((predicted.shape[1], h, w), dtype=np.float32)
        for (t, s), p in zip(batch, predicted, strict=True):
            total[:, t : t + side_h, s : s + side_w] += p * weight
            weights[t : t + side_h, s : s + side_w] += weight
        progress(min(1.0, (i + len(batch)) / len(corners)))
    total /= weights
    return total[:, :height, :width]
