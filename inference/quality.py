"""The gate before the model: pictures in which structures cannot be seen are refused, with the reason."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.raster import Raster
from inference.reasons import Reason

MIN_SIDE_PX = 64
MIN_SHARPNESS = 0.18
"""Fine over coarse detail. Measured on the training imagery: 0.52 to 1.4 as taken, 0.14 to 0.22 after a blur of
two pixels, 0.11 to 0.18 after three."""
_DARK_P95 = 30
_BRIGHT_P05 = 200
_WHITE_SHARE = 0.6
_MEASURED_SIDE = 1024


def picture_problems(raster: Raster, side: str) -> list[Reason]:
    """Reasons to refuse one picture; `side` is `before` or `after` and goes into the sentence."""
    if min(raster.height, raster.width) < MIN_SIDE_PX:
        values = {"side": side, "width": raster.width, "height": raster.height, "minimum": MIN_SIDE_PX}
        return [Reason("too_small", values)]
    gray, valid = _centre(raster)
    if not valid.any():
        return [Reason("nodata", {"observed_percent": 0})]
    seen = gray[valid]
    low, high = np.percentile(seen, (5, 95))
    if high < _DARK_P95:
        return [Reason("too_dark", {"side": side})]
    if low > _BRIGHT_P05 or float((seen > 245).mean()) > _WHITE_SHARE:
        return [Reason("too_bright", {"side": side})]
    if sharpness(gray, valid) < MIN_SHARPNESS:
        return [Reason("too_blurred", {"side": side})]
    return []


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


def sharpness(gray: NDArray[np.uint8], valid: NDArray[np.bool_]) -> float:
    """Energy of detail finer than 1 px (Gaussian sigma) over that between 1 and 4 px; light cancels out."""
    values = gray.astype(np.float32)
    fine, coarse = cv2.GaussianBlur(values, (0, 0), 1.0), cv2.GaussianBlur(values, (0, 0), 4.0)
    inner = cv2.erode(valid.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    if not inner.any():
        return 0.0
    return float((values - fine)[inner].std() / ((fine - coarse)[inner].std() + 1e-3))


def _centre(raster: Raster) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Grey values and mask of the middle of the picture, at full resolution (resizing would hide blur)."""
    top = max(0, (raster.height - _MEASURED_SIDE) // 2)
    left = max(0, (raster.width - _MEASURED_SIDE) // 2)
    cut = np.s_[top : top + _MEASURED_SIDE, left : left + _MEASURED_SIDE]
    gray = cv2.cvtColor(raster.pixels[cut], cv2.COLOR_RGB2GRAY)
    return np.asarray(gray, dtype=np.uint8), raster.valid[cut]
