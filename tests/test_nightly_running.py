"""A night, from imagery to ledger: what was not seen is said with its reason, and is never clear."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapely.geometry import box, mapping
from sqlalchemy import select
from sqlalchemy.orm import Session

from inference.model import ModelError
from service.ledger.audit import writing
from service.ledger.tables import Alert, Observation, Site
from service.nightly.due import ATTEMPTS, enqueue_night, take_due
from service.nightly.errors import AreaBusy
from service.nightly.locks import Lock
from service.nightly.running import TRIES
from service.nightly.tables import Night
from service.queue import Interrupted, Worker
from service.queue import Queue as JobQueue
from service.registry.store import Registry
from service.scenes.tables import SceneRow
from tests.fakes_notify import Killable
from tests.imagery import MagentaModel, geotiff
from tests.ledgers import site
from tests.nights import NEW, OTHER, House, Weights, at, codes, house, picture, stand_in
from tests.queues import until

MONDAY, TUESDAY, WEDNESDAY = "2026-03-02T03:00", "2026-03-03T03:00", "2026-03-04T03:00"
"""When pictures were taken; nights are due later that day."""


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> Weights:
    return stand_in(monkeypatch)


@pytest.fixture
def place(tmp_path: Path, weights: Weights) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


def later(taken: str) -> str:
    return (at(taken) + timedelta(hours=15)).isoformat()[:16]


def shoot(place: House, taken: str, *blocks: Any, **options: Any) -> Path:
    """A picture of this moment, in the folder of nights."""
    return picture(place.scenes / "nights" / f"{taken[:10]}.tif", *blocks, taken=taken, **options)


def outline(place: House, block: tuple[int, int, int, int]) -> Any:
    """Pixels of the scenes as a polygon in WGS-84."""
    from pyproj import Transformer

    from tests.imagery import UTM

    x, y, width, height = block
    to_lonlat = Transformer.from_crs(32650, 4326, always_xy=True)
    (west, south), (east, north) = (to_lonlat.transform(*(UTM @ p)) for p in ((x, y + height), (x + width, y)))
    return box(west, south, east, north)


def closed(place: House, block: tuple[int, int, int, int], **values: Any) -> None:
    """A site of the ledger whose entry is closed."""
    shape = outline(place, block)
    bounds = dict(zip(("west", "south", "east", "north"), shape.bounds, strict=True))
    with writing(place.engine) as session:
        site(session, "S-1", geometry=mapping(shape), **bounds, **values)


# --- One night after another ------------------------------------------------------------------------------


def test_the_first_night_has_nothing_to_compare_with_and_the_second_finds_what_is_new(place: House) -> None:
    schedule = place.add()
    shoot(place, MONDAY)
    first = place.night(schedule, later(MONDAY))
    assert (first.state, codes(first), first.observed_share) == ("not_observed", ["first_night"], None)
    shoot(place, TUESDAY, NEW)
    second = place.night(schedule, later(TUESDAY))
    assert (second.state, second.findings, second.reasons) == ("findings", {"new": 1, "remaining": 0, "removed": 0}, [])
    assert (second.before_at, second.taken_at, second.observed_share) == (at(MONDAY), at(TUESDAY), 1.0)
    shoot(place, WEDNESDAY, NEW)
    third = place.night(schedule, later(WEDNESDAY))
    assert third.findings == {"new": 0, "remaining": 1, "removed": 0}
    with Session(place.engine) as session:
        scenes = session.scalars(select(SceneRow).order_by(SceneRow.taken_at)).all()
        assert [scene.id for scene in scenes] == [second.scene_id, third.scene_id]
        assert [scene.before_at for scene in scenes] == [at(MONDAY), at(TUESDAY)]


def test_nothing_found_is_said_of_what_was_seen_alone(place: House) -> None:
    schedule = place.add()
    for taken in (MONDAY, TUESDAY):
        shoot(place, taken, unseen=0.25 if taken == TUESDAY else 0.0)
        night = place.night(schedule, later(taken))
    assert night.state == "nothing_found"
    assert night.observed_share == pytest.approx(0.75, abs=0.02)
    assert night.reasons == [{"code": "nodata", "values": {"share": pytest.approx(0.25, abs=0.02)}}]


@pytest.mark.parametrize(("white", "why"), [(False, "nodata"), (True, "too_bright")])
def test_a_night_of_which_nothing_was_seen_is_not_observed_and_leaves_no_site_clear(
    place: House, white: bool, why: str
) -> None:
    """What clouds hide is white all over."""
    closed(place, (50, 50, 60, 60))
    schedule = place.add(policy="fixed", baseline="baseline.tif")
    size = {"height": 400, "width": 400}
    picture(place.scenes / "baseline.tif", taken="2026-02-01T03:00", **size)
    path = shoot(place, MONDAY, unseen=1.0, **size)
    if white:
        pixels = np.full((400, 400, 4), 255, np.uint8)
        path.write_bytes(geotiff(pixels, tags={"TIFFTAG_DATETIME": "2026:03:02 03:00:00"}))
    night = place.night(schedule, later(MONDAY))
    assert (night.state, night.observed_share) == ("not_observed", 0.0)
    assert night.reasons == [{"code": why, "values": {"share": 1.0}}]
    with Session(place.engine) as session:
        assert "clear" not in session.scalars(select(Observation.result)).all()
        assert session.scalars(select(Site.observed_at)).all() == [None]


@pytest.mark.parametrize(
    ("prepare", "code"),
    [
        (lambda place: None, "no_imagery"),
        (lambda place: (place.scenes / "nights").mkdir(), "no_imagery"),
        (lambda place: picture(place.scenes / "nights" / "a.tif"), "undated"),
        (lambda place: shoot(place, MONDAY).write_bytes(b"II*\0 cut off"), "source_unreadable"),
        (lambda place: (place.scenes / "baseline.tif").unlink() or shoot(place, MONDAY), "no_imagery"),
        (lambda place: shoot(place, "2026-01-01T03:00"), "wrong_order"),
    ],
    ids=["no folder", "empty folder", "no date", "damaged", "no baseline", "older than the baseline"],
)
def test_imagery_that_is_missing_or_unusable_is_not_observed_with_the_reason(
    place: House, prepare: Any, code: str
) -> None:
    closed(place, (50, 50, 60, 60))
    schedule = place.add(policy="fixed", baseline="baseline.tif")
    picture(place.scenes / "baseline.tif", taken="2026-02-01T03:00")
    prepare(place)
    night = place.night(schedule, later(MONDAY))
    assert (night.state, codes(night)) == ("not_observed", [code])
    with Session(place.engine) as session:
        assert session.scalars(select(Observation)).all() == []


def test_the_same_imagery_is_not_scanned_twice(place: House) -> None:
    schedule = place.add(policy="fixed", baseline="baseline.tif")
    picture(place.scenes / "baseline.tif", taken="2026-02-01T03:00")
    shoot(place, MONDAY, NEW)
    assert place.night(schedule, later(MONDAY)).state == "findings"
    again = place.night(schedule, later(TUESDAY))
    assert (again.state, codes(again)) == ("not_observed", ["nothing_new"])


def test_two_nights_against_one_baseline_corroborate_an_alert(place: House) -> None:
    closed(place, (50, 50, 60, 60), inspector="赵巡查")
    schedule = place.add(policy="fixed", baseline="baseline.tif")
    picture(place.scenes / "baseline.tif", taken="2026-02-01T03:00")
    for taken in (MONDAY, TUESDAY):
        shoot(place, taken, NEW)
        assert place.night(schedule, later(taken)).state == "findings"
    with Session(place.engine) as session:
        [alert] = session.scalars(select(Alert)).all()
        assert (alert.cause, alert.looks, alert.state) == ("new", 2, "dispatched")


def test_only_the_area_is_scanned(place: House) -> None:
    area = mapping(outline(place, (0, 0, 150, 200)))
    schedule = place.add(policy="fixed", baseline="baseline.tif", area=area)
    picture(place.scenes / "baseline.tif", taken="2026-02-01T03:00")
    shoot(place, MONDAY, NEW, OTHER)
    night = place.night(schedule, later(MONDAY))
    assert night.findings == {"new": 1, "remaining": 0, "removed": 0}
    assert night.observed_share == 1.0


# --- Baselines --------------------------------------------------------------------------------------------


def test_a_night_that_saw_nothing_is_no_baseline_for_the_next(place: House) -> None:
    schedule = place.add()
    for taken, options in ((MONDAY, {}), (TUESDAY, {"unseen": 1.0}), (WEDNESDAY, {})):
        shoot(place, taken, *((NEW,) if taken == WEDNESDAY else ()), **options)
        night = place.night(schedule, later(taken))
    assert (night.before_at, night.state) == (at(MONDAY), "findings")


def test_a_baseline_that_was_taken_away_makes_another_first_night(place: House) -> None:
    schedule = place.add()
    shoot(place, MONDAY)
    place.night(schedule, later(MONDAY))
    (place.scenes / "nights" / f"{MONDAY[:10]}.tif").unlink()
    shoot(place, TUESDAY)
    assert codes(place.night(schedule, later(TUESDAY))) == ["first_night"]
    shoot(place, WEDNESDAY, NEW)
    assert place.night(schedule, later(WEDNESDAY)).state == "findings"


def test_the_last_acceptance_decides_which_scene_is_the_baseline(place: House) -> None:
    nights = place.add(name="every night")
    lately = place.add(name="since acceptance", policy="last_accepted")
    shoot(place, MONDAY)
    assert codes(place.night(lately, later(MONDAY))) == ["nothing_accepted"]
    closed(place, (50, 50, 60, 60), closed_on=date(2026, 3, 3))
    place.night(nights, later(MONDAY))
    shoot(place, TUESDAY)
    assert codes(place.night(lately, later(TUESDAY))) == ["no_baseline"]
    place.night(nights, later(TUESDAY))  # leaves the scene of Tuesday, the day of the acceptance
    shoot(place, WEDNESDAY, NEW)
    place.night(nights, later(WEDNESDAY))
    night = place.night(lately, later(WEDNESDAY))
    assert (night.state, night.before_at) == ("findings", at(TUESDAY))


def test_a_scene_of_most_of_the_area_goes_before_a_newer_one_of_a_corner(place: House) -> None:
    area = mapping(outline(place, (0, 0, 300, 200)))
    closed(place, (50, 50, 60, 60), closed_on=date(2026, 3, 20))
    part = mapping(outline(place, (0, 0, 99, 99)))
    whole, corner = place.add(name="all", area=area), place.add(name="corner", area=part)
    shoot(place, MONDAY)
    place.night(whole, later(MONDAY))
    place.night(corner, later(MONDAY))
    shoot(place, TUESDAY)
    place.night(whole, later(TUESDAY))
    shoot(place, WEDNESDAY)
    place.night(corner, later(WEDNESDAY))
    lately = place.add(name="lately", policy="last_accepted", area=area)
    shoot(place, "2026-03-21T03:00", NEW)
    assert place.night(lately, later("2026-03-21T03:00")).before_at == at(TUESDAY)


# --- One at a time, and whatever stops it -----------------------------------------------------------------


def test_a_night_waits_in_the_queue_for_another_of_its_area(place: House, weights: Weights) -> None:
    gate = Gated()
    weights.model = gate
    schedule = place.add(policy="fixed", baseline="baseline.tif")
    picture(place.scenes / "baseline.tif", taken="2026-02-01T03:00")
    shoot(place, MONDAY, NEW)
    running = threading.Thread(target=place.night, args=(schedule, later(MONDAY)))
    running.start()
    try:
        assert gate.reached.wait(60)
        with pytest.raises(AreaBusy):
            place.night(schedule, later(TUESDAY))
    finally:
        gate.go.set()
        running.join()
    assert [night.state for night in place.nights()] == ["findings", "queued"]


class Gated(MagentaModel):
    """Waits before every window until it is let go."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def probabilities(self, before: Any, after: Any) -> Any:
        self.reached.set()
        assert self.go.wait(60)
        return super().probabilities(before, after)


class Failing(MagentaModel):
    """Fails wherever it is shown anything, until it is well."""

    well = False

    def probabilities(self, before: Any, after: Any) -> Any:
        if not self.well:
            raise RuntimeError("poison")
        return super().probabilities(before, after)


def queued(place: House) -> tuple[Worker, str]:
    """A night that is due, in the queue of a worker that is moved by hand."""
    place.add(policy="fixed", baseline="baseline.tif")
    picture(place.scenes / "baseline.tif", taken="2026-02-01T03:00")
    shoot(place, MONDAY, NEW)
    [night_id] = take_due(place.engine, at("2026-03-02T18:30"), enqueue_night)[-1:]
    queue = JobQueue(place.engine, clock=Clock())
    worker = Worker(queue, {"night": place.nightly.run}, {"night": place.nightly.given_up})
    return worker, night_id


class Clock:
    """Moves an hour ahead with every look, so that what is tried again later is due."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(hours=1)
        return self.now


def test_a_night_from_the_queue_ends_in_the_ledger(place: House) -> None:
    worker, night_id = queued(place)
    assert worker.step()
    night = place.nightly.read(night_id)
    assert (night.state, night.scene_id is not None) == ("findings", True)
    job = worker.queue.get(night.job_id or "")
    assert job is not None
    assert (job.state, job.result) == ("done", {"night": night_id, "state": "findings"})


def test_a_night_that_is_interrupted_goes_on_where_it_was(place: House) -> None:
    _, night_id = queued(place)

    def stop(stage: str, share: float) -> None:
        if stage == "score":
            raise Interrupted

    with pytest.raises(Interrupted):
        place.nightly.carry_out(night_id, stop)
    assert place.nightly.read(night_id).state == "queued"
    picture(place.scenes / "nights" / "later.tif", taken="2026-03-02T05:00")  # what comes in meanwhile changes nothing
    assert place.nightly.conclude(night_id, lambda stage, share: None) == "findings"
    assert place.nightly.read(night_id).taken_at == at(MONDAY)
    assert place.nightly.conclude(night_id, lambda stage, share: None) == "findings"  # and nothing happens twice


def test_a_night_whose_worker_was_killed_is_finished_by_another(place: House, tmp_path: Path) -> None:
    worker, night_id = queued(place)
    process = Killable("tests.nights:work_and_hang", str(tmp_path), place.settings.database_url or "")
    try:
        process.start()
        until((tmp_path / "reached").exists)
        process.kill()
    finally:
        process.close()
    assert place.nightly.read(night_id).state == "running"
    assert worker.step()
    night = place.nightly.read(night_id)
    assert (night.state, night.observed_share, night.reasons) == ("findings", 1.0, [])
    with Session(place.engine) as session:
        assert len(session.scalars(select(SceneRow)).all()) == 1


def test_windows_that_cannot_be_read_are_tried_again_and_then_unseen(place: House, weights: Weights) -> None:
    weights.model = Failing()
    worker, night_id = queued(place)
    for _ in range(TRIES - 1):
        assert worker.step()
        assert place.nightly.read(night_id).state == "running"
    assert worker.step()
    night = place.nightly.read(night_id)
    assert (night.state, night.observed_share) == ("not_observed", 0.0)
    assert codes(night) == ["window_failed", "windows_set_aside"]


def test_what_was_set_aside_is_made_up_for_on_the_next_try(place: House, weights: Weights) -> None:
    weights.model = Failing()
    worker, night_id = queued(place)
    worker.step()
    weights.model.well = True
    worker.step()
    night = place.nightly.read(night_id)
    assert (night.state, night.observed_share, night.reasons) == ("findings", 1.0, [])


def test_without_weights_a_night_fails_and_says_so(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(self: Any, version: Any) -> Any:
        raise ModelError("no weights")

    monkeypatch.setattr(Registry, "model", none)
    worker, night_id = queued(place)
    for _ in range(TRIES):
        worker.step()
    night = place.nightly.read(night_id)
    assert (night.state, codes(night)) == ("failed", ["no_model"])


def test_a_night_that_waited_in_vain_for_its_area_fails_with_that_reason(place: House) -> None:
    worker, night_id = queued(place)
    Lock(place.engine, place.nightly.read(night_id).schedule.area_key, "another").take()
    for _ in range(ATTEMPTS):
        assert worker.step()
    night = place.nightly.read(night_id)
    assert (night.state, codes(night)) == ("failed", ["area_busy"])
    assert not worker.step()


def test_a_night_that_is_over_is_left_as_it_is(place: House) -> None:
    worker, night_id = queued(place)
    with Session(place.engine) as session, session.begin():
        session.get_one(Night, night_id).state = "failed"
    assert worker.step()
    assert place.nightly.read(night_id).state == "failed"
    assert not worker.step()
