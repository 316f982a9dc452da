"""From points that two photographs have in common to one laid over the other.

A photograph taken by hand from nearly the same place is not one homography away from the first: the ground, a
facade and what stands behind it are each a plane of their own. The plane that most points agree on leads; further
ones are looked for among the points it leaves over and count where their own points lie (cf. Gao, Kim and Brown,
"Constructing image panoramas using dual-homography warping", CVPR 2011).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon, box

from datasets.raster import Raster

Matrix = NDArray[np.float64]
Places = NDArray[np.float32]

MAX_PLANES = 3
MIN_INLIERS = 12
"""Fewer points agree on a plane by chance."""
TOLERANCE = 0.004
"""How far a point may lie off its plane, as a share of the longer side."""
MAX_PARALLAX = 0.1
"""How far a further plane may move its points away from where the first would put them, as a share of the longer
side: from nearly the same place it is not more."""
MAX_SCALE = 4.0
SURE_INLIERS, SURE_SPREAD = 20, 5
"""Points that agree, and cells of the picture they lie in, from which on two photographs show one place. Of labelled
photographs of different places none reached even `MIN_INLIERS` (67 pairs by SIFT, 59 by the learned matcher)."""
_CELLS = 8
_GRID = 48
_MAP_SIDE = 512


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """How one picture lies on another.

    Attributes:
        matrices: 3x3 homographies from pixels of `after` to pixels of `before`, the leading one first.
        points: for each, (N, 2) its inliers in pixels of `before`.
        residual_px: median distance of an inlier from its place, pixels of `before`.
        overlap: where in `before` the leading plane puts the frame of `after`, pixels.
        size: width and height of `before`.
    """

    matrices: tuple[Matrix, ...]
    points: tuple[Places, ...]
    residual_px: float
    overlap: Polygon
    size: tuple[int, int]

    @property
    def inliers(self) -> int:
        return sum(len(p) for p in self.points)

    @property
    def spread(self) -> int:
        """In how many of 8 x 8 cells of `before` there are inliers."""
        cells = np.concatenate(self.points) / np.array(self.size) * _CELLS
        return len({(int(x), int(y)) for x, y in np.clip(cells, 0, _CELLS - 1)})

    @property
    def are_sure(self) -> bool:
        """Whether so many points agree, in so many places, as never do by chance."""
        return self.inliers >= SURE_INLIERS and self.spread >= SURE_SPREAD

    def warp(self, after: Raster) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Pixels of `after` on the grid of `before`, (H, W, 3), and (H, W) which of them were seen."""
        x, y = self.maps()
        valid = cv2.remap(after.valid.astype(np.uint8), x, y, cv2.INTER_NEAREST) > 0
        pixels = after.pixels
        scale = float(np.sqrt(abs(np.linalg.det(self.matrices[0][:2, :2]))))
        if scale < 0.7:  # remapping picks single pixels: what is much finer than the grid is averaged first
            small = (max(1, round(after.width * scale)), max(1, round(after.height * scale)))
            pixels = np.asarray(cv2.resize(pixels, small, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            x, y = (x + 0.5) * (small[0] / after.width) - 0.5, (y + 0.5) * (small[1] / after.height) - 0.5
        return np.asarray(cv2.remap(pixels, x, y, cv2.INTER_LINEAR), dtype=np.uint8), valid

    def maps(self) -> tuple[Places, Places]:
        """(H, W) x and (H, W) y in `after` for each pixel of `before`, float32, as `cv2.remap` takes them.

        Large ones are interpolated between every eighth pixel or so: the planes bend by less than can be seen.
        """
        width, height = self.size
        columns, rows = (min(side, max(2, side // max(1, max(self.size) // _MAP_SIDE))) for side in self.size)
        across, down = (np.linspace(0, side - 1, n) for side, n in zip(self.size, (columns, rows), strict=True))
        x, y = np.meshgrid(across.astype(np.float32), down.astype(np.float32))
        places = [_through(np.asarray(np.linalg.inv(m)), x, y) for m in self.matrices]
        if len(places) > 1:
            weights = [cv2.resize(w, (columns, rows), interpolation=cv2.INTER_LINEAR) for w in self._weights()]
            blended = np.einsum("pyx,pcyx->cyx", np.stack(weights), np.stack(places))
        else:
            blended = np.stack(places[0])
        if (columns, rows) == self.size:
            return blended[0], blended[1]
        step = np.array([[(columns - 1) / (width - 1), 0, 0], [0, (rows - 1) / (height - 1), 0]])
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        spread = (cv2.warpAffine(b, step, self.size, flags=how, borderMode=cv2.BORDER_REPLICATE) for b in blended)
        x, y = (np.asarray(m, dtype=np.float32) for m in spread)
        return x, y

    def _weights(self) -> list[NDArray[np.float32]]:
        """How much each plane counts at each pixel: by how many of its points lie near; without any, the first."""
        density = []
        scale = np.array(self.size) / _GRID
        for points in self.points:
            counts = np.zeros((_GRID, _GRID), np.float32)
            columns, rows = np.clip(points / scale, 0, _GRID - 1).astype(int).T
            np.add.at(counts, (rows, columns), 1)
            near = cv2.GaussianBlur(counts, (0, 0), _GRID / 24, borderType=cv2.BORDER_CONSTANT)
            density.append(np.asarray(near, dtype=np.float32) ** 2)
        density[0] = density[0] + np.float32(1e-4)
        total = np.sum(density, axis=0)
        return [d / total for d in density]


def _through(matrix: Matrix, x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[Places, Places]:
    m = matrix.astype(np.float32)
    depth = m[2, 0] * x + m[2, 1] * y + m[2, 2]
    depth = np.where(depth > 1e-6, depth, np.float32(1e-6))  # behind the camera: far outside
    return (m[0, 0] * x + m[0, 1] * y + m[0, 2]) / depth, (m[1, 0] * x + m[1, 1] * y + m[1, 2]) / depth


def _footprint(matrix: Matrix, after: tuple[int, int], before: tuple[int, int]) -> Polygon | None:
    """The frame of `after` in `before`; None if no camera sees it so: mirrored, folded or beyond the scale."""
    width, height = after
    corners = np.array(
        [[-0.5, -0.5, 1], [width - 0.5, -0.5, 1], [width - 0.5, height - 0.5, 1], [-0.5, height - 0.5, 1]]
    )
    placed = corners @ matrix.T
    if (placed[:, 2] * np.sign(matrix[2, 2]) < 0.1 * abs(matrix[2, 2])).any():
        return None
    outline = Polygon(placed[:, :2] / placed[:, 2:])
    # Of a frame that runs clockwise on the screen the signed area is positive, of its mirror image negative.
    if not outline.is_valid or not outline.exterior.is_ccw or not outline.equals(outline.convex_hull):
        return None
    if not MAX_SCALE**-2 < outline.area / (width * height) < MAX_SCALE**2:
        return None
    common = outline.intersection(box(-0.5, -0.5, before[0] - 0.5, before[1] - 0.5))
    return common if isinstance(common, Polygon) and common.area > 0 else None


def fit(source: Places, target: Places, after: tuple[int, int], before: tuple[int, int]) -> Planes | None:
    """Planes through matching points, (N, 2) pixels of `after` and of `before`, with (width, height) of either.

    By MAGSAC++ (Barath et al., CVPR 2020), again and again on what is left, for as long as that is neither a rim of
    the first plane nor something that moved. None if there is not even one.
    """
    tolerance = TOLERANCE * max(before)
    matrices: list[Matrix] = []
    points: list[Places] = []
    residuals: list[NDArray[np.float64]] = []
    overlap: Polygon | None = None
    left = np.ones(len(source), dtype=np.bool_)
    for _ in range(MAX_PLANES):
        if left.sum() < MIN_INLIERS:
            break
        found, mask = cv2.findHomography(
            source[left], target[left], cv2.USAC_MAGSAC, tolerance, maxIters=5_000, confidence=0.9999
        )
        if found is None or int(mask.sum()) < MIN_INLIERS:
            break
        matrix = np.asarray(found / found[2, 2], dtype=np.float64)
        members = np.flatnonzero(left)[mask.ravel() > 0]
        footprint = _footprint(matrix, after, before)
        placed = cv2.perspectiveTransform(source[members][None].astype(np.float64), matrix)[0]
        if matrices:
            first = cv2.perspectiveTransform(source[members][None].astype(np.float64), matrices[0])[0]
            off = np.hypot(*(first - target[members]).T)
            if footprint is None or off.max() > MAX_PARALLAX * max(before) or np.median(off) < 2 * tolerance:
                break
        elif footprint is None:
            return None
        else:
            overlap = footprint
        matrices.append(matrix)
        points.append(target[members])
        residuals.append(np.hypot(*(placed - target[members]).T))
        left[members] = False
    if overlap is None:
        return None
    residual = float(np.median(np.concatenate(residuals)))
    return Planes(tuple(matrices), tuple(points), residual, overlap, before)


def fit_surely(source: Places, target: Places, after: tuple[int, int], before: tuple[int, int]) -> Planes | None:
    """As `fit`, but None as well if what is found might be there by chance."""
    planes = fit(source, target, after, before)
    return planes if planes is not None and planes.are_sure else None
