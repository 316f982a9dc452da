"""A whole scan: plan, register, score, blend, trace, write; and go on after whatever stopped it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from rasterio.errors import RasterioError
from shapely.geometry.base import BaseGeometry

from datasets.scene import Grid, Scene, SceneError, check, extent
from datasets.scene_light import Radiometry, radiometry
from inference.findings import KINDS
from inference.model import Contract
from inference.reasons import InputError, Reason
from inference.scan import blocks as registration
from inference.scan import outputs
from inference.scan.journal import Journal
from inference.scan.mosaic import Mosaic, status, strip
from inference.scan.trace import trace
from inference.scan.window import (
    COVERAGE,
    WORKERS,
    Job,
    Predictor,
    failed_window,
    hold,
    let_go,
    measure_blocks,
    record,
    score_window,
)
from inference.scan.windows import Window, lattice

FORMAT = 4
TRIES = 3
"""A window that fails as often is set aside."""
_BLOCKS_AT_ONCE = 8
_IN_FLIGHT = 4


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scan is: `stage` is `register`, `score` or `write`; pixels and seconds of this stage."""

    stage: str
    done_px: int
    total_px: int
    seconds: float
    gsd: float

    @property
    def mpx_per_s(self) -> float:
        return self.done_px / max(self.seconds, 1e-9) / 1e6

    @property
    def km2_per_h(self) -> float:
        return self.mpx_per_s * self.gsd**2 * 3600


@dataclass(frozen=True, slots=True)
class Scan:
    """What came of it.

    Attributes:
        summary: what `summary.json` says: counts of findings, windows and pixels by what was seen of them.
        seconds: time by stage; those of windows run side by side and add up to more than has passed.
    """

    summary: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def set_aside(self) -> int:
        return int(self.summary["windows"].get("set_aside", 0))


def scan(
    before: Scene,
    after: Scene,
    grid: Grid,
    out: Path,
    load: Callable[[], Predictor],
    *,
    area: BaseGeometry | None = None,
    resume: bool = False,
    origin: tuple[int, int] = (0, 0),
    executor: Executor | None = None,
    progress: Callable[[Progress], None] = lambda state: None,
) -> Scan:
    """Compare two scenes and write the findings into a folder.

    Args:
        grid: what both dates are brought to (`inference.scan.plan.grid_for`).
        load: makes the model, for `inference.scan.window.cores_each` cores; picklable if workers are other processes.
        area: in the CRS of the grid; None for all of it.
        resume: go on with what is in `out`.
        origin: (row, column) that the windows are moved by; it changes no finding.
        executor: `WORKERS` threads of this process by default.

    Raises:
        InputError: the scenes cannot be used, the folder is taken, or it cannot be written to.
    """
    journal = Journal(out)
    try:
        with journal.locked():
            return _Run(journal, before, after, grid, load, area, origin, progress).go(executor, resume)
    except SceneError as error:
        raise InputError(Reason(error.code, error.values)) from error
    except (OSError, RasterioError) as error:
        detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(Reason("cannot_write", {"path": str(out), "detail": detail})) from error


class _Run:
    def __init__(
        self,
        journal: Journal,
        before: Scene,
        after: Scene,
        grid: Grid,
        load: Callable[[], Predictor],
        area: BaseGeometry | None,
        origin: tuple[int, int],
        progress: Callable[[Progress], None],
    ) -> None:
        for scene in (before, after):
            check(scene)
        self._journal, self._grid, self._progress = journal, grid, progress
        model = load()
        hold(model)
        self._contract, self._named = model.contract, (model.name, model.version, model.sha256)
        _check_dates(before, after)
        _check_gsd(grid, self._contract)
        self._lattice = lattice(grid, extent(before, grid), origin)
        self._job = Job(
            before, after, grid, None if area is None else shapely.to_wkb(area),
            *self._radiometry(before, after), load, model.sha256,
        )  # fmt: skip
        self._plan = _plan(self._job, origin)
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def _radiometry(self, before: Scene, after: Scene) -> tuple[Radiometry, Radiometry]:
        """As it was measured when the run began: what could not be read then may be there now."""
        plan = self._journal.plan()
        if plan is None:
            return radiometry(before, self._grid), radiometry(after, self._grid)
        (low, high, fill), (low_after, high_after, fill_after) = (
            plan["scenes"][side]["radiometry"] for side in ("before", "after")
        )
        return Radiometry(low, high, tuple(fill)), Radiometry(low_after, high_after, tuple(fill_after))

    def go(self, executor: Executor | None, resume: bool) -> Scan:
        done = self._journal.begin(self._plan, resume=resume)
        if done is not None and not done["windows"].get("set_aside"):
            return Scan(done)
        if resume:
            self._journal.forget_failures(len(self._lattice.tops))
        if executor is not None:
            field = self._register(executor)
            self._score(executor, field)
        else:
            with ThreadPoolExecutor(WORKERS, thread_name_prefix="scan") as threads:
                field = self._register(threads)
                self._score(threads, field)
        let_go()
        return self._write(field)

    # --- Register -----------------------------------------------------------------------------------------

    def _register(self, executor: Executor) -> registration.Field:
        kept = self._journal.blocks()
        if kept is None:
            rows, columns = registration.block_count(self._grid)
            tasks = [
                (r, range(c, min(columns, c + _BLOCKS_AT_ONCE)))
                for r in range(rows)
                for c in range(0, columns, _BLOCKS_AT_ONCE)
            ]
            found: dict[tuple[int, int], registration.Block] = {}
            start, side = time.perf_counter(), registration.BLOCK**2

            def keep(task: tuple[int, range], result: list[registration.Block] | None, error: str) -> None:
                # A block that cannot be read is not measured; the windows that need it say what is wrong.
                measured = result or [registration.Block(np.nan, np.nan, None)] * len(task[1])
                found.update(zip(((task[0], c) for c in task[1]), measured, strict=True))
                self._report("register", len(found) * side, rows * columns * side, start)

            self._each(executor, iter(tasks), lambda task: (measure_blocks, self._job, *task), keep)
            kept = [[found[r, c] for c in range(columns)] for r in range(rows)]
            self._journal.keep_blocks(kept)
            self._seconds["register"] += time.perf_counter() - start
        return registration.field(self._grid, kept)

    # --- Score --------------------------------------------------------------------------------------------

    def _score(self, executor: Executor, field: registration.Field) -> None:
        """Windows in order, each row blended as soon as it is whole, so that little waits on the disk."""
        journal, lattice = self._journal, self._lattice
        rows = range(len(lattice.tops))
        strips = [r for r in rows if not journal.strip(r).exists()]
        needed = sorted({n for r in strips for n in (r - 1, r) if n >= 0})
        waiting = [w for r in needed for w in lattice.row(r) if not journal.has_window(w)]
        left = Counter(w.row for w in waiting)
        total = sum(w.kept.height * w.kept.width for w in waiting)
        done, start = 0, time.perf_counter()
        todo = deque(strips)

        def merge() -> None:
            while todo and not left[todo[0]] and not left[todo[0] - 1]:
                self._merge(todo.popleft())

        def keep(window: Window, result: Any, error: str) -> None:
            nonlocal done
            began = time.perf_counter()
            layers = failed_window(self._job, window) if result is None else result.layers
            for stage, seconds in ({} if result is None else result.seconds).items():
                self._seconds[stage] += seconds
            journal.keep_window(window, layers, record(window, layers, error))
            left[window.row] -= 1
            done += window.kept.height * window.kept.width
            self._report("score", done, total, start)
            self._seconds["blend and write"] += time.perf_counter() - began
            merge()

        merge()
        self._each(executor, iter(waiting), lambda w: (score_window, self._job, w, field.around(w.seen)), keep)

    def _merge(self, row: int) -> None:
        began = time.perf_counter()
        first, last = self._lattice.strip(row)
        if first < last:
            with strip(self._journal, self._grid, self._lattice, row) as (data, records):
                self._journal.keep_strip(row, data, records)
        if row:
            self._journal.drop_row(row - 1)
        self._seconds["blend and write"] += time.perf_counter() - began

    def _each(
        self,
        executor: Executor,
        items: Iterator[Any],
        call: Callable[[Any], tuple[Any, ...]],
        keep: Callable[[Any, Any, str], None],
    ) -> None:
        """Run a function for each item, few at a time; what fails is tried again, then kept with its error."""
        running: dict[Future[Any], tuple[Any, int]] = {}
        try:
            while True:
                while len(running) < _IN_FLIGHT and (item := next(items, None)) is not None:
                    running[executor.submit(*call(item))] = (item, 1)
                if not running:
                    return
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    item, tries = running.pop(future)
                    error = future.exception()
                    if error is None:
                        keep(item, future.result(), "")
                    elif tries < TRIES:
                        running[executor.submit(*call(item))] = (item, tries + 1)
                    else:
                        keep(item, None, f"{type(error).__name__}: {error}"[:300])
        finally:
            for future in running:
                future.cancel()

    # --- Write --------------------------------------------------------------------------------------------

    def _write(self, field: registration.Field) -> Scan:
        out, grid = self._journal.folder, self._grid
        mosaic = Mosaic(self._journal, grid, self._lattice)
        began = time.perf_counter()
        with mosaic.open() as file, ThreadPoolExecutor(1, thread_name_prefix="rasters") as beside:
            rasters = beside.submit(outputs.write_rasters, out, mosaic)  # tracing uses one core

            def rows(top: int, bottom: int) -> Any:
                self._report("write", top * grid.width, grid.height * grid.width, began)
                return file.read(window=((top, bottom), (0, grid.width)))

            patches = trace(rows, grid.height, grid.width, self._contract)
            found = outputs.locate(patches, grid, self._contract.area_error_px)
            rasters.result()
        self._seconds["vectorise"] += time.perf_counter() - began
        began = time.perf_counter()
        windows = [w for row in mosaic.rows for w in self._journal.strip_windows(row)]
        for window in windows:
            window["shift_px"] = _shift(self._lattice.window(window["row"], window["column"]), field)
        about = self._about()
        summary = self._summary(found, windows, field)
        outputs.write_gpkg(out / outputs.GPKG, found, windows, grid, about)
        outputs.write_geojson(out / outputs.GEOJSON, found, grid, about)
        outputs.write_style(out / outputs.STYLE)
        started = datetime.fromtimestamp((out / "plan.json").stat().st_mtime, UTC)
        outputs.write_item(out / outputs.ITEM, grid, about, summary, started)
        self._journal.finish(summary, complete=not summary["windows"].get("set_aside"))
        self._seconds["export"] += time.perf_counter() - began
        return Scan(summary, dict(self._seconds))

    def _about(self) -> outputs.About:
        before, after = self._job.before, self._job.after
        return outputs.About(before.captured_at, after.captured_at, before.name, after.name, *self._named)

    def _summary(
        self, found: list[outputs.Located], windows: list[dict[str, Any]], field: registration.Field
    ) -> dict[str, Any]:
        states = Counter(status(w) for w in windows)
        states["set_aside"] = sum(bool(w["error"]) for w in windows)
        with Mosaic(self._journal, self._grid, self._lattice).open() as file:
            pixels = np.zeros(256, np.int64)
            for top in range(0, file.height, 512):
                rows = ((top, min(file.height, top + 512)), (0, file.width))
                pixels += np.bincount(file.read(4, window=rows).ravel(), minlength=256)
        within = int(pixels[1 : len(COVERAGE)].sum())
        known = field.measured[np.isfinite(field.measured)]
        return {
            "findings": {
                kind: {
                    "count": sum(f.kind == kind for f in found),
                    "area_m2": round(sum(f.area_m2 for f in found if f.kind == kind), 1),
                }
                for kind in KINDS
            },
            "windows": {k: v for k, v in sorted(states.items()) if v},
            "area_px": within,
            "observed_share": round(int(pixels[1]) / within, 6) if within else 0.0,
            "not_observed_px": {COVERAGE[i]: int(pixels[i]) for i in range(2, len(COVERAGE)) if pixels[i]},
            "registration": {
                "blocks": int(field.measured.size),
                "measured": int(known.size),
                "median_px": round(float(np.median(known)), 2) if known.size else None,
                "largest_px": round(float(known.max()), 2) if known.size else None,
            },
            "errors": sorted({w["error"] for w in windows if w["error"]}),
        }

    def _report(self, stage: str, done: int, total: int, start: float) -> None:
        self._progress(Progress(stage, min(done, total), total, time.perf_counter() - start, self._grid.gsd))


def _check_dates(before: Scene, after: Scene) -> None:
    a, b = before.captured_at, after.captured_at
    if a and b and a > b:
        raise InputError(Reason("wrong_order", {"before": f"{a:%Y-%m-%d %H:%M}", "after": f"{b:%Y-%m-%d %H:%M}"}))


def _check_gsd(grid: Grid, contract: Contract) -> None:
    low, high = contract.overhead_gsd_range()
    if not low <= grid.gsd <= high:
        raise InputError(Reason("gsd_out_of_range", {"gsd": round(grid.gsd, 3), "low": low, "high": high}))


def _shift(window: Window, field: registration.Field) -> float | None:
    """Median displacement that was measured in the blocks around a window."""
    known = field.around(window.seen).measured
    known = known[np.isfinite(known)]
    return round(float(np.median(known)), 2) if known.size else None


def _plan(job: Job, origin: tuple[int, int]) -> dict[str, Any]:
    """What decides about every pixel; a run is only gone on with if nothing of it changed."""
    area = None if job.area is None else shapely.to_wkt(shapely.from_wkb(job.area), rounding_precision=9)
    return {
        "format": FORMAT,
        "scenes": {
            side: {
                "name": scene.name,
                "sources": [_fingerprint(s) for s in scene.sources],
                "clouds": [_fingerprint(s) for s in scene.clouds],
                "bands": list(scene.bands),
                "captured_at": scene.captured_at and scene.captured_at.isoformat(),
                "radiometry": [light.low, light.high, list(light.fill)],
            }
            for side, scene, light in (
                ("before", job.before, job.light_before),
                ("after", job.after, job.light_after),
            )
        },
        "grid": {
            "crs": job.grid.crs.to_wkt(),
            "transform": list(job.grid.transform)[:6],
            "size": [job.grid.height, job.grid.width],
        },
        "area": area,
        "origin": list(origin),
        "model_sha256": job.model_sha256,
    }


def _fingerprint(source: str) -> list[Any]:
    path = Path(source)
    if source.startswith(("<", "/vsi")) or not path.exists():
        return [source]
    facts = path.stat()
    return [source, facts.st_size, facts.st_mtime_ns]
