"""Every page by the rules of WCAG 2.2 AA, at a desk and on a telephone in the dark; none moves while it arrives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from tests.browsing import LAYOUT_SHIFT, OVERFLOW, Visit, axe, needs_chromium, visiting
from tests.everything import WAYS, Everything, everything
from tests.test_people_gate import routes

pytestmark = needs_chromium

DEVICES: tuple[tuple[int, Literal["light", "dark"]], ...] = ((1440, "light"), (390, "dark"))
"""Width in pixels, and colours."""
NO_PAGES = {
    "bulletin_as_pdf", "site_packet", "field_manifest", "field_worker", "map_list", "map_site", "map_sites",
    "map_night", "triage_card", "public_ledger_csv", "report_photograph", "report_original", "follow_link",
    "oidc_begin", "oidc_callback",
}  # fmt: skip
"""Files, parts that a page loads, and addresses that lead on to a page."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, before: bytes, after: bytes) -> Iterator[Everything]:
    with everything(tmp_path_factory.mktemp("axe"), before, after) as served:
        yield served


@dataclass(frozen=True)
class Windows:
    """One of Rita, one of a stranger, open all the while."""

    visit: Visit
    place: Everything
    rita: Page
    stranger: Page

    def open(self, name: str, width: int, scheme: Literal["light", "dark"]) -> Page:
        """A page."""
        page = self.stranger if WAYS[name].stranger else self.rita
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        self.place.go(page, name)
        return page

    def complaints(self, name: str) -> list[str]:
        """What the page complained of, but that it was not found or refused where it should be."""
        told = [each for each in self.visit.complaints if f"status of {WAYS[name].status}" not in each]
        self.visit.complaints.clear()
        return told


@pytest.fixture(scope="module")
def windows(browser: Browser, place: Everything) -> Iterator[Windows]:
    with visiting(browser, place.address) as visit:
        rita, stranger = (place.window(visit, stranger=stranger) for stranger in (False, True))
        yield Windows(visit, place, rita, stranger)


@pytest.mark.parametrize("name", WAYS)
def test_everybody_can_use_the_page_and_nothing_in_it_moves(windows: Windows, name: str) -> None:
    for width, scheme in DEVICES:
        page = windows.open(name, width, scheme)
        assert axe(page) == []
        assert page.evaluate(OVERFLOW) <= 0
        assert page.evaluate(LAYOUT_SHIFT) < 0.01
    assert windows.complaints(name) == []


def test_no_page_is_left_out(place: Everything) -> None:
    pages = {each.name for each in routes(place.app) if not each.include_in_schema and "GET" in each.methods}
    assert pages - NO_PAGES == {name.split(":")[0] for name in WAYS} - {"error"}


def test_what_keeps_people_out_is_found(windows: Windows) -> None:
    page = windows.open("start", *DEVICES[0])
    page.evaluate("""() => {
        const button = document.createElement("button"), text = document.createElement("p");
        text.textContent = "几乎看不见的一句话";
        text.style.setProperty("color", "#ddd");
        document.querySelector("main").append(button, text);
    }""")
    found = axe(page)
    assert [each.split(":")[0] for each in found] == ["button-name", "color-contrast"]
