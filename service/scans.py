"""Scans from the queue: two scenes of an allowed folder, compared window by window, then laid over the ledger.

A scan keeps its journal in `<data_dir>/scans/<id of the job>/` and goes on there after whatever stopped it, with the
weights it began with. Windows that could not be read are tried again with the job, and in the end are unseen.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from datasets.scene import Access, Scene, SceneError
from datasets.scene_sources import open_scene
from inference.model import Model, ModelError
from inference.reasons import InputError, Reason
from inference.scan.journal import Journal
from inference.scan.plan import area_of, grid_for
from inference.scan.run import Progress, Scan, scan
from service import errors
from service.ledger.schemas import TakenOut
from service.queue import Interrupted, Job, Queue, Refused, Work
from service.registry.store import Registry
from service.registry.tables import ModelVersion
from service.scenes.runs import NoDate, below, take_in_run
from service.settings import Settings

SCAN = "scan"
DOMAIN = "overhead"
_PASSES_BY = frozenset({"run_busy", "cannot_write"})
"""Reasons that may be gone next time."""


class SceneOutside(errors.ServiceError):
    """A scene that is in none of the folders that may be read from, or not there."""

    code = "scene_outside"


class ScanNotFound(errors.ServiceError):
    """No scan has this id, or it has no such file yet."""

    code = "scan_not_found"


class ScanUndated(errors.ServiceError):
    """Nobody says when the later picture was taken."""

    code = "scan_undated"


class ScanOver(errors.ServiceError):
    """It has come to its end already."""

    code = "scan_over"


errors.STATUS[SceneOutside] = HTTPStatus.UNPROCESSABLE_ENTITY
errors.STATUS[ScanNotFound] = HTTPStatus.NOT_FOUND
errors.STATUS[ScanUndated] = HTTPStatus.UNPROCESSABLE_ENTITY
errors.STATUS[ScanOver] = HTTPStatus.CONFLICT


class WindowsSetAside(RuntimeError):
    """Some windows could not be read; the scan is worth another try."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be scanned. As the payload of a job, it is the same as a dictionary.

    Attributes:
        before, after: files of each date, or one STAC document: paths, relative to one of the scene folders or in it.
        area: GeoJSON in WGS-84; all of the earlier scene if not given.
        gsd: metres per pixel, if not those of the earlier scene.
        bands: which bands are red, green and blue.
        taken_at: when the later picture was taken, ISO 8601 with zone, if it does not say so itself.
    """

    before: Sequence[str]
    after: Sequence[str]
    area: dict[str, Any] | None = None
    gsd: float | None = None
    bands: Sequence[int] = (1, 2, 3)
    taken_at: str | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {
            "before": list(self.before), "after": list(self.after), "area": self.area, "gsd": self.gsd,
            "bands": list(self.bands), "taken_at": self.taken_at,
        }  # fmt: skip

    @property
    def moment(self) -> datetime | None:
        """`taken_at`."""
        return datetime.fromisoformat(self.taken_at) if self.taken_at else None


class Scans:
    """The scans of one service."""

    def __init__(self, queue: Queue, settings: Settings, registry: Registry) -> None:
        self._queue, self._settings, self._registry = queue, settings, registry
        self._folder = settings.data_dir / "scans"

    def submit(self, order: Order, key: str | None = None) -> Job:
        """Check what can be checked at once, and queue the scan.

        Args:
            key: the same key is the same scan.

        Raises:
            SceneOutside, InputError, ScanUndated: it cannot be scanned. Nothing was queued.
        """
        before, after = self.scenes(order)
        grid_for(before, after, area=_area(order), gsd=order.gsd)
        if after.captured_at is None and order.moment is None:
            raise ScanUndated
        job = self._queue.get(self._queue.enqueue(SCAN, order.payload, key=key and f"{SCAN}:{key}"))
        assert job is not None  # jobs are never deleted
        return job

    def get(self, job_id: str) -> Job:
        """The scan.

        Raises:
            ScanNotFound: there is none.
        """
        job = self._queue.get(job_id)
        if job is None or job.kind != SCAN:
            raise ScanNotFound
        return job

    def cancel(self, job_id: str) -> Job:
        """Stop it at its next window, and forget what it has done.

        Raises:
            ScanNotFound: there is none.
            ScanOver: too late.
        """
        job = self.get(job_id)
        if not self._queue.cancel(job.id):
            raise ScanOver
        if job.state == "queued":  # otherwise whoever runs it does that
            shutil.rmtree(self.folder(job.id), ignore_errors=True)
        return self.get(job_id)

    def folder(self, job_id: str) -> Path:
        """Where a scan works and leaves its files."""
        return self._folder / job_id

    def sweep(self) -> None:
        """Delete what scans left behind that were cancelled while nobody ran them."""
        if not self._folder.is_dir():
            return
        folders = list(self._folder.iterdir())  # first, so that none is of a job that comes only now
        query = select(Job.id).where(Job.kind == SCAN, Job.state != "cancelled")
        with Session(self._queue.engine) as session:
            known = set(session.scalars(query))
        for folder in folders:
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    # --- Running ------------------------------------------------------------------------------------------

    def run(self, work: Work) -> dict[str, Any]:
        """The handler: scan, then lay over the ledger. Returns the summary and what it led to."""
        order, folder = Order(**work.payload), self.folder(work.id)
        try:
            version = self.version(folder)
            result = self.execute(order, folder, self._registry.model(version), work)
        except Interrupted:
            job = self._queue.get(work.id)
            if job is not None and job.state == "cancelled":
                shutil.rmtree(folder, ignore_errors=True)
            raise
        except errors.ServiceError as error:
            raise Refused(error.code, **error.values) from error
        except InputError as error:
            if error.reason.code in _PASSES_BY:
                raise
            raise Refused(error.reason.code, **error.reason.values) from error
        if result.set_aside and work.attempt < work.max_attempts:
            raise WindowsSetAside(f"{result.set_aside} windows: {'; '.join(result.summary['errors'])[:300]}")
        try:
            taken = take_in_run(self._queue.engine, self._settings, folder, taken_at=order.moment)
        except NoDate as error:
            raise Refused(ScanUndated.code) from error
        return {
            "summary": result.summary,
            "taken": TakenOut.of(taken).model_dump(mode="json"),
            "model": {"name": version.name, "version": version.version, "sha256": version.sha256},
        }

    def execute(self, order: Order, folder: Path, model: Model, work: Work) -> Scan:
        """Scan into a folder, or go on with what is there; the ledger is not touched.

        Raises:
            Interrupted: stop.
            SceneOutside, InputError: it cannot be scanned.
        """
        before, after = self.scenes(order)
        grid, area = grid_for(before, after, area=_area(order), gsd=order.gsd)

        def progress(state: Progress) -> None:
            work.report(state.stage, state.done_px / max(state.total_px, 1))

        return scan(before, after, grid, folder, lambda: model, area=area, resume=True, progress=progress)

    def scenes(self, order: Order) -> tuple[Scene, Scene]:
        """Both dates, if every file of them is in a folder that may be read from.

        Raises:
            SceneOutside, InputError: they are not, or cannot be used.
        """
        before, after = (self._scene(names, order.bands) for names in (order.before, order.after))
        return before, after

    def _scene(self, names: Sequence[str], bands: Sequence[int]) -> Scene:
        red, green, blue = bands
        paths = [str(self._place(name)) for name in names]
        try:
            scene = open_scene(paths, Access(), bands=(red, green, blue))
        except SceneError as error:
            raise InputError(Reason(error.code, error.values)) from error
        for source in (*scene.sources, *scene.clouds):  # a STAC document may name files anywhere
            if not below(Path(source), self._settings.scene_folders):
                raise SceneOutside(name=Path(source).name)
        return scene

    def _place(self, name: str) -> Path:
        with suppress(OSError, ValueError):  # names that no file can have
            for folder in self._settings.scene_folders:
                path = (folder / name).resolve()
                if below(path, self._settings.scene_folders) and path.is_file():
                    return path
        raise SceneOutside(name=name)

    def version(self, folder: Path) -> ModelVersion:
        """The weights it began with, or the active ones.

        Raises:
            ModelError: there are none.
        """
        version, plan = self._registry.active(DOMAIN), Journal(folder).plan()
        if plan is not None and (version is None or version.sha256 != plan["model_sha256"]):
            began = [each for each in self._registry.versions() if each.sha256 == plan["model_sha256"]]
            version = began[0] if began else version
        if version is None:
            raise ModelError("there are no weights for overhead imagery")
        return version


def _area(order: Order) -> Any:
    return None if order.area is None else area_of(json.dumps(order.area))
