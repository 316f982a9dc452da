"""Before and after, of a site: photographs that a person has checked, other pairs, or the imagery of a scene.

Photographs that nobody has checked are left out and counted: what is printed leaves the house.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from sqlalchemy.orm import Session

from service import derivatives
from service.database import PairRow
from service.ledger.tables import Observation, Site
from service.pages.sites import close_up
from service.scenes.errors import NotOnTheMap
from service.scenes.imagery import Layer, chip, layers, source
from service.scenes.tables import SceneRow
from service.storage import Storage
from service.triage.evidence import SIDES, covers

CHIP_PX = 512
_PRINTED_PX = 1000
"""Of the longer side on paper: 300 dots per inch at 85 mm."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture.

    Attributes:
        side: of which date.
        taken_at: when, None where the file does not say; without a zone as a camera writes it.
        address: where a browser gets it.
        read: gives the file, JPEG; raises OSError or NotOnTheMap if it is gone.
    """

    side: Layer
    taken_at: datetime | None
    address: str
    read: Callable[[], bytes]

    def printed(self) -> bytes | None:
        """A JPEG small enough for paper, None if the file is gone or damaged."""
        try:
            with Image.open(io.BytesIO(self.read())) as image:
                image.draft("RGB", (_PRINTED_PX, _PRINTED_PX))
                image.thumbnail((_PRINTED_PX, _PRINTED_PX))
                buffer = io.BytesIO()
                image.convert("RGB").save(buffer, "JPEG", quality=85)
        except (OSError, NotOnTheMap):
            return None
        return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class Sides:
    """Before and after of one place. `kind` says what took them; `ref` is the pair or scene."""

    kind: Literal["photos", "overhead"]
    ref: str
    before: Picture
    after: Picture


@dataclass(frozen=True, slots=True)
class Album:
    """What there is to show, and how many pairs of photographs wait for a person's check."""

    pairs: Sequence[Sides]
    unchecked: int = 0


def cited(
    session: Session, site: Site, evidence: Iterable[Mapping[str, Any]], storage: Storage, folders: Sequence[Path]
) -> Album:
    """The pictures that a decision about a site rests on.

    Args:
        evidence: as `service.ledger.tables.Decision` keeps it.
        folders: that imagery is shown from.
    """
    pairs, unchecked = [], 0
    for item in evidence:
        if item["kind"] == "pair":
            row = session.get(PairRow, item["ref"])
            if row is None or not row.width or row.report is None:
                continue
            if row.report.get("kind") == "photos" and not row.publishable:
                unchecked += 1
                continue
            pairs.append(_of_pair(row, storage))
        elif item["kind"] == "observation":
            look = session.get(Observation, item["ref"])
            found = of_look(session, site, look, folders) if look is not None else None
            if found is not None:
                pairs.append(found)
    return Album(pairs, unchecked)


def of_look(session: Session, site: Site, look: Observation, folders: Sequence[Path]) -> Sides | None:
    """Both dates of the scene of a look, cut out around the site; None where its imagery is not shown from here."""
    scene = session.get(SceneRow, look.scene)
    if scene is None or not set(SIDES) <= set(layers(scene, folders)):
        return None
    before, after = (_of_scene(scene, site, side, folders) for side in SIDES)
    return Sides("overhead", scene.id, before, after)


def _of_scene(scene: SceneRow, site: Site, side: Layer, folders: Sequence[Path]) -> Picture:
    view = close_up(covers(site))

    def read() -> bytes:
        return chip(source(scene, side, folders), view.lon, view.lat, view.metres, CHIP_PX)

    taken = scene.before_at if side == "before" else scene.taken_at
    return Picture(side, taken, view.chip(scene.id, side, CHIP_PX), read)


def _of_pair(row: PairRow, storage: Storage) -> Sides:
    assert row.report is not None
    images = row.report.get("images") or {}

    def picture(side: Layer, name: str) -> Picture:
        taken = (images.get(side) or {}).get("captured_at")
        path = storage.folder(row.id) / name
        when = datetime.fromisoformat(taken) if taken else None
        return Picture(side, when, f"/api/v1/pairs/{row.id}/{name}", partial(Path.read_bytes, path))

    kind: Literal["photos", "overhead"] = "photos" if row.report.get("kind") == "photos" else "overhead"
    return Sides(kind, row.id, picture("before", derivatives.BEFORE), picture("after", derivatives.AFTER))
