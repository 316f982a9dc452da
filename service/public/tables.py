"""The table of reports (举报). Who reported is asked nowhere and kept nowhere: no name, no number, no address."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import CheckConstraint, Double, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from service.database import Base, UtcDateTime
from service.ledger.tables import Site

ReportState = Literal["received", "linked", "inspection", "dismissed"]
REPORT_STATES: tuple[ReportState, ...] = get_args(ReportState)
Ground = Literal["duplicate", "no_structure", "permitted", "elsewhere", "too_vague", "abuse"]
GROUNDS: tuple[Ground, ...] = get_args(Ground)
"""Why a report leads to nothing. Whoever reported is told the ground and no more."""


class Report(Base):
    """A report and what became of it.

    Attributes:
        token_digest: SHA-256 of the token that whoever reported follows it with.
        text: what was said; empty once erased.
        street, place, lon, lat: where, as far as it was said; the point in WGS-84.
        photographed: whether there is a photograph (`service.public.photographs`).
        state: `received` until a named person decides; then `linked` to a site, up for `inspection`, or `dismissed`.
        ground: why it was dismissed.
        note: what the person who decided wrote for colleagues.
        erased_at: when text, place and photograph were deleted. State, ground and site stay.
    """

    __tablename__ = "report"
    __table_args__ = (
        CheckConstraint(f"state IN ({', '.join(map(repr, REPORT_STATES))})", name="state"),
        CheckConstraint(f"ground IN ({', '.join(map(repr, GROUNDS))})", name="ground"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    token_digest: Mapped[str] = mapped_column(String(64), unique=True)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    text: Mapped[str] = mapped_column(Text)
    street: Mapped[str | None] = mapped_column(String(64))
    place: Mapped[str | None] = mapped_column(String(200))
    lon: Mapped[float | None] = mapped_column(Double)
    lat: Mapped[float | None] = mapped_column(Double)
    photographed: Mapped[bool]
    state: Mapped[ReportState] = mapped_column(String(16), index=True)
    site_id: Mapped[str | None] = mapped_column(ForeignKey("site.id", name="fk_report_site"), index=True)
    ground: Mapped[Ground | None] = mapped_column(String(16))
    note: Mapped[str | None] = mapped_column(Text)
    decided_by: Mapped[str | None] = mapped_column(String(64))
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    erased_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    site: Mapped[Site | None] = relationship()
