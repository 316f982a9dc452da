"""Scenes that were taken in, and their findings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_SIDES = ("west", "south", "east", "north")


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "scene",
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.Column("probability_path", sa.String(1024), nullable=True),
        sa.Column("before_at", _MOMENT, nullable=True),
        sa.Column("taken_at", _MOMENT, nullable=False),
        sa.Column("gsd_m", sa.Double(), nullable=True),
        *(sa.Column(side, sa.Double(), nullable=False) for side in _SIDES),
        sa.Column("coverage", sa.JSON(), nullable=True),
        sa.Column("model_sha256", sa.String(64), nullable=True),
        sa.Column("findings_count", sa.Integer(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scene")),
    )
    op.create_index(op.f("ix_scene_taken_at"), "scene", ["taken_at"])
    op.create_table(
        "scan_finding",
        sa.Column("scene_id", sa.String(128), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("area_m2", sa.Double(), nullable=False),
        sa.Column("area_error_m2", sa.Double(), nullable=True),
        sa.Column("geometry", sa.JSON(), nullable=False),
        *(sa.Column(side, sa.Double(), nullable=False) for side in _SIDES),
        sa.Column("track_id", sa.String(32), nullable=True),
        sa.PrimaryKeyConstraint("scene_id", "number", name=op.f("pk_scan_finding")),
        sa.ForeignKeyConstraint(["scene_id"], ["scene.id"], name="fk_scan_finding_scene"),
        sa.CheckConstraint("kind IN ('new', 'remaining', 'removed')", name=op.f("ck_scan_finding_kind")),
    )
    op.create_index("ix_scan_finding_place", "scan_finding", ["west", "south"])
    op.create_index(op.f("ix_scan_finding_track_id"), "scan_finding", ["track_id"])


def downgrade() -> None:
    """Back to scans whose pictures are not known."""
    op.drop_table("scan_finding")
    op.drop_table("scene")
