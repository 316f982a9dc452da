"""What only photographs taken by hand can be refused for: a panorama, a screen photographed, one photograph twice."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.raster import Raster
from inference.pair import Pair
from inference.reasons import Reason

MAX_ASPECT = 3.0
"""Longer side over shorter. Beyond it a photograph is a panorama, bent around a cylinder: no plane of it can be laid on
that of an ordinary photograph, and at the size the network sees it is little more than a hundred pixels high."""
MAX_MOIRE = 1.18
"""Two of 750 photographs as taken reach it. Of 60 of them shown on a simulated screen and photographed again 47 % do:
at many distances the lattice of the screen leaves no trace (tests/benchmarks/screens.py)."""
MAX_DIFFERENCE, MAX_DIFFERENCE_P99 = 2.0, 8.0
"""Grey levels, mean and 99.5th percentile of the common view without its finest detail. Twelve photographs, cut by up
to 10 %, scaled by 0.7 and saved with quality 70, differ from themselves by at most 1.3 and 4.7; in other light (a gain
of 0.85) by at least 2.7 and 14."""
_SIDE, _BLOCK = 1024, 128
_MIN_BLOCKS = 6
_LOWEST = 0.05
"""Cycles per pixel: below it every picture has peaks."""
_NOISE = 100.0
"""Power that rounding and JPEG leave in a block where there is nothing."""


def photograph_problems(raster: Raster, side: str) -> list[Reason]:
    """Reasons to refuse one photograph, as it was taken (not reduced); `side` is `before` or `after`."""
    longer, shorter = max(raster.height, raster.width), min(raster.height, raster.width)
    if longer > MAX_ASPECT * shorter:
        return [Reason("panorama", {"side": side, "ratio": round(longer / shorter, 1)})]
    return [Reason("screen", {"side": side})] if moire(raster.pixels) > MAX_MOIRE else []


def moire(pixels: NDArray[np.uint8]) -> float:
    """How far the lattice of a screen stands out of the spectrum: decades above its surroundings, in most blocks.

    A screen is periodic all over, and so is what it makes together with the lattice of the sensor. A row of windows is
    periodic too, but in few blocks and along its edges, where the neighbouring frequencies are as strong. So of each
    block of 128 px the highest peak over the median of its neighbours counts, and of all blocks the lower quartile; 0
    where there are too few blocks to say.
    """
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    top, left = (max(0, (n - _SIDE) // 2) for n in gray.shape)
    gray = gray[top : top + _SIDE, left : left + _SIDE]
    window = np.outer(np.hanning(_BLOCK), np.hanning(_BLOCK)).astype(np.float32)
    vertical, horizontal = np.meshgrid(np.fft.fftfreq(_BLOCK), np.fft.rfftfreq(_BLOCK), indexing="ij")
    looked_at = np.hypot(vertical, horizontal) > _LOWEST
    peaks = []
    for y in range(0, gray.shape[0] - _BLOCK + 1, _BLOCK):
        for x in range(0, gray.shape[1] - _BLOCK + 1, _BLOCK):
            block = gray[y : y + _BLOCK, x : x + _BLOCK]
            power = np.abs(np.fft.rfft2((block - block.mean()) * window)) ** 2
            level = np.log10(power + 0.01).astype(np.float32)
            around = np.maximum(cv2.medianBlur(level, 5), np.log10(_NOISE))
            peaks.append(float((level - around)[looked_at].max()))
    return float(np.percentile(peaks, 25)) if len(peaks) >= _MIN_BLOCKS else 0.0


def same_photograph(pair: Pair) -> bool:
    """Whether both are one photograph, cut or saved again: on another day light and shadow differ everywhere.

    Compared where one lies on the other, so that it does not matter how it was cut or scaled.
    """
    inner = cv2.erode(pair.observed.astype(np.uint8), np.ones((15, 15), np.uint8), borderValue=0) > 0
    if not inner.any():
        return False
    first, second = (cv2.GaussianBlur(r.pixels, (0, 0), 3.0).astype(np.float32) for r in (pair.before, pair.after))
    difference = np.abs(first - second).mean(axis=2)[inner]
    return bool(difference.mean() < MAX_DIFFERENCE and np.percentile(difference, 99.5) < MAX_DIFFERENCE_P99)
