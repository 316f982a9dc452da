"""Promoting and taking back: steps of a named person, with a reason, in the audit log.

Whoever promotes has seen what it changes: a finished replay of this very version against the one that is active now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from inference.model import ModelError
from service import errors
from service.ledger.audit import Actor, append, writing
from service.queue import Job
from service.registry.errors import ModelConflict, ModelRefused
from service.registry.replay import REPLAY
from service.registry.store import Registry, active, find
from service.registry.tables import ModelPromotion, ModelVersion


def promote(registry: Registry, actor: Actor, version_id: str, reason: str) -> ModelVersion:
    """Have a version speak from the next comparison on.

    Raises:
        PersonRequired, ReasonRequired: somebody answers for it and says why.
        ModelNotFound: there is no such version.
        ModelConflict: `model_active`, or `model_replay_required`.
        ModelRefused: its files are damaged.
    """
    _require(actor, reason)
    _require_files(registry, registry.find(version_id))
    now = datetime.now(UTC)
    with writing(registry.engine) as session:
        version = find(session, version_id)
        if version.state == "active":
            raise ModelConflict("model_active")
        before = active(session, version.domain)
        replay = None if before is None else last_replay(session, version.id, before.id)
        if before is None or replay is None:
            raise ModelConflict("model_replay_required")
        _exchange(session, before, version)
        session.add(
            ModelPromotion(
                domain=version.domain, version=version.id, previous=before.id, at=now, actor=actor.name,
                reason=reason, replay=replay.id,
            )
        )  # fmt: skip
        detail = {
            "domain": version.domain, "version": version.version, "previous": before.id, "reason": reason,
            "replay": replay.id, "sum": replay.result and replay.result["sum"],
        }  # fmt: skip
        append(session, actor, "model.promoted", f"model:{version.id}", detail, now)
    return version


def roll_back(registry: Registry, actor: Actor, version_id: str, reason: str) -> ModelVersion:
    """Have the version speak again that spoke before this one.

    Returns:
        That version.

    Raises:
        PersonRequired, ReasonRequired: somebody answers for it and says why.
        ModelNotFound: there is no such version.
        ModelConflict: `model_not_active`, or `model_first`: nothing was active before it.
        ModelRefused: the files of the one before are damaged.
    """
    _require(actor, reason)
    now = datetime.now(UTC)
    with writing(registry.engine) as session:
        version = find(session, version_id)
        if version.state != "active":
            raise ModelConflict("model_not_active")
        standing = (ModelPromotion.domain == version.domain, ModelPromotion.undone_at.is_(None))
        query = select(ModelPromotion).where(*standing).order_by(ModelPromotion.number.desc()).limit(1)
        promotion = session.scalars(query).one_or_none()
        if promotion is None:
            raise ModelConflict("model_first")
        before = session.get_one(ModelVersion, promotion.previous)
        _require_files(registry, before)
        promotion.undone_at = now
        _exchange(session, version, before)
        detail = {"domain": version.domain, "version": version.version, "again": before.id, "reason": reason}
        append(session, actor, "model.rolled_back", f"model:{version.id}", detail, now)
    return before


def promotions(engine: Engine) -> Sequence[ModelPromotion]:
    """All there were, newest first."""
    with Session(engine) as session:
        return session.scalars(select(ModelPromotion).order_by(ModelPromotion.number.desc())).all()


def last_replay(session: Session, version_id: str, against: str | None = None) -> Job | None:
    """The newest finished replay of a version, against this one if named."""
    query = select(Job).where(Job.kind == REPLAY, Job.state == "done").order_by(Job.finished_at.desc())
    for job in session.scalars(query):
        if job.result and job.result["version"] == version_id and against in (None, job.result["against"]):
            return job
    return None


def _exchange(session: Session, retiring: ModelVersion, coming: ModelVersion) -> None:
    retiring.state = "retired"
    session.flush()  # first, because one at most may be active
    coming.state = "active"
    session.flush()


def _require(actor: Actor, reason: str) -> None:
    if not actor.person:
        raise errors.PersonRequired
    if not reason.strip():
        raise errors.ReasonRequired


def _require_files(registry: Registry, version: ModelVersion) -> None:
    """They are whole: the next comparison would ask for them."""
    try:
        registry.load(version)
    except ModelError as error:
        raise ModelRefused("model_unloadable", detail=str(error)) from error
