"""Comparisons in the background: each accepted pair is compared, across restarts, with its progress."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from datasets.raster import Raster
from inference.compare import Asked
from inference.decode import Limits, read_raster
from inference.findings import Assessment
from inference.reasons import InputError
from inference.report import report
from inference.site import Site
from service.database import PairRow, Pairs, Status
from service.derivatives import derive
from service.metrics import Metrics
from service.storage import Storage

log = logging.getLogger("jingdi")

Progress = Callable[[str, float], None]
Assess = Callable[[Raster, Raster, Asked, Progress], Assessment]

# Share of the whole time that is over when a stage begins, and when it ends.
STAGES: dict[str, tuple[float, float]] = {
    "compare": (0.0, 0.1),
    "register": (0.1, 0.3),
    "score": (0.3, 0.9),
    "vectorise": (0.9, 1.0),
}
_WRITE_EVERY_S = 0.2


class Interrupted(Exception):
    """The pair was deleted or the service is stopping: leave the comparison where it is."""


class Jobs:
    """The queue. Each pair is run at least once; running one again gives the same files and the same row."""

    def __init__(
        self,
        pairs: Pairs,
        storage: Storage,
        metrics: Metrics,
        assess: Assess,
        *,
        limits: Limits,
        workers: int,
    ) -> None:
        self._pairs, self._storage, self._metrics = pairs, storage, metrics
        self._assess, self._limits = assess, limits
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="comparison")
        self._stopping = threading.Event()

    def recover(self) -> None:
        """Take up again what an earlier process accepted and did not finish."""
        for pair_id in self._pairs.ids("queued", "running"):
            self._pairs.change(pair_id, "running", status="queued", stage=None, progress=0.0)
            self.enqueue(pair_id)

    def enqueue(self, pair_id: str) -> None:
        """Have a queued pair compared soon."""
        self._executor.submit(self.run, pair_id)

    def stop(self) -> None:
        """Interrupt what is running and wait for it. Whatever is unfinished stays queued in the database."""
        self._stopping.set()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def run(self, pair_id: str) -> None:
        """Compare one pair, if nobody else does. Whatever happens ends up in its row."""
        if not self._pairs.change(pair_id, "queued", status="running", stage=None, progress=0.0):
            return
        started = time.perf_counter()
        try:
            outcome = self._compare(pair_id)
        except Interrupted:
            self._pairs.change(pair_id, "running", status="queued", stage=None, progress=0.0)
        except InputError as error:
            self._finish(pair_id, "failed", error_code=error.reason.code)
        except Exception:
            log.exception("comparison of pair %s failed", pair_id)
            self._finish(pair_id, "failed", error_code="internal")
        else:
            self._finish(pair_id, "done", **outcome)
            self._metrics.comparisons.observe(time.perf_counter() - started)

    def _compare(self, pair_id: str) -> dict[str, Any]:
        row = self._pairs.get(pair_id)
        if row is None:
            raise Interrupted
        before, after = (self._read(row, side) for side in ("before", "after"))
        asked = Asked(row.kind, None if row.site is None else Site.of(row.site))
        assessment = self._assess(before, after, asked, self._progress(pair_id))
        derive(assessment, before, self._storage.folder(pair_id))
        pair = assessment.pair
        return {
            "report": report(assessment),
            "verdict": assessment.verdict.kind.value,
            "width": pair.before.width if pair else None,
            "height": pair.before.height if pair else None,
        }

    def _read(self, row: PairRow, side: str) -> Raster:
        name = row.before_name if side == "before" else row.after_name
        path = self._storage.folder(row.id) / side
        photograph = row.kind == "photos"
        return read_raster(path, name=name, gsd=row.gsd, limits=self._limits, photograph=photograph)

    def _progress(self, pair_id: str) -> Progress:
        written_at, written_stage = 0.0, ""

        def write(stage: str, share: float) -> None:
            nonlocal written_at, written_stage
            if self._stopping.is_set():
                raise Interrupted
            now = time.monotonic()
            if stage == written_stage and now - written_at < _WRITE_EVERY_S:
                return
            written_at, written_stage = now, stage
            low, high = STAGES[stage]
            progress = low + (high - low) * min(max(share, 0.0), 1.0)
            if not self._pairs.change(pair_id, "running", stage=stage, progress=progress):
                raise Interrupted

        return write

    def _finish(self, pair_id: str, status: Status, **values: Any) -> None:
        now = datetime.now(UTC)
        finished = self._pairs.change(
            pair_id, "running", status=status, stage=None, progress=1.0, finished_at=now, **values
        )
        if finished:
            self._metrics.pairs.labels(values.get("verdict", "failed")).inc()
        elif self._pairs.get(pair_id) is None:
            self._storage.remove(pair_id)  # deleted meanwhile: what was written after that goes too
