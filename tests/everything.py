"""A served application with something on every page, and how each page is reached."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

from fastapi import FastAPI
from playwright.sync_api import Page
from sqlalchemy.orm import Session

from datasets.raster import Raster
from inference.compare import Asked
from inference.decode import Limits
from inference.findings import Assessment
from service.app import create_app
from service.comparisons import Progress
from service.database import PairRow
from service.intake import Intake, Upload
from service.ledger.audit import SYSTEM, writing
from service.people.accounts import Accounts
from service.people.rights import Role
from service.people.sessions import Sessions
from service.public.reports import said
from service.public.throttle import Pace
from service.settings import Settings
from tests.browsing import Visit, served
from tests.conftest import see_red
from tests.leads import dispatch, plant
from tests.ledgers import site
from tests.people import COOKIE, PASSWORD, cheap_passwords
from tests.printed import add_scene, close, look
from tests.reporting import TEXT
from tests.test_bulletin import opened
from tests.test_photographs_api import AFTER, BEFORE, see

RITA = "rita"
PAIRS = ("found", "refused", "photographs", "running", "failed")
_numbers = itertools.count(1)
_LEDGER = (
    "点位编号,院编号,院名称,点位名称,责任系统,占地面积（亩）,建筑面积,经度,纬度,半径\n"
    "N{number},Y9,九号院,新点位,国资系统,3,100,116.3,39.91,25\nB{number},Y9,九号院,坏行,国资系统,三,100,116.3,39.91,25\n"
)


def _see_both(before: Raster, after: Raster, asked: Asked, progress: Progress) -> Assessment:
    return (see if asked.kind == "photos" else see_red)(before, after, asked, progress)


@dataclass(frozen=True)
class Way:
    """How a page is reached.

    Attributes:
        path: its address, or that of the page from which `then` leads to it.
        then: what is done there.
        stranger: opened by somebody who is not signed in.
        status: of the page, where the browser notes it in its console.
        asks: its script fetches more once the page is there.
    """

    path: str
    then: Callable[[Page], None] | None = None
    stranger: bool = False
    status: int = 200
    asks: bool = False


@dataclass(frozen=True)
class Everything:
    """A served application. `cookie` is that of Rita; `pairs` are ids by what became of them."""

    app: FastAPI
    address: str
    cookie: Mapping[str, Any]
    pairs: Mapping[str, str]

    def window(self, visit: Visit, *, stranger: bool) -> Page:
        """A window, of Rita or of a stranger."""
        cookies = [] if stranger else [self.cookie]
        state: Any = {"cookies": cookies, "origins": []}
        return visit.page("/public/report/status", storage_state=state, reduced_motion="reduce")

    def go(self, page: Page, name: str) -> None:
        """To a page, until it is all there."""
        way = WAYS[name]
        page.goto(self.address + way.path.format(**self.pairs))
        if way.then:
            way.then(page)
        if way.asks:
            page.wait_for_load_state("networkidle")


@contextmanager
def everything(folder: Path, before: bytes, after: bytes) -> Iterator[Everything]:
    """Leads, a ledger, comparisons of each kind, reports, and Rita, who may do everything."""
    app = create_app(Settings(data_dir=folder, public="on"), load=lambda: _see_both)
    with cheap_passwords(), served(app) as address:
        parts = app.state.services
        engine, intake = parts.pairs.engine, parts.intake
        parts.reports.throttle.one = Pace(1000, timedelta(seconds=1))
        pairs = {
            "found": _submit(intake, before, after, "overhead", 0.5),
            "refused": _submit(intake, before, before, "overhead", None),
            "photographs": _submit(intake, BEFORE, AFTER, "photos", None),
        }
        for alert in plant(engine, folder).alerts[:2]:
            dispatch(engine, alert)
        at = datetime.now(UTC) - timedelta(days=3)
        with writing(engine) as session:
            for number in range(46):  # with those of the leads a page, and some on the next
                site(session, f"S{number:03d}", y=-400.0 - 100 * number, street="八角街道")
            seen = opened(session, "SEEN", x=0.0)
            add_scene(session, seen, folder / "scenes", "night", at)
            close(session, seen, at, [look(session, seen, at, scene="night")])
        with Session(engine) as session, session.begin():
            for status, error in (("running", None), ("failed", "internal")):
                pairs[status] = status.ljust(32, "0").translate(str.maketrans("gilnru", "012345"))
                session.add(
                    PairRow(
                        id=pairs[status], created_at=at, status=status, progress=0.4, stage="score", error_code=error,
                        before_name="整治前.tif", after_name="整治后.tif", kind="overhead",
                    )
                )  # fmt: skip
        accounts = Accounts(engine)
        accounts.add(SYSTEM, RITA, "Rita", get_args(Role))
        accounts.choose(RITA, PASSWORD)
        cookie = {
            "name": COOKIE, "value": Sessions(engine).open(RITA), "domain": "127.0.0.1", "path": "/", "expires": -1,
            "httpOnly": True, "secure": False, "sameSite": "Lax",
        }  # fmt: skip
        parts.reports.receive(said(TEXT, "", "", "116.2003", "39.9003", "WGS-84"), None, Limits(), "192.0.2.1")
        _settle(parts.pairs, [pairs[name] for name in ("found", "refused", "photographs")])
        yield Everything(app, address, cookie, pairs)


def _submit(intake: Intake, before: bytes, after: bytes, kind: Any, gsd: float | None) -> str:
    files = (Upload(f"{name}.png", io.BytesIO(content)) for name, content in (("before", before), ("after", after)))
    return intake.submit(*files, gsd, Asked(kind, None)).id


def _settle(pairs: Any, ids: list[str]) -> None:
    deadline = time.monotonic() + 60
    while not all(pairs.get(each).status == "done" for each in ids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _press(key: str) -> Callable[[Page], None]:
    def then(page: Page) -> None:
        page.locator(".lead-card").wait_for()
        page.keyboard.press(key)
        page.locator("dialog[open]").wait_for()

    return then


def _click(selector: str) -> Callable[[Page], None]:
    def then(page: Page) -> None:
        page.locator(selector).first.click()
        page.locator("dialog[open]").wait_for()

    return then


def _no_file(page: Page) -> None:
    page.locator("form[enctype] button").click()


def _dry_run(page: Page) -> None:
    content = _LEDGER.format(number=next(_numbers)).encode()
    page.locator("#file").set_input_files({"name": "台账.csv", "mimeType": "text/csv", "buffer": content})
    page.locator('[name="crs"][value="WGS-84"]').check()
    page.locator("form[enctype] button").click()
    page.wait_for_url("**/ledger/import/*")


def _imported(page: Page) -> None:
    _dry_run(page)
    page.locator("main form button").click()
    page.wait_for_load_state()


def _first_report(page: Page) -> None:
    page.locator('main a[href^="/reports/"]').first.click()
    page.wait_for_url("**/reports/*")


def _wrong_password(page: Page) -> None:
    page.locator('[name="name"]').fill(RITA)
    page.locator('[name="password"]').fill("wrong")
    page.locator("main form button").click()
    page.wait_for_load_state()


def _short_report(page: Page) -> None:
    page.locator("#text").fill("短")
    with page.expect_navigation():
        page.locator("main form").evaluate("form => { form.noValidate = true; form.requestSubmit(); }")


def _reported(page: Page) -> None:
    page.locator("#text").fill(TEXT)
    page.locator("main form [type=submit]").click()
    page.wait_for_url("**/received")


def _followed(page: Page) -> None:
    _reported(page)
    token = page.locator(".token code").inner_text()
    page.goto(page.url.replace("/received", "/status"))
    page.locator("#token").fill(token)
    page.locator("main form button").click()
    page.locator(".outcome").wait_for()


def _corrected(page: Page) -> None:
    """One accepted, one rejected, one drawn, and one whose outline is being drawn anew."""
    rows = page.locator(".panel .finding")
    for row, key in ((0, "a"), (1, "r")):
        rows.nth(row).focus()
        rows.nth(row).click()
        page.keyboard.press(key)
    page.locator('[data-do="draw"]').click()
    page.locator(".editor .here").press("Enter")
    page.locator(".editor .corner").first.press("Enter")
    page.locator('.review-state[data-state="saved"]').wait_for()
    rows.nth(2).click()
    page.keyboard.press("e")
    page.locator(".editor .corner").first.wait_for()
    page.locator('[data-zoom="fit"]').click()  # axe takes what lies outside of a frame for something over the text


WAYS: Mapping[str, Way] = {
    "start": Way("/"),
    "batch": Way("/batch"),
    **{f"pair: {name}": Way(f"/pairs/{{{name}}}") for name in PAIRS},
    "pair: corrected": Way("/pairs/{found}", _corrected),
    "shoot": Way("/shoot/{photographs}"),
    "pick": Way("/scenes"),
    "pick: a site": Way("/scenes?site=L1"),
    "district_map": Way("/map", asks=True),
    "district_map: site and night": Way("/map?site=L1&night=2026-03-01", asks=True),
    "triage": Way("/triage", asks=True),
    "triage: why not": Way("/triage", _press("r"), asks=True),
    "triage: keys": Way("/triage", _press("?"), asks=True),
    "field": Way("/field", asks=True),
    "field: camera": Way("/field", _click(".shoot-button"), asks=True),
    "field: verdict": Way("/field", _click(".real"), asks=True),
    "ledger": Way("/ledger?page=2"),
    "ledger_import": Way("/ledger/import"),
    "ledger_import: refused": Way("/ledger/import", _no_file, status=422),
    "ledger_tried": Way("/ledger/import", _dry_run),
    "ledger_tried: written": Way("/ledger/import", _imported),
    "site": Way("/sites/L1"),
    "bulletin": Way("/bulletin"),
    "reports": Way("/reports"),
    "report": Way("/reports", _first_report),
    "password": Way("/password"),
    "error": Way("/nowhere", status=404),
    "login": Way("/login", stranger=True),
    "login: refused": Way("/login", _wrong_password, stranger=True, status=403),
    "public_ledger": Way("/public?page=2", stranger=True),
    "public_accuracy": Way("/public/accuracy", stranger=True),
    "public_report": Way("/public/report", stranger=True),
    "public_report: refused": Way("/public/report", _short_report, stranger=True, status=422),
    "public_report_received": Way("/public/report", _reported, stranger=True),
    "public_report_status": Way("/public/report/status", stranger=True),
    "public_report_status: found": Way("/public/report", _followed, stranger=True),
}
"""To each page, by the name of its function and what is shown there."""
