"""What a person says of the findings, as the page shows it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from shapely.geometry import LinearRing, Polygon

from service.corrections.tables import PairReview
from service.database import PairRow
from service.pages.reviewing import MOST_CORNERS, review

AT = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
SQUARE = [[10.0, 10.0], [40.0, 10.0], [40.0, 30.0], [10.0, 30.0]]


def pair(ring: Any, **values: Any) -> PairRow:
    found = {"id": 1, "kind": "new", "polygon_px": [ring]}
    return PairRow(**{"report": {"findings": [found]}, "width": 256, "height": 200, "verdict": "new", **values})


def said(*corrections: Any) -> PairReview:
    return PairReview(pair_id="0", version=3, corrections=list(corrections), actor="王芳", reviewed_at=AT)


def corners(text: str) -> list[tuple[float, ...]]:
    return [tuple(map(float, corner.split(","))) for corner in text.split(" ")]


def test_a_finding_begins_with_its_own_corners_each_once() -> None:
    shown = review(pair([*SQUARE, SQUARE[0]]), None, "zh")
    assert shown is not None
    assert corners(shown.corners[1]) == [tuple(corner) for corner in SQUARE]
    assert (shown.document["version"], shown.status, dict(shown.said)) == (0, "还没有人更正。", {})


def test_an_outline_of_many_corners_keeps_its_shape_with_few() -> None:
    ring = [
        (100 + (60 + 3 * math.sin(9 * turn)) * math.cos(turn), 100 + (60 + 3 * math.sin(9 * turn)) * math.sin(turn))
        for turn in (2 * math.pi * i / 400 for i in range(400))
    ]
    shown = review(pair(ring), None, "zh")
    assert shown is not None
    few = corners(shown.corners[1])
    assert 8 <= len(few) <= MOST_CORNERS
    assert LinearRing(few).is_simple
    overlap = Polygon(few).intersection(Polygon(ring)).area / Polygon(few).union(Polygon(ring)).area
    assert overlap > 0.93


def test_what_was_drawn_by_hand_is_told_from_what_was_found() -> None:
    corrections = (
        {"finding": 1, "accepted": True, "kind": "new", "outline": SQUARE},
        {"finding": None, "accepted": True, "kind": "removed", "outline": SQUARE},
        {"finding": None, "accepted": True, "kind": "new", "outline": SQUARE},
    )
    shown = review(pair(SQUARE), said(*corrections), "en")
    assert shown is not None
    assert shown.said == {1: "redrawn"}
    assert [each.id for each in shown.redrawn] == ["1"]
    assert [(each.id, each.kind) for each in shown.drawn] == [("drawn-1", "removed"), ("drawn-2", "new")]
    assert shown.drawn[0].path == "M10 10L40 10L40 30L10 30Z"
    assert shown.status == "Corrected by 王芳, 2026-03-02 09:30."
    assert shown.document["corrections"][1]["kind"] == "removed"


@pytest.mark.parametrize("values", [{"report": None}, {"width": None}, {"verdict": "not_comparable"}])
def test_there_is_nothing_to_say_of_a_refused_pair(values: dict[str, Any]) -> None:
    assert review(pair(SQUARE, **values), None, "zh") is None
