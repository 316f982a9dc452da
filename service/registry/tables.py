"""Tables of the registry: ModelVersion 1-n ModelPromotion."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base, UtcDateTime

ModelState = Literal["candidate", "active", "retired"]
MODEL_STATES: tuple[ModelState, ...] = get_args(ModelState)
_ACTIVE = text("state = 'active'")


class ModelVersion(Base):
    """One set of weights with its manifest. The files are in the data folder.

    Attributes:
        id: SHA-256 of the manifest, which names that of the weights: the same weights, calibrated anew, are another
            version.
        sha256: of the weights, as verdicts name them.
        domain: `overhead` or `ground`; of each, one version at most is `active`.
        name, version, metrics: as its manifest says.
        added_by: who added it; the system itself where it came with Jingdi.
    """

    __tablename__ = "model_version"
    __table_args__ = (
        CheckConstraint("state IN ('candidate', 'active', 'retired')", name="state"),
        Index("uq_model_version_active", "domain", unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    domain: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(64))
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[ModelState] = mapped_column(String(16))
    added_at: Mapped[datetime] = mapped_column(UtcDateTime)
    added_by: Mapped[str] = mapped_column(String(64))


class ModelPromotion(Base):
    """A version took the place of another, by a person's decision. What was promoted last can be taken back first.

    Attributes:
        version, previous: ids of what became active, and of what was before.
        replay: id of the job whose result the person had seen.
        undone_at: when it was taken back.
    """

    __tablename__ = "model_promotion"

    number: Mapped[int] = mapped_column(primary_key=True)
    domain: Mapped[str] = mapped_column(String(16), index=True)
    version: Mapped[str] = mapped_column(String(64), ForeignKey("model_version.id", name="fk_model_promotion_version"))
    previous: Mapped[str] = mapped_column(
        String(64), ForeignKey("model_version.id", name="fk_model_promotion_previous")
    )
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    replay: Mapped[str] = mapped_column(String(32))
    undone_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
