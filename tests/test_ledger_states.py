"""Transitions: by the table, by the right people, on evidence, and by exactly one of many."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service import errors
from service.database import PairRow
from service.ledger.audit import SYSTEM, Actor, verify, writing
from service.ledger.states import ALERT_STEPS, SITE_STEPS, Evidence, move_alert, move_site
from service.ledger.tables import ALERT_STATES, SITE_STATES, Alert, AuditEntry, Decision, Observation, Site
from tests.ledgers import CLERK, INSPECTOR, NIGHT, OTHER, at_once, dismiss, empty_database, site


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with empty_database(tmp_path) as found:
        yield found


def add_site(engine: Engine, state: str, code: str = "A", **values: Any) -> None:
    with writing(engine) as session:
        site(session, code, state=state, **values)


def add_alert(engine: Engine, state: str = "suspected", looks: int = 1, cause: str = "new") -> str:
    with writing(engine) as session:
        owner = session.scalars(select(Site)).one()
        alert = Alert(
            site_id=owner.id, cause=cause, state=state, probability=0.9, area_m2=100.0, looks=looks,
            first_seen_at=NIGHT, last_seen_at=NIGHT, opened_at=NIGHT,
        )  # fmt: skip
        session.add(alert)
        session.flush()
        return alert.id


def add_look(engine: Engine, result: str = "clear", code: str = "A") -> Evidence:
    with writing(engine) as session:
        owner = session.scalars(select(Site).where(Site.code == code)).one()
        look = Observation(
            site_id=owner.id,
            scene=f"scene-{result}",
            observed_at=NIGHT,
            result=result,
            observed_share=1.0,
            recorded_at=NIGHT,
        )
        session.add(look)
        session.flush()
        return Evidence("observation", look.id)


def add_pair(engine: Engine, verdict: str, status: Any = "done") -> Evidence:
    report = {"images": {"after": {"captured_at": "2026-02-01T03:00:00+00:00"}}, "model": {"sha256": "f" * 64}}
    with Session(engine) as session, session.begin():
        row = PairRow(
            id=verdict.ljust(32, "0"), created_at=NIGHT, status=status, progress=1.0, before_name="a", after_name="b",
            verdict=verdict, report=report,
        )  # fmt: skip
        session.add(row)
        return Evidence("pair", row.id)


def move(
    engine: Engine,
    source: str,
    target: str,
    actor: Actor = CLERK,
    *evidence: Evidence,
    reason: str = "现场核实",
    at: Any = None,
) -> None:
    with writing(engine) as session:
        found = session.scalars(select(Site)).one()
        move_site(session, found, source, target, actor, reason, evidence=evidence, at=at)


def move_the_alert(engine: Engine, source: str, target: str, actor: Actor = INSPECTOR) -> None:
    with writing(engine) as session:
        move_alert(session, session.scalars(select(Alert)).one(), source, target, actor, "现场核实")


def states(engine: Engine) -> tuple[str, ...]:
    with Session(engine) as session:
        return (*session.scalars(select(Site.state)), *session.scalars(select(Alert.state)))


def test_the_tables_of_steps_name_known_states_once() -> None:
    for steps, known in ((SITE_STEPS, SITE_STATES), (ALERT_STEPS, ALERT_STATES)):
        pairs = [(step.source, step.target) for step in steps]
        assert len(set(pairs)) == len(pairs)
        assert {state for pair in pairs for state in pair} == set(known)


def test_a_site_is_closed_by_two_people_on_evidence(engine: Engine) -> None:
    add_site(engine, "open", closed_on=None)
    look = add_look(engine)
    move(engine, "open", "claimed_clear")
    move(engine, "claimed_clear", "accepted", OTHER, look, at=datetime(2026, 3, 1, 17, tzinfo=UTC))
    move(engine, "accepted", "watched", SYSTEM)
    with Session(engine) as session:
        found = session.scalars(select(Site)).one()
        assert found.state == "watched"
        assert found.closed_on is not None
        assert found.closed_on.isoformat() == "2026-03-02"  # the day in Beijing
        assert found.baseline == {"kind": "observation", "ref": look.ref, "at": NIGHT.isoformat()}
        decisions = session.scalars(select(Decision).order_by(Decision.decided_at.desc())).all()
        assert {(each.target, each.actor) for each in decisions} == {
            ("claimed_clear", CLERK.name), ("accepted", OTHER.name),
        }  # fmt: skip
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.number)).all()
        assert [entry.action for entry in entries] == ["site.claimed_clear", "site.accepted", "site.watched"]
        detail = json.loads(entries[1].detail)
        assert (detail["from"], detail["reason"], detail["evidence"][0]["verdict"]) == (
            "claimed_clear",
            "现场核实",
            "clear",
        )
        assert verify(session).problem is None


def test_a_verdict_on_photographs_is_evidence_and_is_kept_as_it_was(engine: Engine) -> None:
    add_site(engine, "open")
    evidence = add_pair(engine, "clear")
    move(engine, "open", "claimed_clear")
    move(engine, "claimed_clear", "accepted", OTHER, evidence)
    with Session(engine) as session:
        accepted = session.scalars(select(Decision).where(Decision.target == "accepted")).one()
        assert accepted.evidence[0] == {
            "kind": "pair", "ref": evidence.ref, "verdict": "clear", "at": "2026-02-01T03:00:00+00:00",
            "model_sha256": "f" * 64,
        }  # fmt: skip


@pytest.mark.parametrize("verdict", ["new", "remaining", "not_comparable"])
def test_any_other_verdict_does_not_close_a_site(engine: Engine, verdict: str) -> None:
    add_site(engine, "open")
    evidence = add_pair(engine, verdict)
    move(engine, "open", "claimed_clear")
    with pytest.raises(errors.EvidenceRequired):
        move(engine, "claimed_clear", "accepted", OTHER, evidence)
    assert states(engine) == ("claimed_clear",)


@pytest.mark.parametrize("evidence", [(), (Evidence("document", "文号1"),)])
def test_a_document_or_nothing_is_not_enough(engine: Engine, evidence: tuple[Evidence, ...]) -> None:
    add_site(engine, "open")
    move(engine, "open", "claimed_clear")
    with pytest.raises(errors.EvidenceRequired):
        move(engine, "claimed_clear", "accepted", OTHER, *evidence)


def test_a_site_that_was_not_observed_is_not_clear(engine: Engine) -> None:
    add_site(engine, "open")
    look = add_look(engine, "not_observed")
    move(engine, "open", "claimed_clear")
    with pytest.raises(errors.EvidenceRequired):
        move(engine, "claimed_clear", "accepted", OTHER, look)


def test_evidence_has_to_exist_be_finished_and_be_of_this_site(engine: Engine) -> None:
    add_site(engine, "open", "B")
    elsewhere = add_look(engine, code="B")
    unfinished = add_pair(engine, "clear", status="running")
    with writing(engine) as session:
        own = site(session, "A", state="claimed_clear")
        for evidence in (elsewhere, unfinished, Evidence("pair", "0" * 32)):
            with pytest.raises(errors.EvidenceNotFound):
                move_site(session, own, "claimed_clear", "accepted", OTHER, "现场核实", evidence=[evidence])


@pytest.mark.parametrize("name", ["王经办", " 王经办 ", "王经办\u3000"])
def test_whoever_claimed_a_site_clear_does_not_accept_it(engine: Engine, name: str) -> None:
    add_site(engine, "open")
    look = add_look(engine)
    move(engine, "open", "claimed_clear")
    with pytest.raises(errors.SecondPersonRequired):
        move(engine, "claimed_clear", "accepted", Actor(name), look)


def test_without_a_claim_on_record_there_is_no_first_person(engine: Engine) -> None:
    add_site(engine, "claimed_clear")
    look = add_look(engine)
    with pytest.raises(errors.SecondPersonRequired):
        move(engine, "claimed_clear", "accepted", OTHER, look)


def test_a_site_without_baseline_cannot_be_watched(engine: Engine) -> None:
    add_site(engine, "accepted")
    with pytest.raises(errors.BaselineRequired):
        move(engine, "accepted", "watched", SYSTEM)


@pytest.mark.parametrize("actor", [SYSTEM, Actor("系统"), Actor(" "), Actor("王经办", human=False)])
def test_steps_for_people_refuse_whoever_is_none(engine: Engine, actor: Actor) -> None:
    add_site(engine, "rebound_suspected")
    add_alert(engine, "dispatched", looks=2)
    with pytest.raises(errors.PersonRequired):
        move(engine, "rebound_suspected", "rebound_confirmed", actor)
    for target in ("confirmed", "dismissed"):
        with pytest.raises(errors.PersonRequired):
            move_the_alert(engine, "dispatched", target, actor)
    assert states(engine) == ("rebound_suspected", "dispatched")


def test_nobody_decides_without_a_reason(engine: Engine) -> None:
    add_site(engine, "open")
    with pytest.raises(errors.ReasonRequired):
        move(engine, "open", "claimed_clear", reason=" ")


def test_one_look_of_a_machine_is_not_enough_for_a_rebound(engine: Engine) -> None:
    add_site(engine, "watched")
    with pytest.raises(errors.SecondLookRequired):
        move(engine, "watched", "rebound_suspected", INSPECTOR)  # no look at all
    add_alert(engine, looks=1)
    with pytest.raises(errors.SecondLookRequired):
        move(engine, "watched", "rebound_suspected", SYSTEM)
    with pytest.raises(errors.SecondLookRequired):
        move_the_alert(engine, "suspected", "corroborated", SYSTEM)
    assert states(engine) == ("watched", "suspected")


@pytest.mark.parametrize(("looks", "actor"), [(2, SYSTEM), (1, INSPECTOR)])
def test_two_looks_or_one_and_a_person_are_enough_and_the_site_goes_along(
    engine: Engine, looks: int, actor: Actor
) -> None:
    add_site(engine, "watched")
    add_alert(engine, looks=looks)
    move_the_alert(engine, "suspected", "corroborated", actor)
    assert states(engine) == ("rebound_suspected", "corroborated")


def test_from_dispatch_to_an_open_entry(engine: Engine) -> None:
    add_site(engine, "rebound_suspected", inspector="赵巡查")
    add_alert(engine, "corroborated", looks=2)
    move_the_alert(engine, "corroborated", "dispatched", SYSTEM)
    move_the_alert(engine, "dispatched", "confirmed")
    assert states(engine) == ("rebound_confirmed", "confirmed")
    move(engine, "rebound_confirmed", "open")
    move_the_alert(engine, "confirmed", "closed")
    with Session(engine) as session:
        found, alert = session.scalars(select(Site)).one(), session.scalars(select(Alert)).one()
        assert (found.state, found.closed_on, found.baseline) == ("open", None, None)
        assert (alert.state, alert.inspector) == ("closed", "赵巡查")


def test_a_dismissed_alert_clears_the_suspicion_unless_there_is_another(engine: Engine) -> None:
    add_site(engine, "rebound_suspected")
    add_alert(engine, "dispatched", looks=2)
    other = add_alert(engine, "corroborated", looks=2, cause="remaining")
    with writing(engine) as session:
        first = session.scalars(select(Alert).where(Alert.cause == "new")).one()
        dismiss(session, first, reason="棚子是临时的")
    assert states(engine)[0] == "rebound_suspected"
    with pytest.raises(errors.AlertPending):
        move(engine, "rebound_suspected", "watched")
    with writing(engine) as session:
        dismiss(session, session.get_one(Alert, other), reason="是树影")
    assert states(engine)[0] == "watched"


def test_of_twenty_that_try_the_same_step_exactly_one_wins(engine: Engine) -> None:
    add_site(engine, "open")

    def claim(number: int) -> None:
        move(engine, "open", "claimed_clear", Actor(f"第{number}人"))

    results = at_once(20, claim)
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, errors.StateChanged) for result in results) == 19
    with Session(engine) as session:
        assert len(session.scalars(select(Decision)).all()) == 1
        assert (verify(session).length, verify(session).problem) == (1, None)


def test_who_expects_another_state_changes_nothing(engine: Engine) -> None:
    add_site(engine, "rebound_confirmed")
    with pytest.raises(errors.StateChanged):
        move(engine, "open", "claimed_clear")
    with pytest.raises(errors.TransitionNotAllowed):
        move(engine, "rebound_confirmed", "watched")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(SITE_STATES), st.booleans()), min_size=1, max_size=12))
def test_whatever_is_tried_the_site_only_goes_where_the_table_leads(
    engine: Engine, steps: list[tuple[Any, bool]]
) -> None:
    allowed = {(step.source, step.target): step for step in SITE_STEPS}
    with Session(engine) as session, session.begin():
        found = site(session, "walk")
        found.state = "open"
        session.flush()
        looks = Observation(
            site_id=found.id, scene="s", observed_at=NIGHT, result="clear", observed_share=1.0, recorded_at=NIGHT
        )
        session.add(looks)
        session.flush()
        for number, (target, human) in enumerate(steps):
            before = found.state
            actor = Actor(f"第{number}人") if human else SYSTEM
            try:
                move_site(
                    session, found, before, target, actor, "试", evidence=[Evidence("observation", looks.id)],
                    at=NIGHT + timedelta(hours=number),
                )  # fmt: skip
            except errors.ServiceError:
                assert found.state == before
            else:
                assert found.state == target
                assert human or not allowed[before, target].person
        assert verify(session).problem is None
        session.rollback()
