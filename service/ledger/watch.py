"""Rebound watch: findings of a scan are laid over the ledger, and become looks, alerts or candidates.

A finding on a closed site opens one alert per site and cause; being seen again adds a look to it. A second look
counts only if it is of another scene and another day and sees the structure in the same place. A finding on an open
site is a look and no alert. Outside the ledger what is new is a candidate for it; what stands at both dates is how a
city looks, and only adds a look to the candidate that it was when it was new. A site that was not seen whole stays
"not observed since", whatever else the scan says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon, shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from inference.findings import Finding
from service.ledger.audit import SYSTEM, append, lock
from service.ledger.coordinates import System, around
from service.ledger.rows import as_json
from service.ledger.states import CHINA, LOOKS, move_alert
from service.ledger.tables import CAUSES, CLOSED_SITE, UNDECIDED, Alert, Candidate, Cause, Observation, Site

WHOLE = 0.99
"""Share of a site that must be seen for it to count as observed; the rest is the rounding of outlines."""
INSIDE_SHARE, INSIDE_M2 = 0.5, 100.0
"""A finding is on a site if half of it is, or this much: imagery and ledger are metres apart, sheds lean on walls."""
SAME_PLACE_M = 5.0
"""Findings of two dates this near to each other are of one structure."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A finding on the map: outline in WGS-84, area in m2."""

    cause: Cause
    probability: float
    area_m2: float
    polygon: BaseGeometry


@dataclass(frozen=True, slots=True)
class Scan:
    """What one scene shows, whole: coming again, the same scene changes nothing.

    Attributes:
        scene: which imagery; another model on the same imagery is not another look.
        taken_at: when the later picture was taken.
        covered: what was seen at both dates, in WGS-84. None where it is not known, and then nothing is clear.
    """

    scene: str
    taken_at: datetime
    sightings: tuple[Sighting, ...]
    covered: BaseGeometry | None = None
    model_sha256: str | None = None


def of_findings(findings: Iterable[Finding]) -> tuple[Sighting, ...]:
    """Findings of a comparison; what was `removed` is good news and left out.

    Raises:
        ValueError: they have no place on the map.
    """
    kept = [finding for finding in findings if finding.kind in CAUSES]
    return tuple(_sighting(f.kind, f.probability, f.area_m2, f.lonlat) for f in kept)


def of_features(collection: dict[str, Any]) -> tuple[Sighting, ...]:
    """The same from GeoJSON features with `kind`, `probability` and `area_m2`, in WGS-84."""
    kept = [(each["properties"], each["geometry"]) for each in collection["features"]]
    return tuple(
        _sighting(p["kind"], p["probability"], p.get("area_m2"), shape(outline) if outline else None)
        for p, outline in kept
        if p["kind"] in CAUSES
    )


def _sighting(cause: Any, probability: float, area: float | None, outline: BaseGeometry | None) -> Sighting:
    if outline is None or outline.is_empty or outline.geom_type not in ("Polygon", "MultiPolygon"):
        raise ValueError("a finding without an outline on the map cannot be laid over the ledger")
    outline = outline if outline.is_valid else outline.buffer(0)
    if area is None:
        area = float(around(outline).export_geometry(outline).area)
    return Sighting(cause, probability, area, outline)


@dataclass(slots=True)
class Outcome:
    """What a scan led to: ids of alerts and candidates, codes of sites (with findings, clear, not seen whole)."""

    opened: list[str] = field(default_factory=list)
    seen_again: list[str] = field(default_factory=list)
    corroborated: list[str] = field(default_factory=list)
    candidates: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    clear: list[str] = field(default_factory=list)
    not_observed: list[str] = field(default_factory=list)

    @property
    def nothing_new(self) -> bool:
        """Whether the scan told nothing that was not known."""
        return not (self.seen or self.clear or self.not_observed or self.candidates)


def take_in(session: Session, scan: Scan, *, at: datetime | None = None) -> Outcome:
    """Lay a scan over the ledger, in the transaction of `session` (see `service.ledger.audit.writing`)."""
    lock(session)
    outcome = Outcome()
    outlines = [sighting.polygon for sighting in scan.sightings]
    extent = shapely.union_all([*outlines, *([scan.covered] if scan.covered is not None else [])])
    if extent.is_empty:
        return outcome
    work = _Work(session, scan, around(extent), at or datetime.now(UTC), outcome)
    sites = _sites_within(session, extent)
    footprints = [work.footprint(site) for site in sites]
    on_site, outside = _match(footprints, [work.on_map(outline) for outline in outlines])
    shares = _shares(footprints, None if scan.covered is None else work.on_map(scan.covered))
    known = set(session.scalars(select(Observation.site_id).where(Observation.scene == scan.scene)))
    for index, site in enumerate(sites):
        if site.id not in known:
            work.look(site, [scan.sightings[i] for i in on_site.get(index, ())], float(shares[index]))
    work.keep_candidates([scan.sightings[i] for i in outside], extent)
    if outcome.nothing_new:
        return outcome
    detail = {
        "taken_at": scan.taken_at.astimezone(UTC).isoformat(),
        "model_sha256": scan.model_sha256,
        "findings": len(scan.sightings),
        "opened": outcome.opened,
        "seen_again": outcome.seen_again,
        "candidates": outcome.candidates,
        "sites_with_findings": outcome.seen,
        "clear": len(outcome.clear),
        "not_observed": len(outcome.not_observed),
    }
    append(session, SYSTEM, "scan.taken_in", f"scan:{scan.scene}", detail, work.at)
    return outcome


def suspects(session: Session, sightings: Sequence[Sighting]) -> set[tuple[str, Cause]]:
    """Code of site and cause of the alerts that these findings would open if nothing else were known of the sites.

    Changes nothing.
    """
    outlines = [sighting.polygon for sighting in sightings]
    extent = shapely.union_all(outlines)
    if extent.is_empty:
        return set()
    metres = around(extent)
    sites = [site for site in _sites_within(session, extent) if site.state in CLOSED_SITE]
    on_site, _ = _match([_footprint(metres, site) for site in sites], [metres.export_geometry(o) for o in outlines])
    found = ((sites[index], sightings[i]) for index, inside in on_site.items() for i in inside)
    return {(site.code, sighting.cause) for site, sighting in found if sighting.probability >= site.sensitivity}


def dispatch(session: Session, budget: int, *, at: datetime | None = None) -> list[Alert]:
    """Release corroborated alerts to their inspectors, at most `budget` each on one day (Asia/Shanghai).

    Ranked: closed sites first, then probability, then area. The rest waits for another day. Sites without an
    inspector share one budget. The caller sends what is returned, in the same transaction.
    """
    lock(session)
    moment = at or datetime.now(UTC)
    midnight = datetime.combine(moment.astimezone(CHINA).date(), time(), CHINA)
    gone = select(Alert.inspector, func.count()).where(Alert.dispatched_at >= midnight).group_by(Alert.inspector)
    used: Counter[str | None] = Counter()
    for inspector, count in session.execute(gone):
        used[inspector] = count
    waiting = session.scalars(
        select(Alert).where(Alert.state == "corroborated").options(joinedload(Alert.site))
    ).all()  # fmt: skip
    released = []
    for alert in sorted(waiting, key=rank):
        if used[alert.site.inspector] < budget:
            used[alert.site.inspector] += 1
            move_alert(session, alert, "corroborated", "dispatched", SYSTEM, "within_budget", at=moment)
            released.append(alert)
    return released


def rank(alert: Alert) -> tuple[bool, float, float, str]:
    """Sort key: what to look at first comes first."""
    return alert.site.state not in CLOSED_SITE, -alert.probability, -alert.area_m2, alert.id


def not_observed_since(session: Session, moment: datetime) -> Sequence[Site]:
    """Closed sites that were not seen whole since `moment`, by code. Nothing is known of them, least of all clear."""
    unseen = Site.observed_at.is_(None) | (Site.observed_at < moment)
    return session.scalars(select(Site).where(Site.state.in_(CLOSED_SITE), unseen).order_by(Site.code)).all()


def _sites_within(session: Session, extent: BaseGeometry) -> Sequence[Site]:
    west, south, east, north = extent.bounds
    near = (Site.west <= east, Site.east >= west, Site.south <= north, Site.north >= south)
    return session.scalars(select(Site).where(*near).order_by(Site.code)).all()


def _footprint(metres: System, site: Site) -> BaseGeometry:
    geometry = metres.export_geometry(shape(site.geometry))
    return geometry if site.radius_m is None else geometry.buffer(site.radius_m)


def _match(
    footprints: Sequence[BaseGeometry], outlines: Sequence[BaseGeometry]
) -> tuple[dict[int, list[int]], list[int]]:
    """Footprint -> outlines that are on it, and outlines that are on none. All in metres."""
    on_site: dict[int, list[int]] = defaultdict(list)
    placed: set[int] = set()
    searched = np.array(outlines, dtype=object)  # an empty list would be an array of floats
    for i, j in shapely.STRtree(footprints).query(searched, predicate="intersects").T.tolist():
        if outlines[i].intersection(footprints[j]).area >= min(INSIDE_SHARE * outlines[i].area, INSIDE_M2):
            on_site[j].append(i)
            placed.add(i)
    return on_site, [i for i in range(len(outlines)) if i not in placed]


def _shares(footprints: Sequence[BaseGeometry], covered: BaseGeometry | None) -> Any:
    """Share of each footprint that was seen, (N,) float."""
    if covered is None or not footprints:
        return np.zeros(len(footprints))
    return shapely.area(shapely.intersection(footprints, covered)) / shapely.area(footprints)


@dataclass(frozen=True, slots=True)
class _Work:
    """One scan being laid over the ledger, in metres around it."""

    session: Session
    scan: Scan
    metres: System
    at: datetime
    outcome: Outcome

    def on_map(self, geometry: BaseGeometry) -> BaseGeometry:
        """A geometry in WGS-84, in metres."""
        return self.metres.export_geometry(geometry)

    def footprint(self, site: Site) -> BaseGeometry:
        """What the site covers, in metres."""
        return _footprint(self.metres, site)

    def look(self, site: Site, sightings: Sequence[Sighting], share: float) -> None:
        """Note what the scan says of one site."""
        if share >= WHOLE and (site.observed_at is None or site.observed_at < self.scan.taken_at):
            site.observed_at = self.scan.taken_at
        if not sightings:
            if share >= WHOLE:
                self._observe(site, "clear", share)
                self.outcome.clear.append(site.code)
            elif share > 0:
                self._observe(site, "not_observed", share)
                self.outcome.not_observed.append(site.code)
            return
        self.outcome.seen.append(site.code)
        for cause in CAUSES:
            seen = [sighting for sighting in sightings if sighting.cause == cause]
            if seen:
                look = self._observe(site, cause, share, seen)
                strong = [sighting for sighting in seen if sighting.probability >= site.sensitivity]
                if strong and self._after_closing(site):
                    self._alert(site, cause, look, strong)

    def _observe(self, site: Site, result: Any, share: float, seen: Sequence[Sighting] = ()) -> Observation:
        look = Observation(
            site_id=site.id, scene=self.scan.scene, observed_at=self.scan.taken_at, result=result,
            observed_share=min(share, 1.0), model_sha256=self.scan.model_sha256, recorded_at=self.at,
        )  # fmt: skip
        if seen:
            look.probability = max(sighting.probability for sighting in seen)
            look.area_m2 = sum(sighting.area_m2 for sighting in seen)
            look.geometry = _together(seen)
        self.session.add(look)
        return look

    def _after_closing(self, site: Site) -> bool:
        """Whether the entry was closed when the scene was taken; what stood there before is no rebound."""
        closed = site.closed_on
        return site.state in CLOSED_SITE and (closed is None or _day(self.scan.taken_at) > closed)

    def _alert(self, site: Site, cause: Cause, look: Observation, strong: Sequence[Sighting]) -> None:
        states = (*UNDECIDED, "dismissed")
        about = (Alert.site_id == site.id, Alert.cause == cause, Alert.state.in_(states))
        alerts = self.session.scalars(select(Alert).where(*about)).all()
        undecided = next((alert for alert in alerts if alert.state in UNDECIDED), None)
        if undecided is not None:
            self._see_again(undecided, look, strong)
            return
        for alert in alerts:
            if all(self._was_dismissed(alert, sighting) for sighting in strong):
                look.alert_id = alert.id
                return
        alert = Alert(
            site_id=site.id, cause=cause, state="suspected", looks=1, opened_at=self.at,
            probability=max(sighting.probability for sighting in strong),
            area_m2=sum(sighting.area_m2 for sighting in strong),
            first_seen_at=self.scan.taken_at, last_seen_at=self.scan.taken_at,
        )  # fmt: skip
        self.session.add(alert)
        self.session.flush()
        look.alert_id = alert.id
        detail = {"site": site.code, "cause": cause, "scene": self.scan.scene, "probability": alert.probability}
        append(self.session, SYSTEM, "alert.suspected", f"alert:{alert.id}", detail, self.at)
        self.outcome.opened.append(alert.id)

    def _see_again(self, alert: Alert, look: Observation, strong: Sequence[Sighting]) -> None:
        earlier = self._looks_of(alert)
        look.alert_id = alert.id
        alert.probability = max(alert.probability, *(sighting.probability for sighting in strong))
        alert.area_m2 = max(alert.area_m2, sum(sighting.area_m2 for sighting in strong))
        alert.first_seen_at = min(alert.first_seen_at, self.scan.taken_at)
        alert.last_seen_at = max(alert.last_seen_at, self.scan.taken_at)
        here = self.on_map(shapely.union_all([sighting.polygon for sighting in strong]))
        days = {_day(self.scan.taken_at)} | {
            _day(other.observed_at)
            for other in earlier
            if other.scene != self.scan.scene and here.dwithin(self._outline(other), SAME_PLACE_M)
        }
        alert.looks = max(alert.looks, len(days))
        self.session.flush()
        self.outcome.seen_again.append(alert.id)
        if alert.looks >= LOOKS and alert.state == "suspected":
            move_alert(self.session, alert, "suspected", "corroborated", SYSTEM, "two_looks", at=self.at)
            self.outcome.corroborated.append(alert.id)

    def _looks_of(self, alert: Alert) -> Sequence[Observation]:
        return self.session.scalars(select(Observation).where(Observation.alert_id == alert.id)).all()

    def _outline(self, look: Observation) -> BaseGeometry:
        assert look.geometry is not None  # only findings belong to alerts
        return self.on_map(shape(look.geometry))

    def _was_dismissed(self, alert: Alert, sighting: Sighting) -> bool:
        """Whether a person has already dismissed what is seen: not if half of it is somewhere else, or new."""
        seen = shapely.union_all([self._outline(look) for look in self._looks_of(alert)])
        here = self.on_map(sighting.polygon)
        return bool(here.intersection(seen.buffer(SAME_PLACE_M)).area >= 0.5 * here.area)

    def keep_candidates(self, sightings: Sequence[Sighting], extent: BaseGeometry) -> None:
        """Findings outside the ledger: seen before, or new."""
        west, south, east, north = extent.bounds
        near = (Candidate.west <= east, Candidate.east >= west, Candidate.south <= north, Candidate.north >= south)
        known = list(self.session.scalars(select(Candidate).where(*near)).all())
        tree = shapely.STRtree([self.on_map(shape(candidate.geometry)) for candidate in known])
        for sighting in sightings:
            place = self.on_map(sighting.polygon)
            hits = [known[i] for i in tree.query(place, predicate="intersects").tolist()]
            found = min(hits, key=lambda candidate: candidate.cause != sighting.cause, default=None)
            if found is None and sighting.cause == "new":
                self._new_candidate(sighting)
            elif found and found.last_seen_at < self.scan.taken_at and found.last_scene != self.scan.scene:
                found.last_seen_at, found.last_scene = self.scan.taken_at, self.scan.scene
                found.looks += 1
                found.probability = max(found.probability, sighting.probability)
                found.area_m2 = sighting.area_m2
                self._place(found, sighting.polygon)
                self.outcome.candidates.append(found.id)

    def _new_candidate(self, sighting: Sighting) -> None:
        candidate = Candidate(
            cause=sighting.cause, probability=sighting.probability, area_m2=sighting.area_m2, looks=1,
            first_scene=self.scan.scene, last_scene=self.scan.scene,
            first_seen_at=self.scan.taken_at, last_seen_at=self.scan.taken_at,
        )  # fmt: skip
        self._place(candidate, sighting.polygon)
        self.session.add(candidate)
        self.session.flush()
        self.outcome.candidates.append(candidate.id)

    @staticmethod
    def _place(candidate: Candidate, polygon: BaseGeometry) -> None:
        candidate.geometry = as_json(polygon)
        candidate.west, candidate.south, candidate.east, candidate.north = polygon.bounds


def _together(seen: Sequence[Sighting]) -> dict[str, Any]:
    """One geometry of all findings of a look."""
    whole = shapely.union_all([sighting.polygon for sighting in seen])
    return as_json(MultiPolygon([whole]) if isinstance(whole, Polygon) else whole)


def _day(moment: datetime) -> date:
    return moment.astimezone(CHINA).date()
