"""The evaluation on masks small enough to count by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.labelled import IGNORE
from training.metrics import Reliability, Scores, score


def empty(dtype: type = np.uint8) -> NDArray[np.uint8]:
    return np.zeros((40, 40), dtype=dtype)


def square(top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
    mask = empty()
    mask[top : top + height, left : left + width] = 1
    return mask


def test_pixels_are_counted_as_by_hand() -> None:
    s = score(square(0, 0, 10, 10) > 0, square(0, 5, 10, 10), gsd=0.5)
    assert (s.tp, s.fp, s.fn) == (50, 50, 50)
    assert s.f1 == pytest.approx(0.5)
    assert s.iou == pytest.approx(1 / 3)
    assert s.precision == s.recall == pytest.approx(0.5)


def test_precision_and_recall_are_told_apart() -> None:
    s = score(square(0, 0, 10, 4) > 0, square(0, 0, 10, 10), gsd=1)
    assert s.precision == 1
    assert s.recall == pytest.approx(0.4)


def test_the_area_is_that_of_the_labelled_ground() -> None:
    truth = square(0, 0, 10, 10)
    truth[20:] = IGNORE
    assert score(empty() > 0, truth, gsd=0.5).area_km2 == pytest.approx(20 * 40 * 0.25 / 1e6)


def test_squares_that_touch_at_a_corner_are_one_object() -> None:
    touching = square(0, 0, 7, 7) | square(7, 7, 7, 7)
    apart = square(0, 0, 7, 7) | square(8, 8, 7, 7)
    assert score(empty() > 0, touching, gsd=1).objects == 1
    assert score(empty() > 0, apart, gsd=1).objects == 2
    assert score(touching > 0, empty(), gsd=1).predicted == 1


@pytest.mark.parametrize(("height", "width", "objects"), [(5, 8, 1), (3, 13, 0)])
def test_an_object_has_at_least_40_pixels(height: int, width: int, objects: int) -> None:
    mask = square(3, 3, height, width)
    s = score(mask > 0, mask, gsd=1)
    assert (s.objects, s.found, s.predicted, s.right) == (objects,) * 4


@pytest.mark.parametrize(("covered", "found"), [(10, 1), (9, 0)])
def test_a_true_object_is_found_when_a_tenth_of_it_is_predicted(covered: int, found: int) -> None:
    truth, predicted = square(0, 0, 10, 10), square(0, 0, 1, covered)
    s = score(predicted > 0, truth, gsd=1)
    assert (s.objects, s.found) == (1, found)
    assert s.predicted == 0  # too small itself to count as a predicted object


@pytest.mark.parametrize(("covered", "right"), [(10, 1), (9, 0)])
def test_a_predicted_object_is_right_when_a_tenth_of_it_is_true(covered: int, right: int) -> None:
    predicted, truth = square(0, 0, 10, 10), square(0, 0, 1, covered)
    s = score(predicted > 0, truth, gsd=1000)
    assert (s.predicted, s.right) == (1, right)
    assert s.false_objects_per_km2 == pytest.approx((1 - right) / 1600)


def test_ignored_pixels_count_for_nothing() -> None:
    truth = square(0, 0, 10, 10)
    truth[0:10, 20:30] = IGNORE
    s = score((square(0, 0, 10, 10) | square(0, 20, 10, 10)) > 0, truth, gsd=1)
    assert (s.tp, s.fp, s.fn) == (100, 0, 0)
    assert (s.predicted, s.right) == (1, 1)


def test_rates_are_nan_where_there_is_nothing_to_measure() -> None:
    s = score(empty() > 0, empty(), gsd=1)
    for name in ("f1", "iou", "precision", "recall", "object_recall", "object_precision"):
        assert math.isnan(getattr(s, name)), name
    assert s.false_objects_per_km2 == 0  # an empty prediction over known ground has been measured
    assert math.isnan(Scores().false_objects_per_km2)


def test_rates_of_a_sum_are_those_of_all_images_together() -> None:
    a = score(square(0, 0, 10, 10) > 0, square(0, 0, 10, 10), gsd=1)
    b = score(empty() > 0, square(0, 0, 20, 15), gsd=1)
    total = a + b
    assert total.recall == pytest.approx(100 / 400)
    assert (total.objects, total.found) == (2, 1)
    assert total.area_km2 == pytest.approx(a.area_km2 + b.area_km2)
    assert Scores() + a == a


def test_the_figures_of_a_table_are_rounded_rates() -> None:
    figures = score(square(0, 0, 10, 10) > 0, square(0, 5, 10, 10), gsd=1).as_dict()
    assert figures["iou"] == 0.3333
    assert figures["objects"] == 1


def test_calibration_error_is_the_gap_between_what_is_said_and_what_is_true() -> None:
    reliability = Reliability()
    truth = np.zeros((10, 10), dtype=np.uint8)
    truth[:5] = 1
    # Said 0.9 of all, true of half: gap 0.4. Said 0.02 of all, true of none: gap 0.02. As many of each.
    reliability.add(np.full((10, 10), 0.9, dtype=np.float32), truth)
    reliability.add(np.full((10, 10), 0.02, dtype=np.float32), np.zeros((10, 10), dtype=np.uint8))
    assert reliability.expected_calibration_error == pytest.approx((0.4 + 0.02) / 2)


def test_a_calibrated_predictor_has_no_calibration_error() -> None:
    reliability = Reliability()
    truth = np.zeros((10, 10), dtype=np.uint8)
    truth.flat[:25] = 1
    reliability.add(np.full((10, 10), 0.25, dtype=np.float32), truth)
    reliability.add(np.ones((10, 10), dtype=np.float32), np.ones((10, 10), dtype=np.uint8))
    assert reliability.expected_calibration_error == pytest.approx(0)


def test_ignored_pixels_leave_the_calibration_alone() -> None:
    reliability = Reliability()
    truth = np.full((10, 10), IGNORE, dtype=np.uint8)
    reliability.add(np.full((10, 10), 0.9, dtype=np.float32), truth)
    assert reliability.count.sum() == 0
    assert math.isnan(reliability.expected_calibration_error)
