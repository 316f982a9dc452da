"""Photographs: of which kind a pair is, where it should have been taken, and who looked before it may be shown."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    with op.batch_alter_table("pair") as table:
        table.add_column(sa.Column("kind", sa.String(16), nullable=False, server_default="auto"))
        table.add_column(sa.Column("site", sa.JSON(), nullable=True))
        table.add_column(sa.Column("checked_by", sa.String(64), nullable=True))
        table.add_column(sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Back to the revision before."""
    with op.batch_alter_table("pair") as table:
        for name in ("checked_at", "checked_by", "site", "kind"):
            table.drop_column(name)
