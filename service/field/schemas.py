"""What the API says of the field, as types."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from service.field.duty import geo_uri, in_gcj02
from service.field.photographs import of_alert
from service.field.tables import Photograph
from service.ledger.schemas import ActorIn
from service.ledger.tables import Alert, AlertState, Cause
from service.triage.decide import open_proposal
from service.triage.evidence import SIZE_PX, View, covers, looks, place


class DutyViewOut(BaseModel):
    """Cut-outs of the newest look that has imagery, and outlines to draw on them."""

    before: str | None = Field(description="Address of the earlier picture; null if it is not registered.")
    after: str | None = Field(description="Address of the later picture.")
    before_at: datetime | None
    after_at: datetime
    metres: int = Field(description="Width and height on the ground.")
    size: int = Field(description="Width and height in pixels.")
    outline: str = Field(description="Of what is suspected, as an SVG path in pixels.")
    site: str = Field(description="Of the site, likewise.")


class DutyOut(BaseModel):
    """A dispatched alert, as an inspector takes it along. It is a suspicion until decided on the spot."""

    id: str
    site_code: str
    site_name: str
    street: str | None
    community: str | None
    cause: Cause
    state: AlertState
    probability: float
    area_m2: float
    area_error_m2: float | None
    looks: int
    last_seen_at: datetime
    dispatched_at: datetime | None
    lon: float = Field(description="Of a point on what is suspected, WGS-84.")
    lat: float
    geo: str = Field(description="`geo:` URI (RFC 5870), WGS-84.")
    gcj02: tuple[float, float] = Field(description="Longitude and latitude as Amap and WeChat have them.")
    view: DutyViewOut
    earlier: str | None = Field(description="Address of the photograph to be laid over the camera's view.")
    photographs: int = Field(description="How many there are of this alert.")
    proposed: bool = Field(description="Its dismissal waits for a second person.")

    @classmethod
    def of(cls, session: Session, alert: Alert, folders: Sequence[Path], earlier: str | None) -> DutyOut:
        """From a row of the database."""
        seen = looks(session, alert, folders)
        point = place(alert, seen)
        shown = next((look for look in seen if look.sides), seen[0] if seen else None)
        outline = shown.outline if shown else point
        view = View.around(outline)
        chips = {side: view.chip(shown.scene.id, side) for side in shown.sides} if shown and shown.scene else {}
        columns = ("id", "cause", "state", "probability", "area_m2", "looks", "last_seen_at", "dispatched_at")
        own = {name: getattr(alert, name) for name in columns}
        return cls(
            **own,
            site_code=alert.site.code, site_name=alert.site.name, street=alert.site.street,
            community=alert.site.community, area_error_m2=shown.area_error_m2 if shown else None,
            lon=point.x, lat=point.y, geo=geo_uri(point.x, point.y), gcj02=in_gcj02(point.x, point.y),
            view=DutyViewOut(
                before=chips.get("before"), after=chips.get("after"),
                before_at=shown.scene.before_at if shown and shown.scene else None,
                after_at=shown.observation.observed_at if shown else alert.last_seen_at,
                metres=view.metres, size=SIZE_PX, outline=view.path(outline), site=view.path(covers(alert.site)),
            ),
            earlier=earlier, photographs=len(of_alert(session, alert)),
            proposed=open_proposal(session, alert) is not None,
        )  # fmt: skip


class DutyList(BaseModel):
    """What whoever asks is sent to, the most urgent first."""

    person: str = Field(description="Account of whoever asks.")
    at: datetime = Field(description="When this was so.")
    items: list[DutyOut]


class PhotographIn(BaseModel):
    """An upload that has arrived, to become a photograph of the alert."""

    model_config = ConfigDict(extra="forbid")

    upload: Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="Id of the upload.")]
    taken_at: Annotated[AwareDatetime, Field(description="As the device says.")]
    sha256: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$", description="What the file must be.")] = None
    actor: Annotated[ActorIn | None, Field(description="Only without accounts; otherwise who is signed in.")] = None


class PhotographOut(BaseModel):
    """A photograph taken at a site. It may be cited as evidence."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    alert_id: str
    taken_by: str
    taken_at: datetime
    received_at: datetime
    lon: float | None
    lat: float | None
    sha256: str
    width: int
    height: int
    compared: bool = Field(
        default=False, description="A pair of this id compares it with the earlier photograph of the place."
    )

    @classmethod
    def of(cls, row: Photograph, *, compared: bool) -> PhotographOut:
        """From a row of the database."""
        return cls.model_validate(row).model_copy(update={"compared": compared})
