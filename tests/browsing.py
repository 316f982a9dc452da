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
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")

CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
"""A camera that is none."""
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")

LAYOUT_SHIFT = """() => new Promise((resolve) => {
    let total = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => (total += entry.value)))
        .observe({ type: "layout-shift", buffered: true });
    setTimeout(() => resolve(total), 300);
})"""
"""How much has moved by itself since the page was opened (Cumulative Layout Shift)."""

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
"""By how many pixels the page is wider than the window."""

_POOR_CONTRAST = """([solid, leave]) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => {
        for (let each = element; each; each = each.parentElement) {
            const colour = rgba(getComputedStyle(each).backgroundColor);
            if (colour[3] >= solid) return colour;
        }
        return [255, 255, 255, 255];
    };
    const poor = [];
    for (const element of document.querySelectorAll("main *, header *, footer")) {
        const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
        if (!own || !element.checkVisibility() || element.closest(leave)) continue;
        const [a, b] = [light(rgba(getComputedStyle(element).color)), light(behind(element))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) poor.push(`${element.className}: ${element.textContent.trim()} ${ratio.toFixed(2)}`);
    }
    return poor;
}"""


def poor_contrast(page: Page, *, solid: int = 231, leave: str = "svg, option, :disabled + span, :disabled") -> Any:
    """Texts that stand out less than WCAG 2.2 AA asks for; what cannot be used is left out, as there.

    Args:
        solid: from this opacity (0..255) on, a background is what is seen behind a text.
        leave: selector of what is not looked at, with all that is in it.
    """
    return page.evaluate(_POOR_CONTRAST, [solid, leave])


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
        page.on("console", lambda message: self.complaints.append(f"console: {message.text}"))
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
    assert visit.complaints == []
