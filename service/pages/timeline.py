"""The timeline of a site: looks from above, photographs, steps and decisions, imports, in one order, newest first.

Steps and decisions are read from the audit log, which has every one of them, with its number and hash. Looks that
saw nothing, or not enough, are drawn together where they follow each other: nights on end would hide the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from shapely.geometry import shape
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.database import PairRow
from service.field.tables import Photograph
from service.language import catalogue, say, word
from service.ledger.audit import SYSTEM
from service.ledger.states import CHINA
from service.ledger.tables import Alert, AuditEntry, Observation, Site
from service.pages.sites import close_up
from service.pages.triage import told
from service.pages.view import percent
from service.scenes.imagery import Layer, layers
from service.scenes.tables import SceneRow
from service.triage.evidence import SIDES, covers

CHIP_PX = 320
FOLDED = 3
"""So many looks without a finding in a row are one line."""
DAY_AND_TIME, DAY = "%Y-%m-%d %H:%M", "%Y-%m-%d"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the site. `outlines` are SVG paths (class, path) in its pixels; `link` leads on from it."""

    address: str
    label: str
    width: int
    height: int
    outlines: tuple[tuple[str, str], ...] = ()
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the timeline.

    Attributes:
        kind: what sort of thing happened; `tone` how it is marked: a state, a result, or nothing.
        who: official or system, None where nobody acted.
        quote: the reason that was given.
        facts: further sentences.
        seal: number and hash of the entry in the audit log.
    """

    at: datetime
    kind: Literal["look", "step", "photograph", "import"]
    title: str
    tone: str = ""
    who: str | None = None
    quote: str | None = None
    facts: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    seal: tuple[int, str] | None = None
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """An event, or several looks in a row that are told as one. `day` is that of the newest, in China."""

    title: str
    events: Sequence[Event] = field(default_factory=list)

    @property
    def one(self) -> Event | None:
        """The event, if it is one."""
        return self.events[0] if len(self.events) == 1 else None


def timeline(session: Session, site: Site, folders: Sequence[Path], language: str) -> list[Line]:
    """Everything that is known of a site, newest first.

    Args:
        folders: that imagery is shown from.
    """
    events = [*_looks(session, site, folders, language), *_audit(session, site, language)]
    events.sort(key=lambda event: (event.at, event.seal or (0, "")), reverse=True)
    return list(_folded(events, language))


def _folded(events: Sequence[Event], language: str) -> Iterable[Line]:
    for tone, run in groupby(events, key=lambda event: event.tone if event.quiet else id(event)):
        same = list(run)
        if len(same) < FOLDED:
            yield from (Line(each.title, [each]) for each in same)
            continue
        first, last = (f"{same[end].at.astimezone(CHINA):{DAY}}" for end in (-1, 0))
        yield Line(say(language, f"site_page.folded_{tone}", count=len(same), first=first, last=last), same)


# --- Looks from above -------------------------------------------------------------------------------------


def _looks(session: Session, site: Site, folders: Sequence[Path], language: str) -> Iterable[Event]:
    found = session.scalars(select(Observation).where(Observation.site_id == site.id)).all()
    scenes = {
        row.id: (row, layers(row, folders))
        for row in session.scalars(select(SceneRow).where(SceneRow.id.in_({look.scene for look in found})))
    }
    outline = covers(site)
    view = close_up(outline)
    frame = ("site", view.path(outline, CHIP_PX))
    for look in found:
        scene, shown = scenes.get(look.scene, (None, []))
        found_here = ((look.result, view.path(shape(look.geometry), CHIP_PX)),) if look.geometry else ()
        drawn = (frame, *found_here)
        pictures = tuple(
            Picture(view.chip(scene.id, side, CHIP_PX), _dated(side, scene, language), CHIP_PX, CHIP_PX, drawn)
            for side in SIDES
            if scene is not None and side in shown and look.observed_share > 0
        )
        yield Event(
            at=look.observed_at,
            kind="look",
            title=say(language, f"site_page.look_{look.result}"),
            tone=look.result,
            facts=tuple(_of_look(look, scene, language)),
            pictures=pictures,
            quiet=look.result in ("clear", "not_observed"),
        )


def _dated(side: Layer, scene: SceneRow, language: str) -> str:
    taken = scene.before_at if side == "before" else scene.taken_at
    date = f"{taken.astimezone(CHINA):{DAY}}" if taken else say(language, "fact.unknown")
    return say(language, "site_page.chip", side=word(language, side), date=date)


def _of_look(look: Observation, scene: SceneRow | None, language: str) -> Iterable[str]:
    if look.probability is not None and look.area_m2 is not None:
        area = say(language, "unit.m2", value=f"{look.area_m2:,.0f}")
        yield say(language, "site_page.suspicion", area=area, probability=percent(look.probability))
    yield say(language, "site_page.share", share=percent(look.observed_share, digits=1))
    yield say(language, "site_page.scene", scene=scene.name if scene else look.scene)


# --- What people and the system did -----------------------------------------------------------------------


def _audit(session: Session, site: Site, language: str) -> Iterable[Event]:
    alerts = {f"alert:{each.id}": each for each in session.scalars(select(Alert).where(Alert.site_id == site.id))}
    subjects = (f"site:{site.id}", *alerts)
    for entry in session.scalars(select(AuditEntry).where(AuditEntry.subject.in_(subjects))):
        yield _step(session, entry, alerts.get(entry.subject), language)
    key = json.dumps(site.code, ensure_ascii=False) + ":"
    imports = select(AuditEntry).where(
        AuditEntry.subject == "ledger:import", AuditEntry.detail.contains(key, autoescape=True)
    )
    for entry in session.scalars(imports):
        changed = json.loads(entry.detail)["changes"].get(site.code)
        if changed is not None:
            yield _import(entry, changed, language)


def _step(session: Session, entry: AuditEntry, alert: Alert | None, language: str) -> Event:
    detail = json.loads(entry.detail)
    source, target = detail.get("from"), detail.get("to")
    about = entry.action.partition(".")[0]
    if source and target:
        names = [word(language, code) if about == "site" else _alert_state(code, language) for code in (source, target)]
        title = say(language, f"site_page.{about}_step", source=names[0], target=names[1])
    else:
        key = f"site_page.audit.{entry.action}"
        title = say(language, key) if key in catalogue(language) else entry.action
    facts = []
    if alert is not None:
        area = say(language, "unit.m2", value=f"{alert.area_m2:,.0f}")
        figures = {"area": area, "probability": percent(alert.probability), "looks": alert.looks}
        facts.append(say(language, "site_page.of_alert", kind=word(language, alert.cause), **figures))
    cited = detail.get("evidence", [])
    facts += [_cited(each, language) for each in cited]
    shown = [*cited, {"kind": "photograph", "ref": detail["photograph"]}] if "photograph" in detail else cited
    reason = detail.get("reason")
    return Event(
        at=entry.at,
        kind="photograph" if "photograph" in detail else "step",
        title=title,
        tone=str(target) if about == "site" and target else "",
        who=say(language, "site_page.by_system") if entry.actor == SYSTEM.name else entry.actor,
        quote=_reason(reason, entry, language) if reason else None,
        facts=tuple(facts),
        pictures=tuple(picture for each in shown if (picture := _picture(session, each, language))),
        seal=(entry.number, entry.hash),
    )


def _alert_state(code: str, language: str) -> str:
    return say(language, f"triage.state.{code}")


def _reason(reason: str, entry: AuditEntry, language: str) -> str:
    """What a person wrote; of the system, its reason in words."""
    key = f"site_page.reason_{reason}"
    if not entry.human and key in catalogue(language):
        return say(language, key)
    return told(reason, language)


def _cited(evidence: dict[str, Any], language: str) -> str:
    kind, verdict, at = evidence["kind"], evidence.get("verdict"), evidence.get("at")
    name = say(language, f"site_page.cited_{kind}", ref=evidence["ref"][:40])
    parts = [name]
    if at:
        parts.append(f"{datetime.fromisoformat(at).astimezone(CHINA):{DAY}}")
    if verdict:
        parts.append(say(language, f"site_page.result_{verdict}"))
    return say(language, "site_page.cited", text=say(language, "site_page.comma").join(parts))


def _picture(session: Session, evidence: dict[str, Any], language: str) -> Picture | None:
    """What can still be shown of a cited pair or photograph."""
    if evidence["kind"] == "photograph":
        row = session.get(Photograph, evidence["ref"])
        if row is None:
            return None
        address = f"/api/v1/field/photographs/{row.id}.jpg"
        label = say(language, "site_page.photograph", person=row.taken_by)
        return Picture(address, label, row.width, row.height, link=address)
    pair = session.get(PairRow, evidence["ref"]) if evidence["kind"] == "pair" else None
    if pair is None or not pair.width:
        return None
    names = say(language, "site_page.pair", before=pair.before_name, after=pair.after_name)
    return Picture(f"/api/v1/pairs/{pair.id}/thumb.jpg", names, 320, 120, link=f"/pairs/{pair.id}")


def _import(entry: AuditEntry, changed: dict[str, Any], language: str) -> Event:
    source = json.loads(entry.detail)["source"]
    fresh = "created" in changed
    columns = [] if fresh else [_change(column, values, language) for column, values in sorted(changed.items())]
    return Event(
        at=entry.at,
        kind="import",
        title=say(language, "site_page.imported_new" if fresh else "site_page.imported"),
        who=entry.actor,
        facts=(*columns, say(language, "site_page.import_source", file=source["file"] or "–", crs=source["crs"])),
        seal=(entry.number, entry.hash),
    )


def _change(column: str, values: Sequence[Any], language: str) -> str:
    if column in ("geometry", "west", "south", "east", "north", "radius_m"):
        return say(language, "site_page.moved")
    texts = [say(language, "fact.none") if each is None else word(language, str(each)) for each in values]
    return say(language, "site_page.changed", column=word(language, column), old=texts[0], new=texts[1])
