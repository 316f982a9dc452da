"""The released weights see the same wherever windows are laid and scenes are cut."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer

from datasets.district import generate
from inference.model import Model
from tests.imagery import UTM
from tests.scans import features, run, write

BORDER = 160
Pictures = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def district() -> Pictures:
    """(256, 900, 3) at two dates: two windows side by side."""
    made = generate(3, size=900)
    return made.before.pixels[300:556], made.after.pixels[300:556]


def scanned(folder: Path, pictures: Pictures, cut: int = 0, **options: object) -> Path:
    folder.mkdir()
    place = UTM @ UTM.translation(cut, 0)
    paths = [
        write(folder / f"{i}.tif", np.ascontiguousarray(p[:, cut:]), i, transform=place) for i, p in enumerate(pictures)
    ]
    run(*paths, folder / "run", load=partial(Model.load, "overhead"), **options)
    return folder / "run"


def probabilities(out: Path, cut: int = 0) -> np.ndarray:
    with rasterio.open(out / "probabilities.tif") as file:
        return file.read().astype(int)[:, :, BORDER - cut : 900 - BORDER - cut]


def footprint(out: Path) -> shapely.Geometry:
    """Ground of all findings away from the border."""
    to_lonlat = Transformer.from_crs(32650, 4326, always_xy=True)
    west, east = (to_lonlat.transform(*(UTM @ (column, 128)))[0] for column in (BORDER, 900 - BORDER))
    found = shapely.union_all([shapely.geometry.shape(f["geometry"]) for f in features(out)])
    return found & shapely.box(west, -90, east, 90)


def test_neither_moving_the_windows_nor_cutting_the_scene_shows(district: Pictures, tmp_path: Path) -> None:
    still = scanned(tmp_path / "still", district)
    moved = scanned(tmp_path / "moved", district, origin=(0, 37))
    cut = scanned(tmp_path / "cut", district, cut=37)
    for other, offset in ((moved, 0), (cut, 37)):
        assert np.abs(probabilities(still) - probabilities(other, offset)).max() <= 0.01 * 254
        a, b = footprint(still), footprint(other)
        assert a.area > 0
        assert (a & b).area / (a | b).area >= 0.99
