"""Photographs of reports on disk: the file as it came, and what is shown of it.

<data_dir>/reports/<id>/original     byte for byte, for who may see originals
<data_dir>/reports/<id>/photo.jpg    upright, at most 2048 px, written from pixels: no EXIF, no position, no camera
"""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from inference.decode import Limits, read_raster
from inference.render import encode_jpeg
from service.storage import copy, write

MAX_BYTES = 16 * 2**20
ORIGINAL, SHOWN = "original", "photo.jpg"
_LONG_SIDE = 2048
_ORPHANED_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Photographs:
    """The folder of reports of one service. One picture is decoded at a time: strangers send them."""

    folder: Path
    _decoding: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def keep(self, report_id: str, stream: BinaryIO, name: str, limits: Limits) -> None:
        """Check and store a photograph.

        Raises:
            InputError: it cannot be used. Nothing was stored.
        """
        place = self.folder / report_id
        place.mkdir(parents=True)
        try:
            copy(stream, place / ORIGINAL, limits.max_bytes)
            with self._decoding:
                pixels = read_raster(place / ORIGINAL, name=name, limits=limits, photograph=True).pixels
                scale = _LONG_SIDE / max(pixels.shape[:2])
                if scale < 1:
                    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
                    pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
                write(place / SHOWN, encode_jpeg(pixels))
        except BaseException:
            self.remove(report_id)
            raise

    def path(self, report_id: str, name: str) -> Path | None:
        """Where a file of a report is, None if there is none."""
        path = self.folder / report_id / name
        return path if path.is_file() else None

    def remove(self, report_id: str) -> None:
        """Delete the photograph of a report; nothing happens if there is none."""
        shutil.rmtree(self.folder / report_id, ignore_errors=True)

    def sweep(self, known: set[str]) -> None:
        """Delete what belongs to no report: a crash came between its photograph and its row."""
        if not self.folder.is_dir():
            return
        oldest = time.time() - _ORPHANED_AFTER_S
        for place in self.folder.iterdir():
            if place.name not in known and place.stat().st_mtime < oldest:
                shutil.rmtree(place, ignore_errors=True)
