"""What cameras write beside the pixels: read into fields, and never into anything that is given out."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.raster import Raster
from inference.decode import Limits, read_raster
from inference.exif import facts, tiff_facts
from inference.reasons import InputError
from tests.heic import HEIC
from tests.imagery import encoded, geotiff, ground, png_chunk, png_claiming

MAKE, ORIENTATION, DETAILS, GPS = 0x010F, 0x0112, 0x8769, 0x8825
EXPOSURE, TAKEN, OFFSET = 0x829A, 0x9003, 0x9011
SMALL = ground(1, 48, 64)
NORTH, EAST = (39.0, 54.0, 36.0), (116.0, 11.0, 24.0)


def exif(
    make: str | None = "Phone", orientation: int | None = None, exposed: bool = True, gps: dict[int, Any] | None = None
) -> Image.Exif:
    result = Image.Exif()
    if make:
        result[MAKE] = make
    if orientation:
        result[ORIENTATION] = orientation
    if exposed:
        result.get_ifd(DETAILS)[EXPOSURE] = 0.01
    if gps:
        result.get_ifd(GPS).update(gps)
    return result


def placed(lat: Any = NORTH, lon: Any = EAST, north: Any = "N", east: Any = "E") -> dict[int, Any]:
    return {1: north, 2: lat, 3: east, 4: lon}


def read(kind: str = "JPEG", **fields: Any) -> Raster:
    return read_raster(encoded(SMALL, kind, exif=exif(**fields)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_place_is_read_from_every_kind_of_file(kind: str) -> None:
    assert read(kind, gps=placed()).place == pytest.approx((116.19, 39.91))


def test_the_tags_of_a_tiff_are_read_as_exif_is() -> None:
    found = tiff_facts(exif(orientation=6, gps=placed()).tobytes().removeprefix(b"Exif\x00\x00"))
    assert (found.orientation, found.camera) == (6, True)
    assert found.place == pytest.approx((116.19, 39.91))


def test_south_and_west_are_negative() -> None:
    assert read(gps=placed(north="S", east="W")).place == pytest.approx((-116.19, -39.91))


@pytest.mark.parametrize(
    "gps",
    [
        placed((0, 0, 0), (0, 0, 0)),
        placed(lat=(95, 0, 0)),
        placed(lat=(float("nan"), 0, 0)),
        placed(north=""),
        {1: "N", 2: NORTH},
    ],
    ids=["null island", "beyond the pole", "no number", "no side", "half a place"],
)
def test_a_place_that_makes_no_sense_is_no_place(gps: dict[int, Any]) -> None:
    assert facts(exif(gps=gps)).place is None


@pytest.mark.parametrize(
    ("make", "exposed", "camera"),
    [
        ("Phone", True, True),
        (None, True, True),
        ("A scanner", False, False),
        ("DJI", True, False),
        ("dji", True, False),
    ],
    ids=["telephone", "nameless", "scanner", "drone", "drone in small letters"],
)
def test_a_camera_is_what_exposes_and_does_not_fly(make: str | None, exposed: bool, camera: bool) -> None:
    assert read(make=make, exposed=exposed).camera is camera


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_upright_by_its_tag(orientation: int) -> None:
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    upright = Image.fromarray(SMALL)
    stored = upright.transpose(back[orientation]) if orientation > 1 else upright
    data = encoded(stored, "TIFF", tiffinfo={ORIENTATION: orientation})
    assert np.array_equal(read_raster(data).pixels, SMALL)


def test_a_georeference_speaks_of_the_pixels_as_they_are_stored() -> None:
    data = bytearray(geotiff(SMALL))
    tag = data.rindex((262).to_bytes(2, "little") + b"\x03\x00")  # photometric interpretation: RGB needs not be said
    data[tag : tag + 12] = ORIENTATION.to_bytes(2, "little") + b"\x03\x00\x01\x00\x00\x00\x03\x00\x00\x00"
    assert tiff_facts(bytes(data)).orientation == 3
    assert read_raster(bytes(data)).pixels.shape == SMALL.shape


def test_heic_is_read_with_what_the_telephone_wrote() -> None:
    raster = read_raster(HEIC, name="IMG_0001.HEIC")
    assert raster.pixels.shape == (64, 96, 3)
    assert raster.pixels[5, 50, 0] > 150 > raster.pixels[5, 50, 2]
    assert raster.pixels[60, 50, 2] > 150 > raster.pixels[60, 50, 0]
    assert raster.place == pytest.approx((116.19, 39.91))
    assert raster.captured_at == datetime(2026, 5, 1, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_heic_that_is_cut_off_is_refused(share: float) -> None:
    with pytest.raises(InputError) as caught:
        read_raster(HEIC[: int(share * len(HEIC))])
    assert caught.value.reason.code in ("truncated", "not_an_image")


def test_damaged_heic_gives_a_raster_or_a_reason() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        data = np.frombuffer(HEIC, np.uint8).copy()
        data[rng.integers(len(data), size=3)] = rng.integers(256, size=3)
        with suppress(InputError):  # and nothing else
            assert read_raster(data.tobytes(), limits=Limits(max_pixels=100_000)).pixels.shape[2] == 3


def _claiming(width: int, height: int, camera: bool) -> bytes:
    """A PNG of a few bytes that promises a large photograph."""
    data = png_claiming(width, height)
    if not camera:
        return data
    chunk = png_chunk(b"eXIf", exif().tobytes().removeprefix(b"Exif\x00\x00"))
    return data[:33] + chunk + data[33:]


@pytest.mark.parametrize(
    ("size", "camera", "asked", "code"),
    [
        ((12_000, 9_000), True, False, "too_many_pixels"),
        ((9_280, 6_944), True, False, "photo_too_large"),
        ((9_280, 6_944), False, True, "photo_too_large"),
        ((9_280, 6_944), False, False, "truncated"),
        ((8_192, 6_144), True, True, "truncated"),
    ],
    ids=["108 MP", "64 MP of a camera", "64 MP called a photograph", "64 MP of a map", "50 MP of a camera"],
)
def test_photographs_have_a_limit_of_50_megapixels(size: tuple[int, int], camera: bool, asked: bool, code: str) -> None:
    with pytest.raises(InputError) as caught:
        read_raster(_claiming(*size, camera), photograph=asked)
    assert caught.value.reason.code == code
    if code == "photo_too_large":
        assert caught.value.reason.values == {"megapixels": 65, "limit_megapixels": 50}
