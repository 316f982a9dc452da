"""Imagery of scenes for maps and for the eye: tiles of the Web Mercator pyramid, and north-up cut-outs in metres.

Pixels are warped and thinned out by rio-tiler, and made 8 bit by the same rule as for scanning. What was not seen is
transparent in tiles, hatched in cut-outs, and never black.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import morecantile
import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from pyproj import CRS as ProjCRS
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.transform import from_bounds
from rasterio.warp import transform_bounds
from rio_tiler.errors import RioTilerError
from rio_tiler.models import ImageData
from rio_tiler.mosaic import mosaic_reader
from rio_tiler.reader import read as read_warped

from datasets.scene import GDAL_OPTIONS, SceneError, open_source
from datasets.scene_light import Radiometry
from inference.render import COLOURS, encode_jpeg
from inference.scan.window import LEVELS
from service.scenes.errors import NotOnTheMap
from service.scenes.runs import below
from service.scenes.tables import SceneRow

Layer = Literal["before", "after", "probability"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
TILE_PX = 256
MAX_ZOOM = 24
MAX_READ_PX = 32 * 2**20
"""No tile takes more pixels than these to be read; a file without overviews has no small scales."""
_ASKED = 64
MERCATOR = morecantile.tms.get("WebMercatorQuad")

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Source:
    """The files of one layer, and what their values mean.

    Attributes:
        range: values that become 0 and 255; None for probabilities.
    """

    paths: tuple[str, ...]
    bands: tuple[int, int, int]
    range: tuple[float, float] | None

    @property
    def version(self) -> str:
        """Another one whenever a file is another."""
        facts = [(path, Path(path).stat().st_size, Path(path).stat().st_mtime_ns) for path in self.paths]
        return hashlib.sha256(repr((facts, self.bands, self.range)).encode()).hexdigest()[:20]


def source(row: SceneRow, layer: Layer, folders: Sequence[Path]) -> Source:
    """The files behind a layer of a scene.

    Args:
        folders: where imagery must lie, now as well as when the scene was kept.

    Raises:
        NotOnTheMap: `layer_not_found`; there is no such imagery here, or no longer.
    """
    found: Source | None = None
    if layer != "probability":
        found = source_of(row.before if layer == "before" else row.after)
    elif row.probability_path is not None:
        found = Source((row.probability_path,), (1, 2, 3), None)
    allowed = layer == "probability" or (found is not None and all(below(Path(path), folders) for path in found.paths))
    if found is None or not allowed or not all(Path(path).is_file() for path in found.paths):
        raise NotOnTheMap("layer_not_found")
    return found


def source_of(kept: Mapping[str, Any] | None) -> Source | None:
    """The files of a date, as `service.scenes.tables.SceneRow` keeps them."""
    return None if kept is None else Source(tuple(kept["sources"]), tuple(kept["bands"]), tuple(kept["range"]))


def layers(row: SceneRow, folders: Sequence[Path]) -> list[Layer]:
    """The layers that can be shown."""
    found = []
    for layer in LAYERS:
        try:
            source(row, layer, folders)
        except NotOnTheMap:
            continue
        found.append(layer)
    return found


# --- Tiles ------------------------------------------------------------------------------------------------


def tile(given: Source, bounds: Bounds, z: int, x: int, y: int) -> bytes:
    """A PNG of 256 x 256 px; transparent where nothing was seen.

    Args:
        bounds: of the scene in degrees (WGS-84); no file is opened for tiles beyond.

    Raises:
        NotOnTheMap: `tile_not_found` outside the pyramid, `tile_too_coarse` where it would take too long to read,
            `layer_not_found` for files that cannot be read.
    """
    if not (0 <= z <= MAX_ZOOM and 0 <= x < 2**z and 0 <= y < 2**z):
        raise NotOnTheMap("tile_not_found")
    place = morecantile.Tile(x, y, z)
    west, south, east, north = MERCATOR.bounds(place)
    if west > bounds[2] or east < bounds[0] or south > bounds[3] or north < bounds[1]:
        return _empty()
    left, bottom, right, top = MERCATOR.xy_bounds(place)
    image = _read(given, (left, bottom, right, top), MERCATOR.rasterio_crs, TILE_PX, "tile_too_coarse")
    colours, opacity, _ = _shown(given, image)
    return _png(np.dstack([colours, opacity])) if opacity.any() else _empty()


def zooms(given: Source) -> tuple[int, int]:
    """Smallest and largest zoom level that a map should ask for: of what can be read quickly to what was seen.

    Raises:
        NotOnTheMap: `layer_not_found`.
    """
    highest, lowest = 0, MAX_ZOOM
    with ExitStack() as stack:
        for dataset in _opened(stack, given):
            west, south, east, north = transform_bounds(_quick(dataset.crs), MERCATOR.rasterio_crs, *dataset.bounds)
            pixel = math.sqrt((east - west) * (north - south) / (dataset.width * dataset.height))
            highest = max(highest, MERCATOR.zoom_for_res(pixel, zoom_level_strategy="upper"))
            coarsest = pixel * _thinned(dataset) * math.sqrt(MAX_READ_PX) / TILE_PX
            whole = dataset.width * dataset.height / _thinned(dataset) ** 2 <= MAX_READ_PX
            lowest = min(lowest, 0 if whole else MERCATOR.zoom_for_res(coarsest, zoom_level_strategy="upper"))
    return lowest, highest


# --- Cut-outs ---------------------------------------------------------------------------------------------


def chip(given: Source, lon: float, lat: float, metres: float, size: int) -> bytes:
    """A square JPEG around a place, north up, so many metres and so many pixels wide; without any metadata.

    Raises:
        NotOnTheMap: `place_outside_scene` if nothing was seen there, `layer_not_found`.
    """
    image = _square(given, lon, lat, metres, size)
    colours, opacity, seen = _shown(given, image)
    if not seen.any():
        raise NotOnTheMap("place_outside_scene")
    share = opacity[..., None] / 255
    ground = np.where(seen[..., None], 245, _hatch(size)[..., None])
    return encode_jpeg(np.rint(colours * share + ground * (1 - share)).astype(np.uint8))


def seen_share(given: Source, lon: float, lat: float, metres: float) -> float:
    """How much of such a square was seen, 0..1, asked at `_ASKED` x `_ASKED` points.

    Raises:
        NotOnTheMap: `place_outside_scene` where it would take too long to read, `layer_not_found`.
    """
    return float((_square(given, lon, lat, metres, _ASKED).mask > 0).mean())


def ground_around(lon: float, lat: float) -> CRS:
    """Metres east and north of a place."""
    return CRS.from_proj4(f"+proj=tmerc +lat_0={lat} +lon_0={lon} +k=1 +ellps=GRS80 +units=m +no_defs")


def _square(given: Source, lon: float, lat: float, metres: float, size: int) -> ImageData:
    half = metres / 2
    return _read(given, (-half, -half, half, half), ground_around(lon, lat), size, "place_outside_scene")


def _hatch(size: int) -> NDArray[np.int64]:
    """(H, W) grey stripes, for what was not seen."""
    rows, columns = np.ogrid[:size, :size]
    return np.where((rows + columns) // 4 % 4 == 0, 150, 190)


# --- Reading ----------------------------------------------------------------------------------------------


def _opened(stack: ExitStack, given: Source) -> list[DatasetReader]:
    stack.enter_context(rasterio.Env(**GDAL_OPTIONS))
    try:
        return [stack.enter_context(open_source(path)) for path in given.paths]
    except SceneError as error:
        raise NotOnTheMap("layer_not_found") from error


def _read(given: Source, bounds: Bounds, crs: CRS, size: int, too_coarse: str) -> ImageData:
    """A square of a layer, the first file that saw a pixel has it."""

    def read(dataset: DatasetReader) -> ImageData:
        if _pixels(dataset, bounds, crs) > MAX_READ_PX:
            raise NotOnTheMap(too_coarse)
        method: Literal["nearest", "bilinear"] = "nearest" if given.range is None else "bilinear"
        target = {"transform": from_bounds(*bounds, size, size), "width": size, "height": size}
        return read_warped(
            dataset, dst_crs=crs, indexes=given.bands, reproject_method=method,
            vrt_options={"src_crs": _quick(dataset.crs), **target},
        )  # fmt: skip

    with ExitStack() as stack:
        datasets = _opened(stack, given)
        try:
            image, _ = mosaic_reader(datasets, read, threads=0, allowed_exceptions=())
        except (RioTilerError, rasterio.errors.RasterioError) as error:
            raise NotOnTheMap("layer_not_found") from error
    return image


@lru_cache(maxsize=64)
def _quick(crs: CRS) -> CRS:
    """A system on CGCS2000 as the same one on WGS-84, which is the same to a millimetre; any other as it is.

    PROJ looks through all ways between the two datums each time a file is opened, which takes longer than a tile.
    """
    base = ProjCRS.from_user_input(crs).geodetic_crs
    if base is None or base.to_epsg() != 4490:
        return crs
    return CRS.from_dict({key: value for key, value in crs.to_dict().items() if key != "ellps"} | {"datum": "WGS84"})


def _thinned(dataset: DatasetReader) -> int:
    """By how much the smallest overview is smaller than the picture."""
    return max(dataset.overviews(1), default=1)


def _pixels(dataset: DatasetReader, bounds: Bounds, crs: CRS) -> float:
    """How many pixels of the best overview it takes to read a square of `bounds`, at worst."""
    west, south, east, north = transform_bounds(crs, _quick(dataset.crs), *bounds)
    width, height = dataset.res
    across = max(0.0, min(east, dataset.bounds.right) - max(west, dataset.bounds.left)) / width
    down = max(0.0, min(north, dataset.bounds.top) - max(south, dataset.bounds.bottom)) / height
    return float(across * down / _thinned(dataset) ** 2)


def _shown(given: Source, image: ImageData) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """Colours (H, W, 3), opacity (H, W) 0..255, and where something was seen (H, W)."""
    seen: NDArray[np.bool_] = image.mask > 0
    values: NDArray[Any] = image.data.transpose(1, 2, 0)
    if given.range is not None:
        light = Radiometry(*given.range, (0, 0, 0))
        return light.to_8_bit(values), np.where(seen, 255, 0).astype(np.uint8), seen
    colours, opacity = _likely(np.asarray(values / LEVELS, np.float32))
    return colours, np.where(seen, opacity, 0).astype(np.uint8), seen


def _likely(probabilities: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Colour of the likeliest kind of finding at each pixel, and how likely it is as opacity up to 220."""
    before, after, change = np.moveaxis(probabilities, 2, 0)
    likely = np.stack([change * (after > before), np.minimum(before, after) * (1 - change), change * (after <= before)])
    palette = np.array([COLOURS["new"], COLOURS["remaining"], COLOURS["removed"]], np.uint8)
    return palette[likely.argmax(axis=0)], likely.max(axis=0) * 220


# --- Files ------------------------------------------------------------------------------------------------


@cache
def _empty() -> bytes:
    return _png(np.zeros((TILE_PX, TILE_PX, 4), np.uint8))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
