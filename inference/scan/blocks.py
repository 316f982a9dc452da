"""How well the two dates lie on each other, block by block, and what is done about it.

Blocks lie on the lattice of the coordinates and not of the windows, and what is corrected passes smoothly from one
to the next: windows that overlap see the same pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.raster import Raster
from datasets.scene import Grid
from inference.correlation import alignment
from inference.quality import hidden
from inference.scan.windows import Box

BLOCK = 512
MAX_SHIFT_PX = 8.0
LEFT_ALONE_PX = 1.0
"""A smaller displacement is not corrected: the network is trained for it, resampling costs detail."""
MIN_SEEN = 0.25
"""Below this share of a block no displacement is measured in it."""

Displacement = tuple[NDArray[np.float32], NDArray[np.float32]]
"""dx and dy of each pixel, (H, W) float32."""


@dataclass(frozen=True, slots=True)
class Block:
    """What was measured in one block.

    Attributes:
        dx, dy: move `after` by this many pixels; NaN where it could not be measured.
        reason: code of why the block counts as not observed, or None.
    """

    dx: float
    dy: float
    reason: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """All blocks of a grid, (rows, columns) each.

    Attributes:
        top, left: pixel of the grid where the first block starts, 0 or less.
        dx, dy: float32, displacement that is corrected: the median of what was measured here and next to it.
        measured: float32, length of the displacement as measured, NaN where it could not be.
        refused: <U16, code of why a block is not observed, or "".
    """

    top: int
    left: int
    dx: NDArray[np.float32]
    dy: NDArray[np.float32]
    measured: NDArray[np.float32]
    refused: NDArray[np.str_]

    def displacement(self, box: Box) -> Displacement | None:
        """(dx, dy), (H, W) float32 each, between the centres of blocks; None if nothing is to be corrected."""
        if not (self.dx.any() or self.dy.any()):
            return None
        rows = (np.arange(box.top, box.bottom, dtype=np.float32) - self.top + 0.5) / BLOCK - 0.5
        columns = (np.arange(box.left, box.right, dtype=np.float32) - self.left + 0.5) / BLOCK - 0.5
        shifts = []
        for values in (self.dx, self.dy):
            r, c = (np.clip(x, 0, n - 1) for x, n in zip((rows, columns), values.shape, strict=True))
            low_r, low_c = r.astype(int), c.astype(int)
            high_r, high_c = (np.minimum(i + 1, n - 1) for i, n in zip((low_r, low_c), values.shape, strict=True))
            part_r, part_c = (r - low_r)[:, None], (c - low_c)[None]
            upper = values[np.ix_(low_r, low_c)] * (1 - part_c) + values[np.ix_(low_r, high_c)] * part_c
            lower = values[np.ix_(high_r, low_c)] * (1 - part_c) + values[np.ix_(high_r, high_c)] * part_c
            shifts.append((upper * (1 - part_r) + lower * part_r).astype(np.float32))
        return (shifts[0], shifts[1]) if any(s.any() for s in shifts) else None

    def reasons(self, box: Box) -> dict[str, NDArray[np.bool_]]:
        """Code of why pixels are not observed -> (H, W) where."""
        rows = np.clip((np.arange(box.top, box.bottom) - self.top) // BLOCK, 0, self.refused.shape[0] - 1)
        columns = np.clip((np.arange(box.left, box.right) - self.left) // BLOCK, 0, self.refused.shape[1] - 1)
        refused = self.refused[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        spread = np.ix_(rows - rows.min(), columns - columns.min())
        return {str(code): (refused == code)[spread] for code in np.unique(refused) if code}

    def around(self, box: Box) -> Field:
        """The part that a rectangle needs."""
        first = [max(0, (p - o) // BLOCK - 1) for p, o in ((box.top, self.top), (box.left, self.left))]
        last = [(p - o) // BLOCK + 2 for p, o in ((box.bottom, self.top), (box.right, self.left))]
        first = [min(f, n - 1) for f, n in zip(first, self.dx.shape, strict=True)]
        cut = np.s_[first[0] : max(last[0], first[0] + 1), first[1] : max(last[1], first[1] + 1)]
        top, left = self.top + first[0] * BLOCK, self.left + first[1] * BLOCK
        return Field(top, left, self.dx[cut], self.dy[cut], self.measured[cut], self.refused[cut])


def block_box(grid: Grid, row: int, column: int) -> Box:
    top, left = (-(offset % BLOCK) for offset in grid.offset)
    return Box(top + row * BLOCK, left + column * BLOCK, top + (row + 1) * BLOCK, left + (column + 1) * BLOCK)


def block_count(grid: Grid) -> tuple[int, int]:
    """Rows and columns of blocks that a grid touches."""
    down, right = grid.offset
    return -(-(grid.height + down % BLOCK) // BLOCK), -(-(grid.width + right % BLOCK) // BLOCK)


def measure(before: Raster, after: Raster) -> Block:
    """Compare the two dates of one block."""
    seen = before.valid & after.valid
    # However little was seen of the block: a strip under cloud along the edge of a scene is not clear ground.
    for raster, side in ((before, "before"), (after, "after")) if seen.any() else ():
        # No more of the gate: a field without detail or a date of coarser pixels is not blurred.
        if (reason := hidden(raster.pixels, raster.valid, side)) is not None:
            return Block(np.nan, np.nan, reason.code)
    if seen.mean() < MIN_SEEN:
        return Block(np.nan, np.nan, None)
    found = alignment(before.pixels, seen, after.pixels, seen)
    if not found.is_significant:
        # Everything may have changed; the coordinates still say that it is the same ground.
        return Block(np.nan, np.nan, None)
    return Block(found.dx, found.dy, "misregistered" if found.shift_px > MAX_SHIFT_PX else None)


def field(grid: Grid, blocks: list[list[Block]]) -> Field:
    """From what was measured to what is corrected."""
    dx, dy = (np.array([[getattr(b, k) for b in row] for row in blocks], dtype=np.float32) for k in ("dx", "dy"))
    refused = np.array([[b.reason or "" for b in row] for row in blocks], dtype="<U16")
    measured = np.hypot(dx, dy)
    usable = np.isfinite(measured) & (refused == "")
    corrected = [_median(np.where(usable, values, np.nan)) for values in (dx, dy)]
    small = np.hypot(*corrected) < LEFT_ALONE_PX
    shift_x, shift_y = (np.where(small, 0, values).astype(np.float32) for values in corrected)
    box = block_box(grid, 0, 0)
    return Field(box.top, box.left, shift_x, shift_y, measured, refused)


def _median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each value and its eight neighbours, leaving out NaN; 0 where there is nothing but NaN."""
    padded = np.pad(values, 1, constant_values=np.nan)
    rows, columns = values.shape
    stack = np.stack([padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)])
    known = np.isfinite(stack).sum(axis=0)
    ordered = np.sort(stack, axis=0)  # NaN last
    pick = np.maximum(known - 1, 0)
    low, high = (np.take_along_axis(ordered, k[None], axis=0)[0] for k in (pick // 2, (pick + 1) // 2))
    return np.where(known > 0, (low + high) / 2, 0).astype(np.float32)


def moved(
    pixels: NDArray[np.uint8], valid: NDArray[np.bool_], shift: Displacement, pad: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Lay `after` over `before`.

    Args:
        pixels, valid: with `pad` more pixels on every side than comes back.
        shift: (dx, dy), (H, W) float32 each.
    """
    height, width = shift[0].shape
    x = np.arange(width, dtype=np.float32)[None] + pad - shift[0]
    y = np.arange(height, dtype=np.float32)[:, None] + pad - shift[1]
    warped = cv2.remap(pixels, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.remap(valid.astype(np.uint8), x, y, cv2.INTER_NEAREST)
    return np.asarray(warped, dtype=np.uint8), seen > 0
