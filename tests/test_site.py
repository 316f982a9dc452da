"""Where photographs were taken, held against where the site is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from shapely.geometry import box, mapping

from datasets.gcj02 import gcj02
from inference.reasons import InputError
from inference.site import Place, Site, place_reasons
from tests.imagery import ground, raster

YARD = box(116.180, 39.910, 116.182, 39.911)
POLYGON = json.dumps(mapping(YARD))
LON_M, LAT_M = 1 / 85_400, 1 / 111_000  # degrees per metre here


def reasons(before: Place | None, after: Place | None, site: Site | None) -> tuple[list[str], list[str]]:
    first, second = (raster(ground(1, 64), place=place) for place in (before, after))
    refusals, notes = place_reasons(first, second, site)
    return [r.code for r in refusals], [r.code for r in notes]


def test_distance_is_metres_on_the_ground_from_the_outline() -> None:
    site = Site.parse(POLYGON)
    assert site.distance_m((116.181, 39.9105)) == pytest.approx(0, abs=1e-3)
    assert site.distance_m((116.182 + 300 * LON_M, 39.9105)) == pytest.approx(300, rel=0.01)
    assert site.distance_m((116.181, 39.911 + 300 * LAT_M)) == pytest.approx(300, rel=0.01)


def test_a_point_reaches_as_far_as_its_radius() -> None:
    site = Site.parse("116.18,39.91,80")
    assert site.distance_m((116.18 + 60 * LON_M, 39.91)) == 0
    assert site.distance_m((116.18 + 280 * LON_M, 39.91)) == pytest.approx(200, rel=0.01)


@pytest.mark.parametrize("text", [POLYGON, "116.18, 39.91, 80", "116.18，39.91，80"])
def test_a_site_survives_being_stored(text: str) -> None:
    site = Site.parse(text)
    again = Site.of(json.loads(json.dumps(site.document)))
    assert again.geometry.equals(site.geometry)
    assert again.radius_m == site.radius_m


@pytest.mark.parametrize(
    "text",
    ["", "here", "116.18,39.91", "116.18,39.91,0", "116.18,39.91,90000", "39.91,216.18,50", "nan,39.91,50", "{}", "{",
     '{"type": "Point", "coordinates": [116.18, 39.91]}', '{"type": "LineString", "coordinates": [[1, 1], [2, 2]]}',
     '{"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}', '{"type": "Polygon"}',
     '{"type": "Feature", "geometry": null}', '{"type": "FeatureCollection", "features": []}',
     '{"type": "Polygon", "coordinates": [[["a", 0], [1, 1], [1, 0]]]}',
     '{"type": "Polygon", "coordinates": [[[44000, 4418], [44010, 4418], [44010, 4428], [44000, 4418]]]}'],
)  # fmt: skip
def test_what_is_no_site_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Site.parse(text)
    assert caught.value.reason.code == "bad_site"


def test_photographs_taken_at_the_site_are_taken_without_a_word() -> None:
    across_the_road = (116.182 + 90 * LON_M, 39.9105)
    assert reasons((116.181, 39.9105), across_the_road, Site.parse(POLYGON)) == ([], [])


def test_a_photograph_from_elsewhere_is_refused_with_the_distance() -> None:
    first, second = raster(ground(1, 64)), raster(ground(1, 64), place=(116.182 + 2000 * LON_M, 39.9105))
    refusals, notes = place_reasons(first, second, Site.parse(POLYGON))
    assert notes == []
    assert refusals[0].code == "far_from_site"
    assert refusals[0].values["side"] == "after"
    assert refusals[0].values["metres"] == pytest.approx(2000, rel=0.01)


@pytest.mark.parametrize("place", [None, (116.5, 39.9)])
def test_nothing_is_said_where_place_or_site_is_unknown(place: Place | None) -> None:
    assert reasons(None, place, None) == ([], [])
    assert reasons(None, None, Site.parse(POLYGON)) == ([], [])


def test_a_place_shifted_as_amap_does_is_suspected_and_not_refused() -> None:
    shifted = gcj02(np.array([[116.181, 39.9105]]))[0]
    place = float(shifted[0]), float(shifted[1])
    site = Site.parse(POLYGON)
    assert site.distance_m(place) > 400
    refusals, notes = place_reasons(raster(ground(1, 64), place=place), raster(ground(1, 64)), site)
    assert (refusals, notes[0].code, notes[0].values["whose"]) == ([], "gcj02_suspected", "photo_position")
    assert "GCJ-02" in notes[0].say("zh")


def test_a_site_shifted_as_amap_does_is_suspected_too() -> None:
    corners = gcj02(np.array(YARD.exterior.coords))
    site = Site.parse(json.dumps({"type": "Polygon", "coordinates": [corners.tolist()]}))
    refusals, notes = place_reasons(raster(ground(1, 64), place=(116.181, 39.9105)), raster(ground(1, 64)), site)
    assert (refusals, notes[0].code, notes[0].values["whose"]) == ([], "gcj02_suspected", "site_position")


def test_outside_of_china_nothing_is_shifted() -> None:
    assert reasons(None, (2.36, 48.85), Site.parse("2.35,48.85,50")) == (["far_from_site"], [])
