"""The page with the camera, in a real browser with a camera that is none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from service.app import create_app
from service.settings import Settings
from tests.browsing import CAMERA, Visit, chromium, needs_chromium, served
from tests.test_photographs_api import AFTER, BEFORE, see

pytestmark = needs_chromium
PHONE = {"width": 390, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server on a free port."""
    app = create_app(Settings(data_dir=tmp_path_factory.mktemp("shoot"), accounts="off"), load=lambda: see)
    with served(app) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(*CAMERA) as running:
        yield running


@pytest.fixture(scope="module")
def pair(browser: Browser, address: str) -> str:
    """Id of a pair of photographs that is done."""
    request = browser.new_context().request
    pictures = {
        name: {"name": f"{name}.jpg", "mimeType": "image/jpeg", "buffer": content}
        for name, content in (("before", BEFORE), ("after", AFTER))
    }
    answer = request.post(f"{address}/api/v1/pairs", multipart={**pictures, "kind": "photos"}).json()
    while request.get(f"{address}/api/v1/pairs/{answer['id']}").json()["status"] not in ("done", "failed"):
        time.sleep(0.05)
    return str(answer["id"])


def test_the_earlier_photograph_lies_over_the_live_camera_and_the_new_one_is_compared(visit: Visit, pair: str) -> None:
    page = visit.page(f"/shoot/{pair}", **PHONE)
    expect(page.locator(".ghost")).to_be_visible()
    page.get_by_role("button", name="打开相机").click()
    shutter = page.get_by_role("button", name="拍照")
    expect(shutter).to_be_visible()
    assert page.locator("video").evaluate("video => video.videoWidth > 0 && !video.paused")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    shutter.click()
    expect(page.locator(".still")).to_be_visible()
    page.get_by_role("button", name="重拍").click()
    expect(page.locator(".still")).to_be_hidden()
    shutter.click()
    page.get_by_role("button", name="用这张比对").click()
    page.wait_for_url(lambda url: "/pairs/" in url and pair not in url)
    expect(page.locator("h1")).to_have_text("无法比对，不作判断", timeout=60_000)  # what the camera shows is no street


def test_the_ghost_fades_and_the_grid_goes(visit: Visit, pair: str) -> None:
    page = visit.page(f"/shoot/{pair}", locale="en-GB")
    page.get_by_label("Earlier photograph").fill("20")
    assert page.locator(".ghost").evaluate("ghost => getComputedStyle(ghost).opacity") == "0.2"
    expect(page.locator(".grid")).to_be_visible()
    page.get_by_label("Grid").uncheck()
    expect(page.locator(".grid")).to_be_hidden()


def test_a_photograph_of_the_camera_app_is_compared(visit: Visit, pair: str, tmp_path: Path) -> None:
    path = tmp_path / "IMG_2.jpg"
    path.write_bytes(AFTER)
    page = visit.page(f"/shoot/{pair}", **PHONE)
    page.locator('input[type="file"]').set_input_files(path)
    page.wait_for_url(lambda url: "/pairs/" in url and pair not in url)
    expect(page.locator(".verdict")).to_be_visible(timeout=60_000)
    expect(page.locator(".sources").first).to_be_visible()


def test_without_a_secure_connection_the_page_says_so(visit: Visit, pair: str) -> None:
    page = visit.page("/")
    page.add_init_script("Object.defineProperty(window, 'isSecureContext', { value: false })")
    page.goto(f"{visit.address}/shoot/{pair}")
    expect(page.locator('[data-note="insecure"]')).to_be_visible()
    page.get_by_role("button", name="打开相机").click()
    expect(page.get_by_role("button", name="拍照")).to_be_hidden()
    expect(page.locator(".fallback")).to_be_visible()


def test_a_camera_that_is_refused_leaves_the_other_way(visit: Visit, pair: str) -> None:
    page = visit.page("/")
    page.add_init_script("navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error('no'))")
    page.goto(f"{visit.address}/shoot/{pair}")
    page.get_by_role("button", name="打开相机").click()
    expect(page.locator('[data-note="denied"]')).to_be_visible()


def test_the_check_of_a_person_is_given_on_the_result_page(visit: Visit, pair: str) -> None:
    page = visit.page(f"/pairs/{pair}", **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    page.get_by_label("两张照片中都没有可辨认的人脸").check()
    page.get_by_label("两张照片中都没有可辨认的车牌").check()
    page.get_by_label("姓名").fill("王芳")
    page.get_by_role("button", name="确认可以公开").click()
    expect(page.get_by_text("王芳 于")).to_be_visible()


def test_the_kind_can_be_chosen_on_the_start_page(visit: Visit) -> None:
    page = visit.page(**PHONE)
    expect(page.locator("#gsd")).to_be_visible()
    page.get_by_text("现场照片", exact=True).click()
    expect(page.locator("#gsd")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
