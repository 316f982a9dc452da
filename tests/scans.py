"""Small scenes for tests of scans: files on disk, and a model that can be foreseen and carries over to processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray

from datasets.scene import Access, Scene
from datasets.scene_sources import open_scene
from inference.scan import windows
from inference.scan.plan import grid_for
from inference.scan.run import Scan, scan
from tests.imagery import MAGENTA, UTM, MagentaModel, Pixels, geotiff, ground, relit

SIDE, STEP = 128, 64
DATES = ("2016:06:01 03:00:00", "2017:09:20 03:00:00")
OUTPUTS = ("findings.gpkg", "findings.geojson", "probabilities.tif", "coverage.tif", "item.json", "summary.json")

Blocks = tuple[tuple[int, int, int, int], ...]


def small_windows(patch: pytest.MonkeyPatch) -> None:
    """Windows of 128 px, so that a scene of a few hundred pixels has many."""
    from inference.scan import mosaic

    margin, blend = 24, 16
    assert SIDE - 2 * margin - blend == STEP
    for module in (windows, mosaic):
        for name, value in {"SIDE": SIDE, "MARGIN": margin, "BLEND": blend, "STEP": STEP}.items():
            patch.setattr(module, name, value)


def dated(*blocks: tuple[int, int, int, int], seed: int = 1, height: int = 200, width: int = 300) -> Pixels:
    """Ground with magenta blocks at (x, y, width, height), which `MagentaModel` takes for structures."""
    pixels = ground(seed, height, width)
    for x, y, w, h in blocks:
        pixels[y : y + h, x : x + w] = MAGENTA
    return pixels


def lit(pixels: Pixels) -> Pixels:
    """The same ground in other light, the blocks as bright as ever."""
    result = relit(pixels, 3)
    magenta = (pixels == MAGENTA).all(axis=2)
    result[magenta] = MAGENTA
    return result


def write(path: Path, pixels: NDArray[Any], date: int = 0, transform: Affine = UTM, **options: Any) -> Path:
    tags = {"TIFFTAG_DATETIME": DATES[date]}
    path.write_bytes(geotiff(pixels, transform=transform, tags=tags, **options))
    return path


def pair(folder: Path, before: Blocks = (), after: Blocks = (), **size: int) -> tuple[Path, Path]:
    """Two files of one place."""
    first = dated(*before, **size)
    second = lit(dated(*after, **size))
    return write(folder / "before.tif", first), write(folder / "after.tif", second, 1)


def opened(*paths: Path, **options: Any) -> Scene:
    return open_scene([str(p) for p in paths], Access(), **options)


def run(before: Scene | Path, after: Scene | Path, out: Path, **options: Any) -> Scan:
    """A scan with the model that sees magenta."""
    first, second = (opened(s) if isinstance(s, Path) else s for s in (before, after))
    area, gsd = options.pop("lonlat", None), options.pop("gsd", None)
    grid, placed = grid_for(first, second, area=area, gsd=gsd)
    return scan(first, second, grid, out, options.pop("load", MagentaModel), area=placed, **options)


def features(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "findings.geojson").read_text("utf-8"))["features"]


def contents(out: Path) -> dict[str, bytes]:
    """Everything that a run says, byte for byte."""
    return {name: (out / name).read_bytes() for name in OUTPUTS}


def same(a: Path, b: Path) -> bool:
    return contents(a) == contents(b)


def noise(*shape: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(200, 3000, shape, dtype=np.uint16)
