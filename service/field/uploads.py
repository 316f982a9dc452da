"""Files that arrive in pieces, over a line that breaks: begun, gone on with where they stopped, and forgotten in time.

The protocol is the core of tus 1.0.0 with creation, expiration and termination (https://tus.io/protocols), spoken by
`service.api.uploads`. Of the libraries that speak it for FastAPI, `tuspyserver` is kept, but brings its own routes,
error texts and metadata files, lets whoever is signed in go on with anybody's upload, and by default writes a piece
wherever it says it belongs; what is needed here is this page.

A piece counts only once it is safely on disk: `Upload.received` moves by compare-and-set after the bytes were synced,
and what a crash leaves beyond it is overwritten. A piece whose line broke off counts as far as it came.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import CursorResult, Engine, delete, func, select, update
from sqlalchemy.orm import Session

from service.errors import RequestTooLarge
from service.field.errors import UploadNotFound, UploadOffset, UploadRefused, UploadsTooMany
from service.field.tables import Upload
from service.intake import plain_name
from service.people.accounts import utc_now

KEPT_FOR = timedelta(days=7)
"""After the last piece. A phone may be without a line for days."""
MOST_AT_ONCE = 50
"""Uploads of one person that are neither finished and used nor expired."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """The uploads of one service, below one folder. `now` is the clock."""

    engine: Engine
    folder: Path
    max_bytes: int
    now: Callable[[], datetime] = utc_now

    def begin(self, upload_id: str, person: str, name: str, length: int) -> Upload:
        """A new upload, or the one with this id. Those that have expired are cleared away.

        Raises:
            UploadRefused: an empty file.
            RequestTooLarge: a file of more than `max_bytes`.
            UploadsTooMany: one person has too many.
        """
        self._sweep()
        if length < 1:
            raise UploadRefused("upload_empty")
        if length > self.max_bytes:
            raise RequestTooLarge
        moment = self.now()
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            known = session.get(Upload, upload_id)
            if known is not None:
                return known
            count = select(func.count()).select_from(Upload).where(Upload.person == person)
            if (session.scalar(count) or 0) >= MOST_AT_ONCE:
                raise UploadsTooMany
            self.folder.mkdir(parents=True, exist_ok=True)
            self.path(upload_id).touch()
            row = Upload(
                id=upload_id, person=person, name=plain_name(name), length=length, received=0, created_at=moment,
                expires_at=moment + KEPT_FOR,
            )  # fmt: skip
            session.add(row)
        return row

    def find(self, upload_id: str, person: str) -> Upload:
        """An upload of this person.

        Raises:
            UploadNotFound: there is none, it is somebody else's, or it has expired.
        """
        with Session(self.engine) as session:
            row = session.get(Upload, upload_id)
        if row is None or row.person != person or row.expires_at <= self.now():
            raise UploadNotFound
        return row

    def append(self, upload: Upload, offset: int, piece: BinaryIO) -> Upload:
        """Add a piece, and put off the end of the upload.

        Args:
            offset: where the piece begins.

        Raises:
            UploadOffset: the upload does not end there.
            UploadNotFound: it is gone.
        """
        try:
            file = self.path(upload.id).open("r+b")
        except FileNotFoundError:
            raise UploadNotFound from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed; two pieces never mix
            if self.find(upload.id, upload.person).received != offset:
                raise UploadOffset
            file.seek(offset)
            file.truncate()
            shutil.copyfileobj(piece, file)
            file.flush()
            os.fsync(file.fileno())
            received = file.tell()
            there = update(Upload).where(Upload.id == upload.id, Upload.received == offset)
            with self.engine.begin() as connection:
                result: CursorResult[Any] = connection.execute(
                    there.values(received=received, expires_at=self.now() + KEPT_FOR)
                )
            if result.rowcount != 1:
                raise UploadOffset
        return self.find(upload.id, upload.person)

    def drop(self, upload_id: str) -> None:
        """Forget an upload; nothing happens if it is gone."""
        with self.engine.begin() as connection:
            connection.execute(delete(Upload).where(Upload.id == upload_id))
        self.path(upload_id).unlink(missing_ok=True)

    def path(self, upload_id: str) -> Path:
        """Where the bytes are."""
        return self.folder / upload_id

    def _sweep(self) -> None:
        with Session(self.engine) as session:
            over = session.scalars(select(Upload.id).where(Upload.expires_at <= self.now())).all()
        for upload_id in over:
            self.drop(upload_id)
