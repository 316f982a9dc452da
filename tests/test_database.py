"""The database: made by its migrations alone, safe on SQLite, changed only by compare and set."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_mock_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from service.database import Base, PairRow, Pairs, connect, upgrade
from tests.databases import SERVER, new_database


@pytest.fixture
def pairs(tmp_path: Path) -> Iterator[Pairs]:
    with new_database(tmp_path) as url:
        engine = connect(url)
        yield Pairs(engine)
        engine.dispose()


def row(pair_id: str, **values: Any) -> PairRow:
    values = {"created_at": datetime.now(UTC), "status": "queued", "progress": 0.0} | values
    return PairRow(id=pair_id, before_name="a", after_name="b", **values)


def test_the_migrations_make_exactly_the_tables_of_the_models(pairs: Pairs) -> None:
    with pairs.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_checks_of_the_models_are_in_the_migrations(pairs: Pairs) -> None:
    found = {check["name"] for check in inspect(pairs.engine).get_check_constraints("pair")}
    assert found == {"ck_pair_status", "ck_pair_progress"}


def test_upgrading_twice_changes_nothing(pairs: Pairs) -> None:
    pairs.add(row("a"))
    upgrade(pairs.engine)
    assert pairs.count() == 1


def test_the_same_tables_can_be_made_on_postgresql() -> None:
    statements: list[str] = []
    engine = create_mock_engine(
        "postgresql+psycopg://", lambda sql, *_: statements.append(str(sql.compile(dialect=engine.dialect)))
    )
    Base.metadata.create_all(engine, checkfirst=False)
    assert "TIMESTAMP WITH TIME ZONE" in statements[0]


@pytest.mark.skipif(SERVER is not None, reason="of SQLite")
def test_sqlite_is_set_to_be_durable_and_concurrent(pairs: Pairs) -> None:
    with pairs.engine.connect() as connection:
        values = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


def test_moments_come_back_in_utc_whatever_zone_they_had(pairs: Pairs) -> None:
    china = timezone(timedelta(hours=8))
    pairs.add(row("a", created_at=datetime(2017, 6, 30, 8, 0, tzinfo=china)))
    stored = pairs.get("a")
    assert stored is not None
    assert stored.created_at.isoformat() == "2017-06-30T00:00:00+00:00"


def test_a_status_that_does_not_exist_is_refused_by_the_database(pairs: Pairs) -> None:
    with pytest.raises(IntegrityError):
        pairs.add(row("a", status="perhaps"))


def test_a_change_happens_only_from_the_expected_status(pairs: Pairs) -> None:
    pairs.add(row("a"))
    assert pairs.change("a", "queued", status="running")
    assert not pairs.change("a", "queued", status="running")
    assert not pairs.change("b", "queued", status="running")


def test_of_many_that_want_the_same_change_exactly_one_succeeds(pairs: Pairs) -> None:
    pairs.add(row("a"))
    start, wins = threading.Barrier(8), []

    def claim() -> None:
        start.wait()
        wins.append(pairs.change("a", "queued", status="running"))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == [False] * 7 + [True]


def test_pairs_are_recent_first_and_counted_by_status(pairs: Pairs) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for day, (pair_id, status) in enumerate((("a", "done"), ("b", "queued"), ("c", "running"))):
        pairs.add(row(pair_id, status=status, created_at=start + timedelta(days=day)))
    assert [pair.id for pair in pairs.recent(2)] == ["c", "b"]
    assert (pairs.count(), pairs.count("queued", "running")) == (3, 2)
    assert pairs.ids("queued", "running") == ["b", "c"]
