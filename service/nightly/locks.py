"""One night at a time in an area, whichever processes there are. The lock outlives nobody for long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, delete, or_, update
from sqlalchemy.orm import Session

from service.nightly.errors import AreaBusy
from service.nightly.tables import AreaLock
from service.notify.outbox import insert_once

HELD = timedelta(minutes=15)
"""So long after its last sign of life a night is taken for dead. The longest stage without one, tracing and writing the
outputs of a scan of 30,000 px a side, takes a few minutes."""
_RENEW_EVERY_S = 20.0


class Lock:
    """The lock of an area, held by one night."""

    def __init__(self, engine: Engine, area_key: str, night_id: str) -> None:
        self._engine, self._area_key, self._night_id = engine, area_key, night_id
        self._renewed_at = time.monotonic()

    def take(self) -> None:
        """Take it, or take it again.

        Raises:
            AreaBusy: another night has it.
        """
        now = datetime.now(UTC)
        mine = {"night_id": self._night_id, "until": now + HELD}
        free = or_(AreaLock.until <= now, AreaLock.night_id == self._night_id)
        with Session(self._engine) as session, session.begin():
            found = update(AreaLock).where(AreaLock.area_key == self._area_key, free).values(**mine)
            if session.connection().execute(found).rowcount == 1:
                return
            if not insert_once(session, AreaLock, {"area_key": self._area_key, **mine}):
                raise AreaBusy

    def renew(self) -> None:
        """A sign of life; call it as often as you like.

        Raises:
            AreaBusy: it was lost, because none came for too long.
        """
        if time.monotonic() - self._renewed_at >= _RENEW_EVERY_S:
            self.take()
            self._renewed_at = time.monotonic()

    def release(self) -> None:
        """Let others have it."""
        mine = (AreaLock.area_key == self._area_key, AreaLock.night_id == self._night_id)
        with Session(self._engine) as session, session.begin():
            session.connection().execute(delete(AreaLock).where(*mine))


@contextmanager
def locked(engine: Engine, area_key: str, night_id: str) -> Iterator[Lock]:
    """Hold the lock of an area.

    Raises:
        AreaBusy: another night has it.
    """
    lock = Lock(engine, area_key, night_id)
    lock.take()
    try:
        yield lock
    finally:
        lock.release()
