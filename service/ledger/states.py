"""What may become of a site and of an alert: two tables of steps, and the one way to take a step.

A step is a compare-and-set: one UPDATE that names the state it expects. In the same transaction it leaves a
`Decision` (if a person took it) and an entry in the audit log. Two steps lead back where the brief's chains only
lead on: a claim is refused (`claimed_clear -> open`), a suspicion is dismissed (`rebound_suspected -> watched`);
and a person may dismiss an alert before anybody was sent. What is likely, or on a closed site, is dismissed by two
people, or by one who went there and brings a photograph (`service.triage.decide`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from service import errors
from service.database import PairRow
from service.field.tables import Photograph
from service.ledger.audit import Actor, append, lock
from service.ledger.tables import CLOSED_SITE, Alert, Decision, Observation, Site
from service.triage.errors import SecondReviewerRequired
from service.triage.tables import Proposal

CHINA = timezone(timedelta(hours=8))  # one time all year, so no time zone database is needed
LOOKS = 2
SURE = 0.9
"""Probability from which on one person at a desk does not dismiss a lead alone."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a decision rests on: a compared pair, an observation or a photograph of the site, what another person
    proposed (`service.triage`), or a document by its number."""

    kind: Literal["pair", "observation", "photograph", "proposal", "document"]
    ref: str


@dataclass(frozen=True, slots=True)
class Case:
    """A step that somebody wants to take. `evidence` is as it was found in the database, see `_cited`."""

    session: Session
    site: Site
    alert: Alert | None
    actor: Actor
    evidence: Sequence[Mapping[str, Any]]
    at: datetime


Guard = Callable[[Case], errors.ServiceError | None]
Effect = Callable[[Case], dict[str, Any]]


def _evidence_of_clear(case: Case) -> errors.ServiceError | None:
    return None if _clear(case) else errors.EvidenceRequired()


def _another_person(case: Case) -> errors.ServiceError | None:
    """Whoever claimed the site clear does not accept it, and without a claim on record there is no first person."""
    claim = (
        select(Decision.actor)
        .where(Decision.site_id == case.site.id, Decision.alert_id.is_(None), Decision.target == "claimed_clear")
        .order_by(Decision.decided_at.desc())
        .limit(1)
    )
    claimed_by = case.session.scalar(claim)
    different = claimed_by is not None and Actor(claimed_by).key != case.actor.key
    return None if different else errors.SecondPersonRequired()


def _has_baseline(case: Case) -> errors.ServiceError | None:
    return None if case.site.baseline else errors.BaselineRequired()


def _two_looks_or_a_person(case: Case) -> errors.ServiceError | None:
    """Two independent looks, or one look and a person."""
    looks = case.alert.looks if case.alert else max((a.looks for a in _pending(case, "suspected")), default=0)
    enough = looks >= LOOKS or (looks >= 1 and case.actor.person)
    return None if enough else errors.SecondLookRequired()


def _seconded(case: Case) -> errors.ServiceError | None:
    """A second person, or somebody who went there and brings a photograph."""
    alert = case.alert
    assert alert is not None
    if alert.probability < SURE and case.site.state not in CLOSED_SITE:
        return None
    about = [item for item in case.evidence if item.get("alert") == alert.id]
    enough = any(
        item["kind"] == "photograph" or (item["kind"] == "proposal" and Actor(item["by"]).key != case.actor.key)
        for item in about
    )
    return None if enough else SecondReviewerRequired()


def _no_alert_pending(case: Case) -> errors.ServiceError | None:
    return errors.AlertPending() if _pending(case) else None


def _pending(case: Case, *also: str) -> Sequence[Alert]:
    """Alerts that keep the suspicion against the site alive."""
    states = ("corroborated", "dispatched", "confirmed", *also)
    return case.session.scalars(select(Alert).where(Alert.site_id == case.site.id, Alert.state.in_(states))).all()


def _clear(case: Case) -> list[Mapping[str, Any]]:
    return [item for item in case.evidence if item.get("verdict") == "clear"]


def _close_entry(case: Case) -> dict[str, Any]:
    newest = max(_clear(case), key=lambda item: item["at"] or "")
    baseline = {key: newest[key] for key in ("kind", "ref", "at")}
    return {"closed_on": case.at.astimezone(CHINA).date(), "baseline": baseline}


def _open_entry(case: Case) -> dict[str, Any]:
    return {"closed_on": None, "baseline": None}


def _note_dispatch(case: Case) -> dict[str, Any]:
    return {"dispatched_at": case.at, "inspector": case.site.inspector}


@dataclass(frozen=True, slots=True)
class Step:
    """One allowed change of state.

    Attributes:
        person: only a named human may take it.
        guards: each says why not, or nothing.
        effect: further columns that change with the state.
    """

    source: str
    target: str
    person: bool = True
    guards: tuple[Guard, ...] = ()
    effect: Effect | None = None


SITE_STEPS = (
    Step("open", "claimed_clear"),
    Step("claimed_clear", "open"),
    Step("claimed_clear", "accepted", guards=(_evidence_of_clear, _another_person), effect=_close_entry),
    Step("accepted", "watched", person=False, guards=(_has_baseline,)),
    Step("accepted", "rebound_suspected", person=False, guards=(_two_looks_or_a_person,)),
    Step("watched", "rebound_suspected", person=False, guards=(_two_looks_or_a_person,)),
    Step("rebound_suspected", "watched", guards=(_no_alert_pending,)),
    Step("rebound_suspected", "rebound_confirmed", guards=(_two_looks_or_a_person,)),
    Step("rebound_confirmed", "open", effect=_open_entry),
)
ALERT_STEPS = (
    Step("suspected", "corroborated", person=False, guards=(_two_looks_or_a_person,)),
    Step("suspected", "dismissed", guards=(_seconded,)),
    Step("corroborated", "dispatched", person=False, effect=_note_dispatch),
    Step("corroborated", "dismissed", guards=(_seconded,)),
    Step("dispatched", "confirmed"),
    Step("dispatched", "dismissed", guards=(_seconded,)),
    Step("confirmed", "closed"),
    Step("dismissed", "closed"),
)
SITE_FOLLOWS = {"corroborated": "rebound_suspected", "confirmed": "rebound_confirmed", "dismissed": "watched"}
"""State of an alert -> state that its site goes to with it, where a step leads there."""


def move_site(
    session: Session,
    site: Site,
    expected: str,
    target: str,
    actor: Actor,
    reason: str,
    *,
    evidence: Sequence[Evidence] = (),
    at: datetime | None = None,
) -> None:
    """Take a site from `expected` to `target`, in the transaction of `session`.

    Raises:
        TransitionNotAllowed: no step leads there.
        PersonRequired, ReasonRequired, EvidenceRequired, EvidenceNotFound, SecondPersonRequired, BaselineRequired,
            SecondLookRequired, AlertPending: what is missing.
        StateChanged: the site is not, or no longer, in the state `expected`.
    """
    lock(session)
    session.refresh(site)
    case = Case(session, site, None, actor, _cited(session, site, evidence), at or datetime.now(UTC))
    _take(case, SITE_STEPS, site, expected, target, reason)


def move_alert(
    session: Session,
    alert: Alert,
    expected: str,
    target: str,
    actor: Actor,
    reason: str,
    *,
    evidence: Sequence[Evidence] = (),
    at: datetime | None = None,
) -> None:
    """Take an alert from `expected` to `target`, and its site where `SITE_FOLLOWS` says.

    Raises:
        SecondReviewerRequired: one person alone may not dismiss it.
        Otherwise as `move_site`.
    """
    lock(session)
    session.refresh(alert)
    session.refresh(alert.site)
    site, moment = alert.site, at or datetime.now(UTC)
    cited = _cited(session, site, evidence)
    _take(Case(session, site, alert, actor, cited, moment), ALERT_STEPS, alert, expected, target, reason)
    then = SITE_FOLLOWS.get(target)
    case = Case(session, site, None, actor, cited, moment)
    if then and _refusal(case, SITE_STEPS, site.state, then, reason) is None:
        _take(case, SITE_STEPS, site, site.state, then, reason)


def _take(case: Case, steps: Sequence[Step], subject: Site | Alert, expected: str, target: str, reason: str) -> None:
    refusal = _refusal(case, steps, expected, target, reason)
    if refusal is not None:
        raise refusal if subject.state == expected else errors.StateChanged()
    step = _step(steps, expected, target)
    assert step is not None
    values = step.effect(case) if step.effect else {}
    table = type(subject)
    statement = update(table).where(table.id == subject.id, table.state == expected).values(state=target, **values)
    if case.session.connection().execute(statement).rowcount != 1:
        raise errors.StateChanged
    for name, value in {"state": target, **values}.items():
        set_committed_value(subject, name, value)
    session, kind = case.session, table.__tablename__
    detail = {"from": expected, "to": target, "reason": reason, "evidence": list(case.evidence)}
    append(session, case.actor, f"{kind}.{target}", f"{kind}:{subject.id}", detail, case.at)
    if case.actor.person:
        session.add(
            Decision(
                site_id=case.site.id, alert_id=case.alert.id if case.alert else None, source=expected, target=target,
                actor=case.actor.name, reason=reason, evidence=list(case.evidence), decided_at=case.at,
            )
        )  # fmt: skip


def _refusal(case: Case, steps: Sequence[Step], expected: str, target: str, reason: str) -> errors.ServiceError | None:
    """Why the step cannot be taken, or None."""
    step = _step(steps, expected, target)
    if step is None:
        return errors.TransitionNotAllowed()
    if step.person and not case.actor.person:
        return errors.PersonRequired()
    if not reason.strip():
        return errors.ReasonRequired()
    return next((refusal for guard in step.guards if (refusal := guard(case)) is not None), None)


def _step(steps: Sequence[Step], source: str, target: str) -> Step | None:
    return next((step for step in steps if (step.source, step.target) == (source, target)), None)


def _cited(session: Session, site: Site, evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Evidence with what it says now, so that the record stands when a pair is deleted later.

    Raises:
        EvidenceNotFound: what is not there or not finished, or is of another site.
    """
    cited: list[dict[str, Any]] = []
    for item in evidence:
        found: dict[str, Any] = {"kind": item.kind, "ref": item.ref}
        if item.kind == "pair":
            pair = session.get(PairRow, item.ref)
            if pair is None or pair.status != "done" or pair.report is None:
                raise errors.EvidenceNotFound
            images = pair.report.get("images") or {}
            model = pair.report.get("model") or {}
            taken = (images.get("after") or {}).get("captured_at")
            found |= {"verdict": pair.verdict, "at": taken, "model_sha256": model.get("sha256")}
        elif item.kind == "observation":
            seen = session.get(Observation, item.ref)
            if seen is None or seen.site_id != site.id:
                raise errors.EvidenceNotFound
            moment = seen.observed_at.isoformat()
            found |= {"verdict": seen.result, "at": moment, "model_sha256": seen.model_sha256}
        elif item.kind == "photograph":
            photograph = session.get(Photograph, item.ref)
            if photograph is None or photograph.site_id != site.id:
                raise errors.EvidenceNotFound
            taken = photograph.taken_at.isoformat()
            found |= {"at": taken, "by": photograph.taken_by, "alert": photograph.alert_id, "sha256": photograph.sha256}
        elif item.kind == "proposal":
            proposal = session.get(Proposal, item.ref)
            if proposal is None or proposal.settled_at is not None:
                raise errors.EvidenceNotFound
            moment = proposal.proposed_at.isoformat()
            found |= {"at": moment, "by": proposal.actor, "alert": proposal.alert_id, "reason": proposal.reason}
        cited.append(found)
    return cited
