"""The lock of an area: one night has it, and the dead do not keep it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.nightly import locks
from service.nightly.errors import AreaBusy
from service.nightly.locks import Lock, locked
from service.nightly.tables import AreaLock
from tests.ledgers import at_once, empty_database


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with empty_database(tmp_path) as found:
        yield found


def test_an_area_is_held_by_one_night(engine: Engine) -> None:
    with locked(engine, "area", "one"):
        with pytest.raises(AreaBusy), locked(engine, "area", "two"):
            pass
        with locked(engine, "another area", "two"):
            pass
        Lock(engine, "area", "one").take()  # taken up again after its process died
    with locked(engine, "area", "two"):
        pass


def test_the_lock_of_the_dead_runs_out(engine: Engine) -> None:
    Lock(engine, "area", "dead").take()
    with Session(engine) as session, session.begin():
        session.get_one(AreaLock, "area").until = datetime.now(UTC) - timedelta(seconds=1)
    with locked(engine, "area", "two"), pytest.raises(AreaBusy):
        Lock(engine, "area", "dead").take()


def test_of_many_nights_that_want_an_area_at_once_one_gets_it(engine: Engine) -> None:
    results = at_once(8, lambda number: Lock(engine, "area", str(number)).take())
    assert sorted(type(each).__name__ for each in results) == ["AreaBusy"] * 7 + ["NoneType"], results


def test_a_sign_of_life_lengthens_it_and_a_lost_one_is_noticed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_RENEW_EVERY_S", 0)
    lock = Lock(engine, "area", "one")
    lock.take()
    with Session(engine) as session:
        until = session.get_one(AreaLock, "area").until
    lock.renew()
    with Session(engine) as session, session.begin():
        row = session.get_one(AreaLock, "area")
        assert row.until > until
        row.night_id = "two"  # it had run out, and another took it
    with pytest.raises(AreaBusy):
        lock.renew()
    lock.release()
    with pytest.raises(AreaBusy):
        lock.take()
