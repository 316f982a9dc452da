"""Tables of delivery: Endpoint 1-n Subscription 1-n {Delivery n-1 Message}, events, and the inbox.

An event that matches a subscription becomes one `Delivery` and, once it is time, part of one `Message`: alone, or
bundled with others in a digest. A message is what is sent, retried and marked sent.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from service.database import Base, UtcDateTime

ChannelName = Literal["email", "webhook", "wecom", "dingtalk", "feishu", "apprise", "inbox"]
CHANNELS: tuple[ChannelName, ...] = ("email", "webhook", "wecom", "dingtalk", "feishu", "apprise", "inbox")
MessageState = Literal["queued", "sending", "sent", "failed", "cancelled"]
MESSAGE_STATES: tuple[MessageState, ...] = ("queued", "sending", "sent", "failed", "cancelled")
Digest = Literal["hourly", "daily"]
DIGESTS: tuple[Digest, ...] = ("hourly", "daily")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def new_id() -> str:
    """A random identifier."""
    return uuid4().hex


def new_message_id() -> str:
    """A random identifier of a message; without a full stop, as Standard Webhooks asks."""
    return f"msg_{uuid4().hex}"


class Endpoint(Base):
    """Where messages go: a mailbox, an address of a webhook or robot, somebody's inbox.

    Attributes:
        owner: the account that registered it.
        address: e-mail address, URL, or name of an account, as the channel has it. Robots' addresses are secret.
        secret: of webhooks `whsec_...`, of DingTalk and Feishu the signing secret of the robot, if it has one.
        previous_secret, previous_until: still signed with, too, until then.
        not_before: nothing is sent before; the receiver asked for it or is not well.
        paced_at: state of the rate limit, see `service.notify.schedule.pace`.
        disabled_at, disabled_reason: nothing is sent until it is resumed; what comes in waits.
        removed_at: gone for good; address and secret are wiped.
    """

    __tablename__ = "notify_endpoint"
    __table_args__ = (
        UniqueConstraint("channel", "address", name="uq_notify_endpoint_address"),
        CheckConstraint(_one_of("channel", CHANNELS), name="channel"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    owner: Mapped[str] = mapped_column(String(64), index=True)
    channel: Mapped[ChannelName] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(String(500))
    language: Mapped[str] = mapped_column(String(8))
    secret: Mapped[str | None] = mapped_column(String(200))
    previous_secret: Mapped[str | None] = mapped_column(String(200))
    previous_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paced_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    disabled_reason: Mapped[str | None] = mapped_column(String(200))
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Subscription(Base):
    """Which events go to an endpoint, and when. An empty list of kinds, areas, systems or streets means all.

    Attributes:
        quiet_from, quiet_until: "HH:MM" in `time_zone`; what falls between is held and bundled afterwards.
        digest, digest_at: bundle everything of an hour or day; a day ends at `digest_at`, "HH:MM" in `time_zone`.
        muted_until: everything is held until then and bundled.
        token: lets the receiver unsubscribe without an account.
        ended_at: unsubscribed. The row stays, so that "why did I get this" can still be answered.
    """

    __tablename__ = "notify_subscription"
    __table_args__ = (CheckConstraint(f"digest IS NULL OR {_one_of('digest', DIGESTS)}", name="digest"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    endpoint_id: Mapped[str] = mapped_column(
        ForeignKey("notify_endpoint.id", name="fk_notify_subscription_endpoint"), index=True
    )
    kinds: Mapped[list[str]] = mapped_column(JSON)
    areas: Mapped[list[str]] = mapped_column(JSON)
    systems: Mapped[list[str]] = mapped_column(JSON)
    streets: Mapped[list[str]] = mapped_column(JSON)
    quiet_from: Mapped[str | None] = mapped_column(String(5))
    quiet_until: Mapped[str | None] = mapped_column(String(5))
    time_zone: Mapped[str] = mapped_column(String(64))
    digest: Mapped[Digest | None] = mapped_column(String(16))
    digest_at: Mapped[str] = mapped_column(String(5))
    muted_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    token: Mapped[str] = mapped_column(String(64), index=True, unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    endpoint: Mapped[Endpoint] = relationship()


class EventRow(Base):
    """Something that happened, once per key. See `service.notify.outbox.Event`."""

    __tablename__ = "notify_event"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    key: Mapped[str] = mapped_column(String(200), index=True, unique=True)
    kind: Mapped[str] = mapped_column(String(64))
    params: Mapped[dict[str, Any]] = mapped_column(JSON)
    site: Mapped[str | None] = mapped_column(String(64))
    area: Mapped[str | None] = mapped_column(String(64))
    system: Mapped[str | None] = mapped_column(String(64))
    street: Mapped[str | None] = mapped_column(String(64))
    url: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Message(Base):
    """What is sent: one event, or several in a digest. Changed by compare-and-set only.

    Attributes:
        id: goes out as `webhook-id`, `Message-ID` and printed reference; the same on every attempt.
        failures: attempts that failed for certain or timed out.
        lease, lease_until: who is sending it; afterwards somebody else may.
        parts_done: how many parts of a long text the receiver has accepted.
        uncertain: an attempt ended without an answer, so the receiver may have it already.
        error: what the receiver said last.
    """

    __tablename__ = "notify_message"
    __table_args__ = (
        CheckConstraint(_one_of("state", MESSAGE_STATES), name="state"),
        Index("ix_notify_message_due", "state", "due_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=new_message_id)
    subscription_id: Mapped[str] = mapped_column(
        ForeignKey("notify_subscription.id", name="fk_notify_message_subscription"), index=True
    )
    state: Mapped[MessageState] = mapped_column(String(16))
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    failures: Mapped[int] = mapped_column(default=0)
    lease: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    parts_done: Mapped[int] = mapped_column(default=0)
    uncertain: Mapped[bool] = mapped_column(default=False)
    error: Mapped[str | None] = mapped_column(String(300))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    subscription: Mapped[Subscription] = relationship()


class Delivery(Base):
    """An event that matched a subscription: exactly one row of the two, so that nothing is doubled per key.

    Attributes:
        rule: what of the subscription matched, as it was then: `{"system": "state_assets", ...}`; empty if all match.
        due_at: when to look at it again while it has no message.
        held: it had to wait (quiet hours, mute), so it is bundled with what waited beside it.
    """

    __tablename__ = "notify_delivery"
    __table_args__ = (
        UniqueConstraint("event_id", "subscription_id", name="uq_notify_delivery_event"),
        Index("ix_notify_delivery_due", "message_id", "due_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    event_id: Mapped[str] = mapped_column(ForeignKey("notify_event.id", name="fk_notify_delivery_event"))
    subscription_id: Mapped[str] = mapped_column(
        ForeignKey("notify_subscription.id", name="fk_notify_delivery_subscription"), index=True
    )
    message_id: Mapped[str | None] = mapped_column(ForeignKey("notify_message.id", name="fk_notify_delivery_message"))
    rule: Mapped[dict[str, str]] = mapped_column(JSON)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    held: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    cancelled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    event: Mapped[EventRow] = relationship()


class InboxRow(Base):
    """A message in somebody's inbox. `number` counts up without gaps per owner, in the order of commit."""

    __tablename__ = "notify_inbox"

    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    message_id: Mapped[str] = mapped_column(String(48), index=True, unique=True)
    title: Mapped[str] = mapped_column(String(300))
    body: Mapped[str] = mapped_column(Text)
    url: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    read_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
