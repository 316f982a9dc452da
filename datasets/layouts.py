"""Readers of public sets with change masks, in the layouts in which they are published (see datasets/README.md).

Sets that map every structure are read by datasets.instances.

What is common to all of them:

- `val/` validates where it is there. Where it is not, part of `train/` is held out. `test/` is never read: it is
  left for a figure that nothing was chosen by.
- Pixels that were not seen at a date (black) are `IGNORE` in that date's structures and in the change.
- `structures_known` is false where the labels speak of changed pixels only: what else stands is then `IGNORE`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets import instances
from datasets.pairs import (
    IGNORE,
    Entry,
    Held,
    LabelledPair,
    Split,
    every_fifth,
    list_split,
    read_dates,
    read_image,
    read_mask,
    seen_pair,
)

Array = NDArray[np.uint8]
BESIDE_PX = 20
"""10 m at half a metre: the garden of a house, and the street before it."""


def _last_fifth(names: Sequence[str]) -> set[str]:
    """The highest numbers, as one block: neighbours in number are neighbours on the ground."""
    ordered = sorted(names, key=lambda name: int(re.findall(r"\d+", name)[-1]) if re.search(r"\d", name) else 0)
    return set(ordered[-max(1, len(ordered) // 5) :])


def _ignored(shape: tuple[int, ...]) -> Array:
    return np.full(shape[:2], IGNORE, np.uint8)


# LEVIR-CD, LEVIR-CD+


def read_growth(entry: Entry) -> LabelledPair:
    """A changed pixel was bare before and is structure after; around it nothing stands after, as far as `BESIDE_PX`.

    Without what lies around, a network learns from such a set that a suburb is one structure, gardens included. Some
    3 % of those pixels are older houses in fact. Elsewhere the structure layers are unknown.
    """
    before, after = read_dates(entry)
    change = read_mask(entry.files["change"], before.shape)
    was = np.where(change == 1, 0, IGNORE).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BESIDE_PX + 1, 2 * BESIDE_PX + 1))
    around = cv2.dilate((change == 1).astype(np.uint8), disc) > 0
    stands = np.where(change == 1, 1, np.where(around & (change == 0), 0, IGNORE)).astype(np.uint8)
    return entry.pair(before, after, was, stands, change)


def levir_cd(folder: Path, source: str, split: Split, held: Held = every_fifth) -> list[Entry]:
    """LEVIR-CD (Chen and Shi, Remote Sensing 2020, doi 10.3390/rs12101662). 0.5 m, Texas.

    Change is a mask of 0 and 255 without direction, but almost all of it is growth and is read as that.
    Structures are known at changed pixels, and their absence at the later date around them (`read_growth`).
    """
    files = list_split(folder, split, {"before": "A", "after": "B", "change": "label"}, held)
    return [Entry(source, name, 0.5, f, read_growth, structures_known=False) for name, f in files.items()]


def levir_cd_plus(folder: Path, source: str, split: Split) -> list[Entry]:
    """LEVIR-CD+ (Shen et al., Remote Sensing 2021, arXiv 2107.09244), read as `levir_cd`.

    No validation split is published: the highest fifth of the numbers is held out.
    """
    return levir_cd(folder, source, split, _last_fifth)


# WHU-CD


def whu_cd(folder: Path, source: str, split: Split) -> list[Entry]:
    """WHU building change (Ji et al., IEEE TGRS 2019, doi 10.1109/TGRS.2018.2858817). 0.2 m, Christchurch.

    Change has no direction: after the earthquake houses vanished and were built. So no structure is known, at
    either date. The mosaics of the first publication have to be cut into tiles.

    Raises:
        FileNotFoundError: there are no tiles.
    """
    if not any((folder / name).is_dir() for name in ("train", "A")):
        raise FileNotFoundError(
            f"{folder} holds neither train/ nor A/; whole mosaics are not read: cut them into tiles of 256 to 512 px "
            "as train/ val/ test/ with A/ B/ label/ each, or as A/ B/ label/ with list/train.txt and list/val.txt"
        )
    label = "OUT" if (folder / "train" / "OUT").is_dir() else "label"
    files = list_split(folder, split, {"before": "A", "after": "B", "change": label})
    return [Entry(source, name, 0.2, f, _read_undirected, structures_known=False) for name, f in files.items()]


def _read_undirected(entry: Entry) -> LabelledPair:
    before, after = read_dates(entry)
    change = read_mask(entry.files["change"], before.shape)
    return seen_pair(entry, before, after, _ignored(change.shape), _ignored(change.shape), change)


# S2Looking


def s2looking(folder: Path, source: str, split: Split) -> list[Entry]:
    """S2Looking (Shen et al., Remote Sensing 2021, arXiv 2107.09244). 0.5 to 0.8 m, side-looking, world-wide.

    Change has direction: `label1` newly built, `label2` demolished, a pixel of both rebuilt. Structures are known
    at changed pixels only. `label`, the union, is not needed.
    """
    layers = {"before": "Image1", "after": "Image2", "built": "label1", "demolished": "label2"}
    files = list_split(folder, split, layers)
    return [Entry(source, name, 0.65, f, _read_s2looking, structures_known=False) for name, f in files.items()]


def _read_s2looking(entry: Entry) -> LabelledPair:
    before, after = read_dates(entry)
    built = read_mask(entry.files["built"], before.shape)
    demolished = read_mask(entry.files["demolished"], before.shape)
    change = built | demolished
    was = np.where(change == 1, demolished, IGNORE).astype(np.uint8)
    stands = np.where(change == 1, built, IGNORE).astype(np.uint8)
    return seen_pair(entry, before, after, was, stands, change)


# SYSU-CD


def sysu_cd(folder: Path, source: str, split: Split) -> list[Entry]:
    """SYSU-CD (Shi et al., IEEE TGRS 2021, doi 10.1109/TGRS.2021.3085870). 0.5 m, Hong Kong.

    Its change is any change: besides buildings also vegetation, roads, groundwork and the sea. A changed pixel
    therefore says nothing about structures and is `IGNORE`; an unchanged one says that none came or went. So the
    set teaches what is no finding, and no structure is known.
    """
    files = list_split(folder, split, {"before": "time1", "after": "time2", "change": "label"})
    return [Entry(source, name, 0.5, f, _read_any_change, structures_known=False) for name, f in files.items()]


def _read_any_change(entry: Entry) -> LabelledPair:
    before, after = read_dates(entry)
    change = read_mask(entry.files["change"], before.shape)
    change[change == 1] = IGNORE
    return seen_pair(entry, before, after, _ignored(change.shape), _ignored(change.shape), change)


# SECOND

_UNCHANGED, _BUILDING = (255, 255, 255), (128, 0, 0)
_OTHER_LAND = ((0, 0, 255), (128, 128, 128), (0, 128, 0), (0, 255, 0), (255, 0, 0))
"""Water, ground, low vegetation, tree, playground."""


def second(folder: Path, source: str, split: Split) -> list[Entry]:
    """SECOND (Yang et al., IEEE TGRS 2022, arXiv 2010.05687). 0.5 to 3 m, Chinese cities.

    `label1` and `label2` give the land cover of each date by colour where it changed, white elsewhere. So change
    has direction: what became or ceased to be a building. Land that changed otherwise is no change of structures;
    building to building is `IGNORE`. Structures are known at changed pixels only. No validation split is published.
    """
    layers = {"before": "im1", "after": "im2", "land_before": "label1", "land_after": "label2"}
    files = list_split(folder, split, layers)
    return [Entry(source, name, 1.0, f, _read_second, structures_known=False) for name, f in files.items()]


def _read_second(entry: Entry) -> LabelledPair:
    before, after = read_dates(entry)
    was = _buildings(entry.files["land_before"], before.shape)
    stands = _buildings(entry.files["land_after"], before.shape)
    unknown = (was == IGNORE) | (stands == IGNORE)
    change = np.where(unknown, 0, was ^ stands)
    change[~unknown & (was == 1) & (stands == 1)] = IGNORE
    return seen_pair(entry, before, after, was, stands, change.astype(np.uint8))


def _buildings(path: Path, shape: tuple[int, ...]) -> Array:
    """1 building, 0 other land cover, `IGNORE` where nothing changed."""
    colours = read_image(path, shape).astype(np.uint32)
    codes = colours[..., 0] << 16 | colours[..., 1] << 8 | colours[..., 2]

    def code(colour: tuple[int, int, int]) -> int:
        return colour[0] << 16 | colour[1] << 8 | colour[2]

    if not np.isin(codes, [code(c) for c in (_UNCHANGED, _BUILDING, *_OTHER_LAND)]).all():
        raise ValueError(f"{path} has colours that are no class of SECOND; take the RGB labels as published, as PNG")
    result: Array = (codes == code(_BUILDING)).astype(np.uint8)
    result[codes == code(_UNCHANGED)] = IGNORE
    return result


# FOTBCD-Binary, FOTBCD-Instances


def fotbcd(folder: Path, source: str, split: Split) -> list[Entry]:
    """FOTBCD (Moubane 2026, arXiv 2601.22596). 0.2 m, French departments; the validation departments are others.

    FOTBCD-Binary: change has no direction and no structure is known. FOTBCD-Instances (told by `annotations/`):
    outlines of all buildings, unchanged, demolished or new, so change has direction and structures are known
    throughout.
    """
    if (folder / "annotations").is_dir():
        return instances.fotbcd_instances(folder, source, split)
    files = list_split(folder / "images", split, {"before": "before", "after": "after", "change": "label"})
    return [Entry(source, name, 0.2, f, _read_undirected, structures_known=False) for name, f in files.items()]
