"""What OGC API Features offers: collections of features, each a query on the database with a place and a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from shapely.geometry import mapping, shape
from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, contains_eager, defer, joinedload

from service.ledger.coordinates import footprint
from service.ledger.tables import Alert, Site
from service.scenes.errors import QueryUnusable
from service.scenes.schemas import feature as finding_feature
from service.scenes.tables import ScanFinding, SceneRow

MAX_ITEMS, DEFAULT_ITEMS = 10_000, 1000
Column = InstrumentedAttribute[Any]
Feature = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A query as OGC API Features (17-069r4, 7.15) has it.

    Attributes:
        box: west, south, east, north in degrees; across the antimeridian if west is east of east.
        start, end: an interval of time, open where None.
    """

    box: tuple[float, float, float, float] | None = None
    start: datetime | None = None
    end: datetime | None = None
    limit: int = DEFAULT_ITEMS
    offset: int = 0

    @classmethod
    def read(cls, query: Sequence[tuple[str, str]]) -> Asked:
        """From the parameters of an address; a limit beyond `MAX_ITEMS` is brought down to it.

        Raises:
            QueryUnusable: a parameter is unknown, comes twice, or makes no sense.
        """
        given = dict(query)
        if len(given) < len(query) or not given.keys() <= {"bbox", "datetime", "limit", "offset"}:
            raise QueryUnusable
        try:
            box = _box(given["bbox"]) if "bbox" in given else None
            start, end = _interval(given["datetime"]) if "datetime" in given else (None, None)
            limit, offset = int(given.get("limit", DEFAULT_ITEMS)), int(given.get("offset", 0))
        except ValueError as error:
            raise QueryUnusable from error
        if limit < 1 or not 0 <= offset <= 2**31:
            raise QueryUnusable
        return cls(box, start, end, min(limit, MAX_ITEMS), offset)


def _box(text: str) -> tuple[float, float, float, float]:
    numbers = [float(part) for part in text.split(",")]
    if len(numbers) == 6:  # with heights, which nothing here has
        numbers = numbers[:2] + numbers[3:5]
    west, south, east, north = numbers
    if not (max(abs(west), abs(east)) <= 180 and -90 <= south <= north <= 90):
        raise ValueError(text)
    return west, south, east, north


def _interval(text: str) -> tuple[datetime | None, datetime | None]:
    first, slash, last = text.partition("/")
    start, end = _moment(first), _moment(last if slash else first)
    if (start is None and end is None) or (start and end and start > end):
        raise ValueError(text)
    return start, end


def _moment(text: str) -> datetime | None:
    if text in ("", ".."):
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment


@dataclass(frozen=True, slots=True)
class Collection:
    """One kind of features.

    Attributes:
        query: rows, in the order of pages.
        place: columns of the bounds: west, south, east, north. Features are selected by their bounds.
        time: columns of the first and the last moment; None if a feature has no time, and then any time fits.
        named: what selects the one feature with an id, None if no feature can have it.
        feature: a row as GeoJSON in CRS84.
    """

    query: Any
    place: tuple[Column, Column, Column, Column]
    time: tuple[Column, Column] | None
    named: Callable[[str], ColumnElement[bool] | None]
    feature: Callable[[Any], Feature]

    def page(self, session: Session, asked: Asked) -> tuple[list[Feature], int]:
        """Features that fit, so many from so far, and how many fit in all."""
        query = self.query.where(*self._fits(asked))
        total = session.scalar(query.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)) or 0
        rows = session.execute(query.limit(asked.limit).offset(asked.offset))
        return [self.feature(row) for row in rows], total

    def find(self, session: Session, feature_id: str) -> Feature | None:
        """The feature with this id."""
        named = self.named(feature_id)
        row = None if named is None else session.execute(self.query.where(named)).one_or_none()
        return None if row is None else self.feature(row)

    def extent(self, session: Session) -> dict[str, Any] | None:
        """Where and when features are; None if there are none."""
        west, south, east, north = self.place
        wanted = [func.min(west), func.min(south), func.max(east), func.max(north)]
        wanted += [] if self.time is None else [func.min(self.time[0]), func.max(self.time[1])]
        columns = self.query.with_only_columns(*wanted, maintain_column_froms=True).order_by(None)
        found = session.execute(columns).one()
        if found[0] is None:
            return None
        extent: dict[str, Any] = {"spatial": {"bbox": [list(found[:4])]}}
        if self.time is not None:
            extent["temporal"] = {"interval": [[moment.isoformat() for moment in found[4:]]]}
        return extent

    def _fits(self, asked: Asked) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        if asked.box is not None:
            (west, south, east, north), (w, s, e, n) = self.place, asked.box
            conditions += [south <= n, north >= s]
            conditions += [or_(west <= e, east >= w)] if w > e else [west <= e, east >= w]
        if self.time is not None:
            first, last = self.time
            conditions += [] if asked.start is None else [last >= asked.start]
            conditions += [] if asked.end is None else [first <= asked.end]
        return conditions


# --- The collections --------------------------------------------------------------------------------------


def _of_finding(feature_id: str) -> ColumnElement[bool] | None:
    scene, _, number = feature_id.rpartition(".")
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        return None
    return (ScanFinding.scene_id == scene) & (ScanFinding.number == int(number))


def _site(row: Any) -> Feature:
    site: Site = row[0]
    names = ("code", "name", "system", "street", "community", "batch", "state", "land_m2", "building_m2", "greened_m2")
    days = {name: _text(getattr(site, name)) for name in ("opened_on", "closed_on", "observed_at")}
    properties = {name: getattr(site, name) for name in names} | days | {"courtyard": site.courtyard.code}
    return _feature(site.code, _footprint(site), properties)


def _alert(row: Any) -> Feature:
    alert: Alert = row[0]
    names = ("cause", "state", "probability", "area_m2", "looks")
    moments = {name: _text(getattr(alert, name)) for name in ("first_seen_at", "last_seen_at", "opened_at")}
    properties = {name: getattr(alert, name) for name in names} | moments | {"site": alert.site.code}
    return _feature(alert.id, _footprint(alert.site), properties)


def _coverage(row: Any) -> Feature:
    scene: SceneRow = row[0]
    dates = {"before_date": _text(scene.before_at), "after_date": _text(scene.taken_at)}
    return _feature(scene.id, scene.coverage, {"name": scene.name, **dates, "model_sha256": scene.model_sha256})


def _text(value: date | None) -> str | None:
    return None if value is None else value.isoformat()


def _footprint(site: Site) -> dict[str, Any]:
    return dict(mapping(footprint(shape(site.geometry), site.radius_m)))


def _feature(feature_id: str, geometry: dict[str, Any] | None, properties: dict[str, Any]) -> Feature:
    return {"type": "Feature", "id": feature_id, "geometry": geometry, "properties": properties}


def _bounds(table: Any) -> tuple[Column, Column, Column, Column]:
    return table.west, table.south, table.east, table.north


COLLECTIONS: Mapping[str, Collection] = {
    "findings": Collection(
        select(ScanFinding, SceneRow)
        .join(SceneRow, SceneRow.id == ScanFinding.scene_id)
        .options(defer(SceneRow.coverage), defer(SceneRow.before), defer(SceneRow.after))
        .order_by(SceneRow.taken_at.desc(), ScanFinding.scene_id, ScanFinding.number),
        _bounds(ScanFinding), (SceneRow.taken_at, SceneRow.taken_at), _of_finding, lambda row: finding_feature(*row),
    ),
    "alerts": Collection(
        select(Alert)
        .join(Alert.site)
        .options(contains_eager(Alert.site))
        .order_by(Alert.last_seen_at.desc(), Alert.id),
        _bounds(Site), (Alert.first_seen_at, Alert.last_seen_at), lambda name: Alert.id == name, _alert,
    ),
    "sites": Collection(
        select(Site).options(joinedload(Site.courtyard)).order_by(Site.code),
        _bounds(Site), None, lambda name: Site.code == name, _site,
    ),
    "coverage": Collection(
        select(SceneRow).where(SceneRow.coverage.is_not(None)).order_by(SceneRow.taken_at.desc(), SceneRow.id),
        _bounds(SceneRow), (SceneRow.taken_at, SceneRow.taken_at), lambda name: SceneRow.id == name, _coverage,
    ),
}  # fmt: skip
"""Name -> collection. An alert has the place of its site; what was found there is in `findings`."""
