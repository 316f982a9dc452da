"""The stream of training samples: repeatable, free of leaks, and labelled as each kind says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from datasets.labelled import IGNORE, read_set
from tests.miniature import LEVIR_TRAIN, recipe
from training.samples import KINDS, Samples

LENGTH = 24
STRUCTURES = {"xbd_mexico": 0.5, "banepa": 0.5}


def same(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def stream(sets: Path, kind: str, **values: object) -> list[tuple[Tensor, Tensor, Tensor]]:
    values.setdefault("sources", STRUCTURES)
    samples = Samples(recipe(mix={kind: 1.0}, **values), sets, LENGTH)
    return [samples[i] for i in range(LENGTH)]


def test_a_sample_depends_on_its_number_not_on_what_was_drawn_before(sets: Path) -> None:
    samples = Samples(recipe(), sets, LENGTH)
    forwards = [samples[i] for i in range(LENGTH)]
    torch.manual_seed(99)
    backwards = [samples[i] for i in reversed(range(LENGTH))][::-1]
    anew = Samples(recipe(), sets, LENGTH)
    assert all(same(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert same(anew[7], forwards[7])
    assert not same(forwards[7], forwards[8])


def test_another_seed_gives_other_samples(sets: Path) -> None:
    first, second = (Samples(recipe(seed=seed), sets, LENGTH) for seed in (0, 1))
    assert not any(same(first[i], second[i]) for i in range(8))


def test_drawing_leaves_the_global_generator_alone(sets: Path) -> None:
    samples = Samples(recipe(), sets, LENGTH)
    state = torch.random.get_rng_state()
    samples[3]
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_crops_of_the_size_asked_for(sets: Path, kind: str) -> None:
    for sample in stream(sets, kind):
        for part in sample:
            assert (part.shape, part.dtype) == ((3, 64, 64), torch.uint8)
        assert set(sample[2].flatten().tolist()) <= {0, 1, IGNORE}


def test_unrelated_dates_differ_by_what_stands_in_one_of_them(sets: Path) -> None:
    changed = 0
    for _, _, (before, after, change) in stream(sets, "unrelated"):
        known = (before != IGNORE) & (after != IGNORE)
        assert torch.equal(change[known], before[known] ^ after[known])
        assert bool((change[~known] == IGNORE).all())
        changed += int((change == 1).sum())
    assert changed > 0


def test_one_date_told_twice_has_not_changed(sets: Path) -> None:
    for misaligned in (0.0, 1.0):
        for before, after, labels in stream(sets, "same", misaligned=misaligned):
            assert not bool((labels[2] == 1).any())
            assert not torch.equal(before, after)  # lit apart or displaced


def test_one_date_is_displaced_as_often_as_asked(sets: Path) -> None:
    def ignored(**values: object) -> int:
        drawn = stream(sets, "same", sources={"banepa": 1.0}, **values)
        return sum(bool((labels[2] == IGNORE).any()) for _, _, labels in drawn)

    assert ignored(misaligned=0.0) <= LENGTH // 4  # edges of scenes
    assert ignored(misaligned=1.0, max_shift=6) >= LENGTH - 2  # what displacement brings into view


def test_clutter_is_painted_as_often_as_asked_and_changes_no_label(sets: Path) -> None:
    plain, cluttered = (stream(sets, "real", cluttered=share, sources={"banepa": 1.0}) for share in (0.0, 1.0))
    assert any(not torch.equal(a[0], b[0]) for a, b in zip(plain, cluttered, strict=True))
    assert not any(bool((labels[2] == 1).any()) for _, _, labels in cluttered)


def test_pasting_and_removing_labels_exactly_what_differs(sets: Path) -> None:
    changed = 0
    for _, _, (before, after, change) in stream(sets, "composite", sources={"banepa": 1.0}):
        known = change != IGNORE
        assert torch.equal(change[known], (before ^ after)[known])
        changed += int((change == 1).sum())
    assert changed > 0


def test_real_pairs_show_growth_as_often_as_removal(sets: Path) -> None:
    appeared = vanished = 0
    for _, _, (before, after, change) in stream(sets, "real", sources={"levir_cd": 1.0}):
        appeared += bool(((change == 1) & (after == 1) & (before == 0)).any())
        vanished += bool(((change == 1) & (after == 0) & (before == 1)).any())
    assert appeared > 3
    assert vanished > 3


def test_crops_are_aimed_at_change(sets: Path) -> None:
    def share(aim: float) -> int:
        values = {"sources": {"levir_cd": 1.0}, "crop": 16, "aim_at_change": aim}
        return sum(bool((labels[2] == 1).any()) for _, _, labels in stream(sets, "real", **values))

    assert share(1.0) > share(0.0)


def test_only_training_tiles_are_drawn_from(sets: Path) -> None:
    samples = Samples(recipe(sources={"levir_cd": 1.0}, mix={"real": 1.0}), sets, LENGTH)
    drawn = [pair.after for pair in samples.sets["levir_cd"]]
    assert len(drawn) == len(LEVIR_TRAIN)
    for held in read_set(sets, "levir_cd", "validation"):
        assert not any(np.array_equal(held.after, image) for image in drawn)


def test_levir_is_never_taken_for_a_set_of_known_structures(sets: Path) -> None:
    samples = Samples(recipe(sources={"levir_cd": 0.5, "banepa": 0.5}), sets, LENGTH)
    assert len(samples.dated) == len(read_set(sets, "banepa", "train"))


def test_a_mix_that_needs_known_structures_says_so(sets: Path) -> None:
    with pytest.raises(ValueError, match="structures are known"):
        Samples(recipe(sources={"levir_cd": 1.0}, mix={"unrelated": 1.0}), sets, LENGTH)


def test_an_unknown_kind_of_sample_is_refused(sets: Path) -> None:
    with pytest.raises(ValueError, match=r"rael.*known: real"):
        Samples(recipe(mix={"rael": 1.0}), sets, LENGTH)


def test_a_missing_set_is_named(sets: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"levir_cd.before holds no images.*layout"):
        Samples(recipe(), tmp_path, LENGTH)
