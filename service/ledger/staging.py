"""Ledger files between the dry run and the import, so that what was looked at is what is written.

<data_dir>/ledger_imports/<token>/   file: as it came; about.json: what it is, who brought it, what became of it
"""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from uuid import uuid4

from service import errors
from service.ledger.importing import Report
from service.storage import write

KEPT_S = 24 * 3600
_TOKEN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an import wrote, in numbers."""

    created: int
    updated: int
    unchanged: int
    skipped: int

    @classmethod
    def of(cls, report: Report) -> Outcome:
        """From what the import says."""
        return cls(len(report.created), len(report.updated), len(report.unchanged), len(report.skipped))


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that waits. `person` brought it, and nobody else can take it up; `written` once it was imported."""

    token: str
    file_name: str
    crs: str
    person: str
    written: Outcome | None = None


class Staging:
    """The folder of one service."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "ledger_imports"

    def put(self, data: bytes, file_name: str, crs: str, person: str) -> Staged:
        """Keep a file for a day."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        staged = Staged(uuid4().hex, file_name, crs, person)
        (self._folder / staged.token).mkdir()
        write(self._folder / staged.token / "file", data)
        self._note(staged)
        return staged

    def get(self, token: str, person: str) -> Staged:
        """What waits under this token.

        Raises:
            ImportNotFound: nothing does, nothing any more, or it is somebody else's.
        """
        try:
            if not _TOKEN.fullmatch(token):
                raise errors.ImportNotFound
            about = json.loads((self._folder / token / "about.json").read_bytes())
        except OSError as error:
            raise errors.ImportNotFound from error
        written = about.pop("written")
        staged = Staged(**about, written=written and Outcome(**written))
        if staged.person != person:
            raise errors.ImportNotFound
        return staged

    def data(self, staged: Staged) -> bytes:
        """The file, as it came.

        Raises:
            ImportNotFound: it was imported or thrown away.
        """
        try:
            return (self._folder / staged.token / "file").read_bytes()
        except OSError as error:
            raise errors.ImportNotFound from error

    def done(self, staged: Staged, report: Report) -> None:
        """Note that it was written. The file itself is not kept; the audit log has its SHA-256."""
        self._note(replace(staged, written=Outcome.of(report)))
        (self._folder / staged.token / "file").unlink(missing_ok=True)

    def _note(self, staged: Staged) -> None:
        write(self._folder / staged.token / "about.json", json.dumps(asdict(staged)).encode())

    def _sweep(self) -> None:
        oldest = time.time() - KEPT_S
        for folder in self._folder.iterdir():
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
