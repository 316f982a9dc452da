"""From probabilities to a mask: the one rule for it, in evaluation as in use. No torch here."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_OBJECT_PX = 40
"""The smallest object that is counted in evaluation, and reported in use."""
MIN_PEAK_PX = MIN_OBJECT_PX // 2
"""So many pixels of a patch must reach the peak."""


def hysteresis(probability: NDArray[np.float32], threshold: float, peak: float, mean: float = 0.0) -> NDArray[np.bool_]:
    """Pixels from `threshold` on, in patches (8-connected) of which `MIN_PEAK_PX` pixels reach `peak`, and all together
    `mean`.

    The low threshold draws the outline, the others decide whether there is anything at all: a leaning roof or a
    shadow leaves broad, half-hearted patches, a structure that appeared does not. Canny (PAMI 1986) on edges.

    Args:
        probability: (H, W) float32 in 0..1.
    """
    mask: NDArray[np.bool_] = probability >= threshold
    if peak <= threshold and mean <= threshold:
        return mask
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    flat = labels.ravel()
    kept = np.bincount(flat, weights=probability.ravel(), minlength=count) >= mean * np.bincount(flat, minlength=count)
    if peak > threshold:
        kept &= np.bincount(flat, weights=(probability >= peak).ravel(), minlength=count) >= MIN_PEAK_PX
    kept[0] = False
    return np.asarray(kept[labels], dtype=np.bool_)
