"""What the API says of the ledger, as types."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator
from shapely.errors import ShapelyError
from shapely.geometry import shape

from service.language import word
from service.ledger.audit import Actor
from service.ledger.importing import Report
from service.ledger.rebound import Taken
from service.ledger.states import Evidence
from service.ledger.tables import Alert, AlertState, Cause, Result, Site, SiteState, System
from service.ledger.watch import Scan, of_features
from service.scenes.recording import Record

Name = Annotated[str, Field(min_length=1, max_length=64)]
Reason = Annotated[str, Field(min_length=1, max_length=4000)]


class ActorIn(BaseModel):
    """Who acts: an official by name, or a program. Most steps are for people alone."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    kind: Literal["human", "system"] = "human"

    @property
    def actor(self) -> Actor:
        """As the ledger takes it."""
        return Actor(self.name, self.kind == "human")


class EvidenceIn(BaseModel):
    """What a decision rests on: the number of a compared pair, of an observation or a photograph of the site, or of a
    document."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["pair", "observation", "photograph", "document"]
    ref: Annotated[str, Field(min_length=1, max_length=200)]

    @property
    def evidence(self) -> Evidence:
        """As the ledger takes it."""
        return Evidence(self.kind, self.ref)


class _TransitionIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    actor: Annotated[ActorIn | None, Field(description="Only without accounts; otherwise who is signed in.")] = None
    reason: Reason
    evidence: Annotated[list[EvidenceIn], Field(max_length=50)] = []


class SiteTransitionIn(_TransitionIn):
    """A step of a site. Nothing happens unless it is still in the state `expected`."""

    expected: SiteState
    target: SiteState


class AlertTransitionIn(_TransitionIn):
    """A step of an alert. Nothing happens unless it is still in the state `expected`."""

    expected: AlertState
    target: AlertState


class SiteOut(BaseModel):
    """A site (点位) of the ledger."""

    code: str
    courtyard_code: str
    courtyard_name: str
    name: str
    system: System
    street: str | None
    community: str | None
    batch: str | None
    land_m2: float
    building_m2: float
    greened_m2: float
    opened_on: date | None
    closed_on: date | None
    state: SiteState
    inspector: str | None
    sensitivity: float = Field(description="Lowest probability of a finding that raises an alert here.")
    geometry: dict[str, Any] = Field(description="GeoJSON in WGS-84.")
    radius_m: float | None = Field(description="Of a point.")
    baseline: dict[str, Any] | None = Field(description="Imagery that the site is compared with.")
    observed_at: datetime | None = Field(
        description="When the whole site was last seen; not observed since, which does not mean that it is clear."
    )

    @classmethod
    def of(cls, site: Site) -> SiteOut:
        """From a row of the database."""
        courtyard: dict[str, Any] = {"courtyard_code": site.courtyard.code, "courtyard_name": site.courtyard.name}
        own = {name: getattr(site, name) for name in cls.model_fields if name not in courtyard}
        return cls(**own, **courtyard)


class SitePage(BaseModel):
    """Sites, by code."""

    items: list[SiteOut]
    total: int
    limit: int
    offset: int


class ObservationOut(BaseModel):
    """One look at a site in one scene."""

    id: str
    scene: str
    observed_at: datetime
    result: Result
    observed_share: float
    probability: float | None
    area_m2: float | None
    geometry: dict[str, Any] | None
    alert_id: str | None


class DecisionOut(BaseModel):
    """A person moved the site or one of its alerts."""

    alert_id: str | None
    source: str
    target: str
    actor: str
    reason: str
    evidence: list[dict[str, Any]]
    decided_at: datetime


class HistoryOut(BaseModel):
    """All that was seen of a site and decided about it, oldest first."""

    observations: list[ObservationOut]
    decisions: list[DecisionOut]


class AlertOut(BaseModel):
    """A lead on a closed site. It is a suspicion until a named person has decided."""

    id: str
    site_code: str
    cause: Cause
    state: AlertState
    probability: float
    area_m2: float
    looks: int = Field(description="Independent looks that agree.")
    first_seen_at: datetime
    last_seen_at: datetime
    opened_at: datetime
    inspector: str | None
    dispatched_at: datetime | None

    @classmethod
    def of(cls, alert: Alert) -> AlertOut:
        """From a row of the database."""
        own = {name: getattr(alert, name) for name in cls.model_fields if name != "site_code"}
        return cls(**own, site_code=alert.site.code)


class AlertPage(BaseModel):
    """Alerts, the most urgent first."""

    items: list[AlertOut]
    total: int


class CandidateOut(BaseModel):
    """A finding outside the ledger: perhaps a site to add."""

    id: str
    cause: Cause
    geometry: dict[str, Any]
    probability: float
    area_m2: float
    looks: int
    first_seen_at: datetime
    last_seen_at: datetime


class CandidatePage(BaseModel):
    """Candidates, seen last first."""

    items: list[CandidateOut]
    total: int
    limit: int
    offset: int


class ProblemOut(BaseModel):
    """Something about one row of a ledger file; `row` 0 is the file."""

    row: int
    column: str | None
    column_name: str | None
    code: str
    fatal: bool = Field(description="The row cannot be imported; otherwise a warning.")
    detail: str
    remedy: str


class ImportOut(BaseModel):
    """What an import did or, if it was not `written`, would do."""

    written: bool
    created: list[str]
    updated: list[str]
    unchanged: list[str]
    skipped: list[int]
    problems: list[ProblemOut]

    @classmethod
    def of(cls, report: Report, language: str) -> ImportOut:
        """In the reader's language."""
        problems = [
            ProblemOut(
                row=each.row, column=each.column, column_name=each.column and word(language, each.column),
                code=each.code, fatal=each.fatal, detail=each.say(language), remedy=each.remedy(language),
            )
            for each in report.problems
        ]  # fmt: skip
        lists = {name: list(getattr(report, name)) for name in ("created", "updated", "unchanged", "skipped")}
        return cls(written=report.written, problems=problems, **lists)


def _outline(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """A polygon in degrees, as GeoJSON has it."""
    if value is None:
        return None
    try:
        outline = shape(value)
        west, south, east, north = outline.bounds
    except (ShapelyError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError("no GeoJSON geometry") from error
    if outline.geom_type not in ("Polygon", "MultiPolygon"):
        raise ValueError("only polygons and multipolygons")
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise ValueError("longitude and latitude in WGS-84, in degrees")
    return value


class FindingProperties(BaseModel):
    """What is kept of a finding; anything else is passed over."""

    kind: Literal["new", "remaining", "removed"]
    probability: Annotated[float, Field(ge=0, le=1)]
    area_m2: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    area_error_m2: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None


class FindingFeature(BaseModel):
    """A GeoJSON feature, as `jingdi scan` writes it."""

    type: Literal["Feature"]
    properties: FindingProperties
    geometry: dict[str, Any]

    _polygon = field_validator("geometry")(_outline)


class FindingCollection(BaseModel):
    """Findings of one scene, in WGS-84."""

    type: Literal["FeatureCollection"]
    features: Annotated[list[FindingFeature], Field(max_length=1_000_000)]


class ScanIn(BaseModel):
    """What one scene shows, whole. The same scene again changes nothing."""

    model_config = ConfigDict(extra="forbid")

    scene: Annotated[
        str, Field(max_length=128, pattern=r"^\w[\w.\-]*$", description="Which imagery; letters, digits, `_.-`.")
    ]
    taken_at: Annotated[AwareDatetime, Field(description="When the later picture was taken.")]
    findings: FindingCollection
    coverage: Annotated[
        dict[str, Any] | None,
        Field(description="What was seen at both dates, as a GeoJSON polygon. Without it no site is clear."),
    ] = None
    model_sha256: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$")] = None

    _polygon = field_validator("coverage")(_outline)

    @property
    def scan(self) -> Scan:
        """As the watch takes it."""
        covered = None if self.coverage is None else shape(self.coverage)
        sightings = of_features(self.findings.model_dump())
        return Scan(self.scene, self.taken_at, sightings, covered, self.model_sha256)

    @property
    def record(self) -> Record:
        """What is kept of it besides its looks."""
        return Record(self.findings.model_dump()["features"])


class TakenOut(BaseModel):
    """What a scan led to: codes of sites, ids of alerts and candidates."""

    seen: list[str] = Field(description="Sites with findings.")
    clear: list[str] = Field(description="Sites that were seen whole, without findings.")
    not_observed: list[str] = Field(description="Sites that were not seen whole.")
    opened: list[str] = Field(description="New alerts, after one look.")
    seen_again: list[str] = Field(description="Alerts that were seen again.")
    corroborated: list[str] = Field(description="Alerts with a second look.")
    dispatched: list[str] = Field(description="Alerts that inspectors are told of now.")
    candidates: list[str] = Field(description="Findings outside the ledger.")

    @classmethod
    def of(cls, taken: Taken) -> TakenOut:
        """From what the watch says."""
        lists = {name: list(getattr(taken.outcome, name)) for name in cls.model_fields if name != "dispatched"}
        return cls(**lists, dispatched=list(taken.dispatched))
