"""The HTTP interface of corrections: what a person says of the findings of a pair."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from inference.findings import Kind
from service.api.pairs import NO_PAIR
from service.corrections.review import MAX_CORNERS, MAX_CORRECTIONS, Correction, read, write
from service.corrections.tables import PairReview
from service.idempotency import IdempotentRoute
from service.ledger.schemas import ActorIn
from service.openapi import problems
from service.people.rights import acting
from service.services import PairDep, ServicesDep

router = APIRouter(prefix="/api/v1/pairs", tags=["pairs"], route_class=IdempotentRoute)

Ordinate = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class CorrectionBody(BaseModel):
    """What is said of one place: a finding, or one that the machine overlooked."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    finding: Annotated[int | None, Field(description="Number of the finding; null for what was overlooked.")]
    accepted: Annotated[bool, Field(description="Whether a structure is there, as `kind` says.")]
    kind: Annotated[Kind, Field(description="Of what is there. Of the finding, where that is rejected.")]
    outline: Annotated[
        list[tuple[Ordinate, Ordinate]] | None,
        Field(
            min_length=3, max_length=MAX_CORNERS,
            description="As drawn by hand, (x, y) in pixels of the common grid; null where that of the finding holds.",
        ),
    ] = None  # fmt: skip


class ReviewIn(BaseModel):
    """All corrections of a pair. What was said before and is not repeated is taken back."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[int, Field(ge=0, description="Of the review that this one replaces; 0 for the first.")]
    corrections: Annotated[list[CorrectionBody], Field(max_length=MAX_CORRECTIONS)]
    actor: Annotated[ActorIn | None, Field(description="Only without accounts; otherwise who is signed in.")] = None


class ReviewOut(BaseModel):
    """Corrections of a pair, beside its report. Version 0: nobody has said anything."""

    version: int
    corrections: list[CorrectionBody]
    actor: str | None
    reviewed_at: datetime | None

    @classmethod
    def of(cls, review: PairReview | None) -> Self:
        """From what is kept."""
        if review is None:
            return cls(version=0, corrections=[], actor=None, reviewed_at=None)
        corrections = [CorrectionBody.model_validate(each) for each in review.corrections]
        return cls(
            version=review.version, corrections=corrections, actor=review.actor, reviewed_at=review.reviewed_at
        )  # fmt: skip


@router.get(
    "/{id}/review",
    operation_id="readReview",
    summary="Read the corrections of a pair",
    responses=problems(s404=NO_PAIR),
)
def read_review(row: PairDep, parts: ServicesDep) -> ReviewOut:
    """What a person said of the findings. The report stays as the machine wrote it."""
    with Session(parts.pairs.engine) as session:
        return ReviewOut.of(read(session, row.id))


@router.put(
    "/{id}/review",
    operation_id="writeReview",
    summary="Correct the findings of a pair",
    responses=problems(
        s403="Only a named person can correct.",
        s404=f"{NO_PAIR} Or its pictures do not lie on one grid.",
        s409="The comparison is not finished, or somebody else has corrected the pair meanwhile.",
        s422="A correction cannot be used. Nothing was kept.",
    ),
)
def write_review(body: ReviewIn, row: PairDep, parts: ServicesDep, request: Request) -> ReviewOut:
    """A named person accepts, rejects, redraws, or draws what was overlooked. Goes into the audit log, and into
    training by `jingdi feedback export`."""
    actor = acting(request, body.actor.actor if body.actor else None)
    corrections = [
        Correction(each.finding, each.accepted, each.kind, each.outline and tuple(each.outline))
        for each in body.corrections
    ]
    return ReviewOut.of(write(parts.pairs, row, corrections, body.version, actor))
