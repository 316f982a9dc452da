"""Reports from the public (举报): no name, a token to follow, decided by a named person, erased in time.

The token has 128 bits and is shown once; the database has its digest. The audit log has every step and nothing of what
was said, because nothing can be erased from it.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event as Signal
from typing import BinaryIO, Literal

import numpy as np
from sqlalchemy import ColumnElement, Engine, func, select, update
from sqlalchemy.orm import Session, joinedload

from datasets.gcj02 import in_china
from inference.decode import Limits
from service.errors import PersonRequired, SiteNotFound, StateChanged
from service.ledger.audit import SYSTEM, Actor, append, writing
from service.ledger.coordinates import system
from service.ledger.tables import Site, new_id
from service.notify.schedule import Clock, utc_now
from service.public.errors import ReportNotFound, ReportsBusy, ReportUnusable
from service.public.photographs import Photographs
from service.public.tables import GROUNDS, REPORT_STATES, Ground, Report, ReportState
from service.public.throttle import Throttle

log = logging.getLogger("jingdi")

PUBLIC = Actor("public", human=False)
SHORTEST, LONGEST = 5, 2000
LONGEST_PLACE = 200
MAX_WAITING = 1000
"""So many reports may wait for a person; what comes then is refused, so that nobody can fill the disk."""
ERASE_EVERY_S = 3600.0
PointSystem = Literal["WGS-84", "GCJ-02", "BD-09"]
POINT_SYSTEMS: tuple[PointSystem, ...] = ("WGS-84", "GCJ-02", "BD-09")
_TOKEN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Said:
    """What a report says. `point` is longitude and latitude in WGS-84."""

    text: str
    street: str | None = None
    place: str | None = None
    point: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph as it arrives."""

    name: str
    stream: BinaryIO


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person makes of a report. `linked` takes a site, `dismissed` a ground."""

    target: ReportState
    site_code: str = ""
    ground: Ground | None = None
    note: str = ""


def said(text: str, street: str = "", place: str = "", lon: str = "", lat: str = "", crs: str = "") -> Said:
    """The fields of the form, checked.

    Raises:
        ReportUnusable: one of them cannot be used.
    """
    text, place = _plain(text), " ".join(_plain(place).split())
    if not SHORTEST <= len(text) <= LONGEST:
        raise ReportUnusable("report_text")
    if len(place) > LONGEST_PLACE:
        raise ReportUnusable("report_place")
    return Said(text, street[:64] or None, place or None, _point(lon.strip(), lat.strip(), crs))


def _plain(text: str) -> str:
    """Text without control characters other than line feeds."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in lines if c == "\n" or unicodedata.category(c) not in ("Cc", "Cs")).strip()


def _point(lon: str, lat: str, crs: str) -> tuple[float, float] | None:
    if not lon and not lat:
        return None
    if crs not in POINT_SYSTEMS:
        raise ReportUnusable("report_system")
    try:
        given = np.array([[float(lon), float(lat)]])
    except ValueError:
        raise ReportUnusable("report_point") from None
    if not (np.isfinite(given).all() and in_china(given).all()):  # exchanged ones are not in China
        raise ReportUnusable("report_point")
    found = system(crs).to_wgs84(given)[0]
    return round(float(found[0]), 5), round(float(found[1]), 5)


@dataclass(frozen=True, slots=True)
class Reports:
    """The reports of one service."""

    engine: Engine
    photographs: Photographs
    throttle: Throttle = field(default_factory=Throttle)
    clock: Clock = utc_now

    def receive(self, given: Said, photograph: Photograph | None, limits: Limits, address: str) -> str:
        """Keep a report, and nothing of where it came from.

        Args:
            address: of who sends it, for the pace alone.

        Returns:
            The token to follow it with, which is nowhere else.

        Raises:
            ReportsBusy: too many, from there or at all.
            InputError: the photograph cannot be used. Nothing was kept.
        """
        now, token, report_id = self.clock(), secrets.token_hex(16), new_id()
        if self.count()["received"] >= MAX_WAITING:
            raise ReportsBusy(ERASE_EVERY_S)
        self.throttle.enter(address, now)
        if photograph is not None:
            self.photographs.keep(report_id, photograph.stream, photograph.name, limits)
        lon, lat = given.point or (None, None)
        try:
            with writing(self.engine) as session:
                session.add(
                    Report(
                        id=report_id, token_digest=_digest(token), received_at=now, text=given.text,
                        street=given.street, place=given.place, lon=lon, lat=lat,
                        photographed=photograph is not None, state="received",
                    )
                )  # fmt: skip
                detail = {"photograph": photograph is not None, "point": given.point is not None}
                append(session, PUBLIC, "report.received", f"report:{report_id}", detail, now)
        except BaseException:
            self.photographs.remove(report_id)
            raise
        return token

    def follow(self, token: str) -> Report:
        """The report with this token; spaces and hyphens in it are passed over.

        Raises:
            ReportNotFound: there is none.
        """
        plain = re.sub(r"[\s-]", "", token).lower()
        if not _TOKEN.fullmatch(plain):
            raise ReportNotFound
        return self._one(Report.token_digest == _digest(plain))

    def get(self, report_id: str) -> Report:
        """The report with this id.

        Raises:
            ReportNotFound: there is none.
        """
        return self._one(Report.id == report_id)

    def _one(self, condition: ColumnElement[bool]) -> Report:
        with Session(self.engine, expire_on_commit=False) as session:
            report = session.scalar(select(Report).where(condition).options(joinedload(Report.site)))
        if report is None:
            raise ReportNotFound
        return report

    def count(self) -> Mapping[ReportState, int]:
        """How many reports are in each state."""
        with Session(self.engine) as session:
            rows = session.execute(select(Report.state, func.count()).group_by(Report.state))
            found = dict(rows.all())
        return {state: found.get(state, 0) for state in REPORT_STATES}

    def page(self, state: ReportState | None, limit: int, offset: int = 0) -> Sequence[Report]:
        """Reports in a state, or all; those that wait longest come first, otherwise the newest."""
        order = Report.received_at if state == "received" else Report.received_at.desc()
        query = select(Report).options(joinedload(Report.site)).order_by(order, Report.id).limit(limit).offset(offset)
        with Session(self.engine, expire_on_commit=False) as session:
            return session.scalars(query if state is None else query.where(Report.state == state)).all()

    def decide(self, report_id: str, version: str, decision: Decision, actor: Actor) -> None:
        """A named person decides, or decides otherwise than before.

        Args:
            version: `version` of the report as the person saw it.

        Raises:
            ReportNotFound, SiteNotFound: there is none.
            PersonRequired: nobody is named.
            ReportUnusable: a dismissal without a ground, or no decision.
            StateChanged: somebody decided in the meantime.
        """
        if not actor.person:
            raise PersonRequired
        if decision.target not in ("linked", "inspection", "dismissed"):
            raise ReportUnusable("report_decision")
        if decision.target == "dismissed" and decision.ground not in GROUNDS:
            raise ReportUnusable("report_ground")
        now, code = self.clock(), decision.site_code.strip()
        ground = decision.ground if decision.target == "dismissed" else None
        with writing(self.engine) as session:
            report = session.get(Report, report_id)
            if report is None:
                raise ReportNotFound
            if report_version(report) != version:
                raise StateChanged
            site = session.scalar(select(Site).where(Site.code == code)) if code else None
            if site is None and (code or decision.target == "linked"):
                raise SiteNotFound
            before, note = report.state, _plain(decision.note)[:LONGEST] or None
            values = {"state": decision.target, "site_id": site.id if site else None, "ground": ground, "note": note}
            session.execute(
                update(Report).where(Report.id == report_id).values(**values, decided_by=actor.name, decided_at=now)
            )
            detail = {"from": before, "to": decision.target, "site": site.code if site else None, "ground": ground}
            append(session, actor, f"report.{decision.target}", f"report:{report_id}", detail, now)

    def erase(self, days: int) -> int:
        """Delete what was said, where, and the photographs, of reports received more than `days` days ago."""
        now = self.clock()
        old = select(Report.id).where(Report.received_at < now - timedelta(days=days), Report.erased_at.is_(None))
        with Session(self.engine) as session:
            found = session.scalars(old).all()
            self.photographs.sweep(set(session.scalars(select(Report.id))))
        for report_id in found:
            self.photographs.remove(report_id)
            with writing(self.engine) as session:
                nothing = {"text": "", "street": None, "place": None, "lon": None, "lat": None, "note": None}
                session.execute(
                    update(Report).where(Report.id == report_id).values(**nothing, photographed=False, erased_at=now)
                )
                append(session, SYSTEM, "report.erased", f"report:{report_id}", {"days": days}, now)
        return len(found)


def report_version(report: Report) -> str:
    """Another one after every decision."""
    return report.decided_at.isoformat() if report.decided_at else "new"


def keep_erasing(reports: Reports, days: int, stop: Signal) -> None:
    """Erase what is old enough, every hour until `stop` is set."""
    while not stop.is_set():
        try:
            reports.erase(days)
        except Exception:
            log.exception("old reports could not be erased; tried again in an hour")
        stop.wait(ERASE_EVERY_S)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
