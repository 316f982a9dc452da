"""What a camera wrote beside the pixels: which way is up, when, where, and that it was a camera. Read once, never kept.

Positions in EXIF are WGS-84 by the standard (Exif 2.32, `GPSMapDatum`), and that is what is assumed here. Some
cameras of Chinese make write GCJ-02 all the same; `inference.photo_checks` notices where a site is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

Turn = Callable[[NDArray[Any]], NDArray[Any]]
TURNS: dict[int | None, Turn] = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x[::-1].swapaxes(0, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x[:, ::-1].swapaxes(0, 1),
}
"""Orientation -> what makes (H, W, ...) upright."""

_IN_THE_AIR = ("dji", "autel", "parrot", "sensefly", "yuneec", "skydio")
"""Makers of drones, whose cameras look down as often as ahead."""
_EXPOSED = (ExifTags.Base.ExposureTime, ExifTags.Base.FNumber, ExifTags.Base.FocalLength)


@dataclass(frozen=True, slots=True)
class Facts:
    """What EXIF says of one picture.

    Attributes:
        orientation: 1 to 8 as in `TURNS`; 1 where it says nothing that makes sense.
        captured_at: local time without a zone, unless the camera states its offset: then UTC.
        place: longitude and latitude in degrees, or None.
        camera: whether a camera held by hand says that it took the picture.
    """

    orientation: int = 1
    captured_at: datetime | None = None
    place: tuple[float, float] | None = None
    camera: bool = False

    def upright(self, values: NDArray[Any]) -> NDArray[Any]:
        """(H, W, ...) turned the right way up."""
        return np.ascontiguousarray(TURNS[self.orientation](values))


def facts(exif: Image.Exif) -> Facts:
    """Read what is wanted. Damaged EXIF is as good as none."""
    try:
        details = exif.get_ifd(ExifTags.IFD.Exif)
        orientation = exif.get(ExifTags.Base.Orientation)
        text = details.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
        return Facts(
            orientation if isinstance(orientation, int) and orientation in TURNS else 1,
            parse_time(text, details.get(ExifTags.Base.OffsetTimeOriginal)),
            _place(exif.get_ifd(ExifTags.IFD.GPSInfo)),
            _is_camera(str(exif.get(ExifTags.Base.Make, "")), details),
        )
    except Exception:  # Pillow raises nearly anything over damaged data: struct.error, KeyError, EOFError, ...
        return Facts()


def tiff_facts(data: bytes) -> Facts:
    """The same of a TIFF file, whose own tags are what EXIF was made of. None of its pixels are read."""
    exif = Image.Exif()
    try:
        exif.load(data)
    except Exception:  # as above
        return Facts()
    return facts(exif)


def parse_time(text: object, offset: object = None) -> datetime | None:
    """A time as EXIF writes it; UTC where an offset is given."""
    if not isinstance(text, str):
        return None
    text = text.strip("\x00 ")
    if isinstance(offset, str):
        try:
            return datetime.strptime(text + offset.strip(), "%Y:%m:%d %H:%M:%S%z").astimezone(UTC)
        except ValueError:
            pass
    try:
        return datetime.strptime(text, "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None


def _is_camera(make: str, details: dict[int, Any]) -> bool:
    """A scanner has a maker too and an editor leaves tags behind: an exposure is what only a camera has."""
    exposed = any(tag in details for tag in _EXPOSED)
    return exposed and not make.strip("\x00 ").lower().startswith(_IN_THE_AIR)


def _place(tags: dict[int, Any]) -> tuple[float, float] | None:
    """Longitude and latitude. Exactly 0, 0 is what a camera writes that does not know where it is."""
    try:
        lon = _degrees(tags[ExifTags.GPS.GPSLongitude], tags[ExifTags.GPS.GPSLongitudeRef], "EW")
        lat = _degrees(tags[ExifTags.GPS.GPSLatitude], tags[ExifTags.GPS.GPSLatitudeRef], "NS")
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    on_earth = math.isfinite(lon) and math.isfinite(lat) and abs(lon) <= 180 and abs(lat) <= 90
    return (round(lon, 7), round(lat, 7)) if on_earth and (lon, lat) != (0.0, 0.0) else None


def _degrees(parts: Any, reference: Any, sides: str) -> float:
    degrees, minutes, seconds = (float(v) for v in parts)
    side = str(reference).strip("\x00 ").upper()
    if side not in sides or not side:
        raise ValueError(side)
    return (degrees + minutes / 60 + seconds / 3600) * (1 if side == sides[0] else -1)
