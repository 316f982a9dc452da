"""Score one window: a pure function of the job and the window, run wherever the executor says."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from datasets.raster import Raster
from datasets.scene import Grid, Scene, SceneReader
from datasets.scene_light import Radiometry
from inference.clouds import hidden
from inference.model import Contract
from inference.scan.blocks import MAX_SHIFT_PX, Block, Field, block_box, measure, moved
from inference.scan.windows import Box, Window, inside

LEVELS = 254
"""A probability p is kept as round(254 p); 255 is nodata."""
NODATA = 255
COVERAGE = ("outside", "observed", "nodata", "misregistered", "cloud", "too_dark", "too_bright", "window_failed")
"""Value of a pixel of the coverage layer -> what it means. Beyond `observed` nothing is known of the ground."""
OUTSIDE, OBSERVED = 0, 1
_PAD = int(MAX_SHIFT_PX) + 8


class Predictor(Protocol):
    """What of `inference.model.Model` a scan needs."""

    name: str
    version: str
    sha256: str
    contract: Contract

    def probabilities(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a worker must know, on this machine or another.

    Attributes:
        area: the area in the CRS of the grid as WKB, None for all of it.
        load: makes the model, once per process; its weights must be those of `model_sha256`.
    """

    before: Scene
    after: Scene
    grid: Grid
    area: bytes | None
    light_before: Radiometry
    light_after: Radiometry
    load: Callable[[], Predictor]
    model_sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What became of one window.

    Attributes:
        layers: (4, H, W) uint8 over `Window.kept`: probabilities in the order of `model.OUTPUTS`, and coverage.
        seconds: time by stage (`read`, `network`).
    """

    layers: NDArray[np.uint8]
    seconds: dict[str, float]


_model: Predictor | None = None
"""Of this process, loaded once: workers are asked for one window at a time."""
_loading = threading.Lock()
WORKERS = 2
"""Windows that go through the network at once, each on its share of the cores: while one of them waits to be read or
written the other goes on, which a network that spreads over all cores cannot."""
_network = threading.BoundedSemaphore(WORKERS)


def cores_each(cores: int = 0) -> int:
    """How many of so many cores, 0 for all there are, a model should use that windows are scored by."""
    return max(1, (cores or os.cpu_count() or 1) // WORKERS)


def hold(model: Predictor) -> None:
    """Have the windows of this process scored by a model that is there already."""
    global _model
    with _loading:
        _model = model


def let_go() -> None:
    """Give back what the model holds, which is about half of what a scan takes."""
    global _model
    with _loading:
        _model = None


def _held(job: Job) -> Predictor:
    global _model
    with _loading:
        if _model is None or _model.sha256 != job.model_sha256:
            _model = job.load()
        if _model.sha256 != job.model_sha256:
            raise RuntimeError(f"this worker has weights {_model.sha256[:12]}, not {job.model_sha256[:12]}")
        return _model


def score_window(job: Job, window: Window, field: Field) -> Scored:
    """Probabilities and coverage of one window.

    Args:
        field: how the dates lie on each other around the window.

    Raises:
        SceneError: a file is gone or damaged.
    """
    start = time.perf_counter()
    kept, seen = window.kept, window.seen
    area = None if job.area is None else shapely.from_wkb(job.area)
    within = inside(area, job.grid, kept)
    if not within.any():
        return Scored(_layers(np.zeros((3, *within.shape), np.float32), within, within), {})
    before, valid, clouded = _read(job.before, job.light_before, job.grid, seen)
    shift = field.displacement(seen)
    pad = 0 if shift is None else _PAD
    box = Box(seen.top - pad, seen.left - pad, seen.bottom + pad, seen.right + pad)
    after, valid_after, clouded_after = _read(job.after, job.light_after, job.grid, box)
    if shift is not None:
        _, clouded_after = moved(after, clouded_after, shift, pad)
        after, valid_after = moved(after, valid_after, shift, pad)
    coverage = np.full(valid.shape, OBSERVED, dtype=np.uint8)
    for code, where in field.reasons(seen).items():
        coverage[where] = COVERAGE.index(code)
    coverage[clouded | clouded_after] = COVERAGE.index("cloud")
    coverage[~(valid & valid_after)] = COVERAGE.index("nodata")
    before[~valid | clouded] = job.light_before.fill
    after[~valid_after | clouded_after] = job.light_after.fill
    cut = kept.within(seen)
    coverage = np.where(within, coverage[cut], OUTSIDE).astype(np.uint8)
    observed = coverage == OBSERVED
    seconds = {"read": time.perf_counter() - start}
    probabilities = np.zeros((3, *observed.shape), dtype=np.float32)
    if observed.any():
        model = _held(job)
        with _network:
            start = time.perf_counter()
            shown = [np.ascontiguousarray(x.transpose(2, 0, 1)[None]) for x in (before, after)]
            found = model.probabilities(shown[0], shown[1])[0]
            seconds["network"] = time.perf_counter() - start
        probabilities = found[(slice(3), *cut)]
        if model.contract.cloud is not None:
            cloudy = np.logical_or(*hidden(found[3:], model.contract.cloud))[cut]
            coverage[observed & cloudy] = COVERAGE.index("cloud")
            observed &= ~cloudy
    return Scored(_layers(probabilities, observed, coverage), seconds)


def failed_window(job: Job, window: Window) -> NDArray[np.uint8]:
    """Layers of a window that was set aside: not observed, wherever it lies in the area."""
    within = inside(None if job.area is None else shapely.from_wkb(job.area), job.grid, window.kept)
    coverage = np.where(within, COVERAGE.index("window_failed"), OUTSIDE)
    return _layers(np.zeros((3, *within.shape), np.float32), np.zeros_like(within), coverage)


def record(window: Window, layers: NDArray[np.uint8], error: str) -> dict[str, Any]:
    """What became of a window: how much of the area in it was observed, and why the rest was not."""
    counts = np.bincount(layers[3].ravel(), minlength=len(COVERAGE))
    within = int(counts[1:].sum())
    kept = window.kept
    return {
        "row": window.row,
        "column": window.column,
        "box": [kept.top, kept.left, kept.bottom, kept.right],
        "area_px": within,
        "observed_share": round(int(counts[OBSERVED]) / within, 4) if within else None,
        "not_observed_px": {COVERAGE[i]: int(counts[i]) for i in range(2, len(COVERAGE)) if counts[i]},
        "error": error,
    }


def _layers(
    probabilities: NDArray[np.float32], observed: NDArray[np.bool_], coverage: NDArray[Any]
) -> NDArray[np.uint8]:
    layers = np.full((4, *observed.shape), NODATA, dtype=np.uint8)
    levels = np.rint(probabilities * LEVELS).astype(np.uint8)
    layers[:3] = np.where(observed, levels, NODATA)
    layers[3] = coverage
    return layers


def _read(
    scene: Scene, light: Radiometry, grid: Grid, box: Box
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """8 bit pixels, what was seen, and what a mask calls cloud."""
    place = (box.top, box.left, box.height, box.width)
    with SceneReader(scene, grid) as reader:
        values, valid = reader.read(*place)
        return light.to_8_bit(values), valid, reader.clouded(*place)


def measure_blocks(job: Job, row: int, columns: range) -> list[Block]:
    """How the dates lie on each other in some blocks of one row."""
    found = []
    with SceneReader(job.before, job.grid) as first, SceneReader(job.after, job.grid) as second:
        for column in columns:
            box = block_box(job.grid, row, column)
            place = (box.top, box.left, box.height, box.width)
            rasters = []
            for reader, light in ((first, job.light_before), (second, job.light_after)):
                values, valid = reader.read(*place)
                rasters.append(Raster(light.to_8_bit(values), valid & ~reader.clouded(*place)))
            found.append(measure(rasters[0], rasters[1]))
    return found
