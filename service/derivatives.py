"""What is shown and downloaded of a finished comparison. Written from pixels, so no EXIF can come along."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.raster import Raster
from inference.findings import Assessment
from inference.render import encode_jpeg, encode_png, overlay
from inference.report import feature_collection
from service.storage import write

BEFORE, AFTER, OVERLAY = "before.jpg", "after.jpg", "overlay.png"
THUMB, GEOJSON, GHOST = "thumb.jpg", "findings.geojson", "ghost.jpg"

# Wider than any screen; a browser needs 4 bytes of memory for each pixel it shows.
MAX_VIEW_PX = 4096
THUMB_PX = (160, 120)
GHOST_PX = 1280


def derive(assessment: Assessment, before: Raster, folder: Path) -> None:
    """Write everything derived from an assessment. Of a pair refused without a common grid there is nothing to show.

    The earlier photograph is kept to be laid over a camera's view, most of all where the pair was refused.
    """
    if assessment.kind == "photos":
        write(folder / GHOST, encode_jpeg(view(before.pixels, GHOST_PX)))
    if assessment.pair is None:
        return
    first, second = assessment.pair.before.pixels, assessment.pair.after.pixels
    write(folder / BEFORE, encode_jpeg(view(first)))
    write(folder / AFTER, encode_jpeg(view(second)))
    write(folder / THUMB, encode_jpeg(np.hstack([_thumb(first), _thumb(second)])))
    write(folder / OVERLAY, encode_png(overlay(assessment)))
    features = json.dumps(feature_collection(assessment), ensure_ascii=False, allow_nan=False)
    write(folder / GEOJSON, features.encode())


def view(pixels: NDArray[np.uint8], longest_side: int = MAX_VIEW_PX) -> NDArray[np.uint8]:
    """(H, W, 3), made smaller if a screen could not show it anyway."""
    height, width = pixels.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return pixels
    return _resize(pixels, max(1, round(width * scale)), max(1, round(height * scale)))


def _thumb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of a picture, in the shape of the list on the start page."""
    height, width = pixels.shape[:2]
    scale = min(width / THUMB_PX[0], height / THUMB_PX[1])
    w, h = max(1, round(THUMB_PX[0] * scale)), max(1, round(THUMB_PX[1] * scale))
    x, y = (width - w) // 2, (height - h) // 2
    return _resize(pixels[y : y + h, x : x + w], *THUMB_PX)


def _resize(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)
