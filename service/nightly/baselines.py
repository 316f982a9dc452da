"""What a night is compared with."""

from __future__ import annotations

from datetime import datetime, time, timedelta

import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from datasets.scene import Scene
from inference.scan.plan import area_of
from service.ledger.audit import canonical
from service.ledger.states import CHINA
from service.ledger.tables import CLOSED_SITE, Site
from service.nightly import sources
from service.nightly.sources import NothingToSee
from service.nightly.tables import Night, Schedule
from service.scenes.tables import SceneRow
from service.settings import Settings

_MOST = 0.9
"""A scene that shows so much of the area goes before newer ones that show less."""


def baseline(session: Session, schedule: Schedule, night: Night, settings: Settings) -> Scene:
    """The earlier imagery of a night, by the policy of its schedule.

    Raises:
        NothingToSee: `first_night`, `nothing_accepted`, `no_baseline`, or why imagery cannot be read.
    """
    if schedule.policy == "fixed":
        assert schedule.baseline is not None  # the database sees to it
        red, green, blue = schedule.bands
        return sources.fixed(schedule.baseline, settings, bands=(red, green, blue), zoom=schedule.zoom)
    if schedule.policy == "previous_night":
        return _previous(session, night)
    area = None if schedule.area is None else area_of(canonical(schedule.area))
    return _last_accepted(session, area)


def newest_taken(session: Session, schedule: Schedule, night: Night) -> datetime | None:
    """When the newest imagery of earlier nights of the schedule was taken."""
    return session.scalar(
        select(func.max(Night.taken_at)).where(Night.schedule_id == schedule.id, Night.id != night.id)
    )


def _previous(session: Session, night: Night) -> Scene:
    """The newest imagery that showed anything and is still there; that of a first night has not been compared yet."""
    shown = or_(Night.observed_share > 0, Night.before.is_(None))
    query = (
        select(Night.after)
        .where(Night.schedule_id == night.schedule_id, Night.id != night.id, Night.taken_at.is_not(None), shown)
        .order_by(Night.taken_at.desc())
    )
    scenes = (sources.of_document(document) for document in session.scalars(query) if document)
    found = next((scene for scene in scenes if sources.is_there(scene)), None)
    if found is None:
        raise NothingToSee("first_night")
    return found


def _last_accepted(session: Session, area: BaseGeometry | None) -> Scene:
    """The newest scene with imagery of up to the day on which an entry of the area was closed last.

    What was built after that day stands out against it; what stood there until then does not count as a rebound
    whichever picture it is compared with (`service.ledger.watch`).
    """
    closed = select(Site).where(Site.state.in_(CLOSED_SITE), Site.closed_on.is_not(None))
    days = [
        site.closed_on
        for site in session.scalars(closed)
        if site.closed_on and (area is None or area.intersects(shape(site.geometry)))
    ]
    if not days:
        raise NothingToSee("nothing_accepted")
    last = max(days)
    midnight = datetime.combine(last + timedelta(days=1), time(), CHINA)
    rows = session.scalars(select(SceneRow).where(SceneRow.after.is_not(None), SceneRow.taken_at < midnight))
    shown = [(_share(row, area), row, scene) for row in rows if sources.is_there(scene := _scene(row))]
    usable = [each for each in shown if each[0] > 0]
    if not usable:
        raise NothingToSee("no_baseline", day=last.isoformat())
    return max(usable, key=lambda each: (each[0] >= _MOST, each[1].taken_at, each[1].id))[2]


def _scene(row: SceneRow) -> Scene:
    imagery = row.after or {}
    red, green, blue = imagery["bands"]
    return Scene(row.name, tuple(imagery["sources"]), (red, green, blue), row.taken_at)


def _share(row: SceneRow, area: BaseGeometry | None) -> float:
    """How much of an area a scene shows, 0..1, by its bounds."""
    box = shapely.box(row.west, row.south, row.east, row.north)
    return 1.0 if area is None else float(box.intersection(area).area / area.area)
