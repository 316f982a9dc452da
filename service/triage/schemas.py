"""What the API says of triage, as types."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.ledger.schemas import ActorIn, AlertOut
from service.ledger.tables import AlertState
from service.triage.decide import Outcome
from service.triage.reasons import Code, Verdict


class VerdictIn(BaseModel):
    """What a person makes of a lead. Nothing happens unless it is still in the state `expected`."""

    model_config = ConfigDict(extra="forbid")

    expected: AlertState
    verdict: Annotated[Verdict, Field(description="`real` takes it one step on, `not_real` dismisses it.")]
    code: Annotated[Code, Field(description="Why; `structure` goes with `real`, all others with `not_real`.")]
    words: Annotated[str, Field(max_length=2000, description="Needed for `permitted` and `other`.")] = ""
    photographs: Annotated[
        list[Annotated[str, Field(pattern="^[0-9a-f]{32}$")]],
        Field(max_length=50, description="Ids of photographs of the site that it rests on."),
    ] = []
    actor: Annotated[ActorIn | None, Field(description="Only without accounts; otherwise who is signed in.")] = None


class VerdictOut(BaseModel):
    """What came of it."""

    outcome: Annotated[
        Outcome,
        Field(
            description="`moved`; `proposed`: nothing moves before a second person has confirmed it; `kept`: the "
            "proposal to dismiss it is refused, and the inspector stays on the way."
        ),
    ]
    alert: AlertOut
