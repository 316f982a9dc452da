"""OGC API Features, Part 1 Core (17-069r4), so that a GIS opens findings, alerts, sites and coverage by address.

In QGIS: add a layer "WFS / OGC API - Features" with the address `https://HOST/ogc`; as authentication choose "API
header" with the name `Authorization` and the value `Bearer KEY`, where KEY is an API key with the right `read`
(`POST /api/v1/people/me/keys`). With GDAL 3: `ogrinfo OAPIF:https://HOST/ogc --config GDAL_HTTP_AUTH BEARER --config
GDAL_HTTP_BEARER KEY`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import JSONResponse

from service.api.ledger import SessionDep
from service.language import negotiate, say
from service.ogc import COLLECTIONS, DEFAULT_ITEMS, MAX_ITEMS, Asked, Collection
from service.openapi import problems
from service.scenes.errors import NotOnTheMap, QueryUnusable
from service.services import ServicesDep, base_url

GEOJSON, JSON = "application/geo+json", "application/json"
OPENAPI = "application/vnd.oai.openapi+json;version=3.1"
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
CONFORMS_TO = tuple(f"http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/{name}" for name in ("core", "geojson"))

NO_COLLECTION = "There is no such collection."
_NUMBER = {"type": "integer", "minimum": 0}
_PARAMETERS = [
    {"name": "bbox", "in": "query", "schema": {"type": "string"},
     "description": "`west,south,east,north` in CRS84. Features are selected by their bounds."},
    {"name": "datetime", "in": "query", "schema": {"type": "string"},
     "description": "A moment, or an interval such as `2026-03-01T00:00:00Z/..`."},
    {"name": "limit", "in": "query", "description": "How many.",
     "schema": {"type": "integer", "minimum": 1, "maximum": MAX_ITEMS, "default": DEFAULT_ITEMS}},
    {"name": "offset", "in": "query", "description": "How many to skip.", "schema": {**_NUMBER, "default": 0}},
]  # fmt: skip


def no_parameters(request: Request) -> None:
    """Dependency: the standard wants parameters that are not described to be refused.

    Raises:
        QueryUnusable: there are some.
    """
    if request.query_params:
        raise QueryUnusable


router = APIRouter(prefix="/ogc", tags=["ogc"])
PLAIN = [Depends(no_parameters)]
REFUSED = problems(s400="A parameter is unknown or cannot be read.")


class Addresses:
    """Dependency: makes links, from the address under which the service is known."""

    def __init__(self, request: Request, parts: ServicesDep) -> None:
        self._base = base_url(request, parts.settings)
        self.language = negotiate(request.headers.get("accept-language"), parts.settings.languages)

    def link(self, rel: str, *path: str, media: str = JSON, root: str = "ogc", query: str = "") -> dict[str, str]:
        """A link to a path below `root`."""
        href = "/".join((self._base, root, *(quote(part, safe="") for part in path)))
        return {"rel": rel, "type": media, "href": href + (f"?{query}" if query else "")}


AddressesDep = Annotated[Addresses, Depends()]


def known_collection(name: Annotated[str, Path(max_length=64, description="Name of a collection.")]) -> Collection:
    """Dependency: the collection in the address.

    Raises:
        NotOnTheMap: there is none.
    """
    if name not in COLLECTIONS:
        raise NotOnTheMap("collection_not_found")
    return COLLECTIONS[name]


CollectionDep = Annotated[Collection, Depends(known_collection)]


@router.get("", operation_id="readOgc", summary="Landing page", dependencies=PLAIN, responses=REFUSED)
def landing(to: AddressesDep) -> dict[str, Any]:
    """Where everything else is."""
    return {
        "title": say(to.language, "ogc.title"),
        "description": say(to.language, "ogc.description"),
        "links": [
            to.link("self"),
            to.link("service-desc", "openapi.json", root="api/v1", media=OPENAPI),
            to.link("conformance", "conformance"),
            to.link("data", "collections"),
        ],
    }


@router.get(
    "/conformance",
    operation_id="readOgcConformance",
    summary="Standards met",
    dependencies=PLAIN,
    responses=REFUSED,
)
def conformance() -> dict[str, Any]:
    """Conformance classes of OGC API Features."""
    return {"conformsTo": list(CONFORMS_TO)}


@router.get(
    "/collections", operation_id="listOgcCollections", summary="Collections", dependencies=PLAIN, responses=REFUSED
)
def list_collections(session: SessionDep, to: AddressesDep) -> dict[str, Any]:
    """What there is."""
    described = [_described(session, to, name, collection) for name, collection in COLLECTIONS.items()]
    return {"links": [to.link("self", "collections")], "collections": described}


@router.get(
    "/collections/{name}",
    operation_id="readOgcCollection",
    summary="A collection",
    dependencies=PLAIN,
    responses={**problems(s404=NO_COLLECTION), **REFUSED},
)
def read_collection(name: str, collection: CollectionDep, session: SessionDep, to: AddressesDep) -> dict[str, Any]:
    """What is in it, where and when."""
    return _described(session, to, name, collection)


def _described(session: SessionDep, to: Addresses, name: str, collection: Collection) -> dict[str, Any]:
    extent = collection.extent(session)
    return {
        "id": name,
        "title": say(to.language, f"ogc.{name}.title"),
        "description": say(to.language, f"ogc.{name}.description"),
        **({"extent": extent} if extent else {}),
        "itemType": "feature",
        "crs": [CRS84],
        "links": [
            to.link("self", "collections", name),
            to.link("items", "collections", name, "items", media=GEOJSON),
        ],
    }


@router.get(
    "/collections/{name}/items",
    operation_id="listOgcItems",
    summary="Features",
    openapi_extra={"parameters": _PARAMETERS},
    responses={200: {"content": {GEOJSON: {}}}, **problems(s404=NO_COLLECTION), **REFUSED},
)
def list_items(
    name: str, collection: CollectionDep, session: SessionDep, to: AddressesDep, request: Request
) -> JSONResponse:
    """GeoJSON in CRS84, page by page: follow the link `next`."""
    query = request.query_params.multi_items()
    asked = Asked.read(query)
    features, total = collection.page(session, asked)
    links = [to.link("self", "collections", name, "items", media=GEOJSON, query=urlencode(query))]
    after = asked.offset + asked.limit
    if after < total:
        kept = [(key, value) for key, value in query if key not in ("limit", "offset")]
        following = urlencode([*kept, ("limit", asked.limit), ("offset", after)])
        links.append(to.link("next", "collections", name, "items", media=GEOJSON, query=following))
    page = {
        "type": "FeatureCollection",
        "features": features,
        "links": links,
        "timeStamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "numberMatched": total,
        "numberReturned": len(features),
    }
    return JSONResponse(page, media_type=GEOJSON)


@router.get(
    "/collections/{name}/items/{id}",
    operation_id="readOgcItem",
    summary="A feature",
    dependencies=PLAIN,
    responses={200: {"content": {GEOJSON: {}}}, **problems(s404=f"{NO_COLLECTION} Or no such feature."), **REFUSED},
)
def read_item(
    name: str,
    id: Annotated[str, Path(max_length=200, description="Id of a feature.")],
    collection: CollectionDep,
    session: SessionDep,
    to: AddressesDep,
) -> JSONResponse:
    """One feature, with links to itself and its collection."""
    feature = collection.find(session, id)
    if feature is None:
        raise NotOnTheMap("feature_not_found")
    own = to.link("self", "collections", name, "items", id, media=GEOJSON)
    links = [own, to.link("collection", "collections", name)]
    return JSONResponse({**feature, "links": links}, media_type=GEOJSON)
