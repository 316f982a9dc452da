"""Training pairs made of single photographs: repeatable, and labelled as each kind says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from datasets.labelled import IGNORE
from datasets.photographs import GROUND, OTHER, STRUCTURE
from tests.miniature import ground_recipe
from training.photographs import KINDS, PhotographSamples, paste

LENGTH = 16


def stream(photographs: Path, kind: str, **values: object) -> list[tuple[Tensor, Tensor, Tensor]]:
    values.setdefault("misaligned", 0.0)
    samples = PhotographSamples(ground_recipe(mix={kind: 1.0}, **values), photographs, LENGTH)
    return [samples[i] for i in range(LENGTH)]


def changed(before: Tensor, after: Tensor) -> Tensor:
    return (before == STRUCTURE) ^ (after == STRUCTURE)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_crops_of_the_size_asked_for(photographs: Path, kind: str) -> None:
    for sample in stream(photographs, kind):
        for part in sample:
            assert (part.shape, part.dtype) == ((3, 64, 64), torch.uint8)
        assert set(sample[2][:2].flatten().tolist()) <= {1, 2, 3, 4, 5, IGNORE}
        assert set(sample[2][2].flatten().tolist()) <= {0, 1, IGNORE}


@pytest.mark.parametrize("kind", KINDS)
def test_change_is_where_structure_stands_at_one_date_only(photographs: Path, kind: str) -> None:
    for _, _, (before, after, change) in stream(photographs, kind):
        known = change != IGNORE
        assert torch.equal(change[known] == 1, changed(before, after)[known])


@pytest.mark.parametrize("kind", ["removed", "added", "unrelated"])
def test_kinds_that_change_something_do_so_often(photographs: Path, kind: str) -> None:
    assert sum(bool((labels[2] == 1).any()) for _, _, labels in stream(photographs, kind)) >= LENGTH // 4


def test_one_picture_twice_has_not_changed_but_is_lit_apart(photographs: Path) -> None:
    for before, after, labels in stream(photographs, "same"):
        assert not bool((labels[2] == 1).any())
        assert torch.equal(labels[0], labels[1])
        assert not torch.equal(before, after)


def test_what_hides_the_view_at_one_date_says_nothing_of_change(photographs: Path) -> None:
    for _, _, (before, after, change) in stream(photographs, "unrelated"):
        hidden = (before == OTHER) ^ (after == OTHER)
        assert bool((change[hidden] == IGNORE).all())


def test_a_sample_depends_on_its_number_not_on_what_was_drawn_before(photographs: Path) -> None:
    samples = PhotographSamples(ground_recipe(), photographs, LENGTH)
    forwards = [samples[i] for i in range(8)]
    backwards = [samples[i] for i in reversed(range(8))][::-1]
    assert all(torch.equal(x, y) for a, b in zip(forwards, backwards, strict=True) for x, y in zip(a, b, strict=True))


def test_what_is_pasted_brings_its_classes_and_fits_its_light() -> None:
    image, other = np.full((40, 40, 3), 60, np.uint8), np.full((40, 40, 3), 200, np.uint8)
    part = np.zeros((40, 40), dtype=bool)
    part[10:30, 10:30] = True
    pasted, classes = paste(
        image, np.full((40, 40), GROUND, np.uint8), other, np.full((40, 40), STRUCTURE, np.uint8), part
    )
    assert np.array_equal(classes == STRUCTURE, part)
    assert pasted[20, 20, 0] == 130  # halfway between the light of the two
    assert np.array_equal(pasted[:5], image[:5])


def test_an_unknown_kind_of_sample_is_refused(photographs: Path) -> None:
    with pytest.raises(ValueError, match=r"built.*known: same"):
        PhotographSamples(ground_recipe(mix={"built": 1.0}), photographs, 1)
