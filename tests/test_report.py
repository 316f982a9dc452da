"""One JSON shape for every assessment, and GeoJSON that any map can read."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from shapely.geometry import LinearRing, Polygon, box, shape

from datasets.raster import Raster
from inference.findings import Assessment, Finding, Layers, Verdict, VerdictKind
from inference.pair import Pair, Registration
from inference.reasons import Reason
from inference.report import feature_collection, report
from inference.vectorise import find
from tests.imagery import MagentaModel, located, raster

SIDE = 200
VERDICT = Verdict(VerdictKind.NEW, (), (Reason("no_dates"),), 1.0, "m", "1", "ab")
TAKEN = datetime(2017, 9, 20, 3, 31, tzinfo=UTC)


def layers() -> Layers:
    """Two new structures, one of them with a yard and one that touches at a corner; one remaining, one removed."""
    before, after, change = (np.zeros((SIDE, SIDE), dtype=np.float32) for _ in range(3))
    after[20:80, 20:80] = change[20:80, 20:80] = 0.9
    after[40:60, 40:60] = change[40:60, 40:60] = 0.1
    after[80:100, 80:100] = change[80:100, 80:100] = 0.9
    after[120:140, 20:60] = change[120:140, 20:60] = 0.8
    before[150:180, 20:60] = after[150:180, 20:60] = 0.7
    before[20:40, 120:160] = change[20:40, 120:160] = 0.6
    return Layers(before, after, change)


def assessed(before: Raster, after: Raster | None = None) -> Assessment:
    pair = Pair(before, after or before, Registration("georeference", 0, 1.0, 0.21))
    return Assessment(VERDICT, find(pair, layers(), MagentaModel.contract), pair, layers())


def even(**fields: Any) -> Raster:
    return raster(np.full((SIDE, SIDE, 3), 100, dtype=np.uint8), **fields)


def on_map(**fields: Any) -> Raster:
    return located(np.full((SIDE, SIDE, 3), 100, dtype=np.uint8), **fields)


REFUSED = Assessment(Verdict(VerdictKind.NOT_COMPARABLE, (Reason("too_dark", {"side": "after"}),)))
ALL = {
    "on a map": assessed(on_map(), on_map(captured_at=TAKEN)),
    "metres only": assessed(even(gsd=0.5)),
    "pixels only": assessed(even()),
    "refused": REFUSED,
}


@pytest.mark.parametrize("name", ALL)
def test_every_report_is_strict_json(name: str) -> None:
    result = report(ALL[name])
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_what_was_not_observed_is_outlined_with_its_holes() -> None:
    after = even()
    after.valid[20:80, 30:100] = False
    after.valid[40:60, 50:70] = True
    after.valid[150, 150] = False  # too little to draw
    (rings,) = report(assessed(even(), after))["verdict"]["unobserved_px"]
    assert Polygon(rings[0], rings[1:]).equals(box(30, 20, 100, 80) - box(50, 40, 70, 60))
    assert report(ALL["pixels only"])["verdict"]["unobserved_px"] == report(REFUSED)["verdict"]["unobserved_px"] == []


@pytest.mark.parametrize("name", ALL)
def test_every_report_has_the_same_keys(name: str) -> None:
    result = report(ALL[name])
    assert list(result) == ["kind", "verdict", "findings", "totals", "registration", "images", "views", "model"]
    assert list(result["verdict"]) == ["kind", "reasons", "notes", "observed_share", "unobserved_px"]
    assert list(result["totals"]) == ["new", "remaining", "removed"]
    for total in result["totals"].values():
        assert list(total) == ["count", "area_px", "area_m2"]
    for finding in result["findings"]:
        assert list(finding) == [
            "id", "kind", "probability", "area_px", "area_m2", "area_error_m2", "polygon_px", "centroid_lonlat",
        ]  # fmt: skip


def test_a_report_says_what_was_compared() -> None:
    result = report(ALL["on a map"])
    direct = {"model": "georeference", "inliers": 0, "overlap": 1.0, "residual_px": 0.21}
    assert result["registration"] == direct | {"planes": 0, "overlap_polygon": None}
    assert result["images"]["after"] == {
        "name": "", "width": SIDE, "height": SIDE, "gsd": 0.5, "crs": "EPSG:32650",
        "captured_at": "2017-09-20T03:31:00+00:00", "place": None,
    }  # fmt: skip
    assert result["images"]["before"]["captured_at"] is None
    assert result["model"] == {"name": "m", "version": "1", "sha256": "ab"}


def test_a_refused_pair_is_reported_by_codes_and_figures() -> None:
    result = report(REFUSED)
    assert result["verdict"]["kind"] == "not_comparable"
    assert result["verdict"]["reasons"] == [{"code": "too_dark", "values": {"side": "after"}}]
    assert (result["findings"], result["registration"], result["images"], result["model"]) == ([], None, None, None)
    assert result["totals"]["new"] == {"count": 0, "area_px": 0, "area_m2": 0.0}


@pytest.mark.parametrize("name", ["on a map", "metres only"])
def test_totals_are_the_sums_of_the_findings(name: str) -> None:
    result = report(ALL[name])
    counts = {"new": 2, "remaining": 1, "removed": 1}
    for kind, total in result["totals"].items():
        findings = [finding for finding in result["findings"] if finding["kind"] == kind]
        assert total["count"] == len(findings) == counts[kind]
        assert total["area_px"] == pytest.approx(sum(finding["area_px"] for finding in findings))
        assert total["area_m2"] == pytest.approx(sum(finding["area_m2"] for finding in findings), abs=0.1)


def test_the_total_of_unknown_areas_is_unknown() -> None:
    totals = report(ALL["pixels only"])["totals"]
    assert totals["new"] == {"count": 2, "area_px": 60 * 60 - 400 + 400 + 800, "area_m2": None}


def test_findings_are_numbered_from_one() -> None:
    assert [finding["id"] for finding in report(ALL["on a map"])["findings"]] == [1, 2, 3, 4]


def test_the_point_of_a_finding_lies_in_it() -> None:
    hollow = ALL["on a map"].findings[0]
    yard = Polygon(box(0, 0, 10, 10).exterior, [box(1, 1, 9, 9).exterior])
    point = report(replace(ALL["on a map"], findings=(replace(hollow, lonlat=yard),)))["findings"][0]["centroid_lonlat"]
    x, y = point
    assert not (1 < x < 9 and 1 < y < 9)


# --- GeoJSON ----------------------------------------------------------------------------------------------


def features() -> list[dict[str, Any]]:
    collection = feature_collection(ALL["on a map"])
    assert collection["type"] == "FeatureCollection"
    assert "crs" not in collection
    return list(collection["features"])


def test_every_finding_is_a_feature_in_longitude_and_latitude() -> None:
    assert [feature["id"] for feature in features()] == [1, 2, 3, 4]
    for feature in features():
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] == "Polygon"
        for ring in feature["geometry"]["coordinates"]:
            for lon, lat in ring:
                assert lon == pytest.approx(116.2, abs=0.02)
                assert lat == pytest.approx(39.9, abs=0.02)


def test_rings_are_closed_and_turn_as_the_standard_wants() -> None:
    holes = 0
    for feature in features():
        outer, *inner = feature["geometry"]["coordinates"]
        assert all(len(ring) >= 4 and ring[0] == ring[-1] for ring in (outer, *inner))
        assert LinearRing(outer).is_ccw
        assert not any(LinearRing(ring).is_ccw for ring in inner)
        holes += len(inner)
    assert holes == 1


def test_rings_turn_the_same_way_whichever_way_they_were_traced() -> None:
    frame = Polygon(box(116, 39, 117, 40).exterior, [box(116.2, 39.2, 116.8, 39.8).exterior])
    for traced in (frame, frame.reverse()):
        finding = replace(ALL["on a map"].findings[0], lonlat=traced)
        (feature,) = feature_collection(Assessment(VERDICT, (finding,)))["features"]
        outer, inner = feature["geometry"]["coordinates"]
        assert LinearRing(outer).is_ccw
        assert not LinearRing(inner).is_ccw


def test_a_feature_covers_what_the_finding_covers() -> None:
    for feature, finding in zip(features(), ALL["on a map"].findings, strict=True):
        assert finding.lonlat is not None
        assert shape(feature["geometry"]).area == pytest.approx(finding.lonlat.area, rel=1e-3)


def test_a_feature_says_that_it_is_suspected_and_by_whom() -> None:
    properties = features()[0]["properties"]
    assert properties["status"] == "suspected"
    assert properties["kind"] == "new"
    assert properties["captured_at"] == "2017-09-20T03:31:00+00:00"
    assert properties["model_sha256"] == "ab"
    assert "polygon_px" not in properties


def test_geojson_is_strict_json() -> None:
    collection = feature_collection(ALL["on a map"])
    assert json.loads(json.dumps(collection, allow_nan=False)) == collection


@pytest.mark.parametrize("name", ["metres only", "pixels only", "refused"])
def test_without_a_georeference_the_collection_is_empty(name: str) -> None:
    assert feature_collection(ALL[name]) == {"type": "FeatureCollection", "features": []}


def test_a_finding_without_a_pair_has_no_date() -> None:
    finding = Finding(box(0, 0, 9, 9), "new", 0.9, 81, 81, 1, box(116, 39, 116.1, 39.1))
    (feature,) = feature_collection(Assessment(VERDICT, (finding,)))["features"]
    assert feature["properties"]["captured_at"] is None
