"""From probabilities to a mask: the one rule for it, in evaluation as in use. No torch here."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_OBJECT_PX = 40
"""The smallest object that is counted in evaluation, and reported in use."""
MIN_PEAK_PX = MIN_OBJECT_PX // 2
"""So many pixels of a patch must reach the peak."""
RIM_PX = 1
"""What training takes for the rim of a patch: it is blurred whatever it surrounds."""


def within(mask: NDArray[np.bool_], rim: int) -> NDArray[np.bool_]:
    """Pixels of a mask (H, W) further than `rim` pixels from what it leaves out; beyond the picture it goes on."""
    square = np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)
    return np.asarray(cv2.erode(mask.astype(np.uint8), square) > 0, dtype=np.bool_)


def inner_means(
    probability: NDArray[np.float32], labels: NDArray[np.int32], count: int, rim: int
) -> NDArray[np.float64]:
    """Mean of each patch within its rim, (count,) float64 by label; of label 0, which is none, 0.

    A rim is blurred whatever it surrounds, and most of a shed is rim: with the rim counted in, small patches would have
    to be surer than large ones.

    Args:
        probability: (H, W) float32 in 0..1.
        labels: (H, W) int32 below `count`, 0 for what belongs to no patch.
        rim: width of the rim that the mean leaves out, pixels. A patch that is nothing but rim counts as a whole.
    """
    flat = labels.ravel()
    inside = within(labels > 0, rim).ravel()
    inside |= (np.bincount(flat, weights=inside, minlength=count) == 0)[flat]
    total = np.bincount(flat, weights=probability.ravel() * inside, minlength=count)
    means = total / np.maximum(np.bincount(flat, weights=inside, minlength=count), 1)
    means[0] = 0
    return np.asarray(means, dtype=np.float64)


def hysteresis(
    probability: NDArray[np.float32], threshold: float, peak: float, mean: float = 0.0, rim: int = 0
) -> NDArray[np.bool_]:
    """Pixels from `threshold` on, in patches (8-connected) of which `MIN_PEAK_PX` pixels reach `peak`, and all within
    the rim together `mean` (`inner_means`).

    The low threshold draws the outline, the others decide whether there is anything at all: a leaning roof or a
    shadow leaves broad, half-hearted patches, a structure that appeared does not. Canny (PAMI 1986) on edges.

    Args:
        probability: (H, W) float32 in 0..1.
    """
    mask: NDArray[np.bool_] = probability >= threshold
    if peak <= threshold and mean <= threshold:
        return mask
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    kept = inner_means(probability, np.asarray(labels, dtype=np.int32), count, rim) >= mean
    if peak > threshold:
        sure = (probability >= peak).ravel()
        kept &= np.bincount(labels.ravel(), weights=sure, minlength=count) >= MIN_PEAK_PX
    kept[0] = False
    return np.asarray(kept[labels], dtype=np.bool_)
