"""Rebound watch: the closed site is told of once, after two looks, and what was not seen is never clear."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from shapely.geometry import Point, Polygon, mapping
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from inference.findings import Finding
from service.ledger.audit import SYSTEM, AuditEntry, verify, writing
from service.ledger.states import move_alert
from service.ledger.tables import SITE_STATES, Alert, Candidate, Observation, Site
from service.ledger.watch import (
    Outcome,
    Scan,
    Sighting,
    dispatch,
    not_observed_since,
    of_features,
    of_findings,
    take_in,
)
from tests.ledgers import INSPECTOR, NIGHT, PLAIN, at_once, dismiss, empty_database, shed, site, square


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with empty_database(tmp_path) as found:
        yield found


EVERYWHERE = square(-5000, -5000, 10_000)


def scan(night: int, *sightings: Sighting, scene: str | None = None, covered: Any = EVERYWHERE) -> Scan:
    return Scan(scene or f"night-{night}", NIGHT + timedelta(days=night), sightings, covered, "a" * 64)


def run(engine: Engine, *scans: Scan) -> list[Outcome]:
    outcomes = []
    for each in scans:
        with writing(engine) as session:
            outcomes.append(take_in(session, each))
    return outcomes


def add(engine: Engine, *codes: str, **values: Any) -> None:
    """Sites of 60 m, 100 m apart, from the middle of the plain to the east."""
    with writing(engine) as session:
        for number, code in enumerate(codes):
            site(session, code, x=100.0 * number, **values)


def alerts(engine: Engine) -> list[tuple[str, str, int]]:
    with Session(engine) as session:
        rows = session.execute(
            select(Site.code, Alert.state, Alert.looks).join(Alert.site).order_by(Site.code, Alert.opened_at)
        )
        return [tuple(row) for row in rows]  # type: ignore[misc]


def looks(engine: Engine) -> list[tuple[str, str]]:
    with Session(engine) as session:
        query = select(Site.code, Observation.result).join(Site, Site.id == Observation.site_id)
        return [tuple(row) for row in session.execute(query.order_by(Site.code, Observation.observed_at))]  # type: ignore[misc]


def test_two_nights_make_one_alert_that_is_corroborated(engine: Engine) -> None:
    add(engine, "A")
    first, second = run(engine, scan(0, shed(10, 10)), scan(1, shed(11, 9)))
    assert alerts(engine) == [("A", "corroborated", 2)]
    assert (len(first.opened), first.corroborated) == (1, [])
    assert first.opened == second.seen_again == second.corroborated
    with Session(engine) as session:
        assert session.scalars(select(Site.state)).one() == "rebound_suspected"
        assert verify(session).problem is None


def test_all_findings_of_a_site_and_cause_are_one_alert_and_another_cause_is_another(engine: Engine) -> None:
    add(engine, "A")
    run(engine, scan(0, shed(5, 5), shed(30, 30, 20, 0.7), shed(5, 40, cause="remaining")))
    with Session(engine) as session:
        rows = session.execute(select(Alert.cause, Alert.probability, Alert.area_m2).order_by(Alert.cause)).all()
        assert [tuple(row) for row in rows] == [("new", 0.9, 500.0), ("remaining", 0.9, 100.0)]
        assert len(session.scalars(select(Observation)).all()) == 2


def test_the_same_scene_again_changes_nothing(engine: Engine) -> None:
    add(engine, "A", "B")
    run(engine, scan(0, shed(10, 10), shed(900, 900)))

    def count() -> list[Any]:
        with Session(engine) as session:
            return [
                session.scalar(select(func.count()).select_from(t)) for t in (Alert, Observation, Candidate, AuditEntry)
            ]

    before = count()
    [again] = run(engine, scan(0, shed(10, 10), shed(900, 900)))
    assert again.nothing_new
    assert count() == before


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (scan(0, shed(10, 10), scene="other strip"), "the same day"),
        (scan(1, shed(10, 10), scene="night-0"), "the same scene"),
        (scan(1, shed(45, 45)), "another place on the site"),
        (scan(1, shed(10, 10, cause="remaining")), "another cause"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_second_look_does_not_corroborate(engine: Engine, second: Scan, why: str) -> None:
    add(engine, "A")
    run(engine, scan(0, shed(10, 10)), second)
    assert {state for _, state, _ in alerts(engine)} == {"suspected"}, why


def test_the_day_of_a_look_is_that_of_beijing(engine: Engine) -> None:
    add(engine, "A")
    evening = datetime(2026, 3, 1, 15, 59, tzinfo=UTC)
    for scene, taken in (("a", evening), ("b", evening + timedelta(minutes=2))):
        run(engine, Scan(scene, taken, (shed(10, 10),)))
    assert alerts(engine) == [("A", "corroborated", 2)]


@pytest.mark.parametrize("state", SITE_STATES)
def test_only_a_closed_site_gets_an_alert(engine: Engine, state: str) -> None:
    add(engine, "A", state=state)
    run(engine, scan(0, shed(10, 10)))
    closed = state in ("accepted", "watched", "rebound_suspected")
    assert alerts(engine) == ([("A", "suspected", 1)] if closed else [])
    assert looks(engine) == [("A", "new")]


def test_what_stood_there_before_the_entry_was_closed_is_no_rebound(engine: Engine) -> None:
    add(engine, "A", closed_on=date(2026, 3, 1))
    run(engine, scan(-30, shed(10, 10)), scan(0, shed(10, 10)))
    assert alerts(engine) == []
    run(engine, scan(1, shed(10, 10)))
    assert alerts(engine) == [("A", "suspected", 1)]


def test_a_finding_below_the_sensitivity_of_a_site_is_a_look_but_neither_alert_nor_clear(engine: Engine) -> None:
    add(engine, "A", sensitivity=0.8)
    run(engine, scan(0, shed(10, 10, probability=0.79)))
    assert (alerts(engine), looks(engine)) == ([], [("A", "new")])


def test_findings_outside_the_ledger_are_candidates_and_seen_again(engine: Engine) -> None:
    add(engine, "A")
    first, second = run(engine, scan(0, shed(500, 500), shed(-800, 0)), scan(1, shed(502, 498, probability=0.95)))
    assert alerts(engine) == []
    assert len(first.candidates) == 2
    assert second.candidates == [next(each for each in first.candidates if each in second.candidates)]
    with Session(engine) as session:
        seen = session.scalars(select(Candidate).order_by(Candidate.looks)).all()
        assert [(each.looks, each.probability) for each in seen] == [(1, 0.9), (2, 0.95)]


def test_what_stands_at_both_dates_outside_the_ledger_is_no_candidate_but_confirms_one(engine: Engine) -> None:
    add(engine, "A")
    house, later = shed(500, 500, cause="remaining"), shed(-800, 0, cause="remaining")
    first, second = run(engine, scan(0, house, shed(-800, 0)), scan(1, house, later))
    assert len(first.candidates) == 1
    assert second.candidates == first.candidates
    with Session(engine) as session:
        [kept] = session.scalars(select(Candidate)).all()
        assert (kept.cause, kept.looks) == ("new", 2)


@pytest.mark.parametrize(
    ("x", "side", "hit"),
    [
        (55.0, 10.0, True),  # half of it is on the site
        (57.0, 10.0, False),  # a shed next door, the outline leans over by 3 m
        (50.0, 40.0, True),  # a hall next door that reaches 10 m in: 400 m2
        (61.0, 10.0, False),
    ],
)
def test_a_finding_is_on_a_site_by_its_half_or_by_its_area(engine: Engine, x: float, side: float, hit: bool) -> None:
    add(engine, "A")
    [outcome] = run(engine, scan(0, shed(x, 10, side)))
    assert (len(outcome.opened), len(outcome.candidates)) == ((1, 0) if hit else (0, 1))


def test_a_point_is_matched_by_its_radius_in_metres(engine: Engine) -> None:
    middle = PLAIN.import_geometry(Point(0, 0))
    bounds = dict(zip(("west", "south", "east", "north"), square(-50, -50, 100).bounds, strict=True))
    with writing(engine) as session:
        site(session, "A", geometry=dict(mapping(middle)), radius_m=50.0, **bounds)
    inside, corner = run(engine, scan(0, shed(35, -5)), scan(1, shed(42, 42)))
    assert (len(inside.opened), len(corner.candidates)) == (1, 1)


def test_what_was_not_seen_whole_is_not_observed_and_never_clear(engine: Engine) -> None:
    add(engine, "A", "B", "C")
    [outcome] = run(engine, scan(0, covered=square(-10, -10, 140)))  # all of A, 30 m of B, nothing of C
    assert (outcome.clear, outcome.not_observed) == (["A"], ["B"])
    assert looks(engine) == [("A", "clear"), ("B", "not_observed")]
    with Session(engine) as session:
        assert [each.code for each in not_observed_since(session, NIGHT)] == ["B", "C"]
        assert {each.code: each.observed_at for each in session.scalars(select(Site))} == {
            "A": NIGHT,
            "B": None,
            "C": None,
        }


def test_a_scan_that_does_not_say_what_it_covered_leaves_nothing_clear(engine: Engine) -> None:
    add(engine, "A", "B")
    run(engine, scan(0, shed(10, 10), shed(300, 10), covered=None))
    assert looks(engine) == [("A", "new")]
    with Session(engine) as session:
        assert set(session.scalars(select(Site.observed_at))) == {None}


def test_an_older_scene_does_not_turn_back_the_last_observed_date(engine: Engine) -> None:
    add(engine, "A")
    run(engine, scan(5), scan(2))
    with Session(engine) as session:
        assert session.scalars(select(Site.observed_at)).one() == NIGHT + timedelta(days=5)


def decide(engine: Engine, *targets: str) -> None:
    with writing(engine) as session:
        alert = session.scalars(select(Alert)).one()
        for target in targets:
            if target == "dismissed":
                dismiss(session, alert)
                continue
            actor = SYSTEM if target == "dispatched" else INSPECTOR
            move_alert(session, alert, alert.state, target, actor, "现场核实")


def test_what_a_person_dismissed_is_not_told_again_but_what_is_new_beside_it_is(engine: Engine) -> None:
    add(engine, "A")
    run(engine, scan(0, shed(10, 10)))
    decide(engine, "dismissed")
    run(engine, scan(1, shed(11, 10)))
    assert alerts(engine) == [("A", "dismissed", 1)]
    [outcome] = run(engine, scan(2, shed(11, 10), shed(40, 40)))
    assert len(outcome.opened) == 1
    [grown] = run(engine, scan(3, shed(5, 5, 30)))
    assert grown.seen_again == outcome.opened


def test_after_a_confirmed_rebound_the_site_is_open_and_quiet(engine: Engine) -> None:
    add(engine, "A")
    run(engine, scan(0, shed(10, 10)), scan(1, shed(10, 10)))
    decide(engine, "dispatched", "confirmed")
    run(engine, scan(2, shed(10, 10)))
    assert alerts(engine) == [("A", "confirmed", 2)]


def test_two_nights_in_parallel_make_one_alert(engine: Engine) -> None:
    add(engine, "A")
    results = at_once(8, lambda number: run(engine, scan(number, shed(10, 10))))
    assert all(isinstance(each, list) for each in results), results
    assert alerts(engine) == [("A", "corroborated", 8)]
    with Session(engine) as session:
        assert verify(session).problem is None


def test_the_budget_of_an_inspector_and_day_goes_to_what_ranks_first(engine: Engine) -> None:
    with writing(engine) as session:
        for number, (code, inspector) in enumerate((("A", "甲"), ("B", "甲"), ("C", "甲"), ("D", "乙"), ("E", None))):
            site(session, code, x=100.0 * number, inspector=inspector)
    sheds = [shed(10, 10, 10, 0.8), shed(110, 10, 10, 0.9), shed(210, 10, 20, 0.8), shed(310, 10), shed(410, 10)]
    run(engine, scan(0, *sheds), scan(1, *sheds))

    def release(at: datetime) -> list[str]:
        with writing(engine) as session:
            return [alert.site.code for alert in dispatch(session, 1, at=at)]

    noon = datetime(2026, 3, 3, 4, tzinfo=UTC)
    assert set(release(noon)) == {"B", "D", "E"}
    assert release(noon + timedelta(hours=11)) == []  # 23:00 in Beijing, the same day
    assert release(noon + timedelta(hours=13)) == ["C"]  # 01:00 the next day; the larger of the two
    assert release(noon + timedelta(days=2)) == ["A"]


def test_closed_sites_are_dispatched_before_sites_that_were_opened_meanwhile(engine: Engine) -> None:
    add(engine, "A", "B", inspector="甲")
    run(engine, *(scan(n, shed(10, 10, probability=0.99), shed(110, 10, probability=0.6)) for n in (0, 1)))
    with writing(engine) as session:
        session.scalars(select(Site).where(Site.code == "A")).one().state = "open"
    with writing(engine) as session:
        assert [alert.site.code for alert in dispatch(session, 1)] == ["B"]


def test_findings_and_features_come_to_the_same() -> None:
    outline = square(0, 0, 10)
    pixels = Polygon([(0, 0), (1, 0), (1, 1)])
    findings = [
        Finding(pixels, kind, 0.9, 100.0, 100.0, 5.0, outline)  # type: ignore[arg-type]
        for kind in ("new", "removed", "remaining")
    ]
    features = [
        {"properties": {"kind": each.kind, "probability": 0.9, "area_m2": 100.0}, "geometry": mapping(outline)}
        for each in findings
    ]
    assert of_findings(findings) == of_features({"features": features})
    assert [each.cause for each in of_findings(findings)] == ["new", "remaining"]
    del features[0]["properties"]["area_m2"]
    assert of_features({"features": features})[0].area_m2 == pytest.approx(100, rel=1e-3)


def test_a_finding_without_a_place_on_the_map_is_refused() -> None:
    with pytest.raises(ValueError, match="without an outline"):
        of_findings([Finding(Polygon([(0, 0), (1, 0), (1, 1)]), "new", 0.9, 1.0)])
