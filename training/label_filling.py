"""What released weights see of structures, where a set does not label them and where it does (datasets.filled)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.filled import write
from datasets.labelled import IGNORE, read_set
from model import DATES, OUTPUTS
from model.decision import inner_means
from training.evaluate import Predict
from training.label_registration import both_ways

STANDS, BARE = 0.8, 0.1
"""Probabilities from which, and to which, the network is believed. In between lie outlines and what it doubts."""
UNSEEN = 0.15
"""Mean probability below which a labelled structure is doubted. Of 84 that were looked at most were trees, shadow or
bare ground (training/RESULTS.md)."""


def fill(root: Path, sources: Iterable[str], predict: Predict, folder: Path) -> list[str]:
    """Write what `predict` is sure of in the training pictures of sets that do not label all structures, and what it
    doubts in those of the others.

    Returns:
        `set/picture` of each.
    """
    written = []
    for source in sources:
        for pair in read_set(root, source, "train", mended=True):
            seen = both_ways(predict, pair)
            for layer in DATES:
                probability = seen[OUTPUTS.index(layer)]
                labels = doubtful(probability, getattr(pair, layer)) if pair.structures_known else believed(probability)
                write(folder, source, pair.name, layer, labels)
            written.append(f"{source}/{pair.name}")
    return written


def believed(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W) labels: 1, 0 or `IGNORE`."""
    return np.select([probability >= STANDS, probability <= BARE], [1, 0], IGNORE).astype(np.uint8)


def doubtful(probability: NDArray[np.float32], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The labels (H, W), with `IGNORE` for each structure (4-connected) of which next to nothing is seen."""
    count, found = cv2.connectedComponents((labels == 1).astype(np.uint8), connectivity=4)
    unseen = inner_means(probability, np.asarray(found, dtype=np.int32), count, rim=0) < UNSEEN
    unseen[0] = False
    return np.where(unseen[found], IGNORE, labels).astype(np.uint8)
