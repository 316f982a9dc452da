"""Imagery of scenes: every pixel where it belongs on the map, in its colour, and nothing shown that was not seen."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer
from rasterio.crs import CRS

from service.ledger.coordinates import local_metres
from service.scenes import imagery
from service.scenes.errors import NotOnTheMap
from service.scenes.imagery import Source, chip, layers, source, tile, zooms
from service.scenes.tables import SceneRow
from tests.imagery import UTM, geotiff

WORLD = (-180.0, -85.0, 180.0, 85.0)
SIDE = 200
BYTES = (0.0, 255.0)
ZONE = {"crs": "EPSG:4548", "transform": Affine(0.5, 0, 430_000, 0, -0.5, 4_419_000)}
UTM_ZONE = {"crs": "EPSG:32650", "transform": UTM}


def colours(**blocks: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Grey ground with blocks (x, y, width, height) in pure red, green or blue."""
    pixels = np.full((SIDE, SIDE, 3), 90, np.uint8)
    for name, (x, y, width, height) in blocks.items():
        pixels[y : y + height, x : x + width] = [255 * (name == each) for each in ("red", "green", "blue")]
    return pixels


def given(path: Path, pixels: NDArray[Any], bands: Any = (1, 2, 3), scale: Any = BYTES, **options: Any) -> Source:
    path.write_bytes(geotiff(pixels, **(UTM_ZONE | options)))
    return Source((str(path),), bands, scale)


def lonlat(column: float, row: float, crs: str = "EPSG:32650", transform: Affine = UTM) -> tuple[float, float]:
    x, y = transform @ (column, row)
    lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    return float(lon), float(lat)


def opened(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)))


def seen_at(layer: Source, lon: float, lat: float, zoom: int = 18) -> NDArray[np.uint8]:
    """The RGBA of the map at a place."""
    x, y = imagery.MERCATOR.xy(lon, lat)
    place = imagery.MERCATOR.tile(lon, lat, zoom)
    box = imagery.MERCATOR.xy_bounds(place)
    pixels = opened(tile(layer, WORLD, zoom, place.x, place.y))
    column, row = (x - box.left) / (box.right - box.left), (box.top - y) / (box.top - box.bottom)
    return pixels[int(row * 256), int(column * 256)]


@pytest.mark.parametrize("grid", [UTM_ZONE, ZONE], ids=["UTM", "Gauss-Kruger"])
def test_every_pixel_is_where_it_belongs(tmp_path: Path, grid: dict[str, Any]) -> None:
    layer = given(tmp_path / "a.tif", colours(red=(20, 30, 20, 20), blue=(150, 120, 20, 20)), **grid)
    assert seen_at(layer, *lonlat(30, 40, **grid)).tolist() == [255, 0, 0, 255]
    assert seen_at(layer, *lonlat(160, 130, **grid)).tolist() == [0, 0, 255, 255]
    assert seen_at(layer, *lonlat(100, 100, **grid)).tolist() == [90, 90, 90, 255]
    # Two metres beyond the edge of the red block there is none, so that it is not half a tile off.
    assert seen_at(layer, *lonlat(44, 40, **grid), zoom=19).tolist() == [90, 90, 90, 255]


@pytest.mark.parametrize("code", [4490, 4548])
def test_cgcs2000_is_taken_for_wgs84_to_the_millimetre(code: int) -> None:
    crs = CRS.from_epsg(code)
    exact, taken = (
        Transformer.from_crs(4326, each, always_xy=True).transform(116.2, 39.9) for each in (crs, imagery._quick(crs))
    )
    assert imagery._quick(crs) != crs
    assert exact == pytest.approx(taken, rel=0, abs=1e-8 if code == 4490 else 1e-3)


@pytest.mark.parametrize("code", [32650, 2437, 4214])
def test_no_other_datum_is_taken_for_wgs84(code: int) -> None:
    assert imagery._quick(CRS.from_epsg(code)) == CRS.from_epsg(code)


def test_what_was_not_seen_is_transparent_and_not_black(tmp_path: Path) -> None:
    pixels = np.dstack([colours(red=(20, 30, 20, 20)), np.full((SIDE, SIDE), 255, np.uint8)])
    pixels[:, 100:] = 0
    layer = given(tmp_path / "a.tif", pixels)
    assert seen_at(layer, *lonlat(30, 40))[3] == 255
    assert seen_at(layer, *lonlat(150, 100))[3] == 0
    assert seen_at(layer, *lonlat(-50, 100))[3] == 0


def test_nodata_is_transparent_and_a_dark_roof_is_not(tmp_path: Path) -> None:
    pixels = colours(red=(20, 30, 20, 20))
    pixels[:, 100:] = 7
    pixels[50:90, 50:90] = 0
    layer = given(tmp_path / "a.tif", pixels, nodata=7)
    assert seen_at(layer, *lonlat(150, 100))[3] == 0
    assert seen_at(layer, *lonlat(70, 70)).tolist() == [0, 0, 0, 255]


def test_a_tile_beyond_the_scene_opens_no_file(tmp_path: Path) -> None:
    gone = Source((str(tmp_path / "gone.tif"),), (1, 2, 3), BYTES)
    assert not opened(tile(gone, (116.0, 39.0, 116.1, 39.1), 10, 0, 0)).any()


@pytest.mark.parametrize("place", [(3, 8, 0), (3, 0, 8), (3, -1, 0), (25, 0, 0), (-1, 0, 0)])
def test_a_tile_that_the_pyramid_does_not_have_is_refused(tmp_path: Path, place: tuple[int, int, int]) -> None:
    with pytest.raises(NotOnTheMap) as refused:
        tile(given(tmp_path / "a.tif", colours()), WORLD, *place)
    assert refused.value.code == "tile_not_found"


@pytest.mark.parametrize("grid", [UTM_ZONE, ZONE], ids=["UTM", "Gauss-Kruger"])
def test_the_whole_world_in_one_tile_is_no_accident(tmp_path: Path, grid: dict[str, Any]) -> None:
    assert opened(tile(given(tmp_path / "a.tif", colours(), **grid), WORLD, 0, 0, 0)).shape == (256, 256, 4)


def test_16_bit_and_a_near_infrared_band_are_shown_as_they_are_scanned(tmp_path: Path) -> None:
    values = np.full((SIDE, SIDE, 4), 1000, np.uint16)
    values[..., 3] = 9000  # near infrared, first in no order
    values[30:50, 20:40] = (400, 1000, 3000, 9000)  # blue, green, red
    layer = given(tmp_path / "a.tif", values, (3, 2, 1), (400.0, 2400.0))
    assert seen_at(layer, *lonlat(30, 40)).tolist() == [255, 76, 0, 255]
    assert seen_at(layer, *lonlat(100, 100)).tolist() == [76, 76, 76, 255]


def test_of_overlapping_files_the_first_that_saw_a_pixel_has_it(tmp_path: Path) -> None:
    full = np.full((SIDE, SIDE), 255, np.uint8)
    half = np.dstack([colours(red=(0, 0, SIDE, SIDE)), full])
    half[:, 100:] = 0
    first = given(tmp_path / "a.tif", half)
    second = given(tmp_path / "b.tif", np.dstack([colours(green=(0, 0, SIDE, SIDE)), full]))
    both = Source((*first.paths, *second.paths), (1, 2, 3), BYTES)
    assert seen_at(both, *lonlat(50, 100))[:3].tolist() == [255, 0, 0]
    assert seen_at(both, *lonlat(150, 100))[:3].tolist() == [0, 255, 0]


def test_a_file_without_overviews_has_no_small_scales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = given(tmp_path / "a.tif", np.full((1000, 1000, 3), 90, np.uint8))
    assert zooms(layer) == (0, 18)
    monkeypatch.setattr(imagery, "MAX_READ_PX", 600 * 600)
    assert zooms(layer) == (17, 18)
    at = {zoom: imagery.MERCATOR.tile(*lonlat(500, 500), zoom) for zoom in (12, 17)}
    with pytest.raises(NotOnTheMap) as refused:
        tile(layer, WORLD, 12, at[12].x, at[12].y)
    assert refused.value.code == "tile_too_coarse"
    assert opened(tile(layer, WORLD, 17, at[17].x, at[17].y)).any()


def test_overviews_give_the_small_scales_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagery, "MAX_READ_PX", 600 * 600)
    layer = given(tmp_path / "a.tif", np.full((1000, 1000, 3), 90, np.uint8))
    with rasterio.open(layer.paths[0], "r+") as file:
        file.build_overviews([2, 4])
    assert zooms(layer) == (0, 18)
    place = imagery.MERCATOR.tile(*lonlat(500, 500), 12)
    assert opened(tile(layer, WORLD, 12, place.x, place.y)).any()


def test_the_finest_zoom_shows_every_pixel(tmp_path: Path) -> None:
    _, highest = zooms(given(tmp_path / "a.tif", colours()))
    pixel_m = 156_543.034 / 2**highest * np.cos(np.radians(39.9))
    assert pixel_m <= 0.5 < 2 * pixel_m


# --- Cut-outs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [UTM_ZONE, ZONE], ids=["UTM", "Gauss-Kruger"])
def test_a_cut_out_is_north_up_and_in_metres_on_the_ground(tmp_path: Path, grid: dict[str, Any]) -> None:
    lon, lat = lonlat(100, 100, **grid)
    metres = local_metres(lon, lat)
    square = metres.to_wgs84(np.array([[-10.0, 10.0], [10.0, 30.0]]))  # 20 m wide, from 10 to 30 m north
    to_grid = Transformer.from_crs(4326, grid["crs"], always_xy=True)
    (left, bottom), (right, top) = (~grid["transform"] @ to_grid.transform(*point) for point in square)
    block = (round(left), round(top), round(right - left), round(bottom - top))
    layer = given(tmp_path / "a.tif", colours(red=block), **grid)
    data = chip(layer, lon, lat, 80, 400)
    red = (opened(data)[..., 0] > 170) & (opened(data)[..., 1] < 90)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert (rows[0], rows[-1]) == (pytest.approx(50, abs=6), pytest.approx(149, abs=6))
    assert (columns[0], columns[-1]) == (pytest.approx(150, abs=6), pytest.approx(249, abs=6))
    assert Image.open(io.BytesIO(data)).format == "JPEG"
    assert not Image.open(io.BytesIO(data)).getexif()


def test_what_was_not_seen_is_hatched_in_a_cut_out(tmp_path: Path) -> None:
    layer = given(tmp_path / "a.tif", np.zeros((SIDE, SIDE, 3), np.uint8))
    pixels = opened(chip(layer, *lonlat(0, 100), 60, 300))
    unseen, seen = pixels[:, :130], pixels[:, 170:]
    assert seen.max() < 20
    assert (unseen.min() > 120, unseen.std() > 10) == (True, True)


def test_a_place_that_was_not_seen_has_no_cut_out(tmp_path: Path) -> None:
    with pytest.raises(NotOnTheMap) as refused:
        chip(given(tmp_path / "a.tif", colours()), 116.9, 39.9, 60, 64)
    assert refused.value.code == "place_outside_scene"


def test_probabilities_have_the_colour_of_the_likeliest_kind(tmp_path: Path) -> None:
    values = np.zeros((SIDE, SIDE, 3), np.uint8)
    values[:40, :100] = (5, 250, 250)  # new: not before, after, changed
    values[40:80, :100] = (250, 5, 250)  # removed
    values[80:120, :100] = (250, 250, 5)  # remaining
    values[:, 160:] = 255
    layer = given(tmp_path / "a.tif", values, scale=None, nodata=255)
    new, removed, remaining, nothing, unseen = (
        seen_at(layer, *lonlat(*at)).tolist() for at in ((50, 20), (50, 60), (50, 100), (130, 20), (180, 20))
    )
    assert new[:3] == [213, 94, 0]
    assert removed[:3] == [0, 158, 220]
    assert remaining[:3] == [240, 228, 66]
    assert (min(new[3], removed[3], remaining[3]) > 200, nothing[3], unseen[3]) == (True, 0, 0)


# --- Which files may be shown -----------------------------------------------------------------------------


def scene(path: Path) -> SceneRow:
    look = {"sources": [str(path)], "bands": [1, 2, 3], "range": [0.0, 255.0]}
    return SceneRow(id="n1", before=None, after=look, probability_path=str(path))


def test_only_files_in_the_allowed_folders_are_shown(tmp_path: Path) -> None:
    inside, outside = tmp_path / "scenes", tmp_path / "secret"
    inside.mkdir()
    outside.mkdir()
    given(inside / "a.tif", colours())
    given(outside / "b.tif", colours())
    (inside / "link.tif").symlink_to(outside / "b.tif")
    assert layers(scene(inside / "a.tif"), (inside,)) == ["after", "probability"]
    for hidden in (outside / "b.tif", inside / "link.tif", inside / ".." / "secret" / "b.tif", inside / "gone.tif"):
        assert "after" not in layers(scene(hidden), (inside,))
        with pytest.raises(NotOnTheMap) as refused:
            source(scene(hidden), "after", (inside,))
        assert refused.value.code == "layer_not_found"


def test_probabilities_are_our_own_and_shown_wherever_the_run_lies(tmp_path: Path) -> None:
    given(tmp_path / "a.tif", colours())
    assert layers(scene(tmp_path / "a.tif"), (tmp_path / "scenes",)) == ["probability"]
    assert layers(scene(tmp_path / "gone.tif"), (tmp_path / "scenes",)) == []


def test_only_geotiff_is_opened(tmp_path: Path) -> None:
    given(tmp_path / "a.tif", colours())
    trap = tmp_path / "b.tif"
    trap.write_text(f'<VRTDataset rasterXSize="1" rasterYSize="1"><SRS>EPSG:4326</SRS><!-- {tmp_path} --></VRTDataset>')
    with pytest.raises(NotOnTheMap) as refused:
        tile(Source((str(trap),), (1, 2, 3), BYTES), WORLD, 0, 0, 0)
    assert refused.value.code == "layer_not_found"


def test_a_file_that_is_cut_short_is_said_so(tmp_path: Path) -> None:
    layer = given(tmp_path / "a.tif", np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8))
    path = Path(layer.paths[0])
    path.write_bytes(path.read_bytes()[: SIDE * SIDE])
    place = imagery.MERCATOR.tile(*lonlat(100, 100), 17)
    with pytest.raises(NotOnTheMap) as refused:
        tile(layer, WORLD, 17, place.x, place.y)
    assert refused.value.code == "layer_not_found"


def test_another_file_is_another_version(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    first = given(path, colours()).version
    assert given(path, colours()[:150]).version != first
