"""The table of pairs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "pair",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(32), nullable=True),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("before_name", sa.String(255), nullable=False),
        sa.Column("after_name", sa.String(255), nullable=False),
        sa.Column("gsd", sa.Double(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("verdict", sa.String(32), nullable=True),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.Column("error_code", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pair")),
        sa.CheckConstraint("status IN ('queued', 'running', 'done', 'failed')", name=op.f("ck_pair_status")),
        sa.CheckConstraint("progress >= 0 AND progress <= 1", name=op.f("ck_pair_progress")),
    )
    op.create_index(op.f("ix_pair_created_at"), "pair", ["created_at"])
    op.create_index(op.f("ix_pair_status"), "pair", ["status"])


def downgrade() -> None:
    """Back to nothing."""
    op.drop_table("pair")
