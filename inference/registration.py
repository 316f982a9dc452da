"""Lay `after` over `before`, and know whether it worked.

Every candidate placement is judged by one measure, `alignment` (inference.correlation). Candidates, in order: the
georeference; the pictures as they are; shifted by the measured displacement; turned by a few degrees; warped by
matching points (SIFT, Lowe 2004, or learned, with MAGSAC++, Barath et al., CVPR 2020). Photographs taken by hand go
another way, see `inference.planes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from rasterio.warp import Resampling, reproject

from datasets.raster import Raster
from inference.correlation import Alignment, alignment, are_displaced, block_displacements, block_shifts
from inference.matching import bundled
from inference.pair import Pair, Registration
from inference.planes import Planes, fit_surely
from inference.reasons import Reason

TOLERATED_SHIFT_PX = 4.0
"""A displacement up to this stays uncorrected: imagery leans by as much, and the network is trained for it."""
MAX_GEOREFERENCE_SHIFT_PX = 8.0
MIN_OVERLAP = 0.25
MAX_SCALE = 4.0
TURNS = tuple(degrees for size in range(1, 7) for degrees in (size, -size))
"""Turns that are tried, in degrees. Of 39 labelled pairs turned by 2 degrees 34 are found significant so, of 39 pairs
of different places none."""
_TURN_SIDE = 512
_FITS, _MIN_BLOCKS = 2, 4
_MIN_INLIERS = 12
_FEATURE_SIDE, _PHOTOGRAPH_SIDE = 1600, 640

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Points = tuple[NDArray[np.float32], NDArray[np.float32]]
Matches = tuple[NDArray[np.float32], NDArray[np.float32]]


class NotComparable(Exception):
    """The pair must not be judged; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason.say("en"))


def register(before: Raster, after: Raster, domain: Literal["overhead", "ground"] = "overhead") -> Pair:
    """Bring two rasters onto the grid of `before`.

    Photographs taken by hand (`ground`) are laid on each other plane by plane through matching points, however well
    they seem to fit as they are: a common skyline is enough for that, and turned by two degrees it still is.

    Raises:
        NotComparable: no placement can be shown to be right (`no_overlap`, `misregistered`,
            `resolution_mismatch`, of photographs `mirrored`).
    """
    if domain == "ground":
        return _register_photographs(before, after)
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
    """As they are, shifted, or warped by matching points: whichever comes first and leaves no block displaced.

    A small turn or magnification still has one clear peak, but leaves the edges off. Where nothing fits everywhere,
    the first that fits as a whole is taken, and it is for the gate (inference.quality) to say whether that will do.
    """
    first: Pair | None = None
    for pair in _placements(before, after):
        if not are_displaced(block_shifts(pair.before, pair.after)):
            return pair
        first = first or pair
    if first is None:
        raise NotComparable(Reason("no_overlap"))
    return first


def _placements(before: Raster, after: Raster) -> Iterator[Pair]:
    """Placements that fit as a whole, the simplest first."""
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
            yield _pair(before, pixels, valid, after, model, 0, found.shift_px)
        elif found.is_significant:
            shifting = np.array([[1, 0, found.dx], [0, 1, found.dy], [0, 0, 1.0]]) @ scaling
            placed = _place(before, after, shifting)
            if placed is not None:
                yield _pair(before, *placed[:2], after, "similarity", 0, placed[2])
        turning = _turning(before, replace(after, pixels=pixels, valid=valid))
        placed = None if turning is None else _place(before, after, turning @ scaling)
        if placed is not None:
            yield _pair(before, *placed[:2], after, "similarity", 0, placed[2])
    for matches in (sift_matches, bundled().matches):
        matched = _homography(*matches(before, after))
        placed = None if matched is None else _place(before, after, matched[0])
        if matched is not None and placed is not None:
            yield _pair(before, *placed[:2], after, "homography", matched[1], placed[2])


def _turning(before: Raster, after: Raster) -> NDArray[np.float64] | None:
    """The similarity that turns `after` into place, both of one size; None if no turn that is tried fits.

    The displacements left in blocks then correct what the steps of the search, and a magnification, leave over.
    """
    size = (before.width, before.height)
    scale = min(1.0, _TURN_SIDE / max(size))
    small = (max(8, round(size[0] * scale)), max(8, round(size[1] * scale)))
    shrinking = _scaling(size, small)
    first, first_seen = _warp(before, shrinking, small)
    pixels, valid = _warp(after, shrinking, small)
    shrunk = replace(after, pixels=pixels, valid=valid)
    best: tuple[Alignment, NDArray[np.float64]] | None = None
    for degrees in TURNS:
        turn = np.eye(3)
        turn[:2] = cv2.getRotationMatrix2D(((small[0] - 1) / 2, (small[1] - 1) / 2), degrees, 1.0)
        found = alignment(first, first_seen, *_warp(shrunk, turn, small))
        if best is None or found.significance > best[0].significance:
            best = found, turn
    if best is None or not best[0].is_significant:
        return None
    found, turn = best
    shift = np.array([[1, 0, found.dx], [0, 1, found.dy], [0, 0, 1.0]])
    transform = np.linalg.inv(shrinking) @ shift @ turn @ shrinking
    for _ in range(_FITS):
        pixels, valid = _warp(after, transform, size)
        centres, shifts = block_displacements(before, replace(after, pixels=pixels, valid=valid))
        if len(centres) < _MIN_BLOCKS:
            break
        left, _ = cv2.estimateAffinePartial2D(centres, centres + shifts, method=cv2.RANSAC, ransacReprojThreshold=2.0)
        if left is None:
            break
        transform = np.vstack([left, [0, 0, 1]]) @ transform
    return np.asarray(transform, dtype=np.float64)


def lay(before: Raster, after: Raster) -> Planes:
    """Where one photograph lies on the other, by matching points.

    SIFT comes first, as it is the faster and the more exact, the learned matcher where SIFT is not sure. A facade may
    be so even that it fits its own mirror image too; then it fits the photograph flipped back better still.

    Raises:
        NotComparable: it cannot be shown to lie anywhere (`no_overlap`), or only flipped (`mirrored`).
    """
    flipped = replace(after, pixels=after.pixels[:, ::-1].copy(), valid=after.valid[:, ::-1].copy())
    first, second, third = (_sift_points(r, _PHOTOGRAPH_SIDE) for r in (before, after, flipped))
    sizes = (after.width, after.height), (before.width, before.height)
    planes = fit_surely(*_sift_pairs(first, second), *sizes) or fit_surely(*bundled().matches(before, after), *sizes)
    mirrored = fit_surely(*_sift_pairs(first, third), *sizes)
    if mirrored is not None and (planes is None or mirrored.inliers > planes.inliers):
        raise NotComparable(Reason("mirrored"))
    if planes is None:
        raise NotComparable(Reason("no_overlap"))
    return planes


def _register_photographs(before: Raster, after: Raster) -> Pair:
    planes = lay(before, after)
    pair = _pair(before, *planes.warp(after), after, "homography", planes.inliers, planes.residual_px)
    outline = tuple((round(x, 1), round(y, 1)) for x, y in planes.overlap.exterior.coords[:-1])
    told = replace(pair.registration, planes=len(planes.matrices), overlap_polygon=outline)
    return replace(pair, registration=told)


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


def sift_matches(before: Raster, after: Raster) -> Matches:
    """Matching points by SIFT: (N, 2) pixels of `after` and the (N, 2) pixels of `before` they belong to."""
    return _sift_pairs(_sift_points(before, _FEATURE_SIDE), _sift_points(after, _FEATURE_SIDE))


def _sift_points(raster: Raster, side: int) -> Points:
    """Pixels (N, 2) and descriptors (N, 128) of points, looked for at a longer side of `side` at most."""
    scale = min(1.0, side / max(raster.height, raster.width))
    gray = cv2.cvtColor(raster.pixels, cv2.COLOR_RGB2GRAY)
    if scale < 1:
        gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(raster.valid.astype(np.uint8), gray.shape[::-1], interpolation=cv2.INTER_NEAREST)
    keypoints, found = cv2.SIFT.create(nfeatures=6000, contrastThreshold=0.02).detectAndCompute(gray, mask)
    if found is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    xy = (np.array([k.pt for k in keypoints], dtype=np.float32) + 0.5) / scale - 0.5
    # RootSIFT: Arandjelovic & Zisserman, CVPR 2012.
    return xy.astype(np.float32), np.sqrt(found / (found.sum(axis=1, keepdims=True) + 1e-7))


def _sift_pairs(before: Points, after: Points) -> Matches:
    if min(len(before[0]), len(after[0])) < _MIN_INLIERS:
        return np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)
    nearest = cv2.BFMatcher().knnMatch(after[1], before[1], k=2)
    good = [m for m, n in nearest if m.distance < 0.8 * n.distance]
    return after[0][[m.queryIdx for m in good]], before[0][[m.trainIdx for m in good]]


def _homography(source: NDArray[np.float32], target: NDArray[np.float32]) -> tuple[NDArray[np.float64], int] | None:
    """Homography through matching points, and its inliers; None if there is none."""
    if len(source) < _MIN_INLIERS:
        return None
    fit, inliers = cv2.findHomography(source, target, cv2.USAC_MAGSAC, 3.0, maxIters=10_000, confidence=0.9999)
    if fit is None or int(inliers.sum()) < _MIN_INLIERS:
        return None
    transform = np.asarray(fit, dtype=np.float64)
    _check_scale(_mean_scale(transform))
    return transform, int(inliers.sum())
