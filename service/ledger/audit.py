"""The audit log: append-only, each entry sealed with the hash of the one before, in the transaction of its cause.

The hash of an entry is SHA-256 over canonical JSON of all its columns, the previous hash among them; the head row
keeps the length of the log and the last hash. So a changed byte, a removed or exchanged entry and a cut-off tail
all show (Schneier and Kelsey, Secure audit logs to support computer forensics, 1999). Who can rewrite the whole
log and its head can forge it: note the last hash, as `jingdi audit verify` prints it, where the database
administrator cannot write.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from service.ledger.tables import AuditEntry, AuditHead

START = "0" * 64
_HEAD = 1
_CHUNK = 1000
_LOCK = update(AuditHead).where(AuditHead.id == _HEAD).values(length=AuditHead.length)
_READ = select(AuditHead.length, AuditHead.hash).where(AuditHead.id == _HEAD)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: an official by name, or the system itself."""

    name: str
    human: bool = True

    @property
    def person(self) -> bool:
        """Whether this is a named human, not the system and not somebody who calls himself so."""
        return self.human and bool(self.key) and self.key not in _NOBODY

    @property
    def key(self) -> str:
        """The name as it is compared: two spellings of one name are one person."""
        return " ".join(unicodedata.normalize("NFKC", self.name).casefold().split())


SYSTEM = Actor("jingdi", human=False)
_NOBODY = frozenset({SYSTEM.name, "system", "系统", "净地", "auto", "自动"})


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A session and its transaction, with all writers of the ledger in a row: committed at the end or not at all.

    What is read inside is as the writer before left it, on SQLite and PostgreSQL alike.
    """
    with Session(engine, expire_on_commit=False) as session, session.begin():
        lock(session)
        yield session


def lock(session: Session) -> None:
    """Wait until no other transaction writes to the ledger, and hold the others back until this one ends.

    An UPDATE is the one statement that takes a lock on every database: on the row in PostgreSQL, on the whole
    database in SQLite. It must come first: SQLite refuses to write after reading what another has since changed.
    """
    transaction = session.get_nested_transaction() or session.get_transaction()
    if transaction is None or session.info.get("ledger_lock") is not transaction:
        session.connection().execute(_LOCK)  # may begin the transaction
        session.info["ledger_lock"] = session.get_nested_transaction() or session.get_transaction()


def append(
    session: Session, actor: Actor, action: str, subject: str, detail: Mapping[str, Any], at: datetime
) -> AuditEntry:
    """Add an entry in the transaction of `session`; it is there if and only if the change it tells of is.

    Args:
        subject: what was changed, as `kind:id`.
        detail: what JSON can hold.
    """
    lock(session)
    connection = session.connection()
    length, head = connection.execute(_READ).one()
    entry = AuditEntry(
        number=length + 1, at=at, actor=actor.name, human=actor.human, action=action, subject=subject,
        detail=canonical(detail), previous=head,
    )  # fmt: skip
    entry.hash = seal(entry)
    session.add(entry)
    advance = update(AuditHead).where(AuditHead.id == _HEAD).values(length=entry.number, hash=entry.hash)
    connection.execute(advance)
    return entry


def canonical(value: Any) -> str:
    """The one way to write `value` as JSON: sorted keys, no spaces, no NaN."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def seal(entry: AuditEntry) -> str:
    """The hash an entry must have."""
    content = {
        "number": entry.number,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": entry.actor,
        "human": entry.human,
        "action": entry.action,
        "subject": entry.subject,
        "detail": entry.detail,
        "previous": entry.previous,
    }
    return hashlib.sha256(canonical(content).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Audit:
    """What verifying found.

    Attributes:
        length, hash: of the log as the head row states them.
        broken_at: number of the first entry that is not as it was written, None if all are.
        problem: `changed` (an entry does not fit its hash), `missing` (removed, exchanged or put in), `truncated`
            (the log ends before, after or otherwise than its head says), None if all is well.
    """

    length: int
    hash: str
    broken_at: int | None = None
    problem: str | None = None


def verify(session: Session) -> Audit:
    """Read the whole log and hold every entry against its hash, its predecessor and the head."""
    head = session.get(AuditHead, _HEAD, populate_existing=True)
    if head is None:
        return Audit(0, START, 0, "truncated")
    # Entries written after the head was read are left for the next time; such as no head tells of are not.
    entries = select(AuditEntry).where(AuditEntry.number <= head.length).order_by(AuditEntry.number)
    options = {"yield_per": _CHUNK, "populate_existing": True}
    last, previous = 0, START
    with closing(session.scalars(entries, execution_options=options)) as log:
        for entry in log:
            problem = _problem(entry, last + 1, previous)
            if problem:
                return Audit(head.length, head.hash, last + 1, problem)
            last, previous = entry.number, entry.hash
    if (last, previous) != (head.length, head.hash):
        return Audit(head.length, head.hash, last + 1, "truncated")
    newest = session.scalar(select(func.max(AuditEntry.number))) or 0
    if newest > (session.scalar(select(AuditHead.length)) or 0):
        return Audit(head.length, head.hash, last + 1, "truncated")
    return Audit(head.length, head.hash)


def _problem(entry: AuditEntry, number: int, previous: str) -> str | None:
    if entry.number != number:
        return "missing"
    if seal(entry) != entry.hash:
        return "changed"
    return None if entry.previous == previous else "missing"
