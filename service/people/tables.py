"""Tables of people: accounts, sessions, sign-in links, API keys, failed sign-ins. No secret is stored in the clear."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base, UtcDateTime
from service.people.rights import Action, Role


class Account(Base):
    """An official's account. It is disabled, never deleted, so that its name in the records stays one person's.

    Attributes:
        name: as `service.ledger.audit.Actor.key` writes it; never changed, never given to somebody else.
        email: for notifications only.
        password_hash: argon2id; None after a one-time password was used and until a password is chosen.
        temporary_until: until when the password, a one-time password, can be used; None for a chosen one.
    """

    __tablename__ = "account"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    display_name: Mapped[str] = mapped_column(String(128))
    email: Mapped[str | None] = mapped_column(String(254))
    roles: Mapped[list[Role]] = mapped_column(JSON)
    password_hash: Mapped[str | None] = mapped_column(String(200))
    temporary_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SessionRow(Base):
    """A browser that is signed in. `digest` is SHA-256 of the token in its cookie."""

    __tablename__ = "account_session"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    account: Mapped[str] = mapped_column(
        String(64), ForeignKey("account.name", name="fk_account_session_account"), index=True
    )
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    restricted: Mapped[bool]


class Link(Base):
    """A sign-in link that has not been followed yet. `digest` is SHA-256 of the token in its address."""

    __tablename__ = "account_link"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    account: Mapped[str] = mapped_column(String(64), ForeignKey("account.name", name="fk_account_link_account"))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ApiKey(Base):
    """A key of an account for a program. `digest` is SHA-256 of its secret; `id` is the part that may be seen."""

    __tablename__ = "account_key"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    account: Mapped[str] = mapped_column(
        String(64), ForeignKey("account.name", name="fk_account_key_account"), index=True
    )
    label: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))
    actions: Mapped[list[Action]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Attempts(Base):
    """Failed sign-ins of an account, an address, or both. `key` is a digest: neither is stored."""

    __tablename__ = "account_attempts"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int]
    last_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class OidcIdentity(Base):
    """Who an account is at an OpenID provider. Nothing else that the provider says of a person is kept."""

    __tablename__ = "oidc_identity"
    __table_args__ = (UniqueConstraint("account", name="uq_oidc_identity_account"),)

    issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    account: Mapped[str] = mapped_column(String(64), ForeignKey("account.name", name="fk_oidc_identity_account"))


class OidcAttempt(Base):
    """A browser was sent to the provider and has not come back. `state` and `browser` are digests."""

    __tablename__ = "oidc_attempt"

    state: Mapped[str] = mapped_column(String(64), primary_key=True)
    browser: Mapped[str] = mapped_column(String(64))
    next: Mapped[str] = mapped_column(String(2000))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
