"""From flat shapes to pixels that look like a satellite's: texture, one sun, blur, noise, haze.

A scene is rendered tile by tile at twice its resolution and averaged down. All noise is a hash of the
position on the ground, so tiles meet without seams, both dates share the texture of what did not change, and
memory does not grow with the scene.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
Point = tuple[float, float]
Floats = NDArray[np.float32]

NATURAL, PAVED = -2.0, -1.0
"""`z` of open ground, whose edges are frayed, and of made ground, whose edges are straight."""

_OVER = 2  # supersampling
_TILE = 512  # pixels
_CODED = 16  # pixels; side of JPEG's blocks, so that those of neighbouring tiles line up
_MARGIN = 16  # pixels; a multiple of it, and more than the blur and the shift reach
_TALLEST = 21.0  # metres
_SUBPIXEL_BITS = 4
_AIRLIGHT = np.array([196, 203, 212], np.float32)
_MUTED = 0.86 * np.eye(3) + 0.14 / 3  # the air and the sensor's bands take some of the colour
_SKYLIGHT = (0.34, 0.385, 0.46)  # what is left in a shadow, bluish
_JPEG_QUALITY = 90


class Surface(IntEnum):
    """What a shape is made of, which decides its texture."""

    PAVING = 0
    ASPHALT = 1
    SOIL = 2
    GRASS = 3
    CROWN = 4
    TILE = 5
    SLAB = 6
    STEEL = 7
    NET = 8
    PAINT = 9
    RUBBLE = 10


@dataclass(frozen=True, slots=True)
class _Texture:
    """Strength of the noise by wavelength (0.4 m, 3 m, 30 m at 0.5 m per pixel), and of the drift in tint."""

    fine: float
    mid: float
    coarse: float
    tint: Colour = (0, 0, 0)


_TEXTURES = {
    Surface.PAVING: _Texture(0.055, 0.05, 0.075, (5, 2, -3)),
    Surface.ASPHALT: _Texture(0.045, 0.035, 0.06, (2, 1, 0)),
    Surface.SOIL: _Texture(0.065, 0.075, 0.09, (7, 1, -6)),
    Surface.GRASS: _Texture(0.12, 0.11, 0.10, (10, 2, 0)),
    Surface.CROWN: _Texture(0.26, 0.20, 0.07, (6, 3, 0)),
    Surface.TILE: _Texture(0.08, 0.06, 0.05, (5, 1, -2)),
    Surface.SLAB: _Texture(0.045, 0.07, 0.07, (4, 1, -3)),
    Surface.STEEL: _Texture(0.022, 0.03, 0.035, (3, 0, -3)),
    Surface.NET: _Texture(0.08, 0.12, 0.06, (7, 3, 1)),
    Surface.PAINT: _Texture(0.03, 0.02, 0.0),
    Surface.RUBBLE: _Texture(0.20, 0.13, 0.08, (5, 1, -3)),
}
_DRY, _LUSH = (1.26, 1.08, 1.0), (0.86, 1.02, 0.80)  # factors on the RGB of vegetation


# For `cv2.LUT`, which wants 256 entries: fine, mid, coarse and the three of the tint, by surface.
_TABLES = np.zeros((6, 256), np.float32)
_TABLES[:, list(_TEXTURES)] = np.array([(t.fine, t.mid, t.coarse, *t.tint) for t in _TEXTURES.values()]).T
_GREEN = np.isin(np.arange(256), (Surface.GRASS, Surface.CROWN))


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One flat piece of the scene.

    Attributes:
        points: outline, (x, y) in pixels of the scene.
        colour: RGB, 0..255, in full sun.
        surface: decides the texture.
        z: what is higher is painted later, and its shadow falls on what is lower.
        rise: metres above what lies beneath; decides the shadow's length.
        slope: horizontal part of the surface's normal, (x, y), up to 1; what leans to the sun is brighter.
    """

    points: tuple[Point, ...]
    colour: Colour
    surface: Surface
    z: float
    rise: float = 0.0
    slope: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Look:
    """Everything about one date that is not on the ground.

    Attributes:
        sun_azimuth_deg, sun_elevation_deg: clockwise from north; above the horizon.
        season: 0 (dry) to 1 (lush) vegetation.
        gain: factor on all values.
        haze: 0 (clear) to 1 (nothing visible).
        shift: (x, y) in pixels, by which the picture misses the grid.
        salt: of the sensor noise.
    """

    sun_azimuth_deg: float
    sun_elevation_deg: float
    season: float
    gain: float
    haze: float
    shift: tuple[float, float]
    salt: int


def _hash(salt: int, x0: int, y0: int, width: int, height: int) -> Floats:
    """(height, width) float32, uniform in -1..1: white noise of the position and `salt` alone."""
    x = np.arange(x0, x0 + width, dtype=np.int64).astype(np.uint32) * np.uint32(0x9E3779B1)
    y = np.arange(y0, y0 + height, dtype=np.int64).astype(np.uint32) * np.uint32(0x85EBCA77)
    h = (x[None, :] ^ np.uint32(salt & 0xFFFFFFFF)) + y[:, None]
    for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39), (15, 0x85EBCA6B)):
        h ^= h >> np.uint32(shift)
        h *= np.uint32(factor)
    h ^= h >> np.uint32(16)
    return h.astype(np.float32) * np.float32(2**-31) - np.float32(1)


def _octaves(salt: int, steps: Sequence[int], x0: int, y0: int, n: int) -> Floats:
    """(n, n) float32 of about unit variance: smooth noise of these wavelengths, in supersampled pixels."""
    total = np.zeros((n, n), np.float32)
    for k, step in enumerate(steps):
        first_x, first_y, cells = x0 // step - 2, y0 // step - 2, n // step + 6
        lattice = _hash(salt + 7919 * k, first_x, first_y, cells, cells)
        if step == 1:
            total += lattice[2 : 2 + n, 2 : 2 + n]
            continue
        scale = 1 / step
        to_lattice = np.array(
            [
                [scale, 0, (x0 + 0.5) * scale - 0.5 - first_x],
                [0, scale, (y0 + 0.5) * scale - 0.5 - first_y],
            ]
        )
        total += cv2.warpAffine(lattice, to_lattice, (n, n), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    return total * np.float32(math.sqrt(3 / len(steps)))


class _Ground:
    """Texture fields of one tile, the same at both dates. Each is (n, n) float32."""

    def __init__(self, seed: int, x0: int, y0: int, n: int) -> None:
        def field(name: int, *steps: int) -> Floats:
            return _octaves(seed * 1_000_003 + name * 104_729, steps, x0, y0, n)

        def smooth(name: int, *steps: int) -> Floats:
            """Long waves, made at a quarter of the resolution: nobody can tell."""
            salt, quarters = seed * 1_000_003 + name * 104_729, [s // 4 for s in steps]
            small = _octaves(salt, quarters, x0 // 4, y0 // 4, n // 4)
            return cv2.resize(small, (n, n), interpolation=cv2.INTER_CUBIC).astype(np.float32, copy=False)

        self.fine = field(1, 1, 2)
        self.mid = field(2, 4, 12)
        self.coarse = smooth(3, 40, 112, 260)
        self.tint = smooth(4, 16, 112)
        grid = np.arange(n, dtype=np.float32)
        self.frayed_x = grid[None, :] + 2.6 * smooth(5, 12)
        self.frayed_y = grid[:, None] + 2.6 * smooth(6, 12)


def _seen(
    shapes: Sequence[Shape], shadow_per_metre: NDArray[np.float64], x0: int, y0: int, n: int
) -> list[tuple[Shape, NDArray[np.int32], NDArray[np.int32]]]:
    """What reaches into the tile, lowest first: shape, outline and the offset of its shadow.

    Outlines and offsets are in cv2's fixed point, whose origin is the centre of the tile's first pixel.
    """
    if not shapes:
        return []
    shapes = sorted(shapes, key=lambda s: s.z)
    flat = chain.from_iterable(chain.from_iterable(s.points for s in shapes))
    points = np.fromiter(flat, np.float64).reshape(-1, 2)
    points = (points * _OVER - (x0 + 0.5, y0 + 0.5)) * (1 << _SUBPIXEL_BITS)
    starts = np.cumsum([0, *(len(s.points) for s in shapes[:-1])])
    casts = np.array([s.rise for s in shapes])[:, None] * shadow_per_metre
    low = np.minimum.reduceat(points, starts) + np.minimum(casts, 0)
    high = np.maximum.reduceat(points, starts) + np.maximum(casts, 0)
    fixed, offsets = np.rint(points).astype(np.int32), np.rint(casts).astype(np.int32)
    inside = np.flatnonzero(((high >= 0) & (low <= n << _SUBPIXEL_BITS)).all(axis=1))
    return [(shapes[k], fixed[starts[k] : starts[k] + len(shapes[k].points)], offsets[k]) for k in inside]


def _draw(
    shapes: Sequence[Shape], look: Look, gsd: float, ground: _Ground, x0: int, y0: int, n: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(n, n, 4) uint8 colour and `Surface`, and (n, n) uint8 shadow, 255 where the sun does not reach."""
    azimuth = math.radians(look.sun_azimuth_deg)
    sun = (math.sin(azimuth), -math.cos(azimuth))
    per_metre = (_OVER << _SUBPIXEL_BITS) / gsd / math.tan(math.radians(look.sun_elevation_deg))
    shadow_per_metre = np.multiply(sun, -per_metre)
    paint = np.full((n, n, 4), (150, 140, 124, Surface.PAVING), np.uint8)
    shadow = np.zeros((n, n), np.uint8)
    frayed = False
    for shape, outline, cast in _seen(shapes, shadow_per_metre, x0, y0, n):
        if not frayed and shape.z >= PAVED:
            paint = cv2.remap(
                paint, ground.frayed_x, ground.frayed_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
            ).astype(np.uint8, copy=False)
            frayed = True
        if shape.rise:
            swept = cv2.convexHull(np.concatenate([outline, outline + cast]))
            cv2.fillPoly(shadow, [swept], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
            cv2.fillPoly(shadow, [outline], 0, cv2.LINE_8, _SUBPIXEL_BITS)
        shade = 1 + shape.slope[0] * sun[0] + shape.slope[1] * sun[1]
        r, g, b = shape.colour  # cv2 clips what the sun makes too bright
        cv2.fillPoly(
            paint,
            [outline],
            (r * shade, g * shade, b * shade, int(shape.surface)),
            cv2.LINE_8,
            _SUBPIXEL_BITS,
        )
    return paint, shadow


def _looked_up(surface: NDArray[np.uint8], table: Floats) -> Floats:
    return cv2.LUT(surface, table).astype(np.float32, copy=False)


def _vegetation(paint: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(T, T) bool: where half of a pixel or more is grass or crown; the tile without its margin."""
    n, inner = len(paint) // _OVER, slice(_MARGIN, -_MARGIN)
    parts = _GREEN[paint[..., 3]].reshape(n, _OVER, n, _OVER).sum(axis=(1, 3))
    covered: NDArray[np.bool_] = parts[inner, inner] * 2 >= _OVER**2
    return covered


def _expose(
    paint: NDArray[np.uint8], shadow: NDArray[np.uint8], look: Look, ground: _Ground, x0: int, y0: int
) -> NDArray[np.uint8]:
    """What the sensor makes of it: (T, T, 3) uint8, the tile without its margin."""
    surface = np.ascontiguousarray(paint[..., 3])
    texture = np.ones(surface.shape, np.float32)
    for table, noise in zip(_TABLES, (ground.fine, ground.mid, ground.coarse), strict=False):
        texture += _looked_up(surface, table) * noise
    np.maximum(texture, 0.25, out=texture)
    shade = cv2.GaussianBlur(shadow, (0, 0), 1.1).astype(np.float32) * np.float32(1 / 255)
    planes = []
    for channel in range(3):
        plane = paint[..., channel].astype(np.float32)
        season = _DRY[channel] + (_LUSH[channel] - _DRY[channel]) * look.season
        plane *= _looked_up(surface, np.where(_GREEN, season, 1).astype(np.float32))
        plane += _looked_up(surface, _TABLES[3 + channel]) * ground.tint
        plane *= texture
        plane *= 1 - shade * np.float32(1 - _SKYLIGHT[channel])
        planes.append(plane)

    image: Floats = cv2.transform(cv2.GaussianBlur(cv2.merge(planes), (0, 0), 1.05), _MUTED).astype(
        np.float32, copy=False
    )
    n = len(surface)
    if any(look.shift):
        move = np.array([[1.0, 0, _OVER * look.shift[0]], [0, 1, _OVER * look.shift[1]]])
        cv2.warpAffine(image.copy(), move, (n, n), image, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
    small = cv2.resize(image, (n // _OVER, n // _OVER), interpolation=cv2.INTER_AREA)
    image = small.astype(np.float32, copy=False)
    image += 0.45 * (image - cv2.GaussianBlur(image, (0, 0), 1.2))  # suppliers sharpen what they sell
    # Haze drifts: a little more in one place than in another.
    haze = look.haze * (1 + 0.12 * ground.coarse[::_OVER, ::_OVER, None])
    image = (image * look.gain * (1 - haze) + _AIRLIGHT * haze).astype(np.float32, copy=False)
    left, top = x0 // _OVER, y0 // _OVER
    side = len(image)
    for k in range(2):
        image += 2.6 * _hash(look.salt + k, left, top, side, side)[..., None]
    for channel in range(3):
        image[..., channel] += 2.2 * _hash(look.salt + 2 + channel, left, top, side, side)
    sharp = np.clip(image, 0, 255).astype(np.uint8)
    _, coded = cv2.imencode(".jpg", sharp[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    if decoded is None:
        raise RuntimeError("this build of OpenCV cannot read back its own JPEG")
    inner = slice(_MARGIN, -_MARGIN)  # cut last: a pixel's colour is smoothed over its neighbours on decoding
    return decoded[inner, inner, ::-1].astype(np.uint8, copy=False)


Box = tuple[float, float, float, float]


def render(
    shapes_within: Callable[[Box], tuple[Sequence[Shape], ...]],
    looks: Sequence[Look],
    *,
    size: int,
    gsd: float,
    seed: int,
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.bool_]]]:
    """Render one scene at each of its dates.

    Args:
        shapes_within: for a box (x0, y0, x1, y1) in pixels, everything that touches it, per date.
        looks: one per date.
        size: side of the scene in pixels.
        gsd: metres per pixel.
        seed: of the texture of the ground.

    Returns:
        Per date, (size, size, 3) uint8 RGB; and per date, (size, size) bool where vegetation covers half a pixel.
    """
    pictures = [np.empty((size, size, 3), np.uint8) for _ in looks]
    greens = [np.empty((size, size), np.bool_) for _ in looks]
    tile = math.ceil(size / math.ceil(size / _TILE) / _CODED) * _CODED
    n = (tile + 2 * _MARGIN) * _OVER
    lowest = min(look.sun_elevation_deg for look in looks)
    reach = _MARGIN + _TALLEST / math.tan(math.radians(lowest)) / gsd  # of shadows, out of what casts them
    for top in range(0, size, tile):
        for left in range(0, size, tile):
            x0, y0 = (left - _MARGIN) * _OVER, (top - _MARGIN) * _OVER
            ground = _Ground(seed, x0, y0, n)
            box = (left - reach, top - reach, left + tile + reach, top + tile + reach)
            for picture, green, shapes, look in zip(pictures, greens, shapes_within(box), looks, strict=True):
                paint, shadow = _draw(shapes, look, gsd, ground, x0, y0, n)
                for whole, part in (
                    (picture, _expose(paint, shadow, look, ground, x0, y0)),
                    (green, _vegetation(paint)),
                ):
                    there = whole[top : top + tile, left : left + tile]
                    there[:] = part[: there.shape[0], : there.shape[1]]
    return pictures, greens
