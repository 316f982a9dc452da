"""Places that a set calls unchanged and a person does not: nothing is said of them, to those who ask for that."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from datasets import doubts, offsets
from datasets.doubts import MARGIN_PX, known_doubts
from datasets.labelled import IGNORE, SOURCES, read_set
from tests.miniature import recipe
from training.samples import Samples

LAYERS = ("structure_before", "structure_after", "change")


def test_what_is_stored_names_sets_and_boxes_of_whole_pixels() -> None:
    assert known_doubts()
    assert set(known_doubts()) <= set(SOURCES)
    for names in known_doubts().values():
        for boxes in names.values():
            for left, top, width, height in boxes:
                assert left >= 0
                assert top >= 0
                assert min(width, height) > 0


@pytest.fixture
def known(sets: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The first training pair of a set has a doubtful place at its right edge."""
    first = read_set(sets, "xbd_mexico", "train")[0]
    name, width = first.name, first.change.shape[1]
    monkeypatch.setattr(offsets, "known_offsets", dict)
    monkeypatch.setattr(doubts, "known_doubts", lambda: {"xbd_mexico": {name: [[width - 10, 20, 8, 10]]}})
    return name


def test_only_who_asks_for_it_gets_them_left_out(sets: Path, known: str) -> None:
    published, mended = (read_set(sets, "xbd_mexico", "train", mended=m)[0] for m in (False, True))
    assert published.name == mended.name == known
    inside = np.zeros(published.change.shape, np.bool_)
    inside[20 - MARGIN_PX : 30 + MARGIN_PX, -10 - MARGIN_PX :] = True
    for layer in LAYERS:
        assert bool((getattr(mended, layer)[inside] == IGNORE).all())
        assert np.array_equal(getattr(mended, layer)[~inside], getattr(published, layer)[~inside])
        assert not bool((getattr(published, layer)[inside] == IGNORE).any())


def test_workers_can_take_them_and_training_does(sets: Path, known: str) -> None:
    taken = Samples(recipe(sources={"xbd_mexico": 1.0}), sets, 1).sets["xbd_mexico"]
    again = pickle.loads(pickle.dumps(taken))
    assert bool((again[0].change == IGNORE).any())
    assert np.array_equal(again[0].change, taken[0].change)
