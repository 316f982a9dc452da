"""Of which kind two pictures are: imagery from above, or photographs taken by hand.

What is known comes first: a georeference or a ground resolution is overhead, a camera's EXIF is a photograph. Otherwise
the looks decide: in a photograph sky is above and ground below, and walls and poles stand upright, while imagery from
above has no up. A logistic rule on a few figures of four bands from top to bottom says which. Fitted on one half of
1,021 pictures of ten sets and measured on the other half (tests/benchmarks/kinds.py): 97.7 % right; 2 of 511 wrong
with a score beyond `SURE`. Facades that fill the picture from edge to edge are the hardest (93 %; 56 % where their
set was left out of the fitting), so the kind can be forced everywhere.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.raster import Raster
from inference.findings import PictureKind

KindAsked = Literal["auto", "overhead", "photos"]

SURE = 2.0
"""Log odds: below it the kind is said to be a guess."""
BANDS = 4
_SIDE = 256

# Of each band from top to bottom: light, texture, upright and level edges, blue, smooth and bright.
_BAND_WEIGHTS = (
    (0.72, 0.18, 3.19, -8.67, 1.3, 4.9),
    (-1.05, 0.38, 10.97, -0.65, -2.13, 0.37),
    (-1.29, 1.11, 17.07, 18.77, 0.24, 15.58),
    (0.03, 0.31, 13.4, 8.63, -1.17, -7.61),
)
# Of the whole: symmetry of light and texture, rows against columns of light and texture, contrast, texture.
_WHOLE_WEIGHTS = (0.53, 0.6, 0.31, 0.19, -0.17, -1.72)
_BIAS = -0.43
_WEIGHTS = np.array([*np.ravel(_BAND_WEIGHTS), *_WHOLE_WEIGHTS])


def recognised(before: Raster, after: Raster) -> tuple[PictureKind, bool]:
    """The kind of both, as far as it is known or can be seen, and whether that is sure."""
    known = known_kind(before, after)
    if known:
        return known, True
    odds = looks(before, after)
    return "photos" if odds > 0 else "overhead", abs(odds) >= SURE


def known_kind(before: Raster, after: Raster) -> PictureKind | None:
    """The kind of both as the files or the user say it, or None."""
    if any(r.crs is not None or r.gsd is not None for r in (before, after)):
        return "overhead"
    return "photos" if before.camera or after.camera else None


def looks(before: Raster, after: Raster) -> float:
    """Log odds that both are photographs taken by hand, from their looks alone."""
    return float(np.mean([features(r.pixels) @ _WEIGHTS + _BIAS for r in (before, after)]))


def features(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(H, W, 3) uint8 -> (30,) figures, six of each band and six of the whole, all at 256 x 256 px."""
    small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    gray = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.float32)
    across, down = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    edges = np.hypot(across, down)
    angle = np.degrees(np.arctan2(np.abs(down), np.abs(across)))
    blue = small[..., 2] - small[..., 0]
    contrast, texture = float(gray.std()) + 1, float(edges.mean()) + 1
    bands: list[float] = []
    for band in np.split(np.arange(_SIDE), BANDS):
        strength = edges[band]
        total = float(strength.sum()) + 1
        bands += [
            float(gray[band].mean() - gray.mean()) / contrast,
            float(np.log((strength.mean() + 1) / texture)),
            float(strength[angle[band] < 6].sum()) / total,
            float(strength[angle[band] > 84].sum()) / total,
            float(blue[band].mean() - blue.mean()) / 32,
            float(((strength < 8) & (gray[band] > 140)).mean()),
        ]
    rows, columns = np.log(edges.mean(axis=1) + 1), np.log(edges.mean(axis=0) + 1)
    whole = (
        _symmetry(gray, 1.0),
        _symmetry(np.log(edges + 4), 0.05),
        _log_ratio(gray.mean(axis=1).std(), gray.mean(axis=0).std()),
        _log_ratio(rows.std(), columns.std()),
        float(np.log(contrast)),
        float(np.log(texture)),
    )
    return np.array([*bands, *whole])


def _symmetry(values: NDArray[np.float32], floor: float) -> float:
    """How much more a picture is like its mirror image than like itself upside down."""
    small = cv2.resize(values, (16, 16), interpolation=cv2.INTER_AREA)
    small = (small - small.mean()) / (small.std() + floor)
    return float((small * small[:, ::-1]).mean() - (small * small[::-1]).mean())


def _log_ratio(a: np.floating, b: np.floating) -> float:
    return float(np.log(a + 1e-3) - np.log(b + 1e-3))
