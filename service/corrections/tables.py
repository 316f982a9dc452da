"""The table of corrections: the last word on each pair. Earlier ones are in the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base, UtcDateTime


class PairReview(Base):
    """What a person said of the findings of a pair.

    Attributes:
        version: counts how often it was written.
        corrections: as of `service.corrections.review.Correction.document`.
        actor, reviewed_at: who wrote it last, and when.
    """

    __tablename__ = "pair_review"

    pair_id: Mapped[str] = mapped_column(ForeignKey("pair.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int]
    corrections: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    actor: Mapped[str] = mapped_column(String(64))
    reviewed_at: Mapped[datetime] = mapped_column(UtcDateTime)
