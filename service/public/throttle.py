"""How fast reports may come. Where they come from is told apart by a keyed digest that is never written anywhere.

Sign-ins are counted in the database (`service.people.throttle`), under plain digests of addresses, which whoever has
the database can undo by trying all addresses. Of people who report nothing must be kept, so this counts in memory
alone, under a key that ends with the process. A restart forgets; so be it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from threading import Lock

from service.public.errors import ReportsBusy


@dataclass(frozen=True, slots=True)
class Pace:
    """So many at once, and then one every `interval`."""

    burst: int
    interval: timedelta


ONE_SOURCE = Pace(5, timedelta(minutes=10))
ALL_SOURCES = Pace(60, timedelta(minutes=1))
_EVERYBODY = b"everybody"


@dataclass(slots=True)
class Throttle:
    """The generic cell rate algorithm (ITU-T I.371), per source and for all together."""

    one: Pace = ONE_SOURCE
    all: Pace = ALL_SOURCES
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _idle_at: dict[bytes, datetime] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def enter(self, address: str, now: datetime) -> None:
        """Count a report from an address.

        Raises:
            ReportsBusy: it comes too early. It is not counted.
        """
        paces = {self._digest(address): self.one, _EVERYBODY: self.all}
        with self._lock:
            self._idle_at = {source: at for source, at in self._idle_at.items() if at > now}
            idle_at = {source: max(self._idle_at.get(source, now), now) for source in paces}
            wait = max(idle_at[source] - (pace.burst - 1) * pace.interval - now for source, pace in paces.items())
            if wait > timedelta(0):
                raise ReportsBusy(wait.total_seconds())
            self._idle_at |= {source: idle_at[source] + pace.interval for source, pace in paces.items()}

    def _digest(self, address: str) -> bytes:
        """Of IPv6 the network counts: one subscriber has 2^64 addresses."""
        try:
            known = ip_address(address)
        except ValueError:
            source = address.encode()
        else:
            known = getattr(known, "ipv4_mapped", None) or known
            source = known.packed[:8] if known.version == 6 else known.packed
        return hmac.digest(self._key, source, hashlib.sha256)
