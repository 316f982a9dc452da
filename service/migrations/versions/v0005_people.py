"""People: accounts, sessions, sign-in links, API keys, failed sign-ins; and requests that are done once."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_TABLES = ("idempotent_request", "account_attempts", "account_key", "account_link", "account_session", "account")


def _owned(table: str, *columns: sa.Column[Any], key: str) -> None:
    op.create_table(
        table,
        sa.Column("account", sa.String(64), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{table}")),
        sa.ForeignKeyConstraint(["account"], ["account.name"], name=f"fk_{table}_account"),
    )


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "account",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("display_name", sa.String(128), nullable=False),
        sa.Column("email", sa.String(254), nullable=True),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("password_hash", sa.String(200), nullable=True),
        sa.Column("temporary_until", _MOMENT, nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("disabled_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_account")),
    )
    _owned(
        "account_session",
        sa.Column("digest", sa.String(64), nullable=False),
        *(sa.Column(name, _MOMENT, nullable=False) for name in ("created_at", "seen_at", "expires_at")),
        sa.Column("restricted", sa.Boolean(), nullable=False),
        key="digest",
    )
    op.create_index(op.f("ix_account_session_account"), "account_session", ["account"])
    _owned(
        "account_link",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        key="digest",
    )
    _owned(
        "account_key",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("actions", sa.JSON(), nullable=False),
        *(sa.Column(name, _MOMENT, nullable=False) for name in ("created_at", "expires_at")),
        *(sa.Column(name, _MOMENT, nullable=True) for name in ("used_at", "revoked_at")),
        key="id",
    )
    op.create_index(op.f("ix_account_key_account"), "account_key", ["account"])
    op.create_table(
        "account_attempts",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_account_attempts")),
    )
    op.create_index(op.f("ix_account_attempts_last_at"), "account_attempts", ["last_at"])
    op.create_table(
        "idempotent_request",
        sa.Column("person", sa.String(64), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("job", sa.String(32), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("lease_until", _MOMENT, nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.JSON(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("person", "key", name=op.f("pk_idempotent_request")),
    )
    op.create_index(op.f("ix_idempotent_request_created_at"), "idempotent_request", ["created_at"])


def downgrade() -> None:
    """Back to a service without accounts."""
    for table in _TABLES:
        op.drop_table(table)
