"""The bulletin: figures of a period that stay what they were, and pictures that somebody has looked at."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.ledger.audit import SYSTEM, writing
from service.ledger.states import move_site
from service.ledger.tables import Alert, Observation, Site
from service.pages import bulletin as pages
from service.printing.bulletin import Bulletin, Line, Period, bulletin
from service.storage import Storage
from tests.ledgers import CLERK, NIGHT, empty_database, site
from tests.people import House, house
from tests.printed import add_pair, add_scene, close, look, rebound

MARCH = Period(date(2026, 3, 1), date(2026, 3, 31))
NOON = datetime(2026, 3, 10, 4, tzinfo=UTC)  # in China


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with empty_database(tmp_path) as found:
        yield found


def opened(session: Session, code: str, **values: Any) -> Site:
    """A site whose entry is open."""
    number = len(session.scalars(select(Site.id)).all())
    given: dict[str, Any] = {"state": "open", "closed_on": None, "x": 300.0 * number, "street": "八角街道"}
    return site(session, code, **(given | values))


def read(engine: Engine, period: Period = MARCH) -> Bulletin:
    with Session(engine) as session:
        return bulletin(session, period)


def line(engine: Engine, period: Period = MARCH) -> Line:
    return read(engine, period).total


# --- Periods ------------------------------------------------------------------------------------------------


def test_a_period_is_whole_days_in_china() -> None:
    assert MARCH.start == datetime(2026, 2, 28, 16, tzinfo=UTC)
    assert MARCH.end == datetime(2026, 3, 31, 16, tzinfo=UTC)
    with pytest.raises(ValueError, match="comes before"):
        Period(date(2026, 3, 2), date(2026, 3, 1))


@pytest.mark.parametrize(
    ("moment", "counted"),
    [
        (MARCH.start - timedelta(seconds=1), 0),
        (MARCH.start, 1),
        (MARCH.end - timedelta(seconds=1), 1),
        (MARCH.end, 0),
    ],
)
def test_closing_counts_on_its_day_in_china(engine: Engine, moment: datetime, counted: int) -> None:
    with writing(engine) as session:
        close(session, opened(session, "A"), moment)
    assert line(engine).closed_in_period == counted


# --- Figures ------------------------------------------------------------------------------------------------


def test_figures_per_system_add_up(engine: Engine) -> None:
    with writing(engine) as session:
        shared = opened(session, "A", greened_m2=7.0)
        close(session, shared, NOON)
        second = opened(session, "B", courtyard=shared.courtyard)
        close(session, second, NOON - timedelta(days=60))
        opened(session, "C", system="shougang", building_m2=11.0)
    found = read(engine)
    assert [each.system for each in found.lines] == ["collective", "shougang"]
    first, other = found.lines
    assert (first.courtyards, first.sites, first.closed_in_period, first.open, first.watched) == (1, 2, 1, 0, 2)
    assert (other.courtyards, other.sites, other.closed_in_period, other.open, other.watched) == (1, 1, 0, 1, 0)
    for name in ("courtyards", "sites", "land_m2", "building_m2", "greened_m2", "open", "watched", "rebounds"):
        assert getattr(found.total, name) == sum(getattr(each, name) for each in found.lines), name
    assert (found.total.building_m2, found.total.greened_m2) == (211.0, 7.0)
    assert found.closed_land_m2 == 3600.0


def test_a_rebound_counts_when_a_person_has_confirmed_it_and_not_before(engine: Engine) -> None:
    with writing(engine) as session:
        suspected = opened(session, "A")
        close(session, suspected, NOON - timedelta(days=40))
        alert = Alert(
            site_id=suspected.id, cause="new", state="corroborated", probability=0.99, area_m2=500.0, looks=5,
            first_seen_at=NIGHT, last_seen_at=NIGHT, opened_at=NIGHT,
        )  # fmt: skip
        session.add(alert)
        session.flush()
        move_site(session, suspected, "watched", "rebound_suspected", SYSTEM, "two_looks", at=NOON)
        confirmed = opened(session, "B")
        close(session, confirmed, NOON - timedelta(days=40))
        rebound(session, confirmed, NOON)
    found = line(engine)
    assert (found.rebounds, found.watched, found.open) == (1, 1, 1)


def test_a_bulletin_of_the_past_says_what_it_said_then(engine: Engine) -> None:
    with writing(engine) as session:
        first, second = opened(session, "A"), opened(session, "B")
        close(session, first, NOON)
        opened(session, "C")
    before = read(engine)
    with writing(engine) as session:
        first, second, third = session.scalars(select(Site).order_by(Site.code)).all()
        close(session, second, NOON + timedelta(days=40))
        rebound(session, first, NOON + timedelta(days=50))
        move_site(session, first, "rebound_confirmed", "open", CLERK, "重新挂账", at=NOON + timedelta(days=60))
        opened(session, "D", opened_on=date(2026, 4, 1))
        look(session, third, NOON + timedelta(days=45))
    assert read(engine) == before
    april = line(engine, Period(date(2026, 4, 1), date(2026, 6, 30)))
    assert (april.sites, april.closed_in_period, april.open, april.watched, april.rebounds) == (4, 1, 3, 1, 1)


def test_not_observed_is_counted_of_closed_sites_and_never_as_clear(engine: Engine) -> None:
    with writing(engine) as session:
        for code, days in (("recent", 10), ("stale", 91)):
            owner = opened(session, code)
            close(session, owner, MARCH.end - timedelta(days=200))
            look(session, owner, MARCH.end - timedelta(days=days), scene=code)
        partly = opened(session, "partly")
        close(session, partly, MARCH.end - timedelta(days=200))
        evidence = look(session, partly, MARCH.end - timedelta(days=5), scene="half")
        partly.observed_at = MARCH.end - timedelta(days=201)
        session.flush()
        session.get_one(Observation, evidence.ref).observed_share = 0.5
        opened(session, "never-seen-but-open")
        site(session, "imported", x=5000, y=900, state="watched", observed_at=None)
    assert line(engine).not_observed == 3  # stale, partly, imported
    with writing(engine) as session:
        later = session.scalars(select(Site).where(Site.code == "stale")).one()
        look(session, later, MARCH.end + timedelta(days=1), scene="later")
    assert line(engine).not_observed == 3  # what was seen after the period does not count


def test_entries_opened_after_the_period_are_left_out(engine: Engine) -> None:
    with writing(engine) as session:
        opened(session, "A", opened_on=date(2026, 3, 31))
        opened(session, "B", opened_on=date(2026, 4, 1))
    assert line(engine).sites == 1


def test_progress_ends_where_the_table_does(engine: Engine) -> None:
    with writing(engine) as session:
        for number, days in enumerate((-50, -3, 0, 0, 12, 15, 40)):
            close(session, opened(session, f"A{number}"), NOON + timedelta(days=days))
        again = session.scalars(select(Site).where(Site.code == "A0")).one()
        rebound(session, again, NOON + timedelta(days=5))
        site(session, "old", x=9000, state="watched", closed_on=date(2017, 6, 30))
    found = read(engine)
    assert found.progress[0] == (date(2026, 2, 28), 2)  # A0 and the imported one
    assert dict(found.progress)[date(2026, 3, 10)] == 5
    assert dict(found.progress)[date(2026, 3, 16)] == 4  # the rebound
    assert found.progress[-1] == (date(2026, 3, 31), found.total.watched) == (date(2026, 3, 31), 6)
    year = read(engine, Period(date(2025, 1, 1), date(2026, 12, 31)))
    assert len(year.progress) <= 61
    assert year.progress[-1] == (date(2026, 12, 31), year.total.watched)


def test_an_empty_ledger_has_a_bulletin_too(engine: Engine) -> None:
    found = read(engine)
    assert (found.lines, found.total.sites, found.closed) == ([], 0, [])
    assert found.progress[-1][1] == 0


# --- The page -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, red: Any) -> Iterator[House]:
    """A service with a month in which sites were closed on imagery and on photographs."""
    folder = tmp_path_factory.mktemp("bulletin")
    with house(folder, lambda: red) as made:
        storage = Storage(folder)
        with writing(made.engine) as session:
            seen = opened(session, "SEEN", land_m2=9000.0, name="吴某的院子")
            add_scene(session, seen, folder / "scenes", "march night", NOON)
            close(session, seen, NOON, [look(session, seen, NOON, scene="march night")])
            checked = add_pair(session, storage, "aa", NOON, checked_by="王检查")
            close(session, opened(session, "CHECKED"), NOON, [checked])
            close(session, opened(session, "UNCHECKED"), NOON, [add_pair(session, storage, "bb", NOON)])
            close(session, opened(session, "BARE"), NOON)
            opened(session, "OPEN")
        yield made


def test_the_page_says_the_figures_in_words_and_both_languages(place: House) -> None:
    ana = place.browser("ana", "analyst")
    text = ana.get("/bulletin?since=2026-03-01&until=2026-03-31").text
    assert "2026年3月1日至2026年3月31日" in text
    assert "本期销账 4 个点位，占地 1.98 万平方米。期末已销账 4 个，占全部点位的 80%；未销 1 个。" in text
    assert "本期没有点位经核实发生反弹。" in text
    english = ana.get("/bulletin?since=2026-03-01&until=2026-03-31&lang=en").text
    assert "4 sites were closed in the period, with 1.98 ha of land." in english
    assert "1 March 2026 to 31 March 2026" in english


def test_pictures_are_those_the_closing_rests_on_and_photographs_wait_for_a_person(place: House) -> None:
    ana = place.browser("ana", "analyst")
    text = ana.get("/bulletin?since=2026-03-01&until=2026-03-31").text
    assert "/api/v1/scenes/march%20night/before/chip.jpg?" in text
    assert f"/api/v1/pairs/{'aa'.ljust(32, '0')}/after.jpg" in text
    assert "bb".ljust(32, "0") not in text
    assert "有 1 个点位的照片尚未经人检查人脸和车牌" in text
    assert "有 1 个点位的销账依据没有可刊出的影像" in text
    assert text.index("SEEN") < text.index("CHECKED")  # the largest first
    assert "吴某" not in text
    for address in pictures_of(text):
        answer = ana.get(address)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg"), address


def pictures_of(text: str) -> list[str]:
    found = [html.unescape(each) for each in re.findall(r'<img src="([^"]+)"', text)]
    assert len(found) == 4
    return found


def test_only_so_many_are_shown_and_the_rest_is_counted(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "SHOWN", 1)
    text = place.browser("ana", "analyst").get("/bulletin?since=2026-03-01&until=2026-03-31&lang=en").text
    assert "3 more sites were closed in the period" in text


def test_without_dates_it_is_the_last_thirty_days_and_never_the_future(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "today", lambda: date(2026, 3, 30))
    ana = place.browser("ana", "analyst")
    assert "2026年3月1日至2026年3月30日" in ana.get("/bulletin?lang=zh").text
    assert "2026年3月1日至2026年3月30日" in ana.get("/bulletin?since=2026-03-01&until=2027-12-31").text


@pytest.mark.parametrize("path", ["/bulletin", "/bulletin.pdf"])
def test_a_period_that_cannot_be_is_refused_in_words(place: House, path: str) -> None:
    ana = place.browser("ana", "analyst")
    ana.headers["accept"] = "text/html"
    answer = ana.get(f"{path}?since=2026-03-02&until=2026-03-01&lang=zh")
    assert (answer.status_code, "最后一天早于第一天" in answer.text) == (422, True)
    assert ana.get(f"{path}?since=someday").status_code == 422


def test_the_bulletin_is_for_who_is_signed_in(place: House) -> None:
    for path in ("/bulletin", "/bulletin.pdf", "/sites/SEEN/packet.pdf"):
        assert place.stranger().get(path).status_code == 401
        assert place.browser("auditor", "auditor").get(path).status_code == 200
