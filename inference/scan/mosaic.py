"""From windows to one picture: neighbours pass into each other, in whole numbers, whatever order they came in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetReader, MemoryFile

from datasets.scene import GDAL_OPTIONS, Grid
from inference.scan.journal import ROWS, Journal
from inference.scan.window import NODATA, OBSERVED, OUTSIDE
from inference.scan.windows import BLEND, MARGIN, SIDE, STEP, Box, Lattice, Window

BANDS = 4

Part = tuple[Window, Box, NDArray[np.uint8]]
"""A window, some rows of what is kept of it, and (4, H, W) layers of those."""


def _weight(lattice: Lattice, window: Window) -> NDArray[np.uint32]:
    """(H, W) over `kept`: full inside, falling towards the neighbours so that two of them add up to full."""
    rise = 2 * np.arange(BLEND, dtype=np.uint32) + 1
    kept = SIDE - 2 * MARGIN
    full = np.concatenate([rise, np.full(kept - 2 * BLEND, 2 * BLEND, np.uint32), rise[::-1]])
    top, left = lattice.tops[window.row] + MARGIN, lattice.lefts[window.column] + MARGIN
    rows = full[window.kept.top - top : window.kept.bottom - top]
    columns = full[window.kept.left - left : window.kept.right - left]
    return np.outer(rows, columns).astype(np.uint32)


@contextmanager
def strip(
    journal: Journal, grid: Grid, lattice: Lattice, row: int
) -> Iterator[tuple[memoryview, list[dict[str, Any]]]]:
    """Blend a row of windows, and the end of the row above, into the rows of pixels that are final now.

    Yields:
        A GeoTIFF of them, uint8 with the layers of `Scored.layers` as bands, and a record of each window of the row.
    """
    first, last = lattice.strip(row)
    place = grid.part(first, 0, last - first, grid.width)
    profile = {
        "driver": "GTiff", "width": place.width, "height": place.height, "count": BANDS, "dtype": "uint8",
        "crs": place.crs, "transform": place.transform, "compress": "deflate", "zlevel": 1, "predictor": 2,
        "tiled": True, "blockxsize": ROWS, "blockysize": ROWS, "interleave": "band",
    }  # fmt: skip
    with rasterio.Env(**GDAL_OPTIONS), MemoryFile() as memory:
        with memory.open(**profile) as file:
            # Tiles by tiles: of a wide scene all rows at once take more memory than the network.
            for top in range(first, last, ROWS):
                bottom = min(last, top + ROWS)
                values = _rows(journal, lattice, row, top, bottom)
                file.write(values, window=((top - first, bottom - first), (0, lattice.width)))
        yield memoryview(memory.getbuffer()), [journal.record(w) for w in lattice.row(row)]


def _rows(journal: Journal, lattice: Lattice, row: int, top: int, bottom: int) -> NDArray[np.uint8]:
    """(4, rows, width): some rows of a strip."""

    @lru_cache(maxsize=4)
    def load(r: int, c: int) -> Part:
        window = lattice.window(r, c)
        kept = window.kept
        first, last = max(kept.top, top), min(kept.bottom, bottom)
        layers = journal.layers(window, first - kept.top, last - kept.top)
        return window, Box(first, kept.left, last, kept.right), layers

    result = np.empty((BANDS, bottom - top, lattice.width), dtype=np.uint8)
    for column in range(len(lattice.lefts)):
        start = lattice.lefts[column] + MARGIN
        right = lattice.width if column == len(lattice.lefts) - 1 else min(lattice.width, start + STEP)
        piece = Box(top, max(0, start), bottom, right)
        _, box, layers = load(row, column)
        result[:, :, piece.left : piece.right] = layers[(slice(None), *piece.within(box))]
        # Other windows have a say along the upper and left edge only, those of the row above along the upper.
        seam_row, seam_column = lattice.tops[row] + MARGIN + BLEND, start + BLEND
        for seam, rows in (
            (Box(top, piece.left, min(bottom, seam_row), right), (row - 1, row)),
            (Box(max(top, seam_row), piece.left, bottom, min(right, seam_column)), (row,)),
        ):
            if seam.height <= 0 or seam.width <= 0:
                continue
            parts = [load(r, c) for r in rows for c in (column - 1, column) if r >= 0 and c >= 0]
            result[:, seam.top - top : seam.bottom - top, seam.left : seam.right] = _blend(lattice, seam, parts)
    return result


def _blend(lattice: Lattice, piece: Box, parts: list[Part]) -> NDArray[np.uint8]:
    total = np.zeros((3, piece.height, piece.width), dtype=np.uint32)
    weights = np.zeros((piece.height, piece.width), dtype=np.uint32)
    coverage = np.full((piece.height, piece.width), 255, dtype=np.uint8)
    for window, box, layers in parts:
        common = box.clipped(piece)
        if common.height <= 0 or common.width <= 0:
            continue
        here = common.within(piece)
        cut = layers[(slice(None), *common.within(box))]
        weight = _weight(lattice, window)[common.within(window.kept)] * (cut[3] == OBSERVED)
        total[(slice(None), *here)] += cut[:3] * weight
        weights[here] += weight
        # Where one of two neighbours was set aside, the other still speaks: `observed` is the lowest of the codes.
        coverage[here] = np.minimum(coverage[here], cut[3])
    coverage[coverage == 255] = OUTSIDE
    blended = (total + weights // 2) // np.maximum(weights, 1)
    return np.concatenate([np.where(weights > 0, blended, NODATA).astype(np.uint8), coverage[None]])


def status(record: dict[str, Any]) -> str:
    """`observed`, `partly_observed`, `not_observed`; `outside` for a window that lies beside the area."""
    if not record["area_px"]:
        return "outside"
    if not record["not_observed_px"]:
        return "observed"
    return "partly_observed" if record["observed_share"] else "not_observed"


class Mosaic:
    """All strips of a run as one raster, read by rows."""

    def __init__(self, journal: Journal, grid: Grid, lattice: Lattice) -> None:
        self.rows = [r for r in range(len(lattice.tops)) if lattice.strip(r)[0] < lattice.strip(r)[1]]
        self._places = [(journal.strip(r), *lattice.strip(r)) for r in self.rows]
        self.grid = grid

    def vrt(self, bands: tuple[int, ...], nodata: int | None) -> str:
        """A virtual raster of some bands (counted from 1)."""
        grid = self.grid
        parts = []
        for number, band in enumerate(bands, start=1):
            void = "" if nodata is None else f"<NoDataValue>{nodata}</NoDataValue>"
            sources = "".join(self._source(path, band, first, last) for path, first, last in self._places)
            parts.append(f'<VRTRasterBand dataType="Byte" band="{number}">{void}{sources}</VRTRasterBand>')
        transform = ", ".join(repr(float(v)) for v in grid.transform.to_gdal())
        return (
            f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">'
            f"<SRS>{escape(grid.crs.to_wkt())}</SRS><GeoTransform>{transform}</GeoTransform>{''.join(parts)}</VRTDataset>"
        )

    def _source(self, path: Path, band: int, first: int, last: int) -> str:
        width, rows = self.grid.width, last - first
        return (
            f'<SimpleSource><SourceFilename relativeToVRT="0">{escape(str(path.absolute()))}</SourceFilename>'
            f'<SourceBand>{band}</SourceBand><SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{rows}"/>'
            f'<DstRect xOff="0" yOff="{first}" xSize="{width}" ySize="{rows}"/></SimpleSource>'
        )

    def open(self) -> DatasetReader:
        with rasterio.Env(**GDAL_OPTIONS):
            return rasterio.open(self.vrt((1, 2, 3, 4), None))
