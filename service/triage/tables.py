"""The table of triage: dismissals that wait for a second person."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base, UtcDateTime
from service.ledger.tables import new_id

Settlement = Literal["confirmed", "refused"]
_OPEN = text("settled_at IS NULL")


class Proposal(Base):
    """Somebody wants to dismiss an alert and may not do so alone. There is at most one open proposal per alert.

    Attributes:
        actor: who proposes it, an official.
        reason: as `service.triage.reasons` writes it.
        settled_by, settled_at, settlement: who confirmed or refused it, when; None while it is open. Whoever
            accepts the alert as real refuses the proposal.
    """

    __tablename__ = "proposal"
    __table_args__ = (
        CheckConstraint("settlement IN ('confirmed', 'refused')", name="settlement"),
        CheckConstraint("(settled_at IS NULL) = (settlement IS NULL)", name="settled"),
        Index("ix_proposal_one_open", "alert_id", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    alert_id: Mapped[str] = mapped_column(ForeignKey("alert.id", name="fk_proposal_alert"), index=True)
    actor: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    proposed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    settled_by: Mapped[str | None] = mapped_column(String(64))
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    settlement: Mapped[Settlement | None] = mapped_column(String(16))
