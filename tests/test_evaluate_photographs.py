"""Figures of weights for photographs, held against predictions that can be foreseen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.labelled import IGNORE
from datasets.photographs import CLASSES
from tests.miniature import ground_recipe
from training.evaluate_photographs import Confusion, change_scores, class_table, synthetic_pairs


def test_a_perfect_prediction_has_an_iou_of_one() -> None:
    truth = np.array([[1, 2, 3], [4, 5, IGNORE]], dtype=np.uint8)
    confusion = Confusion()
    confusion.add(truth, np.array([[0, 1, 2], [3, 4, 0]]))
    assert confusion.iou() == dict.fromkeys(CLASSES, 1.0)


def test_iou_counts_what_is_missed_and_what_is_wrong() -> None:
    truth = np.array([[1, 1, 1, 2]], dtype=np.uint8)
    confusion = Confusion()
    confusion.add(truth, np.array([[0, 0, 1, 1]]))
    assert confusion.iou() == {
        "structure": 0.6667, "ground": 0.5, "vegetation": None, "sky": None, "other": None,
    }  # fmt: skip


def all_sky(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    classes = np.zeros((2, len(CLASSES), *before.shape[:2]), dtype=np.float32)
    classes[:, 3] = 1
    return np.zeros((3, *before.shape[:2]), dtype=np.float32), classes


def test_every_set_has_a_row_and_every_picture_counts(photographs: Path) -> None:
    rows = class_table(photographs, ["ground_facade", "ground_camvid"], all_sky)
    assert list(rows) == ["ground_facade", "ground_camvid"]
    for row in rows.values():
        assert row["structure"] == 0
        assert 0 < (row["sky"] or 0) < 1


def test_made_pairs_are_made_of_validation_pictures_and_repeat(photographs: Path) -> None:
    first, second = (synthetic_pairs(ground_recipe(), photographs, 6) for _ in range(2))
    assert all(np.array_equal(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True))
    training = synthetic_pairs(ground_recipe(), photographs, 1)[0][0].shape
    assert training == (3, 64, 64)


def test_change_is_scored_at_the_threshold_given(photographs: Path) -> None:
    pairs = synthetic_pairs(ground_recipe(mix={"unrelated": 1.0}, misaligned=0.0), photographs, 6)
    truths = iter([labels[2] == 1 for _, _, labels in pairs])

    def knows(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        probabilities, classes = all_sky(before, after)
        probabilities[2] = next(truths) * 0.6
        return probabilities, classes

    scores, kept = change_scores(pairs, knows, 0.5)
    assert scores.f1 == pytest.approx(1.0)
    assert len(kept) == 6
    truths = iter([labels[2] == 1 for _, _, labels in pairs])
    assert change_scores(pairs, knows, 0.7)[0].recall == 0
