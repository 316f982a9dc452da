"""The folder of a run: what was decided, what is done, and that only one scan works in it.

Every file appears whole or not at all: written beside its place, flushed to the disk, renamed. So what is there
is done, whatever moment the process died at, and nothing else need be written down.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.reasons import InputError, Reason
from inference.scan.blocks import Block
from inference.scan.windows import Window

ROWS = 256
"""A window is kept in pieces of so many rows, which are blended one after the other."""
_LEVEL = 1
"""Of compression: what is read once and dropped is not worth more time."""
_RECORD = "record.json"
PLAN, SUMMARY, SCRATCH = "plan.json", "summary.json", "scratch"


def write_whole(path: Path, data: bytes | memoryview | Iterable[bytes]) -> None:
    """Write a file, in one piece or in several, so that it is there whole or not at all, even after a power cut.

    Raises:
        OSError: no space, no permission; nothing is left behind.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.writelines([data] if isinstance(data, bytes | memoryview) else data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """A rename is on the disk once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True).encode() + b"\n"


def _record(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as file:
        record: dict[str, Any] = json.loads(file.read(_RECORD))
    return record


class Journal:
    """What is done of a run. Written by the process that holds the lock alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._windows, self._strips = folder / SCRATCH / "windows", folder / SCRATCH / "strips"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run; the lock goes with the process.

        Raises:
            InputError: `run_busy`.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(Reason("run_busy", {"path": str(self.folder)})) from None
            yield

    def plan(self) -> dict[str, Any] | None:
        """What was decided when the run began, None if there is none."""
        path = self.folder / PLAN
        plan: dict[str, Any] | None = json.loads(path.read_bytes()) if path.exists() else None
        return plan

    def begin(self, plan: dict[str, Any], *, resume: bool) -> dict[str, Any] | None:
        """Start, or go on with a run of the same plan.

        Returns:
            The summary if the run is finished.

        Raises:
            InputError: `run_exists` without `resume`, `run_differs` if the plan is another.
        """
        path = self.folder / PLAN
        if path.exists():
            if not resume:
                raise InputError(Reason("run_exists", {"path": str(self.folder)}))
            if path.read_bytes() != as_json(plan):
                raise InputError(Reason("run_differs", {"path": str(self.folder)}))
        for folder in (self._windows, self._strips):
            folder.mkdir(parents=True, exist_ok=True)
            for partial in folder.glob("*.partial"):
                partial.unlink()
        if not path.exists():
            write_whole(path, as_json(plan))
        summary = self.folder / SUMMARY
        return json.loads(summary.read_bytes()) if summary.exists() else None

    # --- Blocks -------------------------------------------------------------------------------------------

    def blocks(self) -> list[list[Block]] | None:
        path = self.folder / SCRATCH / "blocks.json"
        if not path.exists():
            return None
        return [
            [Block(np.nan if dx is None else dx, np.nan if dy is None else dy, reason) for dx, dy, reason in row]
            for row in json.loads(path.read_bytes())
        ]

    def keep_blocks(self, blocks: list[list[Block]]) -> None:
        rows = [[(None, None, b.reason) if np.isnan(b.dx) else (b.dx, b.dy, b.reason) for b in row] for row in blocks]
        write_whole(self.folder / SCRATCH / "blocks.json", json.dumps(rows).encode())

    # --- Windows ------------------------------------------------------------------------------------------

    def has_window(self, window: Window) -> bool:
        return self._window(window).exists()

    def keep_window(self, window: Window, layers: NDArray[np.uint8], record: dict[str, Any]) -> None:
        """`record`: what became of it; with an `error` it is tried again when the run is resumed."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as file:
            file.writestr(_RECORD, as_json(record))
            for piece, top in enumerate(range(0, layers.shape[1], ROWS)):
                file.writestr(str(piece), layers[:, top : top + ROWS].tobytes())
        write_whole(self._window(window), buffer.getbuffer())

    def layers(self, window: Window, first: int, last: int) -> NDArray[np.uint8]:
        """(4, rows, W): some rows of what is kept of a window, counted from its first."""
        pieces = range(first // ROWS, -(-last // ROWS))
        with zipfile.ZipFile(self._window(window)) as file:
            parts = [np.frombuffer(file.read(str(i)), np.uint8).reshape(4, -1, window.kept.width) for i in pieces]
        start = pieces.start * ROWS
        return np.concatenate(parts, axis=1)[:, first - start : last - start]

    def record(self, window: Window) -> dict[str, Any]:
        return _record(self._window(window))

    def drop_row(self, row: int) -> None:
        """Windows whose pixels have all gone into strips."""
        for path in self._windows.glob(f"{row:05d}_*.zip"):
            path.unlink()

    def _window(self, window: Window) -> Path:
        return self._windows / f"{window.key}.zip"

    # --- Strips -------------------------------------------------------------------------------------------

    def strip(self, row: int) -> Path:
        return self._strips / f"{row:05d}.tif"

    def keep_strip(self, row: int, data: bytes | memoryview, windows: list[dict[str, Any]]) -> None:
        """A row of windows as one piece of the mosaic, and what became of each window."""
        write_whole(self.strip(row).with_suffix(".json"), as_json(windows))
        write_whole(self.strip(row), data)

    def strip_windows(self, row: int) -> list[dict[str, Any]]:
        windows: list[dict[str, Any]] = json.loads(self.strip(row).with_suffix(".json").read_bytes())
        return windows

    def forget_failures(self, rows: int) -> None:
        """Have what was set aside done again, with the strips that it is part of."""
        failed = {r for r in range(rows) if self.strip(r).exists() and any(w["error"] for w in self.strip_windows(r))}
        for row in failed | {r + 1 for r in failed}:
            self.strip(row).unlink(missing_ok=True)
        for path in self._windows.glob("*.zip"):
            if _record(path)["error"]:
                path.unlink()
        (self.folder / SUMMARY).unlink(missing_ok=True)

    def finish(self, summary: dict[str, Any], *, complete: bool) -> None:
        """The last file of a run. Scratch stays where something was set aside, for the next try."""
        write_whole(self.folder / SUMMARY, as_json(summary))
        if complete:
            shutil.rmtree(self.folder / SCRATCH, ignore_errors=True)
