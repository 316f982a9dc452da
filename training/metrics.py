"""The project's one evaluation: pixels and objects. Plain numpy and OpenCV, no torch.

Objects are 8-connected components of at least `MIN_OBJECT_PX` pixels. A true object is found if at least
`MIN_COVER` of it is predicted; a predicted object is right if at least `MIN_COVER` of it is true. Pixels whose
label is `IGNORE` count for nothing, on either side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.labelled import IGNORE
from model.decision import MIN_OBJECT_PX

MIN_COVER = 0.10


@dataclass(frozen=True, slots=True)
class Scores:
    """Counts that add up over images; the rates are derived from them.

    Attributes:
        tp, fp, fn: pixels.
        objects, found: true objects, and how many of them were found.
        predicted, right: predicted objects, and how many of them are right.
        area_km2: labelled area.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    objects: int = 0
    found: int = 0
    predicted: int = 0
    right: int = 0
    area_km2: float = 0.0

    def __add__(self, other: Scores) -> Scores:
        return Scores(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def f1(self) -> float:
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def object_recall(self) -> float:
        return _ratio(self.found, self.objects)

    @property
    def object_precision(self) -> float:
        return _ratio(self.right, self.predicted)

    @property
    def false_objects_per_km2(self) -> float:
        return _ratio(self.predicted - self.right, self.area_km2)

    def as_dict(self) -> dict[str, float | None]:
        """Rounded figures, for manifests and tables. None where there is nothing to measure: JSON has no NaN."""
        names = ("f1", "iou", "precision", "recall", "object_recall", "object_precision", "false_objects_per_km2")
        rates = {name: getattr(self, name) for name in names}
        known = {name: None if math.isnan(rate) else round(rate, 4) for name, rate in rates.items()}
        return {**known, "objects": self.objects, "area_km2": round(self.area_km2, 4)}


def _ratio(part: float, whole: float) -> float:
    """part / whole; NaN where there is nothing to measure, so that it cannot be taken for a zero or a success."""
    return part / whole if whole else float("nan")


def _objects(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[int, int]:
    """Number of objects in `mask`, and of those covered by `other` to at least `MIN_COVER`."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    sizes = np.bincount(labels.ravel(), minlength=count)[1:]
    covered = np.bincount(labels.ravel(), weights=other.ravel(), minlength=count)[1:]
    large = sizes >= MIN_OBJECT_PX
    return int(large.sum()), int((large & (covered >= MIN_COVER * sizes)).sum())


def pixel_scores(predicted: NDArray[np.bool_], truth: NDArray[np.uint8]) -> Scores:
    """Pixels alone, of a mask and its labels as of `score`."""
    p, t = predicted & (truth != IGNORE), truth == 1
    return Scores(tp=int((p & t).sum()), fp=int((p & ~t).sum()), fn=int((t & ~p).sum()))


def score(predicted: NDArray[np.bool_], truth: NDArray[np.uint8], gsd: float) -> Scores:
    """Compare one predicted mask with its labels.

    Args:
        predicted: (H, W) bool.
        truth: (H, W) uint8, 0, 1 or `IGNORE`.
        gsd: metres per pixel.
    """
    known = truth != IGNORE
    p, t = predicted & known, (truth == 1)
    objects, found = _objects(t, p)
    n_predicted, right = _objects(p, t)
    return pixel_scores(predicted, truth) + Scores(
        objects=objects, found=found, predicted=n_predicted, right=right,
        area_km2=float(known.sum()) * gsd * gsd / 1e6,
    )  # fmt: skip


class Reliability:
    """Histogram of predicted probability against truth, for reliability diagrams and calibration error."""

    def __init__(self, bins: int = 15) -> None:
        self.count = np.zeros(bins)
        self.confidence = np.zeros(bins)
        self.positive = np.zeros(bins)

    def add(self, probability: NDArray[np.float32], truth: NDArray[np.uint8]) -> None:
        known = truth != IGNORE
        p, t = probability[known].astype(np.float64), truth[known] == 1
        bins = len(self.count)
        index = np.minimum((p * bins).astype(np.int64), bins - 1)
        self.count += np.bincount(index, minlength=bins)
        self.confidence += np.bincount(index, weights=p, minlength=bins)
        self.positive += np.bincount(index, weights=t, minlength=bins)

    @property
    def expected_calibration_error(self) -> float:
        """Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017)."""
        return _ratio(float(np.abs(self.confidence - self.positive).sum()), float(self.count.sum()))

    def as_dict(self) -> dict[str, Any]:
        """For manifests: the calibration error, None where nothing was measured, and for each bin that holds
        anything the mean probability said, the share that is true, and the count."""
        error = self.expected_calibration_error
        held = self.count > 0
        bins = zip(self.confidence[held], self.positive[held], self.count[held], strict=True)
        return {
            "error": None if math.isnan(error) else round(error, 4),
            "bins": [[round(float(said / n), 4), round(float(true / n), 4), int(n)] for said, true, n in bins],
        }
