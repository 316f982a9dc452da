"""Structures that a set does not label, filled in as a trained network sees them where it is sure.

A set that labels change only (LEVIR-CD) says nothing of what stood all the while, so nothing could be cut out of its
scenes or put into them (training.composite). `jingdi fill-labels` writes what released weights see in its training
pictures (training.label_filling), `FOLDER/<set>/<layer>/<picture>.png`; training reads it where that is given.
What the set does label stands. Self-training after Lee, "Pseudo-Label" (ICML workshops 2013).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets.pairs import IGNORE, Entry, LabelledPair

LAYERS = ("structure_before", "structure_after")
_GREYS = {0: 0, 1: 255, IGNORE: 128}
"""Label -> value in the file, to be looked at."""


def file(folder: Path, source: str, name: str, layer: str) -> Path:
    return folder / source / layer / f"{name}.png"


def write(folder: Path, source: str, name: str, layer: str, labels: NDArray[np.uint8]) -> None:
    """Keep what is seen at one date of a picture: (H, W) uint8, 0, 1 or `IGNORE`."""
    path = file(folder, source, name, layer)
    path.parent.mkdir(parents=True, exist_ok=True)
    greys = np.zeros(256, np.uint8)
    greys[list(_GREYS)] = list(_GREYS.values())
    Image.fromarray(greys[labels]).save(path)


def filled(entry: Entry, folder: Path) -> Entry:
    """The entry, with its unknown structures filled in when it is read; as it is where `folder` has nothing of it."""
    if not all(file(folder, entry.source, entry.name, layer).is_file() for layer in LAYERS):
        return entry
    return replace(entry, read=partial(_read, read=entry.read, folder=folder), structures_known=True)


def _read(entry: Entry, read: Callable[[Entry], LabelledPair], folder: Path) -> LabelledPair:
    """
    Raises:
        ValueError: what is filled in has another size than the picture.
    """
    pair, layers = read(entry), dict[str, Any]()
    for layer in LAYERS:
        path, labels = file(folder, entry.source, entry.name, layer), getattr(pair, layer)
        greys = np.asarray(Image.open(path).convert("L"))
        if greys.shape != labels.shape:
            raise ValueError(
                f"{path} is {greys.shape[1]} x {greys.shape[0]} px, its picture {labels.shape[1]} x {labels.shape[0]}; "
                "write it again with jingdi fill-labels"
            )
        layers[layer] = np.where(labels != IGNORE, labels, np.select([greys < 64, greys > 192], [0, 1], IGNORE))
    return replace(pair, **{layer: labels.astype(np.uint8) for layer, labels in layers.items()})
