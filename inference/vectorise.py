"""From probabilities per pixel to findings with polygons, areas and probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from rasterio.features import shapes
from shapely.geometry import Polygon, shape
from shapely.geometry.base import BaseGeometry

from inference.findings import Finding, Kind, Layers
from inference.model import Contract
from inference.pair import Pair
from model.decision import MIN_OBJECT_PX, hysteresis, inner_means

_SIMPLIFY_PX = 0.75
ONE_SIDED = 0.75
"""A changed patch of which this share points one way is taken to point that way altogether."""
_GEOD = Geod(ellps="WGS84")

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]
Project = Callable[[Numbers], Numbers]
"""(N, 2) pixel coordinates x, y -> (N, 2) longitude, latitude."""


@dataclass(frozen=True, slots=True)
class KindMasks:
    """Which pixels belong to which kind, (H, W) bool each; they do not overlap."""

    new: Mask
    remaining: Mask
    removed: Mask


def classify(layers: Layers, observed: Mask, contract: Contract) -> KindMasks:
    """Threshold the probabilities and tell growth from removal.

    A changed patch is `new` where more structure is seen after than before. The direction is decided for the
    patch, not for each pixel, unless both directions have a considerable share of it.
    """
    t = contract.threshold
    seen = np.where(observed, layers.change, np.float32(0))  # what is not observed vouches for nothing
    change = hysteresis(seen, t["change"], *contract.change_least)
    grows = layers.structure_after >= layers.structure_before
    count, labels = cv2.connectedComponents(change.astype(np.uint8), connectivity=8)
    size = np.bincount(labels.ravel(), minlength=count)
    share = np.bincount(labels.ravel(), weights=grows.ravel(), minlength=count) / np.maximum(size, 1)
    share = share[labels]
    grows = np.where(share >= ONE_SIDED, True, np.where(share <= 1 - ONE_SIDED, False, grows))
    before = layers.structure_before >= t["structure_before"]
    after = layers.structure_after >= t["structure_after"]
    standing = before & after & ~change & observed
    # Where a roof leans, or its edge moved by a pixel, slivers are left between the masks of the two dates.
    remaining = cv2.morphologyEx(standing.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    return KindMasks(new=change & grows, remaining=remaining, removed=change & ~grows)


def outlines(mask: Mask) -> list[Polygon]:
    """Patches of a mask, (H, W) bool, from `MIN_OBJECT_PX` on, traced and simplified; pixels, (x, y)."""
    if not mask.any():  # as of most pairs; tracing would go through all of it
        return []
    traced = (
        cast(Polygon, shape(geometry)) for geometry, _ in shapes(mask.astype(np.uint8), mask=mask, connectivity=8)
    )
    return [_simplified(outline) for outline in traced if outline.area >= MIN_OBJECT_PX]


def find(pair: Pair, layers: Layers, contract: Contract) -> tuple[Finding, ...]:
    """All findings of a pair, the most probable first within each kind (`new`, `remaining`, `removed`)."""
    masks = classify(layers, pair.observed, contract)
    standing = np.minimum(layers.structure_before, layers.structure_after)
    by_kind: tuple[tuple[Kind, Mask, NDArray[np.float32]], ...] = (
        ("new", masks.new, layers.change),
        ("remaining", masks.remaining, standing),
        ("removed", masks.removed, layers.change),
    )
    found: list[Finding] = []
    for kind, mask, probability in by_kind:
        patches = _patches(pair, kind, mask, probability, contract)
        found += sorted(patches, key=lambda f: (-f.probability, -f.area_px, f.polygon.bounds))
    return tuple(found)


def _patches(pair: Pair, kind: Kind, mask: Mask, probability: NDArray[np.float32], contract: Contract) -> list[Finding]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    sizes = stats[:, cv2.CC_STAT_AREA]
    means = inner_means(probability, np.asarray(labels, dtype=np.int32), count, contract.change_rim)
    kept = sizes >= MIN_OBJECT_PX
    kept[0] = False
    labels = np.where(kept[labels], labels, 0).astype(np.int32)
    project = _to_lonlat(pair)
    findings = []
    for geometry, value in shapes(labels, mask=labels > 0, connectivity=8):
        label = int(value)
        outline = cast(Polygon, shape(geometry))
        area_px = float(outline.area)
        area_m2 = area_error_m2 = None
        if project is not None:  # of the outline as traced: simplifying it would change the area
            area_m2 = abs(_GEOD.geometry_area_perimeter(shapely.transform(outline, project))[0])
        elif pair.gsd is not None:
            area_m2 = area_px * pair.gsd**2
        if area_m2 is not None:
            area_error_m2 = area_error(area_m2, outline, contract.area_error_px)
        polygon = _simplified(outline)
        lonlat = None if project is None else shapely.transform(polygon, project)
        likely = contract.finding_probability(kind, float(means[label]))
        findings.append(Finding(polygon, kind, likely, area_px, area_m2, area_error_m2, lonlat))
    return findings


def area_error(area: float, outline: BaseGeometry, area_error_px: float) -> float:
    """Standard error of an area, in its unit.

    Along the outline the error of the edge is one and the same (a shadow, a lean), so it grows with the length of it.

    Args:
        outline: as traced, in pixels.
        area_error_px: pixels per pixel of outline (`Contract`).
    """
    return float(area * area_error_px * outline.length / outline.area)


def _simplified(outline: Polygon) -> Polygon:
    """Fewer points, at most `_SIMPLIFY_PX` off; diagonal neighbours that only touch are left as traced."""
    result = outline.simplify(_SIMPLIFY_PX, preserve_topology=True)
    return result if isinstance(result, Polygon) and result.is_valid and not result.is_empty else outline


def _to_lonlat(pair: Pair) -> Project | None:
    """None without a georeference."""
    crs, affine = pair.before.crs, pair.before.transform
    if crs is None or affine is None:
        return None
    transformer = Transformer.from_crs(CRS.from_user_input(crs), 4326, always_xy=True)

    def project(xy: Numbers) -> Numbers:
        x, y = xy.T
        map_x, map_y = affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f
        return np.stack(transformer.transform(map_x, map_y), axis=1)

    return project
