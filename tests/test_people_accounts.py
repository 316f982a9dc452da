"""Accounts and their passwords: who gets in, once or again, and what administrators may do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service import errors
from service.ledger.audit import SYSTEM, verify
from service.ledger.tables import AuditEntry
from service.people import passwords
from service.people.accounts import Accounts
from service.people.keys import Keys
from service.people.rights import ROLES, SignedIn, actions_of
from service.people.sessions import Sessions
from service.people.tables import Account
from tests.people import PASSWORD, Clock, at_once, cheap_passwords, database, with_chief

HERE = "10.0.0.1"


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


# --- Passwords --------------------------------------------------------------------------------------------


def test_the_right_password_gets_in_and_no_other(accounts: Accounts) -> None:
    assert accounts.check("chief", PASSWORD, HERE) == ("chief", False)
    assert accounts.check(" CHIEF ", PASSWORD, HERE) == ("chief", False)
    for wrong in ("", PASSWORD + " ", PASSWORD.upper()):
        assert accounts.check("chief", wrong, HERE) is None


def test_passwords_are_stored_as_argon2id_and_at_full_strength() -> None:
    stored = passwords.hash_password(PASSWORD)
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert passwords.verify(stored, PASSWORD)
    assert not passwords.verify("not a hash", PASSWORD)


def test_a_password_is_one_however_the_keyboard_composes_it() -> None:
    with cheap_passwords():
        assert passwords.verify(passwords.hash_password("ｃａｆé ２ 密码密码"), "café 2 密码密码")


def test_a_hash_with_old_parameters_is_renewed_when_its_owner_comes(accounts: Accounts, engine: Engine) -> None:
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
    with Session(engine) as session, session.begin():
        session.get_one(Account, "chief").password_hash = old
    assert accounts.check("chief", "wrong", HERE) is None
    assert accounts.get("chief").password_hash == old
    assert accounts.check("chief", PASSWORD, HERE)
    assert (accounts.get("chief").password_hash or "").startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert accounts.check("chief", PASSWORD, HERE)


def test_an_unknown_name_costs_as_much_as_a_known_one(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    cheap = passwords.hasher

    class Counted:
        hash = staticmethod(cheap.hash)

        @staticmethod
        def verify(stored: str, password: str) -> bool:
            hashed.append(stored.rsplit("$", 2)[0])
            return cheap.verify(stored, password)

    monkeypatch.setattr(passwords, "hasher", Counted())
    for name in ("chief", "nobody", "系统", ""):
        assert accounts.check(name, "wrong", HERE) is None
    assert len(hashed) == 4
    assert len(set(hashed)) == 1  # the same parameters


def test_nobody_knows_the_password_that_stands_in_for_none(accounts: Accounts, engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.get_one(Account, "chief").password_hash = None
    assert not passwords.verify(None, PASSWORD)
    assert accounts.check("chief", PASSWORD, HERE) is None


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("short", "password_length"),
        ("x" * 300, "password_length"),
        ("abababababab", "password_simple"),
        ("chief chief 12", "password_simple"),
        ("CHIEF of staff", "password_simple"),
    ],
)
def test_weak_passwords_are_refused(accounts: Accounts, password: str, code: str) -> None:
    with pytest.raises(errors.AccountUnusable) as refused:
        accounts.choose("chief", password)
    assert refused.value.code == code
    assert accounts.check("chief", PASSWORD, HERE)


# --- One-time passwords -----------------------------------------------------------------------------------


def test_a_one_time_password_gets_in_once(accounts: Accounts) -> None:
    password = accounts.add(SYSTEM, "wang", "Wang", ["analyst"])
    assert accounts.check("wang", password, HERE) == ("wang", True)
    assert accounts.check("wang", password, HERE) is None


def test_of_many_at_once_with_a_one_time_password_one_gets_in(accounts: Accounts) -> None:
    password = accounts.add(SYSTEM, "wang", "Wang", ["analyst"])
    got = at_once(lambda: accounts.check("wang", password, HERE), 5)
    assert got.count(("wang", True)) == 1


def test_a_one_time_password_runs_out(accounts: Accounts, clock: Clock) -> None:
    password = accounts.add(SYSTEM, "wang", "Wang", ["analyst"])
    clock.pass_by(days=3)
    assert accounts.check("wang", password, HERE) is None


def test_the_first_administrator_is_offered_a_password_until_one_is_chosen(engine: Engine, clock: Clock) -> None:
    accounts = Accounts(engine, clock)
    first, second = accounts.first(), accounts.first()
    assert first
    assert second
    assert accounts.check("admin", first, HERE) is None  # the later one is in its place
    assert accounts.check("admin", second, HERE) == ("admin", True)
    assert accounts.get("admin").roles == list(ROLES)
    accounts.choose("admin", PASSWORD)
    assert accounts.first() is None


# --- Names and administration -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "a", "a b", "系统", "Jingdi", "auto", "operator", "-x", "x\n", "a/b", "x" * 65])
def test_names_that_cannot_stand_in_the_records_are_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(errors.AccountUnusable):
        accounts.add(SYSTEM, name, "X", ["analyst"])


@pytest.mark.parametrize("name", ["chief", "CHIEF", " Ｃhief "])
def test_two_spellings_are_one_account_and_a_name_is_given_once(accounts: Accounts, name: str) -> None:
    accounts.add(SYSTEM, "second", "S", ["administrator"])
    accounts.change(SYSTEM, "chief", disabled=True)
    with pytest.raises(errors.AccountConflict):
        accounts.add(SYSTEM, name, "X", ["analyst"])


@pytest.mark.parametrize("change", [{"disabled": True}, {"roles": ["analyst"]}])
def test_one_administrator_stays(accounts: Accounts, change: dict[str, Any]) -> None:
    with pytest.raises(errors.AccountConflict):
        accounts.change(SYSTEM, "chief", **change)
    accounts.add(SYSTEM, "second", "S", ["administrator"])
    accounts.change(SYSTEM, "chief", **change)
    with pytest.raises(errors.AccountConflict):
        accounts.change(SYSTEM, "second", **change)


def test_a_disabled_account_is_out_at_once_with_sessions_and_keys(
    accounts: Accounts, sessions: Sessions, engine: Engine, clock: Clock
) -> None:
    accounts.add(SYSTEM, "wang", "Wang", ["analyst"])
    accounts.choose("wang", PASSWORD)
    token = sessions.open("wang")
    _, key = Keys(engine, clock).make(SignedIn("wang", "", True, actions_of(["analyst"])), "k", ["read"], 1)
    accounts.change(SYSTEM, "wang", disabled=True)
    assert sessions.find(token) is None
    assert Keys(engine, clock).find(key) is None
    assert accounts.check("wang", PASSWORD, HERE) is None
    accounts.change(SYSTEM, "wang", disabled=False)
    assert accounts.check("wang", PASSWORD, HERE)
    assert sessions.find(token) is None
    assert Keys(engine, clock).find(key) is None


def test_a_new_password_ends_every_session(accounts: Accounts, sessions: Sessions) -> None:
    for end in (lambda: accounts.choose("chief", PASSWORD + "!"), lambda: accounts.reset(SYSTEM, "chief")):
        token = sessions.open("chief")
        assert sessions.find(token)
        end()
        assert sessions.find(token) is None


def test_administration_is_in_the_audit_log_and_nothing_private_is(accounts: Accounts, engine: Engine) -> None:
    password = accounts.add(SYSTEM, "wang", "王小明", ["analyst"], "wang@example.org")
    accounts.change(SYSTEM, "wang", roles=["inspector"], display_name="王大明", email="w@example.org")
    accounts.reset(SYSTEM, "wang")
    with Session(engine) as session:
        log = session.scalars(select(AuditEntry).where(AuditEntry.subject == "account:wang")).all()
        assert verify(session).problem is None
    assert [entry.action for entry in log] == ["account.created", "account.changed", "account.password_reset"]
    kept = " ".join(entry.detail for entry in log)
    assert "inspector" in kept
    for private in ("明", "example.org", password):
        assert private not in kept
