"""Two dates of a place, cut out of imagery and handed in as a pair like any other.

Each date stays on the pixels of its own files: nothing is resampled here. The comparison lays the later date on the
grid of the earlier one, as it does with uploads, and its gate knows how coarse each of them really is: a coarse date
blown up to the pixels of a fine one would pass for fine.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rasterio.crs import CRS
from rasterio.warp import transform_bounds
from shapely.geometry import Polygon, box
from shapely.geometry.base import BaseGeometry
from sqlalchemy.orm import Session

from datasets.geotiff import write_geotiff
from datasets.raster import Raster
from datasets.scene import Grid, Scene, SceneError, SceneReader, grid_of
from datasets.scene_light import Radiometry
from inference.compare import Asked
from inference.decode import Limits
from service.database import PairRow
from service.intake import Intake, Upload
from service.ledger.states import CHINA
from service.scenes.errors import ImageryNotFound, PickUnusable
from service.scenes.imagery import Bounds, ground_around
from service.scenes.picking import Imagery, Place, find
from service.triage.evidence import View

BYTES_PER_PX = 4
"""Room for a pixel in a file: three colours that nothing compresses, and the mask."""
_MARGIN_PX = 2
"""So much more is cut out of the later date, so that its edge reaches that of the earlier one wherever pixels lie."""
_ONE_AT_A_TIME = threading.Lock()
"""A cut-out of the largest size takes some hundred megabytes while it is read."""


def submit(
    intake: Intake,
    session: Session,
    folders: Sequence[Path],
    sides: tuple[str, str],
    place: Place,
    pair_id: str | None = None,
) -> PairRow:
    """Cut both dates out and have them compared.

    Args:
        sides: ids of the earlier and the later imagery.
        pair_id: see `Intake.submit`.

    Raises:
        ImageryNotFound: there is no such imagery, or no longer.
        PickUnusable: `imagery_same`, `imagery_order`, `no_common_ground`, `place_too_large`.
        InputError: see `Intake.submit`.
    """
    if sides[0] == sides[1]:
        raise PickUnusable
    before, after = (find(session, folders, side) for side in sides)
    if before.taken_at > after.taken_at:
        before_day, after_day = (f"{each.taken_at.astimezone(CHINA):%Y-%m-%d}" for each in (before, after))
        raise PickUnusable("imagery_order", before_day=before_day, after_day=after_day)
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / side for side, _ in _named(before, after)]
        with _ONE_AT_A_TIME:
            grids = _grids(before, after, place.view, intake.limits)
            for imagery, grid, path in zip((before, after), grids, paths, strict=True):
                write_geotiff(_read(imagery, grid), path)
        with paths[0].open("rb") as first, paths[1].open("rb") as second:
            uploads = Upload(_name(before, place), first), Upload(_name(after, place), second)
            return intake.submit(*uploads, asked=Asked("overhead", place.asked), pair_id=pair_id)


def _named(before: Imagery, after: Imagery) -> tuple[tuple[str, Imagery], tuple[str, Imagery]]:
    return ("before", before), ("after", after)


def _name(imagery: Imagery, place: Place) -> str:
    """What the file would be called; a code of a site may have a slash."""
    return f"{imagery.name} {place.label}.tif".replace("/", "-").replace("\\", "-")


def _grids(before: Imagery, after: Imagery, view: View, limits: Limits) -> tuple[Grid, Grid]:
    """The pixels of each date that cover the place.

    Raises:
        PickUnusable: `no_common_ground`, `place_too_large`.
        ImageryNotFound: `imagery_gone`.
    """
    first, second = (_grid(each) for each in (before, after))
    if not _reached(first, view).intersection(_reached(second, view)).area:
        raise PickUnusable("no_common_ground", before=before.name, after=after.name)
    first = _part(first, ground_around(view.lon, view.lat), _square(view))
    second = _part(second, first.crs, _bounds(first), _MARGIN_PX)
    allowed = min(limits.max_pixels, limits.max_bytes // BYTES_PER_PX)
    largest = max(grid.width * grid.height for grid in (first, second))
    if largest > allowed:
        most = math.floor(view.metres * math.sqrt(allowed / largest) / 10) * 10
        raise PickUnusable("place_too_large", metres=view.metres, most=most)
    return first, second


def _square(view: View) -> Bounds:
    half = view.metres / 2
    return -half, -half, half, half


def _part(whole: Grid, crs: CRS, bounds: Bounds, margin: int = 0) -> Grid:
    """The pixels that cover a rectangle, whether the imagery reaches so far or not."""
    top, left, bottom, right = whole.pixel_bounds(crs, bounds)
    return whole.part(top - margin, left - margin, bottom - top + 2 * margin, right - left + 2 * margin)


def _reached(whole: Grid, view: View) -> BaseGeometry:
    """What of a place the imagery reaches, in metres around its middle; not all of it need have been seen."""
    ground = ground_around(view.lon, view.lat)
    top, left, bottom, right = whole.pixel_bounds(ground, _square(view))
    top, left, bottom, right = max(0, top), max(0, left), min(whole.height, bottom), min(whole.width, right)
    if top >= bottom or left >= right:
        return Polygon()
    part = whole.part(top, left, bottom - top, right - left)
    return box(*transform_bounds(part.crs, ground, *_bounds(part)))


def _bounds(grid: Grid) -> Bounds:
    """West, south, east, north in the system of the grid."""
    corners = [grid.transform @ (x, y) for x in (0, grid.width) for y in (0, grid.height)]
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _scene(imagery: Imagery) -> Scene:
    return Scene(imagery.name, imagery.source.paths, imagery.source.bands)


def _grid(imagery: Imagery) -> Grid:
    try:
        return grid_of(_scene(imagery))
    except SceneError as error:
        raise ImageryNotFound("imagery_gone", name=imagery.name) from error


def _read(imagery: Imagery, grid: Grid) -> Raster:
    """What was seen there, in 8 bit as on the map; what lies beyond the imagery is not seen.

    The date is that in China: a TIFF says times without their zone, and everybody who reads this one is there.
    """
    low, high = imagery.source.range or (0.0, 255.0)
    try:
        with SceneReader(_scene(imagery), grid) as reader:
            values, seen = reader.read(0, 0, grid.height, grid.width)
    except SceneError as error:
        raise ImageryNotFound("imagery_gone", name=imagery.name) from error
    pixels = Radiometry(low, high, (0, 0, 0)).to_8_bit(values)
    moment = imagery.taken_at.astimezone(CHINA).replace(tzinfo=None)
    return Raster(pixels, seen, crs=grid.crs, transform=grid.transform, captured_at=moment)
