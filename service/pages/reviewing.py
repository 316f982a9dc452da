"""What a person says of the findings, ready for the page: beside what the machine found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shapely.geometry import LinearRing, Polygon

from inference.findings import Kind
from service.api.corrections import ReviewOut
from service.corrections.review import Outline, State, corrections_of
from service.corrections.tables import PairReview
from service.database import PairRow
from service.language import say
from service.pages import view

MOST_CORNERS = 24
"""More cannot be grasped by hand."""


@dataclass(frozen=True, slots=True)
class HandView:
    """An outline that a person drew. `id` is that of the finding, or `drawn-1`, `drawn-2`, ... of the overlooked."""

    id: str
    kind: Kind
    path: str
    left: str
    top: str
    close_up: str


@dataclass(frozen=True, slots=True)
class ReviewView:
    """All that a person says of a pair.

    Attributes:
        document: the same, for the script.
        said: of which finding what.
        redrawn, drawn: outlines of findings, and of what was overlooked.
        corners: of each finding, to begin with when it is redrawn: "x,y x,y ..." in pixels.
    """

    document: Mapping[str, Any]
    status: str
    said: Mapping[int, State]
    redrawn: Sequence[HandView]
    drawn: Sequence[HandView]
    corners: Mapping[int, str]


def review(row: PairRow, found: PairReview | None, language: str) -> ReviewView | None:
    """What the page of a finished pair shows of it; None where there is nothing to say anything of."""
    if row.report is None or not row.width or not row.height or row.verdict == "not_comparable":
        return None
    status, corrections = say(language, "review.status_none"), []
    if found is not None:
        corrections = corrections_of(found)
        moment = view.moment(found.reviewed_at, language)
        status = say(language, "review.status_by", person=found.actor, moment=moment)
    hands: dict[bool, list[HandView]] = {True: [], False: []}
    for each in corrections:
        if each.outline is None:
            continue
        group = hands[each.finding is None]
        name = f"drawn-{len(group) + 1}" if each.finding is None else str(each.finding)
        group.append(_hand(name, each.kind, each.outline, row.width, row.height))
    return ReviewView(
        document=ReviewOut.of(found).model_dump(mode="json"),
        status=status,
        said={each.finding: each.state for each in corrections if each.finding is not None},
        redrawn=hands[False],
        drawn=hands[True],
        corners={item["id"]: _corners(item["polygon_px"][0]) for item in row.report["findings"]},
    )


def _hand(name: str, kind: Kind, outline: Outline, width: int, height: int) -> HandView:
    polygon = Polygon(outline)
    left, top = view.place(polygon, width, height)
    return HandView(name, kind, view.path([outline]), left, top, view.close_up(polygon.bounds, width, height))


def _corners(ring: Sequence[tuple[float, float]]) -> str:
    """A ring with no more corners than a person can grasp, and not the first of them once more."""
    outline, tolerance = LinearRing(ring).simplify(0), 0.5
    while len(outline.coords) > MOST_CORNERS + 1:
        outline = LinearRing(ring).simplify(tolerance)
        tolerance *= 1.5
    return " ".join(f"{x:g},{y:g}" for x, y in list(outline.coords)[:-1])
