"""The page of the map and the pieces it asks for: without a script, search, nights, and whose tiles may be loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from shapely.geometry import Point, shape
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.database import connect
from service.ledger.audit import writing
from service.ledger.rows import as_json
from service.ledger.tables import SITE_STATES
from service.pages.map import LISTED, TIANDITU
from service.pages.sites import MARKS
from service.scenes.tables import SceneRow
from tests.leads import plant
from tests.ledgers import NIGHT, site, square
from tests.people import House, house


@pytest.fixture
def engine(service: Any) -> Iterator[Engine]:
    found = connect(service.settings.resolved_database_url)
    yield found
    found.dispose()


@pytest.fixture
def place(tmp_path: Path, red: Any) -> Iterator[House]:
    with house(tmp_path, lambda: red) as made:
        yield made


def scene(engine: Engine, name: str, taken_at: datetime, covered: Any, findings: int = 0) -> None:
    west, south, east, north = square(0, 0, 1000).bounds
    row = SceneRow(
        id=name, name=name, taken_at=taken_at, west=west, south=south, east=east, north=north, gsd_m=0.5,
        coverage=covered and as_json(covered), findings_count=findings, created_at=taken_at,
    )  # fmt: skip
    with Session(engine) as session, session.begin():
        session.add(row)


def get(service: Any, path: str, language: str = "zh") -> str:
    answer = service.client.get(path, headers={"Accept-Language": language})
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


def listed(page: str) -> list[str]:
    return re.findall(r'data-code="([^"]*)">\s*<svg', page)


def test_an_empty_map_teaches(service: Any) -> None:
    page = get(service, "/map")
    assert "地图上还没有点位" in page
    assert "还没有扫描过" in page
    assert "No sites on the map yet" in get(service, "/map", "en")
    assert service.client.get("/map/sites.json").json()["sites"] == []


def test_the_page_stands_without_a_script(service: Any, engine: Engine) -> None:
    with writing(engine) as session:
        site(session, "A", street="八角街道", observed_at=NIGHT, land_m2=2_000)
        site(session, "B", state="rebound_suspected", street="古城街道")
    assert listed(get(service, "/map")) == ["B", "A"]  # what needs somebody comes first
    assert listed(get(service, "/map?q=八角")) == ["A"]
    page = get(service, "/map?site=A")
    assert "2,000 平方米（3.00 亩）" in page
    assert 'href="/sites/A"' in page
    assert "<noscript>" in page
    assert service.client.get("/map?site=nothing").status_code == 404


def test_each_state_has_a_mark_of_its_own_shape(service: Any) -> None:
    assert set(MARKS) == set(SITE_STATES)
    assert len(set(MARKS.values())) == len(SITE_STATES)
    page = get(service, "/map")
    assert all(f'data-state="{state}" aria-pressed' in page for state in SITE_STATES)


def test_a_search_is_made_here_and_says_what_else_there_is(service: Any, engine: Engine) -> None:
    with writing(engine) as session:
        for number in range(LISTED + 2):
            site(session, f"S{number:03}", street="八角街道")
        site(session, "A", street="古城街道")
    page = get(service, "/map/list?q=八角")
    assert "<html" not in page
    assert len(listed(page)) == LISTED
    codes = json.loads(re.search(r'data-codes="(\[.*?\])"', page)[1])  # type: ignore[index]
    assert len(codes) == LISTED + 2  # all of them are marked on the map
    assert "另有 2 个" in page
    assert listed(get(service, "/map/list?q=s007 ")) == ["S007"]
    nothing = get(service, "/map/list?q=<b>")
    assert (listed(nothing), "没有与“<b>”相符的点位" in nothing) == ([], True)
    assert "<b>”" not in service.client.get("/map/list?q=<b>").text
    assert "data-codes" not in get(service, "/map/list")


def test_a_quote_in_a_code_stays_in_its_attribute(service: Any, engine: Engine) -> None:
    with writing(engine) as session:
        site(session, "x\"'<1")
    page = service.client.get("/map/list?q=x").text
    attribute = re.search(r'data-codes="([^"]*)"', page)
    assert attribute
    assert json.loads(unescape(attribute[1])) == ["x\"'<1"]


def test_sites_are_given_with_state_and_outline_to_a_tenth_of_a_metre(service: Any, engine: Engine) -> None:
    with writing(engine) as session:
        site(session, "A")
        row = site(session, "P")
        row.geometry, row.radius_m = as_json(Point(116.2, 39.9)), 40.0
    answer = service.client.get("/map/sites.json").json()
    assert answer["marks"] == MARKS
    first, point = answer["sites"]
    assert (first["code"], first["state"], first["radius_m"]) == ("A", "watched", None)
    assert shape(first["geometry"]).equals_exact(square(0, 0, 60), 1e-6)
    assert (point["geometry"]["type"], point["radius_m"]) == ("Point", 40.0)


def test_scenes_of_one_day_in_china_are_one_night(service: Any, engine: Engine) -> None:
    midnight = datetime.fromisoformat("2026-03-02T00:00:00+08:00")
    scene(engine, "late", midnight - timedelta(minutes=1), square(0, 0, 500), findings=2)
    scene(engine, "early", midnight + timedelta(minutes=1), square(0, 0, 500), findings=3)
    scene(engine, "beside", midnight + timedelta(hours=2), square(400, 0, 600), findings=4)
    page = get(service, "/map")
    assert re.findall(r'<li data-day="([^"]*)" data-findings="(\d+)"', page) == [
        ("2026-03-01", "2"),
        ("2026-03-02", "7"),
    ]
    assert 'data-night="2026-03-02"' in page
    assert 'data-night="2026-03-01"' in get(service, "/map?night=2026-03-01")
    assert 'data-night="2026-03-02"' in get(service, "/map?night=1999-01-01")
    night = service.client.get("/map/nights/2026-03-02.json").json()
    assert [each["id"] for each in night["scenes"]] == ["early", "beside"]
    seen = shape(night["covered"])
    # The overlap of two scenes was seen, and is not taken for unseen.
    assert seen.contains(square(420, 100, 50))
    assert not seen.intersects(square(10, 700, 50))


def test_what_is_not_known_to_have_been_seen_was_not_seen(service: Any, engine: Engine) -> None:
    scene(engine, "unknown", NIGHT, None)
    assert service.client.get("/map/nights/2026-03-01.json").json()["covered"] is None
    assert service.client.get("/map/nights/2026-02-01.json").json() == {"covered": None, "scenes": []}
    with writing(engine) as session:
        site(session, "A")
    assert "未完整观测" in get(service, "/map/site/A?night=2026-03-01")
    assert "未见疑似图斑" not in get(service, "/map/site/A?night=2026-03-01")


def test_a_site_says_what_the_chosen_night_saw_there(place: House, tmp_path: Path) -> None:
    plant(place.engine, tmp_path)
    wang = place.browser("wang", "analyst")
    card = wang.get("/map/site/L1?night=2026-03-01").text
    assert "疑似新增" in card
    assert "<html" not in card
    assert re.search(r'href="/triage\?alert=[0-9a-f]{32}"', card)
    [night] = wang.get("/map/nights/2026-03-01.json").json()["scenes"]
    assert night["layers"] == ["before", "after"]
    assert night["findings"] > 0


def test_the_map_is_for_those_who_are_signed_in(place: House) -> None:
    for path in ("/map", "/map/list", "/map/sites.json", "/map/nights/2026-03-01.json", "/map/site/A"):
        assert place.stranger(accept="text/html").get(path).status_code in (303, 401)


def test_tiles_of_tianditu_need_the_operators_token_and_are_allowed_on_the_map_alone(open_service: Any) -> None:
    with open_service() as plain:
        answer = plain.client.get("/map")
        assert "tianditu" not in answer.text.replace("data-tianditu", "")
        assert "img-src 'self' data: blob:;" in answer.headers["content-security-policy"]
    settings = plain.settings.model_copy(update={"tianditu_token": SecretStr("s3cret")})
    with open_service(settings=settings) as service:
        answer = service.client.get("/map")
        assert f"img-src 'self' data: {TIANDITU} blob:;" in answer.headers["content-security-policy"]
        addresses = json.loads(unescape(re.search(r'data-tianditu="([^"]*)"', answer.text)[1]))  # type: ignore[index]
        assert set(addresses) == {"img", "vec"}
        every = [each for pair in addresses.values() for each in pair]
        assert all(each.startswith(f"{TIANDITU}/") and each.endswith("tk=s3cret") for each in every)
        for path in ("/", "/ledger", "/map/sites.json", "/map/list"):
            assert "img-src 'self' blob:;" in service.client.get(path).headers["content-security-policy"]
        assert "s3cret" not in service.client.get("/ledger").text
        assert "s3cret" not in repr(settings)
