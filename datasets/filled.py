"""What a trained network says of structures in labelled sets: filled in where nothing is labelled, doubted where it is.

A set that labels change only (LEVIR-CD) says nothing of what stood all the while, so nothing could be cut out of its
scenes or put into them (training.composite). Others outline houses of which trees, shadow or bare ground is all that
can be seen: pasted into a scene they would teach that trees are houses. `jingdi fill-labels` writes what released
weights see in the training pictures (training.label_filling), `FOLDER/<set>/<layer>/<picture>.png`; training reads it
where that is given. Self-training after Lee, "Pseudo-Label" (ICML workshops 2013).
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
    """The entry, read with what `folder` has of it; as it is where that is nothing.

    Of a set that does not label structures what was seen is filled in, of others what was doubted is not labelled.
    """
    if not all(_file(folder, entry.source, entry.name, layer).is_file() for layer in _DATES):
        return entry
    known = entry.structures_known
    return replace(entry.then(partial(_told, folder=folder, known=known)), structures_known=True)


def _told(pair: LabelledPair, folder: Path, known: bool) -> LabelledPair:
    def told(layer: str) -> NDArray[np.uint8]:
        labels: NDArray[np.uint8] = getattr(pair, layer)
        path = _file(folder, pair.source, pair.name, layer)
        seen = read_labels(path, labels.shape, "write it again with jingdi fill-labels")
        return np.where((seen if known else labels) == IGNORE, seen, labels)

    before, after = (told(layer) for layer in _DATES)
    return replace(pair, structure_before=before, structure_after=after)
