"""The HTTP interface of the registry: which weights there are; replay, promote, take back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from service.idempotency import IdempotentRoute, new_id
from service.ledger.audit import Actor
from service.ledger.schemas import ActorIn, Reason
from service.openapi import problems
from service.people.rights import acting
from service.queue import Job, State
from service.registry.promoting import last_replay, promote, promotions, roll_back
from service.registry.tables import ModelPromotion, ModelState, ModelVersion
from service.schemas import ReasonOut, Share
from service.services import Services, ServicesDep

router = APIRouter(prefix="/api/v1/models", tags=["models"], route_class=IdempotentRoute)

NO_MODEL = "No version, or more than one, has an id that begins so."
IdPath = Annotated[str, Path(max_length=64, description="Id of a version, or its first 8 characters and more.")]


class PromotionOut(BaseModel):
    """A version took the place of another."""

    at: datetime
    actor: str
    reason: str
    previous: str
    replay: str = Field(description="Id of the replay that had been seen.")
    undone_at: datetime | None = Field(description="When it was taken back.")


class ModelVersionOut(BaseModel):
    """One set of weights with its manifest."""

    id: str = Field(description="SHA-256 of the manifest.")
    sha256: str = Field(description="Of the weights, as in verdicts.")
    domain: str
    name: str
    version: str
    state: ModelState
    metrics: dict[str, Any] = Field(description="As its manifest says.")
    added_at: datetime
    added_by: str
    promotions: list[PromotionOut] = Field(description="When it became active, newest first.")
    replay: str | None = Field(description="Id of the newest finished replay.")


class ReplayIn(BaseModel):
    """How much is to be replayed."""

    model_config = ConfigDict(extra="forbid")

    pairs: Annotated[int, Field(ge=1, le=1000, description="Pairs at most, the newest of its kind.")] = 50
    scans: Annotated[int, Field(ge=0, le=100, description="Scans at most, the newest whose imagery is there.")] = 2


class ReplayOut(BaseModel):
    """A replay and where it stands."""

    id: str
    version: str
    state: State
    created_at: datetime
    finished_at: datetime | None
    stage: str | None
    progress: Share
    error: ReasonOut | None
    result: dict[str, Any] | None = Field(
        description="Once `done`: findings, verdicts and alerts gained and lost against the version `against`, of each "
        "pair and scan, and in `sum`; `left_out` says what could not be replayed and why."
    )

    @classmethod
    def of(cls, job: Job) -> ReplayOut:
        """From a row of the database."""
        names = ("id", "state", "created_at", "finished_at", "stage", "progress", "error", "result")
        return cls(**{name: getattr(job, name) for name in names}, version=job.payload["version"])


class StepIn(BaseModel):
    """Who answers for a step, and why it is taken."""

    model_config = ConfigDict(extra="forbid")

    actor: Annotated[ActorIn | None, Field(description="Only without accounts; otherwise who is signed in.")] = None
    reason: Reason


def step_actor(body: StepIn, request: Request) -> Actor:
    """Dependency: who takes the step."""
    return acting(request, body.actor.actor if body.actor else None)


ActorDep = Annotated[Actor, Depends(step_actor)]


@router.get("", operation_id="listModels", summary="List versions of weights")
def list_models(parts: ServicesDep) -> list[ModelVersionOut]:
    """By domain, newest first; one of each domain is active."""
    made = promotions(parts.pairs.engine)
    with Session(parts.pairs.engine) as session:
        return [_out(session, version, made) for version in parts.background.registry.versions()]


@router.post(
    "/{id}/replay",
    operation_id="replayModel",
    summary="Replay stored pairs and scans",
    status_code=202,
    responses={
        202: {"headers": {"Location": {"description": "Address of the replay.", "schema": {"type": "string"}}}},
        **problems(s404=NO_MODEL, s409="It is the active version.", s422="A field cannot be used."),
    },
)
def replay_model(id: IdPath, body: ReplayIn, parts: ServicesDep, request: Request, response: Response) -> ReplayOut:
    """Runs in the background, with these weights and the active ones. Nothing that is stored changes."""
    job = parts.background.replays.submit(id, pairs=body.pairs, scans=body.scans, key=new_id(request))
    response.headers["Location"] = request.app.url_path_for("read_replay", id=job.payload["version"], replay=job.id)
    return ReplayOut.of(job)


@router.get(
    "/{id}/replays/{replay}", operation_id="readReplay", summary="Read a replay", responses=problems(s404=NO_MODEL)
)
def read_replay(id: IdPath, replay: Annotated[str, Path(max_length=32)], parts: ServicesDep) -> ReplayOut:
    """Where it stands and, once it is `done`, what it showed."""
    return ReplayOut.of(parts.background.replays.get(id, replay))


@router.post(
    "/{id}/promote",
    operation_id="promoteModel",
    summary="Have a version speak",
    responses=problems(
        s403="Only a named person can do so.",
        s404=NO_MODEL,
        s409="It is active already, or was not replayed against the version that is active now.",
        s422="No reason is given, or its files are damaged.",
    ),
)
def promote_model(id: IdPath, body: StepIn, actor: ActorDep, parts: ServicesDep) -> ModelVersionOut:
    """From the next comparison on. Goes into the audit log."""
    return _read(parts, promote(parts.background.registry, actor, id, body.reason))


@router.post(
    "/{id}/rollback",
    operation_id="rollBackModel",
    summary="Take the active version back",
    responses=problems(
        s403="Only a named person can do so.",
        s404=NO_MODEL,
        s409="It is not active, or nothing was before it.",
        s422="No reason is given, or the files of the version before are damaged.",
    ),
)
def roll_back_model(id: IdPath, body: StepIn, actor: ActorDep, parts: ServicesDep) -> ModelVersionOut:
    """The version before it speaks again, and is answered. Goes into the audit log."""
    return _read(parts, roll_back(parts.background.registry, actor, id, body.reason))


def _read(parts: Services, version: ModelVersion) -> ModelVersionOut:
    with Session(parts.pairs.engine) as session:
        return _out(session, version, promotions(parts.pairs.engine))


def _out(session: Session, version: ModelVersion, made: Sequence[ModelPromotion]) -> ModelVersionOut:
    names = ("id", "sha256", "domain", "name", "version", "state", "metrics", "added_at", "added_by")
    replay = last_replay(session, version.id)
    return ModelVersionOut(
        **{name: getattr(version, name) for name in names}, replay=replay.id if replay else None,
        promotions=[
            PromotionOut.model_validate(each, from_attributes=True) for each in made if each.version == version.id
        ],
    )  # fmt: skip
