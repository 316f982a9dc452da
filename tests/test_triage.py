"""Deciding a lead: one step on, or away with it; from a desk by two people, with a photograph by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from shapely.affinity import translate
from shapely.geometry import box
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service import errors
from service.field.tables import Photograph
from service.ledger.audit import SYSTEM, Actor, verify, writing
from service.ledger.coordinates import local_metres
from service.ledger.states import Evidence, move_alert
from service.ledger.tables import Alert, AuditEntry, Decision, Site
from service.triage.decide import decide, open_proposal
from service.triage.errors import ProposalPending, ReasonUnusable, SecondReviewerRequired
from service.triage.evidence import View, neighbours
from service.triage.reasons import CODES, EXPLAINED, NOT_REAL, compose, parse
from service.triage.tables import Proposal
from tests.ledgers import NIGHT, at_once, empty_database, site, square

WANG, LI, ZHAO = Actor("wang"), Actor("li"), Actor("zhao")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with empty_database(tmp_path) as found:
        yield found


def lead(engine: Engine, state: Any = "suspected", probability: float = 0.95, site_state: str = "watched") -> str:
    """A lead that was seen once, on a site of its own."""
    with writing(engine) as session:
        own = site(session, uuid4().hex[:8], state=site_state)
        alert = Alert(
            site_id=own.id, cause="new", state=state, probability=probability, area_m2=100.0, looks=1,
            first_seen_at=NIGHT, last_seen_at=NIGHT, opened_at=NIGHT,
        )  # fmt: skip
        session.add(alert)
        session.flush()
        return alert.id


def say(engine: Engine, alert_id: str, verdict: Any, actor: Actor = WANG, **options: Any) -> str:
    with writing(engine) as session:
        alert = session.get_one(Alert, alert_id)
        options.setdefault("expected", alert.state)
        return decide(session, alert, options.pop("expected"), verdict, actor, "shadow", **options)


def state(engine: Engine, alert_id: str) -> tuple[str, str]:
    with Session(engine) as session:
        alert = session.get_one(Alert, alert_id)
        return alert.state, alert.site.state


def photograph(engine: Engine, alert_id: str) -> Evidence:
    with Session(engine) as session, session.begin():
        alert = session.get_one(Alert, alert_id)
        row = Photograph(
            id=uuid4().hex, site_id=alert.site_id, alert_id=alert.id, taken_by="zhao", taken_at=NIGHT,
            received_at=NIGHT, sha256="0" * 64, width=4, height=3,
        )  # fmt: skip
        session.add(row)
        return Evidence("photograph", row.id)


def test_what_a_person_takes_for_real_goes_one_step_on(engine: Engine) -> None:
    alert = lead(engine)
    steps = []
    for _ in range(3):
        assert say(engine, alert, "real") == "moved"
        steps.append(state(engine, alert)[0])
    assert steps == ["corroborated", "dispatched", "confirmed"]
    assert state(engine, alert)[1] == "rebound_confirmed"
    with pytest.raises(errors.TransitionNotAllowed):
        say(engine, alert, "real")


@pytest.mark.parametrize(
    ("probability", "site_state", "outcome"),
    [(0.9, "rebound_confirmed", "proposed"), (0.89, "rebound_confirmed", "moved"), (0.5, "watched", "proposed")],
)
def test_a_likely_lead_or_one_on_a_closed_site_is_not_dismissed_by_one_person(
    engine: Engine, probability: float, site_state: str, outcome: str
) -> None:
    alert = lead(engine, probability=probability, site_state=site_state)
    assert say(engine, alert, "not_real") == outcome
    assert state(engine, alert)[0] == ("dismissed" if outcome == "moved" else "suspected")


def test_the_one_way_to_take_a_step_knows_the_rule_too(engine: Engine) -> None:
    alert = lead(engine)
    with pytest.raises(SecondReviewerRequired), writing(engine) as session:
        move_alert(session, session.get_one(Alert, alert), "suspected", "dismissed", WANG, "shadow")
    assert state(engine, alert)[0] == "suspected"


def test_a_second_person_carries_the_dismissal_out_and_both_are_on_record(engine: Engine) -> None:
    alert = lead(engine)
    assert say(engine, alert, "not_real", WANG) == "proposed"
    with pytest.raises(ProposalPending):
        say(engine, alert, "not_real", WANG)
    with pytest.raises(ProposalPending):
        say(engine, alert, "not_real", Actor(" WANG "))  # another spelling is the same person
    with pytest.raises(ProposalPending):
        say(engine, alert, "not_real", ZHAO, reviewer=False)
    assert say(engine, alert, "not_real", LI) == "moved"
    assert state(engine, alert)[0] == "dismissed"
    with Session(engine) as session:
        decision = session.scalars(select(Decision)).one()
        assert decision.actor == "li"
        assert [(each["kind"], each["by"]) for each in decision.evidence] == [("proposal", "wang")]
        proposal = session.scalars(select(Proposal)).one()
        assert (proposal.actor, proposal.settled_by, proposal.settlement) == ("wang", "li", "confirmed")
        log = session.execute(select(AuditEntry.action, AuditEntry.actor).order_by(AuditEntry.number)).all()
        assert [tuple(each) for each in log] == [
            ("alert.dismissal_proposed", "wang"),
            ("alert.dismissed", "li"),
            ("alert.dismissal_confirmed", "li"),
        ]
        assert verify(session).problem is None


@pytest.mark.parametrize("actor", [WANG, LI])
def test_whoever_takes_it_for_real_refuses_the_proposal(engine: Engine, actor: Actor) -> None:
    alert = lead(engine)
    say(engine, alert, "not_real", WANG)
    assert say(engine, alert, "real", actor) == "moved"
    with Session(engine) as session:
        assert session.scalars(select(Proposal.settlement)).one() == "refused"
        assert open_proposal(session, session.get_one(Alert, alert)) is None
    assert say(engine, alert, "not_real", LI) == "proposed"  # and a new one may be made


def test_a_photograph_from_the_spot_is_enough_but_not_one_of_another_lead(engine: Engine) -> None:
    alert, other = lead(engine, "dispatched"), lead(engine, "dispatched")
    with pytest.raises(errors.EvidenceNotFound):
        say(engine, alert, "not_real", ZHAO, evidence=[photograph(engine, other)])
    assert say(engine, alert, "not_real", ZHAO, evidence=[photograph(engine, alert)], reviewer=False) == "moved"
    assert state(engine, alert)[0] == "dismissed"


def test_a_photograph_ends_the_wait_for_a_second_person(engine: Engine) -> None:
    alert = lead(engine, "dispatched")
    assert say(engine, alert, "not_real", ZHAO, reviewer=False) == "proposed"
    evidence = [photograph(engine, alert)]
    assert say(engine, alert, "not_real", ZHAO, evidence=evidence, reviewer=False) == "moved"


def test_a_reviewer_keeps_the_inspector_on_the_way_and_does_not_confirm_from_the_desk(engine: Engine) -> None:
    alert = lead(engine, "dispatched")
    say(engine, alert, "not_real", ZHAO, reviewer=False)
    assert say(engine, alert, "real", LI) == "kept"
    assert state(engine, alert)[0] == "dispatched"
    assert say(engine, alert, "real", ZHAO, reviewer=False) == "moved"
    assert state(engine, alert)[0] == "confirmed"


@pytest.mark.parametrize("verdict", ["real", "not_real"])
def test_programs_decide_nothing_and_nobody_decides_what_has_changed(engine: Engine, verdict: str) -> None:
    alert = lead(engine)
    for nobody in (SYSTEM, Actor("wang", human=False), Actor(" ")):
        with pytest.raises(errors.PersonRequired):
            say(engine, alert, verdict, nobody)
    with pytest.raises(errors.StateChanged):
        say(engine, alert, verdict, expected="dispatched")


def test_of_many_who_propose_at_once_one_does(engine: Engine) -> None:
    alert = lead(engine)
    results = at_once(6, lambda number: say(engine, alert, "not_real", WANG))
    assert results.count("proposed") == 1
    assert sum(isinstance(each, ProposalPending) for each in results) == 5
    with Session(engine) as session:
        assert len(session.scalars(select(Proposal)).all()) == 1


# --- Reasons ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_a_reason_is_read_as_it_was_written(code: Any) -> None:
    verdict = "not_real" if code in NOT_REAL else "real"
    assert parse(compose(verdict, code, "  批文:  12 号 \n")) == (code, "批文: 12 号")
    if code in EXPLAINED:
        with pytest.raises(ReasonUnusable):
            compose(verdict, code, "  ")
    else:
        assert parse(compose(verdict, code)) == (code, "")
    with pytest.raises(ReasonUnusable):
        compose("real" if code in NOT_REAL else "not_real", code, "x")


@pytest.mark.parametrize("text", ["现场核实", "shadows", "shadow:dark", "within_budget", ""])
def test_a_reason_in_words_has_no_code(text: str) -> None:
    assert parse(text) == (None, text)


# --- What there is to see ---------------------------------------------------------------------------------


def test_an_outline_lies_in_the_picture_where_it_lies_on_the_ground() -> None:
    plain = local_metres(116.2, 39.9)
    view = View.around(plain.import_geometry(box(-9, -9, 9, 9)))
    assert view.metres == 60
    path = view.path(plain.import_geometry(box(-9, -9, 9, 9)), 600)
    xs, ys = zip(*((float(x), float(y)) for x, y in (p.split() for p in path[1:-1].split("L"))), strict=True)
    assert (min(xs), max(xs), min(ys), max(ys)) == pytest.approx((210, 390, 210, 390), abs=2)
    east = translate(box(-9, -9, 9, 9), 30, 0)
    far = view.path(plain.import_geometry(east), 600)
    assert min(float(p.split()[0]) for p in far[1:-1].split("L")) == pytest.approx(510, abs=2)


def test_a_view_is_neither_a_keyhole_nor_a_map() -> None:
    plain = local_metres(116.2, 39.9)
    assert View.around(plain.import_geometry(box(0, 0, 1, 1))).metres == 60
    assert View.around(plain.import_geometry(box(0, 0, 39, 10))).metres == 120
    assert View.around(plain.import_geometry(box(0, 0, 4000, 10))).metres == 600
    assert View.around(square(0, 0, 30)).path(square(5000, 0, 30)) == ""


def test_neighbours_are_the_nearest_other_sites_with_what_is_suspected_there(engine: Engine) -> None:
    with writing(engine) as session:
        rows = {code: site(session, code, x=x) for code, x in (("A", 0), ("B", 100), ("C", 290), ("D", 400))}
        for code, alert_state in (("A", "suspected"), ("B", "suspected"), ("C", "dismissed")):
            session.add(
                Alert(
                    site_id=rows[code].id, cause="new", state=alert_state, probability=0.9, area_m2=1, looks=1,
                    first_seen_at=NIGHT, last_seen_at=NIGHT, opened_at=NIGHT,
                )
            )  # fmt: skip
        session.flush()
        alert = session.scalars(select(Alert).join(Site).where(Site.code == "A")).one()
        found = neighbours(session, alert, 300)
    assert [(each.site.code, round(each.metres), len(each.alerts)) for each in found] == [("B", 40, 1), ("C", 230, 0)]


def test_evidence_of_a_photograph_is_sealed_with_what_it_was(engine: Engine) -> None:
    alert = lead(engine, "dispatched")
    evidence = photograph(engine, alert)
    say(engine, alert, "real", ZHAO, evidence=[evidence])
    with Session(engine) as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "alert.confirmed")).one()
    cited = json.loads(entry.detail)["evidence"][0]
    assert (cited["kind"], cited["ref"], cited["by"], cited["sha256"]) == ("photograph", evidence.ref, "zhao", "0" * 64)
