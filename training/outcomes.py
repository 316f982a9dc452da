"""Are findings what they say: is the probability stated on them right, and is the true area within its error?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.labelled import IGNORE
from inference.model import corrected
from model.decision import MIN_OBJECT_PX, inner_means
from training.metrics import MIN_COVER, Reliability

INTERVAL = 0.90
"""Share of true areas that `INTERVAL_SIGMAS` standard errors to either side shall hold."""
INTERVAL_SIGMAS = 1.645
MIN_FITTED = 20
"""With fewer matched findings the error of areas is not fitted."""
MIN_EITHER = 8
"""With fewer right, or fewer wrong, findings their probability is left as it is."""

SLOPE_PULL = 0.1
"""Precision of the prior of the slope, a normal distribution around 1."""

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finding on labelled imagery, and what became of it.

    Attributes:
        scene: where it was found; findings of one scene are not independent of each other.
        probability: as stated, 0..1.
        right: at least `MIN_COVER` of it is true.
        area_px, outline_px: its area and the length of its traced outline.
        true_area_px: area of the true object, where the two match one to one; else None.
    """

    scene: str
    probability: float
    right: bool
    area_px: float
    outline_px: float
    true_area_px: float | None


UNKNOWN_ERROR_PX = 1.0
"""Where nothing can be measured: a pixel all around."""


def outcomes(
    scene: str, mask: Mask, probability: NDArray[np.float32], truth: NDArray[np.uint8], rim: int = 0
) -> list[Outcome]:
    """Every object (training.metrics) of a mask, with what the labels say of it.

    Args:
        mask: (H, W) bool, the pixels of one kind of finding.
        probability: (H, W) float32; a finding states the mean over its pixels within a rim of `rim` pixels.
        truth: (H, W) uint8, 0, 1 or `IGNORE`. Findings mostly on `IGNORE` are left out, and those that it cuts have
            no true area.
    """
    known = truth != IGNORE
    _, true_labels, true_stats, _ = cv2.connectedComponentsWithStats((truth == 1).astype(np.uint8), connectivity=8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    means = inner_means(probability, np.asarray(labels, dtype=np.int32), count, rim)
    width = int(true_labels.max()) + 1
    pairs, overlaps = np.unique(labels.astype(np.int64) * width + true_labels, return_counts=True)
    mine, theirs = pairs // width, pairs % width
    touching = np.bincount(theirs[(mine > 0) & (theirs > 0)], minlength=width)  # how many findings touch an object
    result = []
    for i in range(1, count):
        left, top, across, down, area = (int(v) for v in stats[i])
        if area < MIN_OBJECT_PX:
            continue
        cut = np.s_[top : top + down, left : left + across]
        here = labels[cut] == i
        seen = int((here & known[cut]).sum())
        if seen < 0.5 * area:
            continue
        touched = (mine == i) & (theirs > 0)
        true_area = None
        if touched.sum() == 1 and seen == area:
            partner, overlap = int(theirs[touched][0]), int(overlaps[touched][0])
            size = int(true_stats[partner, cv2.CC_STAT_AREA])
            if touching[partner] == 1 and overlap >= MIN_COVER * max(size, area):
                true_area = float(size)
        right = int(overlaps[touched].sum()) >= MIN_COVER * seen
        result.append(Outcome(scene, float(means[i]), right, float(area), _outline(here), true_area))
    return result


def _outline(mask: Mask) -> float:
    """Length of the pixel edges that bound an object, as the length of its traced polygon."""
    padded = np.pad(mask, 1).astype(np.int8)
    return float(np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum())


def _matched(found: Sequence[Outcome]) -> tuple[Numbers, Numbers, Numbers]:
    """Area, outline and true area of the findings that match one object."""
    rows = [(o.area_px, o.outline_px, o.true_area_px) for o in found if o.true_area_px is not None]
    area, outline, true_area = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return area, outline, true_area


def area_error_px(found: Sequence[Outcome]) -> float:
    """Standard error of the area of a finding per pixel of its outline, from those that match one true object.

    Along an outline the error of the edge is one and the same (a shadow, a lean), so that of the area grows with the
    outline's length. A further part in proportion to the area was tried on LEVIR-CD and came out as none. The error is
    such that `INTERVAL_SIGMAS` of it hold `INTERVAL` of the true areas (split conformal, Lei et al., JASA 2018): it is
    the tails that a stated interval must hold, and a root mean square is moved by a few grossly wrong outlines.
    """
    area, outline, true_area = _matched(found)
    if len(area) < MIN_FITTED:
        return UNKNOWN_ERROR_PX
    level = min(1.0, INTERVAL * (len(area) + 1) / len(area))
    return round(float(np.quantile(np.abs(area - true_area) / outline, level)) / INTERVAL_SIGMAS, 3)


def area_coverage(found: Sequence[Outcome]) -> dict[str, float | int | None]:
    """Share of true areas within `INTERVAL_SIGMAS` standard errors, each scene by an error fitted on the others.

    `share` is None where there are too few findings or scenes to hold one out.
    """
    inside = total = 0
    for scene in sorted({o.scene for o in found}):
        others = [o for o in found if o.scene != scene]
        area, outline, true_area = _matched([o for o in found if o.scene == scene])
        if len(_matched(others)[0]) < MIN_FITTED:
            continue
        reach = INTERVAL_SIGMAS * area_error_px(others) * outline
        inside += int((np.abs(area - true_area) <= reach).sum())
        total += len(area)
    share = round(inside / total, 4) if total else None
    return {"interval": INTERVAL, "sigmas": INTERVAL_SIGMAS, "share": share, "findings": total}


def finding_reliability(found: Sequence[Outcome]) -> Reliability:
    """The probability stated on findings against how many of them are right."""
    result = Reliability()
    if found:
        result.add(
            np.array([o.probability for o in found], dtype=np.float32),
            np.array([o.right for o in found], dtype=np.uint8),
        )
    return result


def platt(found: Sequence[Outcome]) -> tuple[float, float]:
    """Slope and offset of the logit that turn the mean probability of a patch into that of its being right.

    Platt, "Probabilistic outputs for support vector machines" (1999), with his targets, which are a little short of
    0 and 1. Two numbers are all that a few hundred findings bear, and the slope is held a little to 1. (1, 0) where
    the findings are too few or all alike.
    """
    right = np.array([o.right for o in found], dtype=np.float64)
    wins, losses = float(right.sum()), float(len(right) - right.sum())
    if min(wins, losses) < MIN_EITHER:
        return 1.0, 0.0
    target = np.where(right > 0, (wins + 1) / (wins + 2), 1 / (losses + 2))
    p = np.clip(np.array([o.probability for o in found]), 1e-6, 1 - 1e-6)
    design = np.stack([np.log(p / (1 - p)), np.ones_like(p)], axis=1)

    def loss(w: Numbers) -> float:
        z = design @ w
        return float((np.logaddexp(0, z) - target * z).sum()) + 0.5 * SLOPE_PULL * float(w[0] - 1) ** 2

    weights = np.array([1.0, 0.0])
    for _ in range(50):  # Newton's method, by shorter steps where a whole one would overshoot
        said = 0.5 * (1 + np.tanh(0.5 * (design @ weights)))
        hessian = (design * (said * (1 - said))[:, None]).T @ design + np.diag([SLOPE_PULL, 1e-6])
        gradient = design.T @ (said - target) + np.array([SLOPE_PULL * (weights[0] - 1), 0.0])
        step = np.linalg.solve(hessian, gradient)
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-9:
            step = step / 2
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    slope, offset = (round(float(w), 4) for w in weights)
    return (slope, offset) if slope > 0 else (1.0, 0.0)  # more probable must not come out as less


def held_out(found: Sequence[Outcome], fitted: Sequence[Outcome]) -> list[Outcome]:
    """The findings with the probability that `platt` gives them by those of `fitted` in the other scenes."""
    result = []
    for scene in sorted({o.scene for o in found}):
        slope, offset = platt([o for o in fitted if o.scene != scene])
        for o in found:
            if o.scene == scene:
                result.append(replace(o, probability=corrected(o.probability, slope, offset)))
    return result
