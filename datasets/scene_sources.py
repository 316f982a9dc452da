"""What a scene may be given as: files, a STAC item or collection, a tile template; and a CSV of pairs of them."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, build_opener
from xml.sax.saxutils import escape

import pystac

from datasets.scene import Access, Scene, SceneError, open_source

_MERCATOR = 20037508.342789244
_MAX_JSON = 16 * 2**20
_ASSETS = ("visual", "image", "data", "analytic")


@dataclass(frozen=True, slots=True)
class PairSpec:
    """One line of a CSV of pairs: two sources as `open_scene` takes them, and a name for the run."""

    name: str
    before: str
    after: str


def open_scene(
    sources: Sequence[str],
    access: Access,
    *,
    bands: tuple[int, int, int] = (1, 2, 3),
    zoom: int = 18,
    clouds: Sequence[str] = (),
) -> Scene:
    """One date from what a person names: GeoTIFFs (path, `http(s)://`, `s3://`), one STAC JSON, or one template.

    Args:
        sources: several are files of one date; where they overlap the first wins.
        bands: which bands are red, green and blue, counted from 1.
        zoom: level of a tile template (`{z}/{x}/{y}` or `{TileMatrix}/{TileRow}/{TileCol}`, Web Mercator).
        clouds: masks that are not 0 where clouds are.

    Raises:
        SceneError: `source_not_allowed`, `source_unreadable`, `bad_stac`.
    """
    masks = tuple(access.name(mask) for mask in clouds)
    first = sources[0]
    if "{" in first:
        return Scene(urlsplit(first).netloc, (_tiles(first, access, zoom),), bands, None, masks)
    if first.lower().endswith((".json", ".geojson")):
        found = _from_stac(first, access)
        return Scene(found.name, found.sources, bands, found.captured_at, masks + found.clouds)
    names = tuple(access.name(source) for source in sources)
    return Scene(Path(urlsplit(first).path).name, names, bands, _captured_at(names[0]), masks)


def _captured_at(name: str) -> datetime | None:
    with open_source(name) as dataset:
        text = dataset.tags().get("TIFFTAG_DATETIME", "")
    try:
        return datetime.strptime(text.strip("\x00 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


# --- Tiles ------------------------------------------------------------------------------------------------


def _tiles(template: str, access: Access, zoom: int) -> str:
    """Description of a Web Mercator tile service for GDAL, without a cache on disk. A tile that is missing is unseen.

    Four bands: the fourth says what was seen, and is full for tiles without one.
    """
    access.check_host(template)
    url = re.sub(r"\{(z|TileMatrix)\}", "${z}", template, flags=re.IGNORECASE)
    url = re.sub(r"\{(x|TileCol)\}", "${x}", url, flags=re.IGNORECASE)
    url = re.sub(r"\{(y|TileRow)\}", "${y}", url, flags=re.IGNORECASE)
    if not all(part in url for part in ("${z}", "${x}", "${y}")) or not 0 <= zoom <= 24:
        raise SceneError("source_unreadable", name=template, detail="{z}, {x}, {y}; 0 <= zoom <= 24")
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{escape(url)}</ServerUrl></Service><DataWindow>'
        f"<UpperLeftX>-{_MERCATOR}</UpperLeftX><UpperLeftY>{_MERCATOR}</UpperLeftY>"
        f"<LowerRightX>{_MERCATOR}</LowerRightX><LowerRightY>-{_MERCATOR}</LowerRightY><TileLevel>{zoom}</TileLevel>"
        "<TileCountX>1</TileCountX><TileCountY>1</TileCountY><YOrigin>top</YOrigin></DataWindow>"
        "<Projection>EPSG:3857</Projection><BlockSizeX>256</BlockSizeX><BlockSizeY>256</BlockSizeY>"
        "<BandsCount>4</BandsCount><ZeroBlockHttpCodes>204,404</ZeroBlockHttpCodes></GDAL_WMS>"
    )


def is_tiles(scene: Scene) -> bool:
    """Whether a scene is the whole world, so that an area must be given."""
    return scene.sources[0].startswith("<")


# --- STAC -------------------------------------------------------------------------------------------------


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def load_stac(href: str, access: Access) -> dict[str, Any]:
    """A JSON document from a path or an allowed host.

    Raises:
        SceneError: `source_not_allowed`, `bad_stac`.
    """
    try:
        if urlsplit(href).scheme in ("http", "https"):
            access.check_host(href)
            with build_opener(_NoRedirects).open(href, timeout=60) as answer:
                text = answer.read(_MAX_JSON)
        else:
            if "://" in href:
                raise SceneError("source_not_allowed", place=href[:60])
            text = Path(href).read_bytes()
        found = json.loads(text)
    except (OSError, ValueError) as error:
        if isinstance(error, SceneError):
            raise
        raise SceneError("bad_stac", name=href, detail=str(error)[:200]) from error
    if not isinstance(found, dict):
        raise SceneError("bad_stac", name=href, detail="not an object")
    return found


def _from_stac(href: str, access: Access) -> Scene:
    """An item, or the items of a collection, the latest first."""
    document = load_stac(href, access)
    items: list[tuple[str, pystac.Item]] = []
    try:
        if document.get("type") == "Collection":
            links = [link["href"] for link in document.get("links", ()) if link.get("rel") == "item"]
            for link in links:
                at = _join(href, link)
                items.append((at, pystac.Item.from_dict(load_stac(at, access), preserve_dict=False)))
        else:
            items.append((href, pystac.Item.from_dict(document, preserve_dict=False)))
    except SceneError:
        raise
    except Exception as error:  # pystac raises nearly anything on documents that are not STAC
        raise SceneError("bad_stac", name=href, detail=f"{type(error).__name__}: {error}"[:200]) from error
    if not items:
        raise SceneError("bad_stac", name=href, detail="no items")
    items.sort(key=lambda pair: (-_moment(pair[1]), pair[1].id))
    sources = tuple(access.name(_join(at, _image(item, at).href)) for at, item in items)
    clouds = tuple(
        access.name(_join(at, asset.href))
        for at, item in items
        for key, asset in item.assets.items()
        if "cloud" in (asset.roles or ()) or key in ("cloud", "cloud_mask")
    )
    return Scene(str(document.get("id", "stac")), sources, captured_at=_date(items[0][1]), clouds=clouds)


def _date(item: pystac.Item) -> datetime | None:
    found = item.datetime or item.common_metadata.end_datetime
    return found.astimezone(UTC) if found else None


def _moment(item: pystac.Item) -> float:
    date = _date(item)
    return date.timestamp() if date else -math.inf


def _image(item: pystac.Item, at: str) -> pystac.Asset:
    """The asset that holds the picture: one of the usual names, or the first GeoTIFF."""
    for key in _ASSETS:
        if key in item.assets:
            return item.assets[key]
    for asset in item.assets.values():
        if "tiff" in (asset.media_type or "") and "cloud" not in (asset.roles or ()):
            return asset
    raise SceneError("bad_stac", name=at, detail="no GeoTIFF among the assets")


def _join(base: str, href: str) -> str:
    """A link relative to the document it stands in."""
    if urlsplit(href).scheme in ("http", "https", "s3") or urlsplit(base).scheme in ("http", "https"):
        return urljoin(base, href)
    return str(Path(base).parent / href)


# --- CSV --------------------------------------------------------------------------------------------------


def read_pairs(path: Path) -> tuple[PairSpec, ...]:
    """A CSV with the columns `before` and `after`, and `name` if a run shall have one; UTF-8 or GB18030.

    Local paths are taken from the folder of the CSV.

    Raises:
        SceneError: `bad_pairs` with the line.
        OSError: the file cannot be read.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("gb18030", errors="replace")
    rows = csv.DictReader(io.StringIO(text))
    if not {"before", "after"} <= set(rows.fieldnames or ()):
        raise SceneError("bad_pairs", line=1, detail="before, after")
    pairs: list[PairSpec] = []
    for row in rows:
        before, after = ((row.get(key) or "").strip() for key in ("before", "after"))
        name = (row.get("name") or "").strip() or f"{len(pairs) + 1:04d}"
        if not before or not after:
            raise SceneError("bad_pairs", line=rows.line_num, detail="before, after")
        if not re.fullmatch(r"[\w.\- ]+", name) or name.startswith(".") or name in {p.name for p in pairs}:
            raise SceneError("bad_pairs", line=rows.line_num, detail=f"name: {name[:40]}")
        pairs.append(PairSpec(name, *(s if "://" in s else str(path.parent / s) for s in (before, after))))
    if not pairs:
        raise SceneError("bad_pairs", line=1, detail="0")
    return tuple(pairs)
