"""`Pair`: two dates on one grid, and how they came to lie on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datasets.raster import Raster


@dataclass(frozen=True, slots=True)
class Registration:
    """How `after` was laid over `before`.

    Attributes:
        model: `georeference` (both files say where they lie), `identity` (they already fit) or the transform
            estimated from matching points.
        inliers: matching points that agree with the model; 0 where none were needed.
        overlap: share of the grid covered by both pictures, 0..1.
        residual_px: what is left of the displacement after registration, in pixels of the grid; None where it
            could not be measured.
        planes: how many planes the two photographs were laid on each other by; 0 for overhead pictures.
        overlap_polygon: corners (x, y) of what both photographs show, pixels of the grid; None for overhead
            pictures, of which the frames say it.
    """

    model: Literal["georeference", "identity", "similarity", "homography"]
    inliers: int
    overlap: float
    residual_px: float | None
    planes: int = 0
    overlap_polygon: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rasters of equal size on the grid of `before`."""

    before: Raster
    after: Raster
    registration: Registration

    def __post_init__(self) -> None:
        if self.before.pixels.shape != self.after.pixels.shape:
            raise ValueError("the two dates of a pair must lie on one grid")

    @property
    def observed(self) -> NDArray[np.bool_]:
        """(H, W) bool: seen at both dates."""
        seen: NDArray[np.bool_] = self.before.valid & self.after.valid
        return seen

    @property
    def gsd(self) -> float | None:
        """Metres per pixel of the grid."""
        return self.before.gsd
