"""How much is lost when imagery looks as if another sensor had taken it: another mean, spread and sharpness, or grey.

    python -m tests.benchmarks.sensors --data DATA [--weights FOLDER]

Each date of the validation pairs by itself, as training draws it (training.augment.restyle). That is kind to weights
that were trained so; what another region really looks like, `jingdi leave-out` tells.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from datasets.labelled import read_set
from inference.tiling import predict_tiled
from model import OUTPUTS
from tests.benchmarks.asked import data_and_model
from training.augment import restyle
from training.evaluate import Prediction, table

SETS, DRAWS = ("levir_cd", "xbd_mexico", "xbd_other", "ida", "banepa"), 2


def _restyled(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    other = restyle(torch.from_numpy(picture).permute(2, 0, 1))
    return np.ascontiguousarray(other.permute(1, 2, 0).numpy())


def main() -> None:
    data, model = data_and_model()
    contract = model.contract
    decision = contract.threshold, *contract.change_least
    pairs = [pair for source in SETS for pair in read_set(data, source, "validation")]
    plain, other = [], []
    for seed, pair in enumerate(pairs):
        plain.append(Prediction(pair, predict_tiled(model.probabilities, pair.before, pair.after)))
        torch.manual_seed(seed)
        for _ in range(DRAWS):
            dates = _restyled(pair.before), _restyled(pair.after)
            other.append(Prediction(pair, predict_tiled(model.probabilities, *dates)))
    for (name, was), now in zip(table(plain, *decision).items(), table(other, *decision).values(), strict=True):
        if name.endswith(OUTPUTS[2]):
            print(
                f"{name:28} F1 {was.f1:.3f} -> {now.f1:.3f}, object recall {was.object_recall:.3f} -> "
                f"{now.object_recall:.3f}, false/km2 {was.false_objects_per_km2:.2f} -> {now.false_objects_per_km2:.2f}"
            )
        else:
            print(f"{name:28} IoU {was.iou:.3f} -> {now.iou:.3f}")


if __name__ == "__main__":
    main()
