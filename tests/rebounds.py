"""Two nights over a generated district: what was built on closed sites, on open ones and outside, and what misleads.

5 structures on closed sites, 3 on open ones, 20 outside the ledger, all seen in both nights; and 30 distractors on
closed sites: 10 seen in one night only, 6 too weak, 6 that a person has dismissed before, 4 in another place in
the second night, 4 structures that went.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from service.database import connect
from service.ledger import fixture, rebound
from service.ledger.audit import verify, writing
from service.ledger.coordinates import local_metres
from service.ledger.schemas import ScanIn
from service.ledger.tables import Alert, Candidate, Observation, Site
from service.ledger.watch import Scan
from service.notify.tables import ChannelName
from tests.fakes_notify import (
    Killable,
    Mood,
    Receiver,
    World,
    fast_clock,
    http_receiver,
    make_sender,
    smtp_receiver,
)
from tests.ledgers import dismiss

PLANTED, OPEN, OUTSIDE = 5, 3, 20
BUDGET = 20
SPEED = 60.0
FAULTS: dict[ChannelName, Mood] = {
    "email": "500", "webhook": "timeout", "wecom": "errcode", "dingtalk": "500", "feishu": "429",
}  # fmt: skip
"""How each receiver fails, a third of the time."""
PARTS, DONE = ("first night", "second night", "sending"), (2, len(FAULTS) * PLANTED)
_WINDOW_S = 0.1
EARLIER = datetime(2017, 7, 1, 2, 0, tzinfo=UTC)
NIGHTS = (EARLIER + timedelta(days=1), EARLIER + timedelta(days=2))
_METRES = local_metres(*fixture.CENTRE)
_SIDE_M, _CELL_M = 8.0, 230.0


@dataclass
class District:
    """The ledger and what is seen of it.

    Attributes:
        rebounds: codes of the closed sites that something was built on.
        scans: what the two nights show, as the interface takes it.
    """

    rebounds: set[str]
    scans: list[dict[str, Any]]


def build(engine: Engine, closed: int, seed: int) -> District:
    """Load the ledger, plant everything, and have a person dismiss what was dismissed before."""
    fixture.load(engine, closed=closed)
    with Session(engine) as session:
        sites = list(session.scalars(select(Site)))
    random.Random(seed).shuffle(sites)
    wide = (site for site in sites if site.state == "watched" and site.radius_m is None and site.land_m2 > 1600)
    on_closed = islice(wide, PLANTED + 30)
    take: Callable[[int], list[Site]] = lambda count: list(islice(on_closed, count))  # noqa: E731
    planted, once, weak, dismissed, moved, gone = map(take, (PLANTED, 10, 6, 6, 4, 4))
    still_open = [site for site in sites if site.state == "open"][:OPEN]
    earlier, first, second = [_found(site) for site in dismissed], [], []
    for site in planted + still_open + dismissed:
        first.append(_found(site))
        second.append(_found(site, shift_m=1.0))
    for number, site in enumerate(once):
        (first, second)[number % 2].append(_found(site))
    for night in (first, second):
        night += [_found(site, probability=0.2) for site in weak]
        night += [_found(site, kind="removed") for site in gone]
        night += [_square(_CELL_M * (cell % 10 + 0.5), _CELL_M * (cell // 10 + 0.5)) for cell in range(OUTSIDE)]
    for site in moved:
        first.append(_found(site, shift_m=-9.0))
        second.append(_found(site, shift_m=9.0))
    _dismiss(engine, _scan("earlier", EARLIER, earlier))
    scans = [_scan(f"night-{n}", at, found) for n, (at, found) in enumerate(zip(NIGHTS, (first, second), strict=True))]
    return District({site.code for site in planted}, scans)


def _scan(scene: str, at: datetime, found: list[dict[str, Any]]) -> dict[str, Any]:
    everywhere = _METRES.import_geometry(shape({"type": "Point", "coordinates": (0, 0)}).buffer(8000, cap_style=3))
    findings = {"type": "FeatureCollection", "features": found}
    return {"scene": scene, "taken_at": at.isoformat(), "findings": findings, "coverage": mapping(everywhere)}


def _found(site: Site, *, shift_m: float = 0.0, **properties: Any) -> dict[str, Any]:
    """Something in the middle of a site, or so many metres east of there."""
    middle = _METRES.export_geometry(shape(site.geometry).centroid)
    return _square(middle.x + shift_m, middle.y, **properties)


def _square(x: float, y: float, kind: str = "new", probability: float = 0.9) -> dict[str, Any]:
    outline = shape({"type": "Point", "coordinates": (x, y)}).buffer(_SIDE_M / 2, cap_style=3)
    properties = {"kind": kind, "probability": probability, "area_m2": _SIDE_M**2}
    return {"type": "Feature", "properties": properties, "geometry": _in_degrees(outline)}


def _in_degrees(outline: BaseGeometry) -> Mapping[str, Any]:
    geometry: Mapping[str, Any] = mapping(_METRES.import_geometry(outline))
    return geometry


def _dismiss(engine: Engine, scan: dict[str, Any]) -> None:
    taken = rebound.take_in(engine, read(scan), BUDGET, at=EARLIER)
    with writing(engine) as session:
        for alert_id in taken.outcome.opened:
            alert = session.get_one(Alert, alert_id)
            dismiss(session, alert, reason="库房，已登记", at=EARLIER)


def read(scan: dict[str, Any]) -> Scan:
    """As it comes in over HTTP."""
    return ScanIn.model_validate(json.loads(json.dumps(scan))).scan


def watch_and_send(url: str, smtp_port: int, scans: str, workers: int) -> None:
    """The whole way: send what is in the outbox, and take both nights in meanwhile. Runs in a `Killable`."""
    sender, engine = make_sender(url, smtp_port, SPEED, 300), connect(url)
    options = {"workers": workers, "poll_s": 0.02}
    threading.Thread(target=sender.run, args=(threading.Event(),), kwargs=options).start()
    for scan in json.loads(Path(scans).read_bytes()):
        rebound.take_in(engine, read(scan), BUDGET, at=fast_clock(SPEED))
    threading.Event().wait()


@dataclass
class Run:
    """One way through. `kills` says how often it was killed before it was done, by the part it had begun with."""

    district: District
    receivers: dict[str, Receiver]
    kills: dict[str, int]


@contextmanager
def receiving(world: World) -> Iterator[tuple[dict[str, Receiver], int]]:
    """The five servers, each with a subscription to all of the alerts; and the port of the one for mail."""
    receivers = {name: Receiver(mood, 1 / 3, speed=SPEED) for name, mood in FAULTS.items()}
    with ExitStack() as stack:
        port = stack.enter_context(smtp_receiver(receivers["email"]))
        world.channels["email"] = make_sender("sqlite://", port, 1, 1).channels["email"]
        for name, receiver in receivers.items():
            there = "wang@example.org"
            if name != "email":
                there = stack.enter_context(http_receiver(name, receiver))
            world.subscribe(there, name)
        yield receivers, port


def run(world: World, folder: Path, *, closed: int, kills: int, seed: int, wait_s: float) -> Run:
    """Take both nights in and send, in a process that is killed up to `kills` times before it is done.

    Args:
        wait_s: after how many seconds without a kill it has to be done.
    """
    moment = random.Random(seed)
    found = Run(build(world.engine, closed, seed), {}, dict.fromkeys(PARTS, 0))
    scans = folder / "scans.json"
    scans.write_text(json.dumps(found.district.scans), "utf-8")
    with receiving(world) as (found.receivers, port):
        process = Killable("tests.rebounds:watch_and_send", world.url, port, str(scans), 3)
        try:
            window_s, before = _WINDOW_S, progress(world)
            while sum(found.kills.values()) < kills and before != DONE:
                process.start()
                time.sleep(moment.uniform(0, window_s))
                process.kill()
                world.end_leases()
                after = progress(world)
                window_s = window_s * 1.25 if after == before else _WINDOW_S  # however slow the machine is
                if after != DONE:
                    found.kills[PARTS[before[0]]] += 1
                before = after
            process.start()
            deadline = time.monotonic() + wait_s
            while progress(world) != DONE and time.monotonic() < deadline:
                time.sleep(0.05)
            process.kill()
        finally:
            process.close()
    return found


def progress(world: World) -> tuple[int, int]:
    """How many nights were taken in, and how many messages sent."""
    nights = select(func.count(Observation.scene.distinct())).where(Observation.scene.startswith("night-"))
    with Session(world.engine) as session:
        return session.scalar(nights) or 0, len(world.messages("sent"))


def check(world: World, found: Run) -> None:
    """Exactly the planted rebounds became alerts; each reached each receiver under one id; the audit log holds."""
    rebounds = found.district.rebounds
    with Session(world.engine) as session:
        states = session.execute(select(Site.code, Alert.state, Alert.looks).join(Alert.site)).all()
        assert {code for code, state, _ in states if state == "dispatched"} == rebounds
        assert {looks for _, state, looks in states if state == "dispatched"} == {2}
        assert sorted(state for _, state, _ in states) == (
            ["dismissed"] * 6 + ["dispatched"] * PLANTED + ["suspected"] * 14
        )
        assert session.scalar(select(func.count()).select_from(Candidate)) == OUTSIDE
        assert verify(session).problem is None
    assert [message.state for message in world.messages()] == ["sent"] * len(FAULTS) * PLANTED
    for name, receiver in found.receivers.items():
        told: dict[str, set[str]] = {}
        for message_id, text in receiver.accepted:
            (code,) = {code for code in rebounds if code in text}
            told.setdefault(code, set()).add(message_id)
        assert {code: len(ids) for code, ids in told.items()} == dict.fromkeys(rebounds, 1), name
        assert len(receiver.ids) == PLANTED, name
