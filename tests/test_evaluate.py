"""Calibration and tables on predictions whose right answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.labelled import IGNORE, LabelledPair, read_set
from model import DATES, OUTPUTS
from model.decision import RIM_PX, hysteresis
from training.evaluate import (
    MEANS,
    PEAK,
    Prediction,
    best_decision,
    best_threshold,
    predict_validation,
    reliability,
    rescaled,
    swapped,
    table,
    temperature,
)
from training.metrics import Scores, score

HALF = dict.fromkeys(OUTPUTS, 0.5)


def pair(change: NDArray[np.uint8], structure: NDArray[np.uint8] | None = None, source: str = "ida") -> LabelledPair:
    structure = np.zeros_like(change) if structure is None else structure
    image = np.zeros((*change.shape, 3), dtype=np.uint8)
    return LabelledPair(source, "scene", image, image, structure, structure, change, 0.5)


def predicted(probability: NDArray[Any], change: NDArray[np.uint8]) -> Prediction:
    """The same probability for all three outputs."""
    return Prediction(pair(change, change), np.repeat(probability[None], 3, axis=0).astype(np.float32))


def decided(probability: NDArray[Any], change: NDArray[np.uint8]) -> Scores:
    """Scores of change with the decision that is chosen for it."""
    prediction = predicted(probability, change)
    threshold, peak, mean = best_decision([prediction])
    return table([prediction], HALF | {"change": threshold}, peak, mean, RIM_PX)["ida/change"]


def square(top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


def scaled(factor: float) -> Prediction:
    """Labels drawn from logits that are then told `factor` times too boldly."""
    rng = np.random.default_rng(0)
    z = rng.normal(0, 2, (512, 512))
    truth = (rng.random(z.shape) < 1 / (1 + np.exp(-z))).astype(np.uint8)
    return predicted(1 / (1 + np.exp(-factor * z)), truth)


@pytest.mark.parametrize("factor", [0.7, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("output", ["structure_before", "change"])
def test_the_temperature_undoes_a_known_exaggeration(factor: float, output: str) -> None:
    assert temperature([scaled(factor)], output) == pytest.approx(factor, rel=0.06)


def test_ignored_pixels_have_no_say_in_the_temperature() -> None:
    bold = scaled(2.0)
    change = bold.pair.change.copy()
    change[:200] = IGNORE
    wild = bold.probabilities.copy()
    wild[:, :200] = 1 - wild[:, :200]
    assert temperature([Prediction(pair(change), wild)], "change") == pytest.approx(2.0, rel=0.06)


def test_layers_known_only_at_change_have_no_say_in_the_temperature() -> None:
    levir = np.where(scaled(1.0).pair.change == 1, 1, IGNORE).astype(np.uint8)
    nonsense = Prediction(pair(levir, levir, "levir_cd"), np.full((3, 512, 512), 0.01, dtype=np.float32))
    assert temperature([scaled(2.0), nonsense], "structure_before") == pytest.approx(2.0, rel=0.06)
    assert temperature([nonsense], "structure_before") == 1.0


def test_both_dates_have_a_say_in_what_they_share() -> None:
    """A scene of which only what is new at the later date is outlined, as in LEVIR-CD."""
    bold = scaled(2.0)
    earlier, later = np.full_like(bold.pair.change, IGNORE), bold.pair.change.copy()
    later[:, 256:] = IGNORE
    labelled = replace(pair(bold.pair.change), structure_before=earlier, structure_after=later)
    one = Prediction(labelled, bold.probabilities)
    assert temperature([one], *DATES) == pytest.approx(2.0, rel=0.06)
    assert temperature([one], "structure_before") == 1.0
    sure = predicted(np.where(square(0, 0, 30, 30) == 1, 0.62, 0.57), square(0, 0, 30, 30))
    assert best_threshold([sure], *DATES) == pytest.approx(0.6)


def test_temperatures_of_one_change_nothing() -> None:
    bold = scaled(2.0)
    same = rescaled([bold], dict.fromkeys(OUTPUTS, 1.0))[0]
    np.testing.assert_allclose(same.probabilities, bold.probabilities, atol=1e-5)


def test_each_output_is_rescaled_by_its_own_temperature() -> None:
    p = np.full((3, 4, 4), 0.9, dtype=np.float32)
    out = rescaled(
        [Prediction(pair(np.zeros((4, 4), dtype=np.uint8)), p)],
        {"structure_before": 1.0, "structure_after": 2.0, "change": 0.5},
    )[0].probabilities
    # odds of 9, their root and their square
    np.testing.assert_allclose(out[:, 0, 0], [9 / 10, 3 / 4, 81 / 82], atol=1e-5)


def test_rescaling_by_the_temperature_calibrates() -> None:
    bold = scaled(3.0)
    t = temperature([bold], "change")
    calm = rescaled([bold], dict.fromkeys(OUTPUTS, t))
    assert reliability([bold], "change").expected_calibration_error > 0.05
    assert reliability(calm, "change").expected_calibration_error < 0.015


def test_reliability_leaves_out_layers_known_only_at_change() -> None:
    levir = np.where(square(0, 0, 20, 20) == 1, 1, IGNORE).astype(np.uint8)
    prediction = Prediction(pair(square(0, 0, 20, 20), levir), np.full((3, 64, 64), 0.5, dtype=np.float32))
    assert reliability([prediction], "structure_before").count.sum() == 0
    assert reliability([prediction], "change").count.sum() == 64 * 64


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_best_threshold_parts_true_from_false(output: str) -> None:
    truth = square(0, 0, 30, 30)
    probability = np.where(truth == 1, 0.62, 0.1)
    probability[40:, 40:] = 0.57  # wrong, and nearly as sure
    assert best_threshold([predicted(probability, truth)], output) == pytest.approx(0.6)


def test_the_best_threshold_weighs_all_sets_together() -> None:
    large = predicted(np.where(square(0, 0, 40, 40) == 1, 0.4, 0.1), square(0, 0, 40, 40))
    small = predicted(np.where(square(0, 0, 2, 40) == 1, 0.45, 0.1), square(0, 0, 2, 2))
    assert best_threshold([large, small], "change") <= 0.4


def test_a_set_without_anything_to_find_has_no_say_in_the_threshold() -> None:
    truth = square(0, 0, 30, 30)
    found = predicted(np.where(truth == 1, 0.5, 0.47), truth)
    nothing = np.zeros((64, 64), dtype=np.uint8)
    alarm = Prediction(pair(nothing, source="xbd_mexico"), np.full((3, 64, 64), 0.5, dtype=np.float32))
    assert best_threshold([found, alarm], "change") == pytest.approx(0.5)


def test_the_best_decision_drops_false_alarms_and_keeps_what_is_true() -> None:
    truth = square(0, 0, 20, 20)
    probability = np.where(truth == 1, 0.85, 0.1)
    probability[40:60, 40:60] = 0.65
    found = decided(probability, truth)
    assert (found.predicted, found.right) == (1, 1)


def test_a_false_alarm_with_a_bright_core_is_told_by_its_mean() -> None:
    truth = square(0, 0, 24, 24)
    probability = np.where(truth == 1, 0.5, 0.1)  # along the outline, which a higher threshold would cut off
    probability[2:22, 2:22] = 0.95
    probability[40:60, 40:60] = 0.5
    probability[40:60, 40:50] = 0.95
    threshold, _, mean = best_decision([predicted(probability, truth)])
    assert threshold <= 0.5
    assert mean >= 0.74
    found = decided(probability, truth)
    assert (found.predicted, found.right) == (1, 1)


def test_a_threshold_that_draws_worse_outlines_is_not_taken_for_the_sake_of_false_alarms() -> None:
    truth = square(0, 0, 24, 24)
    probability = np.where(truth == 1, 0.5, 0.1)
    probability[4:20, 4:20] = 0.95
    probability[40:50, 40:50] = 0.52  # gone from 0.55 on, and with it more than half of what is true
    threshold, _, _ = best_decision([predicted(probability, truth)])
    assert threshold <= 0.5


def test_a_decision_that_would_lose_true_objects_is_not_taken() -> None:
    truth = np.maximum(square(0, 0, 20, 20), square(40, 40, 20, 20))
    probability = np.where(truth == 1, 0.65, 0.1)
    probability[0:20, 0:20] = 0.99
    found = decided(probability, truth)
    assert (found.objects, found.found) == (2, 2)


@pytest.mark.parametrize(("gsd", "borne"), [(20.0, True), (2.0, False)])
def test_as_much_is_found_as_false_changes_that_are_borne_allow(gsd: float, borne: bool) -> None:
    """One false change in 1.6 km2 of a scene that changes is borne for an object found, in 0.016 km2 it is not."""
    truth = np.maximum(square(0, 0, 20, 20), square(40, 40, 20, 20))
    probability = np.where(truth == 1, 0.97, 0.1)
    probability[40:60, 40:60] = 0.79
    probability[0:20, 40:60] = 0.81
    scene = predicted(probability, truth)
    scene = replace(scene, pair=replace(scene.pair, gsd=gsd))
    threshold, peak, mean = best_decision([scene])
    found = score(hysteresis(scene.probabilities[2], threshold, peak, mean, RIM_PX), truth, gsd)
    assert (found.found, found.predicted - found.right) == ((2, 1) if borne else (1, 0))


@pytest.mark.parametrize(("gsd", "kept"), [(30.0, 2), (2.0, 1)])
def test_where_nothing_changed_less_is_borne(gsd: float, kept: int) -> None:
    truth = np.maximum(square(0, 0, 20, 20), square(40, 40, 20, 20))
    probability = np.where(truth == 1, 0.97, 0.1)
    probability[40:60, 40:60] = 0.79
    changed = predicted(probability, truth)
    nothing = np.zeros((64, 64), dtype=np.uint8)
    leaning = np.stack([np.where(square(0, 40, 20, 20) == 1, 0.81, 0.1).astype(np.float32)] * 3)
    unchanged = Prediction(replace(pair(nothing, source="xbd_mexico"), gsd=gsd), leaning)
    found = score(hysteresis(changed.probabilities[2], *best_decision([changed, unchanged]), RIM_PX), truth, 0.5)
    assert found.found == kept


@pytest.mark.parametrize(
    ("alarm", "decision"), [(0.1, (0.5, 0.5, 0.0)), (0.75, (0.5, 0.5, 0.78)), (0.95, (0.5, 0.9, 0.92))]
)
def test_with_nothing_to_miss_the_decision_is_the_least_strict_that_is_quiet(
    alarm: float, decision: tuple[float, float, float]
) -> None:
    nothing = np.zeros((64, 64), dtype=np.uint8)
    probability = np.full((64, 64), 0.1)
    probability[10:30, 10:30] = alarm
    assert best_decision([predicted(probability, nothing)]) == decision


def test_with_nothing_at_all_the_decision_is_the_strictest() -> None:
    assert best_decision([]) == (0.5, PEAK, max(MEANS))


def test_with_nothing_to_find_the_threshold_stays_in_the_middle() -> None:
    nothing = np.zeros((64, 64), dtype=np.uint8)
    assert best_threshold([predicted(np.full((64, 64), 0.3), nothing)], "change") == 0.5
    assert best_threshold([], "change") == 0.5


def test_a_pair_told_backwards_exchanges_everything_but_change(sets: Path) -> None:
    forwards = read_set(sets, "xbd_mexico", "train")[0]
    backwards = swapped(forwards)
    assert backwards.before is forwards.after
    assert backwards.after is forwards.before
    assert backwards.structure_before is forwards.structure_after
    assert backwards.structure_after is forwards.structure_before
    assert backwards.change is forwards.change
    assert (backwards.source, backwards.name, backwards.gsd) == (forwards.source, forwards.name, forwards.gsd)
    assert swapped(backwards) == forwards


def test_validation_predicts_held_out_pairs_only_and_says_which(sets: Path) -> None:
    seen: list[str] = []

    def predict(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.stack([before[..., 0], after[..., 0], after[..., 1]]).astype(np.float32)

    forwards = predict_validation(sets, ["ida", "banepa"], predict, on_pair=seen.append)
    assert seen == ["ida/AOI1", "banepa/tile_00"]
    backwards = predict_validation(sets, ["ida"], predict, swap=True)[0]
    np.testing.assert_array_equal(backwards.probabilities[0], forwards[0].probabilities[1])
    np.testing.assert_array_equal(backwards.truth("structure_before"), forwards[0].truth("structure_after"))


def test_the_table_has_a_row_for_every_output_that_is_labelled() -> None:
    truth = square(0, 0, 20, 20)
    rows = table([predicted(truth * 0.9, truth)], HALF)
    assert set(rows) == {"ida/structure_before", "ida/structure_after", "ida/change"}
    assert all(row.f1 == 1 for row in rows.values())


def test_the_table_leaves_out_structures_of_which_it_is_not_told_where_they_end(sets: Path) -> None:
    """LEVIR-CD says where new houses end, and nothing of what stood."""
    predictions = [Prediction(p, np.ones((3, 96, 96), np.float32)) for p in read_set(sets, "levir_cd", "validation")]
    rows = table(predictions, HALF)
    assert set(rows) == {"levir_cd/structure_after", "levir_cd/change"}
    assert rows["levir_cd/structure_after"].recall == 1
    assert rows["levir_cd/structure_after"].precision < 0.7


def test_a_set_in_which_nothing_changed_tells_false_alarms(sets: Path) -> None:
    predictions = [Prediction(p, np.ones((3, 128, 128), np.float32)) for p in read_set(sets, "xbd_other", "validation")]
    row = table(predictions, HALF)["xbd_other/change"]
    assert row.false_objects_per_km2 == pytest.approx(1 / (128 * 128 / 1e6))


def test_the_table_adds_up_the_pairs_of_a_set_and_keeps_sets_apart() -> None:
    truth = square(0, 0, 20, 20)
    other = Prediction(pair(truth, truth, "banepa"), np.zeros((3, 64, 64), dtype=np.float32))
    rows = table([predicted(truth * 0.9, truth), predicted(truth * 0.1, truth), other], HALF)
    assert rows["ida/change"].recall == 0.5
    assert rows["banepa/change"].recall == 0


def test_each_output_has_a_threshold_of_its_own() -> None:
    truth = square(0, 0, 20, 20)
    rows = table([predicted(truth * 0.6, truth)], {**HALF, "change": 0.7})
    assert rows["ida/structure_before"].recall == 1
    assert rows["ida/change"].recall == 0
