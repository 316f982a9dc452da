"""Leads with imagery: a generated district as a scene that can be shown, closed sites in it, what was built there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from rasterio.crs import CRS
from rasterio.warp import transform_geom
from shapely.affinity import affine_transform
from shapely.geometry import Polygon, box, mapping, shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from datasets.district import Changes, District, generate
from datasets.geotiff import write_geotiff
from service.ledger.audit import Actor, writing
from service.ledger.rebound import take_in
from service.ledger.rows import as_json
from service.ledger.schemas import ScanIn
from service.ledger.states import move_alert
from service.ledger.tables import Alert, Courtyard, Site
from service.scenes.recording import Record

REVIEWER, OTHER = Actor("wang"), Actor("li")
TAKEN = (datetime(2026, 3, 1, 2, tzinfo=UTC), datetime(2026, 3, 4, 2, tzinfo=UTC))
SHA256 = "ab" * 32
_MARGIN_M = 4.0


@cache
def district(seed: int = 4) -> District:
    """Half-metre imagery with structures that came and stayed."""
    return generate(seed, size=512, changes=Changes(new=6, removed=0, shift_px=0))


@dataclass(frozen=True)
class Leads:
    """What was planted: ids of alerts, the most urgent first; outlines of what is suspected, by code of the site."""

    alerts: list[str]
    outlines: dict[str, BaseGeometry]


def plant(
    engine: Engine, data_dir: Path, *, inspector: str | None = "zhao", nights: int = 1, imagery: bool = True
) -> Leads:
    """Closed sites around everything that is new in the district, and a scan that has found it.

    Args:
        nights: in how many scenes it is seen; two are dispatched at once.
        imagery: whether the scenes can be shown.
    """
    scene = district()
    assert scene.after.transform is not None
    placed = scene.after.transform
    matrix = [placed.a, placed.b, placed.d, placed.e, placed.c, placed.f]
    found = [affine_transform(each.polygon, matrix) for each in scene.structures if each.kind == "new"]
    found.sort(key=lambda polygon: -polygon.area)
    outlines = {f"L{number}": _lonlat(polygon) for number, polygon in enumerate(found, 1)}
    folder = data_dir / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    sides = {}
    for side, raster in (("before", scene.before), ("after", scene.after)):
        path = folder / f"{side}.tif"
        write_geotiff(raster, path)
        sides[side] = {"sources": [str(path.resolve())], "bands": [1, 2, 3], "range": [0, 255]} if imagery else None
    with Session(engine) as session, session.begin():
        for number, polygon in enumerate(found, 1):
            footprint = _lonlat(box(*polygon.buffer(_MARGIN_M).bounds))
            west, south, east, north = footprint.bounds
            code = f"L{number}"
            session.add(
                Site(
                    code=code, name=f"{number}号点位", system="collective", street="八角街道", land_m2=footprint.area,
                    building_m2=0, greened_m2=0, state="watched", closed_on=datetime(2017, 6, 30).date(),
                    geometry=as_json(footprint), west=west, south=south, east=east, north=north,
                    inspector=inspector, created_at=TAKEN[0], sensitivity=0.5,
                    courtyard=Courtyard(code=f"Y{number}", name=code, created_at=TAKEN[0]),
                )
            )  # fmt: skip
    everything = _lonlat(box(*_bounds(scene)))
    for night in range(nights):
        features = [
            {
                "type": "Feature",
                "properties": {
                    "kind": "new", "probability": round(0.95 - 0.1 * number, 2), "area_m2": polygon.area,
                    "area_error_m2": 5.0,
                },
                "geometry": mapping(_lonlat(polygon)),
            }
            for number, polygon in enumerate(found)
            if 0.95 - 0.1 * number >= 0.5
        ]  # fmt: skip
        given: dict[str, Any] = {
            "scene": f"night-{night}", "taken_at": TAKEN[night], "model_sha256": SHA256,
            "findings": {"type": "FeatureCollection", "features": features}, "coverage": mapping(everything),
        }  # fmt: skip
        scan = ScanIn.model_validate(given)
        record = Record(
            scan.record.features, name=f"night-{night}", before_at=TAKEN[0] - timedelta(days=365), gsd_m=0.5,
            before=sides["before"], after=sides["after"],
        )  # fmt: skip
        take_in(engine, scan.scan, 20, at=TAKEN[night], record=record)
    with Session(engine) as session:
        rows = session.execute(select(Alert.id, Site.code).join(Alert.site).order_by(Alert.probability.desc())).all()
        return Leads([row.id for row in rows], {row.code: outlines[row.code] for row in rows})


def dispatch(engine: Engine, alert_id: str, actor: Actor = REVIEWER) -> None:
    """Have a person send somebody to a lead that was seen once."""
    with writing(engine) as session:
        alert = session.get_one(Alert, alert_id)
        for source, target in (("suspected", "corroborated"), ("corroborated", "dispatched")):
            move_alert(session, alert, source, target, actor, "structure")


def _bounds(scene: District) -> tuple[float, float, float, float]:
    height, width = scene.after.pixels.shape[:2]
    assert scene.after.transform is not None
    (left, top), (right, bottom) = scene.after.transform @ (0, 0), scene.after.transform @ (width, height)
    return left, bottom, right, top


def _lonlat(polygon: Polygon) -> Polygon:
    found: Polygon = shape(transform_geom(CRS.from_epsg(32650), "EPSG:4326", mapping(polygon)))
    return found
