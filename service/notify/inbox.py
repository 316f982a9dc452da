"""The inbox: messages inside the service, kept per account and followed as server-sent events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from service.notify.channels.base import SENT, AddressError, Letter, Outcome
from service.notify.outbox import insert_once
from service.notify.tables import Endpoint, InboxRow


def put(session: Session, owner: str, message_id: str, title: str, body: str, url: str | None, now: datetime) -> None:
    """Lay a message into an inbox, once per `message_id`.

    Numbers are given inside the transaction: whoever wants the same one waits for it, so that numbers become visible
    in order and a reader who asks for everything after the last one it saw misses nothing. (A database sequence would
    not do: numbers drawn earlier may be committed later.)
    """
    known = select(InboxRow.number).where(InboxRow.message_id == message_id)
    while session.scalar(known) is None:
        last = session.scalar(select(func.max(InboxRow.number)).where(InboxRow.owner == owner)) or 0
        row = {"owner": owner, "number": last + 1, "message_id": message_id, "created_at": now}
        insert_once(session, InboxRow, row | {"title": title[:300], "body": body, "url": url})


@dataclass(frozen=True, slots=True)
class Inbox:
    """Reading, and the channel that writes. Delivered exactly once: receiver and outbox are one database."""

    engine: Engine
    paced: ClassVar[bool] = False

    def check(self, address: str) -> None:
        """See `Channel`. The address is the name of an account."""
        if not 0 < len(address) <= 64:
            raise AddressError("receiver_malformed")

    def parts(self, letter: Letter) -> list[str]:
        """See `Channel`."""
        return [letter.body]

    def send(self, endpoint: Endpoint, letter: Letter, part: str, now: datetime) -> Outcome:
        """See `Channel`."""
        with Session(self.engine) as session, session.begin():
            put(session, endpoint.address, letter.id, letter.title, part, letter.url, now)
        return SENT

    def after(self, owner: str, number: int, limit: int = 100) -> Sequence[InboxRow]:
        """What came in after that number, oldest first."""
        query = select(InboxRow).where(InboxRow.owner == owner, InboxRow.number > number)
        with Session(self.engine) as session:
            return session.scalars(query.order_by(InboxRow.number).limit(limit)).all()

    def recent(self, owner: str, limit: int, offset: int = 0) -> Sequence[InboxRow]:
        """Newest first."""
        query = select(InboxRow).where(InboxRow.owner == owner).order_by(InboxRow.number.desc())
        with Session(self.engine) as session:
            return session.scalars(query.limit(limit).offset(offset)).all()

    def count(self, owner: str, *, unread: bool = False) -> int:
        """How many messages there are, or how many are unread."""
        query = select(func.count()).select_from(InboxRow).where(InboxRow.owner == owner)
        if unread:
            query = query.where(InboxRow.read_at.is_(None))
        with Session(self.engine) as session:
            return session.scalar(query) or 0

    def read(self, owner: str, number: int, now: datetime) -> bool:
        """Mark a message as read; its first reading stands. False if there is none."""
        where = (InboxRow.owner == owner, InboxRow.number == number)
        with Session(self.engine) as session, session.begin():
            session.execute(update(InboxRow).where(*where, InboxRow.read_at.is_(None)).values(read_at=now))
            return session.scalar(select(InboxRow.number).where(*where)) is not None
