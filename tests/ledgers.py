"""Shared by tests of the ledger: an empty database of either kind, sites on a plain, findings on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Barrier
from typing import Any

from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.database import connect
from service.ledger.audit import Actor
from service.ledger.coordinates import local_metres
from service.ledger.rows import as_json
from service.ledger.tables import Alert, Courtyard, Site
from service.ledger.watch import Sighting
from service.triage.decide import decide
from tests.databases import new_database

CLERK, OTHER, INSPECTOR = Actor("王经办"), Actor("李验收"), Actor("赵巡查")
NIGHT = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
PLAIN = local_metres(116.2, 39.9)


@contextmanager
def empty_database(folder: Path) -> Iterator[Engine]:
    """A new database (see `tests.databases`)."""
    with new_database(folder) as url:
        engine = connect(url)
        yield engine
        engine.dispose()


def square(x: float, y: float, side: float) -> BaseGeometry:
    """A square in WGS-84, its lower left corner so many metres east and north of the middle of the plain."""
    return PLAIN.import_geometry(Polygon([(x, y), (x + side, y), (x + side, y + side), (x, y + side)]))


def site(session: Session, code: str, x: float = 0.0, y: float = 0.0, side: float = 60.0, **values: Any) -> Site:
    """A stored site: a square, watched unless said otherwise, closed in 2017."""
    outline = square(x, y, side)
    west, south, east, north = outline.bounds
    known: dict[str, Any] = {
        "name": code, "system": "collective", "land_m2": side**2, "building_m2": 100.0, "greened_m2": 0.0,
        "state": "watched", "closed_on": date(2017, 6, 30), "geometry": as_json(outline), "sensitivity": 0.5,
        "west": west, "south": south, "east": east, "north": north, "created_at": NIGHT,
        "courtyard": Courtyard(code=f"Y-{code}", name=code, created_at=NIGHT),
    }  # fmt: skip
    row = Site(code=code, **(known | values))
    session.add(row)
    session.flush()
    return row


def shed(x: float, y: float, side: float = 10.0, probability: float = 0.9, cause: Any = "new") -> Sighting:
    """A square finding."""
    return Sighting(cause, probability, side**2, square(x, y, side))


def dismiss(
    session: Session, alert: Alert, *people: Actor, reason: str = "现场核实", at: datetime | None = None
) -> None:
    """Have an alert dismissed, by as many people as that takes; the inspector and a clerk unless named."""
    for person in people or (INSPECTOR, CLERK):
        if decide(session, alert, alert.state, "not_real", person, reason, at=at) == "moved":
            return
    raise AssertionError("a second person is needed")


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work` returns or raises in so many threads that start together."""
    gate = Barrier(count)

    def run(number: int) -> Any:
        gate.wait()
        try:
            return work(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
