"""How the dates lie on each other, block by block."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from rasterio.crs import CRS

from datasets.raster import Raster
from datasets.scene import Grid
from inference.scan.blocks import BLOCK, Block, Field, block_box, block_count, field, measure, moved
from inference.scan.windows import Box
from tests.imagery import UTM, ground, raster, relit

NAN = float("nan")


def displaced(dx: int, dy: int) -> tuple[Raster, Raster]:
    """The later picture lies `dx`, `dy` pixels too far to the right and down."""
    wide = ground(1, BLOCK + 64)
    before = wide[32 : 32 + BLOCK, 32 : 32 + BLOCK]
    after = relit(wide, 2)[32 - dy : 32 - dy + BLOCK, 32 - dx : 32 - dx + BLOCK]
    return raster(np.ascontiguousarray(before)), raster(np.ascontiguousarray(after))


def test_a_displacement_is_measured_and_refused_beyond_8_pixels() -> None:
    near, far = measure(*displaced(6, -3)), measure(*displaced(0, 12))
    assert (near.dx, near.dy) == (pytest.approx(-6, abs=0.3), pytest.approx(3, abs=0.3))
    assert near.reason is None
    assert far.reason == "misregistered"


def test_a_black_block_is_not_observed() -> None:
    before, after = displaced(0, 0)
    assert measure(before, raster(after.pixels // 20)).reason == "too_dark"


def test_unrelated_ground_is_not_measured_but_judged() -> None:
    """Everything may have changed; the coordinates still say that it is the same ground."""
    block = measure(raster(ground(1, BLOCK)), raster(ground(2, BLOCK)))
    assert np.isnan(block.dx)
    assert block.reason is None


def test_little_that_was_seen_is_not_measured() -> None:
    before, after = displaced(6, 0)
    valid = np.zeros((BLOCK, BLOCK), np.bool_)
    valid[:64] = True
    assert np.isnan(measure(raster(before.pixels, valid), after).dx)


@pytest.mark.parametrize(("level", "reason"), [(252, "too_bright"), (3, "too_dark")])
def test_however_little_was_seen_white_and_night_are_not_observed(level: int, reason: str) -> None:
    before, _ = displaced(0, 0)
    valid = np.zeros((BLOCK, BLOCK), np.bool_)
    valid[:64] = True
    after = np.full((BLOCK, BLOCK, 3), level, np.uint8)
    assert measure(before, raster(after, valid)).reason == reason
    assert measure(raster(after, valid), before).reason == reason


@pytest.mark.parametrize("level", [180, 190])
def test_an_even_cloud_is_not_observed_though_nothing_in_it_is_sharp(level: int) -> None:
    before, _ = displaced(0, 0)
    shading = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 60, (BLOCK, BLOCK)), (0, 0), 20)
    cloud = np.clip(level + shading, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert measure(before, raster(cloud)).reason == "cloud"
    assert measure(raster(cloud), before).reason == "cloud"


def test_a_field_without_detail_is_observed() -> None:
    before, _ = displaced(0, 0)
    field_of_one_colour = np.full((BLOCK, BLOCK, 3), (120, 140, 90), np.uint8)
    assert measure(before, raster(field_of_one_colour)).reason is None


def grid(row: int = 0, column: int = 0, side: int = 2000) -> Grid:
    return Grid(CRS.from_epsg(32650), UTM, 9000, 9000).part(row, column, side, side)


def whole(dx: float, dy: float, reason: str | None = None) -> list[list[Block]]:
    rows, columns = block_count(grid())
    return [[Block(dx, dy, reason)] * columns for _ in range(rows)]


def test_blocks_lie_where_the_coordinates_say_and_cover_the_grid() -> None:
    for place in (grid(), grid(37, 91), grid(100, 1, 300)):
        rows, columns = block_count(place)
        first, last = block_box(place, 0, 0), block_box(place, rows - 1, columns - 1)
        assert -BLOCK < first.top <= 0
        assert last.bottom >= place.height > last.top
        assert (first.top + place.offset[0]) % BLOCK == (first.left + place.offset[1]) % BLOCK == 0


def test_small_displacements_are_left_alone() -> None:
    assert field(grid(), whole(0.5, 0.5)).displacement(Box(0, 0, 64, 64)) is None


def test_one_wrong_block_does_not_pull_the_picture() -> None:
    blocks = whole(4, 0)
    blocks[1][1] = Block(-7, 7, None)
    shift = field(grid(), blocks).displacement(Box(300, 300, 900, 900))
    assert shift is not None
    assert np.allclose(shift[0], 4)
    assert np.allclose(shift[1], 0)


def test_what_could_not_be_measured_follows_its_neighbours() -> None:
    blocks = whole(4, 0)
    blocks[1][1] = Block(NAN, NAN, None)
    made = field(grid(), blocks)
    assert made.dx[1, 1] == 4
    assert np.isnan(made.measured[1, 1])


def test_between_blocks_the_correction_passes_smoothly_and_windows_agree() -> None:
    rng = np.random.default_rng(0)
    blocks = [[Block(float(x), 3.0, None) for x in rng.uniform(2, 7, len(row))] for row in whole(0, 0)]
    made = field(grid(), blocks)
    shift = made.displacement(Box(0, 0, 2000, 2000))
    assert shift is not None
    assert np.abs(np.diff(shift[0], axis=1)).max() < 0.02
    box = Box(700, 500, 800, 900)
    part = made.around(box).displacement(box)
    assert part is not None
    assert np.allclose(part[0], shift[0][700:800, 500:900], atol=1e-4)


def test_reasons_belong_to_their_block() -> None:
    blocks = whole(0, 0)
    blocks[1][2] = Block(NAN, NAN, "cloud")
    made: Field = field(grid(), blocks)
    box = block_box(grid(), 1, 2)
    around = Box(box.top - 5, box.left - 5, box.bottom + 5, box.right + 5)
    reasons = made.around(around).reasons(around)
    assert reasons.keys() == {"cloud"}
    assert reasons["cloud"][5:-5, 5:-5].all()
    assert reasons["cloud"].sum() == BLOCK**2


def test_moving_lays_the_later_picture_over_the_earlier() -> None:
    wide = ground(1, 132)
    pixels, valid = wide, np.ones((132, 132), np.bool_)
    valid[:, :20] = False
    ones = np.ones((100, 100), np.float32)
    out, seen = moved(pixels, valid, (-3 * ones, 2 * ones), 16)
    assert np.array_equal(out, wide[14:114, 19:119])
    assert np.array_equal(seen, valid[14:114, 19:119])
