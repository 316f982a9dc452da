"""Structures filled in where a set does not label them and doubted where it does; nobody gets either unasked."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.filled import write
from datasets.labelled import IGNORE, read_set
from model import DATES
from tests.miniature import recipe
from training.label_filling import BARE, STANDS, UNSEEN, believed, doubtful, fill
from training.samples import Samples


def bright(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A network that is sure that what is bright stands, and that nothing changes."""
    dates = [(date.mean(axis=2) > date.mean()).astype(np.float32) for date in (before, after)]
    return np.stack([*dates, np.zeros_like(dates[0])])


def test_only_what_is_sure_is_believed() -> None:
    seen = np.array([[STANDS, STANDS - 0.01, BARE + 0.01, BARE]], np.float32)
    assert believed(seen).tolist() == [[1, IGNORE, IGNORE, 0]]


def test_a_structure_of_which_nothing_is_seen_is_doubted_as_a_whole() -> None:
    labels = np.zeros((4, 9), np.uint8)
    labels[1:3, 1:3] = labels[1:3, 6:8] = 1
    labels[0, 4] = IGNORE
    probability = np.full((4, 9), UNSEEN + 0.01, np.float32)
    probability[:, :5] = UNSEEN - 0.01
    expected = labels.copy()
    expected[1:3, 1:3] = IGNORE
    assert np.array_equal(doubtful(probability, labels), expected)


def test_labelled_structures_that_nobody_sees_are_not_labelled(sets: Path, tmp_path: Path) -> None:
    def half_blind(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        stands, blind = np.ones(before.shape[:2], np.float32), np.zeros(before.shape[:2], np.float32)
        return np.stack([stands, blind, blind])

    written = fill(sets, ("xbd_mexico",), half_blind, tmp_path)
    plain, doubted = (read_set(sets, "xbd_mexico", "train", mended=True, filled=f) for f in (None, tmp_path))
    assert written == [f"xbd_mexico/{name}" for name in plain.names]
    pair, before = doubted[0], plain[0]
    assert (before.structure_after == 1).any()
    assert np.array_equal(pair.structure_before, before.structure_before)
    assert np.array_equal(pair.structure_after, np.where(before.structure_after == 1, IGNORE, before.structure_after))
    assert np.array_equal(pair.change, before.change)


def test_sets_without_structures_get_them(sets: Path, tmp_path: Path) -> None:
    written = fill(sets, ("levir_cd",), bright, tmp_path)
    plain, filled = (read_set(sets, "levir_cd", "train", filled=folder) for folder in (None, tmp_path))
    assert written == [f"levir_cd/{name}" for name in plain.names]
    assert not plain.entries[0].structures_known
    assert filled.entries[0].structures_known
    pair, before = filled[0], plain[0]
    assert pair.structures_known
    for layer, date in zip(DATES, (pair.before, pair.after), strict=True):
        labels, published = getattr(pair, layer), getattr(before, layer)
        assert np.array_equal(labels[published != IGNORE], published[published != IGNORE])
        unknown = published == IGNORE
        assert unknown.any()
        assert np.array_equal(labels[unknown], (date.mean(axis=2) > date.mean())[unknown])
    assert np.array_equal(pair.change, before.change)
    again = pickle.loads(pickle.dumps(filled))
    assert np.array_equal(again[0].structure_after, pair.structure_after)


def test_what_is_doubted_stays_unknown(sets: Path, tmp_path: Path) -> None:
    plain = read_set(sets, "levir_cd", "train")
    for layer in DATES:
        write(tmp_path, "levir_cd", plain.names[0], layer, np.full(plain[0].change.shape, IGNORE, np.uint8))
    filled = read_set(sets, "levir_cd", "train", filled=tmp_path)
    assert np.array_equal(filled[0].structure_after, plain[0].structure_after)
    assert [entry.structures_known for entry in filled.entries][:2] == [True, False]


def test_what_was_seen_in_another_picture_is_refused(sets: Path, tmp_path: Path) -> None:
    name = read_set(sets, "levir_cd", "train").names[0]
    for layer in DATES:
        write(tmp_path, "levir_cd", name, layer, np.zeros((4, 6), np.uint8))
    with pytest.raises(ValueError, match=r"6 x 4 px.*fill-labels"):
        read_set(sets, "levir_cd", "train", filled=tmp_path)[0]


def test_structures_are_cut_out_of_and_put_into_filled_scenes(sets: Path, tmp_path: Path) -> None:
    """LEVIR alone knows too little for composites; filled in, it does."""
    composites = recipe(sources={"levir_cd": 1.0}, mix={"composite": 1.0})
    with pytest.raises(ValueError, match="structures are known throughout"):
        Samples(composites, sets, 1)
    fill(sets, ("levir_cd",), bright, tmp_path)
    samples = Samples(composites, sets, 8, filled=tmp_path)
    assert any(bool((samples[i][2][2] == 1).any()) for i in range(8))
