"""Lay `after` over `before`, and know whether it worked.

Every candidate placement is judged by one measure, `alignment`: the correlation of gradient orientations of
the two pictures (Fitch et al., "Orientation correlation", BMVC 2002). It does not care about light or season,
needs no single structure to survive, and its peak says both how far the pictures are apart and whether they
show the same ground at all. Candidates, in order: the georeference; the pictures as they are; shifted by the
measured displacement; warped by matching points (SIFT, Lowe 2004, with MAGSAC++, Barath et al., CVPR 2020).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from rasterio.warp import Resampling, reproject

from datasets.raster import Raster
from inference.pair import Pair, Registration
from inference.reasons import Reason

MIN_SIGNIFICANCE, SURE_SIGNIFICANCE = 9.5, 15.0
"""Peak of the correlation in standard deviations. Measured on labelled sets: unrelated places, mirrored and turned
pictures reach 11.9, pairs of the same place start at 9.9, but for two of 96 that are lost in it. Between the two
bounds the peak must be consistent."""
MIN_CONSISTENCY = 5.0
"""A chance peak comes from a few edges that happen to meet and reaches 4.8; pairs of the same place start at 5.8,
but for one of 96."""
TOLERATED_SHIFT_PX = 4.0
"""A displacement up to this stays uncorrected: imagery leans by as much, and the network is trained for it."""
MAX_GEOREFERENCE_SHIFT_PX = 8.0
MIN_OVERLAP = 0.25
MAX_SCALE = 4.0
_MIN_INLIERS = 12
_CORRELATION_SIDE = 512
_BLOCKS = (12, 12)
_FEATURE_SIDE = 1600

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class NotComparable(Exception):
    """The pair must not be judged; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason.say("en"))


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
    gradient = cv2.Sobel(smooth, cv2.CV_32F, 1, 0) + 1j * cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    strength = np.abs(gradient)
    inner = cv2.erode(valid.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    typical = float(np.median(strength[inner])) if inner.any() else 0.0
    result: NDArray[np.complex64] = (gradient / (strength + 0.5 * typical + 1e-3) * inner).astype(np.complex64)
    return result


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
    correlation = np.fft.ifft2(np.fft.fft2(first) * np.conj(np.fft.fft2(second))).real
    deviation = float(correlation.std())
    if deviation == 0:
        return Alignment(0.0, 0.0, 0.0, 0.0)
    row, column = np.unravel_index(int(correlation.argmax()), correlation.shape)
    dy = _signed(int(row), size[1]) + _vertex(correlation[:, column], int(row))
    dx = _signed(int(column), size[0]) + _vertex(correlation[row], int(column))
    significance = float(correlation.max()) / deviation
    consistency = _consistency(first, np.roll(second, (int(row), int(column)), axis=(0, 1)))
    return Alignment(dx * width / size[0], dy * height / size[1], significance, consistency)


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


def register(before: Raster, after: Raster) -> Pair:
    """Bring two rasters onto the grid of `before`.

    Raises:
        NotComparable: no placement can be shown to be right (`no_overlap`, `misregistered`,
            `resolution_mismatch`).
    """
    if before.gsd and after.gsd:
        _check_scale(after.gsd / before.gsd)
    if before.crs is not None and after.crs is not None:
        return _register_by_georeference(before, after)
    return _register_by_content(before, after)


def _check_scale(scale: float) -> None:
    ratio = max(scale, 1 / max(scale, 1e-9))
    if ratio > MAX_SCALE:
        raise NotComparable(Reason("resolution_mismatch", {"ratio": round(ratio, 1)}))


def _pair(
    before: Raster,
    pixels: Image,
    valid: Mask,
    after: Raster,
    model: Literal["georeference", "identity", "similarity", "homography"],
    inliers: int,
    residual: float | None,
) -> Pair:
    seen = float(before.valid.sum())
    overlap = float((before.valid & valid).sum()) / seen if seen else 0.0
    if overlap < MIN_OVERLAP:
        raise NotComparable(Reason("no_overlap"))
    placed = replace(after, pixels=pixels, valid=valid, crs=before.crs, transform=before.transform, gsd=before.gsd)
    rounded = None if residual is None else round(residual, 2)
    return Pair(before, placed, Registration(model, inliers, round(overlap, 4), rounded))


def _register_by_georeference(before: Raster, after: Raster) -> Pair:
    pixels = np.zeros_like(before.pixels)
    valid = np.zeros(before.valid.shape, dtype=np.uint8)
    grid = {
        "src_transform": after.transform,
        "src_crs": after.crs,
        "dst_transform": before.transform,
        "dst_crs": before.crs,
    }
    for band in range(3):
        source = np.ascontiguousarray(after.pixels[..., band])
        target = np.ascontiguousarray(pixels[..., band])
        reproject(source, target, resampling=Resampling.bilinear, **grid)
        pixels[..., band] = target
    reproject(after.valid.astype(np.uint8), valid, resampling=Resampling.nearest, **grid)
    seen = valid > 0
    found = alignment(before.pixels, before.valid, pixels, seen)
    if not found.is_significant:
        # Everything may have changed; the coordinates still say that it is the same ground.
        return _pair(before, pixels, seen, after, "georeference", 0, None)
    if found.shift_px > MAX_GEOREFERENCE_SHIFT_PX:
        raise NotComparable(Reason("misregistered", {"residual_px": round(found.shift_px, 1)}))
    return _pair(before, pixels, seen, after, "georeference", 0, found.shift_px)


def _register_by_content(before: Raster, after: Raster) -> Pair:
    height, width = before.valid.shape
    same_size = after.valid.shape == before.valid.shape
    if abs(np.log((after.width / after.height) / (width / height))) < 0.01:
        scaling = _scaling((after.width, after.height), (width, height))
        pixels, valid = (after.pixels, after.valid) if same_size else _warp(after, scaling, (width, height))
        found = alignment(before.pixels, before.valid, pixels, valid)
        if found.is_significant:
            _check_scale(width / after.width)
        if found.is_significant and found.shift_px <= TOLERATED_SHIFT_PX:
            model: Literal["identity", "similarity"] = "identity" if same_size else "similarity"
            return _pair(before, pixels, valid, after, model, 0, found.shift_px)
        if found.is_significant:
            shifting = np.array([[1, 0, found.dx], [0, 1, found.dy], [0, 0, 1.0]]) @ scaling
            placed = _place(before, after, shifting)
            if placed is not None:
                return _pair(before, *placed[:2], after, "similarity", 0, placed[2])
    matched = _match(before, after)
    if matched is None:
        raise NotComparable(Reason("no_overlap"))
    transform, inliers = matched
    placed = _place(before, after, transform)
    if placed is None:
        raise NotComparable(Reason("no_overlap"))
    return _pair(before, *placed[:2], after, "homography", inliers, placed[2])


def _place(before: Raster, after: Raster, transform: NDArray[np.float64]) -> tuple[Image, Mask, float] | None:
    """Warp and check; None if the result does not lie on `before`."""
    pixels, valid = _warp(after, transform, (before.width, before.height))
    found = alignment(before.pixels, before.valid & valid, pixels, valid & before.valid)
    if not found.is_significant or found.shift_px > TOLERATED_SHIFT_PX:
        return None
    return pixels, valid, found.shift_px


def _warp(raster: Raster, transform: NDArray[np.float64], size: tuple[int, int]) -> tuple[Image, Mask]:
    valid = cv2.warpPerspective(raster.valid.astype(np.uint8), transform, size, flags=cv2.INTER_NEAREST)
    pixels, full = raster.pixels, (raster.width, raster.height)
    scale = _mean_scale(transform)
    if scale < 0.7:  # warping picks single pixels: what is much finer than the grid is averaged first
        small = (max(1, round(full[0] * scale)), max(1, round(full[1] * scale)))
        pixels = np.asarray(cv2.resize(pixels, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        transform = transform @ _scaling(small, full)
    warped = cv2.warpPerspective(pixels, transform, size, flags=cv2.INTER_LINEAR)
    return np.asarray(warped, dtype=np.uint8), valid > 0


def _scaling(source: tuple[int, int], target: tuple[int, int]) -> NDArray[np.float64]:
    """From pixels of a picture of one size (width, height) to those of another, edge on edge.

    OpenCV counts from the centre of the first pixel, which lies half a pixel off the edge in either picture.
    """
    x, y = target[0] / source[0], target[1] / source[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _mean_scale(transform: NDArray[np.float64]) -> float:
    return float(np.sqrt(abs(np.linalg.det(transform[:2, :2]))))


def _match(before: Raster, after: Raster) -> tuple[NDArray[np.float64], int] | None:
    """Homography from `after` to `before` by matching points, and its inliers; None if there is none."""
    sift = cv2.SIFT.create(nfeatures=6000, contrastThreshold=0.02)
    points, descriptors = [], []
    for raster in (before, after):
        scale = min(1.0, _FEATURE_SIDE / max(raster.height, raster.width))
        gray = cv2.cvtColor(raster.pixels, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(raster.valid.astype(np.uint8), gray.shape[::-1], interpolation=cv2.INTER_NEAREST)
        keypoints, found = sift.detectAndCompute(gray, mask)
        if found is None or len(keypoints) < _MIN_INLIERS:
            return None
        points.append((np.array([k.pt for k in keypoints], dtype=np.float32) + 0.5) / scale - 0.5)
        # RootSIFT: Arandjelovic & Zisserman, CVPR 2012.
        descriptors.append(np.sqrt(found / (found.sum(axis=1, keepdims=True) + 1e-7)))
    nearest = cv2.BFMatcher().knnMatch(descriptors[1], descriptors[0], k=2)
    good = [m for m, n in (p for p in nearest if len(p) == 2) if m.distance < 0.8 * n.distance]
    if len(good) < _MIN_INLIERS:
        return None
    source = points[1][[m.queryIdx for m in good]]
    target = points[0][[m.trainIdx for m in good]]
    fit, inliers = cv2.findHomography(source, target, cv2.USAC_MAGSAC, 3.0, maxIters=10_000, confidence=0.9999)
    if fit is None or int(inliers.sum()) < _MIN_INLIERS:
        return None
    transform = np.asarray(fit, dtype=np.float64)
    _check_scale(_mean_scale(transform))
    return transform, int(inliers.sum())
