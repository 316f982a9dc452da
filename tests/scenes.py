"""Scenes for tests: a run of a scan over a small place, with the model that sees magenta, taken in."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.scenes.runs import take_in_run
from service.settings import Settings
from tests import scans

NEW, REMAINING = (30, 40, 60, 40), (180, 120, 40, 30)
"""(x, y, width, height) of blocks, in pixels."""
TAKEN = datetime(2017, 9, 20, 3, 0, tzinfo=UTC)
"""As the files of `tests.scans` say."""


def scanned(settings: Settings, patch: pytest.MonkeyPatch, name: str = "night") -> Path:
    """Imagery in the allowed folder, and the folder of a finished run."""
    scans.small_windows(patch)
    folder = settings.scene_folders[0] / name
    folder.mkdir(parents=True)
    before, after = scans.pair(folder, (REMAINING,), (NEW, REMAINING))
    scans.run(before, after, folder / "run")
    return folder / "run"


def taken_in(engine: Engine, settings: Settings, patch: pytest.MonkeyPatch, scene: str = "night-1") -> Path:
    """The same, laid over the ledger."""
    run = scanned(settings, patch, scene)
    take_in_run(engine, settings, run, scene=scene)
    return run
