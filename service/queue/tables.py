"""The table of jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import JSON, CheckConstraint, Double, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base, UtcDateTime

State = Literal["queued", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)


class Job(Base):
    """Something to be done, and what has become of it.

    Attributes:
        key: the same key is the same job, for good.
        priority: higher ones first, then those that have waited longest.
        run_after: not before this moment.
        attempts: how often it was begun; not counting when it was given back.
        lease_owner: whose it is while `running` (`host:process:number`), another one on each attempt.
        stage, progress: where a running job is, in words of its kind and as share 0..1 of that stage.
        error: why it `failed`, or why the last attempt did: `{"code": ..., "values": {...}}`.
        result: what its handler returned.
    """

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="state"),
        CheckConstraint("progress >= 0 AND progress <= 1", name="progress"),
        Index("ix_job_due", "state", "kind", "run_after"),
        UniqueConstraint("key", name="uq_job_key"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(32))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    priority: Mapped[int]
    run_after: Mapped[datetime] = mapped_column(UtcDateTime)
    attempts: Mapped[int]
    max_attempts: Mapped[int]
    state: Mapped[State] = mapped_column(String(16))
    lease_owner: Mapped[str | None] = mapped_column(String(128))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    stage: Mapped[str | None] = mapped_column(String(32))
    progress: Mapped[float] = mapped_column(Double)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    result: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
