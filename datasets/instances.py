"""Readers of public sets that map every structure at both dates, in the layouts in which they are published.

As in datasets.layouts, `test/` is never read and what was not seen (black) is `IGNORE`. Structures are known
throughout, so `remaining` is taught as well.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon

from datasets.pairs import (
    IGNORE,
    Entry,
    LabelledPair,
    Split,
    every_fifth,
    list_files,
    list_layers,
    list_split,
    rasterised,
    read_dates,
    read_values,
    seen_pair,
)

Masks = tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]

# xBD


def xbd(folder: Path, source: str, split: Split) -> list[Entry]:
    """xBD (Gupta et al., CVPR Workshops 2019, arXiv 1911.09296). About 0.5 m, disasters world-wide.

    Structures come from the polygons of `labels/` or, where that is missing, from `targets/`. A building is gone,
    and that is the only change, where its damage is `destroyed`; less damage leaves it standing; `un-classified`
    is `IGNORE` after the disaster (`targets/` count it as standing). Edges that lean differently are no change.
    `train/` and `tier3/` train, `hold/` validates; where that is missing, every fifth scene does.
    """
    parts = [part for part in (folder / "train", folder / "tier3") if part.is_dir()] or [folder / "train"]
    hold = folder / "hold"
    if hold.is_dir():
        return _xbd_entries([hold] if split == "validation" else parts, source)
    entries = _xbd_entries(parts, source)
    held = every_fifth([entry.name for entry in entries])
    return [entry for entry in entries if (entry.name in held) == (split == "validation")]


def _xbd_entries(parts: list[Path], source: str) -> list[Entry]:
    entries = [Entry(source, name, 0.5, files, _read_xbd) for part in parts for name, files in _xbd_files(part).items()]
    return sorted(entries, key=lambda entry: entry.name)


def _xbd_files(part: Path) -> dict[str, dict[str, Path]]:
    images, labels, targets = list_files(part / "images"), part / "labels", part / "targets"
    if labels.is_dir():
        found = {path.stem: path for path in labels.glob("*.json")}
        ending = ""
    elif targets.is_dir():
        found = list_files(targets)
        ending = "_target"
    else:
        raise FileNotFoundError(f"{part} has neither labels/ nor targets/; unpack one of them beside images/")
    scenes = {}
    for name in (stem.removesuffix("_pre_disaster") for stem in images if stem.endswith("_pre_disaster")):
        then, later = f"{name}_pre_disaster", f"{name}_post_disaster"
        for stem in (then + ending, later + ending):
            if stem not in found:
                raise FileNotFoundError(f"{targets if ending else labels} has no {stem}; every image has its labels")
        scenes[name] = {
            "before": images[then], "after": images[later],
            "labels_before": found[then + ending], "labels_after": found[later + ending],
        }  # fmt: skip
    if not scenes:
        raise FileNotFoundError(f"{part / 'images'} holds no *_pre_disaster image; see datasets/README.md")
    return scenes


def _read_xbd(entry: Entry) -> LabelledPair:
    before, after = read_dates(entry)
    labels = entry.files["labels_before"], entry.files["labels_after"]
    read = _xbd_polygons if labels[0].suffix == ".json" else _xbd_target
    was, _, _ = read(labels[0], before.shape)
    stands, gone, unknown = read(labels[1], before.shape)
    structure_after = stands.astype(np.uint8)
    structure_after[unknown] = IGNORE
    change = gone.astype(np.uint8)
    # Where the outlines of the two dates do not meet, the edge of a vanished building is neither change nor none.
    change[unknown | (gone & ~was)] = IGNORE
    return seen_pair(entry, before, after, was.astype(np.uint8), structure_after, change)


def _xbd_polygons(path: Path, shape: tuple[int, ...]) -> Masks:
    """Standing, destroyed, unknown. Before the disaster buildings have no `subtype` and stand."""
    found: dict[str, list[Polygon]] = {"standing": [], "destroyed": [], "un-classified": []}
    try:
        for feature in json.loads(path.read_text("utf-8"))["features"]["xy"]:
            damage = feature["properties"].get("subtype")
            found[damage if damage in found else "standing"].append(shapely.from_wkt(feature["wkt"]))
    except (ValueError, KeyError, TypeError, shapely.errors.ShapelyError) as error:
        raise ValueError(f"{path} is no label file of xBD ({error!r}); unpack it from the source again") from error
    standing, destroyed, unknown = (rasterised(polygons, shape) for polygons in found.values())
    return standing, destroyed & ~standing, unknown & ~standing & ~destroyed


def _xbd_target(path: Path, shape: tuple[int, ...]) -> Masks:
    """0 nothing, 1 to 3 standing with more and more damage, 4 destroyed."""
    values = read_values(path, shape)
    _check(path, values, range(5))
    return (values >= 1) & (values <= 3), values == 4, np.zeros(values.shape, np.bool_)


def _check(path: Path, values: NDArray[np.uint8], known: range | tuple[int, ...]) -> None:
    if strange := set(np.unique(values).tolist()) - set(known):
        known_values = ", ".join(map(str, known))
        raise ValueError(
            f"{path} has the value {min(strange)}, known are {known_values}; take the file as it was published"
        )


# FOTBCD-Instances


def fotbcd_instances(folder: Path, source: str, split: Split) -> list[Entry]:
    """FOTBCD-Instances: outlines of all buildings with what became of each, as COCO polygons; see layouts.fotbcd."""
    files = list_split(folder / "images", split, {"before": "before", "after": "after"})
    annotations: dict[Path, dict[str, Outlines]] = {}
    entries = []
    for name, layers in files.items():
        path = folder / "annotations" / f"{layers['before'].parents[1].name}.json"
        if path not in annotations:
            annotations[path] = _coco(path)
        if name not in annotations[path]:
            raise FileNotFoundError(f"{path} has no image {name}; copy it from the source again")
        entries.append(Entry(source, name, 0.2, layers, partial(_read_fotbcd, outlines=annotations[path][name])))
    return entries


Outlines = tuple[tuple[int, tuple[float, ...]], ...]
"""Category and ring x, y, x, y ... of each building."""
_UNCHANGED, _DEMOLISHED, _NEW = 1, 2, 3


def _coco(path: Path) -> dict[str, Outlines]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; every split of FOTBCD-Instances has its annotations")
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        found: dict[int, list[tuple[int, tuple[float, ...]]]] = {image["id"]: [] for image in content["images"]}
        for note in content["annotations"]:
            if note["category_id"] not in (_UNCHANGED, _DEMOLISHED, _NEW):
                raise ValueError(f"category {note['category_id']}")
            found[note["image_id"]] += [(note["category_id"], tuple(map(float, r))) for r in note["segmentation"]]
        return {Path(image["file_name"]).stem: tuple(found[image["id"]]) for image in content["images"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no file of FOTBCD-Instances ({error!r}); copy it from the source again") from error


def _read_fotbcd(entry: Entry, outlines: Outlines) -> LabelledPair:
    before, after = read_dates(entry)
    unchanged, demolished, new = (
        rasterised([Polygon(np.reshape(ring, (-1, 2))) for of, ring in outlines if of == category], before.shape)
        for category in (_UNCHANGED, _DEMOLISHED, _NEW)
    )
    was, stands = (unchanged | demolished).astype(np.uint8), (unchanged | new).astype(np.uint8)
    return seen_pair(entry, before, after, was, stands, (demolished | new).astype(np.uint8))


# BANDON

_ROOF, _FACADE = 1, 2


def bandon(folder: Path, source: str, split: Split) -> list[Entry]:
    """BANDON (Pang et al., Science China Information Sciences 2023, arXiv 2301.10922). 0.6 m, off-nadir, Chinese
    cities at two or three dates each.

    Change is 0, 1 or 255 for not labelled, without direction; that follows from the structures, which are the
    roofs of `building_labels/`. Facades lean with the view, they are no ground plan and `IGNORE`.
    """
    own = (folder / "val").is_dir()
    part = folder / ("val" if own and split == "validation" else "train")
    labels = next((part / n for n in ("labels_unch0ch1ig255", "labels") if (part / n).is_dir()), None)
    if labels is None:
        raise FileNotFoundError(f"{part} has neither labels_unch0ch1ig255/ nor labels/; see datasets/README.md")
    found: dict[str, tuple[str, dict[str, Path]]] = {}
    for dates in sorted(labels.glob("*/*VS*")):
        city, (then, later) = dates.parent.name, dates.name.split("VS")
        layers = {"change": dates}
        for date, when in (("before", then), ("after", later)):
            layers[date] = part / "imgs" / city / when
            layers[f"roofs_{date}"] = part / "building_labels" / city / when
        for stem, files in list_layers(layers).items():
            found[f"{city}_{dates.name}_{stem}"] = f"{city}_{stem}", files
    if not found:
        raise FileNotFoundError(f"{labels} holds no <city>/<date>VS<date> folder; see datasets/README.md")
    # A place is there for every pair of its dates, so places are held out, not pairs.
    held = set() if own else every_fifth(sorted({place for place, _ in found.values()}))
    return [
        Entry(source, name, 0.6, files, _read_bandon)
        for name, (place, files) in sorted(found.items())
        if own or (place in held) == (split == "validation")
    ]


def _read_bandon(entry: Entry) -> LabelledPair:
    before, after = read_dates(entry)
    change = read_values(entry.files["change"], before.shape)
    _check(entry.files["change"], change, (0, 1, IGNORE))
    was, stands = (_roofs(entry.files[f"roofs_{date}"], before.shape) for date in ("before", "after"))
    return seen_pair(entry, before, after, was, stands, change)


def _roofs(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    values = read_values(path, shape)
    _check(path, values, (0, _ROOF, _FACADE, IGNORE))
    values[values == _FACADE] = IGNORE
    return values
