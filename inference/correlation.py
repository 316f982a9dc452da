"""How far two pictures of equal size lie apart, as a whole and block by block.

One measure, the correlation of gradient orientations (Fitch et al., "Orientation correlation", BMVC 2002): it does not
care about light or season, needs no single structure to survive, and its peak says both how far the pictures are apart
and whether they show the same ground at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.raster import Raster

MIN_SIGNIFICANCE, SURE_SIGNIFICANCE = 9.5, 15.0
"""Peak of the correlation in standard deviations. Measured on labelled sets: unrelated places, mirrored and turned
pictures reach 11.9, pairs of the same place start at 9.9, but for two of 96 that are lost in it. Between the two
bounds the peak must be consistent."""
MIN_CONSISTENCY = 5.0
"""A chance peak comes from a few edges that happen to meet and reaches 4.8; pairs of the same place start at 5.8,
but for one of 96."""
MAX_BLOCK_SHIFT_PX = 9.0
"""Little more than the 8 px that the network is trained to tolerate (training.recipe, `max_shift`): leaning towers of
pairs as taken reach 8.9 px."""
MIN_DISPLACED, MAX_DISPLACED = 2, 0.2
"""So many blocks of 128 px, and so large a share of those that can be told, may not lie further off, or another
placement is looked for. With one half 16 px off 22 to 60 % do, with ripples of 12 px half of them, in pairs that fit
none or one of 9 to 16."""
MIN_BLOCKS = 4
MIN_BLOCK_SIGNIFICANCE, MIN_BLOCK_CONSISTENCY = 8.0, 5.0
"""Of chance peaks in a block, 10 px and more off in pairs that fit, one in a hundred reaches both."""
_SHIFT_BLOCK, _SHIFT_BLOCKS = 128, 6
_CORRELATION_SIDE = 512
_BLOCKS = (12, 12)

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Alignment:
    """How far `after` lies from `before` and how sure that is.

    Attributes:
        dx, dy: move `after` by this many pixels to lay it over `before`.
        significance: height of the correlation peak in standard deviations of the correlation.
        consistency: agreement of the two pictures there, block by block: mean over its standard error.
    """

    dx: float
    dy: float
    significance: float
    consistency: float

    @property
    def shift_px(self) -> float:
        return float(np.hypot(self.dx, self.dy))

    @property
    def is_significant(self) -> bool:
        consistent = self.consistency >= MIN_CONSISTENCY
        return self.significance >= (MIN_SIGNIFICANCE if consistent else SURE_SIGNIFICANCE)


def _orientation(gray: NDArray[np.float32], valid: Mask) -> NDArray[np.complex64]:
    """Unit gradient as a complex number, damped where there is hardly any."""
    smooth = cv2.GaussianBlur(gray, (0, 0), 1.0)
    parts = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    strength = cv2.magnitude(*parts)
    inner = cv2.erode(valid.astype(np.uint8), np.ones((7, 7), np.uint8))
    # Of every fourth row and column: it only says how much of a gradient counts as none.
    some = strength[::4, ::4][inner[::4, ::4] > 0]
    typical = float(np.median(some)) if some.size else 0.0
    weight = inner / (strength + np.float32(0.5 * typical + 1e-3))
    return cv2.merge([part * weight for part in parts]).view(np.complex64)[..., 0]


def alignment(before: Image, before_valid: Mask, after: Image, after_valid: Mask) -> Alignment:
    """Measure the displacement between two pictures of equal size, (H, W, 3) uint8 with (H, W) bool masks."""
    height, width = before.shape[:2]
    scale = min(1.0, _CORRELATION_SIDE / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    fields = []
    for pixels, valid in ((before, before_valid), (after, after_valid)):
        gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
        small = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
        mask = cv2.resize(valid.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        fields.append(_orientation(small, mask))
    window = np.outer(np.hanning(size[1]), np.hanning(size[0])).astype(np.float32)
    first, second = (field * window for field in fields)
    product = cv2.mulSpectrums(_spectrum(first), _spectrum(second), 0, conjB=True)
    correlation = np.asarray(cv2.idft(product, flags=cv2.DFT_SCALE), dtype=np.float32)[..., 0]
    deviation = float(correlation.std())
    if deviation == 0:
        return Alignment(0.0, 0.0, 0.0, 0.0)
    row, column = np.unravel_index(int(correlation.argmax()), correlation.shape)
    dy = _signed(int(row), size[1]) + _vertex(correlation[:, column], int(row))
    dx = _signed(int(column), size[0]) + _vertex(correlation[row], int(column))
    significance = float(correlation.max()) / deviation
    consistency = _consistency(first, np.roll(second, (int(row), int(column)), axis=(0, 1)))
    return Alignment(dx * width / size[0], dy * height / size[1], significance, consistency)


def _spectrum(field: NDArray[np.complex64]) -> NDArray[np.float32]:
    """(H, W) -> (H, W, 2), real and imaginary part."""
    return np.asarray(cv2.dft(field.view(np.float32).reshape(*field.shape, 2)), dtype=np.float32)


def _consistency(first: NDArray[np.complex64], second: NDArray[np.complex64]) -> float:
    """Mean over standard error of how well two fields of orientations agree in each block that shows something."""
    agreement = cv2.resize((first * np.conj(second)).real, _BLOCKS, interpolation=cv2.INTER_AREA)
    weight = cv2.resize(np.abs(first * second), _BLOCKS, interpolation=cv2.INTER_AREA)
    telling = weight > 0.02 * weight.max()
    values = agreement[telling] / weight[telling]
    return float(values.mean() / (values.std() + 1e-6) * np.sqrt(values.size)) if values.size > 1 else 0.0


def _signed(index: int, length: int) -> int:
    return (index + length // 2) % length - length // 2


def _vertex(values: NDArray[np.floating], peak: int) -> float:
    """Offset of the vertex of the parabola through the peak and its two neighbours, within half a sample."""
    left, middle, right = values[peak - 1], values[peak], values[(peak + 1) % len(values)]
    curvature = left - 2 * middle + right
    return 0.0 if curvature >= 0 else float(np.clip(0.5 * (left - right) / curvature, -0.5, 0.5))


def block_shifts(before: Raster, after: Raster) -> NDArray[np.float64]:
    """(N,) displacement left in blocks of two rasters on one grid, pixels, where it can be told."""
    _, shifts = block_displacements(before, after)
    return np.asarray(np.hypot(shifts[:, 0], shifts[:, 1]), dtype=np.float64)


def block_displacements(before: Raster, after: Raster) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Blocks of two rasters on one grid of which the displacement can be told.

    Returns:
        (N, 2) centres (x, y) and (N, 2) by how much (dx, dy) to move `after` there, pixels.
    """
    observed = before.valid & after.valid
    tops, lefts = (_spread(length) for length in observed.shape)
    centres, shifts = [], []
    for top in tops:
        for left in lefts:
            cut = np.s_[top : top + _SHIFT_BLOCK, left : left + _SHIFT_BLOCK]
            seen = observed[cut]
            if seen.mean() < 0.9:
                continue
            found = alignment(before.pixels[cut], seen, after.pixels[cut], seen)
            if found.significance >= MIN_BLOCK_SIGNIFICANCE and found.consistency >= MIN_BLOCK_CONSISTENCY:
                centres.append((left + (_SHIFT_BLOCK - 1) / 2, top + (_SHIFT_BLOCK - 1) / 2))
                shifts.append((found.dx, found.dy))
    return np.array(centres, dtype=np.float64).reshape(-1, 2), np.array(shifts, dtype=np.float64).reshape(-1, 2)


def are_displaced(
    shifts: NDArray[np.float64], further_than_px: float = MAX_BLOCK_SHIFT_PX, share: float = MAX_DISPLACED
) -> bool:
    """Whether too many blocks lie too far off. Too few blocks tell nothing."""
    displaced = int((shifts > further_than_px).sum())
    return len(shifts) >= MIN_BLOCKS and displaced >= max(MIN_DISPLACED, share * len(shifts))


def _spread(length: int) -> list[int]:
    """Where blocks begin along a side: at most `_SHIFT_BLOCKS`, evenly spread."""
    count = min(_SHIFT_BLOCKS, length // _SHIFT_BLOCK)
    return [int(v) for v in np.linspace(0, length - _SHIFT_BLOCK, count)] if count else []
