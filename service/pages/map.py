"""The map of the district: sites by state, and night by night what was found and what was not seen.

The page stands without a script: a search, a list, one site. The script (`static/map.js`) draws the same on a map, with
Leaflet and SVG, and asks here for pieces of the page, so that words and figures are written in one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

import shapely
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field
from shapely.geometry import mapping, shape
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.api.ledger import SessionDep, find_site
from service.ledger import listing
from service.ledger.filters import EMPTY, Words
from service.ledger.listing import Wanted
from service.ledger.states import CHINA
from service.ledger.tables import SITE_STATES, UNDECIDED, Alert, Observation, Site
from service.pages.rendering import page_language, render
from service.pages.sites import MARKS, area, may, seen
from service.pages.view import percent
from service.scenes.imagery import layers
from service.scenes.tables import KINDS, SceneRow
from service.services import Services, ServicesDep

LISTED = 100
FOUND = 1000
"""Sites that a search marks on the map; as many of them are listed as fit."""
NIGHTS = 366
DECIMALS = 6
"""Of degrees on the screen: a tenth of a metre."""
TIANDITU = "https://t0.tianditu.gov.cn"
TIANDITU_LAYERS = {"img": ("img", "cia"), "vec": ("vec", "cva")}
"""Imagery or map, and its lettering. CGCS2000 and WGS-84 are the same here to within a metre."""

router = APIRouter(include_in_schema=False)

NightQuery = Annotated[date | None, Query()]


class Asked(BaseModel):
    """What the address of the page asks for."""

    q: Annotated[str, Field(max_length=100)] = ""
    site: Words = None
    night: Annotated[date | None, EMPTY] = None


@dataclass(frozen=True, slots=True)
class Night:
    """Scenes that were taken on one day in China."""

    day: date
    scenes: int
    findings: int


@router.get("/map")
def district_map(
    request: Request, session: SessionDep, parts: ServicesDep, asked: Annotated[Asked, Query()]
) -> HTMLResponse:
    """Map, list and, if one is asked for, a site."""
    nights = _nights(session)
    known = [night.day for night in nights]
    night = asked.night if asked.night in known else (known[-1] if known else None)
    token = parts.settings.tianditu_token
    # On this page alone, see `service.middleware.SafeHeaders`. Leaflet puts an empty picture where a tile was.
    request.state.images_from = f"data: {TIANDITU}" if token else "data:"
    chosen = find_site(session, asked.site) if asked.site else None
    return render(
        request,
        "map.html",
        parts.settings,
        asked=asked,
        night=night,
        nights=nights,
        bounds=_extent(session),
        states=listing.by_state(session, listing.EVERYTHING),
        kinds=KINDS,
        marks=MARKS,
        all_states=SITE_STATES,
        tianditu=_tianditu(token.get_secret_value()) if token else {},
        **_list(session, asked.q),
        **(_card(request, session, chosen, parts, night) if chosen else {"site": None}),
    )


@router.get("/map/list")
def map_list(
    request: Request, session: SessionDep, parts: ServicesDep, q: Annotated[str, Query(max_length=100)] = ""
) -> HTMLResponse:
    """The list beside the map alone."""
    return render(request, "map_list.html", parts.settings, marks=MARKS, **_list(session, q))


@router.get("/map/site/{code:path}")
def map_site(
    request: Request, code: str, session: SessionDep, parts: ServicesDep, night: NightQuery = None
) -> HTMLResponse:
    """What is shown of one site alone."""
    card = _card(request, session, find_site(session, code), parts, night)
    return render(request, "map_site.html", parts.settings, marks=MARKS, night=night, **card)


@router.get("/map/sites.json")
def map_sites(session: SessionDep) -> JSONResponse:
    """Where each site is and what state it is in."""
    rows = session.execute(select(Site.code, Site.name, Site.state, Site.geometry, Site.radius_m).order_by(Site.code))
    sites = [
        {"code": code, "name": name, "state": state, "radius_m": radius, "geometry": _rounded(shape(geometry))}
        for code, name, state, geometry, radius in rows
    ]
    return JSONResponse({"marks": MARKS, "sites": sites}, headers={"Cache-Control": "private, no-cache"})


@router.get("/map/nights/{day}.json")
def map_night(day: date, session: SessionDep, parts: ServicesDep) -> JSONResponse:
    """What was seen that night, as one outline, and the scenes with the imagery that can be shown of them."""
    rows = session.scalars(_taken_on(day)).all()
    covered = shapely.union_all([shape(row.coverage) for row in rows if row.coverage is not None])
    scenes = [
        {
            "id": row.id,
            "name": row.name,
            "bounds": [row.west, row.south, row.east, row.north],
            "layers": layers(row, parts.settings.scene_folders),
            "findings": row.findings_count,
        }
        for row in rows
    ]
    body = {"covered": None if covered.is_empty else _rounded(covered), "scenes": scenes}
    return JSONResponse(body, headers={"Cache-Control": "private, no-cache"})


def _nights(session: Session) -> list[Night]:
    """The newest nights, oldest first."""
    found: dict[date, list[int]] = {}
    rows = session.execute(select(SceneRow.taken_at, SceneRow.findings_count).order_by(SceneRow.taken_at.desc()))
    for taken_at, findings in rows:
        day = taken_at.astimezone(CHINA).date()
        if day not in found and len(found) == NIGHTS:
            break
        found.setdefault(day, []).append(findings)
    return [Night(day, len(each), sum(each)) for day, each in sorted(found.items())]


def _taken_on(day: date) -> Any:
    start = datetime.combine(day, time(), CHINA)
    within = (SceneRow.taken_at >= start, SceneRow.taken_at < start + timedelta(days=1))
    return select(SceneRow).where(*within).order_by(SceneRow.taken_at, SceneRow.id)


def _extent(session: Session) -> list[float] | None:
    """West, south, east, north of all sites, or of all scenes where there are none."""
    for table in (Site, SceneRow):
        edges = session.execute(
            select(func.min(table.west), func.min(table.south), func.max(table.east), func.max(table.north))
        ).one()
        if edges[0] is not None:
            return [round(edge, DECIMALS) for edge in edges]
    return None


def _list(session: Session, text: str) -> dict[str, Any]:
    """What the list says: the best matches; without a search what is most urgent."""
    wanted = Wanted(text)
    if text.strip():
        rows = listing.best(session, text, FOUND)
    else:
        rows = listing.sites(session, wanted, sort="state", descending=True, limit=LISTED)
    return {
        "rows": rows[:LISTED],
        "codes": [row.code for row in rows] if text.strip() else None,
        "total": listing.count(session, wanted),
        "searched": text.strip(),
    }


def _card(request: Request, session: Session, site: Site, parts: Services, night: date | None) -> dict[str, Any]:
    """What is said of one site."""
    language = page_language(request, parts.settings.languages)
    alerts = session.scalars(select(Alert).where(Alert.site_id == site.id, Alert.state.in_(UNDECIDED))).all()
    return {
        "site": site,
        "compares": may(request, "compare"),
        "areas": [(name, area(getattr(site, name), language)) for name in ("land_m2", "building_m2", "greened_m2")],
        "seen": seen(site.observed_at, datetime.now(UTC), language),
        "alerts": [(each, percent(each.probability), area(each.area_m2, language)) for each in alerts],
        "that_night": _results(session, site, night) if night else [],
        "centre": [round((site.west + site.east) / 2, DECIMALS), round((site.south + site.north) / 2, DECIMALS)],
    }


def _results(session: Session, site: Site, night: date) -> Sequence[str]:
    """What the scenes of a night said of a site; `not_observed` if none of them saw it whole."""
    scenes = [row.id for row in session.scalars(_taken_on(night))]
    looks = select(Observation.result).where(Observation.site_id == site.id, Observation.scene.in_(scenes)).distinct()
    found: set[str] = set(session.scalars(looks))
    return [result for result in ("new", "remaining", "clear") if result in found] or ["not_observed"]


def _rounded(geometry: Any) -> dict[str, Any]:
    return dict(mapping(shapely.transform(geometry, lambda points: points.round(DECIMALS))))


def _tianditu(token: str) -> dict[str, list[str]]:
    """Name of a base map -> addresses of its tiles (WMTS in Web Mercator, KVP)."""

    def address(layer: str) -> str:
        return (
            f"{TIANDITU}/{layer}_w/wmts?SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER={layer}&STYLE=default"
            f"&TILEMATRIXSET=w&FORMAT=tiles&TILEMATRIX={{z}}&TILEROW={{y}}&TILECOL={{x}}&tk={token}"
        )

    return {name: [address(layer) for layer in both] for name, both in TIANDITU_LAYERS.items()}
