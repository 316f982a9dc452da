"""The HTTP interface of scans: begin, follow, cancel."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from inference.scan.outputs import GEOJSON, GPKG
from service import errors
from service.idempotency import IdempotentRoute, new_id
from service.ledger.schemas import TakenOut
from service.openapi import problems
from service.queue import Job, State
from service.scans import SCAN, Order, ScanNotFound, Scans
from service.schemas import ModelOut, ReasonOut, Share
from service.services import ServicesDep

router = APIRouter(prefix="/api/v1/scans", tags=["scans"], route_class=IdempotentRoute)

NO_SCAN = "No scan has this id."
_ID = re.compile(r"[0-9a-f]{32}")

Name = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]
Sources = Annotated[
    list[Name],
    Field(
        min_length=1,
        max_length=500,
        description="GeoTIFF files of one date, the first one on top, or one STAC document; paths below the folders of "
        "`JINGDI_SCENE_DIRS`.",
    ),
]
Band = Annotated[int, Field(ge=1, le=100)]


class ScanRequest(BaseModel):
    """Two dates to compare."""

    model_config = ConfigDict(extra="forbid")

    before: Sources
    after: Sources
    area: Annotated[
        dict[str, Any] | None,
        Field(description="GeoJSON with polygons, WGS-84; all of the earlier scene if not given."),
    ] = None
    gsd: Annotated[
        float | None, Field(gt=0, le=1000, description="Metres per pixel, if not those of the earlier scene.")
    ] = None
    bands: Annotated[tuple[Band, Band, Band], Field(description="Which bands are red, green and blue.")] = (1, 2, 3)
    taken_at: Annotated[
        AwareDatetime | None, Field(description="When the later picture was taken, if it does not say so itself.")
    ] = None

    @property
    def order(self) -> Order:
        """As it is queued."""
        moment = self.taken_at.isoformat() if self.taken_at else None
        return Order(self.before, self.after, self.area, self.gsd, self.bands, moment)


class ScanOut(BaseModel):
    """A scan and where it stands."""

    model_config = ConfigDict(protected_namespaces=())

    id: str
    state: State
    created_at: datetime
    started_at: datetime | None = Field(description="When the last attempt began.")
    finished_at: datetime | None
    attempts: int
    stage: str | None = Field(description="What is being done while `running`: `register`, `score` or `write`.")
    progress: Share = Field(description="How much of this stage is done.")
    before: list[str]
    after: list[str]
    error: ReasonOut | None = Field(description="Why it `failed`, or why the last attempt did.")
    summary: dict[str, Any] | None = Field(description="Findings by kind, and what was seen of the area, once `done`.")
    taken: TakenOut | None = Field(description="What it led to in the ledger, once `done`.")
    model: ModelOut | None

    @classmethod
    def of(cls, job: Job) -> ScanOut:
        """From a row of the database."""
        names = ("id", "state", "created_at", "started_at", "finished_at", "attempts", "stage", "progress", "error")
        result = job.result or {}
        return cls(
            **{name: getattr(job, name) for name in names}, before=job.payload["before"], after=job.payload["after"],
            summary=result.get("summary"), taken=result.get("taken"), model=result.get("model"),
        )  # fmt: skip


class ScanPage(BaseModel):
    """Scans, newest first."""

    items: list[ScanOut]
    total: int
    limit: int
    offset: int


def scans_of(parts: ServicesDep) -> Scans:
    """Dependency: the scans of this service."""
    return parts.background.scans


ScansDep = Annotated[Scans, Depends(scans_of)]


def known_scan(scans: ScansDep, id: Annotated[str, Path(description="Id of a scan.")]) -> Job:
    """Dependency: the scan in the address.

    Raises:
        ScanNotFound: there is none.
    """
    if not _ID.fullmatch(id):
        raise ScanNotFound
    return scans.get(id)


ScanDep = Annotated[Job, Depends(known_scan)]


@router.post(
    "",
    operation_id="createScan",
    summary="Scan two scenes",
    status_code=202,
    responses={
        202: {"headers": {"Location": {"description": "Address of the scan.", "schema": {"type": "string"}}}},
        **problems(
            s422="A scene is not in an allowed folder, or cannot be used; or a field cannot.",
            s503="The model is not available.",
        ),
    },
)
def create_scan(
    body: ScanRequest, scans: ScansDep, parts: ServicesDep, request: Request, response: Response
) -> ScanOut:
    """Compares them in the background and lays the findings over the ledger. See `Location` for where it stands."""
    if parts.intake is None:
        raise errors.ModelUnavailable
    job = scans.submit(body.order, new_id(request))
    response.headers["Location"] = request.app.url_path_for("read_scan", id=job.id)
    return ScanOut.of(job)


@router.get(
    "", operation_id="listScans", summary="List scans, newest first", responses=problems(s422="A parameter is wrong.")
)
def list_scans(
    parts: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=100, description="How many.")] = 20,
    offset: Annotated[int, Query(ge=0, le=1_000_000, description="How many to skip.")] = 0,
) -> ScanPage:
    """Where each stands."""
    jobs = parts.background.queue.recent(SCAN, limit=limit, offset=offset)
    return ScanPage(
        items=[ScanOut.of(job) for job in jobs], total=parts.background.queue.count(SCAN), limit=limit, offset=offset
    )


@router.get("/{id}", operation_id="readScan", summary="Read a scan", responses=problems(s404=NO_SCAN))
def read_scan(job: ScanDep) -> ScanOut:
    """Where it stands and, once it is `done`, what it led to."""
    return ScanOut.of(job)


@router.post(
    "/{id}/cancel",
    operation_id="cancelScan",
    summary="Cancel a scan",
    responses=problems(s404=NO_SCAN, s409="It is over already."),
)
def cancel_scan(job: ScanDep, scans: ScansDep) -> ScanOut:
    """Stops at its next window; the ledger is left as it is."""
    return ScanOut.of(scans.cancel(job.id))


def _file(job: Job, scans: Scans, name: str, media_type: str) -> FileResponse:
    path = scans.folder(job.id) / name
    if job.state != "done" or not path.is_file():
        raise ScanNotFound("scan_file_not_found")
    return FileResponse(path, media_type=media_type, filename=name)


@router.get(
    "/{id}/findings.geojson",
    operation_id="readScanFindings",
    summary="Findings of a scan as GeoJSON",
    response_class=FileResponse,
    responses={200: {"content": {"application/geo+json": {}}}, **problems(s404=f"{NO_SCAN} Or it is not done.")},
)
def read_scan_findings(job: ScanDep, scans: ScansDep) -> FileResponse:
    """RFC 7946, in WGS-84."""
    return _file(job, scans, GEOJSON, "application/geo+json")


@router.get(
    "/{id}/findings.gpkg",
    operation_id="readScanPackage",
    summary="Findings of a scan as GeoPackage",
    response_class=FileResponse,
    responses={
        200: {"content": {"application/geopackage+sqlite3": {}}},
        **problems(s404=f"{NO_SCAN} Or it is not done."),
    },
)
def read_scan_package(job: ScanDep, scans: ScansDep) -> FileResponse:
    """With the windows, and what was seen of each."""
    return _file(job, scans, GPKG, "application/geopackage+sqlite3")
