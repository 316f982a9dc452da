"""Versions of weights for tests: what comes with Jingdi, changed a little, and models that can be foreseen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from inference.model import BUNDLED
from service.registry.store import Registry
from service.registry.tables import ModelVersion

Facts = dict[str, Any]
REASON = {"reason": "夜间误报较少", "actor": {"name": "李审核"}}


def variant(folder: Path, name: str, change: Callable[[Facts], object] = lambda facts: None) -> Path:
    """The overhead weights that come with Jingdi under another sha256, with a changed manifest beside them.

    Returns:
        The ONNX file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    onnx = folder / f"{name}.onnx"
    text = name.encode()
    # Protocol buffers may be joined: field 6 of an ONNX model is a comment, and the last one counts.
    onnx.write_bytes((BUNDLED / "overhead.onnx").read_bytes() + b"\x32" + bytes([len(text)]) + text)
    facts: Facts = json.loads((BUNDLED / "overhead.json").read_bytes())
    facts |= {"version": name, "sha256": hashlib.sha256(onnx.read_bytes()).hexdigest()}
    change(facts)
    onnx.with_suffix(".json").write_text(json.dumps(facts))
    return onnx


def blind(facts: Facts) -> None:
    """Finds nothing: no probability reaches this."""
    facts["calibration"]["threshold"] = dict.fromkeys(facts["calibration"]["threshold"], 1.5)


def known(engine: Engine, *versions: tuple[str, str], domain: str = "overhead") -> list[ModelVersion]:
    """Rows of versions (name, state) without files, oldest first."""
    start = datetime(2026, 3, 1, tzinfo=UTC)
    rows = [
        ModelVersion(
            id=hashlib.sha256(name.encode()).hexdigest(), sha256=hashlib.sha256(name.encode()[::-1]).hexdigest(),
            domain=domain, name=name, version=name, metrics={}, state=state, added_at=start + timedelta(days=day),
            added_by="jingdi",
        )
        for day, (name, state) in enumerate(versions)
    ]  # fmt: skip
    with Session(engine, expire_on_commit=False) as session, session.begin():
        session.add_all(rows)
    return rows


def played_by(patch: pytest.MonkeyPatch, **models: Any) -> None:
    """Have versions of these names be these models."""
    patch.setattr(Registry, "model", lambda self, version: models[version.name])
    patch.setattr(Registry, "load", lambda self, version: models[version.name])
