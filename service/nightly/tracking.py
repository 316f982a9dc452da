"""Tracks in the database: every scene that is taken in goes on with those of its place (`inference.tracks`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime

import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy import select
from sqlalchemy.orm import Session

from inference.tracks import LOOKS, MAX_MISSES, Structure, step
from service.ledger.coordinates import System, around
from service.ledger.states import CHINA
from service.ledger.tables import new_id
from service.nightly.tables import Track
from service.scenes.tables import ScanFinding, SceneRow

_MARGIN_DEG = 0.001
"""About 100 m; more than two outlines of one structure are apart."""


def follow(session: Session, scene: SceneRow) -> None:
    """Match the findings of a scene that is new in the database, in its transaction.

    A scene that is older than what is known adds looks but takes nothing back: what it does not show may have been
    built since.
    """
    findings = session.scalars(
        select(ScanFinding).where(ScanFinding.scene_id == scene.id).order_by(ScanFinding.number)
    ).all()
    tracks = _open(session, scene, findings)
    metres = around(shapely.box(scene.west, scene.south, scene.east, scene.north))
    covered = None if scene.coverage is None else _on_map(scene.coverage, metres)
    result = step(
        [Structure(track.kind, _on_map(track.geometry, metres)) for track in tracks],
        [Structure(finding.kind, _on_map(finding.geometry, metres)) for finding in findings],
        covered,
    )
    for number, found in result.matched:
        _go_on(tracks[number], findings[found], scene)
    for found in result.started:
        session.add(_started(findings[found], scene))
    for number in result.missed:
        _miss(tracks[number], scene)
    session.flush()
    _count(session, [tracks[number] for number, _ in result.matched])


def _open(session: Session, scene: SceneRow, findings: Sequence[ScanFinding]) -> Sequence[Track]:
    """Tracks that have not ended, where the scene looked; in a fixed order."""
    sides = [(scene.west, scene.south, scene.east, scene.north)] + [
        (each.west, each.south, each.east, each.north) for each in findings
    ]
    west, south, east, north = shapely.union_all([shapely.box(*side) for side in sides]).buffer(_MARGIN_DEG).bounds
    near = (Track.west <= east, Track.east >= west, Track.south <= north, Track.north >= south)
    return session.scalars(select(Track).where(Track.ended_at.is_(None), *near).order_by(Track.id)).all()


def _started(finding: ScanFinding, scene: SceneRow) -> Track:
    track = Track(
        id=new_id(), kind=finding.kind, looks=1, misses=0, probability=finding.probability,
        first_seen_at=scene.taken_at, last_seen_at=scene.taken_at, checked_at=scene.taken_at, last_scene=scene.id,
    )  # fmt: skip
    _place(track, finding)
    finding.track_id = track.id
    return track


def _go_on(track: Track, finding: ScanFinding, scene: SceneRow) -> None:
    finding.track_id = track.id
    track.probability = max(track.probability, finding.probability)
    track.first_seen_at = min(track.first_seen_at, scene.taken_at)
    if scene.taken_at >= track.last_seen_at:
        track.last_seen_at, track.last_scene = scene.taken_at, scene.id
        _place(track, finding)
    if scene.taken_at >= track.checked_at:
        track.checked_at, track.misses = scene.taken_at, 0


def _count(session: Session, tracks: Sequence[Track]) -> None:
    """Days on which they were seen, two scenes of one day being one look; and since when that is two."""
    seen = select(ScanFinding.track_id, SceneRow.taken_at).join(SceneRow, ScanFinding.scene_id == SceneRow.id)
    first: defaultdict[str | None, dict[date, datetime]] = defaultdict(dict)
    ordered = seen.where(ScanFinding.track_id.in_([track.id for track in tracks])).order_by(SceneRow.taken_at)
    for track_id, moment in session.execute(ordered):
        first[track_id].setdefault(_day(moment), moment)
    for track in tracks:
        days = sorted(first[track.id].values())
        track.looks = len(days)
        track.corroborated_at = days[LOOKS - 1] if len(days) >= LOOKS else None


def _miss(track: Track, scene: SceneRow) -> None:
    if scene.taken_at <= track.checked_at:
        return
    again = _day(scene.taken_at) == _day(track.checked_at)  # another strip of a night is no other night
    track.checked_at = scene.taken_at
    track.misses += not again
    if track.misses >= MAX_MISSES:
        track.ended_at = scene.taken_at


def _place(track: Track, finding: ScanFinding) -> None:
    track.geometry, track.area_m2 = finding.geometry, finding.area_m2
    track.west, track.south, track.east, track.north = finding.west, finding.south, finding.east, finding.north


def _day(moment: datetime) -> date:
    return moment.astimezone(CHINA).date()


def _on_map(geometry: dict[str, object], metres: System) -> BaseGeometry:
    outline = metres.export_geometry(shape(geometry))
    return outline if outline.is_valid else outline.buffer(0)
