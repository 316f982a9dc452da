"""A made-up ledger with the totals of the founding case: 528 courtyards, 547 sites, to the last figure.

Names, places and outlines are generated; only the totals are the district's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Point, Polygon, mapping
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.ledger.audit import SYSTEM, Actor, writing
from service.ledger.coordinates import local_metres
from service.ledger.importing import import_ledger
from service.ledger.states import Evidence, move_site
from service.ledger.tables import Observation, Site, System, new_id

COURTYARDS, GREENED = 528, 21
TOTALS: dict[System, tuple[int, int, int]] = {
    "collective": (380, 144, 82),
    "state_assets": (74, 5, 4),
    "shougang": (48, 13, 8),
    "government_social": (45, 17, 6),
}
"""Responsible system -> sites, land and building in 10^4 m2."""
CENTRE = (116.2, 39.9)
_SPACING_M, _COLUMNS = 230.0, 24
_STREETS = (
    "八宝山街道",
    "老山街道",
    "八角街道",
    "古城街道",
    "苹果园街道",
    "金顶街街道",
    "广宁街道",
    "五里坨街道",
    "鲁谷街道",
)
_CLOSED = date(2017, 6, 30)
CLAIMED_BY, ACCEPTED_BY = Actor("甲经办"), Actor("乙验收")


def features(seed: int = 0) -> list[dict[str, Any]]:
    """The ledger as GeoJSON features in WGS-84, all entries still open. Equal seeds give equal ledgers."""
    random = np.random.default_rng(seed)
    sites = sum(count for count, _, _ in TOTALS.values())
    # The first sites of the shared courtyards come in pairs; all others have a courtyard of their own.
    courtyards = np.sort(np.concatenate([np.arange(COURTYARDS), np.arange(sites - COURTYARDS)]))
    cells = random.permutation(-(-sites // _COLUMNS) * _COLUMNS)[:sites]
    result: list[dict[str, Any]] = []
    for system, (count, land_total, building_total) in TOTALS.items():
        land = _shares(random, land_total * 10_000, random.lognormal(0.0, 0.6, count))
        building = _shares(random, building_total * 10_000, land * random.uniform(0.8, 1.2, count))
        for land_m2, building_m2 in zip(land.tolist(), building.tolist(), strict=True):
            index = len(result)
            courtyard, cell = int(courtyards[index]), int(cells[index])
            geometry, radius = _outline(random, cell, land_m2)
            street = _STREETS[cell * len(_STREETS) // len(cells) % len(_STREETS)]
            days = int(random.integers(0, 622))
            properties = {
                "code": f"DW{index + 1:04d}",
                "courtyard_code": f"Y{courtyard + 1:04d}",
                "courtyard_name": f"{courtyard + 1}号院",
                "name": f"{courtyard + 1}号院{index + 1}号点位",
                "system": system,
                "street": street,
                "community": f"{street.removesuffix('街道')}第{cell % 5 + 1}社区",
                "batch": f"第{'一二三'[index % 3]}批",
                "land_m2": land_m2,
                "building_m2": building_m2,
                "opened_on": (_CLOSED - timedelta(days=days)).isoformat(),
                "inspector": f"巡查员{cell % 6 + 1}",
                "radius_m": radius,
            }
            result.append({"type": "Feature", "properties": properties, "geometry": mapping(geometry)})
    stated = np.array([feature["properties"]["land_m2"] for feature in result])
    for feature, greened_m2 in zip(result, _shares(random, GREENED * 10_000, stated).tolist(), strict=True):
        feature["properties"]["greened_m2"] = greened_m2
    return result


def geojson(seed: int = 0) -> bytes:
    """The ledger as a GeoJSON file in WGS-84."""
    return json.dumps({"type": "FeatureCollection", "features": features(seed)}, ensure_ascii=False).encode()


def load(engine: Engine, seed: int = 0, *, closed: int = 547, seen_at: datetime | None = None) -> None:
    """Put the ledger into an empty database and close the first `closed` entries by the book.

    Args:
        seen_at: when the scan was taken that their acceptance rests on.
    """
    import_ledger(engine, geojson(seed), "WGS-84", CLAIMED_BY, file_name="fixture")
    moment = seen_at or datetime(2017, 6, 30, tzinfo=UTC)
    with writing(engine) as session:
        sites = session.scalars(select(Site).order_by(Site.code).limit(closed)).all()
        close(session, sites, moment)


def close(session: Session, sites: Sequence[Site], at: datetime) -> None:
    """Close open entries by the book, in the transaction of `session`.

    Each step is taken for all sites before the next step, so that what it leaves behind is written in one go.

    Args:
        at: when the scan was taken that their acceptance rests on, and everything happened.
    """
    looks = [
        Observation(
            id=new_id(), site_id=site.id, scene="fixture", observed_at=at, result="clear", observed_share=1.0,
            recorded_at=at,
        )
        for site in sites
    ]  # fmt: skip
    session.add_all(looks)
    for site in sites:
        site.observed_at = at
    session.flush()
    accepted, seen = "现场与影像一致", {look.site_id: (Evidence("observation", look.id),) for look in looks}
    with session.no_autoflush:
        for site in sites:
            move_site(session, site, "open", "claimed_clear", CLAIMED_BY, "场光地净，申报销账", at=at)
        session.flush()
        for site in sites:
            move_site(session, site, "claimed_clear", "accepted", ACCEPTED_BY, accepted, evidence=seen[site.id], at=at)
        session.flush()
        for site in sites:
            move_site(session, site, "accepted", "watched", SYSTEM, "已有基准影像", at=at)


def _shares(random: np.random.Generator, total: int, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers in proportion to the weights that sum to `total` exactly; no weight counts above 4 averages."""
    weights = np.minimum(weights, 4 * weights.mean())
    parts: NDArray[np.int64] = np.floor(total * weights / weights.sum()).astype(np.int64)
    parts[random.permutation(len(parts))[: total - int(parts.sum())]] += 1
    return parts


def _outline(random: np.random.Generator, cell: int, land_m2: float) -> tuple[BaseGeometry, float | None]:
    """A rectangle of the area of the land in a cell of its own, or now and then a point with a radius."""
    middle = np.array([cell % _COLUMNS, cell // _COLUMNS]) * _SPACING_M
    middle = middle - _SPACING_M * _COLUMNS / 2
    metres = local_metres(*CENTRE)
    if random.random() < 0.1:
        return metres.import_geometry(Point(*middle)), round(float(np.sqrt(land_m2 / np.pi)), 1)
    ratio = random.uniform(0.7, 1.4)
    half = np.sqrt([land_m2 * ratio, land_m2 / ratio]) / 2
    corners = [middle + half * sign for sign in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return metres.import_geometry(Polygon(corners)), None
