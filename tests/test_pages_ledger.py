"""The page of the ledger and the import wizard: what they say, who may, and that they need no script."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from service.database import connect
from service.ledger import fixture
from service.ledger.audit import writing
from service.ledger.fields import FIELDS
from service.ledger.tables import AuditEntry, Site
from service.pages.ledger import PAGE, around
from service.pages.ledger_import import PROBLEMS
from tests.ledgers import site
from tests.people import House, house

NOW = datetime.now(UTC)


@pytest.fixture
def place(tmp_path: Path, red: Any) -> Iterator[House]:
    with house(tmp_path, lambda: red) as made:
        yield made


@pytest.fixture
def engine(service: Any) -> Iterator[Engine]:
    found = connect(service.settings.resolved_database_url)
    yield found
    found.dispose()


@pytest.fixture
def ledger(engine: Engine) -> Engine:
    with writing(engine) as session:
        site(session, "A1", land_m2=10_000, building_m2=6_666.67, street="八角街道", batch="第一批", state="open")
        site(session, "A2", land_m2=5_000, system="shougang", street="古城街道", observed_at=NOW - timedelta(days=100))
        site(session, "B1", land_m2=2_500, system="shougang", state="rebound_suspected", observed_at=NOW)
    return engine


def rows(page: str) -> list[str]:
    return re.findall(r'<th scope="row" data-column="code"><a href="[^"]*">([^<]*)', page)


def get(service: Any, query: str = "", language: str = "zh") -> str:
    answer = service.client.get(f"/ledger{query}", headers={"Accept-Language": language})
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


def features(count: int = 6, **changes: Any) -> bytes:
    found = fixture.features()[:count]
    for each in found:
        each["properties"] |= changes
    return json.dumps({"type": "FeatureCollection", "features": found}).encode()


def test_an_empty_ledger_teaches_how_to_begin(service: Any) -> None:
    page = get(service)
    assert "台账还是空的" in page
    assert 'href="/ledger/import"' in page
    assert "<table" not in page
    assert "The ledger is still empty" in get(service, language="en")


def test_what_the_first_step_calls_needed_is_needed(service: Any) -> None:
    needed = [each.zh for each in FIELDS if each.required]
    assert all(name in get(service) for name in needed)


def test_totals_stand_per_system_in_the_chosen_unit(service: Any, ledger: Engine) -> None:
    def total(page: str) -> list[str]:
        last = page[page.index('class="everything"') :]
        return re.findall(r'<td class="figures">([^<]*)', last[: last.index("</tr>")])

    assert total(get(service)) == ["3", "1.75", "0.69", "0.00"]
    assert total(get(service, "?unit=mu")) == ["3", "26.2", "10.3", "0.0"]
    assert total(get(service, "?unit=m2")) == ["3", "17,500", "6,867", "0"]
    assert total(get(service, "?system=shougang")) == ["2", "0.75", "0.02", "0.00"]
    assert "仅筛选出的点位" in get(service, "?system=shougang")


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("", ["A1", "A2", "B1"]),
        ("?q=八角", ["A1"]),
        ("?state=open&system=&street=&q=", ["A1"]),
        ("?system=shougang&street=古城街道", ["A2"]),
        ("?batch=第一批", ["A1"]),
        ("?unseen=90", ["A1", "A2"]),
        ("?unseen=never", ["A1"]),
        ("?sort=land", ["B1", "A2", "A1"]),
        ("?sort=land&order=desc", ["A1", "A2", "B1"]),
        ("?q=nothing", []),
    ],
)
def test_filters_and_order_are_in_the_address(service: Any, ledger: Engine, query: str, codes: list[str]) -> None:
    assert rows(get(service, query)) == codes


def test_every_link_on_the_page_keeps_what_was_asked_for(service: Any, ledger: Engine) -> None:
    page = get(service, "?system=shougang&sort=land&q=古城")
    addresses = [each for each in re.findall(r'href="(/ledger\?[^"]*)"', page) if "lang=" not in each]
    assert len(addresses) > 15
    assert all("q=%E5%8F%A4%E5%9F%8E" in each for each in addresses)
    others = [each for each in addresses if "system=shougang" not in each]
    assert [re.search(r"system=(\w+)", each)[1] for each in others] == [  # type: ignore[index]
        "collective", "state_assets", "government_social",
    ]  # fmt: skip
    assert re.search(r'href="/ledger\?[^"]*system=shougang[^"]*lang=en"', page)
    assert 'aria-sort="ascending"' in page


def test_time_since_a_site_was_seen_is_told_and_never_green(service: Any, ledger: Engine) -> None:
    page = get(service)
    assert re.search(r'data-level="never">从未<', page)
    assert re.search(r'data-level="old">\d{4}-\d\d-\d\d，100 天前<', page)
    assert re.search(r'data-level="recent">\d{4}-\d\d-\d\d，今天<', page)
    assert "不等于没有建筑" in page
    styles = (Path(__file__).parent.parent / "service" / "static" / "sites.css").read_text("utf-8")
    rules = re.findall(r"\.seen[^{]*\{([^}]*)\}", styles)
    assert rules
    assert not any("accent" in rule or "clear" in rule for rule in rules)


def test_a_long_ledger_comes_in_pages(service: Any, engine: Engine) -> None:
    with writing(engine) as session:
        for number in range(PAGE + 3):
            site(session, f"S{number:03}")
    assert len(rows(get(service))) == PAGE
    assert rows(get(service, "?page=2")) == ["S050", "S051", "S052"]
    assert rows(get(service, "?page=9")) == ["S050", "S051", "S052"]  # the last there is
    assert "显示第 51–53 个" in get(service, "?page=2")


def test_pages_to_offer_are_the_ends_and_the_near_ones() -> None:
    assert around(1, 1, str) == []
    assert around(1, 2, str) == [(1, None), (2, "2")]
    assert [each for each, _ in around(10, 20, str)] == [1, 8, 9, 10, 11, 12, 20]


@pytest.mark.parametrize("query", ["?state=burnt", "?page=0", "?sort=name", "?unit=mile", "?unseen=1"])
def test_what_makes_no_sense_is_refused(service: Any, query: str) -> None:
    assert service.client.get(f"/ledger{query}", headers={"Accept": "text/html"}).status_code == 422


def test_names_cannot_become_markup(service: Any, engine: Engine) -> None:
    with writing(engine) as session:
        site(session, "<i>&'", street="<script>x</script>")
    page = service.client.get("/ledger?q=<i>").text
    assert "<i>" not in page
    assert "<script>x" not in page
    assert 'href="/sites/%3Ci%3E%26%27"' in page


def test_what_is_filtered_is_what_is_exported(service: Any, ledger: Engine) -> None:
    for query, codes in (("", ["A1", "A2", "B1"]), ("?q=A&unseen=30&sort=land&page=1", ["A1", "A2"])):
        page = get(service, query)
        assert sorted(rows(page)) == codes
        address = re.search(r'href="(/api/v1/ledger/export\.geojson[^"]*)"', page)
        assert address is not None
        assert [each["id"] for each in service.client.get(address[1]).json()["features"]] == codes


def test_doors_are_shown_to_those_who_may_open_them(place: House) -> None:
    reviewer, analyst, inspector = (place.browser(name, name) for name in ("reviewer", "analyst", "inspector"))
    with writing(place.engine) as session:
        site(session, "A")
    assert [("/ledger/import" in each.get("/ledger").text) for each in (reviewer, analyst)] == [True, False]
    assert [("export.csv" in each.get("/ledger").text) for each in (analyst, inspector)] == [True, False]
    assert analyst.get("/ledger/import").status_code == 403
    assert place.stranger(accept="text/html").get("/ledger").headers["location"] == "/login?next=%2Fledger"


# --- Import -----------------------------------------------------------------------------------------------


def upload(client: Any, data: bytes, crs: str = "WGS-84", name: str = "台账.geojson", **more: str) -> Any:
    form = {"crs": crs} | more
    return client.post("/ledger/import", files={"file": (name, data)}, data=form, follow_redirects=False)


def number_of_sites(engine: Engine) -> int:
    with Session(engine) as session:
        return session.scalar(select(func.count()).select_from(Site)) or 0


def test_no_coordinate_system_is_chosen_beforehand_and_the_shifted_ones_are_explained(service: Any) -> None:
    page = service.client.get("/ledger/import").text
    assert "checked" not in page
    assert "相差约 500 米" in page
    assert all(f'value="{each}"' in page for each in ("WGS-84", "CGCS2000", "GCJ-02", "BD-09", "EPSG:4548", "other"))


@pytest.mark.parametrize(
    ("data", "fields", "text"),
    [
        (b"", {"crs": "WGS-84"}, "请选择一个有内容的文件"),
        (b"x", {"crs": ""}, "请指明坐标系"),
        (b"x", {"crs": "other", "other": " "}, "请指明坐标系"),
    ],
)
def test_what_is_missing_is_asked_for_again(service: Any, data: bytes, fields: dict[str, str], text: str) -> None:
    answer = upload(service.client, data, **fields)
    assert answer.status_code == 422
    assert text in answer.text


def test_a_dry_run_lists_each_rows_problem_and_writes_nothing(service: Any, engine: Engine) -> None:
    bad = features().replace(b'"collective"', b'"steel"', 1)
    tried = upload(service.client, bad)
    assert tried.status_code == 303
    page = service.client.get(tried.headers["location"]).text
    assert "“steel”不在可选项之内" in unescape(page)
    assert "请填其中之一" in page
    assert re.search(r"将新增</dt><dd>5<", page)
    assert re.search(r"不能导入的行</dt><dd>1<", page)
    assert number_of_sites(engine) == 0
    english = service.client.get(tried.headers["location"], headers={"Accept-Language": "en"}).text
    assert "Rows that cannot be imported" in english


def test_what_was_tried_is_what_is_written_by_a_named_person(service: Any, engine: Engine) -> None:
    tried = upload(service.client, features(), "other", other="EPSG:4326").headers["location"]
    nobody = service.client.post(tried, data={"actor": "系统"})
    assert nobody.status_code == 403
    assert "不能由系统办理" in nobody.text
    assert number_of_sites(engine) == 0
    done = service.client.post(tried, data={"actor": "王经办"}, follow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, tried)
    assert "新增 6 个" in service.client.get(tried).text
    with Session(engine) as session:
        [entry] = session.scalars(select(AuditEntry).where(AuditEntry.action == "ledger.import"))
        assert (entry.actor, json.loads(entry.detail)["source"]["file"]) == ("王经办", "台账.geojson")
    again = service.client.post(tried, data={"actor": "王经办"}, follow_redirects=False)
    assert again.status_code == 303  # the same click twice
    assert number_of_sites(engine) == 6


def test_bad_rows_keep_the_file_out_unless_they_are_left_out_knowingly(service: Any, engine: Engine) -> None:
    tried = upload(service.client, features().replace(b'"collective"', b'"steel"', 1)).headers["location"]
    refused = service.client.post(tried, data={"actor": "王经办"})
    assert refused.status_code == 422
    assert "一行也没有写入" in refused.text
    assert number_of_sites(engine) == 0
    service.client.post(tried, data={"actor": "王经办", "skip_bad": "true"})
    assert number_of_sites(engine) == 5
    assert "跳过 1 行" in service.client.get(tried).text


@pytest.mark.parametrize(("data", "crs"), [(b"\xff\xfe\x00nonsense", "WGS-84"), (features(), "EPSG:999999")])
def test_a_file_that_is_wrong_as_a_whole_offers_no_import(service: Any, data: bytes, crs: str) -> None:
    page = service.client.get(upload(service.client, data, crs).headers["location"]).text
    assert "文件本身有问题" in page
    assert "<button" not in page[page.index('class="take"') : page.index("</main>")]


def test_a_file_that_changes_nothing_offers_no_import(service: Any) -> None:
    first = upload(service.client, features()).headers["location"]
    service.client.post(first, data={"actor": "王经办"})
    page = service.client.get(upload(service.client, features()).headers["location"]).text
    assert "没有可以写入的变化" in page


def test_many_problems_come_in_pages(service: Any) -> None:
    tried = upload(service.client, features(PROBLEMS + 5, system="steel")).headers["location"]
    first, second = (service.client.get(f"{tried}?page={page}").text for page in (1, 2))
    assert (first.count("<tr data-fatal"), second.count("<tr data-fatal")) == (PROBLEMS, 5)


def test_an_import_belongs_to_who_began_it(place: House) -> None:
    wang, li = (place.browser(name, "reviewer") for name in ("wang", "li"))
    tried = upload(wang, features()).headers["location"]
    assert li.get(tried).status_code == 404
    assert li.post(tried).status_code == 404
    assert 'name="actor"' not in wang.get(tried).text
    assert wang.post(tried).status_code == 303
    with Session(place.engine) as session:
        assert session.scalars(select(AuditEntry.actor).where(AuditEntry.action == "ledger.import")).all() == ["wang"]
    foreign = wang.post(tried, headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403
