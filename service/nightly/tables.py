"""Tables: Schedule 1-n Night, the lock of an area, and tracks."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import JSON, CheckConstraint, Double, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from inference.findings import KINDS, Kind
from service.database import Base, UtcDateTime
from service.ledger.tables import new_id

Policy = Literal["fixed", "last_accepted", "previous_night"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
NightState = Literal["queued", "running", "findings", "nothing_found", "not_observed", "failed", "missed"]
NIGHT_STATES: tuple[NightState, ...] = get_args(NightState)
UNFINISHED: tuple[NightState, ...] = ("queued", "running")
_KEPT = text("removed_at IS NULL")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(map(repr, values))})"


class Schedule(Base):
    """What is scanned every night. It is removed, never deleted: its nights say what was looked at and what was not.

    Attributes:
        area: GeoJSON in WGS-84; None for all that the imagery shows.
        area_key: the same for schedules of one area, which are never scanned at the same time.
        source: where the imagery of a night is; see `service.nightly.sources`.
        bands, gsd, zoom: as of `jingdi scan`.
        cron, time_zone: when; five fields, as cron has them.
        policy: what a night is compared with: `fixed` (`baseline`), `last_accepted` (what was seen last before an entry
            of the area was closed), `previous_night`.
        checked_until: due times up to then have become nights.
    """

    __tablename__ = "schedule"
    __table_args__ = (
        CheckConstraint(_one_of("policy", POLICIES), name="policy"),
        CheckConstraint("policy <> 'fixed' OR baseline IS NOT NULL", name="baseline"),
        Index("ix_schedule_name", "name", unique=True, sqlite_where=_KEPT, postgresql_where=_KEPT),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(64))
    area: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    area_key: Mapped[str] = mapped_column(String(64))
    source: Mapped[str] = mapped_column(String(1000))
    bands: Mapped[list[int]] = mapped_column(JSON)
    gsd: Mapped[float | None] = mapped_column(Double)
    zoom: Mapped[int]
    cron: Mapped[str] = mapped_column(String(100))
    time_zone: Mapped[str] = mapped_column(String(64))
    policy: Mapped[Policy] = mapped_column(String(16))
    baseline: Mapped[str | None] = mapped_column(String(1000))
    enabled: Mapped[bool]
    checked_until: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Night(Base):
    """One due time of a schedule and what became of it.

    Attributes:
        state: `nothing_found` holds for what was seen of the area, `observed_share`, alone.
        reasons: why it is `not_observed`, `failed` or `missed`, and why parts were not seen:
            `[{"code": ..., "values": {...}}]`.
        before, after: the imagery that is compared, decided when the night begins, as
            `service.nightly.sources.as_document` writes it.
        before_at, taken_at: when it was taken.
        scene_id: the scene it left in the ledger; None if it was not taken in.
        findings: kind -> how many.
        job_id: in the queue; None for a run in the foreground.
    """

    __tablename__ = "night"
    __table_args__ = (
        CheckConstraint(_one_of("state", NIGHT_STATES), name="state"),
        CheckConstraint("observed_share >= 0 AND observed_share <= 1", name="observed_share"),
        UniqueConstraint("schedule_id", "due_at", name="uq_night_due"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    schedule_id: Mapped[str] = mapped_column(ForeignKey("schedule.id", name="fk_night_schedule"))
    due_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    state: Mapped[NightState] = mapped_column(String(16), index=True)
    reasons: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    observed_share: Mapped[float | None] = mapped_column(Double)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    before_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    taken_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    scene_id: Mapped[str | None] = mapped_column(String(128))
    findings: Mapped[dict[str, int] | None] = mapped_column(JSON(none_as_null=True))
    job_id: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    schedule: Mapped[Schedule] = relationship()


class AreaLock(Base):
    """An area that is being scanned, by one night, until it ends or so long after its last sign of life."""

    __tablename__ = "area_lock"

    area_key: Mapped[str] = mapped_column(String(64), primary_key=True)
    night_id: Mapped[str] = mapped_column(String(32))
    until: Mapped[datetime] = mapped_column(UtcDateTime)


class Track(Base):
    """A structure that scenes saw, once or again and again (`inference.tracks`). A suspicion, like its findings.

    Attributes:
        kind, geometry, area_m2: as it was found first (kind) and last; `west` to `north` are its bounds.
        probability: the highest of all its findings.
        looks: days on which it was seen.
        misses: scenes in a row, up to the newest, that saw the place and not the structure.
        last_scene: which saw it last.
        checked_at: when the newest scene was taken that saw the place.
        corroborated_at: when it was seen on a second day.
        ended_at: when it had been missed too often; a structure seen there later is another track.
    """

    __tablename__ = "track"
    __table_args__ = (
        CheckConstraint(_one_of("kind", KINDS), name="kind"),
        Index("ix_track_place", "west", "south"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    kind: Mapped[Kind] = mapped_column(String(16))
    geometry: Mapped[dict[str, Any]] = mapped_column(JSON)
    west: Mapped[float] = mapped_column(Double)
    south: Mapped[float] = mapped_column(Double)
    east: Mapped[float] = mapped_column(Double)
    north: Mapped[float] = mapped_column(Double)
    area_m2: Mapped[float] = mapped_column(Double)
    probability: Mapped[float] = mapped_column(Double)
    looks: Mapped[int]
    misses: Mapped[int]
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    last_scene: Mapped[str] = mapped_column(String(128))
    checked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    corroborated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
