"""Satellite scenes (卫片) of any size, read window by window onto one common grid.

A scene is one or more files of one date. Pixels that do not lie on the grid are warped as they are read; what a
file did not see stays unseen. Nothing is opened that `Access` does not allow, and only as the format it must be: a
virtual raster could point at any other file.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS as ProjCRS
from pyproj import Geod, Transformer
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

CONTEXT_PX = 1024
"""So far beyond the grid pixels can still be read: the surroundings of what lies at its edge."""
GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no neighbouring files, no listing of a bucket
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_CACHEMAX": 32 * 2**20,  # rasterio counts in bytes; the default is a share of the machine
    "VSI_CACHE": "NO",
    "GDAL_HTTP_MAX_RETRY": 2,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_TIMEOUT": 60,
}
_GEOD = Geod(ellps="WGS84")
_ON_LATTICE_PX = 1e-3


class SceneError(ValueError):
    """A scene that cannot be used: a stable code and its figures, worded by `inference.reasons`."""

    def __init__(self, code: str, **values: Any) -> None:
        self.code, self.values = code, values
        super().__init__(f"{code}: {values}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _scene_error, (self.code, self.values)


def _scene_error(code: str, values: dict[str, Any]) -> SceneError:
    return SceneError(code, **values)


@dataclass(frozen=True, slots=True)
class Access:
    """Which places outside the local file system may be read: host names (with port, if any) and S3 buckets.

    An allowed host is trusted with where it redirects to.
    """

    hosts: frozenset[str] = frozenset()
    buckets: frozenset[str] = frozenset()

    def name(self, source: str) -> str:
        """What GDAL calls a source: a path, `http(s)://...` or `s3://bucket/key`.

        Raises:
            SceneError: `source_not_allowed`.
        """
        parts = urlsplit(source)
        if parts.scheme in ("http", "https"):
            self.check_host(source)
            return f"/vsicurl/{source}"
        if parts.scheme == "s3":
            if parts.netloc not in self.buckets:
                raise SceneError("source_not_allowed", place=parts.netloc)
            return f"/vsis3/{parts.netloc}{parts.path}"
        if (len(parts.scheme) > 1 and "://" in source) or source.startswith(("/vsi", "<")):
            raise SceneError("source_not_allowed", place=source[:60])
        return str(Path(source).absolute())

    def check_host(self, url: str) -> None:
        host = urlsplit(url).netloc.rpartition("@")[2]
        if host not in self.hosts:
            raise SceneError("source_not_allowed", place=host)


@dataclass(frozen=True, slots=True)
class Scene:
    """One date of a region.

    Attributes:
        name: what a person calls it.
        sources: names that GDAL opens (see `Access.name`), or a description of a tile service. Where they
            overlap, the first that saw a pixel has it.
        bands: which bands are red, green and blue, counted from 1.
        captured_at: when it was taken, None where unknown.
        clouds: masks that are not 0 where a cloud or its shadow hides the ground.
    """

    name: str
    sources: tuple[str, ...]
    bands: tuple[int, int, int] = (1, 2, 3)
    captured_at: datetime | None = None
    clouds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """The lattice of pixels that both dates are brought to. `transform` is that of the upper left pixel."""

    crs: CRS
    transform: Affine
    width: int
    height: int

    @cached_property
    def gsd(self) -> float:
        """Metres on the ground along one pixel at the centre, on the ellipsoid: a Web Mercator metre is no metre.

        Raises:
            SceneError: `bad_georeference`.
        """
        t = self.transform
        x, y = t @ (self.width / 2, self.height / 2)
        try:
            to_lonlat = Transformer.from_crs(ProjCRS.from_user_input(self.crs), 4326, always_xy=True)
            lon, lat = to_lonlat.transform(np.array([x, x + t.a, x + t.b]), np.array([y, y + t.d, y + t.e]))
            _, _, along = _GEOD.inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
            gsd = math.sqrt(along[0] * along[1])
        except (ProjError, ValueError):
            gsd = math.nan
        if not (math.isfinite(gsd) and gsd > 0):
            raise SceneError("bad_georeference")
        return gsd

    @property
    def offset(self) -> tuple[int, int]:
        """(row, column) of the upper left pixel on the lattice that starts where the coordinates are 0, 0.

        It is the same for a pixel whichever part of a scene the grid covers.
        """
        x, y = ~self.transform @ (0.0, 0.0)
        return -round(y), -round(x)

    def part(self, row: int, column: int, height: int, width: int) -> Grid:
        """The grid of a rectangle of pixels of this one."""
        return Grid(self.crs, self.transform @ Affine.translation(column, row), width, height)

    def pixel_bounds(self, crs: CRS, bounds: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
        """Rows and columns (top, left, bottom, right) that cover map bounds (west, south, east, north)."""
        west, south, east, north = transform_bounds(crs, self.crs, *bounds) if crs != self.crs else bounds
        corners = [~self.transform @ (x, y) for x in (west, east) for y in (south, north)]
        columns, rows = ([c[i] for c in corners] for i in (0, 1))
        top, left = math.floor(min(rows) + _ON_LATTICE_PX), math.floor(min(columns) + _ON_LATTICE_PX)
        bottom, right = math.ceil(max(rows) - _ON_LATTICE_PX), math.ceil(max(columns) - _ON_LATTICE_PX)
        return top, left, bottom, right


@contextmanager
def open_source(name: str) -> Iterator[DatasetReader]:
    """One file or tile service, as GeoTIFF or tile service and nothing else.

    Raises:
        SceneError: `source_unreadable`.
    """
    driver = "WMS" if name.startswith("<GDAL_WMS>") else "GTiff"
    try:
        with warnings.catch_warnings(), rasterio.Env(**GDAL_OPTIONS):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(name, driver=driver)
    except RasterioError as error:
        raise SceneError("source_unreadable", name=_shown(name), detail=_cause(error)) from error
    with dataset:
        yield dataset


def _shown(name: str) -> str:
    return "XYZ/WMTS" if name.startswith("<") else Path(name).name


def _cause(error: Exception) -> str:
    return str(error.__cause__ or error).replace("/vsicurl/", "")[:200]


def check(scene: Scene) -> None:
    """Refuse what can be known to be unusable from the headers of the files.

    Raises:
        SceneError: `source_unreadable`, `no_georeference`, `unsupported_bands`.
    """
    for name in scene.sources:
        with open_source(name) as dataset:
            if dataset.crs is None or dataset.transform.is_identity:
                raise SceneError("no_georeference", name=_shown(name))
            dtypes = {dataset.dtypes[b - 1] for b in scene.bands if b <= dataset.count}
            if max(scene.bands) > dataset.count or len(dtypes) != 1 or not dtypes <= {"uint8", "uint16"}:
                values = {"bands": dataset.count, "dtype": ", ".join(sorted(set(dataset.dtypes)))}
                raise SceneError("unsupported_bands", **values)


def grid_of(scene: Scene, *, gsd: float | None = None) -> Grid:
    """CRS and transform of the first source, over the extent of all of them.

    Args:
        gsd: metres on the ground per pixel, if not that of the source.
    """
    with open_source(scene.sources[0]) as first:
        grid = Grid(first.crs, first.transform, first.width, first.height)
    if gsd is not None:
        factor = gsd / grid.gsd
        size = (max(1, round(grid.width / factor)), max(1, round(grid.height / factor)))
        grid = Grid(grid.crs, grid.transform @ Affine.scale(factor), *size)
    top, left, bottom, right = extent(scene, grid)
    return grid.part(top, left, bottom - top, right - left)


def extent(scene: Scene, grid: Grid) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) in pixels of the grid that the sources of a scene reach."""
    boxes = []
    for name in scene.sources:
        with open_source(name) as dataset:
            boxes.append(grid.pixel_bounds(dataset.crs, tuple(dataset.bounds)))
    tops, lefts, bottoms, rights = zip(*boxes, strict=True)
    return min(tops), min(lefts), max(bottoms), max(rights)


class SceneReader:
    """Reads one scene on one grid. Not safe to share between threads; opening one is cheap."""

    def __init__(self, scene: Scene, grid: Grid) -> None:
        """
        Raises:
            SceneError: `source_unreadable`.
        """
        self._scene, self._grid = scene, grid
        self._stack = ExitStack()
        try:
            self._sources = [self._stack.enter_context(open_source(name)) for name in scene.sources]
            self._views = [self._view(source, Resampling.bilinear) for source in self._sources]
            masks = [self._stack.enter_context(open_source(name)) for name in scene.clouds]
            self._masks = [self._view(mask, Resampling.nearest) for mask in masks]
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> SceneReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def dtype(self) -> np.dtype[Any]:
        kind: np.dtype[Any] = np.dtype(self._sources[0].dtypes[self._scene.bands[0] - 1])
        return kind

    def read(
        self, row: int, column: int, height: int, width: int
    ) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], NDArray[np.bool_]]:
        """Pixels of a rectangle of the grid, which may reach up to `CONTEXT_PX` beyond it.

        Returns:
            (H, W, 3) of the type of the file, and (H, W) bool where something was seen.

        Raises:
            SceneError: `source_unreadable`; a file is gone or damaged.
        """
        pixels = np.zeros((height, width, 3), dtype=self.dtype)
        seen = np.zeros((height, width), dtype=np.bool_)
        for view in self._views:
            found = _cut(view, self._scene.bands, row, column, height, width)
            if found is None:
                continue
            values, valid, at = found
            if len(self._views) == 1:  # nothing lies above it
                pixels[at], seen[at] = values.transpose(1, 2, 0), valid
                if not valid.all():
                    pixels[~seen] = 0
                continue
            fresh = valid & ~seen[at]
            pixels[at][fresh] = values.transpose(1, 2, 0)[fresh]
            seen[at] |= valid
            if seen.all():
                break
        return pixels, seen

    def clouded(self, row: int, column: int, height: int, width: int) -> NDArray[np.bool_]:
        """(H, W) bool: where a supplied mask says cloud."""
        clouded = np.zeros((height, width), dtype=np.bool_)
        for mask in self._masks:
            found = _cut(mask, (1,), row, column, height, width)
            if found is not None:
                values, valid, at = found
                clouded[at] |= (values[0] != 0) & valid
        return clouded

    def _view(self, source: DatasetReader, resampling: Resampling) -> _View:
        grid = self._grid
        t, s = grid.transform, source.transform
        shift_x, shift_y = ~s @ (t.c, t.f)
        same_axes = all(math.isclose(p, q, rel_tol=1e-9, abs_tol=1e-15) for p, q in zip(t[:2], s[:2], strict=True))
        same_axes &= all(math.isclose(p, q, rel_tol=1e-9, abs_tol=1e-15) for p, q in zip(t[3:5], s[3:5], strict=True))
        on_lattice = max(abs(shift_x - round(shift_x)), abs(shift_y - round(shift_y))) < _ON_LATTICE_PX
        if source.crs == grid.crs and same_axes and on_lattice:
            return _View(source, round(shift_y), round(shift_x))
        padded = grid.part(-CONTEXT_PX, -CONTEXT_PX, grid.height + 2 * CONTEXT_PX, grid.width + 2 * CONTEXT_PX)
        warped = WarpedVRT(
            source, crs=padded.crs, transform=padded.transform, width=padded.width, height=padded.height,
            resampling=resampling, add_alpha=ColorInterp.alpha not in source.colorinterp,
        )  # fmt: skip
        return _View(self._stack.enter_context(warped), CONTEXT_PX, CONTEXT_PX)


@dataclass(frozen=True, slots=True)
class _View:
    """A dataset on the lattice of a grid, whose upper left pixel it has at (row, column)."""

    dataset: DatasetReader
    row: int
    column: int


def _cut(
    view: _View, bands: tuple[int, ...], row: int, column: int, height: int, width: int
) -> tuple[NDArray[Any], NDArray[np.bool_], tuple[slice, slice]] | None:
    """The part of a rectangle that a dataset has, its mask, and where in the rectangle it lies."""
    dataset = view.dataset
    top, left = max(0, row + view.row), max(0, column + view.column)
    bottom = min(dataset.height, row + view.row + height)
    right = min(dataset.width, column + view.column + width)
    if top >= bottom or left >= right:
        return None
    window = Window(left, top, right - left, bottom - top)
    try:
        with rasterio.Env(**GDAL_OPTIONS):
            values = dataset.read(list(bands), window=window)
            valid = dataset.dataset_mask(window=window) > 0
    except RasterioError as error:
        name = dataset.name if not isinstance(dataset, WarpedVRT) else dataset.src_dataset.name
        raise SceneError("source_unreadable", name=_shown(name), detail=_cause(error)) from error
    y, x = top - row - view.row, left - column - view.column
    return values, valid, np.s_[y : y + bottom - top, x : x + right - left]
