"""Labels that lie some pixels beside what they outline, put right.

Outlines drawn on one image and carried over to another, or shifted when a tile was cut, are all off by the same
few pixels. A network trained on pictures turned and mirrored cannot learn such an offset, it learns blurred edges.
`label_offsets.json` names the pictures and how far their labels must be moved; `jingdi register-labels` writes it
(training.label_registration), from training pictures only. Figures are measured on labels as they were published.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.pairs import IGNORE, Entry, LabelledPair

FILE = "label_offsets.json"

Offsets = Mapping[str, tuple[int, int]]
"""Layer of a pair -> how many pixels (down, right) its labels are moved."""


@cache
def known_offsets() -> dict[str, dict[str, dict[str, tuple[int, int]]]]:
    """Set -> picture -> layer -> offset."""
    stored = json.loads((files("datasets") / FILE).read_text("utf-8"))
    return {
        source: {name: {layer: tuple(offset) for layer, offset in layers.items()} for name, layers in names.items()}
        for source, names in stored.items()
    }


def registered(entry: Entry) -> Entry:
    """The entry, with its labels moved onto what they outline when it is read."""
    offsets = known_offsets().get(entry.source, {}).get(entry.name)
    return entry if offsets is None else entry.then(partial(_move_layers, offsets=offsets))


def _move_layers(pair: LabelledPair, offsets: Offsets) -> LabelledPair:
    layers: dict[str, Any] = {layer: moved(getattr(pair, layer), *offset) for layer, offset in offsets.items()}
    return replace(pair, **layers)


def moved(labels: NDArray[np.uint8], down: int, right: int) -> NDArray[np.uint8]:
    """The labels (H, W) moved; what comes into view at the edges is not labelled."""
    h, w = labels.shape
    out = np.full_like(labels, IGNORE)
    to_y, to_x = slice(max(0, down), h + min(0, down)), slice(max(0, right), w + min(0, right))
    from_y, from_x = slice(max(0, -down), h + min(0, -down)), slice(max(0, -right), w + min(0, -right))
    out[to_y, to_x] = labels[from_y, from_x]
    return out
