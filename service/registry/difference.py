"""What one set of weights finds that another does not, at the same place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from inference.findings import KINDS, Finding

SAME_SHARE = 0.5
"""Two findings of one kind are the same if so much of the smaller one lies in the other."""


@dataclass(frozen=True, slots=True)
class Found:
    """A finding; `outline` in the coordinates that both sides share."""

    kind: str
    probability: float
    area_m2: float | None
    outline: BaseGeometry


def of_findings(findings: Iterable[Finding]) -> list[Found]:
    """Of a comparison, in pixels of the pair's grid."""
    return [Found(each.kind, each.probability, each.area_m2, each.polygon) for each in findings]


def of_features(collection: Mapping[str, Any]) -> list[Found]:
    """Of a scan's GeoJSON, in degrees."""
    found = []
    for each in collection["features"]:
        properties, outline = each["properties"], shape(each["geometry"])
        found.append(Found(properties["kind"], properties["probability"], properties["area_m2"], outline))
    return found


def difference(before: Sequence[Found], after: Sequence[Found]) -> tuple[list[Found], list[Found]]:
    """What came (gained) and what went (lost)."""
    return _without(after, before), _without(before, after)


def _without(some: Sequence[Found], others: Sequence[Found]) -> list[Found]:
    """Those of `some` that are not among the others."""
    kept: list[Found] = []
    for kind in KINDS:
        mine, theirs = ([each for each in side if each.kind == kind] for side in (some, others))
        tree = shapely.STRtree([each.outline.buffer(0) for each in theirs])
        for each in mine:
            outline = each.outline.buffer(0)
            near = tree.geometries.take(tree.query(outline, predicate="intersects"))
            shared = shapely.area(shapely.intersection(near, outline))
            if not (shared >= SAME_SHARE * shapely.area(near).clip(max=outline.area)).any():
                kept.append(each)
    return kept


def count(found: Iterable[Found]) -> dict[str, int]:
    """By kind."""
    counts = Counter(each.kind for each in found)
    return {kind: counts[kind] for kind in KINDS}
