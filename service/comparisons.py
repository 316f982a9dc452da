"""Comparisons of pairs, from the queue: what the pair's row says meanwhile, and what is written in the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from datasets.raster import Raster
from inference.compare import Asked
from inference.decode import Limits, read_raster
from inference.findings import Assessment
from inference.model import ModelError
from inference.reasons import InputError
from inference.report import report
from inference.site import Site
from service.database import PairRow, Pairs, Status
from service.derivatives import derive
from service.metrics import Metrics
from service.queue import Interrupted, Job, Refused, Work, enqueue
from service.storage import Storage

log = logging.getLogger("jingdi")

Progress = Callable[[str, float], None]
Assess = Callable[[Raster, Raster, Asked, Progress], Assessment]

COMPARE = "compare"
# Share of the whole time that is over when a stage begins, and when it ends.
STAGES: dict[str, tuple[float, float]] = {
    "compare": (0.0, 0.1),
    "register": (0.1, 0.3),
    "score": (0.3, 0.9),
    "vectorise": (0.9, 1.0),
}
PASSES_BY = (OSError, DBAPIError, ModelError)
"""Failures that may be gone next time: disk, database, a file of weights that an operator puts back."""
_WRITE_EVERY_S = 0.2
_UNFINISHED: tuple[Status, ...] = ("queued", "running")


class Deleted(Exception):
    """The pair is gone."""


def enqueue_comparison(session: Session, pair_id: str) -> None:
    """Have a queued pair compared, once, however often this is called."""
    enqueue(session, COMPARE, {"pair": pair_id}, key=f"pair:{pair_id}")


def read_pair(row: PairRow, storage: Storage, limits: Limits) -> tuple[Raster, Raster, Asked]:
    """Both pictures of a stored pair, and what was asked of their comparison.

    Raises:
        InputError: a picture was damaged on the disk.
        OSError: it is gone.
    """
    folder, photograph = storage.folder(row.id), row.kind == "photos"
    before, after = (
        read_raster(folder / side, name=name, gsd=row.gsd, limits=limits, photograph=photograph)
        for side, name in (("before", row.before_name), ("after", row.after_name))
    )
    return before, after, Asked(row.kind, None if row.site is None else Site.of(row.site))


class Comparisons:
    """The handler of comparisons. Running one again gives the same files and the same row."""

    def __init__(self, pairs: Pairs, storage: Storage, metrics: Metrics, assess: Assess, *, limits: Limits) -> None:
        self._pairs, self._storage, self._metrics = pairs, storage, metrics
        self._assess, self._limits = assess, limits

    def recover(self) -> None:
        """Put pairs into the queue that were accepted before there was one."""
        with Session(self._pairs.engine) as session, session.begin():
            for pair_id in self._pairs.ids(*_UNFINISHED):
                enqueue_comparison(session, pair_id)

    def run(self, work: Work) -> None:
        """Compare one pair. Whatever happens ends up in its row."""
        pair_id, started = work.payload["pair"], time.perf_counter()
        row = self._begin(pair_id)
        if row is None:
            return
        try:
            outcome = self._compare(row, self._progress(work))
            work.check()
        except Deleted:
            self._storage.remove(pair_id)  # what was written after that goes too
        except (Interrupted, *PASSES_BY):
            self._pairs.change(pair_id, "running", status="queued", stage=None, progress=0.0)
            raise
        except InputError as error:
            raise Refused(error.reason.code, **error.reason.values) from error
        except Exception as error:
            log.exception("comparison of pair %s failed", pair_id)
            raise Refused("internal", detail=type(error).__name__) from error
        else:
            self._finish(pair_id, outcome, time.perf_counter() - started)

    def given_up(self, session: Session, job: Job, error: Mapping[str, Any]) -> None:
        """Say in the row that there is no result, and why."""
        unfinished = update(PairRow).where(PairRow.id == job.payload["pair"], PairRow.status.in_(_UNFINISHED))
        failed = {"status": "failed", "stage": None, "progress": 1.0, "finished_at": datetime.now(UTC)}
        if session.connection().execute(unfinished.values(error_code=error["code"], **failed)).rowcount == 1:
            self._metrics.pairs.labels("failed").inc()

    def _begin(self, pair_id: str) -> PairRow | None:
        """The pair, now `running`; None if there is nothing to do. It is found `running` where a worker has died."""
        for status in _UNFINISHED:
            if self._pairs.change(pair_id, status, status="running", stage=None, progress=0.0):
                return self._pairs.get(pair_id)
        return None

    def _compare(self, row: PairRow, progress: Progress) -> dict[str, Any]:
        before, after, asked = read_pair(row, self._storage, self._limits)
        assessment = self._assess(before, after, asked, progress)
        derive(assessment, before, self._storage.folder(row.id))
        pair = assessment.pair
        return {
            "report": report(assessment),
            "verdict": assessment.verdict.kind.value,
            "width": pair.before.width if pair else None,
            "height": pair.before.height if pair else None,
        }

    def _progress(self, work: Work) -> Progress:
        written_at, written_stage = 0.0, ""

        def write(stage: str, share: float) -> None:
            nonlocal written_at, written_stage
            work.check()
            now = time.monotonic()
            if stage == written_stage and now - written_at < _WRITE_EVERY_S:
                return
            written_at, written_stage = now, stage
            low, high = STAGES[stage]
            progress = low + (high - low) * min(max(share, 0.0), 1.0)
            if not self._pairs.change(work.payload["pair"], "running", stage=stage, progress=progress):
                raise Deleted

        return write

    def _finish(self, pair_id: str, outcome: dict[str, Any], seconds: float) -> None:
        now = datetime.now(UTC)
        done = {"status": "done", "stage": None, "progress": 1.0, "finished_at": now}
        if self._pairs.change(pair_id, "running", **done, **outcome):
            self._metrics.pairs.labels(outcome["verdict"]).inc()
            self._metrics.comparisons.observe(seconds)
        elif self._pairs.get(pair_id) is None:
            self._storage.remove(pair_id)
