"""Corrections of findings by people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "pair_review",
        sa.Column("pair_id", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("corrections", sa.JSON(), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("pair_id", name=op.f("pk_pair_review")),
        sa.ForeignKeyConstraint(["pair_id"], ["pair.id"], name="fk_pair_review_pair", ondelete="CASCADE"),
    )


def downgrade() -> None:
    """Back to findings that nobody corrects."""
    op.drop_table("pair_review")
