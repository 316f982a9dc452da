"""From the mosaic of probabilities to patches, a few rows at a time: the rules of `inference.vectorise`, for a
raster that does not fit into memory.

A patch may be as large as the scene, so what decides about it (how many pixels reach the peak, which way it changed)
is counted over all of it first; a second pass draws the outlines. Both label each run of rows on its own and join
what touches across the seam.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import shapes
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from inference.findings import KINDS, Kind
from inference.model import Contract
from inference.scan.window import LEVELS, OBSERVED
from inference.vectorise import ONE_SIDED
from model.decision import MIN_OBJECT_PX, MIN_PEAK_PX, within

_PIXELS_AT_ONCE = 4_000_000
"""The fewer, the more outlines have to be joined: with a quarter of it tracing takes a third longer."""
_HALO = 2
"""Rows that opening with a 3 x 3 square looks at."""

Layers = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]
Numbers = NDArray[np.int64]
Rows = Callable[[int, int], Layers]
"""First and last row -> (4, rows, W) uint8: levels of `model.OUTPUTS`, and coverage."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch in pixels of the grid; a multipolygon where its parts meet in corners only."""

    kind: Kind
    polygon: BaseGeometry
    probability: float

    @property
    def rank(self) -> tuple[Any, ...]:
        """Sort key: the order of `inference.vectorise.find`."""
        return KINDS.index(self.kind), -self.probability, -self.polygon.area, self.polygon.bounds


def trace(rows: Rows, height: int, width: int, contract: Contract) -> Iterator[Patch]:
    """All patches, each as soon as it ends: their outlines take more memory than whoever uses them needs to keep."""
    step = min(height, max(16, _PIXELS_AT_ONCE // width))
    bands = [(top, min(height, top + step)) for top in range(0, height, step)]
    decided = _decide(rows, bands, contract)
    drawing = {kind: _Drawing(kind) for kind in KINDS}
    for top, found in _masks(rows, bands, contract, decided):
        for kind, drawn in drawing.items():
            yield from _calibrated(drawn.add(top, found[kind]), contract)
    for drawn in drawing.values():
        yield from _calibrated(drawn.close(), contract)


def _calibrated(patches: list[Patch], contract: Contract) -> Iterator[Patch]:
    return (replace(p, probability=contract.finding_probability(p.kind, p.probability)) for p in patches)


def _level(probability: float) -> int:
    """The lowest level that reaches a probability."""
    return math.ceil(probability * LEVELS - 1e-9)


def _changed(layers: Layers, contract: Contract) -> Mask:
    changed: Mask = (layers[2] >= _level(contract.threshold["change"])) & (layers[3] == OBSERVED)
    return changed


def _label(mask: Mask) -> tuple[int, Labels]:
    """Number of labels with the background, and the labels: 8-connected."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return count, np.asarray(labels, dtype=np.int32)


def _touching(above: Numbers, below: Numbers) -> set[tuple[int, int]]:
    """Pairs of labels (not 0) of two rows of pixels that touch, also in a corner."""
    pairs: set[tuple[int, int]] = set()
    for a, b in ((above, below), (above[:-1], below[1:]), (above[1:], below[:-1])):
        both = (a > 0) & (b > 0)
        pairs |= {(int(x), int(y)) for x, y in np.unique(np.stack([a[both], b[both]], axis=1), axis=0)}
    return pairs


def _sums(label: Labels, level: NDArray[np.uint8], inside: Mask, count: int) -> Numbers:
    """(4, count) by label: its pixels and their levels added up, of all of it and of what lies within its rim."""
    weights = (None, level, inside, level * inside)
    return np.stack([np.bincount(label, each, count) for each in weights]).astype(np.int64)


def _mean(sums: Numbers) -> NDArray[np.float64]:
    """Mean level within the rim, as `model.decision.inner_means`: (4, ...) -> (...)."""
    pixels, total, inner, inner_total = sums
    whole, within_rim = total / np.maximum(pixels, 1), inner_total / np.maximum(inner, 1)
    return np.asarray(np.where(inner > 0, within_rim, whole), dtype=np.float64)


class _Union:
    """Disjoint sets of numbers; the lowest speaks for its set."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def find(self, item: int) -> int:
        root = item
        while (up := self._parent.get(root, root)) != root:
            root = up
        while (up := self._parent.get(item, item)) != root:
            self._parent[item], item = root, up
        return root

    def join(self, a: int, b: int) -> None:
        a, b = self.find(a), self.find(b)
        if a != b:
            self._parent[max(a, b)] = min(a, b)

    def items(self) -> Iterator[tuple[int, int]]:
        """Each member that does not speak for itself, and who does."""
        return ((item, self.find(item)) for item in list(self._parent))


# --- First pass: which changed patches count, and which way they changed ----------------------------------


@dataclass(frozen=True, slots=True)
class _Decided:
    """By number of patch, the numbers of a run of rows starting at `base`.

    Attributes:
        counts: bool, whether the patch is kept.
        way: int8, 1 if all of it grew, -1 if all of it went, 0 if each pixel speaks for itself.
    """

    base: list[int]
    counts: Mask
    way: NDArray[np.int8]


def _decide(rows: Rows, bands: list[tuple[int, int]], contract: Contract) -> _Decided:
    base, sums = [0], [np.zeros((6, 1), np.int64)]
    union = _Union()
    above: Numbers | None = None
    peak = _level(contract.change_peak) if contract.change_peak > contract.threshold["change"] else 0
    for top, bottom in bands:
        first = max(0, top - contract.change_rim)  # a rim may lie in the rows above and below
        layers = rows(first, min(bands[-1][1], bottom + contract.change_rim))
        seen, here = _changed(layers, contract), slice(top - first, bottom - first)
        inside, layers = within(seen, contract.change_rim)[here], layers[:, here]
        count, labels = _label(seen[here])
        changed = np.flatnonzero(labels)
        label = labels.ravel()[changed]
        stood, stands, change, inner = (layer.ravel()[changed] for layer in (*layers[:3], inside))
        sums.append(
            np.stack([
                np.bincount(label[change >= peak], minlength=count),
                np.bincount(label[stands >= stood], minlength=count),
                *_sums(label, change, inner, count),
            ])[:, 1:]
        )  # fmt: skip
        numbers = np.where(labels[[0, -1]] > 0, labels[[0, -1]].astype(np.int64) + base[-1], 0)
        if above is not None:
            for a, b in _touching(above, numbers[0]):
                union.join(a, b)
        above = numbers[1]
        base.append(base[-1] + count - 1)
    parts = np.concatenate(sums, axis=1)
    root = np.arange(parts.shape[1])
    for item, speaker in union.items():
        root[item] = speaker
    certain, growing, *of_levels = (np.bincount(root, weights=x, minlength=len(root)) for x in parts)
    share = growing / np.maximum(of_levels[0], 1)
    way = np.where(share >= ONE_SIDED, 1, np.where(share <= 1 - ONE_SIDED, -1, 0)).astype(np.int8)
    mean = _mean(np.stack(of_levels))
    counts = (certain >= (MIN_PEAK_PX if peak else 0)) & (mean >= contract.change_mean * LEVELS)
    return _Decided(base, counts[root], way[root])


@dataclass(frozen=True, slots=True)
class _Band:
    """A run of rows of one kind, (rows, W) each.

    Attributes:
        inside: bool, what lies within the rim of its patch (model.decision).
        levels: what the probability is the mean of.
    """

    mask: Mask
    inside: Mask
    levels: NDArray[np.uint8]


def _masks(
    rows: Rows, bands: list[tuple[int, int]], contract: Contract, decided: _Decided
) -> Iterator[tuple[int, dict[Kind, _Band]]]:
    """First row and what there is of each kind, run by run."""
    before, after = _level(contract.threshold["structure_before"]), _level(contract.threshold["structure_after"])

    def classified(i: int) -> tuple[Layers, dict[Kind, Mask]]:
        """`remaining` still with the slivers that opening takes away."""
        layers = rows(*bands[i])
        count, labels = _label(_changed(layers, contract))
        numbers = slice(decided.base[i] + 1, decided.base[i] + count)
        change = np.concatenate([[False], decided.counts[numbers]])[labels]
        way = np.concatenate([np.zeros(1, np.int8), decided.way[numbers]])[labels]
        grows = np.where(way == 0, layers[1] >= layers[0], way > 0)
        standing = (layers[0] >= before) & (layers[1] >= after) & ~change & (layers[3] == OBSERVED)
        return layers, {"new": change & grows, "remaining": standing, "removed": change & ~grows}

    square, halo = np.ones((3, 3), np.uint8), _HALO + contract.change_rim
    current = classified(0)
    above = {kind: mask[:0] for kind, mask in current[1].items()}
    for i, (top, _) in enumerate(bands):
        following = classified(i + 1) if i + 1 < len(bands) else None
        layers, masks = current
        levels: dict[Kind, NDArray[np.uint8]]
        levels = {"new": layers[2], "remaining": np.minimum(layers[0], layers[1]), "removed": layers[2]}
        here: dict[Kind, _Band] = {}
        for kind, mask in masks.items():
            below = following[1][kind][:halo] if following else mask[:0]
            joined = np.concatenate([above[kind], mask, below])
            if kind == "remaining":
                joined = cv2.morphologyEx(joined.astype(np.uint8), cv2.MORPH_OPEN, square) > 0
            cut = slice(len(above[kind]), len(above[kind]) + len(mask))
            here[kind] = _Band(joined[cut], within(joined, contract.change_rim)[cut], levels[kind])
        yield top, here
        above = {kind: mask[-halo:] for kind, mask in masks.items()}
        if following:
            current = following


# --- Second pass: outlines --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Open:
    """A patch that may go on below."""

    sums: Numbers = field(default_factory=lambda: np.zeros(4, np.int64))
    """As of `_sums`."""
    pieces: list[BaseGeometry] = field(default_factory=list)
    joined: bool = False
    """From more than one run of rows."""


class _Drawing:
    """Patches of one kind, from top to bottom."""

    def __init__(self, kind: Kind) -> None:
        self._kind: Kind = kind
        self._open: dict[int, _Open] = {}
        self._last: Numbers | None = None
        """Number of the open patch of each pixel of the last row, 0 for none."""
        self._next = 1

    def add(self, top: int, band: _Band) -> list[Patch]:
        """Go on with some rows; returns the patches that ended."""
        count, labels = _label(band.mask)
        drawn = np.flatnonzero(labels)
        sums = _sums(labels.ravel()[drawn], band.levels.ravel()[drawn], band.inside.ravel()[drawn], count)
        first, last = labels[0], labels[-1]
        base = self._next  # label k becomes number base + k - 1
        self._next += count - 1
        union = _Union()
        if self._last is not None:
            for a, b in _touching(self._last, np.where(first > 0, first.astype(np.int64) + base - 1, 0)):
                union.join(a, b)
        small = sums[0] < MIN_OBJECT_PX
        small[np.unique(first)] = False
        small[np.unique(last)] = False
        small[0] = True
        shown = np.where(small, 0, np.arange(count, dtype=np.int32))[labels]
        merged: dict[int, _Open] = defaultdict(_Open)
        for number, patch in self._open.items():
            into = merged[union.find(number)]
            into.sums += patch.sums
            into.pieces += patch.pieces
            into.joined = True
        for label in np.flatnonzero(~small).tolist():
            merged[union.find(label + base - 1)].sums += sums[:, label]
        # In 4-connected pieces, because a ring that meets itself in a corner is no valid polygon.
        pieces = shapes(shown, mask=shown > 0, connectivity=4, transform=Affine.translation(0, top))
        for geometry, value in pieces if not small.all() else ():
            merged[union.find(int(value) + base - 1)].pieces.append(shape(geometry))
        alive = np.arange(base - 1, base - 1 + count, dtype=np.int64)
        alive[0] = 0
        for number, speaker in union.items():
            if number >= base:
                alive[number - base + 1] = speaker
        self._last = alive[last]
        going = set(np.unique(self._last).tolist())
        self._open = {number: patch for number, patch in merged.items() if number in going}
        return [p for number, patch in merged.items() if number not in going for p in self._patch(patch)]

    def close(self) -> list[Patch]:
        """The patches that reach the last row."""
        return [p for patch in self._open.values() for p in self._patch(patch)]

    def _patch(self, patch: _Open) -> list[Patch]:
        if patch.sums[0] < MIN_OBJECT_PX:
            return []
        outline = shapely.union_all(patch.pieces) if len(patch.pieces) > 1 else patch.pieces[0]
        if not outline.is_valid:
            outline = shapely.union_all([outline], grid_size=1)
        if patch.joined:  # there the outline has points on its straight sides, wherever the rows happened to end
            outline = shapely.simplify(outline, 0)
        return [Patch(self._kind, outline.normalize(), float(_mean(patch.sums)) / LEVELS)]
