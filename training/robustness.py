"""How much is lost when the two dates do not lie on each other, as leaning or badly placed imagery does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from datasets.labelled import IGNORE, LabelledPair, read_set
from training.evaluate import Predict, Prediction

_DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""x, y; one pair after the other takes the next, so that no direction is favoured."""


def shifted(pair: LabelledPair, dx: int, dy: int) -> LabelledPair:
    """The pair with its earlier date moved by whole pixels, and labels that stay where they are.

    Growth stands at the later date, which is not moved, so the truth of change and of the later structures stays
    with what it describes; the labels of the earlier date move with it. Moving the later date and its truth instead
    would be the same pair seen through another frame. What the move uncovers is filled with the nearest pixels and
    labelled `IGNORE`.
    """
    height, width = pair.change.shape
    move = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float32)
    before = cv2.warpAffine(pair.before, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
    labels = cv2.warpAffine(pair.structure_before, move, (width, height), flags=cv2.INTER_NEAREST, borderValue=IGNORE)
    uncovered = np.ones((height, width), dtype=np.bool_)
    uncovered[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)] = False
    change = np.where(uncovered, IGNORE, pair.change).astype(np.uint8)
    return replace(
        pair,
        before=np.asarray(before, dtype=np.uint8),
        structure_before=np.asarray(labels, dtype=np.uint8),
        change=change,
        single_date=False,
    )


def predict_shifted(
    root: Path,
    sources: Iterable[str],
    predict: Predict,
    shift_px: int,
    *,
    on_pair: Callable[[str], None] = lambda name: None,
) -> list[Prediction]:
    """Run `predict` over the validation splits with the earlier date of every pair `shift_px` off.

    Nothing registers the dates before they are scored: what is measured is what the network tolerates. Objects are
    matched by overlap as everywhere (training.metrics), which forgives an outline that is a few pixels off.
    """
    predictions = []
    for source in sources:
        for i, pair in enumerate(read_set(root, source, "validation")):
            x, y = _DIRECTIONS[i % len(_DIRECTIONS)]
            moved = shifted(pair, x * shift_px, y * shift_px)
            predictions.append(Prediction(moved, predict(moved.before, moved.after)))
            on_pair(f"{source}/{pair.name}")
    return predictions
