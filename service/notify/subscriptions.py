"""Endpoints and subscriptions: register, change, end."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, and_, select, update
from sqlalchemy.orm import Session, joinedload

from service.notify.channels.base import AddressError, Channel
from service.notify.channels.webhook import new_secret
from service.notify.outbox import insert_once
from service.notify.schedule import Clock, utc_now
from service.notify.tables import ChannelName, Delivery, Endpoint, Message, Subscription, new_id
from service.notify.texts import explain

BOTH_SECRETS = timedelta(days=1)
"""How long a webhook is signed with the previous secret, too."""


class AddressTaken(Exception):
    """There is an endpoint with this channel and address already."""


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """What one account may do with its own endpoints; those of others do not exist for it."""

    engine: Engine
    channels: Mapping[str, Channel]
    clock: Clock = utc_now

    def register(
        self, owner: str, channel: ChannelName, address: str, language: str, secret: str | None = None
    ) -> Endpoint:
        """A new endpoint. A webhook gets a random secret, robots have the one given.

        Raises:
            AddressError: the channel is not set up, or cannot use the address.
            AddressTaken: it is registered already.
        """
        if channel not in self.channels:
            raise AddressError("channel_unavailable")
        if channel == "inbox" and address != owner:
            raise AddressError("receiver_forbidden")
        self.channels[channel].check(address)
        if channel == "webhook":
            secret = new_secret()
        endpoint_id = new_id()
        row = {"id": endpoint_id, "owner": owner, "channel": channel, "address": address, "language": language}
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            if not insert_once(session, Endpoint, row | {"secret": secret, "created_at": self.clock()}):
                raise AddressTaken
            return session.get_one(Endpoint, endpoint_id)

    def endpoints(self, owner: str) -> Sequence[Endpoint]:
        """Oldest first."""
        query = select(Endpoint).where(Endpoint.owner == owner, Endpoint.removed_at.is_(None))
        with Session(self.engine) as session:
            return session.scalars(query.order_by(Endpoint.created_at, Endpoint.id)).all()

    def endpoint(self, owner: str, endpoint_id: str) -> Endpoint | None:
        """One endpoint, or None."""
        return next((each for each in self.endpoints(owner) if each.id == endpoint_id), None)

    def rotate(self, owner: str, endpoint_id: str) -> str | None:
        """A new secret for a webhook; the old one goes on signing for a day. None if there is no such webhook."""
        now, secret = self.clock(), new_secret()
        mine = (Endpoint.id == endpoint_id, Endpoint.owner == owner, Endpoint.removed_at.is_(None))
        values = {"previous_secret": Endpoint.secret, "previous_until": now + BOTH_SECRETS, "secret": secret}
        return secret if self._update(Endpoint, and_(*mine, Endpoint.channel == "webhook"), values) else None

    def resume(self, owner: str, endpoint_id: str) -> bool:
        """Send to the endpoint again, from the first attempt on, also what was given up."""
        mine = and_(Endpoint.id == endpoint_id, Endpoint.owner == owner, Endpoint.removed_at.is_(None))
        cleared = {"disabled_at": None, "disabled_reason": None, "not_before": None}
        again = {"state": "queued", "failures": 0, "due_at": self.clock()}
        with Session(self.engine) as session, session.begin():
            if session.connection().execute(update(Endpoint).where(mine).values(**cleared)).rowcount != 1:
                return False
            subscriptions = select(Subscription.id).where(Subscription.endpoint_id == endpoint_id)
            failed = (Message.state == "failed", Message.subscription_id.in_(subscriptions))
            session.connection().execute(update(Message).where(*failed).values(**again))
        return True

    def remove(self, owner: str, endpoint_id: str) -> bool:
        """Forget address and secrets, and end all subscriptions that lead there."""
        now = self.clock()
        mine = (Endpoint.id == endpoint_id, Endpoint.owner == owner, Endpoint.removed_at.is_(None))
        wiped = {"address": f"removed:{endpoint_id}", "secret": None, "previous_secret": None}
        with Session(self.engine) as session, session.begin():
            statement = update(Endpoint).where(*mine).values(**wiped, removed_at=now, disabled_at=now)
            if session.connection().execute(statement).rowcount != 1:
                return False
            query = select(Subscription.id).where(Subscription.endpoint_id == endpoint_id)
            for subscription_id in session.scalars(query).all():
                self._end(session, subscription_id)
        return True

    def subscribe(self, owner: str, endpoint_id: str, **values: Any) -> Subscription | None:
        """A new subscription; None if there is no such endpoint."""
        if self.endpoint(owner, endpoint_id) is None:
            return None
        empty: dict[str, Any] = {name: [] for name in ("kinds", "areas", "systems", "streets")}
        row = Subscription(
            endpoint_id=endpoint_id,
            token=secrets.token_urlsafe(32),
            created_at=self.clock(),
            **(empty | {"time_zone": "Asia/Shanghai", "digest_at": "08:00"} | values),
        )
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            session.add(row)
        return row

    def subscriptions(self, owner: str) -> Sequence[Subscription]:
        """Those that have not ended, oldest first."""
        query = select(Subscription).join(Endpoint, Endpoint.id == Subscription.endpoint_id)
        query = query.where(Endpoint.owner == owner, Subscription.ended_at.is_(None))
        with Session(self.engine) as session:
            return session.scalars(query.order_by(Subscription.created_at, Subscription.id)).all()

    def change(self, owner: str, subscription_id: str, **values: Any) -> Subscription | None:
        """Change a subscription; what waits is looked at again at once. None if there is none."""
        if not self._owns(owner, subscription_id):
            return None
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            row = session.get_one(Subscription, subscription_id)
            for name, value in values.items():
                setattr(row, name, value)
            waiting = (Delivery.subscription_id == subscription_id, Delivery.message_id.is_(None))
            session.execute(update(Delivery).where(*waiting).values(due_at=self.clock()))
            return row

    def unsubscribe(self, owner: str, subscription_id: str) -> bool:
        """End a subscription and cancel what is queued for it. False if there is none."""
        if not self._owns(owner, subscription_id):
            return False
        with Session(self.engine) as session, session.begin():
            return self._end(session, subscription_id)

    def unsubscribe_by_token(self, token: str) -> bool:
        """The same for whoever holds the link in a message."""
        with Session(self.engine) as session, session.begin():
            query = select(Subscription.id).where(Subscription.token == token, Subscription.ended_at.is_(None))
            subscription_id = session.scalar(query)
            return subscription_id is not None and self._end(session, subscription_id)

    def why(self, owner: str, message_id: str, language: str) -> tuple[str, Sequence[Delivery]] | None:
        """Why a message was sent: subscription and deliveries with the rule that matched. None if there is none."""
        query = (
            select(Delivery)
            .join(Subscription, Subscription.id == Delivery.subscription_id)
            .join(Endpoint, Endpoint.id == Subscription.endpoint_id)
            .where(Delivery.message_id == message_id, Endpoint.owner == owner)
            .options(joinedload(Delivery.event))
            .order_by(Delivery.created_at, Delivery.id)
        )
        with Session(self.engine) as session:
            deliveries = session.scalars(query).all()
        if not deliveries:
            return None
        return explain(language, [delivery.rule for delivery in deliveries]), deliveries

    def _owns(self, owner: str, subscription_id: str) -> bool:
        return any(row.id == subscription_id for row in self.subscriptions(owner))

    def _end(self, session: Session, subscription_id: str) -> bool:
        """What is being sent this instant cannot be called back; if it fails, it is not tried again."""
        now, connection = self.clock(), session.connection()
        running = (Subscription.id == subscription_id, Subscription.ended_at.is_(None))
        ended = connection.execute(update(Subscription).where(*running).values(ended_at=now)).rowcount == 1
        waiting = (Delivery.subscription_id == subscription_id, Delivery.message_id.is_(None))
        connection.execute(update(Delivery).where(*waiting).values(cancelled_at=now))
        queued = (Message.subscription_id == subscription_id, Message.state == "queued")
        connection.execute(update(Message).where(*queued).values(state="cancelled"))
        return bool(ended)

    def _update(self, table: type[Endpoint], where: Any, values: Mapping[str, Any]) -> bool:
        with Session(self.engine) as session, session.begin():
            return bool(session.connection().execute(update(table).where(where).values(**values)).rowcount == 1)
