"""Where the windows of a scan lie, and which of the ground they look at belongs to the area.

The network works at stride 16: moved by a few pixels against that lattice it sees another picture, and its
probabilities move by as much as 0.9. So windows start on multiples of 16 of the lattice that the coordinates
themselves span, which is the same for every cut of a scene. Its effective receptive radius, measured on real and
generated pairs as the largest difference between the middle of a 512 px window and the same pixels in a picture of
1024 px: 0.08 at 80 px from the edge, 0.03 at 96, 0.011 at 112, 0.005 at 128, below 0.0003 at 160.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry

from datasets.scene import Grid

SIDE = 1024
"""What the network sees at once, pixels a side. Larger loses less to margins and needs more memory, twice."""
MARGIN = 120
BLEND = 16
"""So far the kept parts of neighbours overlap; there one passes into the other."""
STEP = SIDE - 2 * MARGIN - BLEND
ALIGN = 16


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels of the grid; rows and columns may lie outside of it."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    def clipped(self, other: Box) -> Box:
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def within(self, other: Box) -> tuple[slice, slice]:
        """Where it lies in an array that covers a larger rectangle."""
        rows = slice(self.top - other.top, self.bottom - other.top)
        return rows, slice(self.left - other.left, self.right - other.left)


@dataclass(frozen=True, slots=True)
class Window:
    """The unit of a scan.

    Attributes:
        row, column: its number.
        seen: what the network is shown; its sides are multiples of 16.
        kept: whose probabilities are kept; overlaps its neighbours by `BLEND`.
    """

    row: int
    column: int
    seen: Box
    kept: Box

    @property
    def key(self) -> str:
        return f"{self.row:05d}_{self.column:05d}"


@dataclass(frozen=True, slots=True)
class Lattice:
    """All windows of a grid.

    Attributes:
        tops, lefts: where the rows and columns of windows start, before they are clipped.
        frame: what of the surroundings there is imagery of.
    """

    height: int
    width: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    frame: Box

    def window(self, row: int, column: int) -> Window:
        top, left = self.tops[row], self.lefts[column]
        seen = Box(top, left, top + SIDE, left + SIDE).clipped(self.frame)
        kept = Box(top + MARGIN, left + MARGIN, top + SIDE - MARGIN, left + SIDE - MARGIN)
        return Window(row, column, seen, kept.clipped(Box(0, 0, self.height, self.width)))

    def row(self, row: int) -> Iterator[Window]:
        return (self.window(row, column) for column in range(len(self.lefts)))

    def strip(self, row: int) -> tuple[int, int]:
        """First and last row of pixels that are final once the windows of this row and of the one above are done."""
        start = self.tops[row] + MARGIN
        return max(0, start), min(self.height, start + STEP)


def lattice(grid: Grid, extent: tuple[int, int, int, int], origin: tuple[int, int] = (0, 0)) -> Lattice:
    """Lay out the windows of a grid.

    Args:
        extent: (top, left, bottom, right) of the imagery in pixels of the grid; it may reach beyond it.
        origin: (row, column) that the windows are moved by, down to the next multiple of 16.
    """
    phase = tuple(offset % ALIGN for offset in grid.offset)
    starts = [_starts(side, p, o) for side, p, o in zip((grid.height, grid.width), phase, origin, strict=True)]
    top, left = (_floor(low, p) for low, p in zip(extent[:2], phase, strict=True))
    bottom, right = (-_floor(-high, -p) for high, p in zip(extent[2:], phase, strict=True))
    return Lattice(grid.height, grid.width, starts[0], starts[1], Box(top, left, bottom, right))


def _floor(pixel: int, phase: int) -> int:
    """The last pixel up to this one that lies on the lattice of the network."""
    return pixel - (pixel + phase) % ALIGN


def _starts(length: int, phase: int, origin: int) -> tuple[int, ...]:
    # The first window keeps its upper rows of blending outside of the grid, so that no row is left to half a weight.
    latest = -MARGIN - BLEND
    first = _floor(latest - (-origin) % STEP, phase) if origin % STEP else _floor(latest, phase)
    count = -(-(length - first - MARGIN) // STEP)
    return tuple(first + i * STEP for i in range(count))


def inside(area: BaseGeometry | None, grid: Grid, box: Box) -> NDArray[np.bool_]:
    """(H, W) bool: pixels of a rectangle whose centre lies in the area, given in the CRS of the grid."""
    shape = (box.height, box.width)
    if area is None:
        return np.ones(shape, dtype=np.bool_)
    transform = grid.part(box.top, box.left, box.height, box.width).transform
    corners = [transform @ corner for corner in ((0, 0), (box.width, 0), (box.width, box.height), (0, box.height))]
    outline = shapely.Polygon(corners)
    if area.contains(outline):
        return np.ones(shape, dtype=np.bool_)
    if not area.intersects(outline):
        return np.zeros(shape, dtype=np.bool_)
    mask: NDArray[np.bool_] = geometry_mask([area], out_shape=shape, transform=transform, invert=True)
    return mask
