"""Findings of consecutive nights, matched into tracks: one for each structure, however often it is seen.

Outlines of one structure, drawn on two nights, overlap by half and more; those of neighbours do not overlap at all. So
they are matched one to one by intersection over union, the best pairs first (as IoU trackers do: Bochinski et al.,
"High-speed tracking-by-detection without using image information", AVSS 2017). Findings of one night lie side by side:
where one has two partners they are its own halves, and the assignment that is best on the whole (Kuhn 1955) would take
the same larger half first. The order of the input changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from inference.findings import Kind

MIN_IOU = 0.3
"""Drawn 2 m off across its corner, an outline of 10 m keeps an IoU of 0.47, one of 8 m of 0.39."""
SMALL_M2, NEAR_M, ALIKE = 60.0, 5.0, 3.0
"""Smaller ones may miss each other by what two scenes are off. They are one if their centres are so near and the one is
at most so many times as large as the other."""
MAX_MISSES = 3
"""Nights in a row that saw the place and not the structure, after which a track ends. One that is there is missed now
and then, but three times in a row only by 1 in 100 even where every fifth look misses it."""
SEEN_SHARE = 0.5
"""Share of an outline that a night must have seen to say that the structure is not there."""
LOOKS = 2
"""Seen on so many days, a track is corroborated."""

_GOES_ON: dict[Kind, frozenset[Kind]] = {
    "new": frozenset({"new", "remaining"}),  # against the night before, what was new last night remains tonight
    "remaining": frozenset({"remaining"}),
    "removed": frozenset({"removed"}),
}


@dataclass(frozen=True, slots=True)
class Structure:
    """What a track was seen as last, or a finding: its kind, and its outline in metres."""

    kind: Kind
    outline: BaseGeometry


@dataclass(frozen=True, slots=True)
class Step:
    """What a night says of the tracks there were. Numbers are places in the sequences given.

    Attributes:
        matched: (track, finding), by track.
        started: findings that belong to no track yet.
        missed: tracks whose place was seen, without the structure.
        unseen: tracks whose place was not seen; nothing is known of them.
    """

    matched: tuple[tuple[int, int], ...]
    started: tuple[int, ...]
    missed: tuple[int, ...]
    unseen: tuple[int, ...]


def step(tracks: Sequence[Structure], found: Sequence[Structure], covered: BaseGeometry | None) -> Step:
    """Match the findings of a night with the tracks that are open.

    Args:
        covered: what was seen, in metres; None where that is not known, and then nothing is missed.
    """
    matched = match(tracks, found)
    going_on, used = {track for track, _ in matched}, {finding for _, finding in matched}
    left = [number for number in range(len(tracks)) if number not in going_on]
    missed = tuple(number for number in left if covered is not None and _seen(tracks[number].outline, covered))
    return Step(
        matched,
        tuple(number for number in range(len(found)) if number not in used),
        missed,
        tuple(number for number in left if number not in missed),
    )


def match(tracks: Sequence[Structure], found: Sequence[Structure]) -> tuple[tuple[int, int], ...]:
    """(track, finding), one to one, by track."""
    if not tracks or not found:
        return ()
    tree = shapely.STRtree([each.outline for each in found])
    outlines = np.array([each.outline for each in tracks], dtype=object)
    near = tree.query(outlines, predicate="dwithin", distance=NEAR_M).T.tolist()
    scored = [(agreement(tracks[i], found[j]), i, j) for i, j in near]
    scored.sort(key=lambda entry: (-entry[0], _place(tracks[entry[1]]), _place(found[entry[2]])))
    by_track: dict[int, int] = {}
    for score, i, j in scored:
        if score > 0 and i not in by_track and j not in by_track.values():
            by_track[i] = j
    return tuple(sorted(by_track.items()))


def agreement(track: Structure, finding: Structure) -> float:
    """How well a finding goes on with a track, 0..1; 0 if it is another structure."""
    if finding.kind not in _GOES_ON[track.kind]:
        return 0.0
    a, b = track.outline, finding.outline
    shared = a.intersection(b).area
    iou = shared / (a.area + b.area - shared)
    if iou >= MIN_IOU:
        return float(iou)
    low, high = sorted((a.area, b.area))
    apart = a.centroid.distance(b.centroid)
    if high > SMALL_M2 or high > ALIKE * low or apart >= NEAR_M:
        return 0.0
    return float(MIN_IOU * (1 - apart / NEAR_M))  # behind every pair that overlaps


def _seen(outline: BaseGeometry, covered: BaseGeometry) -> bool:
    return bool(outline.intersection(covered).area >= SEEN_SHARE * outline.area)


def _place(structure: Structure) -> tuple[float, ...]:
    return structure.outline.bounds
