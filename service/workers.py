"""What is done in the background, and by whom: in the service's process or in others beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.comparisons import COMPARE, Comparisons
from service.database import Pairs
from service.nightly.due import NIGHT
from service.nightly.running import Nightly
from service.queue import Handler, Queue, Worker
from service.registry.replay import REPLAY, Replays
from service.registry.store import Registry
from service.scans import SCAN, Scans
from service.settings import Settings
from service.storage import Storage


@dataclass(frozen=True, slots=True)
class Background:
    """The queue and what can be put into it, besides comparisons."""

    queue: Queue
    registry: Registry
    scans: Scans
    replays: Replays
    nightly: Nightly

    @classmethod
    def of(cls, settings: Settings, pairs: Pairs, storage: Storage) -> Background:
        """On the database of the pairs."""
        queue, registry = Queue(pairs.engine), Registry(pairs.engine, settings.data_dir)
        scans = Scans(queue, settings, registry)
        replays = Replays(registry, queue, pairs, storage, scans, settings)
        return cls(queue, registry, scans, replays, Nightly(pairs.engine, settings, registry, scans))

    @property
    def long(self) -> Mapping[str, Handler]:
        """Handlers of what takes hours."""
        return {SCAN: self.scans.run, REPLAY: self.replays.run, NIGHT: self.nightly.run}

    def hire(self, comparisons: Comparisons, threads: int) -> list[Worker]:
        """Workers, not started yet: some for what people wait for, and one for what takes hours.

        Args:
            threads: how many comparisons at once; 0 leaves everything to other processes.
        """
        if not threads:
            return []
        given_up = {COMPARE: comparisons.given_up}
        return [
            Worker(self.queue, {COMPARE: comparisons.run}, given_up, threads=threads),
            Worker(self.queue, self.long, {NIGHT: self.nightly.given_up}),
        ]
