"""Nights for tests: a folder of small scenes of one place, taken when the test says, and what scans them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.database import connect
from service.ledger.audit import Actor
from service.nightly.due import begin
from service.nightly.running import Nightly
from service.nightly.schedules import Plan, Schedules
from service.nightly.tables import Night, Schedule
from service.queue import Queue, Worker
from service.registry.store import Registry
from service.registry.tables import ModelVersion
from service.scans import Scans
from service.settings import Settings
from tests import scans as small
from tests.databases import new_database
from tests.imagery import MagentaModel, geotiff
from tests.scans import dated, lit

CLERK = Actor("王经办")
NEW, OTHER = (60, 60, 40, 40), (180, 90, 30, 30)
VERSION = ModelVersion(id="b" * 64, sha256=MagentaModel.sha256, domain="overhead", name="magenta", version="1")

Block = tuple[int, int, int, int]


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def picture(path: Path, *blocks: Block, taken: str | None = None, unseen: float = 0.0, **size: int) -> Path:
    """A GeoTIFF of the place with magenta blocks; `unseen` is the share of it on the right that was not seen."""
    pixels = lit(dated(*blocks, **size))
    alpha = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    alpha[:, round(pixels.shape[1] * (1 - unseen)) :] = 0
    tags = {} if taken is None else {"TIFFTAG_DATETIME": f"{at(taken):%Y:%m:%d %H:%M:%S}"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(geotiff(np.dstack([pixels, alpha]), tags=tags))
    return path


class Weights:
    """What stands in for the registry's weights."""

    def __init__(self) -> None:
        self.model: Any = MagentaModel()


def stand_in(patch: pytest.MonkeyPatch) -> Weights:
    """Small windows, and a model that can be foreseen."""
    small.small_windows(patch)
    found = Weights()
    patch.setattr(Registry, "prepare", lambda self: None)
    patch.setattr(Registry, "active", lambda self, domain: VERSION)
    patch.setattr(Registry, "model", lambda self, version: found.model)
    return found


@dataclass(frozen=True)
class House:
    """A database, its settings, and what carries nights out."""

    engine: Engine
    settings: Settings
    nightly: Nightly
    schedules: Schedules

    @property
    def scenes(self) -> Path:
        """The folder that imagery may be read from."""
        return self.settings.scene_folders[0]

    def add(self, **plan: Any) -> Schedule:
        """A schedule at half past two in Beijing, added on 2026-03-01 if not said otherwise."""
        known = {"name": "石景山", "source": "nights", "cron": "30 2 * * *", "policy": "previous_night"}
        now = plan.pop("now", at("2026-03-01T12:00"))
        return self.schedules.add(CLERK, Plan(**(known | plan)), now)

    def night(self, schedule: Schedule, due: str) -> Night:
        """A night in the foreground, carried out."""
        with Session(self.engine) as session, session.begin():
            night_id = begin(session, schedule, at(due)).id
        self.nightly.conclude(night_id, lambda stage, share: None)
        return self.nightly.read(night_id)

    def nights(self) -> list[Night]:
        """All of them, by due time."""
        with Session(self.engine) as session:
            return list(session.scalars(select(Night).order_by(Night.due_at)))


def _house(folder: Path, url: str, **settings: Any) -> House:
    engine = connect(url)
    known = Settings(data_dir=folder, database_url=url, **settings)
    registry = Registry(engine, folder)
    scans = Scans(Queue(engine), known, registry)
    return House(engine, known, Nightly(engine, known, registry, scans), Schedules(engine, known))


@contextmanager
def house(folder: Path, **settings: Any) -> Iterator[House]:
    """An empty one."""
    with new_database(folder) as url:
        found = _house(folder, url, **settings)
        found.scenes.mkdir(parents=True, exist_ok=True)
        yield found
        found.engine.dispose()


class Hanging(MagentaModel):
    """Scores some windows, then says so by a file and goes no further."""

    def __init__(self, reached: Path) -> None:
        self.reached, self.shown = reached, 0

    def probabilities(self, before: Any, after: Any) -> Any:
        self.shown += 1
        if self.shown > 4:
            self.reached.touch()
            threading.Event().wait()
        return super().probabilities(before, after)


def work_and_hang(folder: str, url: str) -> None:
    """A worker that never ends the night it begins. Runs in a `tests.fakes_notify.Killable`."""
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch).model = Hanging(Path(folder) / "reached")
        place = _house(Path(folder), url)
        Worker(Queue(place.engine), {"night": place.nightly.run}, {"night": place.nightly.given_up}).step()


def codes(night: Night) -> list[str]:
    """Why."""
    return [reason["code"] for reason in night.reasons]
