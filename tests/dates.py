"""Dates of one place to pick from: files in a folder of scenes, and scenes that know them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.warp import transform_bounds
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from datasets.geotiff import write_geotiff
from datasets.raster import Raster
from service.scenes.tables import SceneRow
from tests.imagery import Pixels, ground, relit

SIDE, GSD = 400, 0.5
"""So many pixels of so many metres, the middle of the plain in their middle."""
BLOCK = np.s_[190:214, 204:232]
"""A red structure there, rows and columns: in the east."""
MIDDLE = (116.2, 39.9)
DAYS = {
    "old": datetime(2025, 3, 1, 2, tzinfo=UTC), "calm": datetime(2026, 2, 1, 2, tzinfo=UTC),
    "new": datetime(2026, 3, 1, 2, tzinfo=UTC), "half": datetime(2026, 3, 4, 2, tzinfo=UTC),
    "blind": datetime(2026, 3, 5, 2, tzinfo=UTC), "coarse": datetime(2026, 3, 6, 2, tzinfo=UTC),
    "far": datetime(2026, 3, 7, 2, tzinfo=UTC),
}  # fmt: skip
NEWEST_FIRST = ["far", "coarse", "blind", "half", "new", "calm", "old"]
RED = (255, 0, 0)


def corner(crs: str = "EPSG:32650", gsd: float = GSD, east: float = 0.0) -> Affine:
    """The transform of a picture of `SIDE` * `GSD` metres around the middle, or so many metres east of it."""
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(*MIDDLE)
    half = SIDE * GSD / 2
    return Affine(gsd, 0, round(x - half) + east, 0, -gsd, round(y + half))


def look(name: str) -> Pixels:
    """What each date shows at half a metre: the same ground in its own light, `new` and `half` with a structure."""
    pixels = ground(1, SIDE) if name == "old" else relit(ground(1, SIDE), list(DAYS).index(name))
    if name in ("new", "half"):
        pixels[BLOCK] = RED
    return pixels


def picture(name: str) -> Raster:
    """The same as it lies on the map; `half` did not see the east, nor `blind` anything."""
    pixels, crs, transform = look(name), "EPSG:32650", corner()
    if name == "coarse":
        crs, transform = "EPSG:4548", corner("EPSG:4548", 2 * GSD)
        pixels = np.asarray(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    elif name == "far":
        transform = corner(east=5_000)
    valid: NDArray[np.bool_] = np.full(pixels.shape[:2], name != "blind")
    if name == "half":
        valid[:, SIDE // 2 :] = False
    return Raster(pixels, valid, name, CRS.from_string(crs), transform, captured_at=DAYS[name])


def put(engine: Engine, folder: Path) -> Mapping[str, Path]:
    """Files of all dates below a folder, and a scene for each but the oldest, which is the earlier date of all."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name in DAYS:
        paths[name] = folder / f"{name}.tif"
        write_geotiff(picture(name), paths[name])
    with Session(engine) as session, session.begin():
        for name in NEWEST_FIRST[:-1]:
            session.add(scene(name, DAYS[name], paths["old"], paths[name], before_at=DAYS["old"]))
    return paths


def scene(name: str, taken_at: datetime, before: Path | None, after: Path | None, **more: Any) -> SceneRow:
    """A scene of two files; what it looked at is where the later one lies, or the middle."""
    raster = picture(name) if name in DAYS else picture("old")
    assert raster.transform is not None
    left, top = raster.transform @ (0, 0)
    right, bottom = raster.transform @ (raster.width, raster.height)
    west, south, east, north = transform_bounds(raster.crs, "EPSG:4326", left, bottom, right, top)
    return SceneRow(
        id=f"scene-{name}", name=name, before=imagery(before), after=imagery(after), taken_at=taken_at,
        west=west, south=south, east=east, north=north, gsd_m=GSD, findings_count=0,
        created_at=taken_at + timedelta(hours=1), **more,
    )  # fmt: skip


def imagery(path: Path | None) -> dict[str, Any] | None:
    """As a scene keeps a file of 8 bit."""
    return None if path is None else {"sources": [str(path.resolve())], "bands": [1, 2, 3], "range": [0, 255]}
