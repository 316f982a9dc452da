"""`Raster`: pixels that cannot lose where they lie, when they were taken, and which of them were seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """One picture of one date.

    Attributes:
        pixels: (H, W, 3) uint8 RGB. Never written to.
        valid: (H, W) bool, False where nothing was observed (nodata, transparent, outside the scene).
        name: what a person calls it (file name).
        crs, transform: where it lies; both or neither. `transform` maps (column, row) of a pixel's upper left
            corner to the coordinates of `crs`.
        gsd: metres on the ground per pixel, or None where unknown.
        captured_at: when it was taken, or None where unknown. Without a time zone if the camera gave none.
        place: where the camera says it stood, WGS-84 longitude and latitude in degrees, or None.
        camera: whether a camera held by hand says that it took the picture.

    Raises:
        ValueError: shapes or types disagree, or only one of `crs` and `transform` is given.
    """

    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    name: str = ""
    crs: CRS | None = None
    transform: Affine | None = None
    gsd: float | None = None
    captured_at: datetime | None = None
    place: tuple[float, float] | None = None
    camera: bool = False

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.uint8:
            raise ValueError(f"pixels must be (H, W, 3) uint8, not {self.pixels.shape} {self.pixels.dtype}")
        if self.valid.shape != self.pixels.shape[:2] or self.valid.dtype != np.bool_:
            raise ValueError("valid must be (H, W) bool of the size of the pixels")
        if (self.crs is None) != (self.transform is None):
            raise ValueError("crs and transform belong together")

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])
