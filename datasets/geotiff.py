"""Write a `Raster` as GeoTIFF without losing anything of it."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile
from rasterio.shutil import copy

from datasets.raster import Raster

_TILE = 256


def write_geotiff(raster: Raster, path: Path, *, cog: bool = False) -> None:
    """Write pixels, the mask of what was not observed, place and date.

    Tiled, deflate, so every pixel comes back as it was. Nodata goes into a mask inside the file: no colour is
    lost to mean "nothing". `captured_at` becomes `TIFFTAG_DATETIME`, in UTC where its time zone is known; the
    tag itself cannot say so.

    Args:
        raster: without `crs` the file is a plain TIFF with the same pixels and mask.
        path: overwritten.
        cog: cloud optimized, with overviews.
    """
    tags = {}
    if raster.captured_at is not None:
        moment = raster.captured_at
        moment = moment.astimezone(UTC) if moment.tzinfo else moment
        tags["TIFFTAG_DATETIME"] = f"{moment:%Y:%m:%d %H:%M:%S}"
    profile = {
        "driver": "GTiff",
        "width": raster.width,
        "height": raster.height,
        "count": 3,
        "dtype": "uint8",
        "crs": raster.crs,
        "photometric": "RGB",
        "compress": "deflate",
        "predictor": 2,
        "tiled": True,
        "blockxsize": _TILE,
        "blockysize": _TILE,
        "interleave": "pixel",
        "bigtiff": "if_safer",
    }
    if raster.transform is not None:
        profile["transform"] = raster.transform
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        if not cog:
            with rasterio.open(path, "w", **profile) as file:
                _fill(file, raster, tags)
            return
        # The COG driver can only copy: it needs the finished picture to lay out the overviews before it.
        with MemoryFile() as memory:
            with memory.open(**profile) as file:
                _fill(file, raster, tags)
            options = {"compress": "deflate", "predictor": "yes", "blocksize": 2 * _TILE}
            copy(memory.name, path, driver="COG", resampling="average", bigtiff="if_safer", **options)


def _fill(file: rasterio.io.DatasetWriter, raster: Raster, tags: dict[str, str]) -> None:
    file.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    file.write(raster.pixels.transpose(2, 0, 1))
    file.write_mask(raster.valid)
    file.update_tags(**tags)
