"""The ledger: courtyards, sites, alerts, observations, decisions, candidates, and the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UNDECIDED = sa.text("state IN ('suspected', 'corroborated', 'dispatched')")
_MOMENT = sa.DateTime(timezone=True)
_CAUSES = "cause IN ('new', 'remaining')"


def _bounds() -> list[sa.Column[float]]:
    return [sa.Column(side, sa.Double(), nullable=False) for side in ("west", "south", "east", "north")]


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "courtyard",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_courtyard")),
    )
    op.create_index(op.f("ix_courtyard_code"), "courtyard", ["code"], unique=True)

    op.create_table(
        "site",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("courtyard_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("system", sa.String(32), nullable=False),
        sa.Column("street", sa.String(64), nullable=True),
        sa.Column("community", sa.String(64), nullable=True),
        sa.Column("batch", sa.String(64), nullable=True),
        sa.Column("land_m2", sa.Double(), nullable=False),
        sa.Column("building_m2", sa.Double(), nullable=False),
        sa.Column("greened_m2", sa.Double(), nullable=False),
        sa.Column("opened_on", sa.Date(), nullable=True),
        sa.Column("closed_on", sa.Date(), nullable=True),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("geometry", sa.JSON(), nullable=False),
        sa.Column("radius_m", sa.Double(), nullable=True),
        *_bounds(),
        sa.Column("inspector", sa.String(64), nullable=True),
        sa.Column("baseline", sa.JSON(), nullable=True),
        sa.Column("observed_at", _MOMENT, nullable=True),
        sa.Column("sensitivity", sa.Double(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
        sa.ForeignKeyConstraint(["courtyard_id"], ["courtyard.id"], name="fk_site_courtyard"),
        sa.CheckConstraint(
            "system IN ('collective', 'state_assets', 'shougang', 'government_social')", name=op.f("ck_site_system")
        ),
        sa.CheckConstraint(
            "state IN ('open', 'claimed_clear', 'accepted', 'watched', 'rebound_suspected', 'rebound_confirmed')",
            name=op.f("ck_site_state"),
        ),
        sa.CheckConstraint("land_m2 >= 0 AND building_m2 >= 0 AND greened_m2 >= 0", name=op.f("ck_site_areas")),
        sa.CheckConstraint("sensitivity >= 0 AND sensitivity <= 1", name=op.f("ck_site_sensitivity")),
    )
    op.create_index(op.f("ix_site_code"), "site", ["code"], unique=True)
    for column in ("courtyard_id", "system", "state"):
        op.create_index(op.f(f"ix_site_{column}"), "site", [column])

    op.create_table(
        "alert",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("site_id", sa.String(32), nullable=False),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("area_m2", sa.Double(), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", _MOMENT, nullable=False),
        sa.Column("last_seen_at", _MOMENT, nullable=False),
        sa.Column("opened_at", _MOMENT, nullable=False),
        sa.Column("inspector", sa.String(64), nullable=True),
        sa.Column("dispatched_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name="fk_alert_site"),
        sa.CheckConstraint(_CAUSES, name=op.f("ck_alert_cause")),
        sa.CheckConstraint(
            "state IN ('suspected', 'corroborated', 'dispatched', 'confirmed', 'dismissed', 'closed')",
            name=op.f("ck_alert_state"),
        ),
    )
    for column in ("site_id", "state", "dispatched_at"):
        op.create_index(op.f(f"ix_alert_{column}"), "alert", [column])
    op.create_index(
        "ix_alert_one_undecided",
        "alert",
        ["site_id", "cause"],
        unique=True,
        sqlite_where=_UNDECIDED,
        postgresql_where=_UNDECIDED,
    )

    op.create_table(
        "observation",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("site_id", sa.String(32), nullable=False),
        sa.Column("alert_id", sa.String(32), nullable=True),
        sa.Column("scene", sa.String(128), nullable=False),
        sa.Column("observed_at", _MOMENT, nullable=False),
        sa.Column("result", sa.String(16), nullable=False),
        sa.Column("observed_share", sa.Double(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=True),
        sa.Column("area_m2", sa.Double(), nullable=True),
        sa.Column("geometry", sa.JSON(), nullable=True),
        sa.Column("model_sha256", sa.String(64), nullable=True),
        sa.Column("recorded_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observation")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name="fk_observation_site"),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name="fk_observation_alert"),
        sa.CheckConstraint(
            "result IN ('new', 'remaining', 'clear', 'not_observed')", name=op.f("ck_observation_result")
        ),
    )
    op.create_index(op.f("ix_observation_alert_id"), "observation", ["alert_id"])
    op.create_index("ix_observation_once", "observation", ["site_id", "scene", "result"], unique=True)

    op.create_table(
        "decision",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("site_id", sa.String(32), nullable=False),
        sa.Column("alert_id", sa.String(32), nullable=True),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("target", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("decided_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name="fk_decision_site"),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name="fk_decision_alert"),
    )
    op.create_index(op.f("ix_decision_site_id"), "decision", ["site_id"])
    op.create_index(op.f("ix_decision_alert_id"), "decision", ["alert_id"])

    op.create_table(
        "candidate",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.Column("geometry", sa.JSON(), nullable=False),
        *_bounds(),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("area_m2", sa.Double(), nullable=False),
        sa.Column("first_scene", sa.String(128), nullable=False),
        sa.Column("last_scene", sa.String(128), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", _MOMENT, nullable=False),
        sa.Column("last_seen_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candidate")),
        sa.CheckConstraint(_CAUSES, name=op.f("ck_candidate_cause")),
    )
    op.create_index(op.f("ix_candidate_last_seen_at"), "candidate", ["last_seen_at"])

    op.create_table(
        "audit_entry",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("human", sa.Boolean(), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(128), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_entry")),
    )
    op.create_index(op.f("ix_audit_entry_subject"), "audit_entry", ["subject"])
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.bulk_insert(head, [{"id": 1, "length": 0, "hash": "0" * 64}])


def downgrade() -> None:
    """Back to pairs alone."""
    for table in (
        "audit_head", "audit_entry", "candidate", "decision", "observation", "alert", "site", "courtyard",
    ):  # fmt: skip
        op.drop_table(table)
