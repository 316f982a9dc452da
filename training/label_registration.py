"""By how many pixels the labels of a picture lie beside what they outline, as a trained network sees it.

The network's outline is the mean over a picture and the same picture turned by half a circle, so that an offset of the
network's own, if it has one, cancels out. An offset is taken only where it brings outlines together clearly: `GAIN` in
pixel F1, on labels of at least `LEAST_PX`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.labelled import LabelledPair, read_set
from datasets.offsets import moved
from model import DATES, OUTPUTS
from training.evaluate import Predict
from training.metrics import pixel_scores

REACH = 8
"""Pixels each way that are tried. An agreement that is best at the edge of them is none."""
GAIN = 0.004
LEAST_PX = 1000


def label_offsets(
    root: Path,
    sources: Iterable[str],
    predict: Predict,
    threshold: Mapping[str, float],
) -> dict[str, dict[str, dict[str, tuple[int, int]]]]:
    """Set -> training picture -> layer -> offset (down, right), as `datasets.offsets` reads it.

    Where a set knows its structures at changed pixels only, they were read from its changes and move with them.
    """
    found: dict[str, dict[str, dict[str, tuple[int, int]]]] = {}
    for source in sources:
        for pair in read_set(root, source, "train"):
            offsets = _offsets(pair, both_ways(predict, pair), threshold)
            if offsets:
                found.setdefault(source, {})[pair.name] = offsets
    return found


def both_ways(predict: Predict, pair: LabelledPair) -> NDArray[np.float32]:
    """(3, H, W) probabilities, the mean over the pair as it is and turned by 180 degrees."""

    def turned(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.ascontiguousarray(image[::-1, ::-1])

    straight, upside_down = predict(pair.before, pair.after), predict(turned(pair.before), turned(pair.after))
    return np.asarray((straight + upside_down[:, ::-1, ::-1]) / 2, dtype=np.float32)


def _offsets(
    pair: LabelledPair, probabilities: NDArray[np.float32], threshold: Mapping[str, float]
) -> dict[str, tuple[int, int]]:
    def best(layer: str) -> tuple[int, int] | None:
        seen = probabilities[OUTPUTS.index(layer)] >= threshold[layer]
        return best_offset(seen, getattr(pair, layer))

    if not pair.structures_known:
        found = dict.fromkeys(OUTPUTS, best("change"))
    elif pair.single_date:
        found = dict.fromkeys(DATES, best("structure_before"))
    else:
        found = {layer: best(layer) for layer in DATES}
    return {layer: offset for layer, offset in found.items() if offset is not None}


def best_offset(seen: NDArray[np.bool_], labels: NDArray[np.uint8]) -> tuple[int, int] | None:
    """By how much `labels` are best moved (down, right) to lie on what is `seen`, both (H, W).

    None if they lie well as they are, or are too few to tell.
    """
    if int((labels == 1).sum()) < LEAST_PX:
        return None
    steps = range(-REACH, REACH + 1)
    agreement = {(y, x): pixel_scores(seen, moved(labels, y, x)).f1 for y in steps for x in steps}
    best = max(agreement, key=lambda offset: agreement[offset])
    inside = max(abs(step) for step in best) < REACH
    return best if inside and agreement[best] >= agreement[0, 0] + GAIN else None
