"""The HTTP interface of triage: a person's verdict on a lead, and the evidence packet."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response

from service.api.field import AlbumDep, AlertDep
from service.api.ledger import NO_ALERT, REFUSED, IdPath, SessionDep
from service.idempotency import IdempotentRoute
from service.ledger.audit import writing
from service.ledger.schemas import AlertOut
from service.ledger.states import Evidence
from service.ledger.tables import Alert
from service.openapi import problems
from service.people.rights import acting
from service.services import ServicesDep
from service.triage.decide import decide
from service.triage.packet import packet
from service.triage.reasons import compose
from service.triage.schemas import VerdictIn, VerdictOut

router = APIRouter(prefix="/api/v1/ledger/alerts", tags=["triage"], route_class=IdempotentRoute)


@router.post(
    "/{id}/verdicts",
    operation_id="decideAlert",
    summary="Say whether a lead is real",
    responses={**problems(s404=NO_ALERT), **REFUSED},
)
def decide_alert(id: IdPath, body: VerdictIn, alert: AlertDep, parts: ServicesDep, request: Request) -> VerdictOut:
    """What is real goes one step on: to be sent out, sent out, confirmed. What is not is dismissed; a likely lead, or
    one on a closed site, by two people, or by one with a photograph taken there."""
    asking, actor = request.state.signed_in, acting(request, body.actor.actor if body.actor else None)
    reason = compose(body.verdict, body.code, body.words)
    cited = [Evidence("photograph", each) for each in body.photographs]
    with writing(parts.pairs.engine) as session:
        found = session.get_one(Alert, alert.id)
        outcome = decide(
            session, found, body.expected, body.verdict, actor, reason, evidence=cited,
            reviewer="review" in asking.actions,
        )  # fmt: skip
        return VerdictOut(outcome=outcome, alert=AlertOut.of(found))


@router.get(
    "/{id}/packet.zip",
    operation_id="readPacket",
    summary="Evidence packet of an alert",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}, **problems(s404=NO_ALERT)},
)
def read_packet(alert: AlertDep, session: SessionDep, parts: ServicesDep, kept: AlbumDep, request: Request) -> Response:
    """Pictures, outlines (WGS-84), facts and entries of the audit log with their hashes; nothing about residents."""
    at, who = datetime.now(UTC), request.state.signed_in.display_name
    made = packet(session, alert, parts.settings.scene_folders, kept.folder, who, at)
    name = f'attachment; filename="jingdi-{alert.id[:8]}.zip"'
    headers = {"Content-Disposition": name, "Cache-Control": "private, no-store"}
    return Response(made.zip(), media_type="application/zip", headers=headers)
