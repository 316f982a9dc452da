"""An inspector's day in a real browser: a list that is there without a line, photographs that wait for one and resume,
decisions that act once, and somebody else who was first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, Route, expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.field.tables import Photograph
from service.ledger.audit import Actor, writing
from service.ledger.tables import Alert, Decision
from service.triage.decide import decide
from tests.browsing import needs_chromium
from tests.imagery import encoded, ground
from tests.leads import dispatch
from tests.towns import Town, open_town, patient_chromium, soon

pytestmark = needs_chromium
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with patient_chromium() as found:
        yield found


@pytest.fixture
def town(tmp_path: Path, red: Any, browser: Browser) -> Iterator[Town]:
    with open_town(tmp_path, browser, lambda: red) as made:
        for alert in made.leads.alerts[:3]:
            dispatch(made.engine, alert)
        yield made


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph of several pieces."""
    path = tmp_path_factory.mktemp("pictures") / "棚.jpg"
    path.write_bytes(encoded(ground(3, 900, 1200), "JPEG", quality=97))
    assert path.stat().st_size > 2 * 2**18
    return path


def out(town: Town, **options: Any) -> Page:
    """The inspector's page, with everything kept that is of use without a line."""
    page = town.visit("zhao", "/field", role="inspector", **PHONE, **options)
    expect(page.locator(".duty")).to_have_count(3)
    expect(page.locator("#field")).to_have_attribute("data-kept", "6")
    page.evaluate("navigator.serviceWorker.ready.then(() => undefined)")
    return page


def card(page: Page, site: str) -> Any:
    return page.locator(".duty", has=page.get_by_role("heading", name=f"{site} "))


def photograph(page: Page, site: str, picture: Path) -> None:
    card(page, site).get_by_role("button", name="拍照").click()
    page.locator("#camera .fallback input").set_input_files(picture)
    expect(page.locator("#camera")).to_be_hidden()


def say(page: Page, site: str, button: str, code: str | None = None) -> None:
    card(page, site).get_by_role("button", name=button, exact=True).click()
    if code:
        page.locator(f'#verdict [value="{code}"]').check()
    page.locator("#verdict button[type=submit]").click()


def test_the_list_and_its_pictures_are_there_without_a_line(town: Town) -> None:
    page = out(town)
    page.context.set_offline(True)
    page.reload()
    expect(page.locator("#line")).to_contain_text("没有网络")
    expect(page.locator(".duty")).to_have_count(3)
    for image in page.locator(".chip img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("naturalWidth", 512)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    page.context.set_offline(False)


def test_the_way_begins_where_one_stands(town: Town) -> None:
    places = {code: outline.representative_point() for code, outline in town.leads.outlines.items()}
    here = places["L3"]
    where = {"longitude": here.x, "latitude": here.y + 0.0001}
    page = out(town, geolocation=where, permissions=["geolocation"])
    expect(page.locator(".duty h2").first).to_contain_text("L1")
    page.get_by_role("button", name="从我的位置排路线").click()
    expect(page.locator("#route-text")).to_contain_text("从我的位置出发")
    order = page.locator(".duty h2").all_text_contents()
    assert order[0].startswith("L3")
    nearer = min(("L1", "L2"), key=lambda code: places[code].distance(here))
    assert order[1].startswith(nearer)
    expect(page.locator(".duty .distance").first).to_contain_text("米")


def test_the_link_to_the_place_says_which_datum(town: Town) -> None:
    page = out(town)
    point = town.leads.outlines["L1"].representative_point()
    assert (card(page, "L1").get_by_role("link", name="导航").get_attribute("href") or "").startswith("geo:39.9")
    text = card(page, "L1").locator(".coordinates").text_content() or ""
    assert f"WGS-84 {point.y:.4f}" in text
    assert "GCJ-02 39." in text


def test_a_photograph_and_a_decision_wait_for_a_line_and_act_once(town: Town, picture: Path) -> None:
    page = out(town)
    page.context.set_offline(True)
    photograph(page, "L1", picture)
    say(page, "L1", "不属实", "vehicle")
    entries = page.locator("#outbox li")
    expect(entries).to_have_count(2)
    expect(entries.first).to_contain_text("等待网络")
    expect(card(page, "L1").locator(".proposed")).to_contain_text("已决定：车辆，等待发送")
    expect(card(page, "L1").get_by_role("button", name="属实", exact=True)).to_be_disabled()
    page.reload()  # nothing of it is lost
    expect(entries).to_have_count(2)
    expect(card(page, "L1").locator(".taken img")).to_be_visible()
    assert town.state(town.leads.alerts[0]) == "dispatched"

    page.context.set_offline(False)
    soon(lambda: town.state(town.leads.alerts[0]) == "dismissed")
    expect(page.locator(".duty")).to_have_count(2)
    expect(entries).to_have_count(0)
    page.reload()
    expect(page.locator(".duty")).to_have_count(2)
    with Session(town.engine) as session:
        [taken] = session.scalars(select(Photograph)).all()
        [decision] = session.scalars(select(Decision).where(Decision.target == "dismissed")).all()
        assert [each["ref"] for each in decision.evidence] == [taken.id]
        assert (taken.taken_by, decision.actor) == ("zhao", "zhao")


def test_an_upload_goes_on_where_the_line_broke(town: Town, picture: Path) -> None:
    page = out(town)
    arrived: list[int] = []

    def note(request: Request) -> None:
        if request.method == "PATCH":
            arrived.append(int(request.headers["upload-offset"]))

    def break_off(route: Route) -> None:
        if int(route.request.headers.get("upload-offset", 0)) > 0:
            route.abort("connectionfailed")
        else:
            route.continue_()

    page.on("requestfinished", note)
    page.route("**/api/v1/uploads/*", break_off)
    photograph(page, "L1", picture)
    expect(page.locator("#outbox li")).to_contain_text("正在发送")
    soon(lambda: page.evaluate("1") == 1 and arrived == [0])
    page.goto("about:blank")  # or it would try again while it is left, and nobody saw that piece arrive
    page.unroute("**/api/v1/uploads/*")
    page.goto(f"{town.address}/field")
    # The list is empty too until the outbox was read.
    soon(lambda: page.evaluate("1") == 1 and len(arrived) > 2)
    expect(page.locator("#outbox li")).to_have_count(0)
    assert arrived == [0, 2**18, 2 * 2**18]  # and none of them twice
    with Session(town.engine) as session:
        row = session.scalars(select(Photograph)).one()
        assert (row.width, row.height) == (1200, 900)
    town.complaints.clear()  # the browser notes the line that broke


def test_the_camera_takes_a_photograph_without_leaving_the_page(town: Town) -> None:
    page = out(town)
    card(page, "L2").get_by_role("button", name="拍照").click()
    expect(page.locator("#camera")).to_contain_text("此处没有以前的照片")
    shutter = page.locator("#camera .shutter")
    expect(shutter).to_be_visible()
    shutter.click()
    page.get_by_role("button", name="用这张").click()
    expect(page.locator("#camera")).to_be_hidden()
    expect(card(page, "L2").locator(".taken img")).to_be_visible()
    expect(page.locator("#outbox li")).to_have_count(0)  # sent
    say(page, "L2", "属实")
    soon(lambda: town.state(town.leads.alerts[1]) == "confirmed")


def test_without_a_photograph_another_person_has_to_agree_and_that_is_said_before(town: Town) -> None:
    page = out(town)
    card(page, "L1").get_by_role("button", name="不属实").click()
    expect(page.locator('#verdict [data-note="second"]')).to_be_visible()
    page.locator("#verdict button[type=submit]").click()
    expect(card(page, "L1").locator(".proposed")).to_contain_text("等另一人复核")
    assert town.state(town.leads.alerts[0]) == "dispatched"


def overtaken(town: Town, page: Page, picture: Path | None = None) -> Locator:
    """The entry of a decision on the first lead that was made without a line, while somebody else decided otherwise."""
    page.context.set_offline(True)
    if picture:
        photograph(page, "L1", picture)
    say(page, "L1", "不属实", "shadow")
    with writing(town.engine) as session:
        alert = session.get_one(Alert, town.leads.alerts[0])
        decide(session, alert, "dispatched", "real", Actor("qian"), "structure")
    page.context.set_offline(False)
    return page.locator('#outbox li[data-state="refused"]')


def test_somebody_else_was_first_and_nothing_is_lost(town: Town, picture: Path) -> None:
    page, alert_id = out(town), town.leads.alerts[0]
    entry = overtaken(town, page, picture)
    expect(entry).to_contain_text("他人已先处理，线索现为“属实”")
    expect(entry).to_contain_text("L1 不属实：阴影")
    assert town.state(alert_id) == "confirmed"
    with Session(town.engine) as session:
        assert session.scalars(select(Photograph.alert_id)).one() == alert_id  # the photograph is kept
    page.reload()
    expect(entry).to_have_count(1)
    entry.get_by_role("button", name="删除记录").click()
    expect(entry).to_have_count(0)
    assert [text for text in town.complaints if "409" not in text] == []
    town.complaints.clear()  # the browser notes every 4xx in its console


def test_how_a_lead_stands_is_said_even_if_the_outbox_is_read_anew_meanwhile(town: Town) -> None:
    page, alert_id = out(town), town.leads.alerts[0]
    held: list[Route] = []
    page.route(f"**/api/v1/ledger/alerts/{alert_id}", lambda route: held.append(route))
    entry = overtaken(town, page)
    expect(entry).to_contain_text("状态已经变了")
    soon(lambda: bool(held))
    entry.evaluate("entry => { entry.dataset.old = 1; window.dispatchEvent(new Event('online')) }")
    expect(page.locator("#outbox li[data-old]")).to_have_count(0)
    held[0].continue_()
    expect(entry).to_contain_text("他人已先处理，线索现为“属实”")
    town.complaints.clear()  # the browser notes every 4xx in its console


def test_signed_out_is_said_and_what_was_decided_is_sent_after_signing_in(town: Town) -> None:
    page = out(town)
    cookies = page.context.cookies()
    page.context.clear_cookies()
    say(page, "L1", "属实")
    expect(page.locator("#signed-out")).to_be_visible()
    expect(page.locator("#outbox li")).to_contain_text("登录后发送")
    page.context.add_cookies(
        [{k: v for k, v in each.items() if k in ("name", "value", "domain", "path")} for each in cookies]
    )
    page.reload()
    soon(lambda: town.state(town.leads.alerts[0]) == "confirmed")
    town.complaints.clear()  # the browser notes every 4xx in its console


def test_the_next_person_on_this_phone_does_not_see_where_the_last_one_was_sent(town: Town) -> None:
    page = out(town)
    keys = "caches.open('jingdi-field-kept').then((c) => c.keys()).then((k) => k.length)"
    assert page.evaluate(keys) == 7
    page.context.clear_cookies()
    page.goto(town.address + "/field")  # leads to the door
    expect(page).to_have_url(f"{town.address}/login?next=%2Ffield")
    assert page.evaluate(keys) == 0


def test_the_page_speaks_english_and_large(town: Town) -> None:
    page = town.visit("wang", "/field", locale="en-GB", **PHONE)
    expect(page.locator(".duty")).to_have_count(3)
    expect(page.locator("h1")).to_have_text("Where I am sent")
    for button in page.locator(".duty").first.locator("a.go, button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 56
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    manifest = page.evaluate("fetch(document.querySelector('[rel=manifest]').href).then((r) => r.json())")
    assert json.dumps(manifest).count("/static/icon") == 3
