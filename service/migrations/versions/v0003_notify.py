"""Delivery: endpoints, subscriptions, events, messages, deliveries, and the inbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_TABLES = ("inbox", "delivery", "message", "event", "subscription", "endpoint")


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "notify_endpoint",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("address", sa.String(500), nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("secret", sa.String(200), nullable=True),
        sa.Column("previous_secret", sa.String(200), nullable=True),
        sa.Column("previous_until", _MOMENT, nullable=True),
        sa.Column("not_before", _MOMENT, nullable=True),
        sa.Column("paced_at", _MOMENT, nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("disabled_at", _MOMENT, nullable=True),
        sa.Column("disabled_reason", sa.String(200), nullable=True),
        sa.Column("removed_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notify_endpoint")),
        sa.UniqueConstraint("channel", "address", name="uq_notify_endpoint_address"),
        sa.CheckConstraint(
            "channel IN ('email', 'webhook', 'wecom', 'dingtalk', 'feishu', 'apprise', 'inbox')",
            name=op.f("ck_notify_endpoint_channel"),
        ),
    )
    op.create_index(op.f("ix_notify_endpoint_owner"), "notify_endpoint", ["owner"])

    op.create_table(
        "notify_subscription",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("endpoint_id", sa.String(32), nullable=False),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in ("kinds", "areas", "systems", "streets")),
        sa.Column("quiet_from", sa.String(5), nullable=True),
        sa.Column("quiet_until", sa.String(5), nullable=True),
        sa.Column("time_zone", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(16), nullable=True),
        sa.Column("digest_at", sa.String(5), nullable=False),
        sa.Column("muted_until", _MOMENT, nullable=True),
        sa.Column("token", sa.String(64), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notify_subscription")),
        sa.ForeignKeyConstraint(["endpoint_id"], ["notify_endpoint.id"], name="fk_notify_subscription_endpoint"),
        sa.CheckConstraint(
            "digest IS NULL OR digest IN ('hourly', 'daily')", name=op.f("ck_notify_subscription_digest")
        ),
    )
    op.create_index(op.f("ix_notify_subscription_endpoint_id"), "notify_subscription", ["endpoint_id"])
    op.create_index(op.f("ix_notify_subscription_token"), "notify_subscription", ["token"], unique=True)

    op.create_table(
        "notify_event",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        *(sa.Column(name, sa.String(64), nullable=True) for name in ("site", "area", "system", "street")),
        sa.Column("url", sa.String(500), nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notify_event")),
    )
    op.create_index(op.f("ix_notify_event_key"), "notify_event", ["key"], unique=True)

    op.create_table(
        "notify_message",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("subscription_id", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("due_at", _MOMENT, nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("lease", sa.String(32), nullable=True),
        sa.Column("lease_until", _MOMENT, nullable=True),
        sa.Column("parts_done", sa.Integer(), nullable=False),
        sa.Column("uncertain", sa.Boolean(), nullable=False),
        sa.Column("error", sa.String(300), nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("sent_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notify_message")),
        sa.ForeignKeyConstraint(["subscription_id"], ["notify_subscription.id"], name="fk_notify_message_subscription"),
        sa.CheckConstraint(
            "state IN ('queued', 'sending', 'sent', 'failed', 'cancelled')", name=op.f("ck_notify_message_state")
        ),
    )
    op.create_index("ix_notify_message_due", "notify_message", ["state", "due_at"])
    op.create_index(op.f("ix_notify_message_subscription_id"), "notify_message", ["subscription_id"])

    op.create_table(
        "notify_delivery",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("event_id", sa.String(32), nullable=False),
        sa.Column("subscription_id", sa.String(32), nullable=False),
        sa.Column("message_id", sa.String(40), nullable=True),
        sa.Column("rule", sa.JSON(), nullable=False),
        sa.Column("due_at", _MOMENT, nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("cancelled_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notify_delivery")),
        sa.ForeignKeyConstraint(["event_id"], ["notify_event.id"], name="fk_notify_delivery_event"),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["notify_subscription.id"], name="fk_notify_delivery_subscription"
        ),
        sa.ForeignKeyConstraint(["message_id"], ["notify_message.id"], name="fk_notify_delivery_message"),
        sa.UniqueConstraint("event_id", "subscription_id", name="uq_notify_delivery_event"),
    )
    op.create_index("ix_notify_delivery_due", "notify_delivery", ["message_id", "due_at"])
    op.create_index(op.f("ix_notify_delivery_subscription_id"), "notify_delivery", ["subscription_id"])

    op.create_table(
        "notify_inbox",
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("message_id", sa.String(48), nullable=False),
        sa.Column("title", sa.String(300), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("url", sa.String(500), nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("read_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("owner", "number", name=op.f("pk_notify_inbox")),
    )
    op.create_index(op.f("ix_notify_inbox_message_id"), "notify_inbox", ["message_id"], unique=True)


def downgrade() -> None:
    """Back to the ledger without delivery."""
    for table in _TABLES:
        op.drop_table(f"notify_{table}")
