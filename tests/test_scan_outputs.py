"""Areas of patches on the ground, whatever their shape."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from rasterio.crs import CRS
from rasterio.transform import Affine

from datasets.scene import Grid
from inference.scan.outputs import locate
from inference.scan.trace import Patch

GRID = Grid(CRS.from_epsg(32650), Affine(0.5, 0, 446_000, 0, -0.5, 4_416_000), 2000, 2000)
COURT = shapely.box(0, 0, 200, 200) - shapely.box(50, 50, 150, 150)
CORNERS = shapely.MultiPolygon([shapely.box(300, 0, 400, 100), shapely.box(400, 100, 500, 200)])
SQUARE = shapely.box(600, 600, 800, 800)


@pytest.mark.parametrize(
    ("outline", "expected"), [(SQUARE, 10_000), (COURT, 7_500), (COURT.reverse(), 7_500), (CORNERS, 5_000)]
)
def test_holes_are_taken_off_and_parts_that_meet_in_a_corner_add_up(
    outline: shapely.Polygon | shapely.MultiPolygon, expected: float
) -> None:
    found = locate([Patch("new", outline, 0.9)], GRID, 0.5)[0]
    assert found.area_m2 == pytest.approx(expected, rel=1e-3)


def test_many_at_once_keep_what_is_theirs_in_their_order() -> None:
    rng = np.random.default_rng(0)
    sides = rng.integers(5, 40, 600)
    patches = [Patch("new", shapely.box(x, 0, x + s, s), 0.1 + s / 100) for x, s in enumerate(sides.tolist())]
    found = locate(iter(patches), GRID, 0.5)
    assert [f.probability for f in found] == sorted((p.probability for p in patches), reverse=True)
    for each in found:
        side = (each.probability - 0.1) * 100
        assert each.area_m2 == pytest.approx((side * 0.5) ** 2, rel=1e-3)
        assert each.polygon.area == pytest.approx((side * 0.5) ** 2)
