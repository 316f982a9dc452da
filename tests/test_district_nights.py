"""Nights over the made-up district: cleared lots are bare, sheds stand on their nights, the seed decides the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from shapely.geometry import Polygon, box

from datasets.district_nights import Shed, nights
from datasets.render import Look

SIZE, GSD = 192, 0.5
LOOK = Look(150, 54, 0.6, 1.0, 0.03, (0.0, 0.0), 7)
LOT = box(40, 40, 150, 150)
SHED = Shed(35, 35, 20, 14, (1,))


def seen(
    seed: int = 3, lots: Any = (), sheds: Any = (), looks: Any = (LOOK, LOOK), **options: Any
) -> list[NDArray[np.uint8]]:
    return nights(seed, size=SIZE, gsd=GSD, lots=lots, sheds=sheds, looks=looks, **options)


def inside(pixels: NDArray[np.uint8], margin: int = 6) -> NDArray[np.uint8]:
    """The pixels of the lot."""
    west, north, east, south = (int(value) for value in LOT.bounds)
    return pixels[north + margin : south - margin, west + margin : east - margin]


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not() -> None:
    first, second = seen(lots=[LOT], sheds=[SHED]), seen(lots=[LOT], sheds=[SHED])
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert (seen(4, lots=[LOT])[0] != first[0]).any()


def test_a_shed_stands_on_its_nights_and_changes_nothing_else() -> None:
    without, with_shed = seen(lots=[LOT]), seen(lots=[LOT], sheds=[SHED])
    assert (without[0] == with_shed[0]).all()
    differs = (without[1] != with_shed[1]).any(axis=2)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    # 20 x 14 m at 70, 70, a little turned, and its shadow
    assert 55 < columns[0] <= 70 < 108 <= columns[-1] < 135
    assert 45 < rows[0] <= 70 < 96 <= rows[-1] < 130


def test_nothing_but_ground_is_left_on_a_lot() -> None:
    """Between nights with other cars and another sun a bare lot stays the same; houses throw other shadows."""
    evening = Look(205, 40, 0.6, 1.0, 0.03, (0.0, 0.0), 8)
    change = [
        np.abs(inside(a).astype(int) - inside(b)).mean()
        for a, b in (seen(lots=lots, looks=(LOOK, evening)) for lots in ((), [LOT]))
    ]
    assert change[1] < 0.6 * change[0]


def test_a_lot_of_any_outline_is_cleared_and_its_surroundings_are_not() -> None:
    triangle = Polygon([(20, 20), (170, 30), (60, 160)])
    before, after = seen()[0], seen(lots=[triangle])[0]
    differs = (before != after).any(axis=2)
    assert differs[40:60, 60:90].mean() > 0.3  # streets across a lot stay
    assert not differs[170:, 130:].any()


def test_it_can_be_stopped() -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        seen(pause=stop)
