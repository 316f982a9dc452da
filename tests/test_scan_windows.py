"""Windows cover the grid, look at the same lattice wherever it is cut, and leave no seam."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS

from datasets.scene import Grid
from inference.scan.windows import ALIGN, BLEND, MARGIN, SIDE, STEP, Box, inside, lattice
from tests.imagery import UTM


def grid(height: int, width: int, row: int = 0, column: int = 0) -> Grid:
    return Grid(CRS.from_epsg(32650), UTM, 9000, 9000).part(row, column, height, width)


@pytest.mark.parametrize("size", [(1, 1), (300, 500), (784, 785), (2049, 3000)])
@pytest.mark.parametrize("origin", [(0, 0), (37, 37), (-5, 700)])
def test_every_pixel_is_in_a_window_and_in_one_strip(size: tuple[int, int], origin: tuple[int, int]) -> None:
    laid = lattice(grid(*size), (0, 0, *size), origin)
    times = np.zeros(size, np.uint8)
    for row in range(len(laid.tops)):
        for window in laid.row(row):
            kept = window.kept
            times[max(0, kept.top) : kept.bottom, max(0, kept.left) : kept.right] += 1
    assert times.min() >= 1
    assert times.max() <= 4
    strips = [laid.strip(row) for row in range(len(laid.tops))]
    rows = [r for first, last in strips for r in range(first, last)]
    assert rows == list(range(size[0]))


def test_windows_start_on_the_same_lattice_wherever_a_scene_is_cut() -> None:
    for row, column in ((0, 0), (37, 37), (5, 700)):
        cut = grid(2000, 2000, row, column)
        down, right = cut.offset
        for origin in ((0, 0), (37, 37)):
            laid = lattice(cut, (-row, -column, 9000 - row, 9000 - column), origin)
            for window in laid.row(1):
                assert (window.seen.top + down) % ALIGN == (window.seen.left + right) % ALIGN == 0
                assert window.seen.height % ALIGN == window.seen.width % ALIGN == 0


def test_a_window_sees_a_margin_around_what_it_keeps_unless_the_imagery_ends() -> None:
    laid = lattice(grid(3000, 3000, 1000, 1000), (-1000, -1000, 8000, 8000))
    for row in range(len(laid.tops)):
        for window in laid.row(row):
            kept, seen = window.kept, window.seen
            assert min(kept.top - seen.top, kept.left - seen.left) >= MARGIN
            assert min(seen.bottom - kept.bottom, seen.right - kept.right) >= MARGIN
            assert (seen.height, seen.width) == (SIDE, SIDE)
    assert STEP == SIDE - 2 * MARGIN - BLEND
    assert laid.window(1, 1).kept.top - laid.window(0, 1).kept.bottom == -BLEND


def test_a_window_does_not_look_beyond_the_imagery() -> None:
    laid = lattice(grid(300, 300), (0, 0, 300, 300))
    for row in range(len(laid.tops)):
        for window in laid.row(row):
            if window.kept.height > 0 and window.kept.width > 0:
                assert window.seen.top > -ALIGN
                assert window.seen.bottom < 300 + ALIGN


def test_the_area_is_drawn_the_same_in_every_window() -> None:
    place = grid(100, 100)
    area = shapely.Polygon([UTM @ corner for corner in ((10.2, 5), (90, 40), (30, 95))])
    whole = inside(area, place, Box(0, 0, 100, 100))
    assert 1000 < whole.sum() < 4000
    for box in (Box(20, 20, 60, 70), Box(0, 0, 1, 1), Box(40, 35, 50, 45)):
        assert np.array_equal(inside(area, place, box), whole[box.top : box.bottom, box.left : box.right])
    assert inside(None, place, Box(0, 0, 2, 3)).shape == (2, 3)


def test_a_turned_grid_has_a_lattice_too() -> None:
    turned = Grid(CRS.from_epsg(32650), UTM @ Affine.rotation(30), 100, 100)
    assert turned.part(3, 4, 50, 50).offset == (turned.offset[0] + 3, turned.offset[1] + 4)
