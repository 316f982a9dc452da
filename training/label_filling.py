"""What released weights see of structures that a set does not label, for training to believe (datasets.filled)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.filled import write
from datasets.labelled import IGNORE, read_set
from model import DATES, OUTPUTS
from training.evaluate import Predict
from training.label_registration import both_ways

STANDS, BARE = 0.8, 0.1
"""Probabilities from which, and to which, the network is believed. In between lie outlines and what it doubts."""


def fill(root: Path, sources: Iterable[str], predict: Predict, folder: Path) -> list[str]:
    """Write what `predict` is sure of in the training pictures of sets that do not label all structures.

    Returns:
        `set/picture` of each.
    """
    written = []
    for source in sources:
        pairs = read_set(root, source, "train")
        for i, entry in enumerate(pairs.entries):
            if entry.structures_known:
                continue
            seen = both_ways(predict, pairs[i])
            for layer in DATES:
                write(folder, source, entry.name, layer, believed(seen[OUTPUTS.index(layer)]))
            written.append(f"{source}/{entry.name}")
    return written


def believed(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W) labels: 1, 0 or `IGNORE`."""
    return np.select([probability >= STANDS, probability <= BARE], [1, 0], IGNORE).astype(np.uint8)
