"""API keys: `jingdi_ID_SECRET`, for programs. A key can do no more than its account, and only what it was given."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, Engine, select, update
from sqlalchemy.orm import Session

from service import errors
from service.ledger.audit import Actor, append, writing
from service.people.accounts import utc_now
from service.people.rights import FOR_KEYS, Action, SignedIn, actions_of
from service.people.sessions import digest
from service.people.tables import Account, ApiKey

PREFIX = "jingdi"
_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Keys:
    """The API keys of one service. `now` is the clock."""

    engine: Engine
    now: Callable[[], datetime] = utc_now

    def of(self, account: str) -> Sequence[ApiKey]:
        """Those of an account that have not been revoked, newest first."""
        query = select(ApiKey).where(ApiKey.account == account, ApiKey.revoked_at.is_(None))
        with Session(self.engine) as session:
            return session.scalars(query.order_by(ApiKey.created_at.desc(), ApiKey.id)).all()

    def make(self, owner: SignedIn, label: str, actions: Sequence[Action], days: int) -> tuple[ApiKey, str]:
        """A key and, this once, what to send.

        Raises:
            NotAllowed: it should do what its owner may not do, or what no key may do.
        """
        if not set(actions) <= owner.actions & set(FOR_KEYS):
            raise errors.NotAllowed("key_too_wide")
        secret, now = secrets.token_urlsafe(32), self.now()
        row = ApiKey(
            id=secrets.token_hex(8), account=owner.name, label=label, digest=digest(secret), created_at=now,
            actions=[action for action in FOR_KEYS if action in actions], expires_at=now + timedelta(days=days),
        )  # fmt: skip
        with writing(self.engine) as session:
            session.add(row)
            detail = {"actions": row.actions, "account": owner.name}
            append(session, Actor(owner.name), "key.created", f"key:{row.id}", detail, now)
        return row, f"{PREFIX}_{row.id}_{secret}"

    def find(self, sent: str) -> SignedIn | None:
        """For whom a program speaks, if the key is right, has not run out and was not revoked."""
        prefix, _, rest = sent.partition("_")
        key_id, _, secret = rest.partition("_")
        now = self.now()
        if prefix != PREFIX or not secret:
            return None
        query = select(ApiKey, Account).join(Account, Account.name == ApiKey.account).where(ApiKey.id == key_id)
        with Session(self.engine) as session:
            found = session.execute(query).one_or_none()
        if found is None:
            return None
        key, account = found
        right = hmac.compare_digest(key.digest, digest(secret))
        if not right or key.revoked_at or account.disabled_at or key.expires_at <= now:
            return None
        if key.used_at is None or now - key.used_at >= _NOTED_EVERY:
            with self.engine.begin() as connection:
                connection.execute(update(ApiKey).where(ApiKey.id == key.id).values(used_at=now))
        return SignedIn(account.name, account.display_name, False, actions_of(account.roles) & frozenset(key.actions))

    def revoke(self, account: str, key_id: str) -> None:
        """Nobody can use it any more.

        Raises:
            AccountNotFound: the account has no such key.
        """
        now = self.now()
        live = update(ApiKey).where(ApiKey.id == key_id, ApiKey.account == account, ApiKey.revoked_at.is_(None))
        with writing(self.engine) as session:
            result: CursorResult[Any] = session.connection().execute(live.values(revoked_at=now))
            if result.rowcount != 1:
                raise errors.AccountNotFound("key_not_found")
            append(session, Actor(account), "key.revoked", f"key:{key_id}", {}, now)
