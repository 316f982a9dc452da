"""Failed sign-ins make the next one wait: twice as long each time, forgotten after a day, without a background job."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, delete, update
from sqlalchemy.dialects import postgresql, sqlite

from service.errors import TooManyAttempts
from service.people.tables import Attempts

FORGOTTEN = timedelta(days=1)
_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True, slots=True)
class Limit:
    """After `free` failures the next attempt waits a second, then two, four, ... at most `longest`."""

    free: int
    longest: timedelta

    def wait(self, failures: int) -> timedelta:
        """How long after so many failures."""
        over = failures - self.free
        return timedelta(0) if over < 0 else min(self.longest, timedelta(seconds=2.0 ** min(over, 30)))


# One account from one address is a person who mistypes, or somebody guessing. One account from everywhere waits no
# longer than a minute, so that nobody is locked out by others for long. One address for every account is a list of
# names being tried.
ACCOUNT_AND_ADDRESS = Limit(5, timedelta(minutes=15))
ACCOUNT = Limit(50, timedelta(minutes=1))
ADDRESS = Limit(50, timedelta(minutes=15))


@dataclass(frozen=True, slots=True)
class Throttle:
    """Counts in the database, so that neither a restart nor a second process forgets."""

    engine: Engine

    def enter(self, account: str, address: str, now: datetime) -> None:
        """Count an attempt, before its password is looked at: a hundred at once are a hundred.

        Raises:
            TooManyAttempts: it comes too early. It is not counted.
        """
        insert = _INSERT[self.engine.dialect.name]
        with self.engine.begin() as connection:
            connection.execute(delete(Attempts).where(Attempts.last_at < now - FORGOTTEN))
        wait = timedelta(0)
        with self.engine.begin() as connection:
            for key, limit in sorted(_keys(account, address).items()):  # always in one order: no deadlock
                # Changes nothing of a row that is there, but locks it until the end of the transaction.
                locking = insert(Attempts).values(key=key, failures=0, last_at=now)
                locking = locking.on_conflict_do_update(
                    index_elements=[Attempts.key], set_={"failures": Attempts.failures}
                )
                row = connection.execute(locking.returning(Attempts.failures, Attempts.last_at)).one()
                wait = max(wait, row.last_at + limit.wait(row.failures) - now)
            if wait <= timedelta(0):
                counted = update(Attempts).where(Attempts.key.in_(_keys(account, address)))
                connection.execute(counted.values(failures=Attempts.failures + 1, last_at=now))
        if wait > timedelta(0):
            raise TooManyAttempts(math.ceil(wait.total_seconds()))

    def succeeded(self, account: str, address: str) -> None:
        """The attempt was none: the account starts afresh, the address is as before."""
        of_address = _digest(None, address)
        own = [key for key in _keys(account, address) if key != of_address]
        with self.engine.begin() as connection:
            connection.execute(delete(Attempts).where(Attempts.key.in_(own)))
            connection.execute(
                update(Attempts)
                .where(Attempts.key == of_address, Attempts.failures > 0)
                .values(failures=Attempts.failures - 1)
            )


def _keys(account: str, address: str) -> dict[str, Limit]:
    return {
        _digest(account, address): ACCOUNT_AND_ADDRESS,
        _digest(account, None): ACCOUNT,
        _digest(None, address): ADDRESS,
    }


def _digest(account: str | None, address: str | None) -> str:
    return hashlib.sha256(repr((account, address)).encode()).hexdigest()
