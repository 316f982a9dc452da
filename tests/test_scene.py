"""Reading scenes onto one grid: nothing moves, nothing unseen becomes seen, nothing is opened that is not allowed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from datasets.geotiff import write_geotiff
from datasets.raster import Raster
from datasets.scene import Access, Grid, Scene, SceneError, SceneReader, check, extent, grid_of
from datasets.scene_light import radiometry
from tests.imagery import UTM, ground
from tests.scans import noise, opened, write


def test_on_its_own_grid_every_pixel_comes_back(tmp_path: Path) -> None:
    pixels = ground(1, 90, 120)
    scene = opened(write(tmp_path / "a.tif", pixels))
    grid = grid_of(scene)
    assert (grid.crs, grid.transform, grid.height, grid.width) == (CRS.from_epsg(32650), UTM, 90, 120)
    with SceneReader(scene, grid) as reader:
        values, seen = reader.read(10, 20, 30, 40)
    assert np.array_equal(values, pixels[10:40, 20:60])
    assert seen.all()


def test_beyond_the_scene_nothing_was_seen(tmp_path: Path) -> None:
    scene = opened(write(tmp_path / "a.tif", ground(1, 64)))
    with SceneReader(scene, grid_of(scene)) as reader:
        values, seen = reader.read(-16, 50, 32, 32)
        assert not reader.read(900, 900, 8, 8)[1].any()
    expected = np.zeros((32, 32), np.bool_)
    expected[16:, :14] = True
    assert np.array_equal(seen, expected)
    assert not values[~seen].any()


@pytest.mark.parametrize("how", ["mask", "alpha", "nodata"])
@pytest.mark.parametrize("shift", [0.0, 0.5], ids=["on the grid", "warped"])
def test_nodata_stays_nodata(tmp_path: Path, how: str, shift: float) -> None:
    valid = np.ones((100, 100), np.bool_)
    valid[:, :40] = False
    pixels = np.maximum(ground(1, 100), 1)
    path = tmp_path / "a.tif"
    if how == "mask":
        write_geotiff(Raster(pixels, valid, "a", CRS.from_epsg(32650), UTM, 0.5), path)
    elif how == "alpha":
        write(path, np.dstack([pixels, valid * np.uint8(255)]))
    else:
        write(path, pixels * valid[..., None], nodata=0)
    grid = Grid(CRS.from_epsg(32650), UTM @ Affine.translation(shift, 0), 100, 100)
    with SceneReader(opened(path), grid) as reader:
        _, seen = reader.read(0, 0, 100, 100)
    assert not seen[:, :39].any()
    assert seen[2:-2, 41:98].all()


def test_another_system_and_resolution_are_brought_to_the_grid(tmp_path: Path) -> None:
    """A bright square at a known place, from EPSG:4326 and half the resolution."""
    from pyproj import Transformer

    west, north = Transformer.from_crs(32650, 4326, always_xy=True).transform(UTM.c, UTM.f)
    step = 1.0 / 111_320
    pixels = np.full((150, 150, 3), 60, np.uint8)
    pixels[40:60, 50:80] = 220
    path = write(tmp_path / "a.tif", pixels, transform=Affine(step, 0, west, 0, -step, north), crs="EPSG:4326")
    grid = Grid(CRS.from_epsg(32650), UTM, 200, 200)
    with SceneReader(opened(path), grid) as reader:
        values, _ = reader.read(0, 0, 200, 200)
    rows, columns = np.nonzero(values[..., 0] > 140)
    x, y = Transformer.from_crs(4326, 32650, always_xy=True).transform(west + 65 * step, north - 50 * step)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx(~UTM @ (x, y), abs=0.5)


def test_windows_of_a_warped_scene_agree_where_they_overlap(tmp_path: Path) -> None:
    grid = Grid(CRS.from_epsg(32650), UTM @ Affine.translation(0.3, 0.7), 300, 300)
    with SceneReader(opened(write(tmp_path / "a.tif", ground(1, 300))), grid) as reader:
        whole, _ = reader.read(0, 0, 300, 300)
        part, _ = reader.read(37, 91, 100, 100)
    assert np.array_equal(whole[37:137, 91:191], part)


def test_where_scenes_overlap_the_first_that_saw_a_pixel_has_it(tmp_path: Path) -> None:
    first, second = np.full((64, 64, 3), 50, np.uint8), np.full((64, 64, 3), 200, np.uint8)
    hole = np.full((64, 64), 255, np.uint8)
    hole[:10] = 0
    a = write(tmp_path / "a.tif", np.dstack([first, hole]))
    b = write(
        tmp_path / "b.tif",
        np.dstack([second, np.full((64, 64), 255, np.uint8)]),
        transform=UTM @ Affine.translation(32, 0),
    )
    scene = opened(a, b)
    grid = grid_of(scene)
    assert (grid.width, grid.height) == (96, 64)
    with SceneReader(scene, grid) as reader:
        values, seen = reader.read(0, 0, 64, 96)
    assert (values[20:, :64] == 50).all()
    assert (values[:, 64:] == 200).all()
    assert (values[:10, 32:] == 200).all()
    assert not seen[:10, :32].any()


# --- Radiometry and bands ---------------------------------------------------------------------------------


def test_16_bit_is_scaled_by_one_range_for_the_whole_scene(tmp_path: Path) -> None:
    values = noise(300, 300, 3)
    values[:, 150:] += 6000
    scene = opened(write(tmp_path / "a.tif", values))
    light = radiometry(scene, grid_of(scene))
    assert (light.low, light.high) == (pytest.approx(214, abs=20), pytest.approx(8980, abs=40))
    eight = light.to_8_bit(values)
    assert eight.dtype == np.uint8
    assert eight[:, :150].max() < eight[:, 150:].min()


def test_8_bit_is_left_as_it_is(tmp_path: Path) -> None:
    pixels = ground(1, 300)
    scene = opened(write(tmp_path / "a.tif", pixels))
    light = radiometry(scene, grid_of(scene))
    assert light.to_8_bit(pixels) is pixels
    assert light.fill == pytest.approx(pixels.mean(axis=(0, 1)), abs=2)


def test_bands_are_taken_as_asked_for(tmp_path: Path) -> None:
    values: NDArray[np.uint8] = np.broadcast_to(np.arange(1, 5, dtype=np.uint8) * 40, (64, 64, 4)).copy()
    path = write(tmp_path / "a.tif", values, photometric="minisblack", alpha="no")
    with SceneReader(opened(path, bands=(3, 2, 1)), grid_of(opened(path))) as reader:
        pixels, seen = reader.read(0, 0, 4, 4)
    assert pixels[0, 0].tolist() == [120, 80, 40]
    assert seen.all()


# --- What is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("https://elsewhere.example/a.tif", "elsewhere.example"),
        ("http://allowed.example@elsewhere.example/a.tif", "elsewhere.example"),
        ("s3://secret/a.tif", "secret"),
        ("/vsicurl/https://elsewhere.example/a.tif", "/vsicurl/https://elsewhere.example/a.tif"),
        ("ftp://allowed.example/a.tif", "ftp://allowed.example/a.tif"),
        ("<VRTDataset/>", "<VRTDataset/>"),
    ],
)
def test_only_what_is_allowed_is_read(source: str, place: str) -> None:
    access = Access(frozenset({"allowed.example"}), frozenset({"scenes"}))
    with pytest.raises(SceneError) as refused:
        access.name(source)
    assert (refused.value.code, refused.value.values["place"]) == ("source_not_allowed", place)


def test_what_is_allowed_has_a_name_for_gdal(tmp_path: Path) -> None:
    access = Access(frozenset({"allowed.example:8080"}), frozenset({"scenes"}))
    assert access.name("https://allowed.example:8080/a.tif") == "/vsicurl/https://allowed.example:8080/a.tif"
    assert access.name("s3://scenes/2017/a.tif") == "/vsis3/scenes/2017/a.tif"
    assert access.name(str(tmp_path / "a.tif")) == str(tmp_path / "a.tif")


def test_a_virtual_raster_is_not_opened_even_if_it_is_called_tif(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", ground(1, 64))
    trap = tmp_path / "trap.tif"
    trap.write_text(
        '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{tmp_path}/a.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(SceneError) as refused:
        opened(trap)
    assert refused.value.code == "source_unreadable"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda p: write(p, ground(1, 64), crs=None), "no_georeference"),
        (lambda p: write(p, ground(1, 64)[..., :2]), "unsupported_bands"),
        (lambda p: write(p, ground(1, 64).astype(np.float32)), "unsupported_bands"),
    ],
    ids=["nowhere", "two bands", "floats"],
)
def test_what_cannot_be_used_is_refused_by_its_header(tmp_path: Path, make: object, code: str) -> None:
    with pytest.raises(SceneError) as refused:
        check(opened(make(tmp_path / "a.tif")))  # type: ignore[operator]
    assert refused.value.code == code


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SceneError) as refused:
        check(Scene("a", (str(tmp_path / "gone.tif"),)))
    assert (refused.value.code, refused.value.values["name"]) == ("source_unreadable", "gone.tif")


# --- Grids ------------------------------------------------------------------------------------------------


def test_ground_resolution_is_measured_on_the_ground() -> None:
    mercator = Grid(CRS.from_epsg(3857), Affine(0.6, 0, 12_934_000, 0, -0.6, 4_850_000), 100, 100)
    assert mercator.gsd == pytest.approx(0.6 * 0.767, rel=0.01)


def test_a_pixel_has_one_place_on_the_lattice_whichever_part_the_grid_covers() -> None:
    whole = Grid(CRS.from_epsg(32650), UTM, 500, 500)
    part = whole.part(37, 91, 100, 100)
    assert part.offset == (whole.offset[0] + 37, whole.offset[1] + 91)


def test_another_resolution_keeps_the_corner(tmp_path: Path) -> None:
    scene = opened(write(tmp_path / "a.tif", ground(1, 100)))
    grid = grid_of(scene, gsd=1.0)
    assert (grid.transform.c, grid.transform.f) == (UTM.c, UTM.f)
    assert grid.gsd == pytest.approx(1.0, rel=1e-6)
    # A metre on the ground is a little less than one of this map, so half a pixel more than 50.
    assert (grid.width, grid.height) == (51, 51)
    assert extent(scene, grid) == (0, 0, 51, 51)
