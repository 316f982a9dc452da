"""Readers of labelled imagery, in one folder layout, with splits that do not leak.

A set is a folder of layers, one file per scene and layer, the same stem in each:

    before/ after/ changed/                               pairs with a change mask (LEVIR-CD)
    before/ after/ structures_before/ structures_after/   pairs with structures at each date (xBD, Ida-BD)
    image/ structures/                                    single dates (Banepa, Dubai)

Images are JPEG or PNG, masks PNG with 0 and 255.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Split = Literal["train", "validation"]

IGNORE = 255
"""Value of a label pixel that says nothing."""

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif")


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two dates of one scene and what is known of them.

    Attributes:
        source: name of the set.
        name: name of the scene within the set.
        before, after: (H, W, 3) uint8 RGB; the same array for single-date imagery.
        structure_before, structure_after, change: (H, W) uint8, 0, 1 or `IGNORE`.
        gsd: nominal metres per pixel.
        single_date: both dates are one picture.
        structures_known: the structure layers speak of the whole scene, not of its changed pixels only.
    """

    source: str
    name: str
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    structure_before: NDArray[np.uint8]
    structure_after: NDArray[np.uint8]
    change: NDArray[np.uint8]
    gsd: float
    single_date: bool = False
    structures_known: bool = True


def _read_image(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def _read_mask(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return (np.asarray(image.convert("L")) > 127).astype(np.uint8)


class _Layer(dict[str, Path]):
    """Scene name -> file of one layer, in sorted order."""

    def __init__(self, folder: Path) -> None:
        super().__init__({p.stem: p for p in sorted(folder.glob("*")) if p.suffix.lower() in _IMAGE_SUFFIXES})
        self.folder = folder

    def __missing__(self, name: str) -> Path:
        raise FileNotFoundError(f"{self.folder} has no {name}; every layer holds one file per scene")


def _files(folder: Path) -> _Layer:
    """One layer of a set.

    Raises:
        FileNotFoundError: the folder is missing or holds no image; later, when a scene is looked up, that it lacks it.
    """
    found = _Layer(folder)
    if not found:
        raise FileNotFoundError(f"{folder} holds no images; see datasets/labelled.py for the expected layout")
    return found


def _nodata(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels outside the scene: the sets fill them with (near, after JPEG) black."""
    black: NDArray[np.bool_] = image.max(axis=2) <= 3
    return black


def _every_fifth(names: list[str]) -> set[str]:
    return set(names[::5])


def _levir_validation(names: list[str]) -> set[str]:
    """Tiles 10-14 and 17: neighbours on the ground never straddle the split."""
    held = {*range(10, 15), 17}
    return {n for n in names if int(re.findall(r"\d+", n)[-1]) in held}


def _changed_pairs(root: Path, keep: Callable[[str], bool], *, source: str, gsd: float) -> list[LabelledPair]:
    """Pairs whose labels say where structures appeared, not what else stands.

    LEVIR-CD's change is growth, so a changed pixel was bare before and is structure after. Elsewhere the
    structure layers are unknown.
    """
    pairs = []
    changed = _files(root / "changed")
    after = _files(root / "after")
    for name, path in _files(root / "before").items():
        if not keep(name):
            continue
        change = _read_mask(changed[name])
        pairs.append(
            LabelledPair(
                source, name, _read_image(path), _read_image(after[name]),
                np.where(change == 1, 0, IGNORE).astype(np.uint8),
                np.where(change == 1, 1, IGNORE).astype(np.uint8),
                change, gsd, structures_known=False,
            )
        )  # fmt: skip
    return pairs


def _structure_pairs(root: Path, keep: Callable[[str], bool], *, source: str, gsd: float) -> list[LabelledPair]:
    """Pairs with structures at each date; nothing appears or vanishes in them.

    Roofs lean differently at the two dates, so the masks differ along the edges without any change: change is
    0 wherever both dates were seen, never the xor of the masks.
    """
    pairs = []
    after, s_before, s_after = (_files(root / n) for n in ("after", "structures_before", "structures_after"))
    for name, path in _files(root / "before").items():
        if not keep(name):
            continue
        a, b = _read_image(path), _read_image(after[name])
        unseen_a, unseen_b = _nodata(a), _nodata(b)
        sa, sb = _read_mask(s_before[name]), _read_mask(s_after[name])
        sa[unseen_a], sb[unseen_b] = IGNORE, IGNORE
        change = np.where(unseen_a | unseen_b, IGNORE, 0).astype(np.uint8)
        pairs.append(LabelledPair(source, name, a, b, sa, sb, change, gsd))
    return pairs


def _single_dates(root: Path, keep: Callable[[str], bool], *, source: str, gsd: float) -> list[LabelledPair]:
    pairs = []
    masks = _files(root / "structures")
    for name, path in _files(root / "image").items():
        if keep(name):
            image, mask = _read_image(path), _read_mask(masks[name])
            mask[_nodata(image)] = IGNORE
            change = np.zeros_like(mask)
            pairs.append(LabelledPair(source, name, image, image, mask, mask, change, gsd, single_date=True))
    return pairs


@dataclass(frozen=True, slots=True)
class _Set:
    read: Callable[..., list[LabelledPair]]
    gsd: float
    validation: Callable[[list[str]], set[str]] = _every_fifth
    index_layer: str = "before"


_SETS = {
    "levir_cd": _Set(_changed_pairs, 0.5, _levir_validation),
    "xbd_mexico": _Set(_structure_pairs, 1.0),
    "xbd_other": _Set(_structure_pairs, 1.0),
    "ida": _Set(_structure_pairs, 0.5),
    "banepa": _Set(_single_dates, 0.27, index_layer="image"),
    "dubai_coarse": _Set(_single_dates, 0.4, index_layer="image"),
}

SOURCES = tuple(_SETS)
"""Names of the sets that `read_set` knows."""


def read_set(root: Path, source: str, split: Split) -> list[LabelledPair]:
    """Read one split of the set `source` from `root / source`.

    Raises:
        KeyError: unknown set.
        FileNotFoundError: a layer, or one scene of it, is missing.
    """
    if source not in _SETS:
        raise KeyError(f"unknown set {source!r}; known: {', '.join(SOURCES)}")
    spec, folder = _SETS[source], root / source
    held = spec.validation(list(_files(folder / spec.index_layer)))
    wanted = partial(_in_split, held=held, split=split)
    return spec.read(folder, wanted, source=source, gsd=spec.gsd)


def _in_split(name: str, *, held: set[str], split: Split) -> bool:
    return (name in held) == (split == "validation")
