"""Nothing of a raster is lost in a file."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import MaskFlags

from datasets.geotiff import write_geotiff
from datasets.raster import Raster


@pytest.fixture
def raster() -> Raster:
    """Noise, with black and white that were seen, and a corner that was not."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (300, 700, 3), dtype=np.uint8)
    pixels[100:120], pixels[120:140] = 0, 255
    valid = np.ones((300, 700), np.bool_)
    valid[:50, :90] = False
    taken = datetime(2017, 6, 30, 11, 12, 13, tzinfo=timezone(timedelta(hours=8)))
    place = Affine(0.5, 0, 431_000.5, 0, -0.5, 4_418_000)
    return Raster(pixels, valid, "scene", CRS.from_epsg(32650), place, 0.5, taken)


@pytest.mark.parametrize("cog", [False, True], ids=["plain", "cog"])
def test_pixels_mask_place_and_date_come_back(raster: Raster, tmp_path: Path, cog: bool) -> None:
    path = tmp_path / "scene.tif"
    write_geotiff(raster, path, cog=cog)
    with rasterio.open(path) as file:
        assert file.crs == raster.crs
        assert file.transform == raster.transform
        assert np.array_equal(file.read().transpose(1, 2, 0), raster.pixels)
        assert np.array_equal(file.dataset_mask() > 0, raster.valid)
        assert file.mask_flag_enums[0] == [MaskFlags.per_dataset]
        assert file.nodata is None
        assert file.tags()["TIFFTAG_DATETIME"] == "2017:06:30 03:12:13"
        assert file.profile["tiled"]
        assert file.profile["compress"] == "deflate"
    assert [p.name for p in tmp_path.iterdir()] == ["scene.tif"]  # the mask lies inside


def test_a_cog_says_so_and_has_overviews(raster: Raster, tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    write_geotiff(raster, path, cog=True)
    with rasterio.open(path) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("cog", [False, True], ids=["plain", "cog"])
def test_a_photo_has_no_place_and_gets_none(raster: Raster, tmp_path: Path, cog: bool) -> None:
    path = tmp_path / "photo.tif"
    photo = replace(raster, crs=None, transform=None, gsd=None, captured_at=datetime(2017, 6, 30, 11, 12, 13))
    write_geotiff(photo, path, cog=cog)
    with rasterio.open(path) as file:
        assert file.crs is None
        assert np.array_equal(file.read().transpose(1, 2, 0), raster.pixels)
        assert file.tags()["TIFFTAG_DATETIME"] == "2017:06:30 11:12:13"


def test_a_raster_of_unknown_date_gets_no_date(raster: Raster, tmp_path: Path) -> None:
    write_geotiff(replace(raster, captured_at=None), tmp_path / "scene.tif")
    with rasterio.open(tmp_path / "scene.tif") as file:
        assert "TIFFTAG_DATETIME" not in file.tags()


def test_an_older_file_is_replaced(raster: Raster, tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    write_geotiff(replace(raster, pixels=255 - raster.pixels), path)
    write_geotiff(raster, path)
    with rasterio.open(path) as file:
        assert np.array_equal(file.read(1), raster.pixels[..., 0])
