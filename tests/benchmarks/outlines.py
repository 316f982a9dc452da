"""Where the pixels are that keep F1 on the validation tiles of LEVIR-CD below 1, and whether its labels lie right.

    python -m tests.benchmarks.outlines --data DATA [--weights FOLDER]

First: how much of what is wrong lies within so many pixels of a labelled outline, and F1 if just that were right. Then,
tile by tile, F1 with the labels moved by a pixel or two (datasets.offsets): where one move is best on every tile, the
labels lie beside the houses, not the predictions, which are the mean of the tile as it is and turned by half a circle.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.labelled import IGNORE, read_set
from datasets.offsets import moved
from inference.model import Model
from inference.tiling import predict_tiled
from training.label_registration import both_ways

REACH, DISTANCES = 2, (1, 2, 3)


def _counts(seen: NDArray[np.bool_], labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Right, falsely seen, missed: pixels."""
    known, true = labels != IGNORE, labels == 1
    return np.array([(seen & true).sum(), (seen & ~true & known).sum(), (~seen & true).sum()])


def _f1(counts: NDArray[np.int64]) -> float:
    right, false, missed = counts
    return float(2 * right / (2 * right + false + missed))


def _near(labels: NDArray[np.uint8], distance: int) -> NDArray[np.bool_]:
    """Pixels within `distance` of a labelled outline, on either side."""
    true = (labels == 1).astype(np.uint8)
    outside, inside = (cv2.distanceTransform(part, cv2.DIST_L2, 5) for part in (1 - true, true))
    return np.asarray(np.maximum(outside, inside) <= distance, dtype=np.bool_)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=Path("model/weights"))
    options = parser.parse_args()
    model = Model(options.weights / "overhead.onnx", options.weights / "overhead.json")
    threshold = model.contract.threshold["change"]
    steps = [(y, x) for y in range(-REACH, REACH + 1) for x in range(-REACH, REACH + 1)]
    plain, total = np.zeros(3, np.int64), {step: np.zeros(3, np.int64) for step in steps}
    far = {distance: np.zeros(3, np.int64) for distance in DISTANCES}
    for pair in read_set(options.data, "levir_cd", "validation"):
        seen = predict_tiled(model.probabilities, pair.before, pair.after)[2] >= threshold
        plain += _counts(seen, pair.change)
        for distance, sums in far.items():
            sums += _counts(seen, np.where(_near(pair.change, distance), IGNORE, pair.change))
        mean = both_ways(lambda before, after: predict_tiled(model.probabilities, before, after), pair)[2] >= threshold
        tile = {step: _counts(mean, moved(pair.change, *step)) for step in steps}
        best = max(tile, key=lambda step: _f1(tile[step]))
        print(f"{pair.name:10} F1 {_f1(tile[0, 0]):.3f} as labelled, {_f1(tile[best]):.3f} with labels moved by {best}")
        for step in steps:
            total[step] += tile[step]
    print(f"all        F1 {_f1(plain):.4f} as labelled and as shipped; precision, recall "
          f"{plain[0] / (plain[0] + plain[1]):.3f}, {plain[0] / (plain[0] + plain[2]):.3f}")  # fmt: skip
    best = max(total, key=lambda step: _f1(total[step]))
    print(f"both ways  F1 {_f1(total[0, 0]):.4f} as labelled, {_f1(total[best]):.4f} with labels moved by {best}")
    for distance, sums in far.items():
        wrong = 1 - (sums[1] + sums[2]) / (plain[1] + plain[2])
        fixed = plain[0] + plain[2] - sums[2]
        print(f"within {distance} px of an outline: {100 * wrong:.0f} % of the wrong pixels; "
              f"F1 {_f1(np.array([fixed, sums[1], sums[2]])):.3f} without them")  # fmt: skip


if __name__ == "__main__":
    main()
