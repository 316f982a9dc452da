"""Tables of scenes: Scene 1-n ScanFinding.

A scene is what one scan looked at: an earlier and a later date of one piece of the earth, with what was found. Its id
is what `Observation.scene` names, so that every look at a site leads to the picture it was taken from.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, CheckConstraint, Double, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base, UtcDateTime

Kind = Literal["new", "remaining", "removed"]
KINDS: tuple[Kind, ...] = ("new", "remaining", "removed")


class SceneRow(Base):
    """One scan that was taken into the ledger. It is written once and never changed.

    Attributes:
        before, after: the imagery of each date, `{"sources": [path, ...], "bands": [r, g, b], "range": [low, high]}`
            with the values that become 0 and 255 in 8 bit; None where it may not be shown from here.
        probability_path: the COG of probabilities (`inference.scan.outputs`).
        before_at, taken_at: when the two dates were taken; `taken_at` is that of the looks.
        gsd_m: metres on the ground per pixel of the scan.
        west, south, east, north: what was asked for, in degrees (WGS-84); coverage lies within.
        coverage: GeoJSON MultiPolygon in WGS-84 of what was seen at both dates; None if that was nothing, or is not
            known. Either way nothing outside of it was observed.
        findings_count: how many rows `scan_finding` has of it.
    """

    __tablename__ = "scene"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    probability_path: Mapped[str | None] = mapped_column(String(1024))
    before_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    taken_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    gsd_m: Mapped[float | None] = mapped_column(Double)
    west: Mapped[float] = mapped_column(Double)
    south: Mapped[float] = mapped_column(Double)
    east: Mapped[float] = mapped_column(Double)
    north: Mapped[float] = mapped_column(Double)
    coverage: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    model_sha256: Mapped[str | None] = mapped_column(String(64))
    findings_count: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ScanFinding(Base):
    """A finding of a scan, a suspicion like any other.

    Attributes:
        number: within its scene, from 1 on, as the files of the scan count.
        area_m2, area_error_m2: area on the ground, and its standard error where it is known.
        geometry: GeoJSON Polygon or MultiPolygon in WGS-84; `west` to `north` are its bounds.
        track_id: the structure that consecutive nights saw, once they were matched.
    """

    __tablename__ = "scan_finding"
    __table_args__ = (
        CheckConstraint(f"kind IN ({', '.join(map(repr, KINDS))})", name="kind"),
        Index("ix_scan_finding_place", "west", "south"),
    )

    scene_id: Mapped[str] = mapped_column(ForeignKey("scene.id", name="fk_scan_finding_scene"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[Kind] = mapped_column(String(16))
    probability: Mapped[float] = mapped_column(Double)
    area_m2: Mapped[float] = mapped_column(Double)
    area_error_m2: Mapped[float | None] = mapped_column(Double)
    geometry: Mapped[dict[str, Any]] = mapped_column(JSON)
    west: Mapped[float] = mapped_column(Double)
    south: Mapped[float] = mapped_column(Double)
    east: Mapped[float] = mapped_column(Double)
    north: Mapped[float] = mapped_column(Double)
    track_id: Mapped[str | None] = mapped_column(String(32), index=True)
