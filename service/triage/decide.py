"""One way for a person to decide a lead: it is real, and goes on to the next step; or it is not, and is dismissed.

Where `service.ledger.states` wants a second person for a dismissal, the first one leaves a proposal. A reviewer who
says the same carries it out; whoever says that the lead is real refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from service import errors
from service.ledger.audit import Actor, append, lock
from service.ledger.rebound import tell
from service.ledger.states import Evidence, move_alert
from service.ledger.tables import UNDECIDED, Alert, AlertState
from service.triage.errors import ProposalPending, SecondReviewerRequired
from service.triage.reasons import Verdict
from service.triage.tables import Proposal, Settlement

Outcome = Literal["moved", "proposed", "kept"]
NEXT: dict[AlertState, AlertState] = {
    "suspected": "corroborated",
    "corroborated": "dispatched",
    "dispatched": "confirmed",
}
"""Where an alert goes that a person takes for real: to be sent to, then sent to, then a rebound."""


def open_proposal(session: Session, alert: Alert) -> Proposal | None:
    """What waits for a second person, as long as the alert is undecided."""
    if alert.state not in UNDECIDED:
        return None
    return session.scalar(select(Proposal).where(Proposal.alert_id == alert.id, Proposal.settled_at.is_(None)))


def decide(
    session: Session,
    alert: Alert,
    expected: str,
    verdict: Verdict,
    actor: Actor,
    reason: str,
    *,
    evidence: Sequence[Evidence] = (),
    reviewer: bool = True,
    at: datetime | None = None,
) -> Outcome:
    """Decide `alert`, in the transaction of `session` (see `service.ledger.audit.writing`).

    Args:
        expected: the state that whoever decides saw.
        reviewer: whether `actor` may confirm what another one proposed.

    Returns:
        `proposed` if nothing moves before a second person has confirmed it; `kept` if somebody is on the way, and was
        only to be kept on the way: what is real there, is for whoever goes there to say.

    Raises:
        StateChanged: the alert is not, or no longer, as expected.
        PersonRequired: `actor` is none, whatever the step.
        TransitionNotAllowed, ReasonRequired, EvidenceNotFound: as `move_alert`.
        ProposalPending: the same is proposed already, and `actor` is not the one to confirm it.
    """
    if not actor.person:
        raise errors.PersonRequired
    lock(session)
    session.refresh(alert)
    moment = at or datetime.now(UTC)
    if alert.state != expected:
        raise errors.StateChanged
    pending = open_proposal(session, alert)
    if verdict == "real":
        if pending is not None and alert.state == "dispatched" and Actor(pending.actor).key != actor.key:
            _settle(session, pending, actor, "refused", moment)
            return "kept"
        target = NEXT.get(alert.state)
        if target is None:
            raise errors.TransitionNotAllowed
        move_alert(session, alert, expected, target, actor, reason, evidence=evidence, at=moment)
        if pending is not None:
            _settle(session, pending, actor, "refused", moment)
    else:
        seconds = pending is not None and reviewer and Actor(pending.actor).key != actor.key
        cited = [*evidence, Evidence("proposal", pending.id)] if pending and seconds else evidence
        try:
            move_alert(session, alert, expected, "dismissed", actor, reason, evidence=cited, at=moment)
        except SecondReviewerRequired:
            if pending is not None:
                raise ProposalPending from None
            _propose(session, alert, actor, reason, moment)
            return "proposed"
        if pending is not None:
            _settle(session, pending, actor, "confirmed", moment)
    tell(session, alert, moment)
    return "moved"


def _propose(session: Session, alert: Alert, actor: Actor, reason: str, at: datetime) -> None:
    proposal = Proposal(alert_id=alert.id, actor=actor.name, reason=reason, proposed_at=at)
    session.add(proposal)
    session.flush()
    detail = {"proposal": proposal.id, "state": alert.state, "reason": reason}
    append(session, actor, "alert.dismissal_proposed", f"alert:{alert.id}", detail, at)


def _settle(session: Session, proposal: Proposal, actor: Actor, settlement: Settlement, at: datetime) -> None:
    proposal.settled_by, proposal.settled_at, proposal.settlement = actor.name, at, settlement
    detail = {"proposal": proposal.id, "proposed_by": proposal.actor}
    append(session, actor, f"alert.dismissal_{settlement}", f"alert:{proposal.alert_id}", detail, at)
