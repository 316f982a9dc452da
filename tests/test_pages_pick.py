"""The page that picks two dates: a place, the dates there are of it, and a pair. All of it without a script."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.ledger.audit import writing
from service.pages import pick
from service.settings import Settings
from tests.dates import DAYS, MIDDLE, NEWEST_FIRST, put
from tests.ledgers import site
from tests.people import House, house

HERE = f"/scenes?lon={MIDDLE[0]}&lat={MIDDLE[1]}&metres=100"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, red: Any) -> Iterator[House]:
    """Seven dates, a site in their middle that is compared with `calm`, and one without imagery."""
    folder = tmp_path_factory.mktemp("pick")
    with house(folder, lambda: red, max_bytes=2**20) as made:
        put(made.engine, Settings(data_dir=folder).scene_folders[0])
        with writing(made.engine) as session:
            baseline = {"kind": "scene", "ref": "scene-calm", "at": DAYS["calm"].isoformat()}
            site(session, "院/1", x=-20, y=-20, side=40, street="八角街道", baseline=baseline)
            site(session, "W1", x=-20_000, street="古城街道", state="rebound_suspected")
        yield made


@pytest.fixture(scope="module")
def client(world: House) -> TestClient:
    return world.browser("ana", "analyst")


@pytest.fixture(scope="module")
def ids(client: TestClient) -> dict[str, str]:
    return {each["name"]: each["id"] for each in client.get("/api/v1/imagery").json()["items"]}


def get(client: Any, path: str, language: str = "zh") -> str:
    answer = client.get(path, headers={"Accept-Language": language, "Accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


def rows(page: str) -> dict[str, str]:
    """Name of each date that is offered -> its row, in order."""
    found = re.findall(r"<tr data-id.*?</tr>", page, re.DOTALL)
    return {re.search(r'class="under">(\S+) ·', row)[1]: row for row in found}  # type: ignore[index]


def checked(page: str) -> list[str]:
    """Names of the dates that are chosen as before and as after."""
    return [
        name
        for side in ("before", "after")
        for name, row in rows(page).items()
        if re.search(rf'name="{side}" [^>]* checked', row, re.DOTALL)
    ]


def places(page: str) -> list[str]:
    return re.findall(r'<li><a href="(/scenes\?site=[^"]+)"', page)


# --- The place --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "said"), [("zh", "系统里还没有影像"), ("en", "No imagery is known here yet")])
def test_where_no_imagery_is_known_the_page_teaches(service: Any, language: str, said: str) -> None:
    page = get(service.client, "/scenes", language)
    assert said in page
    assert "JINGDI_SCENE_DIRS" in page
    assert "jingdi scan --before" in page
    assert "<form" not in page.split("<main", 1)[1]


def test_sites_with_imagery_are_offered_and_others_found(client: TestClient) -> None:
    page = get(client, "/scenes")
    [offered] = places(page)
    assert "6 期影像" in page
    assert list(rows(get(client, offered))) == NEWEST_FIRST[1:]
    assert len(places(get(client, "/scenes?q=八角"))) == 1
    found = get(client, "/scenes?q=古城")
    assert ("W1" in found, "0 期影像" in found) == (True, True)
    assert "没有与“<b>”相符的点位" in get(client, "/scenes?q=<b>")
    assert "<b>”" not in client.get("/scenes?q=<b>").text


def test_a_code_that_is_written_out_is_the_place(client: TestClient) -> None:
    answer = client.get("/scenes?q=w1 ")
    assert (answer.status_code, answer.headers["location"]) == (303, "/scenes?site=W1")


def test_a_place_without_imagery_is_not_called_clear(client: TestClient) -> None:
    page = get(client, "/scenes?site=W1")
    assert "没有影像覆盖这个地点" in page
    assert "不等于没有建筑" in page
    assert rows(page) == {}
    assert client.get("/scenes?site=X", headers={"Accept": "text/html"}).status_code == 404
    assert client.get("/scenes?lon=200&lat=1").status_code == 422


def test_half_a_point_is_no_place(client: TestClient) -> None:
    page = get(client, f"/scenes?lon={MIDDLE[0]}&lat=&metres=")
    assert '<details class="by-point" open>' in page
    assert f'value="{MIDDLE[0]}"' in page


# --- The dates --------------------------------------------------------------------------------------------


def test_each_date_says_when_whose_how_fine_and_how_much_it_saw(client: TestClient) -> None:
    found = rows(get(client, "/scenes?site=院/1"))
    assert list(found) == NEWEST_FIRST[1:]
    assert "2026-03-01 10:00" in found["new"]
    assert "0.5 米/像素" in found["new"]
    assert "1 米/像素" in found["coarse"]
    assert "此处全部看到" in found["new"]
    assert re.search(r"此处只看到 (4[89]|50|51)%", found["half"])
    assert "此处没有看到，情况不明" in found["blind"]
    assert ("<img" in found["half"], "<img" in found["blind"]) == (True, False)
    assert ("最新" in found["coarse"], "最新" in found["new"]) == (True, False)
    assert ("基准" in found["calm"], "基准" in found["old"]) == (True, False)


def test_every_picture_of_the_page_is_there(client: TestClient) -> None:
    pictures = set(re.findall(r'<img src="([^"]+)"', get(client, "/scenes?site=院/1")))
    assert len(pictures) > 5
    for address in pictures:
        answer = client.get(address)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")


def test_the_baseline_or_the_oldest_and_the_newest_that_saw_the_place_are_chosen(
    client: TestClient, ids: dict[str, str]
) -> None:
    assert checked(get(client, "/scenes?site=院/1")) == ["calm", "coarse"]
    assert checked(get(client, HERE)) == ["old", "coarse"]
    assert checked(get(client, f"{HERE}&before={ids['half']}&after={ids['blind']}")) == ["half", "blind"]
    assert checked(get(client, f"{HERE}&before={ids['half']}&after=gone")) == ["old", "coarse"]
    assert checked(get(client, f"{HERE}&since=2026-03-02&until=2026-03-05")) == ["half", "blind"]


def test_dates_are_narrowed_down_and_one_alone_is_no_pair(client: TestClient) -> None:
    assert list(rows(get(client, f"{HERE}&since=2026-03-01&until=2026-03-04"))) == ["half", "new"]
    alone = get(client, f"{HERE}&until=2025-12-31&since=")
    assert list(rows(alone)) == ["old"]
    assert "只有一期影像" in alone
    assert 'class="primary"' not in alone
    assert "这段时间没有影像" in get(client, f"{HERE}&until=2020-01-01")
    assert 'class="period"' not in get(client, HERE)


def test_of_many_dates_the_newest_and_the_oldest_are_shown(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pick, "LISTED", 3)
    page = get(client, HERE)
    assert list(rows(page)) == ["coarse", "blind", "old"]
    assert "另有 3 期没有列出" in page
    monkeypatch.setattr(pick, "FEW", 3)
    assert 'class="period"' in get(client, HERE)


# --- The pair ---------------------------------------------------------------------------------------------


def send(client: TestClient, address: str, before: str, after: str, language: str = "zh") -> Any:
    headers = {"Accept-Language": language, "Accept": "text/html"}
    return client.post(address, data={"before": before, "after": after}, headers=headers)


def test_the_form_leads_to_the_pair(client: TestClient, ids: dict[str, str]) -> None:
    page = get(client, "/scenes?site=院/1")
    action = re.search(r'id="pick" action="([^"]+)"', page)
    assert action
    answer = send(client, action[1], ids["old"], ids["new"])
    assert answer.status_code == 303
    assert re.fullmatch(r"/pairs/[0-9a-f]{32}", answer.headers["location"])
    pair = client.get(f"/api/v1{answer.headers['location']}").json()
    assert (pair["before_name"], pair["after_name"]) == ("old 院-1.tif", "new 院-1.tif")


@pytest.mark.parametrize(
    ("before", "after", "status", "said"),
    [
        ("new", "old", 422, "请对调两期影像"),
        ("new", "new", 422, "请为整治前、整治后各选一期"),
        ("", "new", 404, "请重新打开影像列表再选"),
    ],
)
def test_what_cannot_be_is_said_where_it_was_chosen(
    client: TestClient, ids: dict[str, str], before: str, after: str, status: int, said: str
) -> None:
    answer = send(client, HERE, ids.get(before, before), ids[after])
    assert answer.status_code == status
    page = unescape(answer.text)
    assert said in page
    assert checked(page) == ([before, after] if before else ["old", "coarse"])
    assert list(rows(page)) == NEWEST_FIRST[1:]


def test_without_a_place_nothing_is_compared(client: TestClient, ids: dict[str, str]) -> None:
    answer = send(client, "/scenes?q=八角", ids["old"], ids["new"])
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/scenes?q=")


def test_without_weights_the_page_says_so(client: TestClient, world: House, ids: dict[str, str]) -> None:
    parts = world.app.state.services
    world.app.state.services = dataclasses.replace(parts, intake=None)
    try:
        page, answer = get(client, HERE), send(client, HERE, ids["old"], ids["new"], "en")
    finally:
        world.app.state.services = parts
    assert re.search(r'class="primary" type="submit" disabled', page)
    assert answer.status_code == 503


def test_only_who_may_compare_is_led_here(client: TestClient, world: House) -> None:
    auditor = world.browser("aud", "auditor")
    assert auditor.get("/scenes").status_code == 403
    assert auditor.post("/scenes", data={"before": "a", "after": "b"}).status_code == 403
    for path in ("/", "/sites/院/1", "/map?site=院/1"):
        assert ("/scenes" in get(client, path), "/scenes" in get(auditor, path)) == (True, False), path
    assert client.get(re.search(r'"(/scenes\?site=[^"]+)"', get(client, "/sites/院/1"))[1]).status_code == 200  # type: ignore[index]


def test_no_path_of_a_file_is_told(client: TestClient, world: House) -> None:
    folder: Path = world.app.state.services.settings.data_dir
    assert str(folder) not in get(client, "/scenes?site=院/1")
