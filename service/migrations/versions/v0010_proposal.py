"""Triage: dismissals that wait for a second person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_OPEN = sa.text("settled_at IS NULL")


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "proposal",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("alert_id", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("proposed_at", _MOMENT, nullable=False),
        sa.Column("settled_by", sa.String(64), nullable=True),
        sa.Column("settled_at", _MOMENT, nullable=True),
        sa.Column("settlement", sa.String(16), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposal")),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name="fk_proposal_alert"),
        sa.CheckConstraint("settlement IN ('confirmed', 'refused')", name=op.f("ck_proposal_settlement")),
        sa.CheckConstraint("(settled_at IS NULL) = (settlement IS NULL)", name=op.f("ck_proposal_settled")),
    )
    op.create_index(op.f("ix_proposal_alert_id"), "proposal", ["alert_id"])
    op.create_index(
        "ix_proposal_one_open", "proposal", ["alert_id"], unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN
    )


def downgrade() -> None:
    """Back to dismissals by one person."""
    op.drop_table("proposal")
