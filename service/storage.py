"""Files of pairs on disk: complete or not there at all.

<data_dir>/incoming/<id>/   an upload that is still arriving
<data_dir>/pairs/<id>/      before, after: the originals, byte for byte; and what was derived from them
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from inference.reasons import InputError, Reason

_CHUNK = 2**20
_ABANDONED_AFTER_S = 3600.0


class Storage:
    """The folder of one service."""

    def __init__(self, data_dir: Path) -> None:
        self._incoming, self._pairs = data_dir / "incoming", data_dir / "pairs"
        for folder in (self._incoming, self._pairs):
            folder.mkdir(parents=True, exist_ok=True)

    def folder(self, pair_id: str) -> Path:
        """Where the files of a pair are."""
        return self._pairs / pair_id

    @contextmanager
    def arriving(self, pair_id: str) -> Iterator[Path]:
        """A folder to fill. It becomes the pair's folder if the block ends well, and disappears if not."""
        folder = self._incoming / pair_id
        folder.mkdir()
        try:
            yield folder
            _sync(folder)
            folder.rename(self.folder(pair_id))
            _sync(self._pairs)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def remove(self, pair_id: str) -> None:
        """Delete the files of a pair; nothing happens if there are none."""
        shutil.rmtree(self.folder(pair_id), ignore_errors=True)

    def sweep(self, known: set[str], *, older_than_s: float = _ABANDONED_AFTER_S) -> None:
        """Delete what a crash left behind: uploads that never arrived, folders that no row knows."""
        oldest = time.time() - older_than_s
        orphans = [folder for folder in self._pairs.iterdir() if folder.name not in known]
        for folder in [*self._incoming.iterdir(), *orphans]:
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)


def copy(source: BinaryIO, target: Path, max_bytes: int) -> None:
    """Write a stream to disk, durably, and never more than `max_bytes` of it.

    Raises:
        InputError: the stream is longer.
    """
    written = 0
    with target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > max_bytes:
                raise InputError(Reason("too_many_bytes", {"limit_mb": max_bytes // 2**20}))
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def write(target: Path, content: bytes) -> None:
    """Write a file in one step, so that a reader sees the old one or the new one."""
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(content)
    part.replace(target)


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
