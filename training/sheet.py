"""A sheet of training samples for a person to look at: what the network is shown, and what it is told."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from datasets.labelled import IGNORE
from training.samples import Samples

_GREYS = np.full(256, 0, dtype=np.uint8)
_GREYS[1], _GREYS[IGNORE] = 255, 96  # a label that says nothing is grey


def sheet(samples: Samples, count: int, *, columns: int = 2, gap: int = 4) -> NDArray[np.uint8]:
    """The first `count` samples of a run: before, after, structure before, structure after, change; clouds if told.

    Args:
        columns: samples side by side.
        gap: pixels between pictures.

    Returns:
        (H, W, 3) uint8 RGB. Labels are white for yes, black for no, grey for unknown.
    """
    strips = [_strip(*samples[i], gap) for i in range(count)]
    strips += [np.full_like(strips[0], 255)] * (-count % columns)
    rows = [np.concatenate(strips[i : i + columns], axis=1) for i in range(0, len(strips), columns)]
    return np.concatenate(rows)


def _strip(before: Tensor, after: Tensor, labels: Tensor, gap: int) -> NDArray[np.uint8]:
    pictures = [x.permute(1, 2, 0).numpy() for x in (before, after)]
    pictures += [np.repeat(_GREYS[layer][..., None], 3, axis=2) for layer in labels.numpy()]
    framed = [np.pad(p, ((0, gap), (0, gap), (0, 0)), constant_values=255) for p in pictures]
    return np.concatenate(framed, axis=1)
