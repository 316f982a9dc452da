"""How many structures pasted into, and covered in, held-out real scenes the overhead weights find, by size.

    python -m tests.benchmarks.planted --data DATA [--weights FOLDER]

No set labels a new shed in a dense old quarter, or a demolition: training.composite makes them, here of the validation
scenes of sets in which nothing changed. A planted change counts as found if what is decided to be change covers 10 %
of it (training.metrics); what touches none is false, bare ground pasted in included.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from model.decision import hysteresis
from tests.benchmarks.asked import data_and_model
from training.metrics import MIN_COVER, score
from training.recipe import Recipe
from training.samples import Samples

SETS, SCENES = ("xbd_mexico", "xbd_other", "ida", "banepa"), 120
SIZES_PX = ((30, 100), (100, 250), (250, 100_000))


def main() -> None:
    data, model = data_and_model()
    contract = model.contract
    all_planted = np.zeros((2, len(SIZES_PX)), dtype=np.int64)
    for source in SETS:
        recipe = Recipe("planted", sources={source: 1.0}, mix={"composite": 1.0}, scale=(1.0, 1.0), sheds=0.5)
        planted, false = np.zeros_like(all_planted), 0
        samples = Samples(recipe, data, SCENES, "validation")
        for before, after, labels in map(samples.__getitem__, range(SCENES)):
            seen = model.probabilities(*(date.numpy()[None] for date in (before, after)))[0, 2]
            changed = hysteresis(seen, contract.threshold["change"], *contract.change_least)
            counts = score(changed, labels[2].numpy(), 1.0)
            false += counts.predicted - counts.right
            _, objects, stats, _ = cv2.connectedComponentsWithStats((labels[2].numpy() == 1).astype(np.uint8))
            for i, area in enumerate(stats[1:, cv2.CC_STAT_AREA], start=1):
                for column, (least, most) in enumerate(SIZES_PX):
                    if least <= area < most:
                        planted[:, column] += (1, changed[objects == i].mean() >= MIN_COVER)
        _say(source, planted, false)
        all_planted += planted
    _say("all", all_planted)


def _say(source: str, planted: NDArray[np.int64], false: int | None = None) -> None:
    sizes = [
        f"{found} of {there} of {low} to {high} px"
        for (low, high), there, found in zip(SIZES_PX, *planted, strict=True)
    ]
    print(f"{source:10} " + ", ".join(sizes) + ("" if false is None else f"; {false} false"))


if __name__ == "__main__":
    main()
