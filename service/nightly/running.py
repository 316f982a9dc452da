"""One night, from its imagery to the ledger: by a worker of the service, or in the foreground.

Whatever stops it, it goes on where it was: with the imagery and the weights it began with, in its own folder. Imagery
that is missing, damaged or under cloud ends as `not_observed`, with the reason, and never as nothing found.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, update
from sqlalchemy.orm import Session, joinedload

from datasets.scene import Scene
from inference.model import ModelError
from inference.reasons import InputError, Reason
from inference.scan.plan import area_of, grid_for
from inference.scan.run import Progress, Scan, scan
from service.ledger.audit import canonical
from service.nightly import sources
from service.nightly.baselines import baseline, newest_taken
from service.nightly.errors import AreaBusy
from service.nightly.locks import Lock, locked
from service.nightly.sources import NothingToSee
from service.nightly.tables import UNFINISHED, Night, NightState
from service.queue import Interrupted, Job, Refused, Work
from service.registry.store import Registry
from service.scans import Scans
from service.scenes.runs import take_in_run
from service.settings import Settings

log = logging.getLogger("jingdi")

TRIES = 3
"""Windows that could not be read and faults of the machine are tried again so often."""
_PASSES_BY = frozenset({"run_busy", "cannot_write"})
"""Reasons of a scan that say nothing of its imagery and may be gone next time."""

Report = Callable[[str, float], None]
"""Stage and share of it that is done."""


class Nightly:
    """The nights of one service.

    Args:
        registry: has the weights.
        scans: says which of them a run began with.
    """

    def __init__(self, engine: Engine, settings: Settings, registry: Registry, scans: Scans) -> None:
        self._engine, self._settings, self._registry, self._scans = engine, settings, registry, scans
        self._folder = settings.data_dir / "nights"

    # --- From the queue -----------------------------------------------------------------------------------

    def run(self, work: Work) -> dict[str, Any]:
        """The handler. A night that waits for its area, or failed, is tried again."""
        night_id = str(work.payload["night"])
        try:
            if work.attempt < TRIES:
                state = self.carry_out(night_id, work.report, last=False)
            else:
                state = self.conclude(night_id, work.report)
        except AreaBusy as error:
            if work.attempt < work.max_attempts:
                raise
            raise Refused(error.code) from error
        return {"night": night_id, "state": state}

    def given_up(self, session: Session, job: Job, error: Mapping[str, Any]) -> None:
        """Say in the night that nothing came of it, and why."""
        unfinished = update(Night).where(Night.id == job.payload["night"], Night.state.in_(UNFINISHED))
        values = {"state": "failed", "reasons": [dict(error)], "finished_at": datetime.now(UTC)}
        session.connection().execute(unfinished.values(**values))

    # --- One night ----------------------------------------------------------------------------------------

    def folder(self, night_id: str) -> Path:
        """Where a night works and leaves its files."""
        return self._folder / night_id

    def conclude(self, night_id: str, report: Report) -> NightState:
        """The same for the last try: a fault ends the night as `failed`.

        Raises:
            AreaBusy: another night of the area is being scanned.
            Interrupted: the service stops.
        """
        try:
            return self.carry_out(night_id, report)
        except (Interrupted, AreaBusy):
            raise
        except Exception as error:
            log.exception("night %s failed", night_id)
            return self._finish(night_id, "failed", [_fault(error)])

    def carry_out(self, night_id: str, report: Report, *, last: bool = True) -> NightState:
        """Scan a night and lay it over the ledger. One that is finished is left as it is.

        Args:
            last: there is no other try, so windows that could not be read are unseen.

        Raises:
            AreaBusy: another night of the area is being scanned.
            Exception: a fault that may be gone next time.
        """
        night = self.read(night_id)
        if night.state not in UNFINISHED:
            return night.state
        with locked(self._engine, night.schedule.area_key, night_id) as lock:
            night = self.read(night_id)  # as it is now that nobody else is at it
            if night.state not in UNFINISHED:
                return night.state
            self._write(night_id, state="running", started_at=night.started_at or datetime.now(UTC))
            try:
                return self._scan(night, lock, report, last)
            except NothingToSee as error:
                return self._finish(night_id, "not_observed", [{"code": error.code, "values": error.values}])
            except InputError as error:
                if error.reason.code in _PASSES_BY:
                    raise
                return self._finish(night_id, "not_observed", [_of_reason(error.reason)])
            except Interrupted:
                self._write(night_id, state="queued")
                raise

    def _scan(self, night: Night, lock: Lock, report: Report, last: bool) -> NightState:
        after = self._after(night)
        assert after.captured_at is not None  # sources see to it
        before = self._before(night)
        schedule, folder = night.schedule, self.folder(night.id)
        area = None if schedule.area is None else area_of(canonical(schedule.area))
        grid, placed = grid_for(before, after, area=area, gsd=schedule.gsd)
        model = self._registry.model(self._scans.version(folder))

        def progress(state: Progress) -> None:
            lock.renew()
            report(state.stage, state.done_px / max(state.total_px, 1))

        result = scan(before, after, grid, folder, lambda: model, area=placed, resume=True, progress=progress)
        if result.set_aside and not last:
            raise RuntimeError(f"{result.set_aside} windows: {'; '.join(result.summary['errors'])[:300]}")
        scene_id = _scene_id(schedule.name, after.captured_at)
        take_in_run(self._engine, self._settings, folder, scene=scene_id, taken_at=after.captured_at)
        return self._keep(night.id, result, scene_id)

    def _after(self, night: Night) -> Scene:
        """Tonight's imagery, the same however often the night begins."""
        if night.after is not None:
            return sources.of_document(night.after)
        schedule = night.schedule
        red, green, blue = schedule.bands
        with Session(self._engine) as session:
            since = newest_taken(session, schedule, night)
        found = sources.find(
            schedule.source, self._settings, due_at=night.due_at, time_zone=schedule.time_zone, since=since,
            bands=(red, green, blue), zoom=schedule.zoom,
        )  # fmt: skip
        self._write(night.id, after=sources.as_document(found), taken_at=found.captured_at)
        return found

    def _before(self, night: Night) -> Scene:
        if night.before is not None:
            return sources.of_document(night.before)
        with Session(self._engine) as session:
            found = baseline(session, night.schedule, night, self._settings)
        self._write(night.id, before=sources.as_document(found), before_at=found.captured_at)
        return found

    def _keep(self, night_id: str, result: Scan, scene_id: str) -> NightState:
        summary = result.summary
        share, area = float(summary["observed_share"]), max(int(summary["area_px"]), 1)
        unseen = [
            {"code": code, "values": {"share": round(pixels / area, 4)}}
            for code, pixels in summary["not_observed_px"].items()
        ]
        findings = {kind: int(found["count"]) for kind, found in summary["findings"].items()}
        state: NightState = "findings" if any(findings.values()) else "nothing_found" if share else "not_observed"
        if result.set_aside:
            unseen.append({"code": "windows_set_aside", "values": {"count": result.set_aside}})
        return self._finish(night_id, state, unseen, observed_share=share, findings=findings, scene_id=scene_id)

    # --- The row ------------------------------------------------------------------------------------------

    def read(self, night_id: str) -> Night:
        """The night as it stands, with its schedule."""
        with Session(self._engine) as session:
            return session.get_one(Night, night_id, options=[joinedload(Night.schedule)])

    def _write(self, night_id: str, **values: Any) -> None:
        with Session(self._engine) as session, session.begin():
            session.connection().execute(update(Night).where(Night.id == night_id).values(**values))

    def _finish(self, night_id: str, state: NightState, reasons: list[dict[str, Any]], **values: Any) -> NightState:
        self._write(night_id, state=state, reasons=reasons, finished_at=datetime.now(UTC), **values)
        return state


def _fault(error: Exception) -> dict[str, Any]:
    """Why a night failed."""
    code = "no_model" if isinstance(error, ModelError) else "internal"
    return {"code": code, "values": {"detail": f"{type(error).__name__}: {error}"[:300]}}


def _of_reason(reason: Reason) -> dict[str, Any]:
    return {"code": reason.code, "values": dict(reason.values)}


def _scene_id(name: str, taken_at: datetime) -> str:
    """One look for each schedule and each imagery, however often it is scanned."""
    plain = re.sub(r"[^\w.-]", "-", name)
    return f"{plain}_{taken_at.astimezone(UTC):%Y%m%dT%H%M%S}".lstrip(".-")
