"""Sessions, links and keys: for how long they let in, and that the database gives none of them away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from service import errors
from service.ledger.audit import SYSTEM
from service.ledger.tables import AuditEntry
from service.people.accounts import Accounts
from service.people.keys import Keys
from service.people.rights import SignedIn, actions_of
from service.people.sessions import Sessions
from service.people.tables import Account, ApiKey, Link, SessionRow
from tests.people import PASSWORD, Clock, at_once, cheap_passwords, database, with_chief


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with cheap_passwords(), database(tmp_path) as made:
        yield made


@pytest.fixture
def accounts(engine: Engine, clock: Clock) -> Accounts:
    return with_chief(engine, clock)


@pytest.fixture
def sessions(engine: Engine, clock: Clock) -> Sessions:
    return Sessions(engine, clock)


# --- Sessions and links -----------------------------------------------------------------------------------


def test_a_session_ends_two_hours_after_it_was_last_used(sessions: Sessions, accounts: Accounts, clock: Clock) -> None:
    token = sessions.open("chief")
    for _ in range(3):
        clock.pass_by(hours=1, minutes=59)
        assert sessions.find(token)
    clock.pass_by(hours=2)
    assert sessions.find(token) is None


def test_a_session_ends_after_twelve_hours_however_much_it_is_used(
    sessions: Sessions, accounts: Accounts, clock: Clock
) -> None:
    token = sessions.open("chief")
    for _ in range(11):
        clock.pass_by(hours=1)
        assert sessions.find(token)
    clock.pass_by(hours=1)
    assert sessions.find(token) is None


def test_sessions_that_have_run_out_are_cleared_away(
    sessions: Sessions, accounts: Accounts, engine: Engine, clock: Clock
) -> None:
    sessions.open("chief")
    clock.pass_by(hours=2)
    sessions.open("chief")
    with Session(engine) as session:
        assert len(session.scalars(select(SessionRow)).all()) == 1


def test_signing_out_ends_one_session_or_all(sessions: Sessions, accounts: Accounts) -> None:
    tokens = [sessions.open("chief") for _ in range(3)]
    found = sessions.find(tokens[0])
    assert found
    sessions.close(found.session or "")
    assert [bool(sessions.find(token)) for token in tokens] == [False, True, True]
    sessions.close_all("chief")
    assert not any(sessions.find(token) for token in tokens)


def test_a_change_of_roles_holds_for_sessions_that_are_open(sessions: Sessions, accounts: Accounts) -> None:
    accounts.add(SYSTEM, "wang", "Wang", ["analyst"])
    token = sessions.open("wang")
    accounts.change(SYSTEM, "wang", roles=["auditor"])
    found = sessions.find(token)
    assert found
    assert ("audit" in found.actions, "compare" in found.actions) == (True, False)


def test_a_link_signs_in_once_and_soon(sessions: Sessions, accounts: Accounts, clock: Clock) -> None:
    link = sessions.make_link("chief")
    assert sessions.follow("other") is None
    assert sessions.find(sessions.follow(link) or "")
    assert sessions.follow(link) is None
    late = sessions.make_link("chief")
    clock.pass_by(minutes=15)
    assert sessions.follow(late) is None


def test_of_many_who_follow_a_link_at_once_one_gets_in(sessions: Sessions, accounts: Accounts) -> None:
    link = sessions.make_link("chief")
    got = at_once(lambda: sessions.follow(link), 8)
    assert len([each for each in got if each]) == 1


def test_no_secret_is_stored_in_the_clear(sessions: Sessions, accounts: Accounts, engine: Engine, clock: Clock) -> None:
    one_time = accounts.add(SYSTEM, "wang", "Wang", ["analyst"])
    owner = SignedIn("chief", "", True, actions_of(["administrator"]))
    _, key = Keys(engine, clock).make(owner, "k", ["read"], 1)
    secrets = [PASSWORD, one_time, sessions.open("chief"), sessions.make_link("chief"), key.split("_", 2)[2]]
    with engine.connect() as connection:
        tables = [Account, SessionRow, Link, ApiKey, AuditEntry]
        kept = str([connection.execute(text(f"SELECT * FROM {each.__tablename__}")).all() for each in tables])
    assert "chief" in kept
    for secret in secrets:
        assert secret not in kept


# --- Keys -------------------------------------------------------------------------------------------------


def test_a_key_works_until_it_runs_out_or_is_revoked(accounts: Accounts, engine: Engine, clock: Clock) -> None:
    keys, owner = Keys(engine, clock), SignedIn("chief", "", True, actions_of(["administrator"]))
    row, key = keys.make(owner, "k", ["read"], 30)
    found = keys.find(key)
    assert found
    assert (found.name, found.human, found.actions) == ("chief", False, {"read"})
    assert keys.of("chief")[0].used_at == clock.now
    for wrong in (key[:-1], key + "x", key.replace(row.id, "0" * 16), f"jingdi_{row.id}_", "", "jingdi", "_" * 9):
        assert keys.find(wrong) is None
    clock.pass_by(days=30)
    assert keys.find(key) is None
    row, key = keys.make(owner, "k", ["read"], 30)
    with pytest.raises(errors.AccountNotFound):
        keys.revoke("somebody else", row.id)
    assert keys.find(key)
    keys.revoke("chief", row.id)
    assert keys.find(key) is None


def test_a_key_does_no_more_than_its_owner_even_later(accounts: Accounts, engine: Engine, clock: Clock) -> None:
    accounts.add(SYSTEM, "wang", "Wang", ["reviewer"])
    keys = Keys(engine, clock)
    _, key = keys.make(SignedIn("wang", "", True, actions_of(["reviewer"])), "k", ["read", "originals"], 1)
    accounts.change(SYSTEM, "wang", roles=["analyst"])
    found = keys.find(key)
    assert found
    assert found.actions == {"read"}


@pytest.mark.parametrize("action", ["originals", "people", "own"])
def test_a_key_is_not_given_what_its_owner_may_not_nor_what_no_key_may(
    accounts: Accounts, engine: Engine, action: Any
) -> None:
    owner = SignedIn("chief", "", True, actions_of(["administrator"]))
    with pytest.raises(errors.NotAllowed):
        Keys(engine).make(owner, "k", ["read", action], 1)
