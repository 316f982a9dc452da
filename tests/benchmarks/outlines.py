"""Where the pixels are that keep F1 on the validation tiles of LEVIR-CD below 1, and whether its labels lie right.

    python -m tests.benchmarks.outlines --data DATA [--weights FOLDER]

First: how much of what is wrong lies within so many pixels of a labelled outline, and F1 if just that were right. Then,
tile by tile, F1 with the labels moved by a pixel or two (datasets.offsets): where one move is best on every tile, the
labels lie beside the houses, not the predictions, which are the mean of the tile as it is and turned by half a circle.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.labelled import IGNORE, read_set
from datasets.offsets import moved
from inference.tiling import predict_tiled
from tests.benchmarks.asked import data_and_model
from training.label_registration import both_ways
from training.metrics import Scores, pixel_scores

REACH, DISTANCES = 2, (1, 2, 3)


def _near(labels: NDArray[np.uint8], distance: int) -> NDArray[np.bool_]:
    """Pixels within `distance` of a labelled outline, on either side."""
    true = (labels == 1).astype(np.uint8)
    outside, inside = (cv2.distanceTransform(part, cv2.DIST_L2, 5) for part in (1 - true, true))
    return np.asarray(np.maximum(outside, inside) <= distance, dtype=np.bool_)


def main() -> None:
    data, model = data_and_model()
    threshold = model.contract.threshold["change"]
    steps = [(y, x) for y in range(-REACH, REACH + 1) for x in range(-REACH, REACH + 1)]
    plain, total, far = Scores(), dict.fromkeys(steps, Scores()), dict.fromkeys(DISTANCES, Scores())
    for pair in read_set(data, "levir_cd", "validation"):
        seen = predict_tiled(model.probabilities, pair.before, pair.after)[2] >= threshold
        plain += pixel_scores(seen, pair.change)
        for distance in far:
            far[distance] += pixel_scores(seen, np.where(_near(pair.change, distance), IGNORE, pair.change))
        mean = both_ways(lambda before, after: predict_tiled(model.probabilities, before, after), pair)[2] >= threshold
        tile = {step: pixel_scores(mean, moved(pair.change, *step)) for step in steps}
        best = max(tile, key=lambda step: tile[step].f1)
        print(f"{pair.name:10} F1 {tile[0, 0].f1:.3f} as labelled, {tile[best].f1:.3f} with labels moved by {best}")
        for step in steps:
            total[step] += tile[step]
    print(f"all        F1 {plain.f1:.4f} as labelled and as shipped; precision, recall "
          f"{plain.precision:.3f}, {plain.recall:.3f}")  # fmt: skip
    best = max(total, key=lambda step: total[step].f1)
    print(f"both ways  F1 {total[0, 0].f1:.4f} as labelled, {total[best].f1:.4f} with labels moved by {best}")
    for distance, left in far.items():
        near = 1 - (left.fp + left.fn) / (plain.fp + plain.fn)
        mended = replace(left, tp=plain.tp + plain.fn - left.fn)
        print(f"within {distance} px of an outline: {100 * near:.0f} % of the wrong pixels; "
              f"F1 {mended.f1:.3f} without them")  # fmt: skip


if __name__ == "__main__":
    main()
