"""A reviewer's day in a real browser: the next lead is there at once, decisions can be taken back, and none is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.app import create_app
from service.ledger.audit import SYSTEM
from service.ledger.tables import Alert, Decision
from service.people.accounts import Accounts
from service.people.sessions import Sessions
from service.settings import Settings
from service.triage.tables import Proposal
from tests.leads import Leads, plant
from tests.people import COOKIE, PASSWORD, cheap_passwords, database
from tests.test_browser import CHROMIUM

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
OFFLINE = "net::ERR_INTERNET_DISCONNECTED"


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    """Pictures are cut out of scenes for every lead; a machine that does other things besides is slow at it."""
    expect.set_options(timeout=60_000)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*arguments, *camera])
        yield browser
        browser.close()


@dataclass
class Town:
    """A real server with accounts, and leads on closed sites."""

    address: str
    engine: Engine
    leads: Leads
    browser: Browser
    complaints: list[str]

    def visit(self, name: str, path: str, *, role: Any = "reviewer", locale: str = "zh-CN", **options: Any) -> Page:
        """A page of somebody who is signed in."""
        accounts = Accounts(self.engine)
        if name not in [each.name for each in accounts.all()]:
            accounts.add(SYSTEM, name, name.title(), [role])
            accounts.choose(name, PASSWORD)
        options.setdefault("viewport", {"width": 1440, "height": 900})
        context = self.browser.new_context(locale=locale, **options)
        token = Sessions(self.engine).open(name)
        context.add_cookies([{"name": COOKIE, "value": token, "url": self.address}])
        return self.open(context, path)

    def open(self, context: BrowserContext, path: str) -> Page:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: self._note(f"console: {message.text}"))
        page.on("pageerror", lambda error: self._note(f"error: {error}"))
        page.on("request", lambda request: self._own(request.url))
        page.goto(self.address + path, wait_until="domcontentloaded")
        return page

    def _note(self, text: str) -> None:
        if OFFLINE not in text:
            self.complaints.append(text)

    def _own(self, url: str) -> None:
        if not url.startswith((f"{self.address}/", f"blob:{self.address}/")):
            self.complaints.append(f"request: {url}")

    def state(self, alert_id: str) -> str:
        with Session(self.engine) as session:
            return session.get_one(Alert, alert_id).state

    def decisions(self) -> list[tuple[str, str]]:
        """(who, whereto) of all decisions on alerts."""
        with Session(self.engine) as session:
            rows = session.execute(
                select(Decision.actor, Decision.target)
                .where(Decision.alert_id.is_not(None))
                .order_by(Decision.decided_at)
            )
            return [(row.actor, row.target) for row in rows]


@pytest.fixture
def town(tmp_path: Path, red: Any, browser: Browser) -> Iterator[Town]:
    with ExitStack() as stack:
        stack.enter_context(cheap_passwords())
        engine = stack.enter_context(database(tmp_path))
        leads = plant(engine, tmp_path)
        url = engine.url.render_as_string(hide_password=False)
        app = create_app(Settings(data_dir=tmp_path, database_url=url), load=lambda: red)
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        made = Town(f"http://127.0.0.1:{port}", engine, leads, browser, [])
        try:
            yield made
        finally:
            for context in browser.contexts:
                context.close()
            server.should_exit = True
            thread.join()
        assert made.complaints == []


def soon(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def shown(page: Page) -> str:
    return page.locator(".lead-card").get_attribute("data-site") or ""


def ready(page: Page) -> None:
    """The cards beside the one shown are there, with their pictures."""
    page.wait_for_load_state("networkidle")
    expect(page.locator(".lead-card")).to_have_count(1)


def test_the_next_lead_is_there_without_a_request(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    assert shown(page) == "L1"
    page.context.set_offline(True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    took = page.evaluate("""() => new Promise((resolve) => {
        const began = performance.now();
        new MutationObserver((_, observer) => {
            observer.disconnect();
            requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - began)));
        }).observe(document.getElementById("stage"), { childList: true });
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
    })""")
    assert shown(page) == "L2"
    drawn = page.locator(".lead-card img").evaluate_all("images => images.map((i) => i.complete && i.naturalWidth)")
    assert drawn == [512, 512]
    page.keyboard.press("k")
    assert shown(page) == "L1"
    assert [url for url in asked if "/triage/" in url and town.leads.alerts[1] in url] == []
    with capsys.disabled():
        print(f"\nJ shows the next lead in {took:.0f} ms (two frames included)")


def test_the_line_moves_and_the_dates_blink(town: Town) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    slider = page.get_by_role("slider", name="整治前与整治后的分界线")
    slider.focus()
    slider.press("ArrowLeft")
    assert slider.input_value() == "49"
    frame = page.locator(".look:not([hidden]) .frame")
    page.keyboard.press("b")
    expect(frame).to_have_attribute("data-shows", "before")
    expect(frame).to_have_attribute("data-shows", "after")
    page.keyboard.press("b")
    expect(frame).not_to_have_attribute("data-shows", "after")
    outline, picture = page.locator(".look:not([hidden]) .outline").bounding_box(), frame.bounding_box()
    assert outline is not None
    assert picture is not None
    assert outline["width"] > 0.1 * picture["width"]


def test_a_decision_is_held_shown_and_taken_back(town: Town) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    page.keyboard.press("a")
    expect(page.locator("#pending li")).to_contain_text("L1：属实")
    expect(page.locator("#pending li")).to_contain_text("秒后提交")
    assert shown(page) == "L2"
    page.keyboard.press("z")
    expect(page.locator("#pending li")).to_have_count(0)
    expect(page.locator(".lead-card")).to_have_attribute("data-site", "L1")
    page.wait_for_timeout(300)
    assert town.decisions() == []


def test_a_decision_is_sent_after_a_while(town: Town) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    page.keyboard.press("a")
    soon(lambda: town.decisions() == [("wang", "corroborated")])
    assert shown(page) == "L2"


def test_leaving_the_page_loses_nothing_and_coming_back_acts_once(town: Town) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    page.keyboard.press("a")
    expect(page.locator("#pending li")).to_have_count(1)
    page.goto(town.address + "/")
    soon(lambda: town.decisions() == [("wang", "corroborated")])
    page.goto(town.address + "/triage")
    expect(page.locator("#pending li")).to_have_count(0)  # the answer is known by now
    page.wait_for_timeout(500)
    assert town.decisions() == [("wang", "corroborated")]


def test_without_a_line_a_decision_waits_and_is_sent_when_there_is_one(town: Town) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    page.context.set_offline(True)
    page.keyboard.press("a")
    expect(page.locator("#pending li")).to_contain_text("尚未送达")
    assert town.decisions() == []
    page.context.set_offline(False)
    soon(lambda: town.decisions() == [("wang", "corroborated")])


def test_a_rejection_names_its_reason_and_waits_for_another_person(town: Town) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    page.keyboard.press("r")
    expect(page.locator("#why")).to_be_visible()
    expect(page.locator("#why")).to_contain_text("须由两人驳回")
    page.keyboard.press("7")
    page.locator("#why button[type=submit]").click()
    expect(page.locator("#why")).to_be_visible()  # 「其他」needs words
    page.locator("#why textarea").fill("看不清")
    page.locator("#why textarea").press("Tab")
    page.locator("#why button[type=submit]").click()
    expect(page.locator("#pending li")).to_contain_text("L1：驳回（其他）")
    expect(page.locator("#pending li")).to_contain_text("等另一人复核")
    with Session(town.engine) as session:
        assert session.scalars(select(Proposal.reason)).one() == "other: 看不清"

    other = town.visit("li", "/triage")
    expect(other.locator(".proposal")).to_contain_text("wang")
    expect(other.locator(".proposal")).to_contain_text("其他: 看不清")
    assert shown(other) == "L1"
    other.keyboard.press("r")
    other.keyboard.press("1")
    other.keyboard.press("Enter")
    soon(lambda: town.decisions() == [("li", "dismissed")])


def test_somebody_else_was_first_and_that_is_said(town: Town) -> None:
    first, second = town.visit("wang", "/triage"), town.visit("li", "/triage")
    for page in (first, second):
        ready(page)
        page.keyboard.press("a")
    entry = second.locator("#pending li")
    soon(lambda: len(town.decisions()) == 1)
    loser = second if town.decisions()[0][0] == "wang" else first
    entry = loser.locator("#pending li")
    expect(entry).to_contain_text("状态已经变了")
    entry.get_by_role("button", name="知道了").click()
    expect(entry).to_have_count(0)
    assert [text for text in town.complaints if "409" not in text] == []
    town.complaints.clear()  # the browser notes every 4xx in its console


def test_skipping_ends_with_the_skipped_and_the_last_decision_with_a_word(town: Town) -> None:
    page = town.visit("wang", "/triage")
    ready(page)
    order = []
    for key in "sss":
        order.append(shown(page))
        page.keyboard.press(key)
        page.wait_for_load_state("networkidle")
    expect(page.locator(".position")).to_have_text("第 1 条，共 5 条")
    assert order == ["L1", "L2", "L3"]
    for _ in range(5):
        page.keyboard.press("a")
        page.wait_for_timeout(100)
        page.wait_for_load_state("networkidle")
    expect(page.get_by_text("全部看完了")).to_be_visible()
    page.keyboard.press("z")
    expect(page.locator(".lead-card")).to_have_count(1)


def test_keys_are_explained_and_leave_fields_alone(town: Town) -> None:
    page = town.visit("wang", "/triage", locale="en-GB")
    ready(page)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_contain_text("held for 8 seconds")
    page.keyboard.press("a")
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    expect(page.locator("#pending li")).to_have_count(0)
    page.keyboard.press("r")
    page.locator("#why textarea").fill("jaz")
    expect(page.locator("#why textarea")).to_have_value("jaz")
    assert shown(page) == "L1"


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_moves_and_nothing_is_wider_than_the_screen(town: Town, width: int) -> None:
    page = town.visit("wang", "/triage", viewport={"width": width, "height": 844})
    ready(page)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    shift = page.evaluate("""() => new Promise((resolve) => {
        let total = 0;
        new PerformanceObserver((list) => list.getEntries().forEach((entry) => (total += entry.value)))
            .observe({ type: "layout-shift", buffered: true });
        setTimeout(() => resolve(total), 300);
    })""")
    assert shift < 0.02
