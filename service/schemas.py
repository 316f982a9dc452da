"""What the API says, as types. The report follows `inference.report`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from inference.domain import KindAsked
from inference.findings import PictureKind
from inference.reasons import Reason
from service.database import PairRow, Status

Share = Annotated[float, Field(ge=0, le=1)]


class ProblemField(BaseModel):
    """One field of a request that cannot be used."""

    field: str
    code: str = Field(description="What kind of mistake it is.")


class Problem(BaseModel):
    """Problem details (RFC 9457), in the language of `Accept-Language`."""

    type: str = Field(examples=["urn:jingdi:problem:truncated"])
    title: str
    status: int
    detail: str = Field(description="What happened, in one sentence.")
    code: str = Field(description="Stable machine code; never translated.", examples=["truncated"])
    side: Literal["before", "after"] | None = Field(default=None, description="The picture it is about.")
    remedy: str | None = Field(default=None, description="What a person can do about it.")
    errors: list[ProblemField] | None = None


class ReasonOut(BaseModel):
    """A stable code and the figures that belong to it."""

    code: str = Field(description="Never translated.")
    values: dict[str, Any]
    text: str | None = Field(default=None, description="The same in the language of `Accept-Language`.")
    remedy: str | None = Field(default=None, description="What a person can do about it, in that language.")


class VerdictOut(BaseModel):
    """The outcome. `reasons` say why a pair was refused, `notes` what to keep in mind."""

    kind: Literal["new", "remaining", "clear", "not_comparable"]
    reasons: list[ReasonOut]
    notes: list[ReasonOut]
    observed_share: Share = Field(description="Share of the area seen at both dates. Not seen is not clear.")
    unobserved_px: list[list[list[tuple[float, float]]]] = Field(
        default=[], description="Outlines of what was not seen at both dates, each with rings as of `polygon_px`."
    )


class FindingOut(BaseModel):
    """One suspected patch (疑似图斑)."""

    id: int
    kind: Literal["new", "remaining", "removed"]
    probability: Share
    area_px: float
    area_m2: float | None
    area_error_m2: float | None
    polygon_px: list[list[tuple[float, float]]] = Field(
        description="Rings in pixels of the common grid, (x, y) from the upper left corner; the first is the "
        "outline, the others are holes."
    )
    centroid_lonlat: tuple[float, float] | None = Field(description="WGS-84.")


class TotalOut(BaseModel):
    """All findings of one kind together."""

    count: int
    area_px: float
    area_m2: float | None


class TotalsOut(BaseModel):
    """All findings, by kind."""

    new: TotalOut
    remaining: TotalOut
    removed: TotalOut


class ViewOut(BaseModel):
    """What one photograph shows: shares, 0..1, of `structure`, `ground`, `vegetation`, `sky` and `other`."""

    common: dict[str, Share] | None = Field(description="Of the view that both photographs have in common.")
    outside: dict[str, Share] | None = Field(description="Of the rest of the earlier photograph; null for the later.")
    whole: dict[str, Share] | None = Field(description="Of the whole later photograph; null for the earlier.")


class RegistrationOut(BaseModel):
    """How the second picture was laid over the first."""

    model_config = ConfigDict(protected_namespaces=())

    model: str
    inliers: int
    overlap: float
    residual_px: float | None
    planes: int = Field(default=0, description="How many planes photographs were laid on each other by.")
    overlap_polygon: list[tuple[float, float]] | None = Field(
        default=None,
        description="Corners of what both photographs show, in pixels of the grid; else null.",
    )


class ImageOut(BaseModel):
    """What is known of one picture."""

    name: str
    width: int
    height: int
    gsd: float | None
    crs: str | None
    captured_at: str | None
    place: tuple[float, float] | None = Field(
        default=None, description="Where the camera says it stood, longitude and latitude (WGS-84)."
    )


class ImagesOut(BaseModel):
    """Both pictures."""

    before: ImageOut
    after: ImageOut


class ModelOut(BaseModel):
    """Which weights spoke."""

    name: str
    version: str
    sha256: str


class ReportOut(BaseModel):
    """Everything that came out of a comparison. Findings are leads; a person decides."""

    kind: PictureKind = Field(default="overhead", description="Of which kind the pictures were taken to be.")
    verdict: VerdictOut
    findings: list[FindingOut]
    totals: TotalsOut
    registration: RegistrationOut | None
    images: ImagesOut | None
    views: tuple[ViewOut, ViewOut] | None = Field(
        default=None, description="What the earlier and the later photograph show; null for overhead imagery."
    )
    model: ModelOut | None


class PairSummary(BaseModel):
    """A pair and where it stands."""

    id: str
    created_at: datetime
    finished_at: datetime | None
    status: Status
    stage: str | None = Field(description="What is being done while `running`.")
    progress: Share = Field(description="How much of the whole comparison is done.")
    before_name: str
    after_name: str
    gsd: float | None = Field(description="Metres per pixel as given with the upload.")
    kind: KindAsked = Field(description="Of which kind the pictures are, as given with the upload; see the report.")
    site: dict[str, Any] | None = Field(
        description="GeoJSON feature (WGS-84) of where photographs should have been taken, as given with the upload."
    )
    publishable: bool = Field(
        description="Whether a named person has looked at the pictures and found no face and no number plate. Until "
        "then nothing of them may be made public."
    )
    checked_by: str | None = Field(description="Who looked.")
    checked_at: datetime | None
    verdict: Literal["new", "remaining", "clear", "not_comparable"] | None
    error_code: str | None = Field(description="Why the comparison `failed`.")

    @classmethod
    def of(cls, row: PairRow) -> PairSummary:
        """From a row of the database."""
        return cls.model_validate(row, from_attributes=True)


class PairOut(PairSummary):
    """A pair with its report, once it is `done`."""

    report: ReportOut | None

    @classmethod
    def of(cls, row: PairRow, language: str | None = None) -> PairOut:
        """From a row of the database; with a language, reasons and notes are put into words."""
        pair = cls.model_validate(row, from_attributes=True)
        if pair.report is not None and language is not None:
            for each in (*pair.report.verdict.reasons, *pair.report.verdict.notes):
                reason = Reason(each.code, each.values)
                each.text, each.remedy = reason.say(language), reason.remedy(language)
        return pair


class CheckIn(BaseModel):
    """A person says that nothing in the pictures of a pair must be kept from the public."""

    model_config = ConfigDict(extra="forbid")

    person: Annotated[
        str | None, Field(min_length=1, max_length=64, description="Who looked; only without accounts.")
    ] = None
    no_faces: Annotated[Literal[True], Field(description="No face can be recognised in either picture.")]
    no_plates: Annotated[Literal[True], Field(description="No number plate can be read in either picture.")]


class PairPage(BaseModel):
    """Pairs, newest first."""

    items: list[PairSummary]
    total: int
    limit: int
    offset: int


class Health(BaseModel):
    """State of the service; `checks` only where readiness was asked."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, bool] | None = None
