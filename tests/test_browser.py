"""The pages in a real browser: upload, verdict, findings, the slider by keyboard, in both languages, offline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from service.app import create_app
from service.settings import Settings
from tests.browsing import OVERFLOW, Visit, needs_chromium, served

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, red: Any) -> Iterator[str]:
    """A real server on a free port."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("browser"), accounts="off")
    with served(create_app(settings, load=lambda: red)) as address:
        yield address


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, before: bytes, after: bytes) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = folder / "before.png", folder / "after.png"
    for path, content in zip(paths, (before, after), strict=True):
        path.write_bytes(content)
    return paths


@pytest.fixture(scope="module")
def compared(browser: Browser, address: str, before: bytes, after: bytes) -> str:
    """The path of a pair that is done."""
    request = browser.new_context().request
    pictures = {
        name: {"name": f"{name}.png", "mimeType": "image/png", "buffer": content}
        for name, content in (("before", before), ("after", after))
    }
    answer = request.post(f"{address}/api/v1/pairs", multipart={**pictures, "gsd": "0.5"}).json()
    while request.get(f"{address}/api/v1/pairs/{answer['id']}").json()["status"] != "done":
        time.sleep(0.05)
    return f"/pairs/{answer['id']}"


def choose(page: Page, first: Path, second: Path) -> None:
    page.locator('input[name="before"]').set_input_files(first)
    page.locator('input[name="after"]').set_input_files(second)


def compare(page: Page, first: Path, second: Path, gsd: str = "0.5") -> None:
    choose(page, first, second)
    page.locator("#gsd").fill(gsd)
    page.locator("button.primary").click()
    page.wait_for_url("**/pairs/*")
    expect(page.locator(".verdict")).to_be_visible(timeout=15_000)


def split(page: Page) -> float:
    return float(page.locator(".split").input_value())


def test_a_pair_is_uploaded_compared_and_shown(visit: Visit, pictures: tuple[Path, Path]) -> None:
    page = visit.page()
    choose(page, *pictures)
    for side in ("before", "after"):
        zone = page.locator(f'[data-zone="{side}"]')
        expect(zone.locator(".zone-thumb")).to_be_visible()
        expect(zone.locator(".zone-file-name")).to_have_text(f"{side}.png")
    compare(page, *pictures)

    expect(page.locator("h1")).to_have_text("疑似有新增建筑")
    expect(page.locator(".verdict")).to_contain_text("由具名的经办人员核实后决定")
    expect(page.locator(".shape")).to_have_count(3)
    expect(page.locator(".finding")).to_have_count(3)
    for kind in ("new", "remaining", "removed"):
        shape = page.locator(f'.shape[data-kind="{kind}"]').bounding_box()
        assert shape is not None
        assert shape["width"] > 20
        assert shape["height"] > 20
    expect(page.locator('.finding[data-kind="new"]')).to_contain_text("亩")


def test_the_pages_are_english_for_who_reads_english(visit: Visit, pictures: tuple[Path, Path]) -> None:
    page = visit.page(locale="en-GB")
    expect(page.locator("h1")).to_have_text("Gone, still standing, or back?")
    compare(page, *pictures)
    expect(page.locator("h1")).to_have_text("Suspected new structures")
    page.get_by_role("link", name="中文").click()
    expect(page.locator("h1")).to_have_text("疑似有新增建筑")
    page.goto(visit.address)
    expect(page.locator("h1")).to_have_text("拆了没有，又建了没有？")


def test_the_slider_moves_by_keyboard_and_by_pointer(visit: Visit, compared: str) -> None:
    page = visit.page(compared)
    slider = page.get_by_role("slider", name="整治前与整治后的分界线")
    slider.focus()
    for _ in range(5):
        slider.press("ArrowLeft")
    assert split(page) == 45
    slider.press("Home")
    divider, frame = page.locator(".divider").bounding_box(), page.locator(".frame").bounding_box()
    assert divider is not None
    assert frame is not None
    assert divider["x"] == pytest.approx(frame["x"], abs=2)

    page.mouse.move(frame["x"] + 5, frame["y"] + frame["height"] - 5)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] * 0.75, frame["y"] + frame["height"] - 5, steps=4)
    page.mouse.up()
    assert split(page) == pytest.approx(75, abs=1)


def test_a_finding_chosen_in_the_list_is_marked_in_the_picture_and_vice_versa(visit: Visit, compared: str) -> None:
    page = visit.page(compared)
    first, second, third = (page.locator(f'.finding[data-finding="{i}"]') for i in (1, 2, 3))
    second.click()
    expect(page.locator('.shape[data-finding="2"]')).to_have_class("shape active")
    expect(first).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".close-up")).to_have_attribute("aria-label", "2 号图斑放大")

    page.locator('.mark[data-finding="3"] text').click()
    expect(third).to_have_attribute("aria-pressed", "true")
    third.press("ArrowUp")
    expect(second).to_be_focused()
    expect(second).to_have_attribute("aria-pressed", "true")


def test_a_kind_can_be_hidden(visit: Visit, compared: str) -> None:
    page = visit.page(compared)
    page.locator('.kind-toggle[data-kind="removed"]').click()
    expect(page.locator('.shape[data-kind="removed"]')).to_be_hidden()
    expect(page.locator('.shape[data-kind="new"]')).to_be_visible()


def test_the_same_picture_twice_is_refused_in_plain_words(visit: Visit, pictures: tuple[Path, Path]) -> None:
    page = visit.page()
    compare(page, pictures[0], pictures[0])
    expect(page.locator("h1")).to_have_text("无法比对，不作判断")
    expect(page.locator(".reasons")).to_contain_text("两张图片是同一张。")
    page.get_by_role("link", name="换两张图片再试").click()
    expect(page.locator("h1")).to_have_text("拆了没有，又建了没有？")


def test_a_bad_picture_is_explained_where_it_was_put(visit: Visit, pictures: tuple[Path, Path], tmp_path: Path) -> None:
    page = visit.page(locale="en-GB")
    broken = tmp_path / "broken.png"
    broken.write_bytes(pictures[1].read_bytes()[:5000])
    choose(page, pictures[0], broken)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("alert")).to_contain_text("The picture is cut off")
    expect(page.locator('[data-zone="after"]')).to_have_class("zone filled wrong")
    expect(page.get_by_role("button", name="Compare")).to_be_enabled()
    assert [text for text in visit.complaints if "422" not in text] == []
    visit.complaints.clear()  # the browser notes every 4xx in its console


def test_pictures_can_be_exchanged_and_removed(visit: Visit, pictures: tuple[Path, Path]) -> None:
    page = visit.page(locale="en-GB")
    choose(page, *pictures)
    names = page.locator(".zone-file-name")
    page.get_by_role("button", name="Exchange the two pictures").click()
    expect(names).to_have_text(["after.png", "before.png"])
    page.locator('[data-zone="after"] .zone-remove').click()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("alert")).to_contain_text("Add both pictures first.")


def test_pictures_can_be_dropped_and_pasted(visit: Visit) -> None:
    page = visit.page()
    give = """([type, selector, names]) => {
        const data = new DataTransfer();
        for (const name of names) data.items.add(new File(["x"], name, { type: "image/png" }));
        const options = { bubbles: true, cancelable: true };
        const event = type === "paste"
            ? new ClipboardEvent("paste", { ...options, clipboardData: data })
            : new DragEvent(type, { ...options, dataTransfer: data });
        document.querySelector(selector).dispatchEvent(event);
    }"""
    names = page.locator(".zone-file-name")
    page.evaluate(give, ["drop", '[data-zone="after"]', ["one.png"]])
    expect(names).to_have_text(["", "one.png"])
    page.evaluate(give, ["paste", "body", ["two.png"]])
    expect(names).to_have_text(["two.png", "one.png"])
    page.evaluate(give, ["drop", '[data-zone="before"]', ["a.png", "b.png"]])
    expect(names).to_have_text(["a.png", "b.png"])


@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
def test_a_telephone_shows_everything_without_sideways_scrolling(visit: Visit, compared: str, locale: str) -> None:
    page = visit.page(locale=locale, width=390, is_mobile=True, has_touch=True)
    assert page.evaluate(OVERFLOW) <= 0
    page.goto(visit.address + compared)
    assert page.evaluate(OVERFLOW) <= 0


def shown(page: Page, selector: str) -> str:
    """The transform that a stage is drawn with."""
    return str(page.locator(selector).evaluate("each => getComputedStyle(each).transform"))


def test_side_by_side_both_dates_are_zoomed_as_one(visit: Visit, compared: str) -> None:
    page = visit.page(compared)
    page.locator('.view-modes [value="side"]').check(force=True)
    expect(page.locator(".frame")).to_have_count(2)
    page.locator('[data-zoom="in"]').click()
    first, second = (shown(page, f".frame:nth-child({n}) .stage") for n in (1, 2))
    assert first == second
    assert first.startswith("matrix(1.5, 0, 0, 1.5")
    expect(page.locator(".frame:nth-child(1) .layer-after")).to_be_hidden()
    expect(page.locator(".frame:nth-child(2) .layer-after")).to_be_visible()
    box = page.locator(".frame:nth-child(2)").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 75)
    page.mouse.up()
    moved, alongside = (shown(page, f".frame:nth-child({n}) .stage") for n in (2, 1))
    assert moved == alongside != first
    page.locator('.view-modes [value="swipe"]').check(force=True)
    expect(page.locator(".frame")).to_have_count(1)


def test_the_later_date_can_be_laid_through_the_earlier_one(visit: Visit, compared: str) -> None:
    page = visit.page(compared)
    page.locator('.view-modes [value="overlay"]').check(force=True)
    page.locator(".mix input").fill("20")
    assert page.locator(".layer-after").evaluate("each => getComputedStyle(each).opacity") == "0.2"
    page.locator('.view-modes [value="swipe"]').check(force=True)
    expect(page.locator(".mix")).to_be_hidden()
    assert page.locator(".layer-after").evaluate("each => getComputedStyle(each).opacity") == "1"


def test_the_dates_blink_by_a_key_and_stop_by_it(visit: Visit, compared: str) -> None:
    page = visit.page(compared)
    page.keyboard.press("b")
    frame = page.locator(".frame")
    for side in ("before", "after", "before"):
        expect(frame).to_have_attribute("data-shows", side)
    page.keyboard.press("b")
    expect(frame).not_to_have_attribute("data-shows", "before")
    expect(page.locator('.view-modes [value="swipe"]')).to_be_checked()


def test_zoomed_in_the_line_stays_where_it_is_seen(visit: Visit, compared: str) -> None:
    page = visit.page(compared)
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert shown(page, ".stage").startswith("matrix(2.25")
    clip = page.locator(".layer-after").evaluate(
        "each => parseFloat(getComputedStyle(each).clipPath.split(' ').at(-1).replace('calc(', ''))"
    )
    assert clip == pytest.approx(50, abs=1)  # zoomed about the middle, the middle stays
    page.keyboard.press("0")
    assert shown(page, ".stage") == "matrix(1, 0, 0, 1, 0, 0)"
