"""What stands around new houses is not `remaining`: findings of each kind on the validation tiles of LEVIR-CD.

    python -m tests.benchmarks.remaining --data DATA [--weights FOLDER]

LEVIR-CD says nothing of structures beside what changed, so no figure of `jingdi evaluate` shows rings of `remaining`
around every new house. Weights that draw them look good in all others (training/RESULTS.md, 2026-11-25).
"""

from __future__ import annotations

import cv2
import numpy as np

from datasets.labelled import read_set
from inference.findings import Layers
from inference.tiling import predict_tiled
from inference.vectorise import classify
from tests.benchmarks.asked import data_and_model
from training.metrics import score

NEAR_PX = 3


def main() -> None:
    data, model = data_and_model()
    total, called, changed = np.zeros(4, int), 0, 0
    for pair in read_set(data, "levir_cd", "validation"):
        probabilities = predict_tiled(model.probabilities, pair.before, pair.after)
        masks = classify(Layers(*probabilities[:3]), np.ones(pair.change.shape, dtype=bool), model.contract)
        true = pair.change == 1
        near = cv2.dilate(true.astype(np.uint8), np.ones((2 * NEAR_PX + 1,) * 2, np.uint8))
        new, removed, remaining = (score(mask, near, pair.gsd) for mask in (masks.new, masks.removed, masks.remaining))
        row = np.array([new.predicted, removed.predicted, remaining.predicted, remaining.right])
        print(f"{pair.name:10} new {row[0]:4d}  removed {row[1]:3d}  remaining {row[2]:4d}, at a change {row[3]:3d}")
        total += row
        called += int((true & masks.remaining).sum())
        changed += int(true.sum())
    print(f"{'all':10} new {total[0]:4d}  removed {total[1]:3d}  remaining {total[2]:4d}, at a change {total[3]:3d}")
    print(f"changed pixels called remaining: {100 * called / changed:.1f} %")


if __name__ == "__main__":
    main()
