"""What the API says of schedules, nights and tracks, as types."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from inference.findings import Kind
from service.nightly.schedules import BEIJING, Plan
from service.nightly.tables import Night, NightState, Policy, Schedule, Track
from service.nightly.texts import sentence
from service.nightly.times import upcoming
from service.schemas import ReasonOut, Share

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")]
Source = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1000,
        pattern=r"^[^\x00-\x1f]+$",
        description="GeoTIFF, folder of GeoTIFFs or STAC document below the folders of `JINGDI_SCENE_DIRS`, or an "
        "address at a host of `JINGDI_SCENE_HOSTS`: STAC, or tiles with `{z}`, `{x}`, `{y}`. `{date}`, `{yyyy}`, "
        "`{mm}`, `{dd}` stand for the date on which the night is due.",
    ),
]
Cron = Annotated[
    str, Field(min_length=9, max_length=100, description="Five fields, as cron has them; once an hour at most.")
]
Zone = Annotated[str, Field(min_length=1, max_length=64, examples=[BEIJING])]
Area = Annotated[dict[str, Any], Field(description="GeoJSON with polygons, WGS-84; otherwise all of the baseline.")]
Band = Annotated[int, Field(ge=1, le=100)]
Bands = Annotated[tuple[Band, Band, Band], Field(description="Which bands are red, green and blue.")]
Gsd = Annotated[float, Field(gt=0, le=1000, description="Metres per pixel, if not those of the baseline.")]
Zoom = Annotated[int, Field(ge=0, le=24, description="Level of tiles.")]
PolicyField = Annotated[
    Policy,
    Field(
        description="What a night is compared with: `fixed` is `baseline`; `last_accepted` the newest scene of up to "
        "the day on which an entry of the area was closed last; `previous_night` the imagery of the night before."
    ),
]


class ScheduleIn(BaseModel):
    """What is to be scanned every night."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    source: Source
    cron: Cron
    time_zone: Zone = BEIJING
    area: Area | None = None
    policy: PolicyField = "last_accepted"
    baseline: Source | None = None
    bands: Bands = (1, 2, 3)
    gsd: Gsd | None = None
    zoom: Zoom = 18
    enabled: bool = True

    @property
    def plan(self) -> Plan:
        """As schedules take it."""
        return Plan(**dict(self))


class ScheduleChange(BaseModel):
    """Fields to be changed; the others stay as they are."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    source: Source | None = None
    cron: Cron | None = None
    time_zone: Zone | None = None
    area: Area | None = None
    policy: PolicyField | None = None
    baseline: Source | None = None
    bands: Bands | None = None
    gsd: Gsd | None = None
    zoom: Zoom | None = None
    enabled: bool | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """What was given; null takes away where there may be nothing (`area`, `baseline`, `gsd`)."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return {name: value for name, value in given.items() if value is not None or name in _MAY_BE_NULL}


_MAY_BE_NULL = ("area", "baseline", "gsd")


class ScheduleOut(BaseModel):
    """A schedule."""

    id: str
    name: str
    source: str
    cron: str
    time_zone: str
    area: dict[str, Any] | None
    policy: Policy
    baseline: str | None
    bands: list[int]
    gsd: float | None
    zoom: int
    enabled: bool
    created_at: datetime
    next_due_at: datetime | None = Field(description="Null while it is switched off.")

    @classmethod
    def of(cls, row: Schedule) -> ScheduleOut:
        """From a row of the database."""
        names = [name for name in cls.model_fields if name != "next_due_at"]
        due = upcoming(row.cron, row.time_zone, datetime.now(UTC)) if row.enabled else None
        return cls(**{name: getattr(row, name) for name in names}, next_due_at=due)


class NightOut(BaseModel):
    """One due time of a schedule and what became of it."""

    id: str
    schedule_id: str
    schedule: str = Field(description="Its name.")
    due_at: datetime
    state: NightState = Field(
        description="`nothing_found` holds for what was seen, `observed_share`, alone. `not_observed`, `failed` and "
        "`missed` say nothing about the ground."
    )
    reasons: list[ReasonOut] = Field(
        description="Why it was not observed, failed or was missed; or why parts were not seen, with their share."
    )
    observed_share: Share | None = Field(description="Share of the area that was seen at both dates.")
    before: str | None = Field(description="Name of the earlier imagery.")
    before_at: datetime | None
    after: str | None = Field(description="Name of the imagery of the night.")
    taken_at: datetime | None
    scene_id: str | None = Field(description="The scene that it left in the ledger.")
    findings: dict[str, int] | None = Field(description="How many of each kind.")
    job_id: str | None
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Night, language: str) -> NightOut:
        """From a row of the database, with its reasons in the reader's language."""
        own = ("schedule", "before", "after", "reasons")
        names = {name: getattr(row, name) for name in cls.model_fields if name not in own}
        before, after = ((imagery or {}).get("name") for imagery in (row.before, row.after))
        reasons = [ReasonOut(**each, text=sentence(each, language)) for each in row.reasons]
        return cls(**names, schedule=row.schedule.name, before=before, after=after, reasons=reasons)


class TrackOut(BaseModel):
    """A structure that scenes saw, once or again and again. It is a suspicion: a named person decides."""

    id: str
    kind: Kind
    geometry: dict[str, Any] = Field(description="GeoJSON in WGS-84, as it was seen last.")
    area_m2: float
    probability: float = Field(description="The highest of all its findings.")
    looks: int = Field(description="Days on which it was seen.")
    misses: int = Field(description="Scenes in a row that saw the place and not the structure.")
    first_seen_at: datetime
    last_seen_at: datetime
    last_scene: str
    checked_at: datetime = Field(description="When the place was looked at last; not observed since.")
    corroborated_at: datetime | None = Field(description="When it was seen on a second day.")
    ended_at: datetime | None = Field(description="When it had been missed too often.")

    @classmethod
    def of(cls, row: Track) -> TrackOut:
        """From a row of the database."""
        return cls.model_validate(row, from_attributes=True)


class NightPage(BaseModel):
    """Nights, newest first."""

    items: list[NightOut]
    total: int
    limit: int
    offset: int


class TrackPage(BaseModel):
    """Tracks, seen last first."""

    items: list[TrackOut]
    total: int
    limit: int
    offset: int
