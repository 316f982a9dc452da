"""Nightly scans: schedules, nights, the lock of an area, tracks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_KEPT = sa.text("removed_at IS NULL")
_POLICIES = ("fixed", "last_accepted", "previous_night")
_STATES = ("queued", "running", "findings", "nothing_found", "not_observed", "failed", "missed")
_KINDS = ("new", "remaining", "removed")
_SIDES = ("west", "south", "east", "north")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(map(repr, values))})"


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "schedule",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("area", sa.JSON(), nullable=True),
        sa.Column("area_key", sa.String(64), nullable=False),
        sa.Column("source", sa.String(1000), nullable=False),
        sa.Column("bands", sa.JSON(), nullable=False),
        sa.Column("gsd", sa.Double(), nullable=True),
        sa.Column("zoom", sa.Integer(), nullable=False),
        sa.Column("cron", sa.String(100), nullable=False),
        sa.Column("time_zone", sa.String(64), nullable=False),
        sa.Column("policy", sa.String(16), nullable=False),
        sa.Column("baseline", sa.String(1000), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("checked_until", _MOMENT, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("removed_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule")),
        sa.CheckConstraint(_one_of("policy", _POLICIES), name=op.f("ck_schedule_policy")),
        sa.CheckConstraint("policy <> 'fixed' OR baseline IS NOT NULL", name=op.f("ck_schedule_baseline")),
    )
    op.create_index("ix_schedule_name", "schedule", ["name"], unique=True, sqlite_where=_KEPT, postgresql_where=_KEPT)
    op.create_table(
        "night",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("schedule_id", sa.String(32), nullable=False),
        sa.Column("due_at", _MOMENT, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("observed_share", sa.Double(), nullable=True),
        *(sa.Column(name, sa.JSON(), nullable=True) for name in ("before", "after")),
        *(sa.Column(name, _MOMENT, nullable=True) for name in ("before_at", "taken_at")),
        sa.Column("scene_id", sa.String(128), nullable=True),
        sa.Column("findings", sa.JSON(), nullable=True),
        sa.Column("job_id", sa.String(32), nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        *(sa.Column(name, _MOMENT, nullable=True) for name in ("started_at", "finished_at")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_night")),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedule.id"], name="fk_night_schedule"),
        sa.UniqueConstraint("schedule_id", "due_at", name="uq_night_due"),
        sa.CheckConstraint(_one_of("state", _STATES), name=op.f("ck_night_state")),
        sa.CheckConstraint("observed_share >= 0 AND observed_share <= 1", name=op.f("ck_night_observed_share")),
    )
    op.create_index(op.f("ix_night_due_at"), "night", ["due_at"])
    op.create_index(op.f("ix_night_state"), "night", ["state"])
    op.create_table(
        "area_lock",
        sa.Column("area_key", sa.String(64), nullable=False),
        sa.Column("night_id", sa.String(32), nullable=False),
        sa.Column("until", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("area_key", name=op.f("pk_area_lock")),
    )
    op.create_table(
        "track",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("geometry", sa.JSON(), nullable=False),
        *(sa.Column(side, sa.Double(), nullable=False) for side in _SIDES),
        sa.Column("area_m2", sa.Double(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("misses", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", _MOMENT, nullable=False),
        sa.Column("last_seen_at", _MOMENT, nullable=False),
        sa.Column("last_scene", sa.String(128), nullable=False),
        sa.Column("checked_at", _MOMENT, nullable=False),
        *(sa.Column(name, _MOMENT, nullable=True) for name in ("corroborated_at", "ended_at")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_track")),
        sa.CheckConstraint(_one_of("kind", _KINDS), name=op.f("ck_track_kind")),
    )
    op.create_index("ix_track_place", "track", ["west", "south"])
    op.create_index(op.f("ix_track_last_seen_at"), "track", ["last_seen_at"])


def downgrade() -> None:
    """Back to scans that somebody has to begin."""
    for table in ("track", "area_lock", "night", "schedule"):
        op.drop_table(table)
