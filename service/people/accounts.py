"""Accounts: made, changed and reset by administrators, each time in the audit log; and checked at the door."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, Engine, delete, select, update
from sqlalchemy.orm import Session

from service import errors
from service.ledger.audit import SYSTEM, Actor, append, writing
from service.people import passwords
from service.people.rights import OPERATOR, ROLES, Role, SignedIn
from service.people.tables import Account, ApiKey, SessionRow
from service.people.throttle import Throttle

FIRST = "admin"
ONE_TIME_FOR = timedelta(days=3)
NAME = re.compile(r"\w[\w.@-]{1,63}")
"""What an account can be called."""


def utc_now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def account_key(name: str) -> str:
    """The name of an account as it is stored and compared: two spellings are one account."""
    return Actor(name).key


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts of one service. `now` is the clock."""

    engine: Engine
    now: Callable[[], datetime] = utc_now

    def all(self) -> Sequence[Account]:
        """By name."""
        with Session(self.engine) as session:
            return session.scalars(select(Account).order_by(Account.name)).all()

    def get(self, name: str) -> Account:
        """The account.

        Raises:
            AccountNotFound: there is none.
        """
        with Session(self.engine) as session:
            return _known(session, name)

    def add(self, actor: Actor, name: str, display_name: str, roles: Sequence[Role], email: str | None = None) -> str:
        """Make an account. Returns its one-time password, which is stored nowhere.

        Raises:
            AccountUnusable: nobody can be called so.
            AccountConflict: somebody is called so already, or was once.
        """
        key = account_key(name)
        if not NAME.fullmatch(key) or account_key(key) != key or not Actor(key).person or key == OPERATOR.name:
            raise errors.AccountUnusable("account_name")
        password, now = passwords.one_time_password(), self.now()
        account = Account(
            name=key, display_name=display_name, email=email, roles=_in_order(roles), created_at=now,
            password_hash=passwords.hash_password(password), temporary_until=now + ONE_TIME_FOR,
        )  # fmt: skip
        with writing(self.engine) as session:
            if session.get(Account, key) is not None:
                raise errors.AccountConflict("account_exists")
            session.add(account)
            append(session, actor, "account.created", f"account:{key}", {"roles": account.roles}, now)
        return password

    def change(
        self,
        actor: Actor,
        name: str,
        *,
        roles: Sequence[Role] | None = None,
        disabled: bool | None = None,
        **shown: str | None,
    ) -> Account:
        """Change roles, what is shown, or whether the account can be used. Holds from the next request on.

        Args:
            shown: `display_name`, `email`. They are not in the audit log, which keeps its entries for ever.

        Raises:
            AccountNotFound: there is none.
            AccountConflict: nobody would be left to administer accounts.
        """
        now = self.now()
        with writing(self.engine) as session:
            account = _known(session, name)
            detail: dict[str, Any] = {"fields": sorted(shown)} if shown else {}
            for field, value in shown.items():
                setattr(account, field, value)
            if roles is not None:
                account.roles = detail["roles"] = _in_order(roles)
            if disabled is not None and disabled != (account.disabled_at is not None):
                account.disabled_at = now if disabled else None
                detail["disabled"] = disabled
            if disabled:
                _sign_out(session, account.name)
                live = update(ApiKey).where(ApiKey.account == account.name, ApiKey.revoked_at.is_(None))
                session.execute(live.values(revoked_at=now))
            session.flush()
            if not any(_administers(each) for each in session.scalars(select(Account))):
                raise errors.AccountConflict("last_administrator")
            append(session, actor, "account.changed", f"account:{account.name}", detail, now)
        return account

    def reset(self, actor: Actor, name: str) -> str:
        """A new one-time password in place of the password; signed out everywhere.

        Raises:
            AccountNotFound: there is none.
        """
        password, now = passwords.one_time_password(), self.now()
        hashed = passwords.hash_password(password)
        with writing(self.engine) as session:
            account = _known(session, name)
            account.password_hash, account.temporary_until = hashed, now + ONE_TIME_FOR
            _sign_out(session, account.name)
            append(session, actor, "account.password_reset", f"account:{account.name}", {}, now)
        return password

    def first(self) -> str | None:
        """The first administrator's one-time password, new each time; None once an administrator has chosen one."""
        known = self.all()
        if any(_administers(each) and each.password_hash and not each.temporary_until for each in known):
            return None
        if not known:
            return self.add(SYSTEM, FIRST, FIRST, ROLES)
        first = any(each.name == FIRST and _administers(each) for each in known)
        return self.reset(SYSTEM, FIRST) if first else None

    def replace(self, asking: SignedIn, current: str, new: str, address: str) -> None:
        """Choose a password, with the current one unless that was a one-time password.

        Raises:
            AccountUnusable: the new one is too weak.
            NotAllowed: the current one is wrong.
            TooManyAttempts: too many were wrong.
        """
        passwords.require_strength(new, asking.name)
        if not asking.restricted and self.check(asking.name, current, address) is None:
            raise errors.NotAllowed("wrong_password")
        self.choose(asking.name, new)

    def choose(self, name: str, password: str) -> None:
        """A password of one's own; signed out everywhere.

        Raises:
            AccountUnusable: the password is too weak.
        """
        passwords.require_strength(password, name)
        hashed = passwords.hash_password(password)
        with writing(self.engine) as session:
            account = _known(session, name)
            account.password_hash, account.temporary_until = hashed, None
            _sign_out(session, name)
            append(session, Actor(name), "account.password_chosen", f"account:{name}", {}, self.now())

    def check(self, name: str, password: str, address: str) -> tuple[str, bool] | None:
        """Who comes in with this password, and whether it was a one-time password, which is used up now.

        None if it is wrong, has run out, or the account is unknown or disabled: nobody can tell which.

        Raises:
            TooManyAttempts: too many failed.
        """
        key, now = account_key(name[:256])[:64], self.now()
        throttle = Throttle(self.engine)
        throttle.enter(key, address, now)
        with Session(self.engine) as session:
            account = session.get(Account, key)
        stored = account.password_hash if account else None
        if not passwords.verify(stored, password) or account is None or stored is None:
            return None
        temporary = account.temporary_until is not None
        if account.disabled_at or (account.temporary_until and account.temporary_until <= now):
            return None
        if temporary or passwords.outdated(stored):
            # Compare and set: of two who come in with one one-time password, one gets in.
            replaced = None if temporary else passwords.hash_password(password)
            same = update(Account).where(Account.name == key, Account.password_hash == stored)
            with self.engine.begin() as connection:
                result: CursorResult[Any] = connection.execute(same.values(password_hash=replaced))
            if temporary and result.rowcount != 1:
                return None
        throttle.succeeded(key, address)
        return key, temporary


def _known(session: Session, name: str) -> Account:
    account = session.get(Account, account_key(name))
    if account is None:
        raise errors.AccountNotFound
    return account


def _in_order(roles: Sequence[Role]) -> list[Role]:
    return [role for role in ROLES if role in roles]


def _administers(account: Account) -> bool:
    return account.disabled_at is None and "administrator" in account.roles


def _sign_out(session: Session, name: str) -> None:
    session.execute(delete(SessionRow).where(SessionRow.account == name))
