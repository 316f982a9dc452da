"""A first visit's examples: a made-up pair, and a district that lives.

The district is the ledger of `service.ledger.fixture`. Some of its entries are closed by the book on the day of a
baseline picture; then come two nights on which sheds stand where none should. Pictures are generated; everything that
is said of them comes from scanning them with the released weights, and being taken in like any other scan.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from threading import Event

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.features import geometry_mask
from shapely.geometry import Polygon, box, shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Engine, exists, func, select
from sqlalchemy.orm import Session

from datasets.district import generate
from datasets.district_nights import Shed, nights
from datasets.geotiff import write_geotiff
from datasets.raster import Raster
from datasets.render import Look
from datasets.scene import Access
from datasets.scene_sources import open_scene
from service.intake import Intake, Upload
from service.ledger import fixture
from service.ledger.audit import writing
from service.ledger.coordinates import footprint, system
from service.ledger.importing import import_ledger
from service.ledger.tables import Observation, Site
from service.scans import Order, Scans
from service.settings import Settings

log = logging.getLogger("jingdi")

PAIR_SEED, DISTRICT_SEED = 28, 19
"""With the pair the released weights see something of each kind: tests/test_demo.py."""
DEMO_SIZE_PX = 512
DEMO_GSD_M = 0.5
CLOSED, ROOMY_M2 = 12, 2000.0
"""So many entries are closed, the first whose land is at least so large."""
_ZONE = 4548
_FOLDER, _BASELINE, _NIGHTS = "demo", "demo-baseline", ("demo-night-1", "demo-night-2")
_LOOKS = (
    Look(150, 54, 0.62, 1.00, 0.03, (0.0, 0.0), 1901),
    Look(153, 52, 0.58, 1.03, 0.05, (0.4, -0.3), 1902),
    Look(147, 51, 0.55, 0.98, 0.04, (-0.3, 0.5), 1903),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """What the pictures show; metres are counted east and south from their upper left corner.

    Attributes:
        west, north: that corner in EPSG:4548.
        size: side in pixels of `DEMO_GSD_M`.
        sheds: what was put up, on which of the two nights (1, 2) it stands.
        unseen: of each night, the corners of what the sensor missed.
    """

    west: float
    north: float
    size: int
    sheds: tuple[Shed, ...]
    unseen: tuple[tuple[tuple[float, float], ...], ...]


DISTRICT = Layout(
    431_753, 4_418_784, 2048,
    (
        Shed(268, 966, 26, 14, (1, 2)), Shed(258, 482, 14, 28, (1, 2)), Shed(280, 262, 22, 14, (1, 2)),
        Shed(750, 730, 20, 14, (1,)), Shed(505, 965, 18, 14, (2,)),  # seen once: nobody is sent
        Shed(555, 515, 24, 16, (1, 2)), Shed(205, 240, 16, 22, (1, 2)), Shed(400, 580, 22, 14, (2,)),  # on no site
        Shed(512, 747, 16, 12, (1, 2)),  # on a site that is still open
        Shed(722, 950, 26, 16, (1, 2)), Shed(62, 712, 24, 14, (1, 2)),
    ),
    (((820, 0), (1024, 0), (1024, 464)), ((900, 0), (1024, 0), (1024, 324))),
)  # fmt: skip


def seed_demo(intake: Intake) -> None:
    """Submit the example, if there are no pairs yet."""
    if intake.pairs.count():
        return
    district = generate(PAIR_SEED, size=DEMO_SIZE_PX, gsd=DEMO_GSD_M)
    with TemporaryDirectory() as folder:
        before, after = Path(folder) / "demo-before.tif", Path(folder) / "demo-after.tif"
        write_geotiff(district.before, before)
        write_geotiff(district.after, after)
        with before.open("rb") as first, after.open("rb") as second:
            intake.submit(Upload(before.name, first), Upload(after.name, second))


class _Stopped(Exception):
    """The service ends; the next start goes on."""


def furnish(
    engine: Engine,
    settings: Settings,
    scans: Scans,
    stop: Event,
    *,
    layout: Layout = DISTRICT,
    today: date | None = None,
) -> None:
    """Make the district and queue the scans of its nights, unless there is a ledger of somebody's own.

    Goes on after whatever stopped it, and adds nothing the second time. What goes wrong is logged and harms nothing.

    Args:
        stop: ends it when set.
        today: the day after the second night.
    """
    folder = settings.scene_folders[0] / _FOLDER

    def check() -> None:
        if stop.is_set():
            raise _Stopped

    try:
        with Session(engine) as session:
            sites = session.scalar(select(func.count()).select_from(Site)) or 0
        if not folder.exists():
            if sites:
                return
            _draw(folder, layout, today or datetime.now(UTC).date(), check)
        if not sites:
            import_ledger(engine, fixture.geojson(), "WGS-84", fixture.CLAIMED_BY, file_name="fixture")
        _close(engine, layout, _taken_at(folder / f"{_BASELINE}.tif"))
        for night in _NIGHTS:
            check()
            scans.submit(Order([f"{_FOLDER}/{_BASELINE}.tif"], [f"{_FOLDER}/{night}.tif"]), key=night)
    except _Stopped:
        log.info("the demonstration goes on at the next start")
    except Exception:
        log.exception("the demonstration could not be made")


# --- Pictures ---------------------------------------------------------------------------------------------


def _draw(folder: Path, layout: Layout, today: date, check: Callable[[], None]) -> None:
    """Three pictures in a folder that is there whole or not at all."""
    place = Affine(DEMO_GSD_M, 0, layout.west, 0, -DEMO_GSD_M, layout.north)
    lots = [shapely.transform(each, lambda p: _to_pixels(p, layout)) for each in _closed(layout).values()]
    pictures = nights(
        DISTRICT_SEED, size=layout.size, gsd=DEMO_GSD_M, lots=lots, sheds=layout.sheds, looks=_LOOKS, pause=check
    )
    names, days = (_BASELINE, *_NIGHTS), (62, 2, 1)
    partial_folder = folder.with_name(f"{_FOLDER}.partial")
    rmtree(partial_folder, ignore_errors=True)
    partial_folder.mkdir(parents=True)
    for name, pixels, before, unseen in zip(names, pictures, days, ((), *layout.unseen), strict=True):
        moment = datetime(today.year, today.month, today.day, 2, 30, tzinfo=UTC) - timedelta(days=before)
        raster = Raster(pixels, _seen(layout, unseen), name, CRS.from_epsg(_ZONE), place, DEMO_GSD_M, moment)
        write_geotiff(raster, partial_folder / f"{name}.tif", cog=True)
    partial_folder.rename(folder)


def _seen(layout: Layout, unseen: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    """(H, W) bool: everywhere but in a polygon."""
    size = (layout.size, layout.size)
    if not unseen:
        return np.ones(size, np.bool_)
    pixels = Polygon([(x / DEMO_GSD_M, y / DEMO_GSD_M) for x, y in unseen])
    return np.asarray(geometry_mask([pixels], size, Affine.identity()), np.bool_)


def _to_pixels(points: NDArray[np.float64], layout: Layout) -> NDArray[np.float64]:
    return np.stack([points[:, 0] - layout.west, layout.north - points[:, 1]], axis=1) / DEMO_GSD_M


# --- Ledger -----------------------------------------------------------------------------------------------


def _closed(layout: Layout) -> dict[str, BaseGeometry]:
    """Code -> outline in EPSG:4548 of the sites whose entries are closed."""
    zone, side = system(f"EPSG:{_ZONE}"), layout.size * DEMO_GSD_M
    window = box(layout.west, layout.north - side, layout.west + side, layout.north)
    found: dict[str, BaseGeometry] = {}
    for feature in fixture.features():
        about = feature["properties"]
        outline = zone.export_geometry(footprint(shape(feature["geometry"]), about["radius_m"]))
        if about["land_m2"] >= ROOMY_M2 and window.contains(outline) and len(found) < CLOSED:
            found[about["code"]] = outline
    return found


def _close(engine: Engine, layout: Layout, seen_at: datetime) -> None:
    """Close entries of sites that nobody has looked at yet, on what the baseline shows."""
    with writing(engine) as session:
        chosen = select(Site).where(Site.code.in_(_closed(layout)), Site.state == "open").order_by(Site.code)
        unseen = chosen.where(~exists().where(Observation.site_id == Site.id))
        fixture.close(session, session.scalars(unseen).all(), seen_at)


def _taken_at(path: Path) -> datetime:
    moment = open_scene([str(path)], Access()).captured_at
    assert moment is not None  # written by `_draw`
    return moment
