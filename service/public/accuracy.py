"""How often the system is wrong: what its weights reached in validation, and what people made of its leads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from inference.compare import WEIGHTS
from service.ledger.tables import Decision
from service.registry.store import Registry

_FINDINGS = "findings: change"


@dataclass(frozen=True, slots=True)
class Said:
    """Of `count` findings that were said to be true with `said`, so many were: `true`, 0..1."""

    said: float
    true: float
    count: int


@dataclass(frozen=True, slots=True)
class Validation:
    """What the weights for overhead imagery reach on validation imagery, all sets together, as shipped.

    Attributes:
        found_share: share of the changed structures that were found, 0..1, of `structures` there are.
        false_per_km2: findings without a change, per square kilometre, of `km2` looked at.
        calibration: the probability of findings against how many were true.
        calibration_error: mean distance of the two (expected calibration error), 0..1.
    """

    name: str
    version: str
    sha256: str
    found_share: float
    structures: int
    false_per_km2: float
    km2: float
    calibration: tuple[Said, ...]
    calibration_error: float | None


@dataclass(frozen=True, slots=True)
class Decided:
    """Leads that named persons decided in a period: all of them, and those that were wrong."""

    since: datetime
    until: datetime
    leads: int
    wrong: int

    @property
    def one_in(self) -> float | None:
        """One of so many leads was wrong; None where none was, or none was decided."""
        return self.leads / self.wrong if self.wrong else None


def validation(manifest: Mapping[str, Any]) -> Validation | None:
    """The published figures of a manifest, None if it has none.

    Sets told backwards are left out: they are the same imagery again.
    """
    metrics = manifest.get("metrics") or {}
    sets = [figures for name, figures in metrics.items() if name.endswith("/change")]
    structures = sum(each["objects"] for each in sets)
    km2 = sum(each["area_km2"] for each in sets)
    if not structures or not km2:
        return None
    found = sum(each["object_recall"] * each["objects"] for each in sets if each["objects"])
    diagram = manifest.get("reliability", {}).get(_FINDINGS, {"bins": [], "error": None})
    return Validation(
        manifest["name"], manifest["version"], manifest["sha256"], found / structures, structures,
        sum(each["false_objects_per_km2"] * each["area_km2"] for each in sets) / km2, km2,
        tuple(Said(said, true, count) for said, true, count in diagram["bins"]), diagram["error"],
    )  # fmt: skip


def manifest_in_use(registry: Registry) -> Mapping[str, Any]:
    """The manifest of the weights for overhead imagery that speak now; empty if there are none."""
    domain = WEIGHTS["overhead"]
    version = registry.active(domain)
    if version is None:
        return {}
    try:
        manifest: dict[str, Any] = json.loads(registry.files(domain, version.id)[1].read_bytes())
    except (OSError, ValueError):
        return {}
    return manifest


def decided(session: Session, since: datetime, until: datetime) -> Decided:
    """What people made of the leads that they decided from `since` until before `until`."""
    query = (
        select(Decision.target, func.count(Decision.alert_id.distinct()))
        .where(Decision.alert_id.is_not(None), Decision.target.in_(("confirmed", "dismissed")))
        .where(Decision.decided_at >= since, Decision.decided_at < until)
        .group_by(Decision.target)
    )
    found = dict(session.execute(query).all())
    wrong = found.get("dismissed", 0)
    return Decided(since, until, wrong + found.get("confirmed", 0), wrong)
