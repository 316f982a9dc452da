"""How many structures pasted into, and covered in, held-out real scenes the overhead weights find, by size.

    python -m tests.benchmarks.planted --data DATA [--weights FOLDER]

No set labels a new shed in a dense old quarter, or a demolition: training.composite makes them, here of the validation
scenes of sets in which nothing changed. A planted change counts as found if what is decided to be change covers 10 %
of it (training.metrics), and as alarmed if it is stated as sure as a site asks for unless told otherwise; what touches
none is false, bare ground pasted in included.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.model import Contract
from model.decision import hysteresis, inner_means
from service.ledger.tables import DEFAULT_SENSITIVITY
from tests.benchmarks.asked import data_and_model
from training.metrics import MIN_COVER, score
from training.recipe import Recipe
from training.samples import Samples

SETS, SCENES = ("xbd_mexico", "xbd_other", "ida", "banepa"), 120
SIZES_PX = ((30, 100), (100, 250), (250, 100_000))


def main() -> None:
    data, model = data_and_model()
    contract = model.contract
    all_planted, all_false = np.zeros((3, len(SIZES_PX)), dtype=np.int64), np.zeros(2, dtype=np.int64)
    for source in SETS:
        recipe = Recipe("planted", sources={source: 1.0}, mix={"composite": 1.0}, scale=(1.0, 1.0), sheds=0.5)
        planted, false = np.zeros_like(all_planted), np.zeros_like(all_false)
        samples = Samples(recipe, data, SCENES, "validation")
        for before, after, labels in map(samples.__getitem__, range(SCENES)):
            seen = model.probabilities(*(date.numpy()[None] for date in (before, after)))[0, 2]
            said = _stated(seen, contract)
            changed, alarmed = said > 0, said >= DEFAULT_SENSITIVITY
            counts = [score(mask, labels[2].numpy(), 1.0) for mask in (changed, alarmed)]
            false += [each.predicted - each.right for each in counts]
            planted += by_size(labels[2].numpy() == 1, (changed, alarmed), SIZES_PX)
        _say(source, planted, false)
        all_planted += planted
        all_false += false
    _say("all", all_planted, all_false)


def by_size(
    truth: NDArray[np.bool_], masks: Sequence[NDArray[np.bool_]], sizes: Sequence[tuple[int, int]],
    without: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:  # fmt: skip
    """(1 + masks, sizes): objects of `truth` that touch nothing of `without`, and how many of them each mask covers."""
    result = np.zeros((1 + len(masks), len(sizes)), dtype=np.int64)
    count, objects, stats, _ = cv2.connectedComponentsWithStats(truth.astype(np.uint8))
    for i in range(1, count):
        here = objects == i
        if without is not None and without[here].any():
            continue
        for column, (least, most) in enumerate(sizes):
            if least <= stats[i, cv2.CC_STAT_AREA] < most:
                result[:, column] += (1, *(mask[here].mean() >= MIN_COVER for mask in masks))
    return result


def _stated(seen: NDArray[np.float32], contract: Contract) -> NDArray[np.float64]:
    """(H, W): how sure the finding that a pixel belongs to is said to be, 0 where there is none."""
    changed = hysteresis(seen, contract.threshold["change"], *contract.change_least)
    count, labels = cv2.connectedComponents(changed.astype(np.uint8), connectivity=8)
    means = inner_means(seen, np.asarray(labels, dtype=np.int32), count, contract.change_rim)
    return np.array([0.0, *(contract.finding_probability("new", mean) for mean in means[1:])])[labels]


def _say(source: str, planted: NDArray[np.int64], false: NDArray[np.int64]) -> None:
    sizes = [
        f"{found} ({alarmed}) of {there} of {low} to {high} px"
        for (low, high), there, found, alarmed in zip(SIZES_PX, *planted, strict=True)
    ]
    print(f"{source:10} found (alarmed) " + ", ".join(sizes) + f"; false {false[0]} ({false[1]})")


if __name__ == "__main__":
    main()
