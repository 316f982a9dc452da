"""The HTTP interface of nightly scans: schedules, what became of each night, and tracks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from inference.findings import Kind
from service.api.ledger import Limit, Offset, SessionDep
from service.api.people import Asking
from service.api.scenes import BoxDep
from service.language import negotiate
from service.ledger.audit import Actor
from service.nightly.schedules import Schedules
from service.nightly.schemas import (
    NightOut,
    NightPage,
    ScheduleChange,
    ScheduleIn,
    ScheduleOut,
    TrackOut,
    TrackPage,
)
from service.nightly.tables import Night, NightState, Track
from service.openapi import problems
from service.services import ServicesDep

router = APIRouter(prefix="/api/v1", tags=["nightly"])

NO_SCHEDULE = "No schedule has this id or name."
TAKEN = "There is a schedule of this name."
WRONG = "It is never due or too often, its imagery may not be read, or a field cannot be used."


def schedules_of(parts: ServicesDep) -> Schedules:
    """Dependency: the schedules of this service."""
    return Schedules(parts.pairs.engine, parts.settings)


def actor_of(asking: Asking) -> Actor:
    """Dependency: who answers for a change."""
    return Actor(asking.name, asking.human)


SchedulesDep = Annotated[Schedules, Depends(schedules_of)]
ActorDep = Annotated[Actor, Depends(actor_of)]
KeyPath = Annotated[str, Path(max_length=64, description="Id or name of a schedule.")]


@router.get("/schedules", operation_id="listSchedules", summary="List schedules")
def list_schedules(schedules: SchedulesDep) -> list[ScheduleOut]:
    """By name."""
    return [ScheduleOut.of(row) for row in schedules.all()]


@router.post(
    "/schedules",
    operation_id="createSchedule",
    summary="Have something scanned every night",
    status_code=201,
    responses=problems(s409=TAKEN, s422=WRONG),
)
def create_schedule(body: ScheduleIn, schedules: SchedulesDep, actor: ActorDep) -> ScheduleOut:
    """From its next due time on."""
    return ScheduleOut.of(schedules.add(actor, body.plan))


@router.get(
    "/schedules/{key}", operation_id="readSchedule", summary="Read a schedule", responses=problems(s404=NO_SCHEDULE)
)
def read_schedule(key: KeyPath, schedules: SchedulesDep) -> ScheduleOut:
    """What is scanned, when, and what it is compared with."""
    return ScheduleOut.of(schedules.get(key))


@router.patch(
    "/schedules/{key}",
    operation_id="changeSchedule",
    summary="Change a schedule",
    responses=problems(s404=NO_SCHEDULE, s409=TAKEN, s422=WRONG),
)
def change_schedule(key: KeyPath, body: ScheduleChange, schedules: SchedulesDep, actor: ActorDep) -> ScheduleOut:
    """Switched on again, it makes up for nothing that was due meanwhile. A night that is under way is not affected."""
    return ScheduleOut.of(schedules.change(actor, key, body.changes))


@router.delete(
    "/schedules/{key}",
    operation_id="removeSchedule",
    summary="Remove a schedule",
    status_code=204,
    responses=problems(s404=NO_SCHEDULE),
)
def remove_schedule(key: KeyPath, schedules: SchedulesDep, actor: ActorDep) -> None:
    """Its nights stay on record."""
    schedules.remove(actor, key)


@router.get(
    "/nights",
    operation_id="listNights",
    summary="List nights, newest first",
    responses=problems(s422="A parameter is wrong."),
)
def list_nights(
    session: SessionDep,
    parts: ServicesDep,
    request: Request,
    schedule: Annotated[str | None, Query(max_length=64, description="Only of the schedule with this id.")] = None,
    state: Annotated[NightState | None, Query(description="Only in this state.")] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> NightPage:
    """Every due time and what became of it: what was seen of the area, and why the rest was not."""
    query = select(Night)
    for column, value in ((Night.schedule_id, schedule), (Night.state, state)):
        query = query if value is None else query.where(column == value)
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    page = query.options(joinedload(Night.schedule)).order_by(Night.due_at.desc(), Night.id).limit(limit).offset(offset)
    language = negotiate(request.headers.get("accept-language"), parts.settings.languages)
    items = [NightOut.of(row, language) for row in session.scalars(page)]
    return NightPage(items=items, total=total, limit=limit, offset=offset)


@router.get(
    "/tracks",
    operation_id="listTracks",
    summary="List tracks, seen last first",
    responses=problems(s422="A parameter is wrong."),
)
def list_tracks(
    session: SessionDep,
    area: BoxDep,
    kind: Annotated[Kind | None, Query(description="Only of this kind.")] = None,
    corroborated: Annotated[bool | None, Query(description="Only seen on two days or more, or only on one.")] = None,
    ended: Annotated[bool, Query(description="Those that ended, too.")] = False,
    limit: Limit = 100,
    offset: Offset = 0,
) -> TrackPage:
    """Structures that were matched from scene to scene. A place that was not seen neither ends nor goes on with one."""
    query = select(Track)
    if area is not None:
        west, south, east, north = area
        query = query.where(Track.west <= east, Track.east >= west, Track.south <= north, Track.north >= south)
    if kind is not None:
        query = query.where(Track.kind == kind)
    if corroborated is not None:
        known = Track.corroborated_at
        query = query.where(known.is_not(None) if corroborated else known.is_(None))
    if not ended:
        query = query.where(Track.ended_at.is_(None))
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    page = query.order_by(Track.last_seen_at.desc(), Track.id).limit(limit).offset(offset)
    items = [TrackOut.of(row) for row in session.scalars(page)]
    return TrackPage(items=items, total=total, limit=limit, offset=offset)
