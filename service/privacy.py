"""Before pictures become public a person looks at them: faces and number plates. Kept on the pair and in the audit log.

No detector decides this. One for faces could be had under a permissive licence, none for number plates with weights in
its package; and what a detector overlooks would be public all the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CursorResult, Update, update

from service.database import PairRow, Pairs
from service.ledger.audit import Actor, append, writing


def check(pairs: Pairs, pair_id: str, actor: Actor) -> bool:
    """`actor` found nothing that must be kept from the public. False unless the comparison is over."""
    now = datetime.now(UTC)
    of_finished = update(PairRow).where(PairRow.id == pair_id, PairRow.status.in_(("done", "failed")))
    return _change(pairs, pair_id, actor, "pair.checked", of_finished.values(checked_by=actor.name, checked_at=now))


def uncheck(pairs: Pairs, pair_id: str, actor: Actor) -> bool:
    """`actor` takes that back. False if nobody had said so."""
    of_checked = update(PairRow).where(PairRow.id == pair_id, PairRow.checked_by.is_not(None))
    return _change(pairs, pair_id, actor, "pair.unchecked", of_checked.values(checked_by=None, checked_at=None))


def _change(pairs: Pairs, pair_id: str, actor: Actor, action: str, statement: Update) -> bool:
    with writing(pairs.engine) as session:
        result: CursorResult[Any] = session.connection().execute(statement)
        if result.rowcount != 1:
            return False
        append(session, actor, action, f"pair:{pair_id}", {}, datetime.now(UTC))
        return True
