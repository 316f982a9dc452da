"""Readers of labelled street photographs: what stands where in one picture taken by hand.

A set is a folder `image/` and a folder `classes/`, the same stem in each. Masks hold the number of a class per pixel:
0 unlabelled, then those of `CLASSES` from 1 on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets.labelled import IGNORE, Split

CLASSES = ("structure", "ground", "vegetation", "sky", "other")
"""What a pixel of a photograph can be. `other` is what comes and goes by itself: vehicles, people, poles, signs."""
STRUCTURE, GROUND, VEGETATION, SKY, OTHER = range(1, 6)
_GROUND_ABOVE = 0.02


@dataclass(frozen=True, slots=True)
class Photograph:
    """One picture and what is known of it.

    Attributes:
        source, name: set, and picture within it.
        image: (H, W, 3) uint8 RGB.
        classes: (H, W) uint8, 1 to 5 as in `CLASSES`, or `IGNORE`.
    """

    source: str
    name: str
    image: NDArray[np.uint8]
    classes: NDArray[np.uint8]


SOURCES = ("ground_labelmefacade", "ground_facade", "ground_camvid")
"""Names of the sets that `read_photographs` knows."""


def _held_back(source: str, names: Sequence[str]) -> set[str]:
    """Every fifth picture; of a film, a whole sequence, since its frames repeat."""
    if source == "ground_camvid":
        return {n for n in names if n.startswith("0016E5")}
    return set(names[::5])


class Photographs(Sequence[Photograph]):
    """One split of a set, read from disk when a picture is asked for.

    Where more than 2 % of the top quarter of a picture are labelled ground, walls were mistaken for it, and no ground
    of that picture is believed: so in 5 of the 491 of `ground_facade`, and in none of the other sets.

    Raises:
        KeyError: unknown set.
        FileNotFoundError: the set is missing, or one of its pictures has no mask.
        ValueError: later, where a mask does not have the size of its picture.
    """

    def __init__(self, root: Path, source: str, split: Split) -> None:
        if source not in SOURCES:
            raise KeyError(f"unknown set {source!r}; known: {', '.join(SOURCES)}")
        folder = root / source
        images = {p.stem: p for p in sorted((folder / "image").glob("*"))}
        masks = {p.stem: p for p in sorted((folder / "classes").glob("*.png"))}
        if not images:
            raise FileNotFoundError(f"{folder / 'image'} holds no pictures; see datasets/photographs.py for the layout")
        if missing := sorted(images.keys() - masks.keys()):
            raise FileNotFoundError(f"{folder / 'classes'} has no {missing[0]}.png; every picture has a mask")
        held = _held_back(source, list(images))
        self.source = source
        self._files = [(images[n], masks[n]) for n in images if (n in held) == (split == "validation")]

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Photograph:  # type: ignore[override]
        path, mask_path = self._files[index]
        with Image.open(path) as picture, Image.open(mask_path) as mask:
            image, classes = np.array(picture.convert("RGB")), np.array(mask.convert("L"))
        if image.shape[:2] != classes.shape:
            raise ValueError(f"{mask_path} measures {classes.shape}, its picture {image.shape[:2]}")
        classes[(classes == 0) | (classes > OTHER)] = IGNORE
        if (classes[: len(classes) // 4] == GROUND).mean() > _GROUND_ABOVE:
            classes[classes == GROUND] = IGNORE
        return Photograph(self.source, path.stem, image, classes)

    def __iter__(self) -> Iterator[Photograph]:
        return (self[i] for i in range(len(self)))


def read_photographs(root: Path, source: str, split: Split) -> Photographs:
    """One split of the set `source` below `root`; errors as of `Photographs`."""
    return Photographs(root, source, split)
