"""Sites in lists: Chinese search, filters, order, and sums that add up to the founding case."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.ledger import fixture
from service.ledger.audit import writing
from service.ledger.listing import Wanted, best, by_state, choices, count, sites, totals
from service.ledger.tables import SITE_STATES, Courtyard
from tests.ledgers import NIGHT, empty_database, site


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with empty_database(tmp_path_factory.mktemp("listing")) as engine:
        fixture.load(engine, closed=12)
        yield engine


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Session]:
    with empty_database(tmp_path) as engine, writing(engine) as session:
        yield session


def codes(found: Any) -> list[str]:
    return [each.code for each in found]


def test_totals_are_those_of_the_founding_case(whole: Engine) -> None:
    with Session(whole) as session:
        found = totals(session, Wanted())
    assert [(each.system, each.sites, each.land_m2 / 1e4, each.building_m2 / 1e4) for each in found] == [
        ("collective", 380, 144, 82), ("state_assets", 74, 5, 4), ("shougang", 48, 13, 8),
        ("government_social", 45, 17, 6), (None, 547, 179, 100),
    ]  # fmt: skip
    assert (found[-1].courtyards, found[-1].closed, found[-1].greened_m2) == (528, 12, 210_000)


def test_totals_of_a_search_that_finds_nothing_are_zero_for_every_system(whole: Engine) -> None:
    with Session(whole) as session:
        found = totals(session, Wanted("没有这样的地方"))
    assert [(each.sites, each.land_m2) for each in found] == [(0, 0)] * 5


def test_numbers_by_state_do_not_depend_on_the_state_that_is_wanted(whole: Engine) -> None:
    with Session(whole) as session:
        found = by_state(session, Wanted(state="watched", system="collective"))
        assert count(session, Wanted(state="watched", system="collective")) == found["watched"] == 12
    assert list(found) == list(SITE_STATES)
    assert sum(found.values()) == 380


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("八角", ["八角"]),
        ("八角　第3社区", ["八角", "第3社区"]),
        ("dw0007", ["DW0007"]),
        ("ＤＷ０００７", ["DW0007"]),
        (" 500号院 ", ["500号院"]),
        ("八角 DW0007", ["八角", "DW0007"]),
        ("%", ["%"]),
        ("_", ["_"]),
    ],
)
def test_a_search_takes_every_word_anywhere_whatever_its_case_and_width(
    whole: Engine, text: str, words: list[str]
) -> None:
    names = ("code", "courtyard_code", "courtyard_name", "name", "street", "community")
    rows = [each["properties"] for each in fixture.features()]
    expected = [row["code"] for row in rows if all(any(word in row[name] for name in names) for word in words)]
    with Session(whole) as session:
        assert codes(sites(session, Wanted(text))) == expected


def test_full_width_names_are_found_as_they_are_written(few: Session) -> None:
    yard = Courtyard(code="Y", name="１号院", created_at=NIGHT)
    site(few, "A", courtyard=yard)
    assert codes(best(few, "１号院", 5)) == ["A"]


def test_what_is_called_exactly_so_comes_first(few: Session) -> None:
    for code in ("A12", "B-A1", "A1"):
        site(few, code)
    assert codes(best(few, "a1", 9)) == ["A1", "A12", "B-A1"]
    assert codes(best(few, "a1", 1)) == ["A1"]


def test_signs_of_the_pattern_language_mean_themselves(few: Session) -> None:
    site(few, "100%")
    site(few, "1000")
    site(few, "a_b")
    site(few, "acb")
    assert codes(best(few, "100%", 9)) == ["100%"]
    assert codes(best(few, "a_b", 9)) == ["a_b"]
    assert codes(best(few, "\\", 9)) == []


def test_not_seen_since_has_those_never_seen(few: Session) -> None:
    site(few, "never")
    site(few, "old", observed_at=NIGHT - timedelta(days=40))
    site(few, "new", observed_at=NIGHT)
    since = Wanted(unseen_since=NIGHT - timedelta(days=30))
    assert codes(sites(few, since)) == ["never", "old"]
    assert codes(sites(few, Wanted(never_seen=True))) == ["never"]
    assert codes(sites(few, Wanted(), sort="observed")) == ["never", "old", "new"]
    assert codes(sites(few, Wanted(), sort="observed", descending=True)) == ["new", "old", "never"]


def test_order_is_that_of_the_ledger_and_what_is_missing_comes_last(few: Session) -> None:
    site(few, "a", state="watched", street=None)
    site(few, "b", state="open", street="八角街道")
    site(few, "c", state="rebound_suspected", street="古城街道")
    assert codes(sites(few, Wanted(), sort="state")) == ["b", "a", "c"]
    assert codes(sites(few, Wanted(), sort="state", descending=True)) == ["c", "a", "b"]
    for descending in (False, True):
        assert codes(sites(few, Wanted(), sort="street", descending=descending))[-1] == "a"
    assert choices(few, "street") == ["八角街道", "古城街道"]


def test_pages_follow_each_other_without_a_gap(whole: Engine) -> None:
    with Session(whole) as session:
        pages = [
            codes(sites(session, Wanted(), sort="system", limit=100, offset=start)) for start in range(0, 547, 100)
        ]
        assert [code for page in pages for code in page] == codes(sites(session, Wanted(), sort="system"))
