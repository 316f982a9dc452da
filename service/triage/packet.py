"""The evidence packet of an alert: all that a decision rests on, in one file that can be checked without this service.

There is nothing in it about residents, and no names of sites and courtyards, which may be those of people: the ledger's
codes tell them apart.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from shapely.geometry import mapping
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from inference.reasons import LANGUAGES
from service.field.photographs import SHOWN, of_alert
from service.language import say
from service.ledger.states import CHINA
from service.ledger.tables import Alert, AuditEntry, AuditHead, Decision
from service.scenes import imagery
from service.scenes.errors import NotOnTheMap
from service.triage.evidence import SIZE_PX, Look, View, covers, looks
from service.triage.tables import Proposal

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Of every file, so that equal contents give an equal packet."""


@dataclass(frozen=True, slots=True)
class Packet:
    """Files of a packet by name.

    Attributes:
        missing: scenes whose imagery cannot be shown from here.
    """

    files: Mapping[str, bytes]
    missing: Sequence[str]

    def zip(self) -> bytes:
        """One file, with a list of checksums."""
        sums = "".join(f"{sha256(self.files[name]).hexdigest()}  {name}\n" for name in sorted(self.files))
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted({**self.files, "SHA256SUMS": sums.encode()}.items()):
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
        return buffer.getvalue()


def packet(
    session: Session, alert: Alert, folders: Sequence[Path], photographs: Path, person: str, at: datetime
) -> Packet:
    """Gather all there is of an alert.

    Args:
        folders: that scenes may be shown from.
        photographs: folder of the photographs.
        person: who asks for it.
    """
    seen = looks(session, alert, folders)
    files: dict[str, bytes] = {
        "facts.json": _json(_facts(session, alert, seen)),
        "outlines.geojson": _json(_outlines(alert, seen)),
        "audit.json": _json(_audit(session, alert)),
    }
    missing = []
    for look in seen:
        chips = _chips(look, folders)
        files |= chips
        if len(chips) < 2:
            missing.append(look.observation.scene)
    for photograph in of_alert(session, alert):
        path = photographs / photograph.id / SHOWN
        if path.is_file():
            files[f"photographs/{photograph.id}.jpg"] = path.read_bytes()
    for language in LANGUAGES:
        text = say(language, "packet.no_imagery", scenes=", ".join(missing)) if missing else ""
        values = {"alert": alert.id, "site": alert.site.code, "person": person, "missing": text}
        readme = say(language, "packet.readme", moment=f"{at.astimezone(CHINA):%Y-%m-%d %H:%M}", **values)
        files[f"README.{language}.txt"] = readme.rstrip().encode() + b"\n"
    return Packet(files, missing)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False).encode() + b"\n"


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _facts(session: Session, alert: Alert, seen: Sequence[Look]) -> dict[str, Any]:
    site = alert.site
    decisions = session.scalars(select(Decision).where(Decision.site_id == site.id).order_by(Decision.decided_at))
    proposals = session.scalars(
        select(Proposal).where(Proposal.alert_id == alert.id).order_by(Proposal.proposed_at)
    )  # fmt: skip
    return {
        "status": "suspected" if alert.state in ("suspected", "corroborated", "dispatched") else alert.state,
        "alert": {
            **{name: getattr(alert, name) for name in ("id", "cause", "state", "probability", "area_m2", "looks")},
            **{name: _moment(getattr(alert, name)) for name in ("first_seen_at", "last_seen_at", "dispatched_at")},
        },
        "site": {
            **{name: getattr(site, name) for name in ("code", "system", "street", "state", "sensitivity", "baseline")},
            "courtyard": site.courtyard.code,
            **{name: getattr(site, name) for name in ("land_m2", "building_m2", "greened_m2")},
            **{name: _day(getattr(site, name)) for name in ("opened_on", "closed_on")},
            "observed_at": _moment(site.observed_at),
        },
        "looks": [
            {
                "observation": look.observation.id,
                "scene": look.observation.scene,
                "before_at": _moment(look.scene.before_at) if look.scene else None,
                "observed_at": _moment(look.observation.observed_at),
                "result": look.observation.result,
                "observed_share": look.observation.observed_share,
                "probability": look.observation.probability,
                "area_m2": look.observation.area_m2,
                "area_error_m2": look.area_error_m2,
                "model_sha256": look.observation.model_sha256,
            }
            for look in seen
        ],
        "photographs": [
            {
                **{name: getattr(each, name) for name in ("id", "taken_by", "sha256", "lon", "lat")},
                "taken_at": _moment(each.taken_at),
                "received_at": _moment(each.received_at),
            }
            for each in of_alert(session, alert)
        ],
        "proposals": [
            {
                **{name: getattr(each, name) for name in ("id", "actor", "reason", "settlement", "settled_by")},
                "proposed_at": _moment(each.proposed_at),
                "settled_at": _moment(each.settled_at),
            }
            for each in proposals
        ],
        "decisions": [
            {
                **{
                    name: getattr(each, name)
                    for name in ("alert_id", "source", "target", "actor", "reason", "evidence")
                },
                "decided_at": _moment(each.decided_at),
            }
            for each in decisions
        ],
    }


def _day(value: date | None) -> str | None:
    return None if value is None else value.isoformat()


def _outlines(alert: Alert, seen: Sequence[Look]) -> dict[str, Any]:
    """RFC 7946, WGS-84."""
    site: dict[str, Any] = {"what": "site", "code": alert.site.code}
    features: list[dict[str, Any]] = [{"type": "Feature", "properties": site, "geometry": mapping(covers(alert.site))}]
    for look in seen:
        own = look.observation
        about: dict[str, Any] = {
            "what": "suspected",
            "kind": own.result,
            "scene": own.scene,
            "observed_at": _moment(own.observed_at),
        }
        about |= {"probability": own.probability, "area_m2": own.area_m2, "area_error_m2": look.area_error_m2}
        features.append({"type": "Feature", "properties": about, "geometry": own.geometry})
    return {"type": "FeatureCollection", "features": features}


def _audit(session: Session, alert: Alert) -> dict[str, Any]:
    about = or_(AuditEntry.subject == f"alert:{alert.id}", AuditEntry.subject == f"site:{alert.site_id}")
    entries = session.scalars(select(AuditEntry).where(about).order_by(AuditEntry.number))
    head = session.scalars(select(AuditHead)).one()
    columns = ("number", "actor", "human", "action", "subject", "detail", "previous", "hash")
    return {
        "length": head.length,
        "hash": head.hash,
        "entries": [{**{name: getattr(each, name) for name in columns}, "at": _moment(each.at)} for each in entries],
    }


def _chips(look: Look, folders: Sequence[Path]) -> dict[str, bytes]:
    view, scene = View.around(look.outline), look.scene
    found: dict[str, bytes] = {}
    for side in look.sides if scene else ():
        assert scene is not None
        try:
            source = imagery.source(scene, side, folders)
            content = imagery.chip(source, view.lon, view.lat, view.metres, SIZE_PX)
        except NotOnTheMap:
            continue  # the look reached beyond the imagery of this date, or it was taken away this moment
        day = f"{look.observation.observed_at.astimezone(CHINA):%Y-%m-%d}"
        found[f"chips/{day}-{look.observation.id[:8]}-{side}.jpg"] = content
    return found
