"""At which ground resolution overhead imagery is best scored.

    python -m tests.benchmarks.resolution --data DATA [--weights FOLDER]

Change on the validation tiles of LEVIR-CD (0.5 m), enlarged and reduced before they are scored: enlarged they stand for
finer imagery, of which no labelled pairs exist here, without its detail. Structures on Banepa (0.27 m), reduced: real
detail that is given up. `inference.model.FINEST_SCORED_M` follows from both.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.labelled import LabelledPair, read_set
from inference.model import Model
from inference.tiling import predict_tiled
from model.decision import hysteresis
from tests.benchmarks.asked import data_and_model
from training.metrics import Scores, score

CHANGE_M, STRUCTURE_M = (0.25, 0.33, 0.4, 0.5, 0.67, 1.0), (0.27, 0.33, 0.4, 0.5)


def _probabilities(model: Model, pair: LabelledPair, gsd: float) -> NDArray[np.float32]:
    """(3, H, W) on the grid of the pair, scored at `gsd`."""
    height, width = pair.change.shape
    size = round(width * pair.gsd / gsd), round(height * pair.gsd / gsd)
    how = cv2.INTER_CUBIC if gsd < pair.gsd else cv2.INTER_AREA
    before, after = (np.asarray(cv2.resize(x, size, interpolation=how), np.uint8) for x in (pair.before, pair.after))
    found = predict_tiled(model.probabilities, before, after)
    return np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in found])


def main() -> None:
    data, model = data_and_model()
    contract = model.contract
    for gsd in CHANGE_M:
        total = Scores()
        for pair in read_set(data, "levir_cd", "validation"):
            change = _probabilities(model, pair, gsd)[2]
            seen = hysteresis(change, contract.threshold["change"], *contract.change_least)
            total += score(seen, pair.change, pair.gsd)
        false = total.predicted - total.right
        print(f"change at {gsd:.2f} m: F1 {total.f1:.3f}, object recall {total.object_recall:.3f}, {false:2d} false")
    for gsd in STRUCTURE_M:
        total = Scores()
        for pair in read_set(data, "banepa", "validation"):
            seen = _probabilities(model, pair, gsd)[0] >= contract.threshold["structure_before"]
            total += score(seen, pair.structure_before, pair.gsd)
        print(f"structures at {gsd:.2f} m: F1 {total.f1:.3f}, object recall {total.object_recall:.3f}")


if __name__ == "__main__":
    main()
