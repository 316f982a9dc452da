"""The outbox: what must be told is written in the transaction of what caused it, and is never lost after that.

    enqueue (caller's transaction) -> form messages -> claim (lease) -> send -> settle

Every step is one transaction and every change of a message is a compare-and-set, so that any number of senders may
run beside each other and any of them may be killed at any moment. There is **one window** in which a receiver can get
a message twice: from the moment it has accepted it until `sent` is committed here (its answer was lost or came too
late, or the sender was killed in between). Receivers that deduplicate never notice: the id is the same on every
attempt (`webhook-id`, `Message-ID`). Chat robots cannot; there the repeat says that it may be one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, joinedload

from inference.reasons import LANGUAGES
from service.database import Base
from service.language import say
from service.notify import schedule
from service.notify.schedule import Clock, utc_now
from service.notify.tables import Delivery, Endpoint, EventRow, Message, MessageState, Subscription, new_id
from service.notify.texts import KINDS, PLACE, parameters

LEASE = timedelta(minutes=3)
"""Longer than any attempt can take; the clocks of several senders must agree to within less than this."""

LARGEST_DIGEST = 100
_AT_A_TIME = 50


@dataclass(frozen=True, slots=True)
class Event:
    """Something that subscribers are told of, once per key.

    There is room for places and figures only, none for a person: parameters that the kind's sentences do not name
    are refused.

    Attributes:
        kind: one of `service.notify.texts.KINDS`.
        key: whatever happens again under the same key is not told again, e.g. "alert:<id>:corroborated".
        params: numbers and short texts that the kind's sentences name.
        url: where to read more, absolute or a path of this service.
    """

    kind: str
    key: str
    params: Mapping[str, str | int | float] = field(default_factory=dict)
    site: str | None = None
    area: str | None = None
    system: str | None = None
    street: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} has no sentences; there are {', '.join(KINDS)}")
        if not 0 < len(self.key) <= 200:
            raise ValueError("a key has 1 to 200 characters")
        expected = parameters(self.kind)
        if set(self.params) != expected:
            raise ValueError(f"{self.kind} has the parameters {sorted(expected)}, not {sorted(self.params)}")
        values = {name: getattr(self, name) or "" for name in PLACE} | dict(self.params)
        for language in LANGUAGES:
            for part in ("title", "body"):
                say(language, f"notify.kind.{self.kind}.{part}", **values)


def enqueue(session: Session, event: Event, now: datetime | None = None) -> int:
    """Write an event and a delivery for every subscription it matches, in the transaction of `session`.

    Returns:
        How many deliveries were written; 0 if the key is known already.
    """
    now = now or utc_now()
    row = {"id": new_id(), "created_at": now} | {
        name: getattr(event, name) for name in ("key", "kind", "site", "area", "system", "street", "url")
    }
    if not insert_once(session, EventRow, row | {"params": dict(event.params)}):
        return 0
    count = 0
    for subscription in session.scalars(select(Subscription).where(Subscription.ended_at.is_(None))).all():
        rule = match(subscription, event)
        if rule is not None:
            count += insert_once(
                session,
                Delivery,
                {
                    "id": new_id(), "event_id": row["id"], "subscription_id": subscription.id, "rule": rule,
                    "due_at": now, "held": False, "created_at": now,
                },
            )  # fmt: skip
    return count


def match(subscription: Subscription, event: Event) -> dict[str, str] | None:
    """What of the subscription the event matches, None if it does not match."""
    rule: dict[str, str] = {}
    for name, wanted in (
        ("kind", subscription.kinds),
        ("area", subscription.areas),
        ("system", subscription.systems),
        ("street", subscription.streets),
    ):
        value = getattr(event, name)
        if wanted:
            if value not in wanted:
                return None
            rule[name] = value
    return rule


def insert_once(session: Session, table: type[Base], values: Mapping[str, Any]) -> bool:
    """Insert a row unless a unique key is taken; False if it is.

    The one place that knows of dialects. A savepoint would be portable, but SQLite's driver commits the transaction
    around it if nothing was written before.
    """
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(table).values(**values).on_conflict_do_nothing().returning(literal(1))
    return session.connection().execute(statement).first() is not None


@dataclass(frozen=True, slots=True)
class Claim:
    """A message to send, under a lease. Rows are detached and read-only."""

    message: Message
    deliveries: Sequence[Delivery]
    lease: str

    @property
    def endpoint(self) -> Endpoint:
        """Where it goes."""
        return self.message.subscription.endpoint


@dataclass(frozen=True, slots=True)
class Outbox:
    """The sending side. `clock` gives the moment; nothing here sleeps."""

    engine: Engine
    clock: Clock = utc_now
    lease: timedelta = LEASE

    def form(self) -> None:
        """Make messages of the deliveries that may go out now; give the others a later moment."""
        now = self.clock()
        query = (
            select(Delivery.subscription_id)
            .join(Subscription, Subscription.id == Delivery.subscription_id)
            .join(Endpoint, Endpoint.id == Subscription.endpoint_id)
            .where(*_waiting(now), Subscription.ended_at.is_(None), Endpoint.disabled_at.is_(None))
            .distinct()
        )
        with Session(self.engine) as session:
            found = session.scalars(query.limit(_AT_A_TIME)).all()
        for subscription_id in found:
            with Session(self.engine) as session, session.begin():
                self._form(session, subscription_id, now)

    def _form(self, session: Session, subscription_id: str, now: datetime) -> None:
        subscription = session.get_one(Subscription, subscription_id)
        query = select(Delivery).where(*_waiting(now), Delivery.subscription_id == subscription_id)
        ready: list[str] = []
        for delivery in session.scalars(query.order_by(Delivery.created_at, Delivery.id).limit(LARGEST_DIGEST)).all():
            moment = schedule.release(subscription, delivery.created_at, now)
            if moment > now:
                _of(session, Delivery.id == delivery.id, due_at=moment, held=True)
            elif delivery.held or subscription.digest:
                ready.append(delivery.id)
            else:
                self._message(session, subscription_id, [delivery.id], now)
        if ready:
            self._message(session, subscription_id, ready, now)

    def _message(self, session: Session, subscription_id: str, deliveries: list[str], now: datetime) -> None:
        message = Message(subscription_id=subscription_id, state="queued", due_at=now, created_at=now)
        session.add(message)
        session.flush()
        if _of(session, Delivery.id.in_(deliveries), message_id=message.id) == 0:
            session.delete(message)  # another sender has made messages of them meanwhile

    def claim(self) -> Claim | None:
        """Take a lease on the message that has waited longest; None if nothing may be sent now."""
        now, lease = self.clock(), new_id()
        due = or_(
            and_(Message.state == "queued", Message.due_at <= now),
            and_(Message.state == "sending", Message.lease_until < now),
        )
        query = (
            select(Message.id, Message.state, Subscription)
            .join(Subscription, Subscription.id == Message.subscription_id)
            .join(Endpoint, Endpoint.id == Subscription.endpoint_id)
            .where(due, Endpoint.disabled_at.is_(None))
            .where(or_(Endpoint.not_before.is_(None), Endpoint.not_before <= now))
            .order_by(Message.due_at, Message.id)
            .limit(_AT_A_TIME)
        )
        with Session(self.engine, expire_on_commit=False) as session:
            found = session.execute(query).all()
            session.commit()
            for message_id, state, subscription in found:
                taken = {"state": "sending", "lease": lease, "lease_until": now + self.lease}
                if subscription.ended_at is not None:
                    taken = {"state": "cancelled", "lease": None, "lease_until": None}
                elif (moment := schedule.open_at(subscription, now)) > now:
                    taken = {"state": "queued", "due_at": moment, "lease": None, "lease_until": None}
                if state == "sending":
                    taken["uncertain"] = True  # whoever had it may have been killed after the receiver took it
                with session.begin():
                    won = _change(session, and_(Message.id == message_id, due), **taken)
                if won and taken["state"] == "sending":
                    return self._load(session, message_id, lease)
        return None

    def _load(self, session: Session, message_id: str, lease: str) -> Claim:
        options = joinedload(Message.subscription).joinedload(Subscription.endpoint)
        with session.begin():
            message = session.get_one(Message, message_id, options=[options], populate_existing=True)
            query = select(Delivery).where(Delivery.message_id == message_id).options(joinedload(Delivery.event))
            deliveries = session.scalars(query.order_by(Delivery.created_at, Delivery.id)).all()
        return Claim(message, deliveries, lease)

    def take_turn(self, endpoint_id: str) -> datetime | None:
        """Use up one turn of the receiver's rate limit: None, or the moment of the next turn if there is none now."""
        while True:
            now = self.clock()
            with Session(self.engine) as session, session.begin():
                before = session.scalar(select(Endpoint.paced_at).where(Endpoint.id == endpoint_id))
                allowed, moment = schedule.pace(before, now)
                column = Endpoint.paced_at
                expected = column.is_(None) if before is None else column == before
                values = {"paced_at": moment} if allowed else {"not_before": moment}
                statement = update(Endpoint).where(Endpoint.id == endpoint_id, expected).values(**values)
                if session.connection().execute(statement).rowcount == 1:
                    return None if allowed else moment

    def settle(self, session: Session, claim: Claim, state: MessageState, **values: Any) -> bool:
        """Write what became of a message; give up the lease unless it is still `sending`, then renew it.

        Returns:
            False if the lease was lost: somebody else decides.
        """
        if state == "sending":
            values["lease_until"] = self.clock() + self.lease
        else:
            values |= {"lease": None, "lease_until": None}
        leased = (Message.id == claim.message.id, Message.state == "sending", Message.lease == claim.lease)
        return _change(session, and_(*leased), state=state, **values)


def _waiting(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return Delivery.message_id.is_(None), Delivery.cancelled_at.is_(None), Delivery.due_at <= now


def _change(session: Session, expected: ColumnElement[bool], **values: Any) -> bool:
    return bool(session.connection().execute(update(Message).where(expected).values(**values)).rowcount == 1)


def _of(session: Session, which: ColumnElement[bool], **values: Any) -> int:
    """Change deliveries that are still waiting."""
    where = (which, Delivery.message_id.is_(None), Delivery.cancelled_at.is_(None))
    return int(session.connection().execute(update(Delivery).where(*where).values(**values)).rowcount)
