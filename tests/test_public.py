"""What the public may read: what named persons decided, without places and names; and how often the system is wrong."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from shapely import get_coordinates
from shapely.geometry import shape
from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from inference.model import BUNDLED
from service.ledger.audit import SYSTEM, Actor, writing
from service.ledger.states import move_site
from service.ledger.tables import Alert, Decision, Site
from service.pages import public as pages
from service.public import accuracy, ledger
from service.public.ledger import OTHER_STREETS, PublicSite, Wanted
from tests.ledgers import NIGHT, empty_database, site
from tests.people import House, house

PAGES = ("/public", "/public/ledger.csv", "/public/accuracy", "/public/report", "/public/report/status")
STREET = "八角街道"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with empty_database(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, red: Any) -> Iterator[House]:
    """A service that lets the public in, with a ledger of which each test reads."""
    with house(tmp_path_factory.mktemp("public"), lambda: red, public="on") as made:
        with writing(made.engine) as session:
            fill(session)
        yield made


@contextmanager
def closed(folder: Path, red: Any) -> Iterator[House]:
    with house(folder, lambda: red) as made:
        yield made


def fill(session: Session) -> None:
    """Four sites of one street in several states, and one of a street of its own."""
    for number, (code, state) in enumerate(
        (("A1", "open"), ("A2", "watched"), ("A3", "rebound_confirmed"), ("B%1", "claimed_clear"))
    ):
        site(
            session, code, x=200.0 * number, state=state, street=STREET, name=f"赵某某的院子{number}",
            inspector="巡查员孙某", community="八角北里", system="shougang" if number == 2 else "collective",
            closed_on=date(2017, 6, 28 + number % 2) if state != "open" else None, opened_on=date(2016, 1, 2),
        )  # fmt: skip
    site(session, "C1", x=900.0, name="钱家小院", street="古城路12号钱某家", land_m2=7.0, greened_m2=3.0)


# --- Open or not --------------------------------------------------------------------------------------------


def test_closed_by_default_there_is_nothing_for_strangers_and_a_note_for_who_is_signed_in(
    tmp_path: Path, red: Any
) -> None:
    with closed(tmp_path, red) as made:
        stranger, analyst = made.stranger(accept="text/html"), made.browser("ana", "analyst")
        analyst.headers["accept"] = "text/html"
        for path in PAGES:
            answer = stranger.get(path)
            assert (answer.status_code, "没有这个页面" in answer.text) == (404, True), path
            assert "公开" not in answer.text
            note = analyst.get(path)
            assert note.status_code == 404
            assert "公开页面未启用" in note.text
            assert "JINGDI_PUBLIC=on" in note.text
        assert stranger.post("/public/report", data={"text": "有人在盖房子"}).status_code == 404
        assert stranger.get("/reports").status_code == 303


def test_open_it_is_read_without_signing_in_and_nothing_else_is(place: House) -> None:
    stranger = place.stranger(accept="text/html")
    for path in PAGES:
        assert stranger.get(path).status_code == 200, path
    assert stranger.get("/ledger").headers["location"].startswith("/login")
    assert stranger.get("/publicity").headers["location"].startswith("/login")


# --- What is left out ---------------------------------------------------------------------------------------


def test_no_name_and_no_place_beyond_a_street_gets_out(place: House) -> None:
    stranger = place.stranger(accept="text/html")
    texts = [stranger.get(f"{path}?lang={language}").text for path in PAGES for language in ("zh", "en")]
    with Session(place.engine) as session:
        sites = session.scalars(select(Site)).all()
        secrets = {each.name for each in sites} | {each.courtyard.code for each in sites}
        secrets |= {"赵某某", "孙某", "八角北里", "古城路12号", "钱某"}
        for each in sites:
            for lon, lat in get_coordinates(shape(each.geometry)):
                secrets |= {f"{lon:.2f}", f"{lat:.3f}", f"{lat:.2f}"}
    assert len(secrets) > 10
    for text in texts:
        assert not [secret for secret in secrets if secret in text]


def test_the_geometry_is_not_even_read(engine: Engine) -> None:
    with writing(engine) as session:
        fill(session)
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    with Session(engine) as session:
        assert ledger.sites(session, Wanted(street=STREET, state="accepted"))
        assert ledger.totals(session)
    assert asked
    assert not [statement for statement in asked if re.search(r"geometry|\bwest\b|radius|\.name|inspector", statement)]
    assert set(PublicSite.__slots__) == {
        "code", "street", "system", "state", "land_m2", "building_m2", "greened_m2", "opened_on", "closed_on",
    }  # fmt: skip


def test_a_street_of_few_sites_is_left_out_and_cannot_be_asked_for(engine: Engine) -> None:
    with writing(engine) as session:
        fill(session)
    with Session(engine) as session:
        assert ledger.streets(session) == [STREET]
        assert [(each.code, each.street) for each in ledger.sites(session, Wanted())][-1] == ("C1", None)
        assert ledger.sites(session, Wanted(street="古城路12号钱某家")) == []
        assert [each.code for each in ledger.sites(session, Wanted(street=OTHER_STREETS))] == ["C1"]


def test_nobody_can_tell_that_the_system_suspects_anything(place: House) -> None:
    """Byte for byte the same before and after, filters and figures included."""
    stranger = place.stranger(accept="text/html")
    addresses = [*PAGES[:3], *(f"/public?state={state}" for state in ledger.PUBLIC_STATES)]
    before = [stranger.get(address).text for address in addresses]
    with writing(place.engine) as session:
        watched = session.scalars(select(Site).where(Site.code == "A2")).one()
        session.add(an_alert(watched))
        session.flush()
        move_site(session, watched, "watched", "rebound_suspected", SYSTEM, "two_looks")
    assert [stranger.get(address).text for address in addresses] == before
    with writing(place.engine) as session:
        watched = session.scalars(select(Site).where(Site.code == "A2")).one()
        move_site(session, watched, "rebound_suspected", "rebound_confirmed", Actor("赵巡查"), "去看过")
    assert "A2" in stranger.get("/public?state=rebound_confirmed").text


def an_alert(owner: Site, state: Any = "corroborated") -> Alert:
    return Alert(
        site_id=owner.id, cause="new", state=state, probability=0.9, area_m2=90.0, looks=2, first_seen_at=NIGHT,
        last_seen_at=NIGHT, opened_at=NIGHT,
    )  # fmt: skip


# --- Filters, sums, files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "codes"),
    [
        (Wanted(), ["A1", "A2", "A3", "B%1", "C1"]),
        (Wanted(code="A"), ["A1", "A2", "A3"]),
        (Wanted(code="%"), []),
        (Wanted(code="B%"), ["B%1"]),
        (Wanted(system="shougang"), ["A3"]),
        (Wanted(state="accepted"), ["A2", "C1"]),
        (Wanted(state="open"), ["A1"]),
        (Wanted(closed_from=date(2017, 6, 29)), ["A2", "C1"]),
        (Wanted(closed_until=date(2017, 6, 29)), ["A2", "A3"]),
        (Wanted(closed_from=date(2017, 6, 30), closed_until=date(2017, 6, 30)), ["C1"]),
        (Wanted(street=STREET, state="rebound_confirmed", system="shougang"), ["A3"]),
    ],
)
def test_filters(engine: Engine, wanted: Wanted, codes: list[str]) -> None:
    with writing(engine) as session:
        fill(session)
    with Session(engine) as session:
        assert [each.code for each in ledger.sites(session, wanted)] == codes
        assert ledger.count(session, wanted) == len(codes)


def test_an_entry_that_is_open_shows_no_closing_date(engine: Engine) -> None:
    with writing(engine) as session:
        fill(session)
    with Session(engine) as session:
        dates = {each.code: each.closed_on for each in ledger.sites(session, Wanted())}
    assert dates["B%1"] is None  # claimed, with a date that nobody accepted
    assert dates["A2"] == date(2017, 6, 29)


def test_sums_are_those_of_the_ledger(engine: Engine) -> None:
    with writing(engine) as session:
        fill(session)
    with Session(engine) as session:
        *systems, everything = ledger.totals(session)
    assert [(each.system, each.sites, each.closed) for each in systems] == [("collective", 4, 2), ("shougang", 1, 0)]
    assert (everything.sites, everything.land_m2, everything.greened_m2) == (5, 4 * 3600.0 + 7, 3.0)


def test_the_file_has_what_the_page_has_and_computes_nothing(place: House) -> None:
    stranger = place.stranger()
    with writing(place.engine) as session:
        site(session, "=1+1", x=1500.0, street=STREET)
    answer = stranger.get("/public/ledger.csv?lang=zh")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(b"\xef\xbb\xbf")
    heading, *rows = csv.reader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert heading[:4] == ["点位编号", "街道", "责任系统", "状态"]
    assert heading[4] == "占地面积 (平方米)"
    assert ["A1", STREET, "集经系统", "挂账", "3600", "100", "0", "2016-01-02", ""] in rows
    assert ["'=1+1", STREET] in [row[:2] for row in rows]
    assert ["C1", "其他"] in [row[:2] for row in rows]
    narrowed = stranger.get("/public/ledger.csv?state=open&lang=en").content.decode("utf-8-sig")
    assert [row[0] for row in csv.reader(io.StringIO(narrowed))] == ["Site code", "A1"]


def test_pages_lead_on_with_the_filters_kept(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", 2)
    text = place.stranger().get("/public?street=%E5%85%AB%E8%A7%92%E8%A1%97%E9%81%93&page=2").text
    assert 'href="/public?street=%E5%85%AB%E8%A7%92%E8%A1%97%E9%81%93&amp;page=1"' in text
    assert len(re.findall(r'<th scope="row">[AB=]', text)) == 2
    assert place.stranger().get("/public?page=9999").status_code == 200


@pytest.mark.parametrize("query", ["state=watched", "system=x", "since=yesterday", "page=0"])
def test_what_cannot_be_asked_is_refused(place: House, query: str) -> None:
    answer = place.stranger(accept="text/html").get(f"/public?{query}")
    assert answer.status_code == 422


def test_an_empty_ledger_says_what_will_be_there(tmp_path: Path, red: Any) -> None:
    with house(tmp_path, lambda: red, public="on") as made:
        assert "台账还没有内容" in made.stranger().get("/public").text


# --- How often it is wrong ----------------------------------------------------------------------------------


def decide(session: Session, owner: Site, at: datetime, *targets: str) -> None:
    for target in targets:
        alert = an_alert(owner, "closed")
        session.add(alert)
        session.flush()
        session.add(
            Decision(
                site_id=owner.id, alert_id=alert.id, source="dispatched", target=target, actor="赵巡查", reason="看过",
                evidence=[], decided_at=at,
            )
        )  # fmt: skip


def test_leads_that_people_decided_are_counted_within_the_period(engine: Engine) -> None:
    since, until = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    with writing(engine) as session:
        owner = site(session, "A")
        decide(session, owner, since, "confirmed", "confirmed", "dismissed", "confirmed")
        decide(session, owner, until, "dismissed")
        decide(session, owner, since - timedelta(seconds=1), "dismissed")
        decide(session, owner, since, "closed")  # no verdict of its own
        session.add(an_alert(owner))  # nobody has decided it
    with Session(engine) as session:
        found = accuracy.decided(session, since, until)
        assert (found.leads, found.wrong, found.one_in) == (4, 1, 4.0)
        nothing = accuracy.decided(session, until + timedelta(days=1), until + timedelta(days=2))
        assert (nothing.leads, nothing.one_in) == (0, None)


def test_the_page_says_plainly_how_many_leads_were_wrong(tmp_path: Path, red: Any) -> None:
    with house(tmp_path, lambda: red, public="on") as made:
        stranger = made.stranger()
        assert "还没有核实过线索" in stranger.get("/public/accuracy").text
        with writing(made.engine) as session:
            owner = site(session, "A")
            decide(session, owner, datetime.now(UTC) - timedelta(days=2), *["confirmed"] * 5, *["dismissed"] * 2)
        text = stranger.get("/public/accuracy?lang=zh").text
        assert "每 3.5 条线索约有 1 条是错的" in text
        assert "具名人员核实了 7 条，其中 2 条不属实" in text
        assert "数量还少" in text
        assert "About 1 of 3.5 leads was wrong" in stranger.get("/public/accuracy?lang=en").text


MANIFEST = {
    "name": "test", "version": "1.0", "sha256": "e" * 64,
    "metrics": {
        "town/change": {"objects": 90, "object_recall": 0.9, "false_objects_per_km2": 3.0, "area_km2": 2.0},
        "city/change": {"objects": 10, "object_recall": 0.5, "false_objects_per_km2": 0.0, "area_km2": 1.0},
        "calm/change": {"objects": 0, "object_recall": None, "false_objects_per_km2": 5.0, "area_km2": 3.0},
        "town/change (swapped)": {"objects": 90, "object_recall": 0.1, "false_objects_per_km2": 99, "area_km2": 2.0},
        "town/structure_after": {"objects": 5, "object_recall": 0.1, "false_objects_per_km2": 99, "area_km2": 2.0},
    },
    "reliability": {"findings: change": {"error": 0.04, "bins": [[0.65, 0.5, 12], [0.95, 0.97, 80]]}},
}  # fmt: skip


def test_validation_figures_are_those_of_all_sets_together() -> None:
    found = accuracy.validation(MANIFEST)
    assert found is not None
    assert (found.structures, found.km2) == (100, 6.0)
    assert found.found_share == pytest.approx((90 * 0.9 + 10 * 0.5) / 100)
    assert found.false_per_km2 == pytest.approx((3 * 2 + 5 * 3) / 6)
    assert [(row.said, row.true, row.count) for row in found.calibration] == [(0.65, 0.5, 12), (0.95, 0.97, 80)]


def test_the_page_shows_the_figures_of_the_weights_in_use(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "manifest_in_use", lambda registry: MANIFEST)
    text = place.stranger().get("/public/accuracy?lang=en").text
    assert "Of 100 real changes in the validation imagery, 86% were found and 14.0% missed." in text
    assert "On 6.0 km² of validation imagery there were 3.5 false leads per square kilometre" in text
    assert "e" * 64 in text
    assert "they differ by 4 percentage points" in text


def test_weights_without_figures_are_not_praised(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for manifest in ({}, {"name": "x", "metrics": {}}):
        monkeypatch.setattr(accuracy, "manifest_in_use", lambda registry, given=manifest: given)
        text = place.stranger().get("/public/accuracy?lang=en").text
        assert "no published figures" in text
        assert "were found" not in text


def test_the_weights_that_come_with_jingdi_have_figures_to_publish() -> None:
    found = accuracy.validation(json.loads((BUNDLED / "overhead.json").read_bytes()))
    assert found is not None
    assert 0 < found.found_share <= 1
    assert found.calibration
