"""What clouds hide of the ground: as little observed as what lies beyond the edge of a picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SMALLEST_PX = 25
"""Narrower than this, pixels as scored, no cloud is believed: a white roof or a glint is no cloud."""
RIM_PX = 8
"""So far around a cloud its veil is taken to reach."""


def hidden(probability: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """(..., H, W) float32 probability of cloud -> (..., H, W) bool, what it hides.

    What decides about a pixel lies within `SMALLEST_PX + RIM_PX` of it, so that windows that overlap agree.
    """
    core, whole = (np.ones((side, side), np.uint8) for side in (SMALLEST_PX, SMALLEST_PX + 2 * RIM_PX))
    result = np.zeros(probability.shape, dtype=np.bool_)
    for index in np.ndindex(probability.shape[:-2]):
        cloudy = (probability[index] >= threshold).astype(np.uint8)
        if cloudy.any():
            result[index] = cv2.dilate(cv2.erode(cloudy, core), whole) > 0
    return result
