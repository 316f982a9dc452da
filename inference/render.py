"""Pictures of an assessment: findings drawn over the later date."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon

from inference.findings import Assessment, Kind

COLOURS: dict[Kind, tuple[int, int, int]] = {
    "new": (213, 94, 0),
    "remaining": (240, 228, 66),
    "removed": (0, 158, 220),
}
"""RGB, told apart by people with any kind of colour vision (Okabe & Ito palette)."""

_HATCH = (128, 128, 128)
_SHIFT = 4


def overlay(assessment: Assessment) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: the later picture with every finding outlined and tinted, what was not observed hatched.

    Raises:
        ValueError: the pair was refused before it could be laid on one grid, so there is nothing to draw on.
    """
    if assessment.pair is None:
        raise ValueError("a refused pair has no overlay")
    picture = _hatched(assessment.pair.after.pixels, ~assessment.pair.observed)
    tint = picture.copy()
    for finding in assessment.findings:
        cv2.fillPoly(tint, _contours(finding.polygon), COLOURS[finding.kind], shift=_SHIFT)
    canvas = cv2.addWeighted(tint, 0.3, picture, 0.7, 0.0)
    thickness = 2 * max(1, round(max(picture.shape) / 1400))  # half of it on either side
    for finding in assessment.findings:
        contours, colour = _contours(finding.polygon), COLOURS[finding.kind]
        cv2.polylines(canvas, contours, True, colour, thickness, lineType=cv2.LINE_AA, shift=_SHIFT)
    return np.asarray(canvas, dtype=np.uint8)


def _hatched(picture: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    if not where.any():
        return picture
    step = max(6, round(max(picture.shape) / 90))
    rows, columns = np.arange(where.shape[0])[:, None], np.arange(where.shape[1])
    lines = where & ((rows + columns) % step < max(1, step // 8))
    hatched = picture.copy()
    hatched[lines] = _HATCH
    return hatched


def _contours(polygon: Polygon) -> list[NDArray[np.int32]]:
    """Rings as OpenCV wants them: counted from the centre of the first pixel, in fractions of `_SHIFT` bits."""
    rings = (polygon.exterior, *polygon.interiors)
    return [np.rint((np.asarray(ring.coords)[:, :2] - 0.5) * 2**_SHIFT).astype(np.int32) for ring in rings]


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) uint8 RGB -> PNG."""
    return _encode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 4])


def encode_jpeg(pixels: NDArray[np.uint8], quality: int = 90) -> bytes:
    """(H, W, 3) uint8 RGB -> JPEG, without any metadata."""
    return _encode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encode(suffix: str, pixels: NDArray[np.uint8], parameters: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), parameters)
    if not done:
        raise ValueError(f"cannot encode a picture of {pixels.shape} as {suffix}")
    return bytes(data)
