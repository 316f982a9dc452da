"""Measure weights for photographs: what stands where at one date, and change between dates made of single pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from datasets.labelled import IGNORE
from datasets.photographs import CLASSES, read_photographs
from training.metrics import Scores, score
from training.photographs import LONG_SIDE, PhotographSamples, resized
from training.recipe import Recipe

Predict = Callable[[NDArray[np.uint8], NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""(H, W, 3) uint8 before and after, sides multiples of 16 -> (3, H, W) probabilities and (2, K, H, W) of classes."""


@dataclass(slots=True)
class Confusion:
    """Pixels by true (rows) and predicted class."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64))

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.intp]) -> None:
        """Args: (H, W) classes from 1 on, or `IGNORE`; (H, W) index of the likeliest class, from 0 on."""
        known = truth != IGNORE
        index = (truth[known].astype(np.int64) - 1) * len(CLASSES) + predicted[known]
        self.counts += np.bincount(index, minlength=self.counts.size).reshape(self.counts.shape)

    def iou(self) -> dict[str, float | None]:
        """Intersection over union by class; None for a class that a set does not have."""
        hit = np.diag(self.counts)
        union = self.counts.sum(axis=0) + self.counts.sum(axis=1) - hit
        present = self.counts.sum(axis=1) > 0
        return {
            name: round(float(hit[i] / union[i]), 4) if present[i] else None for i, name in enumerate(CLASSES)
        }  # fmt: skip


def class_table(root: Path, sources: Iterable[str], predict: Predict) -> dict[str, dict[str, float | None]]:
    """IoU by set and class on the validation pictures, each scored at the long side used in practice."""
    rows = {}
    for source in sources:
        confusion = Confusion()
        for photograph in read_photographs(root, source, "validation"):
            image, classes = resized(photograph, LONG_SIDE / max(photograph.classes.shape))
            h, w = (n // 16 * 16 for n in classes.shape)
            image, classes = np.ascontiguousarray(image[:h, :w]), classes[:h, :w]
            confusion.add(classes, predict(image, image)[1][0].argmax(axis=0))
        rows[source] = confusion.iou()
    return rows


def synthetic_pairs(recipe: Recipe, root: Path, count: int) -> list[tuple[NDArray[np.uint8], ...]]:
    """Pairs made of validation pictures as training makes them of its own: (before, after, labels), each (3, H, W)."""
    samples = PhotographSamples(recipe, root, count, split="validation")
    return [tuple(x.numpy() for x in samples[i]) for i in range(count)]


def change_scores(
    pairs: Iterable[tuple[NDArray[np.uint8], ...]], predict: Predict, threshold: float
) -> tuple[Scores, list[tuple[NDArray[np.float32], NDArray[np.uint8]]]]:
    """Scores of change on made pairs, and (probability, truth) of each for calibration."""
    total, kept = Scores(), []
    for before, after, labels in pairs:
        probability = predict(*(np.ascontiguousarray(x.transpose(1, 2, 0)) for x in (before, after)))[0][2]
        total += score(probability >= threshold, labels[2], 1.0)
        kept.append((probability, labels[2]))
    return total, kept


def torch_predictor(net: torch.nn.Module) -> Predict:
    """Predict with a network that is still in training."""

    def predict(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.no_grad():
            a, b = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in (before, after))
            out = net(a, b)
        probabilities = torch.sigmoid(torch.cat(out[:3], dim=1))[0].numpy()
        return probabilities, torch.softmax(torch.stack(out[3:], dim=1), dim=2)[0].numpy()

    return predict
