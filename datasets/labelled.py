"""Labelled sets by name, with splits that do not leak: `read_set` is all that training and evaluation know of them.

A set lies in a folder of its name below the data folder and keeps the layout in which it was published
(datasets.layouts, datasets.instances) or, for reviewers' decisions, in which this project writes them
(datasets.feedback). Sets gathered for this project are a folder of layers, one file per scene and layer, the same
stem in each:

    before/ after/ changed/                               pairs with a change mask (LEVIR-CD)
    before/ after/ structures_before/ structures_after/   pairs with structures at each date (xBD, Ida-BD)
    image/ structures/                                    single dates (Banepa, Dubai)

Images are JPEG or PNG, masks PNG with 0 and 255. datasets/README.md has a table of all sets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from datasets import feedback, instances, layouts
from datasets.doubts import doubted
from datasets.filled import filled as label_filled
from datasets.offsets import registered as label_registered
from datasets.pairs import (
    CACHE_BYTES,
    IGNORE,
    Entry,
    LabelledPair,
    LabelledSet,
    Split,
    every_fifth,
    list_layers,
    nodata,
    read_dates,
    read_image,
    read_mask,
    seen_pair,
)

__all__ = ["IGNORE", "SOURCES", "Entry", "LabelledPair", "LabelledSet", "Split", "read_set"]


def _levir_validation(names: Sequence[str]) -> set[str]:
    """Tiles 10-14 and 17: neighbours on the ground never straddle the split."""
    held = {*range(10, 15), 17}
    return {n for n in names if int(re.findall(r"\d+", n)[-1]) in held}


def _levir(folder: Path, source: str, split: Split) -> list[Entry]:
    """LEVIR-CD, as gathered for this project or as published."""
    if (folder / "train").is_dir() or (folder / "A").is_dir():
        return layouts.levir_cd(folder, source, split)
    files = list_layers({"before": folder / "before", "after": folder / "after", "change": folder / "changed"})
    held = _levir_validation(list(files))
    return [
        Entry(source, name, 0.5, layers, layouts.read_growth, structures_known=False)
        for name, layers in files.items()
        if (name in held) == (split == "validation")
    ]


def _layers(
    folder: Path,
    source: str,
    split: Split,
    *,
    layers: Sequence[str],
    read: Callable[[Entry], LabelledPair],
    gsd: float,
    single_date: bool = False,
    structures_known: bool = True,
) -> list[Entry]:
    """A folder of layers, every fifth name for validation."""
    files = list_layers({layer: folder / layer for layer in layers})
    held = every_fifth(list(files))
    return [
        Entry(source, name, gsd, found, read, single_date, structures_known)
        for name, found in files.items()
        if (name in held) == (split == "validation")
    ]


def _read_structure_pair(entry: Entry) -> LabelledPair:
    """Structures at each date; nothing appears or vanishes.

    Roofs lean differently at the two dates, so the masks differ along the edges without any change: change is
    0 wherever both dates were seen, never the xor of the masks.
    """
    before, after = read_dates(entry)
    structure_before = read_mask(entry.files["structures_before"], before.shape)
    structure_after = read_mask(entry.files["structures_after"], before.shape)
    return seen_pair(entry, before, after, structure_before, structure_after, np.zeros_like(structure_before))


def _read_single_date(entry: Entry) -> LabelledPair:
    image = read_image(entry.files["image"])
    mask = read_mask(entry.files["structures"], image.shape)
    mask[nodata(image)] = IGNORE
    return entry.pair(image, image, mask, mask, np.zeros_like(mask))


def _read_coarse(entry: Entry) -> LabelledPair:
    """A single date whose labels fill the gaps between houses: what they call ground is, all else is unknown."""
    pair = _read_single_date(entry)
    ground = np.where(pair.structure_before == 0, 0, IGNORE).astype(np.uint8)
    return replace(pair, structure_before=ground, structure_after=ground)


_structure_pairs = partial(
    _layers, layers=("before", "after", "structures_before", "structures_after"), read=_read_structure_pair
)
_single_dates = partial(_layers, layers=("image", "structures"), single_date=True)

_SETS: dict[str, Callable[[Path, str, Split], list[Entry]]] = {
    "levir_cd": _levir,
    "xbd_mexico": partial(_structure_pairs, gsd=1.0),
    "xbd_other": partial(_structure_pairs, gsd=1.0),
    "ida": partial(_structure_pairs, gsd=0.5),
    "banepa": partial(_single_dates, read=_read_single_date, gsd=0.27),
    "dubai_coarse": partial(_single_dates, read=_read_coarse, gsd=0.4, structures_known=False),
    "levir_cd_plus": layouts.levir_cd_plus,
    "whu_cd": layouts.whu_cd,
    "s2looking": layouts.s2looking,
    "sysu_cd": layouts.sysu_cd,
    "second": layouts.second,
    "xbd": instances.xbd,
    "fotbcd": layouts.fotbcd,
    "bandon": instances.bandon,
    "feedback": feedback.entries,
}

SOURCES = tuple(_SETS)
"""Names of the sets that `read_set` knows."""


def read_set(
    root: Path,
    source: str,
    split: Split,
    *,
    cache_bytes: int = CACHE_BYTES,
    mended: bool = False,
    filled: Path | None = None,
) -> LabelledSet:
    """One split of the set `source` in `root / source`. Its files are looked up now and read when indexed.

    Args:
        cache_bytes: how many bytes of pixels the result may keep in memory.
        mended: labels that are known to lie beside what they outline are moved onto it (datasets.offsets), and nothing
            is said where a person saw them to be wrong (datasets.doubts); otherwise they are as published.
        filled: folder of structures that the set does not label, to fill in (datasets.filled).

    Returns:
        The scenes in the order of their names. For validation it may be empty, where the set holds out certain
        scenes and none of them is there.

    Raises:
        KeyError: unknown set.
        FileNotFoundError: a layer, or one scene of it, is missing.
        ValueError: nothing is left to train on, or a description of scenes cannot be read.
    """
    if source not in _SETS:
        raise KeyError(f"unknown set {source!r}; known: {', '.join(SOURCES)}")
    entries = _SETS[source](root / source, source, split)
    if not entries and split == "train":
        raise ValueError(
            f"{root / source} has no scene to train on, all are held out for validation; add scenes or leave "
            f"{source!r} out of the recipe"
        )
    if mended:
        entries = [doubted(label_registered(entry)) for entry in entries]
    if filled is not None:  # last: it was seen in the picture, and does not move with labels that lie beside it
        entries = [label_filled(entry, filled) for entry in entries]
    return LabelledSet(entries, cache_bytes)
