"""Photographs that officials take at sites: kept as they came, shown without what the camera wrote, cited as evidence.

A photograph is compared with the earlier one of the place, if there is any: the same path as for any pair
(`service.intake`), and the pair has the id of the photograph.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from inference.compare import Asked
from inference.decode import Limits, read_raster
from inference.render import encode_jpeg
from service import derivatives, errors
from service.database import PairRow
from service.field.errors import PhotographNotFound, UploadDamaged, UploadUnfinished
from service.field.tables import Photograph, Upload
from service.field.uploads import Uploads
from service.intake import Intake
from service.intake import Upload as Picture
from service.ledger.audit import Actor, append, writing
from service.ledger.tables import Alert
from service.storage import Storage

ORIGINAL, SHOWN = "original", "shown.jpg"
SHOWN_PX = 2048
_decoding = threading.Lock()
"""One picture at a time: each may take hundreds of megabytes."""


@dataclass(frozen=True, slots=True)
class Photographs:
    """The photographs of one service, below one folder: `<id>/original`, `<id>/shown.jpg`."""

    engine: Engine
    folder: Path
    limits: Limits

    def take(
        self, uploads: Uploads, upload: Upload, alert_id: str, actor: Actor, taken_at: datetime, sha256: str | None
    ) -> Photograph:
        """Make a photograph of an upload that has arrived, once: it has the id of the upload.

        Args:
            taken_at: as the official's device says.
            sha256: what the file must be, if the sender says so.

        Raises:
            AlertNotFound: there is no such alert.
            UploadUnfinished, UploadDamaged: it is not all there, or something else.
            InputError: it is no picture, or cannot be used.
        """
        if (known := self.find(upload.id)) is not None:
            uploads.drop(upload.id)
            return known
        if upload.received != upload.length:
            raise UploadUnfinished
        content = uploads.path(upload.id).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if sha256 is not None and digest != sha256:
            uploads.drop(upload.id)
            raise UploadDamaged
        with _decoding:
            raster = read_raster(content, name=upload.name, limits=self.limits, photograph=True)
            shown = encode_jpeg(derivatives.view(raster.pixels, SHOWN_PX))
        arriving = self.folder / f".{upload.id}"
        for old in (arriving, self.folder / upload.id):  # of an attempt that was cut off
            shutil.rmtree(old, ignore_errors=True)
        arriving.mkdir(parents=True)
        (arriving / ORIGINAL).write_bytes(content)
        (arriving / SHOWN).write_bytes(shown)
        arriving.rename(self.folder / upload.id)
        with writing(self.engine) as session:
            alert = session.get(Alert, alert_id)
            if alert is None:
                raise errors.AlertNotFound
            now = uploads.now()
            lon, lat = raster.place or (None, None)
            row = Photograph(
                id=upload.id, site_id=alert.site_id, alert_id=alert.id, taken_by=actor.name,
                taken_at=min(taken_at, now), received_at=now, lon=lon, lat=lat, sha256=digest,
                width=raster.width, height=raster.height,
            )  # fmt: skip
            session.add(row)
            detail = {"photograph": row.id, "sha256": digest, "taken_at": row.taken_at.isoformat()}
            append(session, actor, "alert.photographed", f"alert:{alert.id}", detail, now)
        uploads.drop(upload.id)
        return row

    def find(self, photograph_id: str) -> Photograph | None:
        """The photograph, or None."""
        with Session(self.engine) as session:
            return session.get(Photograph, photograph_id)

    def file(self, photograph_id: str, name: str) -> Path:
        """A file of a photograph.

        Raises:
            PhotographNotFound: it is not there.
        """
        path = self.folder / photograph_id / name
        if not path.is_file():
            raise PhotographNotFound
        return path


def of_alert(session: Session, alert: Alert) -> Sequence[Photograph]:
    """Photographs taken because of an alert, oldest first."""
    about = select(Photograph).where(Photograph.alert_id == alert.id)
    return session.scalars(about.order_by(Photograph.taken_at, Photograph.id)).all()


def earlier(session: Session, photographs: Photographs, storage: Storage, alert: Alert) -> Path | None:
    """The file that a new photograph is laid over and compared with, if there is one.

    The last photograph that was taken there because of another alert; or else the later one of the pair of
    photographs that the acceptance rests on.
    """
    before = select(Photograph).where(Photograph.site_id == alert.site_id, Photograph.alert_id != alert.id)
    last = session.scalar(before.order_by(Photograph.taken_at.desc()).limit(1))
    if last is not None:
        path = photographs.folder / last.id / ORIGINAL
        return path if path.is_file() else None
    baseline = alert.site.baseline or {}
    pair = session.get(PairRow, baseline["ref"]) if baseline.get("kind") == "pair" else None
    if pair is None or (pair.report or {}).get("kind") != "photos":
        return None
    path = storage.folder(pair.id) / "after"
    return path if path.is_file() else None


def compare(intake: Intake, photograph: Photograph, before: Path, after: Path) -> None:
    """Queue the comparison of a photograph with the earlier one, once.

    Raises:
        InputError: the earlier one cannot be used.
    """
    with before.open("rb") as first, after.open("rb") as second:
        pictures = Picture("", first), Picture("", second)
        intake.submit(*pictures, asked=Asked("photos"), pair_id=photograph.id)
