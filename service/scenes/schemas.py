"""What the API says of scenes, as types."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from service.scenes.imagery import Layer, layers
from service.scenes.tables import ScanFinding, SceneRow

Box = tuple[float, float, float, float]


class SceneOut(BaseModel):
    """One scan that was taken in: an earlier and a later date of one piece of the earth."""

    id: str
    name: str
    before_at: datetime | None
    taken_at: datetime = Field(description="When the later picture was taken.")
    gsd_m: float | None = Field(description="Metres on the ground per pixel.")
    bounds: Box = Field(description="West, south, east, north in WGS-84. Not all of it need have been seen.")
    layers: list[Layer] = Field(description="Imagery that can be shown; see `tilejson.json` of each.")
    coverage: dict[str, Any] | None = Field(
        description="GeoJSON MultiPolygon of what was seen at both dates. None where that is not known, or was not "
        "asked for. What lies beyond was not observed, which does not mean that it is clear."
    )
    findings_count: int
    model_sha256: str | None
    created_at: datetime

    @classmethod
    def of(cls, row: SceneRow, folders: Sequence[Path], *, coverage: bool = True) -> SceneOut:
        """From a row of the database."""
        names = ("id", "name", "before_at", "taken_at", "gsd_m", "findings_count", "model_sha256", "created_at")
        return cls(
            **{name: getattr(row, name) for name in names}, bounds=(row.west, row.south, row.east, row.north),
            layers=layers(row, folders), coverage=row.coverage if coverage else None,
        )  # fmt: skip


class ScenePage(BaseModel):
    """Scenes, newest first."""

    items: list[SceneOut]
    total: int
    limit: int
    offset: int


class TileJson(BaseModel):
    """How a map gets the tiles of a layer (TileJSON 3.0.0)."""

    tilejson: str = "3.0.0"
    name: str
    scheme: str = "xyz"
    tiles: list[str]
    minzoom: int
    maxzoom: int
    bounds: Box
    center: tuple[float, float, int]


def feature(finding: ScanFinding, scene: SceneRow) -> dict[str, Any]:
    """A finding as a GeoJSON feature; its id is unique among all scenes."""
    names = ("number", "kind", "probability", "area_m2", "area_error_m2", "track_id")
    return {
        "type": "Feature",
        "id": f"{scene.id}.{finding.number}",
        "geometry": finding.geometry,
        "properties": {
            **{name: getattr(finding, name) for name in names},
            "status": "suspected",
            "scene": scene.id,
            "before_date": scene.before_at and scene.before_at.isoformat(),
            "after_date": scene.taken_at.isoformat(),
            "model_sha256": scene.model_sha256,
        },
    }
