"""Versions of weights, and which took the place of which; accounts at an OpenID provider."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """To this revision. The weights that come with Jingdi become the first active versions when the service starts."""
    op.create_table(
        "model_version",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("domain", sa.String(16), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("added_at", _MOMENT, nullable=False),
        sa.Column("added_by", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_version")),
        sa.CheckConstraint("state IN ('candidate', 'active', 'retired')", name=op.f("ck_model_version_state")),
    )
    active = sa.text("state = 'active'")
    op.create_index(
        "uq_model_version_active", "model_version", ["domain"], unique=True, sqlite_where=active,
        postgresql_where=active,
    )  # fmt: skip
    op.create_table(
        "model_promotion",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("domain", sa.String(16), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("replay", sa.String(32), nullable=False),
        sa.Column("undone_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_model_promotion")),
        sa.ForeignKeyConstraint(["version"], ["model_version.id"], name="fk_model_promotion_version"),
        sa.ForeignKeyConstraint(["previous"], ["model_version.id"], name="fk_model_promotion_previous"),
    )
    op.create_index(op.f("ix_model_promotion_domain"), "model_promotion", ["domain"])
    op.create_table(
        "oidc_identity",
        *(sa.Column(name, sa.String(255), nullable=False) for name in ("issuer", "subject")),
        sa.Column("account", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_oidc_identity")),
        sa.UniqueConstraint("account", name="uq_oidc_identity_account"),
        sa.ForeignKeyConstraint(["account"], ["account.name"], name="fk_oidc_identity_account"),
    )
    op.create_table(
        "oidc_attempt",
        *(sa.Column(name, sa.String(64), nullable=False) for name in ("state", "browser")),
        sa.Column("next", sa.String(2000), nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("state", name=op.f("pk_oidc_attempt")),
    )
    op.create_index(op.f("ix_oidc_attempt_expires_at"), "oidc_attempt", ["expires_at"])


def downgrade() -> None:
    """Back to the weights that come with Jingdi alone."""
    op.drop_table("oidc_attempt")
    op.drop_table("oidc_identity")
    op.drop_table("model_promotion")
    op.drop_table("model_version")
