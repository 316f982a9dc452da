"""Memory, disk and time of a scan by size and by stage, and how it survives being killed.

    python -m tests.benchmarks.scan 5000 10000 20000 30000
    python -m tests.benchmarks.scan 5000 --no-network        # stages other than the network
    python -m tests.benchmarks.scan 3000 --kill 100          # kill -9 at random points, --resume, compare bytes
    python -m tests.benchmarks.scan 2048 --shift 37          # windows moved: IoU of findings, difference of p

The scene is one generated district of 2048 px repeated (mirrored, so that it has no seams of its own), as COG.
Each size is scanned in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.shutil import copy

from datasets.district import generate
from datasets.scene import Access
from datasets.scene_sources import open_scene
from inference.model import Model
from inference.scan.plan import grid_for
from inference.scan.run import Progress, Scan, scan
from inference.scan.window import cores_each

_TILE = 2048


class _Still:
    """The released weights' contract without the network: nothing is ever seen."""

    def __init__(self) -> None:
        real = Model.load()
        self.name, self.version, self.sha256, self.contract = "still", "0", "0" * 64, real.contract

    def probabilities(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full((len(before), 3, *before.shape[2:]), 0.1, np.float32)


class _Busy:
    """How long at least one window was in the network."""

    def __init__(self) -> None:
        self.seconds, self._inside, self._since, self._lock = 0.0, 0, 0.0, threading.Lock()

    def count(self, by: int) -> None:
        with self._lock:
            if not self._inside:
                self._since = time.perf_counter()
            self._inside += by
            if not self._inside:
                self.seconds += time.perf_counter() - self._since


class _Watched:
    """The released weights, watched at work."""

    def __init__(self, busy: _Busy) -> None:
        self._model, self._busy = Model.load(threads=cores_each()), busy
        self.name, self.version, self.sha256 = self._model.name, self._model.version, self._model.sha256
        self.contract = self._model.contract

    def probabilities(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._busy.count(1)
        try:
            return self._model.probabilities(before, after)
        finally:
            self._busy.count(-1)


def _make(folder: Path, side: int) -> tuple[Path, Path]:
    """A pair of COGs, written row of tiles by row of tiles."""
    paths = (folder / f"before_{side}.tif", folder / f"after_{side}.tif")
    if all(p.exists() for p in paths):
        return paths
    district = generate(3, size=min(side, _TILE))
    for path, raster in zip(paths, (district.before, district.after), strict=True):
        profile = {
            "driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8", "crs": raster.crs,
            "transform": raster.transform, "tiled": True, "compress": "deflate", "bigtiff": "if_safer",
        }  # fmt: skip
        plain = path.with_suffix(".plain.tif")
        with rasterio.open(plain, "w", **profile) as file:
            file.update_tags(TIFFTAG_DATETIME=f"{raster.captured_at:%Y:%m:%d %H:%M:%S}")
            for i, top in enumerate(range(0, side, _TILE)):
                for j, left in enumerate(range(0, side, _TILE)):
                    height, width = min(_TILE, side - top), min(_TILE, side - left)
                    tile = raster.pixels[:: -1 if i % 2 else 1, :: -1 if j % 2 else 1][:height, :width]
                    file.write(tile.transpose(2, 0, 1), window=((top, top + height), (left, left + width)))
        copy(plain, path, driver="COG", compress="deflate", bigtiff="if_safer", overviews="none")
        plain.unlink()
    return paths


_released = partial(Model.load, "overhead", threads=cores_each())


def _scan(paths: tuple[Path, Path], out: Path, load: Callable[[], Any] = _released, **options: Any) -> Scan:
    before, after = (open_scene([str(p)], Access()) for p in paths)
    grid, _ = grid_for(before, after)
    return scan(before, after, grid, out, load, **options)


class _Disk:
    """The most that lay at once beside what is or becomes output, looked at four times a second."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.peak, self._stop = folder, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.25):
            total = 0
            for path in [*self._folder.glob("scratch/**/*"), *self._folder.glob("partial-*.tmp")]:
                try:
                    total += path.stat().st_size
                except OSError:
                    continue
            self.peak = max(self.peak, total)

    def close(self) -> int:
        self._stop.set()
        self._thread.join()
        return self.peak


def _peak_rss_mb() -> float:
    """Of this program alone: what `getrusage` calls the peak is inherited from the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _one(side: int, folder: Path, *, network: bool) -> None:
    paths = _make(folder, side)
    out = folder / f"run_{side}"
    shutil.rmtree(out, ignore_errors=True)
    disk, start = _Disk(out), time.perf_counter()
    base = resource.getrusage(resource.RUSAGE_SELF)
    busy = _Busy()
    peaks: dict[str, float] = {}

    def note(state: Progress) -> None:
        peaks[state.stage] = _peak_rss_mb()

    result = _scan(paths, out, partial(_Watched, busy) if network else _Still, progress=note)
    wall, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime - base.ru_utime - base.ru_stime
    written = sum(p.stat().st_size for p in out.iterdir())
    stages = result.seconds
    print(
        f"{side:>6} px  {wall:7.0f} s  {cpu:7.0f} s CPU  {side**2 / wall / 1e6:5.2f} Mpx/s  "
        f"peak RSS {_peak_rss_mb():5.0f} MB  scratch / output {disk.close() / written:.2f}  "
        f"output {written / 2**20:.0f} MB"
    )
    print("        " + ", ".join(f"{k} {v:.1f} s" for k, v in stages.items()), end="")
    print(f"; no window in the network {100 * (1 - busy.seconds / wall):.0f} % of the time")
    print("        peak RSS so far, MB: " + ", ".join(f"{k} {v:.0f}" for k, v in peaks.items()), flush=True)


def _killed(side: int, folder: Path, times: int) -> None:
    """Kill a scan again and again; each time it goes on, and in the end it is as if nothing had happened."""
    paths = _make(folder, side)
    whole, out = folder / "whole" / "run", folder / "killed" / "run"
    for path in (whole, out):
        shutil.rmtree(path, ignore_errors=True)
    start = time.perf_counter()
    _scan(paths, whole)
    lasted = time.perf_counter() - start
    rng, equal = random.Random(0), 0
    for k in range(times):
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, "-m", "tests.benchmarks.scan", str(side), "--into", str(folder)]
        command += ["--resume", str(out)]
        process = subprocess.Popen(command)
        time.sleep(rng.uniform(0, lasted * 1.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        subprocess.run(command, check=True)
        names = [p.name for p in whole.iterdir() if p.name not in (".lock", "plan.json")]
        same = all((whole / n).read_bytes() == (out / n).read_bytes() for n in names)
        equal += same
        print(f"kill {k + 1}: {'same bytes' if same else 'DIFFERENT'}", flush=True)
    print(f"{equal} of {times} identical")


def _moved(side: int, folder: Path, by: int) -> None:
    """Move the windows, and cut the scene: what changes of findings and probabilities away from the border."""
    paths = _make(folder, side)
    cut = tuple(p.with_name(f"cut_{p.name}") for p in paths)
    for source, target in zip(paths, cut, strict=True):
        copy_part(source, target, by)
    outs = [folder / f"moved_{i}" for i in range(3)]
    for out, files, origin in zip(outs, (paths, paths, cut), ((0, 0), (by, by), (0, 0)), strict=True):
        shutil.rmtree(out, ignore_errors=True)
        _scan(files, out, origin=origin)  # type: ignore[arg-type]
    for name, out, offset in (("windows moved", outs[1], 0), ("scene cut", outs[2], by)):
        with rasterio.open(outs[0] / "probabilities.tif") as a, rasterio.open(out / "probabilities.tif") as b:
            inner = 256
            window = ((inner, side - inner), (inner, side - inner))
            there = tuple((lo - offset, hi - offset) for lo, hi in window)
            difference = np.abs(a.read(window=window).astype(int) - b.read(window=there).astype(int)) / 254
            place, bounds = a.transform, (inner, inner, side - inner, side - inner)
        corners = [place @ bounds[:2], place @ bounds[2:]]
        clip = shapely.box(corners[0][0], corners[1][1], corners[1][0], corners[0][1])
        print(f"{name} by {by} px: largest |dp| {difference.max():.4f}, IoU {_iou(outs[0], out, clip)}")


def copy_part(source: Path, target: Path, by: int) -> None:
    with rasterio.open(source) as file:
        window = rasterio.windows.Window(by, by, file.width - by, file.height - by)
        profile = file.profile | {
            "driver": "GTiff", "width": window.width, "height": window.height,
            "transform": file.window_transform(window),
        }  # fmt: skip
        with rasterio.open(target, "w", **profile) as cut:
            cut.write(file.read(window=window))
            cut.update_tags(TIFFTAG_DATETIME=file.tags()["TIFFTAG_DATETIME"])


def _iou(a: Path, b: Path, clip: shapely.Polygon) -> dict[str, float]:
    import pyogrio

    found: dict[str, list[Any]] = {}
    for path in (a, b):
        meta, _, geometry, columns = pyogrio.raw.read(path / "findings.gpkg", layer="findings")
        kinds = columns[list(meta["fields"]).index("kind")]
        for kind in ("new", "remaining", "removed"):
            union = shapely.union_all(shapely.from_wkb(geometry[kinds == kind]))
            found.setdefault(kind, []).append(union & clip)
    return {k: round((p & q).area / (p | q).area, 4) for k, (p, q) in found.items() if not (p | q).is_empty}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sides", type=int, nargs="+")
    parser.add_argument("--into", type=Path, help="folder for scenes and runs; a temporary one by default")
    parser.add_argument("--no-network", action="store_true")
    parser.add_argument("--kill", type=int, metavar="TIMES")
    parser.add_argument("--shift", type=int, metavar="PX")
    parser.add_argument("--resume", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.into or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for side in given.sides:
            if given.resume:
                _scan(_make(folder, side), given.resume, resume=True)
            elif given.kill:
                _killed(side, folder, given.kill)
            elif given.shift:
                _moved(side, folder, given.shift)
            elif given.alone:
                _one(side, folder, network=not given.no_network)
            else:
                flags = ["--no-network"] if given.no_network else []
                _make(folder, side)
                command = [sys.executable, "-m", "tests.benchmarks.scan", str(side), "--alone", "--into", str(folder)]
                subprocess.run([*command, *flags], check=True, env=os.environ)


if __name__ == "__main__":
    main()
