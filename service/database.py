"""The database: one table of pairs, on SQLite or PostgreSQL, brought up to date by Alembic at start-up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Literal

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    Double,
    Engine,
    MetaData,
    String,
    create_engine,
    delete,
    event,
    func,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import TypeDecorator

from inference.domain import KindAsked

Status = Literal["queued", "running", "done", "failed"]
BUSY_TIMEOUT_MS = 10_000


class UtcDateTime(TypeDecorator[datetime]):
    """A moment with its zone. SQLite forgets the zone, so UTC goes in and UTC comes out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Named constraints, so that a migration can find them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class PairRow(Base):
    """A submitted pair and what has become of it.

    Attributes:
        stage, progress: where a running comparison is; `progress` is the share 0..1 of that stage.
        gsd: metres per pixel as given with the upload.
        kind: of which kind the pictures are, as given with the upload, or `auto`.
        site: where photographs should have been taken, as `inference.site.Site.document`.
        width, height: the common grid in pixels, once there is one.
        verdict, report: the outcome, once `done`.
        error_code: why the comparison `failed`.
        checked_by, checked_at: the person who found nothing in the pictures that may not be shown in public, and when.
    """

    __tablename__ = "pair"
    __table_args__ = (
        CheckConstraint("status IN ('queued', 'running', 'done', 'failed')", name="status"),
        CheckConstraint("progress >= 0 AND progress <= 1", name="progress"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    status: Mapped[Status] = mapped_column(String(16), index=True)
    stage: Mapped[str | None] = mapped_column(String(32))
    progress: Mapped[float] = mapped_column(Double)
    before_name: Mapped[str] = mapped_column(String(255))
    after_name: Mapped[str] = mapped_column(String(255))
    gsd: Mapped[float | None] = mapped_column(Double)
    kind: Mapped[KindAsked] = mapped_column(String(16), default="auto", server_default="auto")
    site: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    width: Mapped[int | None]
    height: Mapped[int | None]
    verdict: Mapped[str | None] = mapped_column(String(32))
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    error_code: Mapped[str | None] = mapped_column(String(64))
    checked_by: Mapped[str | None] = mapped_column(String(64))
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    @property
    def publishable(self) -> bool:
        """Whether a named person has looked at the pictures. No machine can say so."""
        return self.checked_by is not None


def connect(url: str) -> Engine:
    """An engine for `url`, with what SQLite needs to be safe and concurrent set on every connection."""
    engine = create_engine(url, pool_pre_ping=make_url(url).get_backend_name() != "sqlite")
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _pragmas(connection: Any, _record: object) -> None:
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")  # first: the next one may have to wait
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()

    return engine


def upgrade(engine: Engine) -> None:
    """Bring the tables up to the newest revision; nothing happens if they already are."""
    config = Config()
    config.set_main_option("script_location", str(files("service") / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@dataclass(frozen=True, slots=True)
class Pairs:
    """The table of pairs. Every change of status is one UPDATE that names the status it expects."""

    engine: Engine

    def add(self, row: PairRow) -> None:
        """Store a new pair."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            session.add(row)

    def get(self, pair_id: str) -> PairRow | None:
        """The pair, or None."""
        with Session(self.engine) as session:
            return session.get(PairRow, pair_id)

    def recent(self, limit: int, offset: int = 0) -> Sequence[PairRow]:
        """Newest first."""
        query = select(PairRow).order_by(PairRow.created_at.desc(), PairRow.id).limit(limit).offset(offset)
        with Session(self.engine) as session:
            return session.scalars(query).all()

    def count(self, *statuses: Status) -> int:
        """How many pairs there are, or how many with one of these statuses."""
        query = select(func.count()).select_from(PairRow)
        if statuses:
            query = query.where(PairRow.status.in_(statuses))
        with Session(self.engine) as session:
            return session.scalar(query) or 0

    def ids(self, *statuses: Status) -> Sequence[str]:
        """Pairs with one of these statuses (or all), oldest first."""
        query = select(PairRow.id).order_by(PairRow.created_at, PairRow.id)
        if statuses:
            query = query.where(PairRow.status.in_(statuses))
        with Session(self.engine) as session:
            return session.scalars(query).all()

    def change(self, pair_id: str, expected: Status, **values: Any) -> bool:
        """Compare and set: write `values` if the status is still `expected`. False if it is not."""
        statement = update(PairRow).where(PairRow.id == pair_id, PairRow.status == expected).values(**values)
        with self.engine.begin() as connection:
            return connection.execute(statement).rowcount == 1

    def remove(self, pair_id: str) -> bool:
        """Delete the pair. False if there was none."""
        with self.engine.begin() as connection:
            return connection.execute(delete(PairRow).where(PairRow.id == pair_id)).rowcount == 1

    def ping(self) -> None:
        """Raises if the database cannot be reached."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
