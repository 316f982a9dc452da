"""The field: uploads in pieces, and photographs taken at sites."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "upload",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("person", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload")),
        sa.CheckConstraint("received >= 0 AND received <= length", name=op.f("ck_upload_received")),
    )
    op.create_index(op.f("ix_upload_person"), "upload", ["person"])
    op.create_index(op.f("ix_upload_expires_at"), "upload", ["expires_at"])
    op.create_table(
        "photograph",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("site_id", sa.String(32), nullable=False),
        sa.Column("alert_id", sa.String(32), nullable=False),
        sa.Column("taken_by", sa.String(64), nullable=False),
        sa.Column("taken_at", _MOMENT, nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.Column("lon", sa.Double(), nullable=True),
        sa.Column("lat", sa.Double(), nullable=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photograph")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name="fk_photograph_site"),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name="fk_photograph_alert"),
    )
    op.create_index(op.f("ix_photograph_site_id"), "photograph", ["site_id"])
    op.create_index(op.f("ix_photograph_alert_id"), "photograph", ["alert_id"])


def downgrade() -> None:
    """Back to pictures that come as pairs."""
    op.drop_table("photograph")
    op.drop_table("upload")
