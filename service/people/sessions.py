"""Sessions of browsers and sign-in links. The database keeps digests only: whoever reads it cannot sign in with it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, Engine, delete, or_, select, update
from sqlalchemy.orm import Session

from service.people.accounts import utc_now
from service.people.rights import SignedIn, actions_of
from service.people.tables import Account, Link, SessionRow

IDLE, LONGEST = timedelta(hours=2), timedelta(hours=12)
LINK_FOR = timedelta(minutes=15)
_NOTED_EVERY = timedelta(minutes=1)  # when a session was last used need not be exact, and a write costs


def digest(token: str) -> str:
    """SHA-256: enough for a token of 256 random bits, which nobody can guess, unlike a password."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of one service. `now` is the clock."""

    engine: Engine
    now: Callable[[], datetime] = utc_now

    def open(self, account: str, *, restricted: bool = False) -> str:
        """A new session. Returns its token. Those that have run out are cleared away."""
        token, now = secrets.token_urlsafe(32), self.now()
        over = or_(SessionRow.expires_at <= now, SessionRow.seen_at <= now - IDLE)
        row = SessionRow(
            digest=digest(token), account=account, created_at=now, seen_at=now, expires_at=now + LONGEST,
            restricted=restricted,
        )  # fmt: skip
        with Session(self.engine) as session, session.begin():
            session.execute(delete(SessionRow).where(over))
            session.add(row)
        return token

    def find(self, token: str) -> SignedIn | None:
        """Whose session it is, if it has not run out and the account is not disabled."""
        now = self.now()
        query = (
            select(SessionRow, Account)
            .join(Account, Account.name == SessionRow.account)
            .where(SessionRow.digest == digest(token), SessionRow.expires_at > now, SessionRow.seen_at > now - IDLE)
            .where(Account.disabled_at.is_(None))
        )
        with Session(self.engine, expire_on_commit=False) as session:
            found = session.execute(query).one_or_none()
        if found is None:
            return None
        row, account = found
        if now - row.seen_at >= _NOTED_EVERY:
            seen = update(SessionRow).where(SessionRow.digest == row.digest).values(seen_at=now)
            with self.engine.begin() as connection:
                connection.execute(seen)
        return SignedIn(account.name, account.display_name, True, actions_of(account.roles), row.digest, row.restricted)

    def close(self, session_digest: str) -> None:
        """Signed out here."""
        with self.engine.begin() as connection:
            connection.execute(delete(SessionRow).where(SessionRow.digest == session_digest))

    def close_all(self, account: str) -> None:
        """Signed out everywhere."""
        with self.engine.begin() as connection:
            connection.execute(delete(SessionRow).where(SessionRow.account == account))

    def make_link(self, account: str) -> str:
        """The token of a link that signs in, once and soon."""
        token, now = secrets.token_urlsafe(32), self.now()
        with Session(self.engine) as session, session.begin():
            session.execute(delete(Link).where(Link.expires_at <= now))
            session.add(Link(digest=digest(token), account=account, expires_at=now + LINK_FOR))
        return token

    def follow(self, token: str) -> str | None:
        """A session for whoever follows the link first; None for everybody else."""
        with Session(self.engine) as session, session.begin():
            link = session.get(Link, digest(token))
            if link is None:
                return None
            session.expunge(link)
            result: CursorResult[Any] = session.execute(  # type: ignore[assignment]
                delete(Link).where(Link.digest == link.digest)
            )
        if result.rowcount != 1 or link.expires_at <= self.now():
            return None
        return self.open(link.account)
