"""Tables of the field: uploads that are arriving, and photographs taken at sites."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Double, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base, UtcDateTime


class Upload(Base):
    """A file that arrives in pieces. It is forgotten at `expires_at`, which every piece puts off.

    Attributes:
        person: whose it is; nobody else sees it.
        name: of the file, as a person would read it.
        length, received: bytes in all, and bytes that are safely here.
    """

    __tablename__ = "upload"
    __table_args__ = (CheckConstraint("received >= 0 AND received <= length", name="received"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    person: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(String(255))
    length: Mapped[int]
    received: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class Photograph(Base):
    """A photograph that an official took of a site because of an alert. It is cited as evidence by its id.

    Nothing of it is published: faces and number plates are not looked for (`service.privacy`).

    Attributes:
        taken_by: the official.
        taken_at: when, as the official's device says; never later than `received_at`.
        lon, lat: where the camera says it stood, WGS-84; None if it does not.
        sha256: of the file as it arrived.
        width, height: of the upright picture, in pixels.
    """

    __tablename__ = "photograph"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id", name="fk_photograph_site"), index=True)
    alert_id: Mapped[str] = mapped_column(ForeignKey("alert.id", name="fk_photograph_alert"), index=True)
    taken_by: Mapped[str] = mapped_column(String(64))
    taken_at: Mapped[datetime] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    lon: Mapped[float | None] = mapped_column(Double)
    lat: Mapped[float | None] = mapped_column(Double)
    sha256: Mapped[str] = mapped_column(String(64))
    width: Mapped[int]
    height: Mapped[int]
