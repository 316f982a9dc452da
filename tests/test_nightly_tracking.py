"""Tracks in the database: what scenes saw again is one, what was not looked at is not lost, what is gone ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from shapely.geometry import mapping
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from inference.tracks import MAX_MISSES
from service.ledger.rebound import take_in
from service.ledger.watch import Scan, of_features
from service.nightly.tables import Track
from service.scenes.recording import Record
from service.scenes.tables import ScanFinding
from tests.ledgers import NIGHT, at_once, empty_database, square

HALL = (0.0, 0.0, 20.0)
PLAIN = square(-500, -500, 1000)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with empty_database(tmp_path) as found:
        yield found


def feature(x: float, y: float, side: float, kind: str = "new", probability: float = 0.9) -> dict[str, Any]:
    properties = {"kind": kind, "probability": probability, "area_m2": side**2}
    return {"type": "Feature", "properties": properties, "geometry": mapping(square(x, y, side))}


def scene(engine: Engine, night: float, *found: tuple[Any, ...], covered: Any = PLAIN, name: str | None = None) -> None:
    """A scene is taken in, so many nights after the first."""
    features = [feature(*each) for each in found]
    moment = NIGHT + timedelta(days=night)
    scan = Scan(name or f"night-{night}", moment, of_features({"features": features}), covered)
    take_in(engine, scan, 20, record=Record(features, bounds=PLAIN.bounds))


def tracks(engine: Engine) -> list[Track]:
    with Session(engine) as session:
        return list(session.scalars(select(Track).order_by(Track.first_seen_at, Track.west)))


def test_a_structure_that_is_seen_on_two_days_is_one_track_and_corroborated(engine: Engine) -> None:
    scene(engine, 0, HALL, (100.0, 0.0, 20.0))
    scene(engine, 1, (1.0, 1.0, 20.0, "new", 0.95))
    hall, other = tracks(engine)
    assert (hall.looks, hall.misses, hall.probability) == (2, 0, 0.95)
    assert (hall.first_seen_at, hall.last_seen_at) == (NIGHT, NIGHT + timedelta(days=1))
    assert hall.corroborated_at == hall.last_seen_at
    assert (other.looks, other.misses, other.corroborated_at) == (1, 1, None)
    with Session(engine) as session:
        rows = session.execute(select(ScanFinding.scene_id, ScanFinding.track_id).order_by(ScanFinding.scene_id)).all()
    assert {tuple(row) for row in rows} == {("night-0", hall.id), ("night-0", other.id), ("night-1", hall.id)}


def test_the_outline_of_a_track_is_the_newest(engine: Engine) -> None:
    scene(engine, 0, HALL)
    scene(engine, 1, (2.0, 0.0, 24.0))
    [track] = tracks(engine)
    assert track.area_m2 == 576
    assert track.west == pytest.approx(square(2, 0, 24).bounds[0])


def test_nights_that_did_not_see_the_place_break_nothing(engine: Engine) -> None:
    scene(engine, 0, HALL)
    for night in range(1, 8):
        scene(engine, night, covered=square(200, 200, 100))
    scene(engine, 8, covered=None)
    [track] = tracks(engine)
    assert (track.misses, track.ended_at, track.checked_at) == (0, None, NIGHT)
    scene(engine, 9, HALL)
    assert [(t.looks, t.corroborated_at) for t in tracks(engine)] == [(2, NIGHT + timedelta(days=9))]


def test_nights_in_a_row_that_saw_the_place_without_it_end_the_track(engine: Engine) -> None:
    scene(engine, 0, HALL)
    for night in range(1, MAX_MISSES):
        scene(engine, night)
    assert [(t.misses, t.ended_at) for t in tracks(engine)] == [(MAX_MISSES - 1, None)]
    scene(engine, MAX_MISSES, HALL)  # seen again in time
    for night in range(1, MAX_MISSES + 1):
        scene(engine, MAX_MISSES + night)
    [track] = tracks(engine)
    assert track.ended_at == NIGHT + timedelta(days=2 * MAX_MISSES)
    scene(engine, 20, HALL)
    assert [t.looks for t in tracks(engine)] == [2, 1]


def test_two_scenes_of_one_day_are_one_look_and_one_miss(engine: Engine) -> None:
    scene(engine, 0, HALL, (100.0, 0.0, 20.0), name="strip a")
    scene(engine, 0.01, HALL, name="strip b")
    hall, other = tracks(engine)
    assert (hall.looks, hall.corroborated_at) == (1, None)
    assert (other.looks, other.misses) == (1, 0)
    scene(engine, 1, name="strip c")
    scene(engine, 1.01, name="strip d")
    assert [track.misses for track in tracks(engine)] == [1, 1]


def test_an_older_scene_adds_a_look_and_takes_nothing_back(engine: Engine) -> None:
    scene(engine, 5, (2.0, 0.0, 20.0), (100.0, 0.0, 20.0))
    scene(engine, 2, HALL)
    hall, other = sorted(tracks(engine), key=lambda track: -track.looks)
    assert (hall.looks, hall.first_seen_at) == (2, NIGHT + timedelta(days=2))
    assert hall.last_scene == "night-5"
    assert hall.west == pytest.approx(square(2, 0, 20).bounds[0])
    assert other.misses == 0


def test_the_same_scene_again_changes_nothing(engine: Engine) -> None:
    scene(engine, 0, HALL)
    scene(engine, 0, HALL)
    scene(engine, 1, name="night-0")
    assert [(t.looks, t.misses) for t in tracks(engine)] == [(1, 0)]


def test_what_was_new_goes_on_as_what_remains_and_not_as_what_was_removed(engine: Engine) -> None:
    scene(engine, 0, HALL)
    scene(engine, 1, (*HALL, "remaining"))
    scene(engine, 2, (*HALL, "removed"))
    assert [(t.kind, t.looks, t.misses) for t in tracks(engine)] == [("new", 2, 1), ("removed", 1, 0)]


def test_scenes_that_are_taken_in_at_once_make_one_track(engine: Engine) -> None:
    results = at_once(6, lambda night: scene(engine, night, HALL))
    assert results == [None] * 6, results
    assert [track.looks for track in tracks(engine)] == [6]
