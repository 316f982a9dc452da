"""The gate before the model: pictures in which structures cannot be seen are refused, with the reason.

Every measure is a plain statistic of the picture. The figures beside the bounds were measured on 39 crops of 512 px
of the validation pairs, as taken and spoilt (tests/benchmarks/gate.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.raster import Raster
from inference.correlation import are_displaced, block_shifts
from inference.pair import Pair
from inference.reasons import Reason

MIN_SIDE_PX = 64
MIN_SHARPNESS = 0.24
"""Pictures as taken have 0.47 and more, after a blur of 0.8 px 0.28, after JPEG of quality 60 0.43; after a blur of
3 px at most 0.12, enlarged fourfold 0.17 to 0.21."""
MIN_PLACED_SHARPNESS = 0.22
"""Of the later date on the grid of the earlier. Laying it there costs some sharpness; a date four times coarser is
as blurred as one enlarged fourfold."""
REFUSED_SHIFT_PX, REFUSED_DISPLACED = 11.0, 0.3
"""If no placement does better than so large a share of blocks so far off, there is none. Streets of towers, which lean
apart, reach two blocks of seven at 11 to 15 px as they were taken; a new placement is looked for earlier
(`inference.correlation`)."""
MIN_DIRECTION, MIN_EVENNESS = 0.25, 0.45
"""Moved by 15 px while exposed: detail of 0.06 to 0.21 in the dullest direction, 0.25 to 0.38 of that in the sharpest.
An even blur of 0.8 px has as little (0.17 to 0.23), but in every direction (0.70 and more); pictures as taken may be as
uneven (0.46), but not as dull (0.29 and more). Measured on six crops of three sets."""
_DARK_P95 = 30
_BRIGHT_P05 = 200
_WHITE_SHARE = 0.6
MAX_CLOUD = 0.4
"""With two thirds under cloud 0.46 to 0.63, with 85 % under thin cloud 0.73 and more; without 0.08 at most."""
MAX_DARKEST = 120.0
"""Haze of 65 % 158 and more, of 15 % at most 79, pictures as taken at most 56."""
MIN_CONTRAST = 0.022
"""Pictures as taken 0.037 and more, with haze of 15 % 0.025; with a gain of 0.15 at most 0.021."""
MIN_DETAIL_OVER_NOISE = 0.62
"""Twice what white noise alone has. Pictures as taken 1.14 and more, with noise of 6 grey levels 0.71; with 50 at most
0.61, at night with the shadows lifted 0.39."""
MAX_BLOCKINESS = 3.0
"""JPEG of quality 3 has 3.7 and more, of quality 60 2.0 at most."""
_MEASURED_SIDE = 1024
_BLOCK = 16
_ROUNDING = 0.08
"""Variance that rounding to whole grey levels adds to the finest detail; it must not pass for sharpness."""


@dataclass(frozen=True, slots=True)
class Measures:
    """What the gate knows of one picture, of the pixels that were seen.

    Attributes:
        sharpness: energy of detail finer than 1 px (Gaussian sigma) over that between 1 and 4 px; light cancels out.
        direction, evenness: steps from pixel to pixel in the dullest of four directions over the energy of detail
            finer than 4 px; the same over those in the sharpest direction.
        contrast: energy of detail between 1 and 4 px over the mean grey value (Weber).
        darkest: 2nd percentile of the dark channel, 0..255: haze adds light where there should be shadow (He et al.,
            "Single image haze removal using dark channel prior", CVPR 2009).
        detail_over_noise: energy of detail between 1 and 4 px over the noise in the quietest tenth of the blocks;
            0.31 where there is nothing but white noise.
        blockiness: steps between neighbours on the 8 px grid of JPEG over those off it.
    """

    sharpness: float
    direction: float
    evenness: float
    contrast: float
    darkest: float
    detail_over_noise: float
    blockiness: float

    @property
    def is_streaked(self) -> bool:
        """Blurred along one direction, as by a camera that moved."""
        return self.direction < MIN_DIRECTION and self.evenness < MIN_EVENNESS


def picture_problems(raster: Raster, side: str, *, overhead: bool = True) -> list[Reason]:
    """Reasons to refuse one picture; `side` is `before` or `after` and goes into the sentence.

    Cloud is looked for in overhead imagery only: in a photograph it is the sky.
    """
    if min(raster.height, raster.width) < MIN_SIDE_PX:
        values = {"side": side, "width": raster.width, "height": raster.height, "minimum": MIN_SIDE_PX}
        return [Reason("too_small", values)]
    pixels, valid = _centre(raster)
    if not valid.any():
        return [Reason("nodata", {"observed_percent": 0})]
    if (reason := hidden(pixels, valid, side, overhead=overhead)) is not None:
        return [reason]
    measures = measure(pixels, valid)
    if measures is None or measures.sharpness < MIN_SHARPNESS or measures.is_streaked:
        return [Reason("too_blurred", {"side": side})]
    if measures.darkest > MAX_DARKEST or measures.contrast < MIN_CONTRAST:
        return [Reason("hazy", {"side": side})]
    if measures.detail_over_noise < MIN_DETAIL_OVER_NOISE:
        return [Reason("too_noisy", {"side": side})]
    if measures.blockiness > MAX_BLOCKINESS:
        return [Reason("over_compressed", {"side": side})]
    return []


def hidden(pixels: NDArray[np.uint8], valid: NDArray[np.bool_], side: str, *, overhead: bool = True) -> Reason | None:
    """Why nothing can be seen of the ground, however sharp the picture: night, glare or, in overhead imagery, cloud.

    Args:
        pixels, valid: (H, W, 3) uint8 and (H, W) bool, of which some are seen.
    """
    gray = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    levels = _histogram(gray, valid)
    if _percentile(levels, 95) < _DARK_P95:
        return Reason("too_dark", {"side": side})
    if _percentile(levels, 5) > _BRIGHT_P05 or levels[246:].sum() > _WHITE_SHARE * levels.sum():
        return Reason("too_bright", {"side": side})
    share = _cloud_share(pixels, gray, valid) if overhead else 0.0
    return Reason("cloud", {"side": side, "cloud_percent": round(100 * share)}) if share > MAX_CLOUD else None


def _cloud_share(pixels: NDArray[np.uint8], gray: NDArray[np.uint8], valid: NDArray[np.bool_]) -> float:
    """Share of the blocks seen as a whole that are bright, colourless and without detail, 0..1."""
    whole = _means(valid.astype(np.float32)) == 1
    if not whole.any():
        return 0.0
    brightest, darkest = _extremes(pixels)
    values = gray.astype(np.float32)
    detail = cv2.GaussianBlur(values, (0, 0), 1.0) - cv2.GaussianBlur(values, (0, 0), 4.0)
    variance = _means(detail * detail) - _means(detail) ** 2
    cloudy = (_means(values) > 170) & (_means((brightest - darkest).astype(np.float32)) < 25) & (variance < 6**2)
    return float(cloudy[whole].mean())


def picture_notes(raster: Raster, side: str) -> list[Reason]:
    """What to keep in mind about one picture that can be used."""
    sample = raster.pixels[::4, ::4].astype(np.int16)
    colourless = int(np.ptp(sample, axis=2).max(initial=0)) <= 2
    return [Reason("grayscale", {"side": side})] if colourless else []


def pair_problems(before: Raster, after: Raster) -> list[Reason]:
    """Reasons to refuse two pictures together, before any attempt to align them."""
    if same_image(before, after):
        return [Reason("same_image")]
    a, b = before.captured_at, after.captured_at
    if a and b and (a.tzinfo is None) == (b.tzinfo is None) and a > b:
        return [Reason("wrong_order", {"before": f"{a:%Y-%m-%d %H:%M}", "after": f"{b:%Y-%m-%d %H:%M}"})]
    return []


def placement_problems(pair: Pair) -> list[Reason]:
    """Reasons to refuse two overhead pictures that were laid on one grid, whatever is said of how that went."""
    measures = measure(*_centre(pair.after))
    if measures is None or measures.sharpness < MIN_PLACED_SHARPNESS:
        return [Reason("too_blurred", {"side": "after"})]
    shifts = block_shifts(pair.before, pair.after)
    if are_displaced(shifts, REFUSED_SHIFT_PX, REFUSED_DISPLACED):
        return [Reason("misregistered", {"residual_px": round(float(np.percentile(shifts, 90)), 1)})]
    return []


def same_image(before: Raster, after: Raster) -> bool:
    """Whether both are one picture, re-encoded or resized perhaps: two dates never agree to a few grey levels."""
    if abs(np.log(before.width * after.height / (before.height * after.width))) > 0.01:
        return False
    size = (min(before.width, after.width, 256), min(before.height, after.height, 256))
    a, b = (_softened(r.pixels, size) for r in (before, after))
    difference = np.abs(a - b).mean(axis=2)
    return bool(difference.mean() < 2.0 and np.percentile(difference, 99.5) < 12.0)


def _softened(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    """Without the finest detail, which a lossy encoder does not keep."""
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 1.5), dtype=np.float32)


def measure(pixels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> Measures | None:
    """Measure a picture, (H, W, 3) uint8, where `valid`, (H, W) bool. None if nowhere enough of it was seen."""
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    soft, softer = cv2.GaussianBlur(gray, (0, 0), 1.0), cv2.GaussianBlur(gray, (0, 0), 4.0)
    fine, detail = gray - soft, soft - softer
    inner = cv2.erode(valid.astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=0) > 0
    whole = _blocks(inner).all(axis=1)
    if not whole.any():
        return None
    energy = float(detail[inner].std())
    steps = _directions(gray - softer, inner)
    fine_energy = float(np.sqrt(max(0.0, float(fine[inner].var()) - _ROUNDING)))
    # Median over its expectation for normal noise: a few edges in a block do not count.
    noise = np.median(np.abs(_blocks(fine)[whole]), axis=1) / 0.6745
    dark_channel = cv2.erode(_extremes(pixels)[1], np.ones((7, 7), np.uint8))
    return Measures(
        sharpness=fine_energy / (energy + 1e-3),
        direction=min(steps),
        evenness=min(steps) / (max(steps) + 1e-6),
        contrast=energy / (float(gray[inner].mean()) + 1.0),
        darkest=_percentile(_histogram(dark_channel, inner), 2),
        detail_over_noise=energy / (float(np.percentile(noise, 10)) + 0.1),
        blockiness=max(_blockiness(gray, inner), _blockiness(gray.T, inner.T)),
    )


def _histogram(values: NDArray[Any], where: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many of (H, W) uint8 have each of the 256 values."""
    return cv2.calcHist([values], [0], where.astype(np.uint8), [256], [0, 256]).ravel().astype(np.int64)


def _percentile(histogram: NDArray[np.int64], share: float) -> float:
    """As `np.percentile` of the values, which would sort them all."""
    reached = np.cumsum(histogram)
    place = share / 100 * (reached[-1] - 1)
    low, high = np.searchsorted(reached, (math.floor(place), math.ceil(place)), side="right")
    return float(low + (high - low) * (place - math.floor(place)))


def _directions(values: NDArray[np.float32], inner: NDArray[np.bool_]) -> list[float]:
    """Energy of second differences along rows, columns and both diagonals, over that of the values."""
    energy = float(values[inner].std()) + 1e-3
    result = []
    for dy, dx, length in ((0, 1, 1), (1, 0, 1), (1, 1, 2), (1, -1, 2)):
        kernel = np.zeros((3, 3), dtype=np.float32)
        kernel[1, 1], kernel[1 + dy, 1 + dx], kernel[1 - dy, 1 - dx] = -1.0, 0.5, 0.5
        result.append(float(cv2.filter2D(values, -1, kernel)[inner].std()) / (energy * length))
    return result


def _extremes(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(H, W) largest and smallest of the bands; band against band is many times as fast as along the axis of three."""
    red, green, blue = (pixels[..., band] for band in range(3))
    return np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)


def _means(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) -> (H // 16, W // 16), mean of each block."""
    rows, columns = values.shape[0] // _BLOCK, values.shape[1] // _BLOCK
    cut = values[: rows * _BLOCK, : columns * _BLOCK]
    return np.asarray(cv2.resize(cut, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _blocks(values: NDArray[Any]) -> NDArray[Any]:
    """(H, W) -> (blocks, pixels of a block); what is left at the lower and right edge is dropped."""
    rows, columns = values.shape[0] // _BLOCK, values.shape[1] // _BLOCK
    cut = values[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return cut.swapaxes(1, 2).reshape(rows * columns, _BLOCK * _BLOCK)


def _blockiness(gray: NDArray[np.float32], inner: NDArray[np.bool_]) -> float:
    """Mean step between neighbouring columns at the worst of the eight phases of the grid, over the median phase."""
    both = inner[:, 1:] & inner[:, :-1]
    steps = np.where(both, np.abs(np.diff(gray, axis=1)), 0).sum(axis=0)
    counts = both.sum(axis=0)
    phases = [steps[k::8].sum() / max(1, counts[k::8].sum()) for k in range(8)]
    return float(max(phases) / (np.median(phases) + 0.1))


def _centre(raster: Raster) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Pixels and mask of the middle of the picture, at full resolution (resizing would hide blur)."""
    top = max(0, (raster.height - _MEASURED_SIDE) // 2)
    left = max(0, (raster.width - _MEASURED_SIDE) // 2)
    cut = np.s_[top : top + _MEASURED_SIDE, left : left + _MEASURED_SIDE]
    return raster.pixels[cut], raster.valid[cut]
