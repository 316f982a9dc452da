"""The HTTP interface of imagery that can be picked: which there is, and a pair of two of its dates."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from service import errors
from service.api.ledger import NO_SITE, SessionDep, find_site
from service.api.scenes import BoxDep
from service.idempotency import IdempotentRoute, new_id
from service.openapi import problems
from service.scenes import cutting
from service.scenes.picking import ID_LENGTH, NARROWEST_M, WIDEST_M, Imagery, Place, known
from service.scenes.schemas import Box
from service.schemas import PairOut
from service.services import ServicesDep
from service.triage.evidence import View

THUMBNAIL_PX = 256

router = APIRouter(prefix="/api/v1", route_class=IdempotentRoute)

ImageryId = Annotated[str, Field(min_length=1, max_length=ID_LENGTH, description="Id of an imagery (`listImagery`).")]


class ImageryOut(BaseModel):
    """What was taken of a piece of the earth at one moment: a date that can be picked for a comparison."""

    id: str = Field(description="The same as long as its files are where they are.")
    name: str
    taken_at: datetime
    gsd_m: float | None = Field(description="Metres on the ground per pixel, as its file says.")
    bounds: Box = Field(
        description="West, south, east, north in WGS-84 of what scans have looked at of it. It may reach further, and "
        "not all of it need have been seen."
    )
    thumbnail: str = Field(description="Address of a small picture, of the place where one was asked for.")

    @classmethod
    def of(cls, imagery: Imagery, view: View | None) -> ImageryOut:
        """As it is known; with a picture of a piece of ground, or else of its middle."""
        return cls(
            id=imagery.id, name=imagery.name, taken_at=imagery.taken_at, bounds=imagery.bounds,
            gsd_m=imagery.gsd and round(imagery.gsd, 4), thumbnail=imagery.thumbnail(view, THUMBNAIL_PX),
        )  # fmt: skip


class ImageryPage(BaseModel):
    """Imagery, newest first."""

    items: list[ImageryOut]
    total: int
    limit: int
    offset: int


class PointIn(BaseModel):
    """A square piece of ground around a point, north up."""

    model_config = ConfigDict(extra="forbid")

    lon: Annotated[float, Field(ge=-180, le=180, description="Longitude of the middle, WGS-84.")]
    lat: Annotated[float, Field(ge=-85, le=85, description="Latitude.")]
    metres: Annotated[int, Field(ge=NARROWEST_M, le=WIDEST_M, description="Width and height on the ground.")]


class FromScenes(BaseModel):
    """Two dates, and where they are to be compared."""

    model_config = ConfigDict(extra="forbid")

    before: ImageryId
    after: ImageryId
    place: Annotated[
        Annotated[str, Field(min_length=1, max_length=64)] | PointIn,
        Field(description="Code of a site, whose ground and a margin around it is compared; or a point and a width."),
    ]


@router.get(
    "/imagery",
    operation_id="listImagery",
    summary="List imagery that can be picked, newest first",
    tags=["scenes"],
    responses=problems(s404=NO_SITE, s422="A parameter is wrong."),
)
def list_imagery(
    session: SessionDep,
    parts: ServicesDep,
    area: BoxDep,
    site: Annotated[str | None, Query(max_length=64, description="Only what touches the site with this code.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="How many.")] = 20,
    offset: Annotated[int, Query(ge=0, le=1_000_000, description="How many to skip.")] = 0,
) -> ImageryPage:
    """Every date of every scene, the same files once, if the date is known and the files are there."""
    place = None if site is None else Place.of_site(find_site(session, site))
    areas = [each for each in (area, None if place is None else place.bounds) if each is not None]
    found = known(session, parts.settings.scene_folders, *areas)
    view = None if place is None else place.shown
    items = [ImageryOut.of(each, view) for each in found[offset : offset + limit]]
    return ImageryPage(items=items, total=len(found), limit=limit, offset=offset)


@router.post(
    "/pairs/from-scenes",
    operation_id="createPairFromScenes",
    summary="Submit a pair of two dates that are here",
    tags=["pairs"],
    status_code=202,
    responses={
        202: {"headers": {"Location": {"description": "Address of the pair.", "schema": {"type": "string"}}}},
        **problems(
            s404="There is no such imagery, or no longer; or no site has this code.",
            s422="The two dates cannot be compared at this place. Nothing was stored.",
            s503="The model is not available.",
        ),
    },
)
def create_pair_from_scenes(
    given: FromScenes, session: SessionDep, parts: ServicesDep, request: Request, response: Response
) -> PairOut:
    """Cuts both dates out and compares them like any other pair: see `Location` for the result.

    Each date stays on the pixels of its own files, and the comparison lays the later one on the grid of the earlier
    one. What a date did not see of the place is not observed, which is never clear.
    """
    if parts.intake is None:
        raise errors.ModelUnavailable
    point = given.place
    place = (
        Place.of_site(find_site(session, point))
        if isinstance(point, str)
        else Place.of_point(point.lon, point.lat, point.metres)
    )
    sides = given.before, given.after
    row = cutting.submit(parts.intake, session, parts.settings.scene_folders, sides, place, new_id(request))
    response.headers["Location"] = request.app.url_path_for("read_pair", id=row.id)
    return PairOut.of(row)
