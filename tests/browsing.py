"""Shared by tests in a real browser: the browser, a running server, visits, and what is measured in a page."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.base import AXE_SCRIPT
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")

CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
"""A camera that is none."""
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")

LAYOUT_SHIFT = """() => new Promise((resolve) => {
    let total = 0;
    const itself = (entry) => !entry.hadRecentInput;
    new PerformanceObserver((list) => list.getEntries().filter(itself).forEach((entry) => (total += entry.value)))
        .observe({ type: "layout-shift", buffered: true });
    setTimeout(() => resolve(total), 50);
})"""
"""How much has moved by itself since the page was opened (Cumulative Layout Shift)."""

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.getBoundingClientRect().width"
"""By how many pixels the page is wider than the window, less what is kept free for a scroll bar."""

STANDARD = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
"""WCAG 2.2 AA, as axe names its parts."""

_AXE = """async ([options, pictures]) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(`${pictures} { visibility: hidden !important; }`);
    if (pictures) document.adoptedStyleSheets.push(sheet);
    const { violations, incomplete } = await axe.run(document, { preload: false, ...options });
    if (pictures) document.adoptedStyleSheets.pop();
    return { violations, incomplete };
}"""
_PICTURES = "svg, svg *, img, video"
_BEHIND_DIALOG = "body:has(dialog[open]) :not(:has(dialog[open]), dialog[open], dialog[open] *)"
_NOT_SEEN = ("nonBmp", "shortTextContent", "elmPartiallyObscured")


def axe(page: Page) -> list[str]:
    """What keeps people from using a page, serious or critical by WCAG 2.2 AA; what axe says of each."""
    options = {"runOnly": {"type": "tag", "values": STANDARD}, "rules": {"color-contrast": {"enabled": False}}}
    return [_told(rule, node) for rule, node in _found(page, options)["violations"]] + contrast(page)


def contrast(page: Page) -> list[str]:
    """Texts that stand out too little, and such as axe cannot say it of.

    Pictures are hidden meanwhile: axe takes what lies outside of their frames for something over the text. What is
    written on a picture is not judged. So is what lies behind an open dialog, which nobody can use then.
    """
    found = _found(page, {"runOnly": {"type": "rule", "values": ["color-contrast"]}}, f"{_PICTURES}, {_BEHIND_DIALOG}")
    unsure = [(rule, node) for rule, node in found["incomplete"] if not _beyond_judging(page, node)]
    return [_told(rule, node) for rule, node in (*found["violations"], *unsure)]


def _found(page: Page, options: dict[str, Any], hidden: str = "") -> dict[str, list[tuple[Any, Any]]]:
    """Of the `violations` and the `incomplete`: (rule, node) of all that are serious or critical."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate(_AXE, [options, hidden])
    return {
        outcome: [(rule, node) for rule in rules for node in rule["nodes"] if node["impact"] in ("serious", "critical")]
        for outcome, rules in found.items()
    }


def _beyond_judging(page: Page, node: Any) -> bool:
    """Signs that are no text, what is scrolled out of sight, and what is written on pictures."""
    why = (node["any"][0]["data"] or {}).get("messageKey")
    return why in _NOT_SEEN or bool(page.locator(node["target"][0]).evaluate("each => each.closest('.frame') !== null"))


def _told(rule: Any, node: Any) -> str:
    return f"{rule['id']}: {node['target']} {node['failureSummary']}"


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Address of a real server on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """A browser of one's own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_ARGUMENTS, *arguments])
        yield browser
        browser.close()


class Visit:
    """Opens pages, and remembers what a page must never do."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.browser, self.address = browser, address
        self.complaints: list[str] = []

    def page(self, path: str = "/", locale: str = "zh-CN", width: int = 1440, **options: Any) -> Page:
        viewport = {"width": width, "height": 900}
        page = self.browser.new_context(locale=locale, viewport=viewport, **options).new_page()
        page.set_default_timeout(15_000)
        page.on(
            "console", lambda message: self.complaints.append(f"console: {message.text} ({message.location['url']})")
        )
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", lambda request: self._note(request.url))
        page.goto(self.address + path)
        return page

    def _note(self, url: str) -> None:
        if not url.startswith((f"{self.address}/", f"blob:{self.address}/")):
            self.complaints.append(f"request: {url}")


@contextmanager
def visiting(browser: Browser, address: str) -> Iterator[Visit]:
    """A visit, after which no page is left open, and none may have complained."""
    visit = Visit(browser, address)
    yield visit
    for context in browser.contexts:
        context.close()
    assert visit.complaints == [], visit.complaints
