"""The audit log: whatever is done to it behind its back is found."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from service.cli import app
from service.ledger.audit import START, SYSTEM, Actor, append, canonical, verify, writing
from service.ledger.tables import AuditEntry
from tests.ledgers import at_once, empty_database

AT = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with empty_database(tmp_path) as found:
        yield found


@pytest.fixture
def log(engine: Engine) -> Engine:
    """Five entries."""
    with writing(engine) as session:
        for number in range(5):
            append(session, Actor("王经办"), "site.accepted", f"site:{number}", {"理由": f"第{number}次", "n": 0.1}, AT)
    return engine


def verified(engine: Engine) -> tuple[str | None, int | None]:
    with Session(engine) as session:
        found = verify(session)
    return found.problem, found.broken_at


def tamper(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_an_untouched_log_is_intact(log: Engine) -> None:
    assert verified(log) == (None, None)
    with Session(log) as session:
        assert verify(session).length == 5


def test_an_empty_log_is_intact(engine: Engine) -> None:
    with Session(engine) as session:
        assert (verify(session).length, verify(session).hash, verify(session).problem) == (0, START, None)


@pytest.mark.parametrize(
    "column", ["actor", "action", "subject", "detail", "previous", "hash"],
)  # fmt: skip
def test_one_changed_byte_in_any_column_is_found(log: Engine, column: str) -> None:
    change = f"UPDATE audit_entry SET {column} = substr({column}, 1, 2) || 'x' || substr({column}, 4) WHERE number = 3"
    tamper(log, change)
    assert verified(log) == ("changed", 3)


def test_another_moment_or_kind_of_actor_is_found(log: Engine) -> None:
    tamper(log, "UPDATE audit_entry SET human = NOT human WHERE number = 2")
    assert verified(log) == ("changed", 2)
    with writing(log) as session:
        entry = session.get_one(AuditEntry, 1)
        entry.at = entry.at.replace(microsecond=123457)
    assert verified(log) == ("changed", 1)


def test_a_removed_entry_is_found(log: Engine) -> None:
    tamper(log, "DELETE FROM audit_entry WHERE number = 3")
    assert verified(log) == ("missing", 3)


def test_closing_the_gap_of_a_removed_entry_is_found(log: Engine) -> None:
    tamper(
        log,
        "DELETE FROM audit_entry WHERE number = 3",
        "UPDATE audit_entry SET number = 3 WHERE number = 4",
        "UPDATE audit_entry SET number = 4 WHERE number = 5",
    )
    assert verified(log)[0] is not None


def test_exchanged_entries_are_found(log: Engine) -> None:
    tamper(
        log,
        "UPDATE audit_entry SET number = 99 WHERE number = 2",
        "UPDATE audit_entry SET number = 2 WHERE number = 4",
        "UPDATE audit_entry SET number = 4 WHERE number = 99",
    )
    assert verified(log) == ("changed", 2)


@pytest.mark.parametrize("kept", [0, 1, 4])
def test_a_cut_off_tail_is_found(log: Engine, kept: int) -> None:
    tamper(log, f"DELETE FROM audit_entry WHERE number > {kept}")
    assert verified(log) == ("truncated", kept + 1)


def test_an_entry_that_the_head_does_not_know_is_found(log: Engine) -> None:
    tamper(
        log,
        "INSERT INTO audit_entry SELECT 6, at, actor, human, action, subject, detail, previous, hash "
        "FROM audit_entry WHERE number = 5",
    )
    assert verified(log) == ("truncated", 6)


def test_an_entry_with_a_hash_of_its_own_does_not_fit_the_chain(log: Engine) -> None:
    from service.ledger.audit import seal

    with writing(log) as session:
        entry = session.get_one(AuditEntry, 3)
        entry.detail = canonical({"理由": "改过"})
        entry.hash = seal(entry)
    assert verified(log) == ("missing", 4)


def test_an_entry_is_there_only_if_its_change_is(log: Engine) -> None:
    def fail() -> None:
        with writing(log) as session:
            append(session, SYSTEM, "site.watched", "site:x", {}, AT)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        fail()
    with Session(log) as session:
        assert (verify(session).length, verify(session).problem) == (5, None)


def test_many_writers_at_once_make_one_chain(engine: Engine) -> None:
    def write(number: int) -> None:
        with writing(engine) as session:
            append(session, SYSTEM, "test", f"site:{number}", {"number": number}, AT)

    assert at_once(20, write) == [None] * 20
    with Session(engine) as session:
        assert (verify(session).length, verify(session).problem) == (20, None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: Any) -> None:
    def turned(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: turned(item[key]) for key in reversed(item)}
        return [turned(each) for each in item] if isinstance(item, list) else item

    assert canonical(turned(value)) == canonical(value)


def test_canonical_json_has_no_word_for_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonical({"area": float("nan")})


@pytest.mark.parametrize("name", ["", "  ", "系统", "JINGDI", "Ｓｙｓｔｅｍ"])
def test_somebody_without_a_name_of_his_own_is_no_person(name: str) -> None:
    assert not Actor(name).person


def test_the_command_prints_the_last_hash_and_fails_on_a_broken_log(
    log: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JINGDI_DATABASE_URL", log.url.render_as_string(hide_password=False))
    runner = CliRunner()
    good = runner.invoke(app, ["audit", "verify", "--data-dir", str(tmp_path)])
    assert good.exit_code == 0
    assert len(good.stdout.split()[-1]) == 64
    tamper(log, "UPDATE audit_entry SET actor = '王经力' WHERE number = 4")
    bad = runner.invoke(app, ["audit", "verify", "--data-dir", str(tmp_path), "--language", "en"])
    assert bad.exit_code == 1
    assert "Entry 4" in bad.stdout
