"""Structures that a set does not label, filled in as a trained network sees them where it is sure.

A set that labels change only (LEVIR-CD) says nothing of what stood all the while, so nothing could be cut out of its
scenes or put into them (training.composite). `jingdi fill-labels` writes what released weights see in its training
pictures (training.label_filling), `FOLDER/<set>/<layer>/<picture>.png`; training reads it where that is given.
What the set does label stands. Self-training after Lee, "Pseudo-Label" (ICML workshops 2013).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.pairs import IGNORE, LABELS, Entry, LabelledPair, read_labels, write_labels

_DATES = LABELS[:2]


def _file(folder: Path, source: str, name: str, layer: str) -> Path:
    return folder / source / layer / f"{name}.png"


def write(folder: Path, source: str, name: str, layer: str, labels: NDArray[np.uint8]) -> None:
    """Keep what is seen at one date of a picture: (H, W) uint8, 0, 1 or `IGNORE`."""
    path = _file(folder, source, name, layer)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_labels(path, labels)


def filled(entry: Entry, folder: Path) -> Entry:
    """The entry, with its unknown structures filled in when it is read; as it is where `folder` has nothing of it."""
    if not all(_file(folder, entry.source, entry.name, layer).is_file() for layer in _DATES):
        return entry
    return replace(entry.then(partial(_fill, folder=folder)), structures_known=True)


def _fill(pair: LabelledPair, folder: Path) -> LabelledPair:
    def known(layer: str) -> NDArray[np.uint8]:
        labels: NDArray[np.uint8] = getattr(pair, layer)
        path = _file(folder, pair.source, pair.name, layer)
        seen = read_labels(path, labels.shape, "write it again with jingdi fill-labels")
        return np.where(labels != IGNORE, labels, seen)

    before, after = (known(layer) for layer in _DATES)
    return replace(pair, structure_before=before, structure_after=after)
