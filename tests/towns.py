"""A real server with accounts and leads, and people with browsers of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.app import create_app
from service.ledger.audit import SYSTEM
from service.ledger.tables import Alert, Decision
from service.people.accounts import Accounts
from service.people.sessions import Sessions
from service.settings import Settings
from tests.browsing import CAMERA, chromium, served
from tests.leads import Leads, plant
from tests.people import COOKIE, PASSWORD, cheap_passwords, database

NO_LINE = "net::ERR_INTERNET_DISCONNECTED"


@contextmanager
def patient_chromium() -> Iterator[Browser]:
    """A browser with a camera, and patience: a machine with other work is slow at cutting pictures out of scenes."""
    expect.set_options(timeout=60_000)
    with chromium(*CAMERA) as browser:
        yield browser
    expect.set_options(timeout=5_000)


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
        page.on("console", lambda message: self._note(f"console: {message.text} ({message.location['url']})"))
        page.on("pageerror", lambda error: self._note(f"error: {error}"))
        page.on("request", lambda request: self._own(request.url))
        page.goto(self.address + path, wait_until="domcontentloaded")
        return page

    def _note(self, text: str) -> None:
        if NO_LINE not in text:
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


@contextmanager
def open_town(folder: Path, browser: Browser, load: Any) -> Iterator[Town]:
    """Everybody's contexts are closed in the end, and no page may have complained."""
    with ExitStack() as stack:
        stack.enter_context(cheap_passwords())
        engine = stack.enter_context(database(folder))
        leads = plant(engine, folder)
        url = engine.url.render_as_string(hide_password=False)
        app = create_app(Settings(data_dir=folder, database_url=url), load=load)
        address = stack.enter_context(served(app))
        made = Town(address, engine, leads, browser, [])
        try:
            yield made
        finally:
            for context in browser.contexts:
                context.close()
        assert made.complaints == []


def soon(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)
