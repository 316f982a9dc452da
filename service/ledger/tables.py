"""Tables of the ledger: Courtyard 1-n Site 1-n {Observation, Decision, Alert}, candidates, and the audit log.

Left out on purpose, with the place each will take: plans (一院一策) hang on `Courtyard`; batches (批次) and
communities (社区) become tables that `Site.batch` and `Site.community` point to; inspections (明察暗访), reports
(举报) and objections hang on `Site` like `Observation`, and are cited as evidence of a `Decision` by their id.

Nothing is stored about residents. People named here are officials who act in office.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal
from uuid import uuid4

from sqlalchemy import JSON, BigInteger, CheckConstraint, Double, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from service.database import Base, UtcDateTime

System = Literal["collective", "state_assets", "shougang", "government_social"]
SYSTEMS: tuple[System, ...] = ("collective", "state_assets", "shougang", "government_social")
SiteState = Literal[
    "open", "claimed_clear", "accepted", "watched", "rebound_suspected", "rebound_confirmed"
]  # fmt: skip
SITE_STATES: tuple[SiteState, ...] = (
    "open", "claimed_clear", "accepted", "watched", "rebound_suspected", "rebound_confirmed",
)  # fmt: skip
AlertState = Literal["suspected", "corroborated", "dispatched", "confirmed", "dismissed", "closed"]
ALERT_STATES: tuple[AlertState, ...] = (
    "suspected", "corroborated", "dispatched", "confirmed", "dismissed", "closed",
)  # fmt: skip
Cause = Literal["new", "remaining"]
CAUSES: tuple[Cause, ...] = ("new", "remaining")
Result = Literal["new", "remaining", "clear", "not_observed"]
RESULTS: tuple[Result, ...] = (*CAUSES, "clear", "not_observed")
DEFAULT_SENSITIVITY = 0.3
"""An inspector hears of a finding only after a second look, so the first may be less sure than not. On imagery where
nothing had changed, 0.2 false findings per km2 reach it (training/RESULTS.md)."""

UNDECIDED: tuple[AlertState, ...] = ("suspected", "corroborated", "dispatched")
"""An alert that nobody has decided yet; there is at most one per site and cause."""
CLOSED_SITE: tuple[SiteState, ...] = ("accepted", "watched", "rebound_suspected")
"""A site whose entry is closed (销账), so that a finding there may be a rebound."""


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


_ONE_UNDECIDED = text(_one_of("state", UNDECIDED))


def new_id() -> str:
    """A random identifier."""
    return uuid4().hex


class Courtyard(Base):
    """A courtyard (院): what one plan deals with. `code` is what the ledger calls it."""

    __tablename__ = "courtyard"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(String(64), index=True, unique=True)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Site(Base):
    """A site (点位): what is cleared, accepted and watched.

    Attributes:
        system: responsible system (责任系统).
        land_m2, building_m2, greened_m2: as the ledger states them, in m2.
        opened_on, closed_on: days on which the entry was opened (挂账) and closed (销账).
        geometry: GeoJSON Polygon, MultiPolygon or Point in WGS-84 (= CGCS2000) longitude and latitude.
        radius_m: of a Point, metres; None for polygons.
        west, south, east, north: bounds of the footprint in degrees.
        inspector: the official who is sent there.
        baseline: the imagery it is compared with: `{"kind": "pair" | "observation" | "scene", "ref": ..., "at": ...}`.
        observed_at: when the whole of it was last seen. None and long ago mean "not observed since", never "clear".
        sensitivity: lowest probability of a finding that raises an alert here, 0..1.
    """

    __tablename__ = "site"
    __table_args__ = (
        CheckConstraint(_one_of("system", SYSTEMS), name="system"),
        CheckConstraint(_one_of("state", SITE_STATES), name="state"),
        CheckConstraint("land_m2 >= 0 AND building_m2 >= 0 AND greened_m2 >= 0", name="areas"),
        CheckConstraint("sensitivity >= 0 AND sensitivity <= 1", name="sensitivity"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(String(64), index=True, unique=True)
    courtyard_id: Mapped[str] = mapped_column(ForeignKey("courtyard.id", name="fk_site_courtyard"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    system: Mapped[System] = mapped_column(String(32), index=True)
    street: Mapped[str | None] = mapped_column(String(64))
    community: Mapped[str | None] = mapped_column(String(64))
    batch: Mapped[str | None] = mapped_column(String(64))
    land_m2: Mapped[float] = mapped_column(Double)
    building_m2: Mapped[float] = mapped_column(Double)
    greened_m2: Mapped[float] = mapped_column(Double)
    opened_on: Mapped[date | None]
    closed_on: Mapped[date | None]
    state: Mapped[SiteState] = mapped_column(String(32), index=True)
    geometry: Mapped[dict[str, Any]] = mapped_column(JSON)
    radius_m: Mapped[float | None] = mapped_column(Double)
    west: Mapped[float] = mapped_column(Double)
    south: Mapped[float] = mapped_column(Double)
    east: Mapped[float] = mapped_column(Double)
    north: Mapped[float] = mapped_column(Double)
    inspector: Mapped[str | None] = mapped_column(String(64))
    baseline: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    observed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sensitivity: Mapped[float] = mapped_column(Double, default=DEFAULT_SENSITIVITY)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    courtyard: Mapped[Courtyard] = relationship()


class Alert(Base):
    """A lead on a closed site: one while it is undecided, per site and cause, however often it is seen.

    Attributes:
        probability, area_m2: the highest of all its observations.
        looks: independent looks (different scene and day) that agree on where it is.
        first_seen_at, last_seen_at: when the imagery was taken.
        inspector: whom it was dispatched to.
    """

    __tablename__ = "alert"
    __table_args__ = (
        CheckConstraint(_one_of("cause", CAUSES), name="cause"),
        CheckConstraint(_one_of("state", ALERT_STATES), name="state"),
        Index(
            "ix_alert_one_undecided",
            "site_id",
            "cause",
            unique=True,
            sqlite_where=_ONE_UNDECIDED,
            postgresql_where=_ONE_UNDECIDED,
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id", name="fk_alert_site"), index=True)
    cause: Mapped[Cause] = mapped_column(String(16))
    state: Mapped[AlertState] = mapped_column(String(32), index=True)
    probability: Mapped[float] = mapped_column(Double)
    area_m2: Mapped[float] = mapped_column(Double)
    looks: Mapped[int]
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    inspector: Mapped[str | None] = mapped_column(String(64))
    dispatched_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    site: Mapped[Site] = relationship()


class Observation(Base):
    """One look at a site in one scene, with one result.

    Attributes:
        scene: which imagery; the same scene never counts twice.
        observed_at: when it was taken.
        observed_share: share of the site that was seen at both dates, 0..1.
        geometry: GeoJSON MultiPolygon of the findings in WGS-84; None if there are none.
        probability, area_m2: highest probability and summed area of the findings.
        alert_id: the alert it belongs to.
    """

    __tablename__ = "observation"
    __table_args__ = (
        CheckConstraint(_one_of("result", RESULTS), name="result"),
        Index("ix_observation_once", "site_id", "scene", "result", unique=True),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id", name="fk_observation_site"))
    alert_id: Mapped[str | None] = mapped_column(ForeignKey("alert.id", name="fk_observation_alert"), index=True)
    scene: Mapped[str] = mapped_column(String(128))
    observed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    result: Mapped[Result] = mapped_column(String(16))
    observed_share: Mapped[float] = mapped_column(Double)
    probability: Mapped[float | None] = mapped_column(Double)
    area_m2: Mapped[float | None] = mapped_column(Double)
    geometry: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    model_sha256: Mapped[str | None] = mapped_column(String(64))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Decision(Base):
    """A person moved a site, or (`alert_id`) an alert: who, when, why, on what evidence."""

    __tablename__ = "decision"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id", name="fk_decision_site"), index=True)
    alert_id: Mapped[str | None] = mapped_column(ForeignKey("alert.id", name="fk_decision_alert"), index=True)
    source: Mapped[str] = mapped_column(String(32))
    target: Mapped[str] = mapped_column(String(32))
    actor: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    evidence: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Candidate(Base):
    """A finding outside the ledger: perhaps a site to add, nothing that anybody is sent to.

    Attributes:
        geometry: GeoJSON Polygon or MultiPolygon in WGS-84, as seen last; `west` to `north` are its bounds.
        first_scene, last_scene, looks: where it was seen, and in how many scenes.
    """

    __tablename__ = "candidate"
    __table_args__ = (CheckConstraint(_one_of("cause", CAUSES), name="cause"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    cause: Mapped[Cause] = mapped_column(String(16))
    geometry: Mapped[dict[str, Any]] = mapped_column(JSON)
    west: Mapped[float] = mapped_column(Double)
    south: Mapped[float] = mapped_column(Double)
    east: Mapped[float] = mapped_column(Double)
    north: Mapped[float] = mapped_column(Double)
    probability: Mapped[float] = mapped_column(Double)
    area_m2: Mapped[float] = mapped_column(Double)
    first_scene: Mapped[str] = mapped_column(String(128))
    last_scene: Mapped[str] = mapped_column(String(128))
    looks: Mapped[int]
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class AuditEntry(Base):
    """One line of the audit log; see `service.ledger.audit`. `detail` is canonical JSON, kept byte for byte."""

    __tablename__ = "audit_entry"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(64))
    human: Mapped[bool]
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(128), index=True)
    detail: Mapped[str] = mapped_column(Text)
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class AuditHead(Base):
    """The one row that says how long the audit log is and how it ends. Its lock puts writers in a row."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    length: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))
