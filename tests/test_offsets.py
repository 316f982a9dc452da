"""Labels moved onto what they outline: by how much is stored, what comes into view is not labelled."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from datasets import doubts, offsets
from datasets.labelled import IGNORE, read_set
from datasets.offsets import known_offsets, moved
from model import OUTPUTS
from tests.miniature import recipe
from training.samples import Samples


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, 1), (-1, 3), (-2, -2)])
def test_labels_move_and_the_edge_they_leave_is_ignored(down: int, right: int) -> None:
    labels = np.zeros((8, 9), np.uint8)
    labels[3, 4] = 1
    out = moved(labels, down, right)
    assert np.argwhere(out == 1).tolist() == [[3 + down, 4 + right]]
    assert int((out == IGNORE).sum()) == 8 * 9 - (8 - abs(down)) * (9 - abs(right))


def test_what_is_stored_names_layers_and_whole_pixels() -> None:
    assert known_offsets()
    for names in known_offsets().values():
        for layers in names.values():
            assert set(layers) <= set(OUTPUTS)
            assert all(isinstance(step, int) for offset in layers.values() for step in offset)


@pytest.fixture
def known(sets: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The first training pair of a set has its second date's labels moved by (3, -2)."""
    name = read_set(sets, "xbd_mexico", "train").names[0]
    monkeypatch.setattr(doubts, "known_doubts", dict)
    monkeypatch.setattr(offsets, "known_offsets", lambda: {"xbd_mexico": {name: {"structure_after": (3, -2)}}})
    return name


def test_only_who_asks_for_it_gets_registered_labels(sets: Path, known: str) -> None:
    published, registered = (read_set(sets, "xbd_mexico", "train", mended=r)[0] for r in (False, True))
    assert published.name == registered.name == known
    assert np.array_equal(registered.structure_after, moved(published.structure_after, 3, -2))
    assert not np.array_equal(registered.structure_after, published.structure_after)
    for same in ("before", "after", "structure_before", "change"):
        assert np.array_equal(getattr(registered, same), getattr(published, same))


def test_other_pairs_stay_and_workers_can_take_all_of_them(sets: Path, known: str) -> None:
    published, registered = (read_set(sets, "xbd_mexico", "train", mended=r) for r in (False, True))
    assert registered.entries[1:] == published.entries[1:]
    again = pickle.loads(pickle.dumps(registered))
    assert np.array_equal(again[0].structure_after, registered[0].structure_after)


def test_training_takes_registered_labels(sets: Path, known: str) -> None:
    samples = Samples(recipe(sources={"xbd_mexico": 1.0}), sets, 1)
    taken = samples.sets["xbd_mexico"][0].structure_after
    assert np.array_equal(taken, moved(read_set(sets, "xbd_mexico", "train")[0].structure_after, 3, -2))
