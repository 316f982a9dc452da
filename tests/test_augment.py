"""Images and labels move together, and all that is random comes from torch's seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from datasets.labelled import IGNORE
from model.vision import tv_tensors
from training.augment import (
    Sample,
    augment,
    chance,
    coarsen,
    crop,
    displace,
    haze,
    jpeg,
    misalign,
    randint,
    relight,
    restyle,
    rot90,
    swap,
    uniform,
    wedge,
)

SIZE = 64


def marked() -> Sample:
    """Each layer is 1 where its image is white; no two layers agree, and no symmetry maps any onto itself."""
    layers = torch.zeros(3, SIZE, SIZE, dtype=torch.uint8)
    layers[0, 4:20, 8:14] = 1
    layers[1, 30:37, 40:60] = 1
    layers[2] = layers[0] | layers[1]
    before, after = (
        tv_tensors.Image(layer.mul(255)[None].expand(3, -1, -1).contiguous()) for layer in (layers[0], layers[1])
    )
    return {"before": before, "after": after, "labels": tv_tensors.Mask(layers)}


def noisy() -> Sample:
    sample = marked()
    generator = torch.Generator().manual_seed(1)
    for key in ("before", "after"):
        grain = torch.randint(0, 256, sample[key].shape, generator=generator, dtype=torch.uint8)
        sample[key] = tv_tensors.Image(grain)
    return sample


def white(image: Tensor) -> Tensor:
    return (image[0] > 127).to(torch.uint8)


def assert_marks_coincide(sample: Sample) -> None:
    before, after, change = sample["labels"]
    assert torch.equal(white(sample["before"]), before)
    assert torch.equal(white(sample["after"]), after)
    assert torch.equal(before | after, change)
    assert before.any()
    assert after.any()


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_turning_moves_images_and_labels_alike(turns: int) -> None:
    turned = rot90(marked(), turns)
    assert_marks_coincide(turned)
    assert torch.equal(turned["labels"], torch.rot90(marked()["labels"], turns, (1, 2)))


def test_cutting_moves_images_and_labels_alike() -> None:
    cut = crop(marked(), 2, 6, 56, 56)
    assert_marks_coincide(cut)
    assert cut["labels"].shape == (3, 56, 56)
    assert torch.equal(cut["labels"], marked()["labels"][:, 2:58, 6:62])


@pytest.mark.parametrize("size", [32, 96])
def test_resampling_keeps_marks_in_place_and_labels_whole(size: int) -> None:
    sample = crop(marked(), 0, 0, SIZE, size)
    assert sample["before"].shape == (3, size, size)
    assert set(sample["labels"].unique().tolist()) == {0, 1}
    for key, layer in (("before", 0), ("after", 1)):
        apart = (white(sample[key]) != sample["labels"][layer]).sum()
        outline = 2 * (27 + 22) * size / SIZE
        assert apart <= outline  # a rim of a pixel at most


def test_ignored_labels_stay_ignored_when_resampled() -> None:
    sample = marked()
    sample["labels"][:, :, :32] = IGNORE
    assert set(crop(sample, 0, 0, SIZE, 48)["labels"].unique().tolist()) <= {0, 1, IGNORE}


def test_geometry_of_the_whole_augmentation_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("relight", "coarsen"):
        monkeypatch.setattr(f"training.augment.{name}", lambda image, *_: image)
    monkeypatch.setattr("training.augment.wedge", lambda sample, key: sample)
    seen = set()
    for seed in range(40):
        torch.manual_seed(seed)
        sample = augment(marked())
        assert_marks_coincide(sample)
        seen.add(sample["labels"].numpy().tobytes())
    assert len(seen) == 16  # 8 turns and reflections, told forwards and backwards


def test_swapping_exchanges_images_and_structures_and_keeps_change() -> None:
    sample, swapped = noisy(), swap(noisy())
    assert torch.equal(swapped["before"], sample["after"])
    assert torch.equal(swapped["after"], sample["before"])
    assert torch.equal(swapped["labels"][0], sample["labels"][1])
    assert torch.equal(swapped["labels"][1], sample["labels"][0])
    assert torch.equal(swapped["labels"][2], sample["labels"][2])


@pytest.mark.parametrize(("key", "layer"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (-2, 0), (0, 4), (0, -1), (2, -3)])
def test_displacing_moves_one_date_with_its_structures(key: str, layer: int, dx: int, dy: int) -> None:
    sample, moved = marked(), displace(marked(), key, dx, dy)
    inside = (slice(max(dy, 0), SIZE + min(dy, 0)), slice(max(dx, 0), SIZE + min(dx, 0)))
    origin = (slice(max(-dy, 0), SIZE + min(-dy, 0)), slice(max(-dx, 0), SIZE + min(-dx, 0)))
    other = "after" if key == "before" else "before"
    assert torch.equal(moved[key][(..., *inside)], sample[key][(..., *origin)])
    assert torch.equal(moved[other], sample[other])
    assert torch.equal(moved["labels"][layer][inside], sample["labels"][layer][origin])
    assert torch.equal(moved["labels"][1 - layer][inside], sample["labels"][1 - layer][inside])
    known = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    known[inside] = True
    for moved_layer in moved["labels"]:
        assert torch.equal(moved_layer != IGNORE, known)


@pytest.mark.parametrize("key", ["before", "after"])
def test_change_goes_with_the_date_that_shows_it(key: str) -> None:
    moved = displace(marked(), key, 5, -3)
    before, after, change = moved["labels"]
    known = change != IGNORE
    assert torch.equal(change[known], (before | after)[known])


def test_what_is_unknown_about_change_moves_too() -> None:
    sample = marked()
    sample["labels"][2, 40:50, 10:20] = IGNORE
    change = displace(sample, "after", 6, 0)["labels"][2]
    assert bool((change[40:50, 10:26] == IGNORE).all())  # where it was said of either date


def test_turning_one_date_keeps_its_marks_on_its_structures() -> None:
    moved = displace(marked(), "after", 1.5, -2.25, 3.0, 1.02)
    known = moved["labels"][1] != IGNORE
    apart = (white(moved["after"]) != moved["labels"][1]) & known
    assert int(apart.sum()) < 30  # the rim, drawn by two kinds of interpolation
    assert not torch.equal(moved["labels"][1], marked()["labels"][1])


def test_displacing_leaves_the_given_sample_alone() -> None:
    sample = marked()
    displace(sample, "after", 3, 3)
    assert torch.equal(sample["labels"], marked()["labels"])
    assert torch.equal(sample["after"], marked()["after"])


def test_a_displacement_by_nothing_ignores_nothing() -> None:
    assert torch.equal(displace(marked(), "after", 0, 0)["labels"], marked()["labels"])


def test_misalignment_stays_within_its_reach_and_moves_either_date() -> None:
    moved = set()
    for seed in range(30):
        torch.manual_seed(seed)
        sample = misalign(noisy(), 4)
        unknown = (sample["labels"][2] == IGNORE).float().mean()
        assert 0 < unknown < 2 * 5.5 / SIZE + 0.03
        moved |= {k for k in ("before", "after") if not torch.equal(sample[k], noisy()[k])}
    assert moved == {"before", "after"}


def test_a_coarser_sensor_loses_detail_and_keeps_the_grid() -> None:
    image = noisy()["before"]
    coarse = coarsen(image, 2.0)
    assert (coarse.shape, coarse.dtype) == (image.shape, torch.uint8)
    assert coarse.float().std() < 0.8 * image.float().std()
    assert coarse.float().mean() == pytest.approx(float(image.float().mean()), abs=2)


@pytest.mark.parametrize(("key", "layer"), [("before", 0), ("after", 1)])
def test_beyond_the_edge_of_a_scene_nothing_is_said(key: str, layer: int) -> None:
    torch.manual_seed(4)
    sample = wedge(noisy(), key)
    unseen = sample["labels"][2] == IGNORE
    assert 0.02 < unseen.float().mean() < 0.5
    assert torch.equal(sample["labels"][layer] == IGNORE, unseen)
    assert not bool((sample["labels"][1 - layer] == IGNORE).any())
    assert len(sample[key][:, unseen].unique(dim=1).T) == 1
    assert torch.equal(sample[key][:, ~unseen], noisy()[key][:, ~unseen])


@pytest.mark.parametrize("change", [haze, relight, restyle, lambda image: jpeg(image, 60)])
def test_light_and_sensor_keep_shape_and_type(change: Callable[[Tensor], Tensor]) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        image = noisy()["before"]
        out = change(image)
        assert (out.shape, out.dtype) == (image.shape, torch.uint8)


def test_compression_keeps_the_picture_recognisable() -> None:
    ramp = torch.arange(SIZE, dtype=torch.uint8).mul(4)[None, None].expand(3, SIZE, -1).contiguous()
    assert (jpeg(ramp, 90).float() - ramp.float()).abs().max() < 12
    assert not torch.equal(jpeg(noisy()["before"], 40), noisy()["before"])


def test_haze_brightens_the_dark_and_flattens_contrast() -> None:
    torch.manual_seed(3)
    hazy = haze(marked()["before"])
    assert 0 < hazy.min() < hazy.max() < 255


def test_another_sensor_has_other_colours_and_shows_the_same_things() -> None:
    levels, spreads, original = [], [], marked()["before"].float() * 0.2 + 100
    for seed in range(60):
        torch.manual_seed(seed)
        out = restyle(original.round().to(torch.uint8)).float()
        levels.append(float(out.mean()))
        spreads.append(float(out.std()))
        house = original[0] > 120
        assert out[:, house].median() > out[:, ~house].median(), "what was brighter stays brighter"
    assert min(levels) < 80 < 130 < max(levels)
    assert max(spreads) > 2 * min(spreads)


def test_a_share_of_the_dates_is_restyled_and_no_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.augment.restyle", lambda image: torch.full_like(image, 7))
    drawn = []
    for seed in range(60):
        torch.manual_seed(seed)
        plain = augment(marked())
        torch.manual_seed(seed)
        sample = augment(marked(), restyled=0.25)
        assert torch.equal(sample["labels"], plain["labels"])
        drawn += [bool((sample[key] == 7).all()) for key in ("before", "after")]
    assert 0.1 < np.mean(drawn) < 0.4


def test_both_dates_are_lit_apart() -> None:
    same = marked()
    same["after"] = same["before"]
    differing = 0
    for seed in range(10):
        torch.manual_seed(seed)
        sample = augment(same)
        differing += not torch.equal(sample["before"], sample["after"])
    assert differing >= 5


def test_augmentation_leaves_labels_to_geometry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.augment.wedge", lambda sample, key: sample)
    for seed in range(10):
        torch.manual_seed(seed)
        labels = augment(noisy())["labels"]
        assert labels.dtype == torch.uint8
        assert labels.sum((1, 2)).sort().values.tolist() == marked()["labels"].sum((1, 2)).sort().values.tolist()


def test_the_same_seed_draws_the_same_augmentation() -> None:
    def drawn(seed: int) -> Sample:
        torch.manual_seed(seed)
        np.random.seed(seed + 1)
        return augment(noisy())

    for seed in range(12):
        first, second = drawn(seed), drawn(seed)
        assert all(torch.equal(first[k], second[k]) for k in first)
    assert any(not torch.equal(drawn(0)["before"], drawn(seed)["before"]) for seed in range(1, 4))


def test_integers_are_drawn_with_both_ends() -> None:
    torch.manual_seed(0)
    assert {randint(-1, 1) for _ in range(100)} == {-1, 0, 1}


def test_chances_come_as_often_as_asked() -> None:
    torch.manual_seed(0)
    assert sum(chance(0.3) for _ in range(2000)) == pytest.approx(600, abs=80)
    assert all(2 <= uniform(2, 3) <= 3 for _ in range(100))
