"""What guessing costs: each failed sign-in makes the next one wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service import errors
from service.people.accounts import Accounts
from service.people.tables import Attempts
from tests.people import PASSWORD, Clock, at_once, cheap_passwords, database, with_chief

HERE, THERE = "10.0.0.1", "10.0.0.2"


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


def fail(accounts: Accounts, times: int, name: str = "chief", address: str = HERE) -> None:
    for _ in range(times):
        assert accounts.check(name, "wrong", address) is None


def test_after_five_wrong_passwords_each_next_attempt_waits_twice_as_long(accounts: Accounts, clock: Clock) -> None:
    fail(accounts, 5)
    for wait in (1, 2, 4, 8):
        with pytest.raises(errors.TooManyAttempts) as refused:
            accounts.check("chief", PASSWORD, HERE)  # even the right one
        assert refused.value.headers == {"Retry-After": str(wait)}
        clock.pass_by(seconds=wait)
        fail(accounts, 1)
    clock.pass_by(seconds=16)
    assert accounts.check("chief", PASSWORD, HERE)
    fail(accounts, 5)  # it starts afresh


def test_guessing_from_elsewhere_does_not_lock_the_owner_out(accounts: Accounts) -> None:
    fail(accounts, 5, address=THERE)
    with pytest.raises(errors.TooManyAttempts):
        accounts.check("chief", PASSWORD, THERE)
    assert accounts.check("chief", PASSWORD, HERE)


def test_guessing_from_everywhere_waits_too_but_never_longer_than_a_minute(accounts: Accounts, clock: Clock) -> None:
    for number in range(50):
        fail(accounts, 1, address=f"10.1.0.{number}")
    with pytest.raises(errors.TooManyAttempts):
        accounts.check("chief", PASSWORD, HERE)
    for number in range(8):
        clock.pass_by(seconds=60)
        fail(accounts, 1, address=f"10.2.0.{number}")
    clock.pass_by(seconds=60)
    assert accounts.check("chief", PASSWORD, HERE)


def test_trying_a_list_of_names_from_one_address_waits_too(accounts: Accounts) -> None:
    for number in range(50):
        fail(accounts, 1, name=f"name{number}")
    with pytest.raises(errors.TooManyAttempts):
        accounts.check("another", "wrong", HERE)
    assert accounts.check("chief", PASSWORD, THERE)


def test_unknown_names_are_counted_like_known_ones(accounts: Accounts) -> None:
    fail(accounts, 5, name="nobody")
    with pytest.raises(errors.TooManyAttempts):
        accounts.check("nobody", "wrong", HERE)


def test_many_at_once_are_not_one(accounts: Accounts) -> None:
    got = at_once(lambda: accounts.check("chief", "wrong", HERE), 12)
    assert (got.count(None), got.count(errors.TooManyAttempts)) == (5, 7)


def test_failures_are_forgotten_after_a_day_and_name_nobody(accounts: Accounts, engine: Engine, clock: Clock) -> None:
    fail(accounts, 3)
    with engine.connect() as connection:
        kept = str(connection.execute(select(Attempts)).all())
    assert "chief" not in kept
    assert HERE not in kept
    clock.pass_by(days=1, seconds=1)
    fail(accounts, 1, name="nobody", address=THERE)
    with Session(engine) as session:
        assert sorted(session.scalars(select(Attempts.failures))) == [1, 1, 1]
