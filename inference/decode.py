"""From a file to a `Raster`: what it is, whether it is safe to decode, upright, 8-bit RGB, with what it knows.

GeoTIFF goes through GDAL (rasterio), everything else through Pillow. Size limits are checked on the header,
before a single pixel is decoded. EXIF is read into fields (see `inference.exif`) and goes no further.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pi_heif
import rasterio
from numpy.typing import NDArray
from PIL import Image
from pyproj import CRS as ProjCRS
from pyproj import Geod, Transformer
from pyproj.exceptions import ProjError
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.io import DatasetReader, MemoryFile

from datasets.raster import Raster
from inference.exif import Facts, facts, tiff_facts
from inference.reasons import InputError, Reason

Image.MAX_IMAGE_PIXELS = None  # `Limits.max_pixels` is checked below, on every path

# `pi-heif` and not `pillow-heif`: the same reader, whose wheels leave out the encoder x265, which is under the GPL.
pi_heif.register_heif_opener(thumbnails=False)

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "HEIF")
"""No others: Pillow also hands EPS to Ghostscript, and a parser that nobody needs is only open to attack."""
_TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_GEOD = Geod(ellps="WGS84")


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest file that is read (bytes) and the largest picture that is decoded (pixels).

    Photographs have a limit of their own. A sensor of 50 megapixels has up to 50.4 million pixels; modes of 108 and
    200 megapixels interpolate most of what they add, and photographs are judged at 1600 px anyway.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 100_000_000
    max_photograph_pixels: int = 50_500_000


def read_raster(
    source: bytes | Path,
    *,
    name: str = "",
    gsd: float | None = None,
    limits: Limits | None = None,
    photograph: bool = False,
) -> Raster:
    """Decode one picture.

    Args:
        source: the file, or its path.
        name: what to call it; the file name if a path is given.
        gsd: metres per pixel where the file does not say; a georeference outranks it.
        limits: refuse what is larger.
        photograph: it is known to be one taken by hand, whether its EXIF says so or not.

    Raises:
        InputError: the file cannot be used; its reason says why and what to do.
        OSError: the path cannot be read.
    """
    limits = limits or Limits()
    if gsd is not None and not (math.isfinite(gsd) and 0 < gsd < 1000):
        raise InputError(Reason("bad_gsd", {"gsd": gsd}))
    if isinstance(source, Path):
        name = name or source.name
        _check_bytes(source.stat().st_size, limits)
        source = source.read_bytes()
    else:
        _check_bytes(len(source), limits)
    if source[:4] in _TIFF_MAGIC:
        return _read_tiff(source, name, gsd, limits, photograph)
    return _read_picture(source, name, gsd, limits, photograph)


def _check_bytes(size: int, limits: Limits) -> None:
    if size == 0:
        raise InputError(Reason("empty_file"))
    if size > limits.max_bytes:
        raise InputError(Reason("too_many_bytes", {"limit_mb": limits.max_bytes // 2**20}))


def _check_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        found, limit = width * height / 1e6, limits.max_pixels / 1e6
        raise InputError(Reason("too_many_pixels", {"megapixels": round(found), "limit_megapixels": round(limit)}))


def _check_photograph(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_photograph_pixels:
        found, limit = width * height / 1e6, limits.max_photograph_pixels // 1_000_000
        raise InputError(Reason("photo_too_large", {"megapixels": math.ceil(found), "limit_megapixels": limit}))


# --- Pillow -----------------------------------------------------------------------------------------------


def _read_picture(data: bytes, name: str, gsd: float | None, limits: Limits, photograph: bool) -> Raster:
    opened = False
    try:
        # Pillow warns of damage that it can read past; what cannot be read is refused below.
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            opened = True
            _check_pixels(image.width, image.height, limits)
            frames = getattr(image, "n_frames", 1)
            # A phone's JPEG may carry a preview as a second frame (MPO); the first is the photograph.
            if frames > 1 and image.format != "MPO":
                raise InputError(Reason("animated", {"frames": frames}))
            known = _facts(image)
            if photograph or (known.camera and gsd is None):
                _check_photograph(image.width, image.height, limits)
            pixels, valid = _to_rgb(image)
    except (InputError, MemoryError):
        raise
    except Exception:  # damaged files make Pillow raise nearly anything: struct.error, KeyError, EOFError, ...
        raise InputError(Reason("truncated" if opened else "not_an_image")) from None
    return Raster(
        known.upright(pixels),
        known.upright(valid),
        name=name,
        gsd=gsd,
        captured_at=known.captured_at,
        place=known.place,
        camera=known.camera,
    )


def _facts(image: Image.Image) -> Facts:
    """What EXIF says; a picture is not refused because its EXIF is damaged."""
    try:
        return facts(image.getexif())
    except Exception:  # as above
        return Facts()


def _to_rgb(image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Any Pillow mode -> RGB pixels and the mask of what is not transparent."""
    image.load()
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.uint16)
        valid = np.ones(values.shape, dtype=np.bool_)
        return np.repeat(_stretch(values, valid)[..., None], 3, axis=2), valid
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = np.array(image.convert("RGBA"))
        return np.ascontiguousarray(rgba[..., :3]), rgba[..., 3] > 0
    pixels = np.array(image.convert("RGB"))
    return pixels, np.ones(pixels.shape[:2], dtype=np.bool_)


# --- GDAL -------------------------------------------------------------------------------------------------


@contextmanager
def _open_tiff(data: bytes) -> Iterator[DatasetReader]:
    # Only TIFF, and no neighbouring files: an upload must not make GDAL read anything but itself.
    options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO"}
    with warnings.catch_warnings(), rasterio.Env(**options), MemoryFile(data) as file:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with file.open(driver="GTiff") as dataset:
            yield dataset


def _read_tiff(data: bytes, name: str, gsd: float | None, limits: Limits, photograph: bool) -> Raster:
    opened = False
    try:
        with _open_tiff(data) as dataset:
            opened = True
            _check_pixels(dataset.width, dataset.height, limits)
            for block_height, block_width in dataset.block_shapes:  # a block is decoded whole, however large
                _check_pixels(block_width, block_height, limits)
            georeferenced = dataset.crs is not None and not dataset.transform.is_identity
            known = tiff_facts(data)
            if photograph or (known.camera and gsd is None and not georeferenced):
                _check_photograph(dataset.width, dataset.height, limits)
            dtypes = set(dataset.dtypes)
            if dataset.count not in (1, 3, 4) or not dtypes <= {"uint8", "uint16"}:
                values = {"bands": dataset.count, "dtype": ", ".join(sorted(dtypes))}
                raise InputError(Reason("unsupported_bands", values))
            valid = dataset.dataset_mask() > 0
            pixels = _tiff_rgb(dataset, valid)
            if not georeferenced:  # a transform speaks of the pixels as they are stored
                pixels, valid = known.upright(pixels), known.upright(valid)
            return Raster(
                pixels,
                valid,
                name=name,
                crs=dataset.crs if georeferenced else None,
                transform=dataset.transform if georeferenced else None,
                gsd=_gsd(dataset) if georeferenced else gsd,
                captured_at=known.captured_at,
                place=known.place,
                camera=known.camera,
            )
    except RasterioIOError:
        raise InputError(Reason("truncated" if opened else "not_an_image")) from None
    except (RasterioError, CRSError):
        raise InputError(Reason("not_an_image")) from None


def _tiff_rgb(dataset: DatasetReader, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    if dataset.count == 1 and dataset.colorinterp[0] is ColorInterp.palette:
        colours = np.zeros((65536, 3), dtype=np.uint8)
        for index, colour in dataset.colormap(1).items():
            colours[index] = colour[:3]
        pixels: NDArray[np.uint8] = colours[dataset.read(1)]
        return pixels
    bands = dataset.read(indexes=[1] if dataset.count == 1 else [1, 2, 3])
    values = np.ascontiguousarray(np.moveaxis(bands, 0, 2))
    pixels = values if values.dtype == np.uint8 else _stretch(values, valid)
    return pixels if dataset.count > 1 else np.repeat(pixels, 3, axis=2)


def _gsd(dataset: DatasetReader) -> float:
    """Metres on the ground along one pixel at the centre of the picture, measured on the ellipsoid.

    Geodesic and not from the transform, because a Web Mercator metre is 0.77 m of ground at Beijing.
    """
    a, b, c, d, e, f, *_ = dataset.transform
    x, y = (a * dataset.width + b * dataset.height) / 2 + c, (d * dataset.width + e * dataset.height) / 2 + f
    try:
        to_lonlat = Transformer.from_crs(ProjCRS.from_user_input(dataset.crs), 4326, always_xy=True)
        lon, lat = to_lonlat.transform(np.array([x, x + a, x + b]), np.array([y, y + d, y + e]))
        _, _, along = _GEOD.inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
        gsd = math.sqrt(along[0] * along[1])
    except (ProjError, ValueError):
        gsd = math.nan
    if not (math.isfinite(gsd) and gsd > 0):
        raise InputError(Reason("bad_georeference"))
    return gsd


def _stretch(values: NDArray[np.uint16], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """16 bit of any shape -> 8 bit, from the 0.5th to the 99.5th percentile of the valid pixels (H, W).

    One range for all channels, so that colours keep their balance.
    """
    seen = values[valid]
    if seen.size == 0:
        return np.zeros(values.shape, dtype=np.uint8)
    low, high = np.percentile(seen, (0.5, 99.5))
    levels = (np.arange(65536) - low) / max(float(high - low), 1.0)
    table = np.rint(np.clip(levels, 0, 1) * 255).astype(np.uint8)
    stretched: NDArray[np.uint8] = table[values]
    return stretched
