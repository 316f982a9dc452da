"""The stream of training samples for photographs taken by hand, from single labelled pictures.

No set shows a courtyard before and after, so pairs are made of single pictures (as in training.samples):

- `same`: one picture under two lights: nothing changed.
- `removed`: a structure of the picture gives way, at one date, to what another picture shows in the same place.
- `added`: a structure of another picture is set into this one, where it stood there, at one date.
- `unrelated`: two pictures; what is structure in one and not in the other is change (STAR, arXiv 2108.07002).

Pasting by class at the same position keeps what photographs have and overhead imagery has not: a top and a bottom
(ClassMix: Olsson et al., WACV 2021).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from datasets.labelled import IGNORE, Split
from datasets.photographs import OTHER, STRUCTURE, Photograph, Photographs, read_photographs
from model.vision import tv_tensors
from training.augment import Sample, chance, choose, misalign, randint, relight, swap, uniform
from training.recipe import Recipe

KINDS = ("same", "removed", "added", "unrelated")
LONG_SIDE = 384
"""Photographs are scored at this long side; training crops are cut at a recipe's `scale` times it."""
_MIN_PART = 0.01

Pixels = NDArray[np.uint8]


class PhotographSamples(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Augmented crops: (before, after, labels), each (3, crop, crop) uint8; labels hold classes, classes, change.

    Sample i is a function of (recipe, seed, i) alone.

    Raises:
        ValueError: the mix names an unknown kind.
    """

    def __init__(self, recipe: Recipe, root: Path, length: int, *, split: Split = "train") -> None:
        if unknown := set(recipe.mix) - set(KINDS):
            raise ValueError(f"unknown kind of sample: {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}")
        self.recipe, self.length = recipe, length
        self.sets: dict[str, Photographs] = {s: read_photographs(root, s, split) for s in recipe.sources}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed * 1_000_003 + index)
            sample = self._draw()
            if chance(self.recipe.misaligned):
                sample = misalign(sample, self.recipe.max_shift)
            if chance(0.5):
                sample = swap(sample)
            for key in ("before", "after"):
                if chance(0.8):
                    sample[key] = tv_tensors.Image(_dim(relight(sample[key])))
        before, after, labels = (torch.Tensor(sample[k]).to(torch.uint8) for k in ("before", "after", "labels"))
        return before, after, labels

    def _draw(self) -> Sample:
        kind = choose(self.recipe.mix)
        image, classes = self._cut()
        if kind == "same":
            return _sample(image, image, classes, classes)
        other, other_classes = self._cut()
        if kind == "unrelated":
            return _sample(image, other, classes, other_classes)
        part = _part_of(classes if kind == "removed" else other_classes)
        if kind == "removed":  # only where the other picture shows something else
            part &= (other_classes != STRUCTURE) & (other_classes != IGNORE)
        changed, changed_classes = paste(image, classes, other, other_classes, part)
        return _sample(image, changed, classes, changed_classes)

    def _cut(self) -> tuple[Pixels, Pixels]:
        """A random crop of a random picture, mirrored half of the time."""
        photographs = self.sets[choose(self.recipe.sources)]
        photograph = photographs[randint(0, len(photographs) - 1)]
        size = self.recipe.crop
        scale = uniform(*self.recipe.scale) * LONG_SIDE / max(photograph.classes.shape)
        scale = max(scale, size / min(photograph.classes.shape))
        image, classes = resized(photograph, scale)
        top, left = (randint(0, n - size) for n in classes.shape)
        cut = np.s_[top : top + size, left : left + size]
        image, classes = image[cut], classes[cut]
        if chance(0.5):
            image, classes = image[:, ::-1], classes[:, ::-1]
        return np.ascontiguousarray(image), np.ascontiguousarray(classes)


def resized(photograph: Photograph, scale: float) -> tuple[Pixels, Pixels]:
    """Picture and classes at `scale` times their size."""
    h, w = photograph.classes.shape
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    image = cv2.resize(photograph.image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    classes = cv2.resize(photograph.classes, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(image, dtype=np.uint8), np.asarray(classes, dtype=np.uint8)


def paste(image: Pixels, classes: Pixels, other: Pixels, other_classes: Pixels, part: NDArray[np.bool_]) -> tuple[
    Pixels, Pixels
]:  # fmt: skip
    """`other` laid over the picture where `part` says so, its brightness moved halfway towards what it covers.

    Args:
        image, other: (H, W, 3) uint8; classes, other_classes: (H, W) uint8; part: (H, W) bool.
    """
    if not part.any():
        return image, classes
    patch = other.astype(np.float32)
    patch += 0.5 * (image[part].mean(axis=0) - other[part].mean(axis=0))
    alpha = cv2.GaussianBlur(part.astype(np.float32), (0, 0), 1.0)[..., None]
    mixed = np.clip(alpha * patch + (1 - alpha) * image, 0, 255)
    return np.rint(mixed).astype(np.uint8), np.where(part, other_classes, classes)


def _part_of(classes: Pixels) -> NDArray[np.bool_]:
    """One piece of the structures of a picture: a connected one, or what of all of them lies in a random box."""
    standing = (classes == STRUCTURE).astype(np.uint8)
    if chance(0.5):
        h, w = classes.shape
        box = np.zeros_like(standing)
        height, width = round(h * uniform(0.25, 0.9)), round(w * uniform(0.25, 0.9))
        top, left = randint(0, h - height), randint(0, w - width)
        box[top : top + height, left : left + width] = 1
        standing &= box
    count, parts, stats, _ = cv2.connectedComponentsWithStats(standing, connectivity=4)
    large = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= _MIN_PART * classes.size]
    if not large:
        return np.zeros(classes.shape, dtype=bool)
    return np.asarray(parts == large[randint(0, len(large) - 1)], dtype=np.bool_)


def _sample(before: Pixels, after: Pixels, classes_before: Pixels, classes_after: Pixels) -> Sample:
    """Change is where structure stands at one date only; a vehicle or a person before it hides what is behind."""
    hidden = np.isin(classes_before, (IGNORE, OTHER)) != np.isin(classes_after, (IGNORE, OTHER))
    unknown = (classes_before == IGNORE) | (classes_after == IGNORE) | hidden
    change = (classes_before == STRUCTURE) ^ (classes_after == STRUCTURE)
    labels = np.stack([classes_before, classes_after, np.where(unknown, IGNORE, change).astype(np.uint8)])
    return {
        "before": tv_tensors.Image(torch.from_numpy(before).permute(2, 0, 1)),
        "after": tv_tensors.Image(torch.from_numpy(after).permute(2, 0, 1)),
        "labels": tv_tensors.Mask(torch.from_numpy(labels)),
    }


def _dim(image: Tensor) -> Tensor:
    """Now and then dusk: darker and noisier."""
    if not chance(0.1):
        return image
    noise = torch.randn(image.shape) * uniform(2, 10)
    return (image.float() * uniform(0.35, 0.7) + noise).clamp(0, 255).round().to(torch.uint8)
