"""Due times become nights: one for each, none twice, and none silently left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.nightly.due import ATTEMPTS, FORGOTTEN, begin, enqueue_night, take_due
from service.nightly.tables import Night, NightState, Schedule
from service.queue import Job
from tests.ledgers import at_once
from tests.nights import CLERK, House, at, codes, house

FIRST = at("2026-03-01T18:30")
"""The first due time of a schedule that was added on 2026-03-01: half past two in Beijing."""
DAY = timedelta(days=1)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


def look(place: House, now: datetime) -> list[str]:
    return take_due(place.engine, now, enqueue_night)


def end(place: House, state: NightState = "nothing_found") -> None:
    """All nights that are under way come to their end."""
    with Session(place.engine) as session, session.begin():
        session.execute(update(Night).where(Night.state == "queued").values(state=state))


def jobs(place: House) -> list[Job]:
    with Session(place.engine) as session:
        return list(session.scalars(select(Job).order_by(Job.created_at)))


def test_a_night_is_queued_once_when_it_is_due_and_not_before(place: House) -> None:
    place.add()
    assert look(place, FIRST - timedelta(seconds=1)) == []
    [night_id] = look(place, FIRST + timedelta(seconds=10))
    assert look(place, FIRST + timedelta(minutes=5)) == []
    [night], [job] = place.nights(), jobs(place)
    assert (night.id, night.due_at, night.state, night.job_id) == (night_id, FIRST, "queued", job.id)
    assert (job.kind, job.payload, job.max_attempts) == ("night", {"night": night.id}, ATTEMPTS)


def test_after_downtime_the_newest_is_scanned_and_the_others_are_recorded_as_missed(place: House) -> None:
    place.add()
    look(place, FIRST + 3 * DAY + timedelta(hours=5))
    assert [(n.due_at, n.state) for n in place.nights()] == [
        (FIRST, "missed"), (FIRST + DAY, "missed"), (FIRST + 2 * DAY, "missed"), (FIRST + 3 * DAY, "queued"),
    ]  # fmt: skip
    assert codes(place.nights()[0]) == ["service_down"]
    assert all(night.finished_at for night in place.nights()[:3])
    assert len(jobs(place)) == 1


def test_processes_that_look_at_once_make_one_night(place: House) -> None:
    place.add()
    found = at_once(8, lambda _: look(place, FIRST + 2 * DAY))
    ids = [night for each in found if isinstance(each, list) for night in each]
    assert len(ids) == 1, found
    assert [night.state for night in place.nights()] == ["missed", "missed", "queued"]
    assert len(jobs(place)) == 1


def test_while_a_night_is_under_way_the_next_one_waits(place: House) -> None:
    place.add()
    look(place, FIRST)
    assert look(place, FIRST + DAY) == []
    assert len(place.nights()) == 1
    end(place)
    assert len(look(place, FIRST + DAY + timedelta(hours=1))) == 1
    assert [night.state for night in place.nights()] == ["nothing_found", "queued"]


def test_what_could_not_begin_before_the_next_was_due_is_missed_because_of_that(place: House) -> None:
    place.add()
    look(place, FIRST)
    look(place, FIRST + 2 * DAY)
    _, missed = place.nights()
    assert (missed.due_at, missed.state, codes(missed)) == (FIRST + DAY, "missed", ["area_busy"])
    end(place)
    look(place, FIRST + 2 * DAY + timedelta(hours=1))
    assert place.nights()[-1].due_at == FIRST + 2 * DAY


def test_schedules_of_one_area_wait_for_each_other_and_others_do_not(place: House) -> None:
    triangle = {"type": "Polygon", "coordinates": [[[116.1, 39.9], [116.2, 39.9], [116.1, 40.0], [116.1, 39.9]]]}
    place.add(name="A", area=triangle)
    place.add(name="B", area=dict(reversed(triangle.items())), source="other")
    place.add(name="C", source="third")
    assert len(look(place, FIRST)) == 2
    end(place)
    assert len(look(place, FIRST + timedelta(minutes=1))) == 1
    assert len(place.nights()) == 3


def test_nothing_is_made_up_for_that_was_due_while_it_was_switched_off(place: House) -> None:
    schedule = place.add(enabled=False)
    assert look(place, FIRST + DAY) == []
    place.schedules.change(CLERK, schedule.name, {"enabled": True}, FIRST + 3 * DAY + timedelta(hours=1))
    assert look(place, FIRST + 3 * DAY + timedelta(hours=2)) == []
    assert len(look(place, FIRST + 4 * DAY)) == 1
    assert len(place.nights()) == 1


def test_a_new_time_counts_from_when_it_was_set(place: House) -> None:
    schedule = place.add()
    place.schedules.change(CLERK, schedule.name, {"cron": "0 1 * * *"}, FIRST + timedelta(hours=1))
    assert look(place, FIRST + timedelta(hours=2)) == []
    look(place, FIRST + DAY)
    assert [night.due_at for night in place.nights()] == [at("2026-03-02T17:00")]


def test_a_removed_schedule_is_never_due_and_its_name_is_free(place: House) -> None:
    schedule = place.add()
    look(place, FIRST)
    place.schedules.remove(CLERK, schedule.id)
    end(place)
    assert look(place, FIRST + DAY) == []
    place.add(now=FIRST + DAY)
    assert len(look(place, FIRST + 2 * DAY)) == 1
    assert len(place.nights()) == 2


def test_summer_time_makes_no_night_twice_and_leaves_none_out(place: House) -> None:
    place.add(time_zone="Europe/Berlin", now=at("2026-03-28T12:00"))
    for hours in range(0, 80, 4):
        look(place, at("2026-03-28T12:00") + timedelta(hours=hours))
        end(place)
    due = [night.due_at for night in place.nights()]
    assert due == [at("2026-03-29T01:00"), at("2026-03-30T00:30"), at("2026-03-31T00:30")]


def test_a_night_in_the_foreground_whose_process_died_blocks_nobody(place: House) -> None:
    schedule = place.add()
    with Session(place.engine) as session, session.begin():
        begin(session, schedule, FIRST - timedelta(hours=1)).state = "running"  # and it holds no lock
    assert len(look(place, FIRST)) == 1
    died, night = place.nights()
    assert (died.state, codes(died), night.state) == ("failed", ["worker_died"], "queued")


def test_a_night_in_the_foreground_that_waits_for_others_is_left_alone_for_a_day(place: House) -> None:
    schedule = place.add()
    with Session(place.engine) as session, session.begin():
        begin(session, schedule, FIRST - timedelta(hours=1))
    assert look(place, FIRST + timedelta(hours=1)) == []
    assert place.nights()[0].state == "queued"
    look(place, FIRST + FORGOTTEN)
    assert place.nights()[0].state == "failed"


def test_a_night_that_somebody_has_scanned_at_this_very_moment_is_not_made_twice(place: House) -> None:
    schedule, other = place.add(), place.add(name="other", source="other")
    with Session(place.engine) as session, session.begin():
        begin(session, schedule, FIRST).state = "findings"
    [night_id] = look(place, FIRST)
    assert {night.schedule_id for night in place.nights() if night.id == night_id} == {other.id}
    assert len(place.nights()) == 2
    assert len(look(place, FIRST + DAY)) == 1


def test_a_schedule_that_cannot_be_looked_at_keeps_no_other_from_being_scanned(place: House) -> None:
    broken, _ = place.add(name="broken"), place.add(name="sound", source="other")
    with Session(place.engine) as session, session.begin():
        session.execute(update(Schedule).where(Schedule.id == broken.id).values(cron="no cron"))
    assert len(look(place, FIRST)) == 1
