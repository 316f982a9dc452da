"""Imagery made for tests: ground with texture, blocks that stand on it, and every kind of file it may come in."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from datasets.raster import Raster
from inference.model import Contract
from model import OUTPUTS

Pixels = NDArray[np.uint8]

MAGENTA = (255, 0, 255)
UTM = Affine(0.5, 0, 431_000, 0, -0.5, 4_418_000)
"""Half-metre pixels in EPSG:32650, near Shijingshan (116.19 E, 39.91 N)."""


def ground(seed: int, height: int = 256, width: int | None = None) -> Pixels:
    """(H, W, 3) earth and vegetation: noise of several sizes, as sharp as imagery is, no two places alike."""
    width = width or height
    rng = np.random.default_rng(seed)
    heights = np.zeros((height, width), dtype=np.float32)
    for sigma, strength in ((0.5, 7), (1.5, 14), (4, 16), (12, 22)):
        noise = rng.normal(size=(height, width)).astype(np.float32)
        smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma))
        heights += strength * smooth / smooth.std()
    colours = np.array([1.0, 0.95, 0.8], dtype=np.float32)
    return np.asarray(np.clip(110 + heights[..., None] * colours, 0, 255), dtype=np.uint8)


def built(pixels: Pixels, *blocks: tuple[int, int, int, int], roof: tuple[int, int, int] = (205, 210, 215)) -> Pixels:
    """A copy with a flat roof at each (x, y, width, height), and its shadow to the north."""
    result = pixels.copy()
    for x, y, width, _ in blocks:
        shadow = np.s_[max(0, y - 5) : y, x + 3 : x + width + 3]
        result[shadow] = (result[shadow] * 0.35).astype(np.uint8)
    for x, y, width, height in blocks:
        result[y : y + height, x : x + width] = roof
    return result


def relit(pixels: Pixels, seed: int = 0, *, gain: float = 0.85, noise: float = 5.0) -> Pixels:
    """The same ground on another day: other light, other noise."""
    rng = np.random.default_rng(seed)
    return np.clip(pixels * gain + 8 + rng.normal(0, noise, pixels.shape), 0, 255).astype(np.uint8)


def raster(pixels: Pixels, valid: NDArray[np.bool_] | None = None, **fields: Any) -> Raster:
    """Seen everywhere unless `valid` says otherwise."""
    return Raster(pixels, np.ones(pixels.shape[:2], dtype=np.bool_) if valid is None else valid, **fields)


def located(pixels: Pixels, valid: NDArray[np.bool_] | None = None, **fields: Any) -> Raster:
    """The same in EPSG:32650 at half a metre."""
    return raster(pixels, valid, **{"crs": CRS.from_epsg(32650), "transform": UTM, "gsd": 0.5} | fields)


# --- Files ------------------------------------------------------------------------------------------------


def encoded(picture: NDArray[Any] | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A file of any kind that Pillow writes."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def geotiff(
    values: NDArray[Any],
    *,
    crs: str | None = "EPSG:32650",
    transform: Affine = UTM,
    tags: dict[str, str] | None = None,
    palette: dict[int, tuple[int, int, int]] | None = None,
    **profile: Any,
) -> bytes:
    """(H, W) or (H, W, bands) of any type -> GeoTIFF; a plain TIFF if `crs` is None."""
    bands = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
    count, height, width = bands.shape
    place = {} if crs is None else {"crs": crs, "transform": transform}
    with warnings.catch_warnings(), MemoryFile() as file:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with file.open(
            driver="GTiff", width=width, height=height, count=count, dtype=values.dtype, **place, **profile
        ) as dataset:
            dataset.write(bands)
            dataset.update_tags(**(tags or {}))
            if palette:
                dataset.write_colormap(1, palette)
        return bytes(file.read())


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises a picture of any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    row = zlib.compress(bytes(1 + 3 * 16))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", row) + png_chunk(b"IEND", b"")


# --- A model that can be foreseen -------------------------------------------------------------------------


class MagentaModel:
    """Stands in for released weights: what is magenta is a structure, with probability 0.9, and nothing else is."""

    name, version, sha256 = "magenta", "1", "0" * 64
    contract = Contract(
        multiple_of=16,
        gsd_range_m=(0.25, 1.2),
        temperature=dict.fromkeys(OUTPUTS, 1.0),
        threshold=dict.fromkeys(OUTPUTS, 0.5),
        change_peak=0.5,
        change_mean=0.0,
        area_error_px=0.5,
    )

    def probabilities(self, before: Pixels, after: Pixels) -> NDArray[np.float32]:
        first, second = ((x[:, 0] > 200) & (x[:, 1] < 80) & (x[:, 2] > 200) for x in (before, after))
        return np.stack([first, second, first ^ second], axis=1).astype(np.float32) * 0.8 + 0.1


class CloudyModel(MagentaModel):
    """The same, and what is pure white is cloud."""

    name = "cloudy"
    contract = replace(MagentaModel.contract, cloud=0.5)

    def probabilities(self, before: Pixels, after: Pixels) -> NDArray[np.float32]:
        clouds = np.stack([x.min(axis=1) == 255 for x in (before, after)], axis=1).astype(np.float32)
        return np.concatenate([super().probabilities(before, after), clouds * 0.8 + 0.1], axis=1)


class StreetModel(MagentaModel):
    """The same for photographs: besides magenta structure, what is bluish and bright is sky and all the rest ground."""

    name = "street"
    contract = replace(
        MagentaModel.contract,
        gsd_range_m=None,
        long_side=512,
        classes=("structure", "ground", "vegetation", "sky", "other"),
    )

    def classes(self, before: Pixels, after: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        dates = []
        for x in (before, after):
            red, green, blue = (x[:, channel].astype(int) for channel in range(3))
            structure = (red > 200) & (green < 80) & (blue > 200)
            sky = ~structure & (blue > 140) & (blue > red + 12)
            nothing = np.zeros_like(structure)
            dates.append(np.stack([structure, ~structure & ~sky, nothing, sky, nothing], axis=1))
        return self.probabilities(before, after), np.stack(dates, axis=1).astype(np.float32) * 0.95 + 0.01


def look(*blocks: tuple[int, int, int, int]) -> Pixels:
    """The ground with magenta blocks, which the model that sees magenta takes for structures."""
    return built(ground(1), *blocks, roof=MAGENTA)


def later(*blocks: tuple[int, int, int, int]) -> Pixels:
    """The same ground in other light, the blocks as bright as ever."""
    pixels = relit(ground(1), 3)
    for x, y, width, height in blocks:
        pixels[y : y + height, x : x + width] = MAGENTA
    return pixels
