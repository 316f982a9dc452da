"""What clouds hide: large patches and their rim, whatever part of a picture is looked at."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.clouds import RIM_PX, SMALLEST_PX, hidden

SIDE = 200


def cloud(top: int, left: int, height: int, width: int) -> NDArray[np.float32]:
    """(2, SIDE, SIDE): a cloud of 0.9 at the second date, 0.1 elsewhere."""
    probability = np.full((2, SIDE, SIDE), 0.1, dtype=np.float32)
    probability[1, top : top + height, left : left + width] = 0.9
    return probability


def test_a_cloud_hides_what_is_under_it_and_its_rim_at_its_own_date() -> None:
    found = hidden(cloud(60, 80, 50, 40), 0.5)
    expected = np.zeros((SIDE, SIDE), dtype=bool)
    expected[60 - RIM_PX : 110 + RIM_PX, 80 - RIM_PX : 120 + RIM_PX] = True
    assert np.array_equal(found[1], expected)
    assert not found[0].any()


@pytest.mark.parametrize(("side", "believed"), [(SMALLEST_PX - 1, False), (SMALLEST_PX, True)])
def test_what_is_narrow_is_no_cloud_however_long(side: int, believed: bool) -> None:
    assert hidden(cloud(60, 20, side, 150), 0.5).any() == believed
    assert hidden(cloud(20, 60, 150, side), 0.5).any() == believed


def test_below_the_threshold_nothing_is_hidden() -> None:
    assert not hidden(cloud(60, 80, 50, 40), 0.95).any()
    assert hidden(cloud(60, 80, 50, 40), 0.05).all()


def test_a_cloud_that_goes_beyond_the_picture_is_hidden_up_to_the_edge() -> None:
    found = hidden(cloud(0, 0, 40, SIDE), 0.5)[1]
    assert found[: 40 + RIM_PX].all()
    assert not found[40 + RIM_PX :].any()


def test_pictures_that_overlap_agree_away_from_their_edges() -> None:
    rng = np.random.default_rng(3)
    probability = np.full((1, SIDE, SIDE), 0.1, dtype=np.float32)
    for _ in range(12):
        top, left = rng.integers(0, SIDE - 60, 2)
        height, width = rng.integers(15, 60, 2)
        probability[0, top : top + height, left : left + width] = 0.9
    whole = hidden(probability, 0.5)[0]
    margin = SMALLEST_PX + RIM_PX
    part = hidden(probability[:, 30:170, 20:180], 0.5)[0]
    inner = np.s_[margin:-margin, margin:-margin]
    assert 0.1 < whole.mean() < 0.9
    assert np.array_equal(part[inner], whole[30:170, 20:180][inner])
