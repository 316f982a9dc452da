"""Decided leads as a labelled set (`datasets.feedback`): what people made of findings, back into training.

A confirmed lead was a structure, and so was a dismissed one that is permitted. A shadow, a vehicle, a net, the season
or pictures that do not lie on each other were none. Other reasons do not say, and are left out; so are looks that came
after the decision, which nobody has judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import Transformer
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import select
from sqlalchemy.orm import Session

from datasets import feedback
from datasets.feedback import ReviewedPair, write_feedback
from datasets.pairs import rasterised
from datasets.raster import Raster
from datasets.scene import Grid, Scene, SceneError, SceneReader, grid_of
from datasets.scene_light import Radiometry
from service.ledger.tables import Alert, Decision
from service.scenes.tables import SceneRow
from service.triage.evidence import Look, looks
from service.triage.reasons import parse

SIDE_PX = 512
"""Least side of an exported picture: two crops of training, so that what is around is learnt too."""
_MARGIN_PX = 64


class LeftOut(Exception):
    """A look that cannot be exported. The argument is a key below `feedback.reason` of the catalogues."""


@dataclass
class Exported:
    """What was written, and how many looks or pairs were not, by why."""

    pairs: int = 0
    decisions: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def write(self, to: Path, make: Callable[[], ReviewedPair]) -> None:
        """Write what `make` gives into the set in `to`, or count why it gives nothing (`LeftOut`)."""
        try:
            pair = make()
        except LeftOut as why:
            self.left_out[str(why)] += 1
            return
        write_feedback(to, pair)
        self.pairs += 1
        self.decisions += len(pair.decisions)

    def add(self, other: Exported) -> None:
        """What was written elsewhere."""
        self.pairs, self.decisions = self.pairs + other.pairs, self.decisions + other.decisions
        self.left_out += other.left_out


def export(session: Session, folders: Sequence[Path], to: Path) -> Exported:
    """Write every look of every decided alert into the set in `to`; writing it again changes nothing.

    Args:
        folders: that scenes may be read from.
    """
    done = Exported()
    for alert, decision in _decided(session):
        for look in looks(session, alert, folders):
            if look.observation.recorded_at > decision.decided_at:
                continue
            done.write(to, partial(reviewed, look, decision, alert))
    return done


def _decided(session: Session) -> Sequence[tuple[Alert, Decision]]:
    query = (
        select(Alert, Decision)
        .join(Decision, Decision.alert_id == Alert.id)
        .where(Decision.target.in_(("confirmed", "dismissed")))
        .order_by(Decision.decided_at, Decision.id)
    )
    return [(alert, decision) for alert, decision in session.execute(query)]


def reviewed(look: Look, decision: Decision, alert: Alert) -> ReviewedPair:
    """One look at a decided alert, as the set takes it.

    Raises:
        LeftOut: it says nothing to learn from.
    """
    accepted = is_structure(decision)
    if look.scene is None or len(look.sides) < 2:
        raise LeftOut("no_imagery")
    sha256 = look.observation.model_sha256
    if sha256 is None:
        raise LeftOut("no_model")
    try:
        before, after, outline = _cut(look.scene, look.outline)
    except SceneError as error:
        raise LeftOut("no_imagery") from error
    parts = [part for part in shapely.get_parts(outline) if isinstance(part, Polygon)]
    found = [
        feedback.Decision(f"{decision.id}-{number}", alert.cause, part, accepted)
        for number, part in enumerate(parts, 1)
        if rasterised([part], before.pixels.shape[:2]).any()
    ]
    if not found:
        raise LeftOut("unusable")
    return ReviewedPair(look.observation.id, alert.site_id, before, after, found, sha256, decision.decided_at)


def is_structure(decision: Decision) -> bool:
    """Whether the decision says that a structure is there.

    Raises:
        LeftOut: it does not say.
    """
    if decision.target == "confirmed":
        return True
    code, _ = parse(decision.reason)
    if code in (None, "other"):
        raise LeftOut("not_said")
    return code == "permitted"


def _cut(row: SceneRow, outline: BaseGeometry) -> tuple[Raster, Raster, BaseGeometry]:
    """Both dates around an outline in WGS-84, on the grid of the later one, and the outline in pixels of it.

    Raises:
        SceneError: a file is gone or damaged.
    """
    scenes = [_scene(row, side) for side in (row.before, row.after)]
    grid = grid_of(scenes[1][0], gsd=row.gsd_m)
    to_map = Transformer.from_crs(4326, grid.crs, always_xy=True)

    def on_grid(points: Any) -> Any:
        x, y = to_map.transform(points[:, 0], points[:, 1])
        columns, rows = ~grid.transform @ (x, y)
        return np.stack([columns, rows], axis=1)

    outline = shapely.transform(outline, on_grid)
    left, top, right, bottom = outline.buffer(_MARGIN_PX).bounds
    width, height = max(SIDE_PX, round(right - left)), max(SIDE_PX, round(bottom - top))
    column, line = round((left + right - width) / 2), round((top + bottom - height) / 2)
    part = grid.part(line, column, height, width)
    rasters = [_read(scene, light, part, row) for scene, light in scenes]
    return rasters[0], rasters[1], shapely.transform(outline, lambda points: points - (column, line))


def _scene(row: SceneRow, imagery: dict[str, Any] | None) -> tuple[Scene, Radiometry]:
    assert imagery is not None  # both dates can be shown
    red, green, blue = imagery["bands"]
    low, high = imagery["range"]
    return Scene(row.name, tuple(imagery["sources"]), (red, green, blue)), Radiometry(low, high, (0, 0, 0))


def _read(scene: Scene, light: Radiometry, grid: Grid, row: SceneRow) -> Raster:
    with SceneReader(scene, grid) as reader:
        values, seen = reader.read(0, 0, grid.height, grid.width)
    return Raster(light.to_8_bit(values), seen, name=row.name, crs=grid.crs, transform=grid.transform, gsd=grid.gsd)
