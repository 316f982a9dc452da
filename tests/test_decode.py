"""From any bytes to a raster, or to a reason: nothing else comes out, and nothing large is decoded first."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image, ImageFile
from rasterio.crs import CRS

from datasets.raster import Raster
from inference.decode import Limits, read_raster
from inference.reasons import InputError
from tests.imagery import MAGENTA, UTM, built, encoded, geotiff, ground, png_chunk, png_claiming

PICTURE = built(ground(1, 96, 128), (30, 20, 40, 30))
SMOOTH = np.asarray(Image.fromarray(PICTURE).resize((64, 48), Image.Resampling.BOX))
DATE_TAG, EXIF_IFD, TAKEN_TAG, OFFSET_TAG, ORIENTATION_TAG = 306, 34665, 36867, 36881, 274


def refusal(data: bytes | Path, **options: Any) -> str:
    """The code of the reason why a file is refused."""
    with pytest.raises(InputError) as caught:
        read_raster(data, **options)
    assert caught.value.reason.say("zh")
    assert caught.value.reason.remedy("en")
    return caught.value.reason.code


def exif(**fields: Any) -> Image.Exif:
    """EXIF with `orientation`, `date`, `taken` and `offset`."""
    result = Image.Exif()
    for name, tag in (("orientation", ORIENTATION_TAG), ("date", DATE_TAG)):
        if name in fields:
            result[tag] = fields[name]
    for name, tag in (("taken", TAKEN_TAG), ("offset", OFFSET_TAG)):
        if name in fields:
            result.get_ifd(EXIF_IFD)[tag] = fields[name]
    return result


# --- What cannot be used ----------------------------------------------------------------------------------


def test_an_empty_file_is_refused() -> None:
    assert refusal(b"") == "empty_file"


@pytest.mark.parametrize(
    "data",
    [b"x", b"hello, this is not a picture", b"%PDF-1.7\n1 0 obj", b"PK\x03\x04" + bytes(200), bytes(4096),
     b"II*\x00", b"MM\x00*" + bytes(40), b"II+\x00" + b"\xff" * 60],
    ids=["one byte", "text", "pdf", "zip", "zeros", "tiff magic alone", "tiff of zeros", "bigtiff of ones"],
)  # fmt: skip
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    assert refusal(data) == "not_an_image"


def test_postscript_is_never_handed_to_an_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *a, **k: pytest.fail("Ghostscript was called"))
    assert refusal(encoded(PICTURE, "EPS")) == "not_an_image"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_is_cut_off_is_refused(kind: str, share: float) -> None:
    data = encoded(PICTURE, kind)
    assert refusal(data[: int(share * len(data))]) in ("truncated", "not_an_image")


def test_a_cut_off_jpeg_is_called_cut_off() -> None:
    data = encoded(PICTURE, "JPEG")
    assert refusal(data[: len(data) // 2]) == "truncated"


def test_a_tiff_whose_pixels_are_missing_is_called_cut_off() -> None:
    data = encoded(PICTURE, "TIFF")
    (directory,) = struct.unpack("<I", data[4:8])
    assert directory < 1000  # the directory comes first, the pixels behind it
    assert refusal(data[:-4000]) == "truncated"


@pytest.mark.parametrize("share", [0.02, 0.4])
def test_a_tiff_cut_off_anywhere_is_refused(share: float) -> None:
    data = encoded(PICTURE, "TIFF")
    assert refusal(data[: int(share * len(data))]) in ("truncated", "not_an_image")


def test_the_byte_limit_holds_for_bytes_and_for_files(tmp_path: Path) -> None:
    data = encoded(PICTURE)
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    exactly, one_less = Limits(max_bytes=len(data)), Limits(max_bytes=len(data) - 1)
    assert read_raster(data, limits=exactly).width == 128
    assert read_raster(path, limits=exactly).width == 128
    assert refusal(data, limits=one_less) == "too_many_bytes"
    assert refusal(path, limits=one_less) == "too_many_bytes"


def test_a_file_over_the_limit_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(65 * 2**20)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("the file was read"))
    assert refusal(path) == "too_many_bytes"


def test_a_200_megapixel_png_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("the picture was decoded"))
    assert refusal(png_claiming(20_000, 10_000)) == "too_many_pixels"


def test_the_refusal_names_size_and_limit() -> None:
    with pytest.raises(InputError) as caught:
        read_raster(png_claiming(20_000, 10_000))
    assert caught.value.reason.values == {"megapixels": 200, "limit_megapixels": 100}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_pixel_limit_holds_for_every_kind_of_file(kind: str) -> None:
    data = encoded(PICTURE, kind)
    assert read_raster(data, limits=Limits(max_pixels=96 * 128)).height == 96
    assert refusal(data, limits=Limits(max_pixels=96 * 128 - 1)) == "too_many_pixels"


def test_a_200_megapixel_tiff_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sparse.tif"
    profile = {"width": 20_000, "height": 10_000, "count": 3, "dtype": "uint8", "sparse_ok": True, "tiled": True}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32650", transform=UTM, **profile):
        pass
    assert path.stat().st_size < 1_000_000
    monkeypatch.setattr("inference.decode._tiff_rgb", lambda *a: pytest.fail("the picture was decoded"))
    assert refusal(path) == "too_many_pixels"


def test_a_small_tiff_of_huge_tiles_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "tile.tif"
    profile = {"width": 64, "height": 64, "count": 3, "dtype": "uint8", "sparse_ok": True, "tiled": True}
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32650", transform=UTM, blockxsize=16_000, blockysize=16_000, **profile
    ):
        pass
    assert refusal(path) == "too_many_pixels"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_refused(kind: str) -> None:
    frames = [Image.fromarray(ground(seed, 64)) for seed in (1, 2, 3)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    with pytest.raises(InputError) as caught:
        read_raster(data)
    assert caught.value.reason.code == "animated"
    assert caught.value.reason.values == {"frames": 3}


@pytest.mark.parametrize("bands", [2, 5])
def test_an_unsupported_number_of_bands_is_refused(bands: int) -> None:
    assert refusal(geotiff(np.zeros((64, 64, bands), dtype=np.uint8))) == "unsupported_bands"


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint32", "complex64"])
def test_an_unsupported_type_of_pixel_is_refused_by_name(dtype: str) -> None:
    with pytest.raises(InputError, match=dtype):
        read_raster(geotiff(np.zeros((64, 64), dtype=dtype)))


@pytest.mark.parametrize("gsd", [float("nan"), float("inf"), -0.5, 0.0, 1000.0])
def test_a_ground_sampling_distance_that_makes_no_sense_is_refused(gsd: float) -> None:
    assert refusal(encoded(PICTURE), gsd=gsd) == "bad_gsd"


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_raster(tmp_path / "nowhere.png")


# --- Pixels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_lossless_picture_comes_back_as_it_was(kind: str) -> None:
    result = read_raster(encoded(PICTURE, kind))
    assert np.array_equal(result.pixels, PICTURE)
    assert result.valid.all()
    assert (result.crs, result.transform, result.gsd, result.captured_at) == (None, None, None, None)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_lossy_picture_comes_back_nearly_as_it_was(kind: str) -> None:
    result = read_raster(encoded(SMOOTH, kind, quality=95))
    assert np.abs(result.pixels.astype(int) - SMOOTH).mean() < 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_grayscale_picture_becomes_rgb(kind: str) -> None:
    result = read_raster(encoded(PICTURE[..., 0], kind))
    assert result.pixels.shape == (96, 128, 3)
    assert (np.ptp(result.pixels, axis=2) == 0).all()
    assert np.abs(result.pixels[..., 0].astype(int) - PICTURE[..., 0]).mean() < 4


def test_a_black_and_white_picture_uses_both_ends() -> None:
    bits = Image.fromarray(PICTURE[..., 0]).convert("1", dither=Image.Dither.NONE)
    expected = np.asarray(bits.convert("L"))
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(read_raster(encoded(bits, kind)).pixels[..., 1], expected), kind


def _deep(low: int, high: int) -> NDArray[np.uint16]:
    """Every value from low to high, in order."""
    return np.linspace(low, high, 128 * 96).reshape(96, 128).astype(np.uint16)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(("low", "high"), [(0, 65535), (300, 4095), (40_000, 41_000)])
def test_16_bits_are_stretched_to_8(kind: str, low: int, high: int) -> None:
    result = read_raster(encoded(Image.fromarray(_deep(low, high)), kind)).pixels
    assert (np.ptp(result, axis=2) == 0).all()
    line = result[..., 0].ravel().astype(int)
    assert (line[0], line[-1]) == (0, 255)
    assert (np.diff(line) >= 0).all()
    assert np.abs(line - np.linspace(0, 255, line.size)).max() < 3


def test_16_bit_colours_keep_their_balance() -> None:
    deep = np.stack([_deep(0, 1000), _deep(0, 2000), _deep(0, 4000)], axis=2)
    red, green, blue = read_raster(geotiff(deep)).pixels[48, 64].astype(int)
    assert green == pytest.approx(2 * red, abs=2)
    assert blue == pytest.approx(4 * red, abs=4)


def test_nodata_does_not_take_part_in_the_stretch() -> None:
    deep = _deep(1000, 2000)
    deep[:30] = 65535
    result = read_raster(geotiff(deep, nodata=65535))
    assert result.valid[30:].all()
    assert not result.valid[:30].any()
    assert np.ptp(result.pixels[30:]) == 255


def test_an_even_16_bit_picture_is_even() -> None:
    result = read_raster(geotiff(np.full((64, 64), 1234, dtype=np.uint16)))
    assert np.ptp(result.pixels) == 0


def _with_alpha() -> NDArray[np.uint8]:
    alpha = np.full((96, 128, 1), 255, dtype=np.uint8)
    alpha[:40, :50] = 0
    return np.concatenate([PICTURE, alpha], axis=2)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_is_not_observed(kind: str) -> None:
    rgba = _with_alpha()
    result = read_raster(encoded(rgba, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert np.array_equal(result.valid, rgba[..., 3] > 0)
    assert np.array_equal(result.pixels[result.valid], PICTURE[result.valid])


def test_gray_with_alpha_keeps_its_mask() -> None:
    rgba = _with_alpha()
    result = read_raster(encoded(Image.fromarray(rgba).convert("LA")))
    assert np.array_equal(result.valid, rgba[..., 3] > 0)


@pytest.mark.parametrize(
    ("kind", "transparency"),
    [("PNG", 2), ("PNG", b"\xff\xff\x00"), ("GIF", 2)],
    ids=["png", "png with alpha per colour", "gif"],
)
def test_a_palette_keeps_its_colours_and_its_transparency(kind: str, transparency: int | bytes) -> None:
    indices = np.zeros((70, 80), dtype=np.uint8)
    indices[:, 40:] = 1
    indices[:20] = 2
    image = Image.fromarray(indices).convert("P")
    image.putpalette([10, 20, 30, 200, 100, 50, 255, 255, 255])
    result = read_raster(encoded(image, kind, transparency=transparency))
    assert np.array_equal(result.valid, indices != 2)
    assert result.pixels[40, 10].tolist() == [10, 20, 30]
    assert result.pixels[40, 60].tolist() == [200, 100, 50]


def test_a_palette_in_a_tiff_is_resolved() -> None:
    indices = np.zeros((64, 80), dtype=np.uint8)
    indices[:, 40:] = 1
    result = read_raster(geotiff(indices, palette={0: (10, 20, 30), 1: (200, 100, 50)}))
    assert result.pixels[5, 5].tolist() == [10, 20, 30]
    assert result.pixels[5, 60].tolist() == [200, 100, 50]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind: str) -> None:
    red = np.zeros((64, 64, 3), dtype=np.uint8)
    red[..., 0] = 220
    result = read_raster(encoded(Image.fromarray(red).convert("CMYK"), kind))
    assert np.abs(result.pixels.astype(int) - red).mean() < 6


def test_a_phones_photo_with_a_preview_is_its_first_picture() -> None:
    preview = Image.fromarray(ground(2, 64))
    data = encoded(Image.fromarray(SMOOTH), "MPO", save_all=True, append_images=[preview], quality=95)
    result = read_raster(data)
    assert result.pixels.shape == SMOOTH.shape
    assert np.abs(result.pixels.astype(int) - SMOOTH).mean() < 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(kind: str, orientation: int) -> None:
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    upright = Image.fromarray(SMOOTH)
    stored = upright.transpose(back[orientation]) if orientation > 1 else upright
    options = {} if kind == "PNG" else {"quality": 95}
    result = read_raster(encoded(stored, kind, exif=exif(orientation=orientation), **options))
    assert result.pixels.shape == SMOOTH.shape
    assert result.valid.shape == SMOOTH.shape[:2]
    assert np.abs(result.pixels.astype(int) - SMOOTH).mean() < 5


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    assert np.array_equal(read_raster(encoded(SMOOTH, exif=exif(orientation=orientation))).pixels, SMOOTH)


def test_the_mask_is_turned_with_the_picture() -> None:
    rgba = _with_alpha()
    stored = Image.fromarray(rgba).transpose(Image.Transpose.ROTATE_90)
    assert np.array_equal(read_raster(encoded(stored, exif=exif(orientation=6))).valid, rgba[..., 3] > 0)


def test_damaged_exif_does_not_cost_the_picture() -> None:
    data = encoded(SMOOTH, "JPEG", quality=95, exif=b"Exif\x00\x00II*\x00" + b"\xff" * 40)
    assert read_raster(data).pixels.shape == SMOOTH.shape


# --- Dates ------------------------------------------------------------------------------------------------


def test_a_date_with_an_offset_is_brought_to_utc() -> None:
    data = encoded(SMOOTH, "JPEG", exif=exif(taken="2017:06:30 15:04:05", offset="+08:00"))
    assert read_raster(data).captured_at == datetime(2017, 6, 30, 7, 4, 5, tzinfo=UTC)


def test_a_date_without_an_offset_has_no_time_zone() -> None:
    data = encoded(SMOOTH, "JPEG", exif=exif(taken="2017:06:30 15:04:05"))
    assert read_raster(data).captured_at == datetime(2017, 6, 30, 15, 4, 5)


def test_the_moment_of_taking_outranks_that_of_saving() -> None:
    data = encoded(SMOOTH, "JPEG", exif=exif(taken="2017:06:30 15:04:05", date="2020:01:01 00:00:00"))
    assert read_raster(data).captured_at == datetime(2017, 6, 30, 15, 4, 5)
    assert read_raster(encoded(SMOOTH, "JPEG", exif=exif(date="2020:01:01 00:00:00"))).captured_at == datetime(
        2020, 1, 1
    )


@pytest.mark.parametrize("taken", ["0000:00:00 00:00:00", "    :  :     :  :  ", "yesterday", "2017:13:40 25:61:61"])
def test_a_date_that_makes_no_sense_is_no_date(taken: str) -> None:
    assert read_raster(encoded(SMOOTH, "JPEG", exif=exif(taken=taken))).captured_at is None


def test_an_offset_that_makes_no_sense_leaves_the_local_time() -> None:
    data = encoded(SMOOTH, "JPEG", exif=exif(taken="2017:06:30 15:04:05", offset="CST"))
    assert read_raster(data).captured_at == datetime(2017, 6, 30, 15, 4, 5)


def test_a_tiff_has_its_date_in_a_tag() -> None:
    data = geotiff(PICTURE, tags={"TIFFTAG_DATETIME": "2017:06:30 15:04:05"})
    assert read_raster(data).captured_at == datetime(2017, 6, 30, 15, 4, 5)


# --- Place ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crs", ["EPSG:32650", "EPSG:4548", "EPSG:4490", "EPSG:4326"])
def test_a_geotiff_keeps_its_place(crs: str) -> None:
    geographic = CRS.from_string(crs).is_geographic
    place = Affine(1e-5, 0, 116.2, 0, -1e-5, 39.9) if geographic else UTM
    result = read_raster(geotiff(PICTURE, crs=crs, transform=place))
    assert result.crs == CRS.from_string(crs)
    assert result.transform == place
    assert np.array_equal(result.pixels, PICTURE)


@pytest.mark.parametrize(
    ("crs", "transform", "metres"),
    [
        ("EPSG:32650", UTM, 0.5002),
        ("EPSG:4548", Affine(0.5, 0, 431_000, 0, -0.5, 4_418_000), 0.5),
        ("EPSG:4326", Affine(1e-5, 0, 116.2, 0, -1e-5, 39.9), 0.9746),  # 0.8555 m by 1.1103 m
        ("EPSG:3857", Affine(1, 0, 12_935_000, 0, -1, 4_852_000), 0.7667),
        ("EPSG:32650", Affine(0.4, 0.3, 431_000, 0.3, -0.4, 4_418_000), 0.5002),
    ],
    ids=["utm", "gauss-kruger", "degrees", "web mercator", "turned"],
)
def test_the_ground_sampling_distance_is_metres_on_the_ground(crs: str, transform: Affine, metres: float) -> None:
    assert read_raster(geotiff(PICTURE, crs=crs, transform=transform)).gsd == pytest.approx(metres, rel=1e-3)


def test_a_georeference_outranks_what_the_user_says() -> None:
    assert read_raster(geotiff(PICTURE), gsd=3.0).gsd == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("data", [encoded(PICTURE), geotiff(PICTURE, crs=None)], ids=["png", "tiff"])
def test_without_a_georeference_the_users_word_counts(data: bytes) -> None:
    result = read_raster(data, gsd=0.3)
    assert result.gsd == 0.3
    assert result.crs is None


def test_a_coordinate_system_without_a_place_is_no_georeference() -> None:
    result = read_raster(geotiff(PICTURE, transform=Affine.identity()), gsd=0.4)
    assert (result.crs, result.transform, result.gsd) == (None, None, 0.4)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", Affine(1e-5, 0, 116.2, 0, -1e-5, 95.0)),
        ("EPSG:32650", Affine(0.5, 0, 1e12, 0, -0.5, 1e12)),
        ('LOCAL_CS["site grid",UNIT["metre",1]]', UTM),
        ("EPSG:32650", Affine(0, 0, 431_000, 0, 0, 4_418_000)),
    ],
    ids=["beyond the pole", "off the earth", "local grid", "no size"],
)
def test_a_place_that_is_not_on_earth_is_refused(crs: str, transform: Affine) -> None:
    assert refusal(geotiff(PICTURE, crs=crs, transform=transform)) == "bad_georeference"


def test_nodata_is_not_observed() -> None:
    pixels = PICTURE.copy()
    pixels[:, :20] = 0
    result = read_raster(geotiff(pixels, nodata=0))
    assert not result.valid[:, :20].any()
    assert result.valid[:, 20:].all()


def test_a_mask_inside_the_file_is_kept(tmp_path: Path) -> None:
    valid = np.ones((96, 128), dtype=np.bool_)
    valid[50:, 60:] = False
    path = tmp_path / "masked.tif"
    profile = {"width": 128, "height": 96, "count": 3, "dtype": "uint8", "crs": "EPSG:32650", "transform": UTM}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", driver="GTiff", **profile) as file:
        file.write(PICTURE.transpose(2, 0, 1))
        file.write_mask(valid)
    assert np.array_equal(read_raster(path).valid, valid)


def test_a_neighbouring_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    path.write_bytes(geotiff(PICTURE, crs=None))
    (tmp_path / "plain.tfw").write_text("0.5\n0\n0\n-0.5\n431000\n4418000\n")
    (tmp_path / "plain.tif.aux.xml").write_text("<PAMDataset><SRS>EPSG:32650</SRS></PAMDataset>")
    assert read_raster(path).transform is None


def test_a_raster_is_called_after_its_file(tmp_path: Path) -> None:
    path = tmp_path / "整治前.png"
    path.write_bytes(encoded(PICTURE))
    assert read_raster(path).name == "整治前.png"
    assert read_raster(path, name="院 12").name == "院 12"
    assert read_raster(path.read_bytes()).name == ""


# --- Whatever the bytes -----------------------------------------------------------------------------------


def _tiny() -> NDArray[np.uint8]:
    rgb = built(ground(4, 40, 48), (10, 10, 20, 12), roof=MAGENTA)
    return np.concatenate([rgb, np.full((40, 48, 1), 200, dtype=np.uint8)], axis=2)


SEEDS: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encoded(
        _tiny()[..., :3], "JPEG", exif=exif(orientation=6, taken="2017:06:30 15:04:05", offset="+08:00")
    ),
    "png": lambda: encoded(_tiny(), "PNG", exif=exif(orientation=8)),
    "png palette": lambda: encoded(Image.fromarray(_tiny()[..., :3]).quantize(16), "PNG", transparency=3),
    "tiff": lambda: geotiff(_tiny()[..., :3], compress="deflate", tags={"TIFFTAG_DATETIME": "2017:06:30 15:04:05"}),
    "tiff 16 bit": lambda: geotiff(_tiny()[..., 0].astype(np.uint16) * 17, compress="lzw", nodata=0),
    "webp": lambda: encoded(_tiny(), "WEBP", exif=exif(orientation=3)),
    "gif": lambda: encoded(Image.fromarray(_tiny()[..., :3]).quantize(32), "GIF"),
    "bmp": lambda: encoded(_tiny()[..., :3], "BMP"),
    "mpo": lambda: encoded(
        Image.fromarray(_tiny()[..., :3]), "MPO", save_all=True, append_images=[Image.fromarray(ground(5, 40))]
    ),
}  # fmt: skip


def damaged(data: bytes, dice: random.Random) -> bytes:
    """Cut, overwritten, doubled or with a few bits flipped; headers more often than pixels."""
    result = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        reach = len(result) if dice.random() < 0.5 else min(len(result), 400)
        at = dice.randrange(reach)
        how = dice.random()
        if how < 0.15:
            del result[max(1, at) :]
        elif how < 0.3:
            del result[at : at + dice.randint(1, 8)]
        elif how < 0.4:
            result[at:at] = result[at : at + 16]
        elif how < 0.6:
            result[at : at + 4] = dice.choice([b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"\x01\x00\x00\x00"])
        else:
            result[at] ^= 1 << dice.randrange(8)
        if len(result) < 2:
            break
    return _checksummed(bytes(result)) if dice.random() < 0.5 else bytes(result)


def _checksummed(data: bytes) -> bytes:
    """A damaged PNG with right checksums, so that the damage is reached."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return data
    result, rest = data[:8], data[8:]
    while len(rest) >= 12:
        (length,) = struct.unpack(">I", rest[:4])
        if length > len(rest) - 12:
            break
        result += png_chunk(rest[4:8], rest[8 : 8 + length])
        rest = rest[12 + length :]
    return result + rest


@pytest.mark.parametrize("kind", SEEDS)
def test_the_undamaged_file_is_read(kind: str) -> None:
    result = read_raster(SEEDS[kind]())
    assert sorted(result.pixels.shape[:2]) == [40, 48]


@pytest.mark.parametrize("kind", SEEDS)
def test_damaged_files_give_a_raster_or_a_reason(kind: str) -> None:
    data, limits = SEEDS[kind](), Limits(max_pixels=4_000_000)
    for case in range(30):
        mutated = damaged(data, random.Random(f"{kind} {case}"))
        try:
            result = read_raster(mutated, limits=limits)
        except InputError:
            continue
        except Exception as error:
            pytest.fail(f"case {case} of {kind}: {error!r}")
        assert isinstance(result, Raster)
        assert result.gsd is None or 0 < result.gsd < float("inf")


def test_a_png_text_that_explodes_is_refused() -> None:
    data = encoded(SMOOTH)
    text = b"Comment\x00\x00" + zlib.compress(bytes(20 * 2**20), 9)
    assert refusal(data[:33] + png_chunk(b"zTXt", text) + data[33:]) in ("not_an_image", "truncated")
