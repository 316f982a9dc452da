"""By how much labels lie beside what a network sees, found from its outlines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.labelled import read_set
from datasets.offsets import moved
from model import OUTPUTS
from training import label_registration
from training.label_registration import REACH, best_offset, both_ways, label_offsets

THRESHOLD = dict.fromkeys(OUTPUTS, 0.5)


def blocks(size: int = 96) -> NDArray[np.uint8]:
    """Three blocks of some 2,000 px, well inside."""
    out = np.zeros((size, size), np.uint8)
    for top, left, height, width in ((20, 22, 24, 30), (56, 20, 20, 34), (52, 62, 22, 16)):
        out[top : top + height, left : left + width] = 1
    return out


@pytest.mark.parametrize("offset", [(1, 1), (-2, 3), (0, -1)])
def test_the_offset_that_brings_outlines_together_is_found(offset: tuple[int, int]) -> None:
    labels = blocks()
    assert best_offset(moved(labels, *offset) == 1, labels) == offset


def test_labels_that_lie_well_or_are_too_few_stay() -> None:
    labels = blocks()
    assert best_offset(labels == 1, labels) is None
    few = np.zeros_like(labels)
    few[40:60, 40:60] = 1
    assert best_offset(moved(few, 1, 1) == 1, few) is None


def test_an_agreement_at_the_edge_of_what_is_tried_is_none() -> None:
    labels = blocks()
    assert best_offset(moved(labels, REACH, 0) == 1, labels) is None


def test_an_offset_of_the_network_itself_cancels_out(sets: Path) -> None:
    """A network whose outlines are always one pixel to the right says nothing about labels."""
    pair = read_set(sets, "xbd_mexico", "train")[0]

    def predict(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        bright = (before.mean(axis=2) > before.mean()).astype(np.float32)
        return np.stack([np.roll(bright, 1, axis=1)] * 3)

    seen = both_ways(predict, pair)[0]
    bright = (pair.before.mean(axis=2) > pair.before.mean()).astype(np.float32)
    inner = (slice(None), slice(2, -2))
    assert np.array_equal(seen[inner], ((np.roll(bright, 1, axis=1) + np.roll(bright, -1, axis=1)) / 2)[inner])


def test_each_set_is_registered_by_what_it_knows(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Growth is read from changes, so all layers move; a pair of dates moves date by date, a single date as one."""
    monkeypatch.setattr(label_registration, "LEAST_PX", 20)
    truth = {
        (source, pair.name): pair
        for source in ("levir_cd", "xbd_mexico", "banepa")
        for pair in read_set(sets, source, "train")
    }

    def predict(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        for turn in (1, -1):
            for pair in truth.values():
                if np.array_equal(pair.before[::turn, ::turn], before) and np.array_equal(
                    pair.after[::turn, ::turn], after
                ):
                    layers = [moved(getattr(pair, layer), *at) == 1 for layer, at in zip(OUTPUTS, SEEN, strict=True)]
                    return np.stack(layers).astype(np.float32)[:, ::turn, ::turn]
        raise AssertionError("an unknown pair")

    found = label_offsets(sets, ("levir_cd", "xbd_mexico", "banepa"), predict, THRESHOLD)
    assert {tuple(layers.items()) for layers in found["levir_cd"].values()} == {
        tuple(dict.fromkeys(OUTPUTS, (1, 2)).items())
    }
    assert {tuple(layers.items()) for layers in found["xbd_mexico"].values()} == {
        (("structure_before", (0, 1)), ("structure_after", (-1, 1)))
    }
    assert {tuple(layers.items()) for layers in found["banepa"].values()} == {
        (("structure_before", (0, 1)), ("structure_after", (0, 1)))
    }


SEEN = ((0, 1), (-1, 1), (1, 2))
"""By how much each output lies beside the labels, in the order of `OUTPUTS`."""
