"""Coordinate systems: the shifted ones are undone exactly, areas are true, nothing is guessed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod
from shapely.geometry import Point, box

from service.ledger.coordinates import UnknownSystem, area_m2, bd09, footprint, gcj02, system
from tests.ledgers import square

POINT = np.array([[116.2, 39.9]])
places = st.tuples(st.floats(72.1, 137.7), st.floats(0.95, 55.7))


def metres_apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(Geod(ellps="GRS80").inv(*one[0], *other[0])[2])


@given(places)
@pytest.mark.parametrize("name", ["GCJ-02", "BD-09"])
def test_shifted_systems_are_undone_to_less_than_a_billionth_of_a_degree(name: str, place: tuple[float, float]) -> None:
    named, points = system(name), np.array([place])
    shifted = named.from_wgs84(points)
    assert np.abs(named.to_wgs84(shifted) - points).max() < 1e-9
    assert np.abs(named.from_wgs84(named.to_wgs84(shifted)) - shifted).max() < 1e-9


def test_the_shift_is_the_known_one() -> None:
    # Tian'anmen in the three systems, as map services give it.
    wgs84 = np.array([[116.397228, 39.907511]])
    assert gcj02(wgs84)[0] == pytest.approx([116.403471, 39.908914], abs=2e-6)
    assert bd09(wgs84)[0] == pytest.approx([116.409845, 39.915255], abs=2e-6)
    assert 500 < metres_apart(POINT, gcj02(POINT)) < 580


def test_outside_china_gcj02_is_not_shifted() -> None:
    paris = np.array([[2.35, 48.85]])
    assert (gcj02(paris) == paris).all()


@pytest.mark.parametrize("name", ["WGS-84", "wgs84", "CGCS2000", "EPSG:4326", "EPSG:4490"])
def test_wgs84_and_cgcs2000_are_the_same_in_store(name: str) -> None:
    assert (system(name).to_wgs84(POINT) == POINT).all()


@pytest.mark.parametrize("name", ["EPSG:4548", "epsg:32650", "EPSG:3857"])
def test_projected_systems_go_there_and_back_easting_first(name: str) -> None:
    named = system(name)
    there = named.from_wgs84(POINT)
    assert not named.geographic
    assert np.abs(named.to_wgs84(there) - POINT).max() < 1e-9
    assert there[0, 0] < 500_000 or name == "EPSG:3857"
    assert there[0, 1] > 4_000_000


@pytest.mark.parametrize(
    "name", ["", "Beijing", "EPSG:0", "EPSG:4978", "EPSG:5773", "EPSG:", "火星", "+proj=longlat", "GCJ"]
)
def test_a_system_that_is_not_known_is_refused(name: str) -> None:
    with pytest.raises(UnknownSystem):
        system(name)


def test_a_square_of_100_m_measures_10_000_m2() -> None:
    assert area_m2(square(3000.0, -2000.0, 100.0)) == pytest.approx(10_000, rel=1e-3)
    geodesic = Geod(ellps="GRS80").geometry_area_perimeter(box(116.2, 39.9, 116.21, 39.91))[0]
    assert area_m2(box(116.2, 39.9, 116.21, 39.91)) == pytest.approx(abs(geodesic), rel=1e-5)


def test_a_point_covers_the_circle_around_it() -> None:
    assert area_m2(footprint(Point(116.2, 39.9), 50.0)) == pytest.approx(np.pi * 50**2, rel=5e-3)
