"""Places where a set says that nothing changed, or stands, and a person who looks sees that something did, or does.

Sets drawn for damage after a disaster (xBD, Ida-BD) say nothing of a shed that was put up or taken away meanwhile, nor
of a house that cloud or trees hide at one date; read as "unchanged" they teach a network to overlook just that.
In Banepa buildings stand that were never drawn, in LEVIR-CD some new houses were not, and some of its growth was pulled
down. `label_doubts.json` holds boxes around such places of training pictures: where networks in training contradicted
the labels, looked at one by one (training/RESULTS.md), and around real clouds, of which nothing says where they are.
Training is told nothing of them; figures are of labels as published.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.resources import files
from typing import Any

from datasets.pairs import IGNORE, LABELS, Entry, LabelledPair

FILE = "label_doubts.json"
MARGIN_PX = 6
"""Around a box: its shadow, and what one date lies beside the other."""

Box = Sequence[int]
"""Left, top, width and height, pixels."""


@cache
def known_doubts() -> dict[str, dict[str, list[Box]]]:
    """Set -> picture -> boxes."""
    stored: dict[str, dict[str, list[Box]]] = json.loads((files("datasets") / FILE).read_text("utf-8"))
    return stored


def doubted(entry: Entry) -> Entry:
    """The entry, with its doubtful places not labelled when it is read."""
    boxes = known_doubts().get(entry.source, {}).get(entry.name)
    return entry if boxes is None else entry.then(partial(_unsaid, boxes=boxes))


def _unsaid(pair: LabelledPair, boxes: Sequence[Box]) -> LabelledPair:
    layers: dict[str, Any] = {layer: getattr(pair, layer).copy() for layer in LABELS}
    for left, top, width, height in boxes:
        rows = slice(max(0, top - MARGIN_PX), top + height + MARGIN_PX)
        columns = slice(max(0, left - MARGIN_PX), left + width + MARGIN_PX)
        for labels in layers.values():
            labels[rows, columns] = IGNORE
    return replace(pair, **layers)
