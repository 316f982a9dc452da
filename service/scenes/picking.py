"""Imagery that can be picked: every date that a scan has looked at, once, however many scans have looked at it.

Only imagery whose date is known is among it, and whose files lie in the folders of `JINGDI_SCENE_DIRS` now.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from shapely.geometry import box
from shapely.geometry.base import BaseGeometry
from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from datasets.scene import Grid, SceneError, open_source
from inference.site import Site as Outline
from service.ledger.coordinates import local_metres
from service.ledger.tables import Site
from service.scenes import imagery
from service.scenes.errors import ImageryNotFound, NotOnTheMap
from service.scenes.imagery import Bounds, Layer, Source
from service.scenes.runs import below
from service.scenes.tables import SceneRow
from service.triage.evidence import SIDES, View, covers

ID_LENGTH = 32
NARROWEST_M, WIDEST_M = 100, 20_000
"""Of a place: less has too few pixels to see anything in, more is the work of a scan."""
CHIP_M = 2000
"""The widest cut-out that is shown of a scene (`readSceneChip`)."""
_ROOM = 0.4
"""Ground around a site on either side, as a share of its longer side."""


@dataclass(frozen=True, slots=True)
class Imagery:
    """What was taken of a piece of the earth at one moment.

    Attributes:
        id: the same as long as its files are where they are.
        name: what it is called: the scene whose later date it is, or its first file.
        bounds: of what scans have looked at of it, in degrees (WGS-84); it may reach further.
        scene, layer: where pictures of it are shown from.
    """

    id: str
    name: str
    taken_at: datetime
    bounds: Bounds
    scene: str
    layer: Layer
    source: Source

    def touches(self, area: Bounds) -> bool:
        """Whether its bounds and a rectangle in degrees touch."""
        west, south, east, north = self.bounds
        return west <= area[2] and east >= area[0] and south <= area[3] and north >= area[1]

    def there(self, folders: Sequence[Path]) -> bool:
        """Whether its files can be read from here."""
        return all(below(Path(path), folders) and Path(path).is_file() for path in self.source.paths)

    @property
    def gsd(self) -> float | None:
        """Metres on the ground per pixel, as its first file says; None if that cannot be read."""
        path = self.source.paths[0]
        return _gsd(path, Path(path).stat().st_mtime_ns)

    def seen_share(self, place: Place) -> float | None:
        """How much of a place it saw, 0..1; None if that cannot be told quickly."""
        return _seen(self.source, self.source.version, place.view)

    def thumbnail(self, view: View | None, size: int) -> str:
        """Address of a small picture of a piece of ground, or else of all of it, as far as a cut-out reaches."""
        return (view or _shown(_around(box(*self.bounds), 0.0))).chip(self.scene, self.layer, size)


@dataclass(frozen=True, slots=True)
class Place:
    """A square piece of ground, north up.

    Attributes:
        label: what it is called: the code of a site, or longitude and latitude.
        site: of the ledger, if it is one; all of it lies within.
    """

    view: View
    label: str
    site: Site | None = None

    @classmethod
    def of_site(cls, site: Site) -> Place:
        """A site and what surrounds it."""
        return cls(_around(covers(site), _ROOM), site.code, site)

    @classmethod
    def of_point(cls, lon: float, lat: float, metres: int) -> Place:
        """A point in WGS-84, so many metres wide."""
        view = View(round(lon, 6), round(lat, 6), metres)
        return cls(view, f"{view.lon:.5f},{view.lat:.5f}")

    @property
    def shown(self) -> View:
        """As much of its middle as a cut-out shows."""
        return _shown(self.view)

    @property
    def outline(self) -> BaseGeometry | None:
        """What the site covers, WGS-84."""
        return None if self.site is None else covers(self.site)

    @property
    def asked(self) -> Outline | None:
        """The same, as a pair keeps it: so that the page of the site offers the pair as evidence."""
        return None if self.site is None else Outline(covers(self.site))

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north in degrees (WGS-84)."""
        half = self.view.metres / 2
        ground = local_metres(self.view.lon, self.view.lat)
        west, south, east, north = ground.import_geometry(box(-half, -half, half, half)).bounds
        return west, south, east, north


def _around(geometry: BaseGeometry, room: float) -> View:
    """All of a geometry in WGS-84, and so much around it on either side, as a share of its longer side."""
    west, south, east, north = geometry.bounds
    lon, lat = round((west + east) / 2, 6), round((south + north) / 2, 6)
    left, bottom, right, top = local_metres(lon, lat).export_geometry(geometry).bounds
    side = max(right - left, top - bottom) * (1 + 2 * room)
    return View(lon, lat, max(NARROWEST_M, math.ceil(side / 10) * 10))


def _shown(view: View) -> View:
    return replace(view, metres=min(view.metres, CHIP_M))


def known(session: Session, folders: Sequence[Path], *areas: Bounds) -> list[Imagery]:
    """All imagery that can be picked, newest first; only what touches each of the areas."""
    found = (each for each in _all(session) if all(each.touches(area) for area in areas))
    return [each for each in found if each.there(folders)]


def find(session: Session, folders: Sequence[Path], id: str) -> Imagery:
    """The imagery with this id.

    Raises:
        ImageryNotFound: `imagery_not_found`, or `imagery_gone` where its files are no longer there.
    """
    found = next((each for each in _all(session) if each.id == id), None)
    if found is None:
        raise ImageryNotFound
    if not found.there(folders):
        raise ImageryNotFound("imagery_gone", name=found.name)
    return found


def _all(session: Session) -> list[Imagery]:
    """Every date of every scene whose imagery may be shown, newest first, the same files once."""
    found: dict[str, Imagery] = {}
    rows = session.scalars(
        select(SceneRow).options(defer(SceneRow.coverage)).order_by(SceneRow.taken_at.desc(), SceneRow.id)
    )
    for row in rows:
        for layer in SIDES:
            each = _imagery(row, layer)
            if each is None:
                continue
            other = found.get(each.id)
            found[each.id] = each if other is None else _merged(other, each)
    return sorted(found.values(), key=lambda each: (-each.taken_at.timestamp(), each.id))


def _imagery(row: SceneRow, layer: Layer) -> Imagery | None:
    later = layer == "after"
    source, taken_at = imagery.source_of(row.after if later else row.before), row.taken_at if later else row.before_at
    if source is None or taken_at is None:
        return None
    files = hashlib.sha256(repr((source.paths, source.bands)).encode()).hexdigest()[:ID_LENGTH]
    name = row.name if later else Path(source.paths[0]).stem
    return Imagery(files, name, taken_at, (row.west, row.south, row.east, row.north), row.id, layer, source)


def _merged(first: Imagery, second: Imagery) -> Imagery:
    """One imagery that two scans have looked at. As a later date it has a name of its own."""
    kept = second if first.layer == "before" and second.layer == "after" else first
    west, south = (min(first.bounds[i], second.bounds[i]) for i in (0, 1))
    east, north = (max(first.bounds[i], second.bounds[i]) for i in (2, 3))
    return replace(kept, bounds=(west, south, east, north))


@lru_cache(maxsize=4096)
def _gsd(path: str, changed_ns: int) -> float | None:
    try:
        with open_source(path) as file:
            return Grid(file.crs, file.transform, file.width, file.height).gsd
    except SceneError:
        return None


@lru_cache(maxsize=4096)
def _seen(source: Source, version: str, view: View) -> float | None:
    try:
        return imagery.seen_share(source, view.lon, view.lat, view.metres)
    except NotOnTheMap:
        return None
