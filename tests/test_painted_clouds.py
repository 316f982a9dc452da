"""Painted clouds: what they hide is not told, has not changed, and is labelled as hidden."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.labelled import IGNORE
from model.vision import tv_tensors
from tests.miniature import blocks, picture, recipe
from training.augment import Sample, swap
from training.clouds import with_clouds
from training.samples import Samples

SIDE = 128


def sample() -> Sample:
    """Three structures before, two after; change is not told in one corner."""
    rng = np.random.default_rng(2)
    before, after = blocks(rng, SIDE, 3), blocks(rng, SIDE, 2)
    labels = np.stack([before, after, before ^ after]).astype(np.uint8)
    labels[2, :20, :20] = IGNORE
    images = [torch.from_numpy(picture(rng, mask)).permute(2, 0, 1) for mask in (before, after)]
    return {
        "before": tv_tensors.Image(images[0]),
        "after": tv_tensors.Image(images[1]),
        "labels": tv_tensors.Mask(torch.from_numpy(labels)),
    }


def clouded(count: int = 40) -> Iterator[tuple[Sample, Sample]]:
    """Samples and the same with clouds, of many seeds."""
    for seed in range(count):
        torch.manual_seed(seed)
        yield sample(), with_clouds(sample(), 1.0)


def test_without_a_cloud_the_sample_is_labelled_as_clear_where_change_is_told() -> None:
    plain, told = sample(), with_clouds(sample(), 0.0)
    assert torch.equal(told["before"], plain["before"])
    assert torch.equal(told["after"], plain["after"])
    assert torch.equal(told["labels"][:3], plain["labels"])
    for row in told["labels"][3:]:
        assert torch.equal(row == IGNORE, plain["labels"][2] == IGNORE)
        assert set(row.flatten().tolist()) == {0, IGNORE}


def test_what_a_cloud_hides_is_not_told_and_has_not_changed() -> None:
    covered = 0
    for plain, told in clouded():
        for date in (0, 1):
            hidden = told["labels"][3 + date] == 1
            covered += int(hidden.sum())
            assert bool((told["labels"][date][hidden] == IGNORE).all())
            assert bool((told["labels"][2][hidden] == 0).all())
        clear = (told["labels"][3:] != 1).all(dim=0)
        assert torch.equal(told["labels"][2][clear], plain["labels"][2][clear])
    assert 0.05 < covered / (40 * SIDE**2) < 0.8


def test_only_clouds_and_their_shadows_change_the_picture_and_the_other_date_stays_as_it_is() -> None:
    both = brighter = 0
    for plain, told in clouded():
        moved = [bool((told[key] != plain[key]).any()) for key in ("before", "after")]
        both += all(moved)
        for date, key in enumerate(("before", "after")):
            hidden = told["labels"][3 + date] == 1
            if not moved[date]:
                assert not bool(hidden.any())
                assert torch.equal(told["labels"][date], plain["labels"][date])
            elif int(hidden.sum()) > 200:
                brighter += int(told[key].float()[:, hidden].mean() > plain[key].float()[:, hidden].mean())
    assert 0 < both < 15
    assert brighter > 25


def test_the_ground_cannot_be_read_through_what_is_labelled_as_hidden() -> None:
    """Edges of structures under a cloud are at most a third as strong as they were."""
    kept = []
    for plain, told in clouded():
        for date, key in enumerate(("before", "after")):
            hidden = (told["labels"][3 + date] == 1).numpy()
            inner = hidden[1:, 1:] & hidden[:-1, 1:] & hidden[1:, :-1]
            steps = [np.abs(np.diff(s[key][1].numpy().astype(float), axis=0))[:, 1:] for s in (plain, told)]
            strong = inner & (steps[0] > 60)
            if strong.sum() > 20:
                kept.append(steps[1][strong].mean() / steps[0][strong].mean())
    assert len(kept) > 10
    assert np.mean(kept) < 1 / 3


def test_swapping_the_dates_takes_their_clouds_along() -> None:
    torch.manual_seed(1)
    told = with_clouds(sample(), 1.0)
    assert torch.equal(swap(told)["labels"], told["labels"][[1, 0, 2, 4, 3]])


@pytest.mark.parametrize("kind", ["real", "composite", "unrelated", "same"])
def test_samples_carry_clouds_as_often_as_asked(sets: Path, kind: str) -> None:
    samples = Samples(recipe(mix={kind: 1.0}, clouded=0.5), sets, 24)
    labels = [samples[i][2] for i in range(24)]
    assert {tuple(each.shape) for each in labels} == {(5, 64, 64)}
    assert 4 < sum(bool((each[3:] == 1).any()) for each in labels) < 20


def test_without_clouds_in_the_recipe_nothing_is_said_of_them(sets: Path) -> None:
    assert Samples(recipe(), sets, 1)[0][2].shape == (3, 64, 64)
