"""How a pair comes in: checked completely, then stored completely, then queued."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath, PureWindowsPath
from typing import BinaryIO

from sqlalchemy.orm import Session

from inference.compare import Asked
from inference.decode import Limits, read_raster
from inference.reasons import InputError
from inference.site import Site
from service.comparisons import enqueue_comparison
from service.database import PairRow, Pairs
from service.queue import Queue
from service.storage import Storage, copy

_NAME_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Upload:
    """One picture as it arrives."""

    name: str
    stream: BinaryIO


@dataclass(frozen=True, slots=True)
class Intake:
    """Accepts pairs. Only one picture is decoded at a time here: each may take hundreds of megabytes."""

    pairs: Pairs
    storage: Storage
    queue: Queue
    limits: Limits
    _decoding: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def submit(
        self,
        before: Upload,
        after: Upload,
        gsd: float | None = None,
        asked: Asked | None = None,
        pair_id: str | None = None,
    ) -> PairRow:
        """Store a pair and queue its comparison. With a `pair_id` that is there already, that pair is meant.

        Raises:
            InputError: a picture or the GSD cannot be used. Nothing was stored.
        """
        asked = asked or Asked()
        known = self.pairs.get(pair_id) if pair_id else None
        if known is not None:
            return known
        pair_id = pair_id or uuid.uuid4().hex
        row = PairRow(
            id=pair_id,
            created_at=datetime.now(UTC),
            status="queued",
            progress=0.0,
            before_name=plain_name(before.name),
            after_name=plain_name(after.name),
            gsd=gsd,
            kind=asked.kind,
            site=asked.site.document if asked.site else None,
        )
        photograph = asked.kind == "photos"
        with self.storage.arriving(pair_id) as folder:
            for side, upload in (("before", before), ("after", after)):
                try:
                    copy(upload.stream, folder / side, self.limits.max_bytes)
                    with self._decoding:
                        read_raster(folder / side, name=upload.name, gsd=gsd, limits=self.limits, photograph=photograph)
                except InputError as error:
                    about = None if error.reason.code == "bad_gsd" else side
                    raise InputError(error.reason, about) from None
        try:
            with Session(self.pairs.engine, expire_on_commit=False) as session, session.begin():
                session.add(row)
                enqueue_comparison(session, pair_id)
        except BaseException:
            self.storage.remove(pair_id)
            raise
        self.queue.ring()
        return row

    def retake(self, earlier: PairRow, after: Upload, pair_id: str | None = None) -> PairRow:
        """A new pair of photographs: the same earlier one, and another later one.

        Raises:
            InputError: the picture cannot be used. Nothing was stored.
        """
        asked = Asked("photos", None if earlier.site is None else Site.of(earlier.site))
        with (self.storage.folder(earlier.id) / "before").open("rb") as stream:
            return self.submit(Upload(earlier.before_name, stream), after, earlier.gsd, asked, pair_id)


def plain_name(name: str) -> str:
    """A file name as a person would read it: no folders, nothing unprintable, not endless."""
    name = PureWindowsPath(PurePosixPath(name).name).name
    return "".join(character for character in name if character.isprintable())[:_NAME_LENGTH]
