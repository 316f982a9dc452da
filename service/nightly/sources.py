"""Where the imagery of a night is.

A source is a text. `{date}`, `{yyyy}`, `{mm}` and `{dd}` in it are those of the due time on the clock of the schedule;
then it names

- a GeoTIFF, or a folder of GeoTIFFs: below the folders of `JINGDI_SCENE_DIRS`, absolute or relative to one of them;
- a STAC item or collection: a path there, or a URL of a host of `JINGDI_SCENE_HOSTS`;
- a tile template with `{z}`, `{x}` and `{y}`, likewise.

Of a folder or a collection, a night is what was taken on one day: the newest, and newer than what was scanned last. An
older picture must not stand in for what clouds hid tonight. Files tell when they were taken; those that do not are
taken for pictures of the due time if their path has a date in it, and otherwise cannot be used.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from datasets.scene import Access, Scene, SceneError
from datasets.scene_sources import load_stac, open_scene
from service.nightly.times import local
from service.scenes.runs import below
from service.settings import Settings

_ELSEWHERE = ("<", "/vsicurl/", "/vsis3/")
_SUFFIXES = (".tif", ".tiff")
_MOST_FILES = 2000
"""Of a folder or collection; what else is in there is none of a night."""


class NothingToSee(Exception):
    """There is no imagery of a night; `code` and `values` say why."""

    def __init__(self, code: str, **values: Any) -> None:
        self.code, self.values = code, values
        super().__init__(code)


def dated(source: str) -> bool:
    """Whether the source has a date in it."""
    return any(f"{{{part}}}" in source for part in ("date", "yyyy", "mm", "dd"))


def named(source: str, due: datetime) -> str:
    """The source of a night; `due` on the clock of its schedule."""
    parts = {"date": f"{due:%Y-%m-%d}", "yyyy": f"{due:%Y}", "mm": f"{due:%m}", "dd": f"{due:%d}"}
    for name, value in parts.items():
        source = source.replace(f"{{{name}}}", value)
    return source


def access(settings: Settings) -> Access:
    """Which places beyond the folders of scenes may be read."""
    return Access(frozenset(settings.scene_hosts), frozenset(settings.scene_buckets))


def find(
    source: str,
    settings: Settings,
    *,
    due_at: datetime,
    time_zone: str,
    since: datetime | None = None,
    bands: tuple[int, int, int] = (1, 2, 3),
    zoom: int = 18,
) -> Scene:
    """The imagery of a night, with the moment at which it was taken.

    Args:
        since: only what was taken later.

    Raises:
        NothingToSee: `no_imagery`, `nothing_new`, `undated`, `scene_outside`, or why a file cannot be read.
    """
    name = named(source, local(due_at, time_zone))
    candidates, damaged = _candidates(name, settings, bands, zoom)
    if dated(source) or "{" in name:
        candidates = [each if each.captured_at else replace(each, captured_at=due_at) for each in candidates]
    with_date = [(each.captured_at, each) for each in candidates if each.captured_at]
    fresh = [pair for pair in with_date if since is None or pair[0] > since]
    if damaged is not None and not fresh:
        raise damaged
    if not with_date:
        raise NothingToSee("undated" if candidates else "no_imagery", source=name)
    if not fresh:
        newest = max(moment for moment, _ in with_date)
        raise NothingToSee("nothing_new", newest=f"{local(newest, time_zone):%Y-%m-%d %H:%M}")
    taken_at = max(moment for moment, _ in fresh)
    day = local(taken_at, time_zone).date()
    night = [pair for pair in fresh if local(pair[0], time_zone).date() == day]
    night.sort(key=lambda pair: (-pair[0].timestamp(), pair[1].sources))
    return Scene(
        night[0][1].name,
        tuple(name for _, each in night for name in each.sources),
        bands, taken_at,
        tuple(dict.fromkeys(mask for _, each in night for mask in each.clouds)),
    )  # fmt: skip


def fixed(source: str, settings: Settings, *, bands: tuple[int, int, int], zoom: int) -> Scene:
    """All of a source, whenever it was taken: what every night is compared with.

    Raises:
        NothingToSee: as `find`.
    """
    found, damaged = _candidates(source, settings, bands, zoom)
    if damaged is not None:
        raise damaged
    if not found:
        raise NothingToSee("no_imagery", source=source)
    moments = [each.captured_at for each in found]
    return Scene(
        found[0].name,
        tuple(name for each in found for name in each.sources),
        bands, max((m for m in moments if m), default=None) if all(moments) else None,
        tuple(mask for each in found for mask in each.clouds),
    )  # fmt: skip


def check(source: str, settings: Settings, due: datetime) -> None:
    """Refuse a source that could never be read, whatever will lie there.

    Raises:
        SceneError: `source_not_allowed`, `source_unreadable`.
        NothingToSee: `scene_outside`.
    """
    name = named(source, due)
    if "{" in name:
        open_scene([name], access(settings))
    elif _is_remote(name):
        access(settings).name(name)
    else:
        _places(name, settings)


def as_document(scene: Scene) -> dict[str, Any]:
    """What JSON can hold of a scene."""
    moment = scene.captured_at and scene.captured_at.isoformat()
    return {
        "name": scene.name, "sources": list(scene.sources), "bands": list(scene.bands), "captured_at": moment,
        "clouds": list(scene.clouds),
    }  # fmt: skip


def of_document(document: dict[str, Any]) -> Scene:
    """The scene again."""
    moment, (red, green, blue) = document["captured_at"], document["bands"]
    return Scene(
        document["name"], tuple(document["sources"]), (red, green, blue),
        datetime.fromisoformat(moment) if moment else None, tuple(document["clouds"]),
    )  # fmt: skip


def is_there(scene: Scene) -> bool:
    """Whether the files of a scene are still where they were; of what is elsewhere that is not known."""
    return all(name.startswith(_ELSEWHERE) or Path(name).exists() for name in scene.sources)


# --- What lies there --------------------------------------------------------------------------------------


def _is_remote(name: str) -> bool:
    return urlsplit(name).scheme in ("http", "https", "s3")


def _candidates(
    name: str, settings: Settings, bands: tuple[int, int, int], zoom: int
) -> tuple[list[Scene], NothingToSee | None]:
    """Every picture that a source names: one, or those of a folder or collection; and why one of them is left out."""
    allowed, found, damaged = access(settings), [], None
    try:
        hrefs = _hrefs(name, settings)
    except SceneError as error:
        return [], NothingToSee(error.code, **error.values)
    for href in hrefs:
        try:
            scene = open_scene([href], allowed, bands=bands, zoom=zoom)
            _check_folders(scene, settings)
            found.append(scene)
        except SceneError as error:
            damaged = damaged or NothingToSee(error.code, **error.values)
    return found, damaged


def _hrefs(name: str, settings: Settings) -> list[str]:
    if "{" in name:
        return [name]
    if _is_remote(name):
        return _items(name, access(settings)) if name.lower().endswith(".json") else [name]
    path = next((place for place in _places(name, settings) if place.exists()), None)
    if path is None:
        raise NothingToSee("no_imagery", source=name)
    if path.is_dir():
        files = sorted(each for each in path.iterdir() if each.suffix.lower() in _SUFFIXES and each.is_file())
        return [str(each) for each in files[-_MOST_FILES:]]
    return _items(str(path), access(settings)) if path.suffix.lower() == ".json" else [str(path)]


def _items(href: str, allowed: Access) -> list[str]:
    """A STAC item, or the items of a collection."""
    document = load_stac(href, allowed)
    if document.get("type") != "Collection":
        return [href]
    links = [str(link["href"]) for link in document.get("links", ()) if link.get("rel") == "item"]
    if _is_remote(href):
        return [urljoin(href, link) for link in links[:_MOST_FILES]]
    return [link if _is_remote(link) else str(Path(href).parent / link) for link in links[:_MOST_FILES]]


def _places(name: str, settings: Settings) -> list[Path]:
    """Where a path may be: in each of the allowed folders.

    Raises:
        NothingToSee: `scene_outside`.
    """
    try:
        paths = [(folder / name).resolve() for folder in settings.scene_folders]
    except (OSError, ValueError):
        paths = []
    inside = list(dict.fromkeys(path for path in paths if below(path, settings.scene_folders)))
    if not inside:
        raise NothingToSee("scene_outside", name=name)
    return inside


def _check_folders(scene: Scene, settings: Settings) -> None:
    """A STAC document may name files anywhere."""
    for name in (*scene.sources, *scene.clouds):
        if not name.startswith(_ELSEWHERE) and not below(Path(name), settings.scene_folders):
            raise NothingToSee("scene_outside", name=Path(name).name)
