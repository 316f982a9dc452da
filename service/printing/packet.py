"""The evidence packet of a site: facts, everything that happened with its seals, pictures, and which weights spoke."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.database import PairRow
from service.ledger.audit import seal
from service.ledger.tables import UNDECIDED, Alert, AuditEntry, AuditHead, Decision, Observation, Site
from service.pages.timeline import Event, timeline
from service.printing.pictures import Album, Sides, cited, of_look
from service.registry.tables import ModelVersion
from service.storage import Storage

SHOWN = 8
"""Pairs of pictures in one packet."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights that spoke about the site; name and version None where they are no longer registered."""

    sha256: str
    name: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Packet:
    """What is printed of a site.

    Attributes:
        events: everything that happened, oldest first.
        undecided: leads that no person has decided yet; they are suspicions.
        sealed: how many entries of the audit log are among `events`; `broken` are numbers of such as do not fit
            their hash.
        head: length of the audit log and its last hash, which the seals lead up to.
    """

    site: Site
    events: Sequence[Event]
    album: Album
    weights: Sequence[Weights]
    undecided: int
    sealed: int
    broken: Sequence[int]
    head: tuple[int, str]


def packet(session: Session, site: Site, storage: Storage, folders: Sequence[Path], language: str) -> Packet:
    """Put together what is known of a site.

    Args:
        folders: that imagery is shown from.
    """
    looks = session.scalars(
        select(Observation).where(Observation.site_id == site.id).order_by(Observation.observed_at, Observation.id)
    ).all()
    decisions = session.scalars(
        select(Decision).where(Decision.site_id == site.id).order_by(Decision.decided_at, Decision.id)
    ).all()
    events = [event for line in timeline(session, site, folders, language) for event in line.events]
    undecided = select(Alert.id).where(Alert.site_id == site.id, Alert.state.in_(UNDECIDED))
    entries = _entries(session, events)
    head = session.scalars(select(AuditHead)).one()
    return Packet(
        site, events[::-1], _album(session, site, looks, decisions, storage, folders),
        _weights(session, looks, decisions), len(session.scalars(undecided).all()), len(entries),
        [entry.number for entry in entries if seal(entry) != entry.hash], (head.length, head.hash),
    )  # fmt: skip


def _entries(session: Session, events: Iterable[Event]) -> Sequence[AuditEntry]:
    numbers = [event.seal[0] for event in events if event.seal]
    return session.scalars(select(AuditEntry).where(AuditEntry.number.in_(numbers)).order_by(AuditEntry.number)).all()


def _album(
    session: Session, site: Site, looks: Sequence[Observation], decisions: Sequence[Decision], storage: Storage,
    folders: Sequence[Path],
) -> Album:  # fmt: skip
    """What decisions rest on, then looks with findings, then the newest look; each imagery once."""
    evidence = [item for each in decisions for item in each.evidence]
    album = cited(session, site, evidence, storage, folders)
    telling = [look for look in looks if look.geometry is not None] + [*looks[-1:]]
    seen = (of_look(session, site, look, folders) for look in telling)
    return Album(_once([*album.pairs, *filter(None, seen)])[:SHOWN], album.unchecked)


def _once(pairs: Iterable[Sides]) -> list[Sides]:
    return list({pair.ref: pair for pair in pairs}.values())


def _weights(session: Session, looks: Sequence[Observation], decisions: Sequence[Decision]) -> list[Weights]:
    cited_items: list[Mapping[str, Any]] = [item for each in decisions for item in each.evidence]
    hashes = dict.fromkeys(
        filter(None, [*(look.model_sha256 for look in looks), *(i.get("model_sha256") for i in cited_items)])
    )
    known = {row.sha256: row for row in session.scalars(select(ModelVersion).where(ModelVersion.sha256.in_(hashes)))}
    told = {**_of_pairs(session, cited_items), **{sha: (row.name, row.version) for sha, row in known.items()}}
    return [Weights(sha256, *told.get(sha256, (None, None))) for sha256 in hashes]


def _of_pairs(session: Session, evidence: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """What the reports of cited pairs say of their weights."""
    found = {}
    for item in evidence:
        pair = session.get(PairRow, item["ref"]) if item["kind"] == "pair" else None
        model = (pair.report or {}).get("model") if pair is not None else None
        if model:
            found[model["sha256"]] = (model["name"], model["version"])
    return found
