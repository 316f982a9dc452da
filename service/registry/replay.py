"""Replays: stored pairs and scans once more, with the active weights and with those that are to take their place.

Both run through today's program on the same files, so that whatever differs, differs because of the weights. Nothing
that is stored is touched. Alerts are those that the findings alone would open on closed sites (`watch.suspects`);
of pairs without a place on the map, the verdict is compared.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from inference.compare import WEIGHTS, Asked, compare
from inference.findings import KINDS, Assessment, PictureKind
from inference.model import Model, ModelError
from inference.reasons import InputError
from inference.scan.outputs import GEOJSON
from service import errors
from service.comparisons import read_pair
from service.database import PairRow, Pairs
from service.ledger import watch
from service.queue import Interrupted, Job, Queue, Refused, Work
from service.registry.difference import Found, count, difference, of_features, of_findings
from service.registry.errors import ModelConflict, ModelNotFound
from service.registry.store import Registry
from service.registry.tables import ModelVersion
from service.scans import DOMAIN, SCAN, Order, Scans
from service.settings import Settings
from service.storage import Storage

REPLAY = "replay"
Alerts = set[tuple[str, Any]]


@dataclass(slots=True)
class Change:
    """What is different for one pair or scan.

    Attributes:
        verdict: with the active weights and with the others; of pairs only.
        gained, lost: number of findings by kind.
        alerts_gained, alerts_lost: code of site and cause.
    """

    id: str
    name: str
    gained: dict[str, int]
    lost: dict[str, int]
    alerts_gained: list[tuple[str, str]]
    alerts_lost: list[tuple[str, str]]
    verdict: tuple[str, str] | None = None

    @property
    def other_verdict(self) -> bool:
        """Whether the verdict is another."""
        return self.verdict is not None and self.verdict[0] != self.verdict[1]

    @property
    def any(self) -> bool:
        """Whether anything is."""
        alerts = self.alerts_gained or self.alerts_lost
        return bool(self.other_verdict or alerts or sum(self.gained.values()) or sum(self.lost.values()))


class Replays:
    """The replays of one service."""

    def __init__(
        self, registry: Registry, queue: Queue, pairs: Pairs, storage: Storage, scans: Scans, settings: Settings
    ) -> None:
        self._registry, self._queue, self._pairs, self._storage = registry, queue, pairs, storage
        self._scans, self._settings = scans, settings
        self._folder = settings.data_dir / "replays"

    def submit(self, version: str, *, pairs: int, scans: int, key: str | None = None) -> Job:
        """Queue a replay of a version against the one that is active now.

        Args:
            pairs, scans: how many of each at most, the newest.

        Raises:
            ModelNotFound: there is no such version.
            ModelConflict: `model_active`.
        """
        found = self._registry.find(version)
        if found.state == "active":
            raise ModelConflict("model_active")
        payload = {"version": found.id, "pairs": pairs, "scans": scans}
        job = self._queue.get(self._queue.enqueue(REPLAY, payload, key=key and f"{REPLAY}:{key}"))
        assert job is not None  # jobs are never deleted
        return job

    def get(self, version: str, job_id: str) -> Job:
        """A replay of a version.

        Raises:
            ModelNotFound: it has no such one.
        """
        job = self._queue.get(job_id)
        if job is None or job.kind != REPLAY or job.payload["version"] != self._registry.find(version).id:
            raise ModelNotFound("replay_not_found")
        return job

    def run(self, work: Work) -> dict[str, Any]:
        """The handler. What it returns is kept for whoever decides."""
        folder = self._folder / work.id
        try:
            version = self._registry.find(work.payload["version"])
            now = self._registry.active(version.domain)
            if now is None or now.id == version.id:
                raise Refused("model_active")
            both = now, version
            pairs, pairs_left_out = self._pairs_again(both, work)
            scans, scans_left_out = self._scans_again(both, folder, work)
        except errors.ServiceError as error:
            raise Refused(error.code, **error.values) from error
        except ModelError as error:
            raise Refused("model_unloadable", detail=str(error)) from error
        except Interrupted:
            job = self._queue.get(work.id)
            if job is not None and job.state == "cancelled":
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
        return {
            "version": version.id, "against": now.id, "domain": version.domain,
            "pairs": [asdict(each) for each in pairs], "scans": [asdict(each) for each in scans],
            "left_out": pairs_left_out + scans_left_out, "sum": _sum(pairs, scans),
        }  # fmt: skip

    # --- Pairs --------------------------------------------------------------------------------------------

    def _pairs_again(self, both: tuple[ModelVersion, ModelVersion], work: Work) -> tuple[list[Change], list[Any]]:
        kind = next(kind for kind, domain in WEIGHTS.items() if domain == both[0].domain)
        rows = self._newest_pairs(kind, work.payload["pairs"])
        changes, left_out = [], []
        for number, row in enumerate(rows):
            work.report("pairs", number / len(rows))
            try:
                before, after, asked = read_pair(row, self._storage, self._settings.limits)
                sides = [
                    compare(
                        before, after, self._with(kind, version), Asked(kind, asked.site),
                        progress=lambda stage, share: work.check(),
                    )
                    for version in both
                ]  # fmt: skip
            except InputError as error:
                left_out.append({"id": row.id, "code": error.reason.code})
            except FileNotFoundError:
                left_out.append({"id": row.id, "code": "files_gone"})
            else:
                changes.append(self._pair_change(row, *sides))
        return changes, left_out

    def _newest_pairs(self, kind: PictureKind, limit: int) -> Sequence[PairRow]:
        """Of this kind, whether that was said or found out."""
        found = func.coalesce(PairRow.report["kind"].as_string(), "overhead")
        query = select(PairRow).where(PairRow.status == "done", PairRow.report.is_not(None), found == kind)
        with Session(self._pairs.engine) as session:
            return session.scalars(query.order_by(PairRow.created_at.desc(), PairRow.id).limit(limit)).all()

    def _with(self, kind: PictureKind, version: ModelVersion) -> Callable[[PictureKind], Model]:
        return lambda asked: self._registry.model(version) if asked == kind else self._registry.models(asked)

    def _pair_change(self, row: PairRow, now: Assessment, then: Assessment) -> Change:
        gained, lost = difference(of_findings(now.findings), of_findings(then.findings))
        alerts = self._alerts(_placed(now)), self._alerts(_placed(then))
        verdict = now.verdict.kind.value, then.verdict.kind.value
        return _change(row.id, f"{row.before_name} / {row.after_name}", gained, lost, alerts, verdict)

    # --- Scans --------------------------------------------------------------------------------------------

    def _scans_again(
        self, both: tuple[ModelVersion, ModelVersion], folder: Path, work: Work
    ) -> tuple[list[Change], list[Any]]:
        changes: list[Change] = []
        left_out: list[Any] = []
        wanted = work.payload["scans"] if both[0].domain == DOMAIN else 0
        for job in self._queue.recent(SCAN, "done", limit=wanted) if wanted else ():
            order = Order(**job.payload)
            try:
                sides = [self._scan_again(order, folder / job.id / version.id[:12], version, work) for version in both]
            except (InputError, errors.ServiceError) as error:
                code = error.reason.code if isinstance(error, InputError) else error.code
                left_out.append({"id": job.id, "code": code})
                continue
            gained, lost = difference(*(of_features(side) for side in sides))
            now, then = (self._alerts(watch.of_features(side)) for side in sides)
            changes.append(_change(job.id, ", ".join(order.after), gained, lost, (now, then)))
        return changes, left_out

    def _scan_again(self, order: Order, folder: Path, version: ModelVersion, work: Work) -> Any:
        self._scans.execute(order, folder, self._registry.model(version), work)
        return json.loads((folder / GEOJSON).read_bytes())

    def _alerts(self, sightings: Sequence[watch.Sighting]) -> Alerts:
        with Session(self._pairs.engine) as session:
            return watch.suspects(session, sightings)


def _placed(assessment: Assessment) -> tuple[watch.Sighting, ...]:
    return watch.of_findings(each for each in assessment.findings if each.lonlat is not None)


def _change(
    id: str, name: str, gained: Iterable[Found], lost: Iterable[Found], alerts: tuple[Alerts, Alerts],
    verdict: tuple[str, str] | None = None,
) -> Change:  # fmt: skip
    now, then = alerts
    return Change(id, name, count(gained), count(lost), sorted(then - now), sorted(now - then), verdict)


def _sum(pairs: Sequence[Change], scans: Sequence[Change]) -> dict[str, Any]:
    """Over all pairs and scans; alerts of one site and cause count once."""
    both = [*pairs, *scans]
    total: dict[str, Any] = {"pairs": len(pairs), "scans": len(scans), "changed": sum(each.any for each in both)}
    for side in ("gained", "lost"):
        total[side] = {kind: sum(getattr(each, side)[kind] for each in both) for kind in KINDS}
        total[f"alerts_{side}"] = len({tuple(alert) for each in both for alert in getattr(each, f"alerts_{side}")})
    total["verdicts_changed"] = sum(each.other_verdict for each in pairs)
    return total
