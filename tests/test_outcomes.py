"""What findings say of themselves, against labels whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.labelled import IGNORE
from training.outcomes import (
    INTERVAL_SIGMAS,
    MIN_FITTED,
    UNKNOWN_ERROR_PX,
    Outcome,
    area_coverage,
    area_error_px,
    finding_reliability,
    held_out,
    outcomes,
    platt,
)


def square(top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


def of(found: NDArray[np.uint8], truth: NDArray[np.uint8], said: float = 0.9) -> list[Outcome]:
    return outcomes("scene", found > 0, np.full(found.shape, said, dtype=np.float32), truth)


def off_by(pixels: float, scene: str = "a") -> Outcome:
    """A finding with an outline of 100 px and so many pixels too many."""
    return Outcome(scene, 0.9, True, 600 + pixels, 100.0, 600.0)


def test_a_finding_that_matches_one_object_has_both_areas_and_its_outline() -> None:
    (outcome,) = of(square(10, 10, 22, 20), square(10, 10, 20, 20))
    assert outcome.right
    assert (outcome.area_px, outcome.true_area_px, outcome.outline_px) == (440, 400, 84)


def test_a_finding_states_the_mean_over_its_own_pixels() -> None:
    said = np.zeros((64, 64), dtype=np.float32)
    said[10:20, 10:30], said[20:30, 10:30], said[40:50, 40:50] = 0.6, 0.8, 0.1
    (outcome,) = outcomes("scene", square(10, 10, 20, 20) > 0, said, square(10, 10, 20, 20))
    assert outcome.probability == pytest.approx(0.7)
    said[11:29, 11:29] = 0.9
    (outcome,) = outcomes("scene", square(10, 10, 20, 20) > 0, said, square(10, 10, 20, 20), rim=1)
    assert outcome.probability == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("found", "truth", "right"),
    [
        (square(10, 10, 20, 40), square(10, 10, 20, 15) | square(10, 35, 20, 15), [True]),
        (square(10, 10, 20, 15) | square(10, 35, 20, 15), square(10, 10, 20, 40), [True, True]),
        (square(10, 10, 20, 20), square(10, 29, 20, 20), [False]),
        (square(10, 10, 20, 20), square(40, 40, 20, 20), [False]),
    ],
    ids=["one found, two true", "two found, one true", "hardly touching", "apart"],
)
def test_only_findings_that_match_one_to_one_tell_of_areas(
    found: NDArray[np.uint8], truth: NDArray[np.uint8], right: list[bool]
) -> None:
    result = of(found, truth)
    assert [o.right for o in result] == right
    assert {o.true_area_px for o in result} == {None}


def test_what_is_too_small_to_be_reported_is_no_finding() -> None:
    assert of(square(10, 10, 5, 5), square(10, 10, 20, 20)) == []


def test_what_the_labels_do_not_speak_of_is_neither_right_nor_wrong() -> None:
    truth = square(10, 10, 20, 20)
    truth[:, 30:] = IGNORE
    assert of(square(10, 32, 20, 20), truth) == []
    (cut,) = of(square(10, 10, 20, 30), truth)
    assert cut.right
    assert cut.true_area_px is None


@pytest.mark.parametrize("seed", range(3))
def test_the_error_of_areas_is_that_of_the_outline(seed: int) -> None:
    offs = np.random.default_rng(seed).normal(0, 50, 2000)
    assert area_error_px([off_by(float(x)) for x in offs]) == pytest.approx(0.5, rel=0.1)


def test_a_stated_interval_holds_its_share_even_where_errors_have_long_tails() -> None:
    offs = np.random.default_rng(0).standard_t(2, 3000) * 20
    found = [off_by(float(x), f"scene {i % 6}") for i, x in enumerate(offs)]
    inside = np.abs(offs) <= INTERVAL_SIGMAS * area_error_px(found) * 100
    assert inside.mean() == pytest.approx(0.9, abs=0.01)
    assert area_coverage(found)["share"] == pytest.approx(0.9, abs=0.02)


def test_coverage_is_measured_on_scenes_that_the_error_does_not_know() -> None:
    found = [off_by(10.0, "a")] * 30 + [off_by(90.0, "b")] * 30
    # Fitted on b all of a lies inside; fitted on a nothing of b does.
    assert area_coverage(found) == {"interval": 0.9, "sigmas": INTERVAL_SIGMAS, "share": 0.5, "findings": 60}


def test_one_scene_alone_tells_no_coverage() -> None:
    assert area_coverage([off_by(10.0)] * 100)["share"] is None


def test_with_few_findings_an_error_of_one_pixel_is_assumed() -> None:
    assert area_error_px([off_by(1.0)] * (MIN_FITTED - 1)) == UNKNOWN_ERROR_PX
    assert area_error_px([]) == UNKNOWN_ERROR_PX


def test_the_reliability_of_findings_counts_findings() -> None:
    large, small = square(5, 5, 40, 30), square(50, 50, 10, 10)
    diagram = finding_reliability(of(large | small, large, said=0.8)).as_dict()
    assert diagram["bins"] == [[pytest.approx(0.8), 0.5, 2]]
    assert diagram["error"] == pytest.approx(0.3)


def test_without_findings_there_is_no_reliability() -> None:
    assert finding_reliability([]).as_dict() == {"error": None, "bins": []}


def said_and_right(slope: float, offset: float, scenes: int = 8, each: int = 60, seed: int = 0) -> list[Outcome]:
    """Findings of which the true probability is a known function of what is said."""
    rng = np.random.default_rng(seed)
    made = []
    for scene in range(scenes):
        for said in rng.uniform(0.5, 0.99, each):
            true = 1 / (1 + np.exp(-(slope * np.log(said / (1 - said)) + offset)))
            made.append(Outcome(str(scene), float(said), bool(rng.random() < true), 100.0, 40.0, None))
    return made


@pytest.mark.parametrize(("slope", "offset"), [(0.6, -1.2), (1.4, 0.5)])
def test_what_a_finding_says_is_brought_to_how_often_it_is_right(slope: float, offset: float) -> None:
    found = said_and_right(slope, offset, scenes=20, each=100)
    assert platt(found) == pytest.approx((slope, offset), abs=0.35)
    before, after = finding_reliability(found), finding_reliability(held_out(found, found))
    assert before.expected_calibration_error > 0.08
    assert after.expected_calibration_error < 0.5 * before.expected_calibration_error


def test_a_scene_is_not_told_by_its_own_findings() -> None:
    odd = [Outcome("odd", 0.9, False, 100.0, 40.0, None)] * 100
    found = [*said_and_right(1.0, 0.0), *odd]
    kept = [o.probability for o in held_out(odd, found)]
    slope, offset = platt(found)
    assert len(set(kept)) == 1
    assert kept[0] > 0.85
    assert 1 / (1 + np.exp(-(slope * np.log(9) + offset))) < kept[0] - 0.1


@pytest.mark.parametrize("right", [True, False])
def test_findings_that_are_all_alike_teach_nothing(right: bool) -> None:
    assert platt([Outcome("a", 0.8, right, 100.0, 40.0, None)] * 50) == (1.0, 0.0)
    assert platt([]) == (1.0, 0.0)


def test_what_is_said_more_surely_never_comes_out_as_less_sure() -> None:
    upside_down = [Outcome("a", p, p < 0.7, 100.0, 40.0, None) for p in np.linspace(0.5, 0.95, 60)]
    assert platt(upside_down) == (1.0, 0.0)
