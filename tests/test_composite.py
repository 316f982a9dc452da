from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from datasets.labelled import IGNORE
from model.vision import tv_tensors
from training.augment import Sample
from training.composite import composite, paint_roof

SIDE, DATES = 128, ("before", "after")


def _pair(colour: tuple[int, int, int], *, building: tuple[int, int, int, int] | None) -> Sample:
    """A pair of one flat colour with at most one building (top, left, height, width) of another, at both dates."""
    image = np.full((SIDE, SIDE, 3), colour, dtype=np.uint8)
    labels = np.zeros((3, SIDE, SIDE), dtype=np.uint8)
    if building:
        top, left, height, width = building
        image[top : top + height, left : left + width] = (200, 60, 60)
        labels[:2, top : top + height, left : left + width] = 1
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    return {
        "before": tv_tensors.Image(tensor.clone()),
        "after": tv_tensors.Image(tensor.clone()),
        "labels": tv_tensors.Mask(torch.from_numpy(labels)),
    }


def _many(base: Sample, donor: Sample, count: int = 40) -> list[Sample]:
    torch.manual_seed(0)
    return [composite(base, donor) for _ in range(count)]


@pytest.fixture
def base() -> Sample:
    return _pair((90, 110, 80), building=(50, 60, 20, 16))


@pytest.fixture
def donor() -> Sample:
    return _pair((100, 100, 100), building=(20, 30, 14, 18))


def test_change_is_where_the_structures_of_the_dates_differ(base: Sample, donor: Sample) -> None:
    for sample in _many(base, donor):
        before, after, change = sample["labels"]
        assert torch.equal(change == 1, before != after)


def test_structures_appear_vanish_and_are_left_alone(base: Sample, donor: Sample) -> None:
    samples = _many(base, donor)
    original = base["labels"][0] == 1
    appeared = [bool(((s["labels"][:2] == 1).any(dim=0) & ~original).any()) for s in samples]
    vanished = [bool((s["labels"][:2, original] == 0).any()) for s in samples]
    assert any(appeared)
    assert any(vanished)
    assert not all(vanished)


def test_a_structure_pasted_into_both_dates_remains(base: Sample, donor: Sample) -> None:
    original = base["labels"][0] == 1
    both = [((s["labels"][0] == 1) & (s["labels"][1] == 1) & ~original) for s in _many(base, donor, 80)]
    assert any(bool(m.any()) for m in both)


def test_the_picture_differs_between_the_dates_where_change_is_labelled(base: Sample, donor: Sample) -> None:
    differences = []
    for sample in _many(base, donor):
        change = sample["labels"][2] == 1
        if change.any():
            apart = (sample["before"].float() - sample["after"].float()).abs().amax(dim=0)
            differences.append(float(apart[change].median()))
    assert differences
    assert min(differences) > 10


def test_nothing_is_pasted_over_a_standing_structure(base: Sample, donor: Sample) -> None:
    original = base["labels"][0] == 1
    for sample in _many(base, donor):
        for image, layer in ((sample["before"], sample["labels"][0]), (sample["after"], sample["labels"][1])):
            inner = torch.zeros_like(original)
            inner[54:66, 64:72] = True
            kept = inner & (layer == 1)
            if kept.any():
                assert float((image.float() - base["before"].float())[:, kept].abs().max()) <= 80  # a shadow at most


def test_a_pair_without_buildings_and_a_donor_without_buildings_come_back_unchanged() -> None:
    empty = _pair((90, 110, 80), building=None)
    for sample in _many(empty, _pair((10, 10, 10), building=None), 10):
        assert torch.equal(sample["before"], empty["before"])
        assert torch.equal(sample["labels"], empty["labels"])


def test_the_samples_given_are_not_changed(base: Sample, donor: Sample) -> None:
    before, labels = base["before"].clone(), base["labels"].clone()
    _many(base, donor, 10)
    assert torch.equal(base["before"], before)
    assert torch.equal(base["labels"], labels)


def test_the_same_seed_gives_the_same_sample(base: Sample, donor: Sample) -> None:
    first, second = (_many(base, donor, 3) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_sheds_are_small_and_change_like_any_other(base: Sample, donor: Sample) -> None:
    original, sizes = base["labels"][0] == 1, []
    torch.manual_seed(0)
    for sample in (composite(base, donor, sheds=1.0) for _ in range(40)):
        before, after, change = sample["labels"]
        assert torch.equal(change == 1, before != after)
        pasted = ((before == 1) | (after == 1)) & ~original
        count, _, stats, _ = cv2.connectedComponentsWithStats(pasted.numpy().astype(np.uint8), connectivity=8)
        sizes += [int(stats[i, cv2.CC_STAT_AREA]) for i in range(1, count)]
    assert len(sizes) > 20
    assert np.median(sizes) < 0.5 * 14 * 18  # of the donor's building
    assert min(sizes) >= 6


def test_what_vanishes_vanishes_whole(base: Sample, donor: Sample) -> None:
    """Also where what is pasted is as small as a shed."""
    original = base["labels"][0] == 1
    torch.manual_seed(0)
    labels = [composite(base, donor, sheds=1.0)["labels"] for _ in range(40)]
    shares = {float((each[:2] == 0).any(dim=0)[original].float().mean()) for each in labels}
    assert shares == {0.0, 1.0}


def test_the_doubtful_rim_of_a_building_that_vanishes_is_no_ground_that_stayed(base: Sample, donor: Sample) -> None:
    """Where the outline is not sure, the rim goes with the building and says nothing of change."""
    rim = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    rim[48:72, 58:78] = True
    rim[50:70, 60:76] = False
    base["labels"][:2, rim] = IGNORE
    vanished = [s["labels"] for s in _many(base, donor) if bool((s["labels"][2, 50:70, 60:76] == 1).all())]
    assert vanished
    for labels in vanished:
        assert bool((labels[2][rim] == IGNORE).all())
        assert bool((labels[:2, rim] != 1).all())


def test_who_builds_or_clears_changes_the_ground_around_it_too(base: Sample, donor: Sample) -> None:
    """The ground that a building brings along is no structure and no change, however different it looks."""
    original, wider = base["labels"][0] == 1, {0.0: 0, 1.0: 0}
    for yards in wider:
        torch.manual_seed(0)
        for sample in (composite(base, donor, yards=yards) for _ in range(40)):
            before, after, change = sample["labels"]
            assert torch.equal(change == 1, before != after)
            built = ((before == 1) | (after == 1)) & ~original
            assert int(built.sum()) % (14 * 18) == 0, "labels hold the donor's whole building and nothing else"
            dates = [sample[key].numpy().transpose(1, 2, 0).astype(int) for key in ("before", "after")]
            differs = np.abs(dates[0] - dates[1]).max(axis=2) > 3
            near = cv2.dilate((change == 1).numpy().astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
            wider[yards] += int((differs & ~near).sum())
    assert wider[1.0] > 3 * wider[0.0]


def test_a_shed_brings_bare_ground_around_it(base: Sample, donor: Sample) -> None:
    """Of the donor, not of the roof that it is a piece of: neither a structure nor a change."""
    original, ground = base["labels"][0] == 1, torch.tensor([100, 100, 100], dtype=torch.float32)[:, None, None]
    torch.manual_seed(0)
    beside, roofs = [], 0
    for sample in (composite(base, donor, sheds=1.0, yards=1.0) for _ in range(40)):
        before, after, change = sample["labels"]
        assert torch.equal(change == 1, before != after)
        for image, layer in ((sample["before"], before), (sample["after"], after)):
            stands = ((layer == 1) & ~original).numpy().astype(np.uint8)
            count, shapes = cv2.connectedComponents(stands)
            for i in range(1, count):
                shed = (shapes == i).astype(np.uint8)
                wide, near = (cv2.dilate(shed, np.ones((k, k), np.uint8)) > 0 for k in (7, 5))
                around = (image.float() - ground)[:, torch.from_numpy(wide & ~near)]
                beside.append(float(around.abs().amax(dim=0).median()))
                roofs += float(image.float()[0, torch.from_numpy(shed > 0)].median()) > 150
    assert len(beside) > 20
    assert roofs > 0.9 * len(beside)
    assert np.median(beside) < 10, "the donor's ground; the base's own is 20 away"


def test_the_doubtful_rim_of_a_building_that_appears_comes_along_and_says_nothing(base: Sample, donor: Sample) -> None:
    rim = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    rim[18:36, 28:50] = True
    rim[20:34, 30:48] = False
    donor["labels"][:2, rim] = IGNORE
    torch.manual_seed(0)
    labels = [composite(base, donor, yards=1.0)["labels"] for _ in range(20)]
    appeared = [each for each in labels if bool((each == IGNORE).any())]
    assert appeared
    for before, after, change in appeared:
        stands = ((before == 1) | (after == 1)).numpy().astype(np.uint8)
        beside = (cv2.dilate(stands, np.ones((3, 3), np.uint8)) > 0) & (stands == 0)
        doubted = ((before == IGNORE) | (after == IGNORE)).numpy()
        assert (doubted & beside).any()
        assert set(change[torch.from_numpy(doubted)].tolist()) <= {0, IGNORE}


def test_a_building_is_pasted_where_the_only_room_is(donor: Sample) -> None:
    """In a dense quarter there is little room: it must not be left to luck."""
    full = _pair((90, 110, 80), building=(0, 0, SIDE, SIDE))
    full["labels"][:2, 40:58, 60:78] = 0
    full["labels"][:2, 50, 76:78] = 1
    torch.manual_seed(0)
    labels = [composite(full, donor)["labels"] for _ in range(20)]
    assert sum(bool((each[2] == 1).any()) for each in labels) > 10


def test_a_painted_roof_has_another_colour_and_its_own_light_and_shade() -> None:
    image = np.full((20, 20, 3), (120, 60, 40), dtype=np.uint8)
    image[:, 10:] = (60, 30, 20)  # the side away from the sun
    mask = np.zeros((20, 20), dtype=bool)
    mask[5:15, 5:15] = True
    torch.manual_seed(0)
    painted = paint_roof(image, mask, np.array((70, 125, 195), dtype=np.float32))
    assert np.array_equal(painted[~mask], image[~mask])
    assert (painted[mask][:, 2] > painted[mask][:, 0]).all(), "blue"
    assert painted[10, 7].sum() > 1.1 * painted[10, 12].sum()
    assert np.abs(painted[mask].mean(axis=0) - (70, 125, 195)).max() < 2


def test_another_coat_is_no_change_and_may_be_seen_at_one_date(base: Sample, donor: Sample) -> None:
    empty = {**donor, "labels": tv_tensors.Mask(torch.zeros_like(donor["labels"]))}  # nothing to paste
    torch.manual_seed(0)
    roof, seen = base["labels"][0] == 1, set()
    for sample in (composite(base, empty, painted=1.0) for _ in range(60)):
        stands = bool((sample["labels"][:2, roof] == 1).all())
        assert stands == (not bool((sample["labels"][2] == 1).any()))
        if stands:
            recoloured = [float((sample[k].float() - base[k].float())[:, roof].abs().mean()) > 5 for k in DATES]
            seen.add(tuple(recoloured))
    assert {(True, True), (True, False), (False, True)} <= seen


def test_what_is_pasted_may_have_a_roof_of_coloured_steel_sheet(base: Sample, donor: Sample) -> None:
    original, blue = base["labels"][0] == 1, {0.0: 0, 1.0: 0}
    for painted in blue:
        torch.manual_seed(0)
        for sample in (composite(base, donor, sheds=0.5, painted=painted) for _ in range(60)):
            for key, layer in zip(DATES, sample["labels"][:2], strict=True):
                new = (layer == 1) & ~original
                pixels = sample[key].float()
                blue[painted] += int((pixels[2, new] > pixels[0, new] + 40).sum())
    assert blue[0.0] == 0  # the donor's roof is red
    assert blue[1.0] > 500
