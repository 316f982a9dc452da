"""A scan leaves a scene and its findings in the database, in the transaction in which it is laid over the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import shapely
from shapely.geometry import MultiPolygon, shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy.orm import Session

from service.ledger.coordinates import area_m2
from service.ledger.rows import as_json
from service.ledger.watch import Scan
from service.scenes.tables import ScanFinding, SceneRow


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a scan besides its looks at sites.

    Attributes:
        features: GeoJSON features in WGS-84 of all findings, with `kind`, `probability`, `area_m2`, `area_error_m2`.
        name: what a person calls the scene; its id if not given.
        bounds: (west, south, east, north) of what was asked for, in degrees; otherwise of what is known of it.
        before, after: imagery as `service.scenes.tables.SceneRow` keeps it; None where it may not be shown.
    """

    features: Sequence[Mapping[str, Any]]
    name: str | None = None
    before_at: datetime | None = None
    gsd_m: float | None = None
    bounds: tuple[float, float, float, float] | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    probability_path: str | None = None


def keep(session: Session, scan: Scan, record: Record, at: datetime) -> SceneRow | None:
    """Write the scene of a scan, unless there is one with this id or nothing is known of where it lies.

    Returns:
        The scene if it is new.
    """
    if session.get(SceneRow, scan.scene) is not None:
        return None
    findings = [_finding(scan.scene, number, each) for number, each in enumerate(record.features, 1)]
    bounds = record.bounds or _bounds(scan, findings)
    if bounds is None:
        return None
    west, south, east, north = bounds
    scene = SceneRow(
        id=scan.scene, name=record.name or scan.scene, before=record.before, after=record.after,
        probability_path=record.probability_path, before_at=record.before_at, taken_at=scan.taken_at,
        gsd_m=record.gsd_m, west=west, south=south, east=east, north=north,
        coverage=None if scan.covered is None else as_json(_multi(scan.covered)),
        model_sha256=scan.model_sha256, findings_count=len(findings), created_at=at,
    )  # fmt: skip
    session.add(scene)
    session.flush()
    session.add_all(findings)
    session.flush()
    return scene


def _finding(scene: str, number: int, feature: Mapping[str, Any]) -> ScanFinding:
    properties, outline = feature["properties"], shape(feature["geometry"])
    area = properties.get("area_m2")
    west, south, east, north = outline.bounds
    return ScanFinding(
        scene_id=scene, number=number, kind=properties["kind"], probability=properties["probability"],
        area_m2=area_m2(outline) if area is None else area, area_error_m2=properties.get("area_error_m2"),
        geometry=as_json(outline), west=west, south=south, east=east, north=north,
    )  # fmt: skip


def _bounds(scan: Scan, findings: Iterable[ScanFinding]) -> tuple[float, float, float, float] | None:
    boxes = [shapely.box(each.west, each.south, each.east, each.north) for each in findings]
    known = shapely.union_all([*boxes, *([] if scan.covered is None else [scan.covered])])
    if known.is_empty:
        return None
    west, south, east, north = known.bounds
    return west, south, east, north


def _multi(geometry: BaseGeometry) -> MultiPolygon:
    """The polygons of a geometry; lines and points that cutting leaves are dropped."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return MultiPolygon([part for part in parts if part.geom_type == "Polygon"])
