"""Generated districts for tests of greening: files of both dates, sites on them, and what was really greened there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

from datasets.district import District
from datasets.raster import Raster
from datasets.scene import Access, Scene
from datasets.scene_sources import open_scene
from inference.site import Site
from tests.imagery import geotiff

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels."""

_LIGHT = {"gain": 1.0, "gamma": 1.0, "haze": 0.0}
_AIR = np.array([196, 203, 212]) / 255


def spoilt(pixels: NDArray[np.uint8], *, gain: float = 1.0, gamma: float = 1.0, haze: float = 0.0) -> NDArray[np.uint8]:
    """The same ground through another sensor on another day."""
    values = np.clip(gain * (pixels / 255) ** gamma, 0, 1) * (1 - haze) + haze * _AIR
    return np.rint(values * 255).astype(np.uint8)


def infrared(pixels: NDArray[np.uint8], vegetation: NDArray[np.bool_], seed: int = 0) -> NDArray[np.uint8]:
    """(H, W) uint8: what a sensor would see of it there. Plants are four times as bright as in red, the rest as in red.

    Leaves reflect about half of the near infrared and a twentieth to a tenth of the red (Tucker 1979).
    """
    share = cv2.GaussianBlur(vegetation.astype(np.float32), (0, 0), 0.8)
    noise = np.random.default_rng(seed).normal(0, 3, share.shape)
    return np.clip(pixels[..., 0] * (1.05 + 2.95 * share) + noise, 0, 255).astype(np.uint8)


def write(raster: Raster, path: Path, pixels: NDArray[Any] | None = None, **options: Any) -> Path:
    """A GeoTIFF with its date; `pixels` instead of those of the raster."""
    assert raster.captured_at is not None
    assert raster.transform is not None
    tags = {"TIFFTAG_DATETIME": f"{raster.captured_at:%Y:%m:%d %H:%M:%S}"}
    values = raster.pixels if pixels is None else pixels
    path.write_bytes(geotiff(values, transform=raster.transform, tags=tags, **options))
    return path


def scene(path: Path) -> Scene:
    return open_scene([str(path)], Access())


def scenes(folder: Path, district: District, *, nir: bool = False, **light: float) -> tuple[Scene, Scene]:
    """Both dates as scenes, the later one in another light; with a fourth band if `nir`."""
    found = []
    for raster, green, name in (
        (district.before, district.vegetation_before, "before"),
        (district.after, district.vegetation_after, "after"),
    ):
        pixels = raster.pixels
        if nir:
            pixels = np.dstack([pixels, infrared(pixels, green)])
        if name == "after":
            pixels = spoilt(pixels, **(_LIGHT | light)) if not nir else pixels
        found.append(scene(write(raster, folder / f"{name}.tif", pixels)))
    return found[0], found[1]


def site(district: District, box: Box) -> Site:
    """A rectangle of pixels as a site in WGS-84."""
    transform = district.before.transform
    assert transform is not None
    x0, y0, x1, y1 = box
    to_lonlat = Transformer.from_crs(32650, 4326, always_xy=True)
    corners = [transform @ corner for corner in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
    return Site(shapely.Polygon([to_lonlat.transform(*corner) for corner in corners]))


def truth_m2(district: District, box: Box) -> float:
    """What was really greened in it."""
    assert district.before.gsd is not None
    x0, y0, x1, y1 = box
    greened = district.vegetation_after & ~district.vegetation_before
    return float(greened[y0:y1, x0:x1].sum()) * district.before.gsd**2


def boxes(district: District, seed: int, *, others: int = 12) -> Iterator[Box]:
    """Rectangles around what was greened, and others anywhere."""
    size = district.before.width
    greened = (district.vegetation_after & ~district.vegetation_before).astype(np.uint8)
    closed = cv2.morphologyEx(greened, cv2.MORPH_CLOSE, np.ones((5, 5)))
    _, _, stats, _ = cv2.connectedComponentsWithStats(closed)
    for x, y, width, height, area in stats[1:].tolist():
        if area >= 240:
            yield max(0, x - 10), max(0, y - 10), min(size, x + width + 10), min(size, y + height + 10)
    rng = np.random.default_rng(seed)
    for _ in range(others):
        width, height = rng.integers(60, 140, 2).tolist()
        x, y = int(rng.integers(0, size - width)), int(rng.integers(0, size - height))
        yield x, y, x + width, y + height
