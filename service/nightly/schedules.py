"""Schedules: made, changed and removed by people, each step in the audit log."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from datasets.scene import SceneError
from inference.reasons import InputError, Reason
from inference.scan.plan import area_of
from service.ledger.audit import Actor, append, canonical, writing
from service.nightly import sources, times
from service.nightly.errors import ScheduleExists, ScheduleNotFound, ScheduleUnusable
from service.nightly.sources import NothingToSee
from service.nightly.tables import Policy, Schedule
from service.settings import Settings

BEIJING = "Asia/Shanghai"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a person says of a schedule; see `service.nightly.tables.Schedule`."""

    name: str
    source: str
    cron: str
    time_zone: str = BEIJING
    area: Mapping[str, Any] | None = None
    policy: Policy = "last_accepted"
    baseline: str | None = None
    bands: Sequence[int] = (1, 2, 3)
    gsd: float | None = None
    zoom: int = 18
    enabled: bool = True

    @property
    def values(self) -> dict[str, Any]:
        """As the table has them."""
        given = {name: getattr(self, name) for name in _FIELDS}
        return given | {
            "area": None if self.area is None else dict(self.area),
            "bands": list(self.bands),
            "baseline": self.baseline if self.policy == "fixed" else None,
            "area_key": _area_key(self.area, self.source),
        }


_FIELDS = ("name", "source", "cron", "time_zone", "area", "policy", "baseline", "bands", "gsd", "zoom", "enabled")


class Schedules:
    """The schedules of one database."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine, self._settings = engine, settings

    def all(self) -> Sequence[Schedule]:
        """By name."""
        with Session(self._engine) as session:
            return session.scalars(select(Schedule).where(Schedule.removed_at.is_(None)).order_by(Schedule.name)).all()

    def get(self, key: str) -> Schedule:
        """The schedule of this id or name.

        Raises:
            ScheduleNotFound: there is none.
        """
        with Session(self._engine) as session:
            return _find(session, key)

    def add(self, actor: Actor, plan: Plan, now: datetime | None = None) -> Schedule:
        """A new schedule. What was due before is none of its business.

        Raises:
            ScheduleUnusable, InputError: it makes no sense.
            ScheduleExists: the name is taken.
        """
        moment = now or datetime.now(UTC)
        self._check(plan, moment)
        schedule = Schedule(**plan.values, checked_until=moment, created_at=moment)
        try:
            with writing(self._engine) as session:
                session.add(schedule)
                session.flush()
                append(session, actor, "schedule.added", f"schedule:{schedule.id}", _shown(plan), moment)
        except IntegrityError as error:
            raise ScheduleExists from error
        return schedule

    def change(self, actor: Actor, key: str, changes: Mapping[str, Any], now: datetime | None = None) -> Schedule:
        """Change some of its fields. What was due while it was switched off is not made up for.

        Raises:
            ScheduleNotFound, ScheduleUnusable, ScheduleExists, InputError.
        """
        moment = now or datetime.now(UTC)
        try:
            with writing(self._engine) as session:
                schedule = _find(session, key)
                plan = Plan(**{name: getattr(schedule, name) for name in _FIELDS} | dict(changes))
                self._check(plan, moment)
                if (plan.enabled and not schedule.enabled) or (plan.cron, plan.time_zone) != (
                    schedule.cron, schedule.time_zone,
                ):  # fmt: skip
                    schedule.checked_until = moment
                for name, value in plan.values.items():
                    setattr(schedule, name, value)
                session.flush()
                append(session, actor, "schedule.changed", f"schedule:{schedule.id}", _shown(plan), moment)
        except IntegrityError as error:
            raise ScheduleExists from error
        return schedule

    def remove(self, actor: Actor, key: str, now: datetime | None = None) -> None:
        """No more nights; those there were stay on record.

        Raises:
            ScheduleNotFound: there is none.
        """
        moment = now or datetime.now(UTC)
        with writing(self._engine) as session:
            schedule = _find(session, key)
            schedule.removed_at, schedule.enabled = moment, False
            append(session, actor, "schedule.removed", f"schedule:{schedule.id}", {"name": schedule.name}, moment)

    def _check(self, plan: Plan, now: datetime) -> None:
        times.check(plan.cron, plan.time_zone)
        if plan.area is not None:
            area_of(canonical(plan.area))
        elif "{z}" in plan.source.lower() or "{tilematrix}" in plan.source.lower():
            raise InputError(Reason("area_needed"))
        if plan.policy == "fixed" and not plan.baseline:
            raise ScheduleUnusable("baseline_missing")
        places = [plan.source, *([plan.baseline] if plan.policy == "fixed" and plan.baseline else [])]
        for place in places:
            try:
                sources.check(place, self._settings, times.local(now, plan.time_zone))
            except SceneError as error:
                raise ScheduleUnusable("source_refused", name=place, detail=error.code) from error
            except NothingToSee as error:
                raise ScheduleUnusable(error.code, **error.values) from error


def _find(session: Session, key: str) -> Schedule:
    known = (Schedule.id == key) | (Schedule.name == key)
    schedule = session.scalar(select(Schedule).where(known, Schedule.removed_at.is_(None)))
    if schedule is None:
        raise ScheduleNotFound
    return schedule


def _area_key(area: Mapping[str, Any] | None, source: str) -> str:
    """The same for the same area; schedules for all of a source share it if they have the same one."""
    return hashlib.sha256(canonical(area if area is not None else {"all of": source}).encode()).hexdigest()


def _shown(plan: Plan) -> dict[str, Any]:
    """What the audit log keeps: the outline of an area would be long, and its key says whether it changed."""
    values = plan.values
    return {name: values[name] for name in (*_FIELDS, "area_key") if name != "area"}
