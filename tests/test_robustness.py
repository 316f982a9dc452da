"""One date is moved, the truth stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.labelled import IGNORE, LabelledPair, read_set
from training.robustness import predict_shifted, shifted


def pair() -> LabelledPair:
    rng = np.random.default_rng(0)
    before, after = (rng.integers(0, 256, (20, 24, 3), dtype=np.uint8) for _ in range(2))
    structure_before, structure_after, change = (rng.integers(0, 2, (20, 24), dtype=np.uint8) for _ in range(3))
    return LabelledPair("ida", "scene", before, after, structure_before, structure_after, change, 0.5)


@pytest.mark.parametrize(("dx", "dy"), [(4, 0), (0, 4), (-4, 0), (0, -4), (3, -2)])
def test_the_earlier_date_moves_with_its_labels_and_nothing_else_does(dx: int, dy: int) -> None:
    still = pair()
    moved = shifted(still, dx, dy)
    inside = np.zeros((20, 24), dtype=bool)
    inside[max(0, dy) : 20 + min(0, dy), max(0, dx) : 24 + min(0, dx)] = True
    for name in ("before", "structure_before"):
        expected = np.roll(getattr(still, name), (dy, dx), axis=(0, 1))
        np.testing.assert_array_equal(getattr(moved, name)[inside], expected[inside])
    np.testing.assert_array_equal(moved.after, still.after)
    np.testing.assert_array_equal(moved.structure_after, still.structure_after)
    np.testing.assert_array_equal(moved.change[inside], still.change[inside])
    assert (moved.change[~inside] == IGNORE).all()
    assert (moved.structure_before[~inside] == IGNORE).all()


def test_no_shift_changes_nothing() -> None:
    still, moved = pair(), shifted(pair(), 0, 0)
    for name in ("before", "after", "structure_before", "structure_after", "change"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(still, name))


def test_two_dates_in_one_picture_are_two_after_the_shift(sets: Path) -> None:
    moved = shifted(read_set(sets, "banepa", "validation")[0], 4, 0)
    assert not moved.single_date
    assert (moved.before != moved.after).any()


def test_every_direction_gets_its_turn(sets: Path) -> None:
    seen: list[str] = []

    def predict(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.zeros((3, *before.shape[:2]), dtype=np.float32)

    predictions = predict_shifted(sets, ["levir_cd"], predict, 4, on_pair=seen.append)
    assert seen == ["levir_cd/test_10", "levir_cd/test_14", "levir_cd/test_17"]
    unknown = [p.pair.change == IGNORE for p in predictions]
    assert unknown[0][:, :4].all()
    assert unknown[1][:4].all()
    assert unknown[2][:, -4:].all()
    assert [int(u.sum()) for u in unknown] == [4 * 96] * 3
