"""Clutter is painted on the ground, at one date or both, and never over what is labelled as structure."""

from __future__ import annotations

import pytest
import torch

from model.vision import tv_tensors
from training import clutter as module
from training.augment import Sample
from training.clutter import clutter

SIZE = 128


def plot() -> Sample:
    """Grey ground with a building at both dates and one that appears."""
    torch.manual_seed(1)
    ground = torch.randint(90, 130, (3, SIZE, SIZE), dtype=torch.uint8)
    labels = torch.zeros(3, SIZE, SIZE, dtype=torch.uint8)
    labels[:2, 20:50, 20:60] = 1
    labels[1:, 80:100, 70:110] = 1
    return {
        "before": tv_tensors.Image(ground.clone()),
        "after": tv_tensors.Image(ground.clone()),
        "labels": tv_tensors.Mask(labels),
    }


def drawn(seed: int) -> Sample:
    sample = plot()
    torch.manual_seed(seed)
    return clutter(sample)


def test_labels_stay_as_they_are() -> None:
    assert all(torch.equal(drawn(seed)["labels"], plot()["labels"]) for seed in range(10))


def test_nothing_is_painted_over_a_structure() -> None:
    original = plot()
    for seed in range(25):
        sample = drawn(seed)
        for key, layer in (("before", 0), ("after", 1)):
            built = original["labels"][layer] == 1
            moved = (sample[key].int() - original[key].int()).abs().amax(dim=0)
            assert int(moved[built].max()) <= 30  # the faint rim of a stamp beside it at most


def test_one_date_is_painted_mostly_and_sometimes_both() -> None:
    original, counts = plot(), []
    for seed in range(40):
        sample = drawn(seed)
        counts.append(sum(not torch.equal(sample[k], original[k]) for k in ("before", "after")))
    assert counts.count(1) > counts.count(2) > 0


def test_the_given_sample_is_left_alone() -> None:
    sample = plot()
    torch.manual_seed(0)
    clutter(sample)
    assert torch.equal(sample["before"], plot()["before"])
    assert torch.equal(sample["after"], plot()["after"])


def test_the_same_seed_paints_the_same() -> None:
    assert all(torch.equal(drawn(seed)[k], drawn(seed)[k]) for seed in range(5) for k in ("before", "after"))


@pytest.mark.parametrize("kind", ["_vehicles", "_net", "_hoarding", "_heap"])
def test_every_kind_leaves_a_mark_and_no_more_than_a_part(kind: str) -> None:
    original = plot()["before"].permute(1, 2, 0).numpy()
    taken = (plot()["labels"][0] == 1).numpy()
    marks = 0
    for seed in range(12):
        torch.manual_seed(seed)
        image = original.copy()
        getattr(module, kind)(image, taken)
        touched = float((image != original).any(axis=2).mean())
        assert touched < 0.6
        marks += touched > 0
    assert marks >= 6
