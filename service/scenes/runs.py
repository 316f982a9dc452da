"""A finished run of `inference.scan`, taken into the ledger with its scene: what `jingdi watch` and the service do."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform_bounds
from sqlalchemy import Engine

from datasets.scene import Grid
from inference.scan.journal import PLAN
from inference.scan.outputs import COVERAGE_TIF, GEOJSON, PROBABILITIES
from service.ledger.coverage import read_coverage
from service.ledger.rebound import Taken, take_in
from service.ledger.schemas import ScanIn
from service.scenes.recording import Record
from service.settings import Settings

_SIDES = ("before", "after")


class NoDate(ValueError):
    """Nobody says when the later picture of a scan was taken, so that it cannot be a look."""


def is_run(folder: Path) -> bool:
    """Whether a scan works, or has worked, in a folder."""
    return (folder / PLAN).is_file()


def take_in_run(
    engine: Engine, settings: Settings, run: Path, *, scene: str | None = None, taken_at: datetime | None = None
) -> Taken:
    """Lay the findings of a finished run over the ledger and keep its scene.

    Args:
        scene: which imagery, one look however often it comes; otherwise `scene_id` of the run.
        taken_at: when the later picture was taken, if the imagery does not say.

    Raises:
        OSError: a file of the run is missing.
        NoDate: nobody says when the later picture was taken.
        ValueError: a file is something else.
    """
    plan = _plan(run)
    moment = taken_at or _moment(plan, "after")
    if moment is None:
        raise NoDate
    given = ScanIn.model_validate(
        {
            "scene": scene or scene_id(run, moment),
            "taken_at": moment,
            "findings": json.loads((run / GEOJSON).read_bytes()),
            "coverage": read_coverage(run / COVERAGE_TIF),
            "model_sha256": plan["model_sha256"],
        }
    )
    return take_in(
        engine, given.scan, settings.alert_budget, record=with_imagery(given.record, run, settings.scene_folders)
    )


def scene_id(run: Path, taken_at: datetime) -> str:
    """A name for the later imagery of a run: what it is called, and when it was taken."""
    name = re.sub(r"[^\w.\-]", "-", _name(_plan(run)))
    return f"{name[:100]}_{taken_at.astimezone(UTC):%Y%m%dT%H%M}".lstrip(".-")


def with_imagery(record: Record, run: Path, folders: Sequence[Path]) -> Record:
    """What the plan of a run says of its scenes. Imagery outside `folders` is left out, and is not shown then.

    Probabilities are our own work, and are shown wherever they lie.

    Raises:
        OSError, ValueError, KeyError: the folder holds no run.
    """
    plan = _plan(run)
    crs, placed = CRS.from_wkt(plan["grid"]["crs"]), Affine(*plan["grid"]["transform"])
    height, width = plan["grid"]["size"]
    grid = Grid(crs, placed, width, height)
    corners = [placed @ (x, y) for x in (0, width) for y in (0, height)]
    xs, ys = zip(*corners, strict=True)
    west, south, east, north = transform_bounds(crs, "EPSG:4326", min(xs), min(ys), max(xs), max(ys))
    if west > east:  # across the antimeridian
        west, east = -180.0, 180.0
    probabilities = run / PROBABILITIES
    before, after = (_imagery(plan["scenes"][side], folders) for side in _SIDES)
    return replace(
        record, name=_name(plan), before_at=_moment(plan, "before"), gsd_m=round(grid.gsd, 4),
        bounds=(west, south, east, north), before=before, after=after,
        probability_path=str(probabilities.resolve()) if probabilities.is_file() else None,
    )  # fmt: skip


def below(path: Path, folders: Sequence[Path]) -> bool:
    """Whether a file lies in one of the folders, links followed."""
    place = path.resolve()
    return any(place.is_relative_to(folder.resolve()) for folder in folders)


def _plan(run: Path) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads((run / PLAN).read_bytes())
    return plan


def _name(plan: dict[str, Any]) -> str:
    return re.sub(r"\.tiff?$", "", plan["scenes"]["after"]["name"], flags=re.IGNORECASE)


def _moment(plan: dict[str, Any], side: str) -> datetime | None:
    text = plan["scenes"][side]["captured_at"]
    return datetime.fromisoformat(text) if text else None


def _imagery(scene: dict[str, Any], folders: Sequence[Path]) -> dict[str, Any] | None:
    paths = [Path(name) for name, *_ in scene["sources"]]
    if not all(path.is_absolute() and path.is_file() and below(path, folders) for path in paths):
        return None
    low, high, _ = scene["radiometry"]
    return {"sources": [str(path.resolve()) for path in paths], "bands": scene["bands"], "range": [low, high]}
