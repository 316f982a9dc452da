"""Reports from the public."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_STATES = ("received", "linked", "inspection", "dismissed")
_GROUNDS = ("duplicate", "no_structure", "permitted", "elsewhere", "too_vague", "abuse")


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "report",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("token_digest", sa.String(64), nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("street", sa.String(64), nullable=True),
        sa.Column("place", sa.String(200), nullable=True),
        sa.Column("lon", sa.Double(), nullable=True),
        sa.Column("lat", sa.Double(), nullable=True),
        sa.Column("photographed", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("site_id", sa.String(32), nullable=True),
        sa.Column("ground", sa.String(16), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.String(64), nullable=True),
        sa.Column("decided_at", _MOMENT, nullable=True),
        sa.Column("erased_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report")),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name="fk_report_site"),
        sa.UniqueConstraint("token_digest", name="uq_report_token_digest"),
        sa.CheckConstraint(f"state IN ({', '.join(map(repr, _STATES))})", name=op.f("ck_report_state")),
        sa.CheckConstraint(f"ground IN ({', '.join(map(repr, _GROUNDS))})", name=op.f("ck_report_ground")),
    )
    for column in ("received_at", "state", "site_id"):
        op.create_index(op.f(f"ix_report_{column}"), "report", [column])


def downgrade() -> None:
    """Back to a service that hears nothing from the public."""
    op.drop_table("report")
