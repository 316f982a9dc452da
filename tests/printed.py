"""Shared by tests of what is printed: sites that are closed by the book, scenes with imagery, pairs of pictures."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from PIL import Image
from pypdf import PdfReader
from pyproj import Transformer
from rasterio.transform import from_origin
from sqlalchemy.orm import Session

from datasets.district import Changes, generate
from service.database import PairRow
from service.ledger.audit import SYSTEM, Actor
from service.ledger.states import Evidence, move_site
from service.ledger.tables import Alert, Observation, Site
from service.scenes.tables import SceneRow
from service.storage import Storage
from tests.ledgers import CLERK, OTHER

SHA256 = "5" * 64


def look(
    session: Session, site: Site, at: datetime, result: Any = "clear", scene: str = "scene", **more: Any
) -> Evidence:
    """The site was seen whole."""
    row = Observation(
        site_id=site.id, scene=scene, observed_at=at, result=result, observed_share=1.0, recorded_at=at,
        model_sha256=SHA256, **more,
    )  # fmt: skip
    session.add(row)
    site.observed_at = at
    session.flush()
    return Evidence("observation", row.id)


def close(session: Session, site: Site, at: datetime, evidence: Sequence[Evidence] = ()) -> None:
    """From open to watched, by two people."""
    evidence = evidence or [look(session, site, at - timedelta(days=1), scene=f"look {site.code}")]
    move_site(session, site, "open", "claimed_clear", CLERK, "场光地净", at=at - timedelta(hours=1))
    move_site(session, site, "claimed_clear", "accepted", OTHER, "现场与影像一致", evidence=evidence, at=at)
    move_site(session, site, "accepted", "watched", SYSTEM, "baseline", at=at)


def rebound(session: Session, site: Site, at: datetime, by: Actor = CLERK) -> None:
    """Suspected by two looks, confirmed by a person a day later."""
    alert = Alert(
        site_id=site.id, cause="new", state="corroborated", probability=0.8, area_m2=120.0, looks=2, first_seen_at=at,
        last_seen_at=at, opened_at=at,
    )  # fmt: skip
    session.add(alert)
    session.flush()
    move_site(session, site, "watched", "rebound_suspected", SYSTEM, "two_looks", at=at)
    move_site(session, site, "rebound_suspected", "rebound_confirmed", by, "去看过", at=at + timedelta(days=1))


def add_scene(session: Session, site: Site, folder: Path, name: str, at: datetime, seed: int = 3) -> None:
    """Imagery of two dates around a site, half a metre per pixel, registered as a scene."""
    district = generate(seed, size=512, changes=Changes(new=0, removed=6, shift_px=0))
    east, north = Transformer.from_crs(4326, 4548, always_xy=True).transform(site.west, site.south)
    placed = from_origin(east - 128, north + 128, 0.5, 0.5)
    folder.mkdir(parents=True, exist_ok=True)
    imagery = {}
    for side, raster in (("before", district.before), ("after", district.after)):
        path = folder / f"{name}-{side}.tif"
        profile = {"driver": "GTiff", "width": 512, "height": 512, "count": 3, "dtype": "uint8", "crs": "EPSG:4548"}
        with rasterio.open(path, "w", transform=placed, **profile) as file:
            file.write(raster.pixels.transpose(2, 0, 1))
        imagery[side] = {"sources": [str(path.resolve())], "bands": [1, 2, 3], "range": [0, 255]}
    session.add(
        SceneRow(
            id=name, name=name, **imagery, before_at=at - timedelta(days=400), taken_at=at, gsd_m=0.5,
            west=site.west - 0.002, south=site.south - 0.002, east=site.east + 0.002, north=site.north + 0.002,
            findings_count=0, created_at=at,
        )
    )  # fmt: skip
    session.flush()


def add_pair(
    session: Session, storage: Storage, pair_id: str, at: datetime, *, checked_by: str | None = None
) -> Evidence:
    """A compared pair of photographs with verdict `clear`, their views on disk."""
    pair_id = pair_id.ljust(32, "0")
    folder = storage.folder(pair_id)
    folder.mkdir(parents=True)
    for name, colour in (("before.jpg", (150, 90, 60)), ("after.jpg", (90, 140, 70))):
        shade = np.linspace(0.6, 1.3, 160)[:, None, None]
        pixels = np.clip(np.full((160, 240, 3), colour) * shade, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name, "JPEG")
    captured = [(at - timedelta(days=days)).isoformat() for days in (200, 1)]
    session.add(
        PairRow(
            id=pair_id, created_at=at, status="done", progress=1.0, before_name="a.jpg", after_name="b.jpg",
            kind="photos", verdict="clear", width=240, height=160, checked_by=checked_by,
            report={
                "kind": "photos",
                "images": {"before": {"captured_at": captured[0]}, "after": {"captured_at": captured[1]}},
                "model": {"name": "jingdi-ground", "version": "1", "sha256": "6" * 64},
            },
        )
    )  # fmt: skip
    session.flush()
    return Evidence("pair", pair_id)


def words(content: bytes) -> str:
    """The text of a PDF without the breaks of its lines."""
    return re.sub(r"\s", "", "".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages))


def images(content: bytes) -> int:
    """How many pictures are in a PDF."""
    return sum(len(page.images) for page in PdfReader(io.BytesIO(content)).pages)


def fonts(content: bytes) -> dict[str, bool]:
    """Fonts of a PDF, and whether each is inside."""
    found = {}
    for page in PdfReader(io.BytesIO(content)).pages:
        for each in page["/Resources"]["/Font"].values():
            font = each.get_object()
            found[str(font["/BaseFont"])] = "/FontFile2" in font.get("/FontDescriptor", {})
    return found
