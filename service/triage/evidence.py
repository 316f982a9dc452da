"""What there is to see of a lead: its looks, the imagery of each, and outlines on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, urlencode

import numpy as np
import shapely
from shapely.geometry import Point, shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.ledger.coordinates import System, footprint, local_metres
from service.ledger.tables import Alert, Observation, Site
from service.scenes.imagery import Layer, layers
from service.scenes.tables import ScanFinding, SceneRow

SIZE_PX = 512
"""Of cut-outs: more than imagery has to show of so little ground, and little enough for a telephone."""
_MARGIN = 1.0
"""Ground around a finding on either side, as a share of its longer side."""
_NARROWEST_M, _WIDEST_M = 60.0, 600.0
SIDES: tuple[Layer, Layer] = ("before", "after")


@dataclass(frozen=True)
class View:
    """A square piece of ground, north up, as `service.scenes.imagery.chip` cuts it out.

    Attributes:
        lon, lat: of its middle, WGS-84.
        metres: width and height on the ground.
    """

    lon: float
    lat: float
    metres: int

    @classmethod
    def around(cls, geometry: BaseGeometry) -> View:
        """With room to see what surrounds a geometry in WGS-84."""
        west, south, east, north = geometry.bounds
        middle = local_metres(*_rounded((west + east) / 2, (south + north) / 2))
        left, bottom, right, top = middle.export_geometry(geometry).bounds
        side = max(right - left, top - bottom) * (1 + 2 * _MARGIN)
        metres = math.ceil(min(max(side, _NARROWEST_M), _WIDEST_M) / 10) * 10
        return cls(*_rounded((west + east) / 2, (south + north) / 2), metres)

    @cached_property
    def _ground(self) -> System:
        return local_metres(self.lon, self.lat)

    def path(self, geometry: BaseGeometry, size: int = SIZE_PX) -> str:
        """The outline as an SVG path in pixels of a cut-out; empty for what lies outside."""
        half, scale = self.metres / 2, size / self.metres
        ground = shapely.clip_by_rect(self._ground.export_geometry(geometry), -2 * half, -2 * half, 2 * half, 2 * half)
        rings = [
            ring
            for part in shapely.get_parts(ground)
            if part.geom_type == "Polygon"
            for ring in (part.exterior, *part.interiors)
        ]
        return " ".join(
            "M" + "L".join(f"{(x + half) * scale:.1f} {(half - y) * scale:.1f}" for x, y in ring.coords) + "Z"
            for ring in rings
        )

    def chip(self, scene: str, layer: Layer, size: int = SIZE_PX) -> str:
        """Address of the cut-out of a scene."""
        query = urlencode({"lon": f"{self.lon:.6f}", "lat": f"{self.lat:.6f}", "metres": self.metres, "size": size})
        return f"/api/v1/scenes/{quote(scene)}/{layer}/chip.jpg?{query}"


def _rounded(lon: float, lat: float) -> tuple[float, float]:
    """To a tenth of a metre, as the address of a cut-out has it."""
    return round(lon, 6), round(lat, 6)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a lead.

    Attributes:
        scene: None if it is not registered.
        sides: of which dates there is imagery to show.
        area_error_m2: standard error of `observation.area_m2`, None where a finding lacks it.
    """

    observation: Observation
    scene: SceneRow | None
    sides: tuple[Layer, ...]
    area_error_m2: float | None

    @property
    def outline(self) -> BaseGeometry:
        """Of all its findings, WGS-84."""
        return _outline(self.observation)


def looks(session: Session, alert: Alert, folders: Sequence[Path]) -> list[Look]:
    """All looks that saw something, newest first."""
    seen = session.scalars(
        select(Observation)
        .where(Observation.alert_id == alert.id, Observation.geometry.is_not(None))
        .order_by(Observation.observed_at.desc(), Observation.id)
    ).all()
    scenes = {row.id: row for row in session.scalars(select(SceneRow).where(SceneRow.id.in_([s.scene for s in seen])))}
    return [_look(session, each, scenes.get(each.scene), folders) for each in seen]


def _look(session: Session, seen: Observation, scene: SceneRow | None, folders: Sequence[Path]) -> Look:
    shown = () if scene is None else tuple(side for side in SIDES if side in layers(scene, folders))
    outline = _outline(seen)
    west, south, east, north = outline.bounds
    near = (ScanFinding.west <= east, ScanFinding.east >= west, ScanFinding.south <= north, ScanFinding.north >= south)
    about = (ScanFinding.scene_id == seen.scene, ScanFinding.kind == seen.result)
    found = [each for each in session.scalars(select(ScanFinding).where(*about, *near)) if _same(each, outline)]
    return Look(seen, scene, shown, _error(found))


def _outline(seen: Observation) -> BaseGeometry:
    assert seen.geometry is not None  # only findings belong to alerts
    return shape(seen.geometry)


def _same(finding: ScanFinding, outline: BaseGeometry) -> bool:
    """Whether the look counts the finding: not if it merely touches."""
    own = shape(finding.geometry)
    return bool(own.intersection(outline).area > 0.5 * own.area)


def _error(found: Iterable[ScanFinding]) -> float | None:
    """Errors of single findings are independent of each other."""
    errors = [each.area_error_m2 for each in found]
    known = [each for each in errors if each is not None]
    return math.hypot(*known) if known and len(known) == len(errors) else None


def place(alert: Alert, seen: Sequence[Look]) -> Point:
    """A point on what was seen last, or on the site, WGS-84."""
    return (seen[0].outline if seen else covers(alert.site)).representative_point()


def covers(site: Site) -> BaseGeometry:
    """What a site covers, WGS-84."""
    return footprint(shape(site.geometry), site.radius_m)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another site that is near, and what is suspected there."""

    site: Site
    metres: float
    alerts: tuple[Alert, ...]


def neighbours(session: Session, alert: Alert, within_m: float, most: int = 6) -> list[Neighbour]:
    """Other sites within so many metres of the site of an alert, nearest first; with their undecided alerts."""
    own = covers(alert.site)
    metres = local_metres(*_rounded(*np.asarray(own.centroid.coords)[0]))
    here = metres.export_geometry(own)
    west, south, east, north = metres.import_geometry(shapely.box(*here.buffer(within_m).bounds)).bounds
    near = (Site.west <= east, Site.east >= west, Site.south <= north, Site.north >= south, Site.id != alert.site_id)
    found = [
        (here.distance(metres.export_geometry(covers(site))), site)
        for site in session.scalars(select(Site).where(*near))
    ]
    found = sorted(((d, site) for d, site in found if d <= within_m), key=lambda pair: (pair[0], pair[1].code))[:most]
    of_site = select(Alert).where(Alert.state.in_(("suspected", "corroborated", "dispatched")))
    alerts = session.scalars(of_site.where(Alert.site_id.in_([site.id for _, site in found]))).all()
    return [Neighbour(site, d, tuple(each for each in alerts if each.site_id == site.id)) for d, site in found]
