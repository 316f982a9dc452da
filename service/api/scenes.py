"""The HTTP interface of scenes: what was seen when, the findings of each, and its imagery as tiles and cut-outs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy import func, select

from service.api.ledger import Limit, Offset, SessionDep
from service.openapi import problems
from service.scenes import imagery
from service.scenes.errors import NotOnTheMap
from service.scenes.imagery import Layer, Source
from service.scenes.schemas import Box, SceneOut, ScenePage, TileJson, feature
from service.scenes.tables import ScanFinding, SceneRow
from service.services import ServicesDep, base_url

router = APIRouter(prefix="/api/v1/scenes", tags=["scenes"])

NO_SCENE = "No scene has this id."
NO_LAYER = "No scene has this id, or its imagery is not shown from here."
KEPT = {"Cache-Control": "private, max-age=3600"}


def known_scene(
    session: SessionDep, id: Annotated[str, Path(max_length=128, description="Id of a scene.")]
) -> SceneRow:
    """Dependency: the scene in the address.

    Raises:
        NotOnTheMap: there is none.
    """
    row = session.get(SceneRow, id)
    if row is None:
        raise NotOnTheMap
    return row


SceneDep = Annotated[SceneRow, Depends(known_scene)]
LayerPath = Annotated[Layer, Path(description="Earlier picture, later picture, or probabilities of findings.")]


def known_source(row: SceneDep, layer: LayerPath, parts: ServicesDep) -> Source:
    """Dependency: the files of the layer in the address.

    Raises:
        NotOnTheMap: there are none that may be shown.
    """
    return imagery.source(row, layer, parts.settings.scene_folders)


SourceDep = Annotated[Source, Depends(known_source)]


def box(
    area: Annotated[
        str | None, Query(max_length=200, description="Only what touches `west,south,east,north` in WGS-84.")
    ] = None,
) -> Box | None:
    """Dependency: a rectangle in degrees.

    Raises:
        RequestValidationError: it is none.
    """
    if area is None:
        return None
    try:
        west, south, east, north = (float(part) for part in area.split(","))
    except ValueError:
        west, south, east, north = 1, 1, 0, 0
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise RequestValidationError([{"loc": ("query", "area"), "type": "bounding_box"}])
    return west, south, east, north


BoxDep = Annotated[Box | None, Depends(box)]


def touching(table: type[SceneRow | ScanFinding], area: Box) -> list[Any]:
    """Conditions: the bounds of a row and a rectangle touch."""
    west, south, east, north = area
    return [table.west <= east, table.east >= west, table.south <= north, table.north >= south]


@router.get(
    "", operation_id="listScenes", summary="List scenes, newest first", responses=problems(s422="A parameter is wrong.")
)
def list_scenes(
    session: SessionDep,
    parts: ServicesDep,
    area: BoxDep,
    coverage: Annotated[bool, Query(description="With what was seen of each.")] = False,
    limit: Limit = 100,
    offset: Offset = 0,
) -> ScenePage:
    """Scenes by the date of their later picture: the nights that a map can step through."""
    query = select(SceneRow)
    if area is not None:
        query = query.where(*touching(SceneRow, area))
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    rows = session.scalars(query.order_by(SceneRow.taken_at.desc(), SceneRow.id).limit(limit).offset(offset))
    items = [SceneOut.of(row, parts.settings.scene_folders, coverage=coverage) for row in rows]
    return ScenePage(items=items, total=total, limit=limit, offset=offset)


@router.get("/{id}", operation_id="readScene", summary="Read a scene", responses=problems(s404=NO_SCENE))
def read_scene(row: SceneDep, parts: ServicesDep) -> SceneOut:
    """One scene, with what was seen of it."""
    return SceneOut.of(row, parts.settings.scene_folders)


@router.get(
    "/{id}/findings.geojson",
    operation_id="readSceneFindings",
    summary="Findings of a scene",
    response_class=Response,
    responses={200: {"content": {"application/geo+json": {}}}, **problems(s404=NO_SCENE, s422="`area` is no box.")},
)
def read_findings(row: SceneDep, session: SessionDep, area: BoxDep) -> Response:
    """Suspected structures in WGS-84 (RFC 7946). Each is a lead: a named person decides."""
    query = select(ScanFinding).where(ScanFinding.scene_id == row.id).order_by(ScanFinding.number)
    if area is not None:
        query = query.where(*touching(ScanFinding, area))
    features = [feature(each, row) for each in session.scalars(query)]
    body = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)
    return Response(body, media_type="application/geo+json", headers={"Cache-Control": "private, no-cache"})


@router.get(
    "/{id}/{layer}/tilejson.json",
    operation_id="readSceneTiles",
    summary="How to get the tiles of a layer",
    responses=problems(s404=NO_LAYER, s422="There is no such layer."),
)
def read_tilejson(row: SceneDep, layer: LayerPath, given: SourceDep, parts: ServicesDep, request: Request) -> TileJson:
    """TileJSON, as web maps and QGIS take it."""
    lowest, highest = imagery.zooms(given)
    folder = f"{base_url(request, parts.settings)}{router.prefix}/{quote(row.id)}/{layer}/tiles"
    template = f"{folder}/{{z}}/{{x}}/{{y}}.png?v={given.version}"
    middle = ((row.west + row.east) / 2, (row.south + row.north) / 2, max(lowest, highest - 3))
    bounds = (row.west, row.south, row.east, row.north)
    return TileJson(name=row.name, tiles=[template], minzoom=lowest, maxzoom=highest, bounds=bounds, center=middle)


@router.get(
    "/{id}/{layer}/tiles/{z}/{x}/{y}.png",
    operation_id="readSceneTile",
    summary="A tile of a layer",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {}}},
        304: {"description": "The tile has not changed."},
        **problems(s404=f"{NO_LAYER} Or there is no such tile.", s422="No number, or no such layer."),
    },
)
def read_tile(row: SceneDep, layer: LayerPath, given: SourceDep, request: Request, z: int, x: int, y: int) -> Response:
    """256 x 256 px of the Web Mercator pyramid (WebMercatorQuad). Transparent where nothing was seen."""
    bounds = (row.west, row.south, row.east, row.north)
    return _answer(
        request, f"{given.version} {layer} {z} {x} {y}", "image/png", lambda: imagery.tile(given, bounds, z, x, y)
    )


@router.get(
    "/{id}/{layer}/chip.jpg",
    operation_id="readSceneChip",
    summary="A cut-out of a layer",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}}},
        304: {"description": "The cut-out has not changed."},
        **problems(s404=f"{NO_LAYER} Or nothing was seen at this place.", s422="A parameter is wrong."),
    },
)
def read_chip(
    layer: LayerPath,
    given: SourceDep,
    request: Request,
    lon: Annotated[float, Query(ge=-180, le=180, description="Longitude of the middle, WGS-84.")],
    lat: Annotated[float, Query(ge=-85, le=85, description="Latitude.")],
    metres: Annotated[float, Query(ge=10, le=2000, description="Width and height on the ground.")] = 120,
    size: Annotated[int, Query(ge=32, le=1024, description="Width and height in pixels.")] = 512,
) -> Response:
    """A square around a place, north up. What was not seen is hatched."""
    return _answer(
        request, f"{given.version} {layer} {lon} {lat} {metres} {size}", "image/jpeg",
        lambda: imagery.chip(given, lon, lat, metres, size),
    )  # fmt: skip


def _answer(request: Request, what: str, media_type: str, draw: Callable[[], bytes]) -> Response:
    """A picture, drawn only if the client does not have it."""
    tag = f'"{hashlib.sha256(what.encode()).hexdigest()[:20]}"'
    headers = KEPT | {"ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(draw(), media_type=media_type, headers=headers)
