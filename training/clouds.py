"""Clouds over one date, and their shadows: no set here has more than a few, and each says that houses are gone.

Painted over a sample they teach two things: that what a cloud hides has not changed, and where clouds are, which no set
labels. Light, sensor and compression are drawn after them, so that they come with the noise of the picture.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from datasets.labelled import IGNORE
from model.vision import tv_tensors
from training.augment import Sample, chance, randint, uniform

Field = NDArray[np.float32]

HIDDEN, THIN = 0.6, 0.3
"""From so much of the light that comes from the cloud on, nothing of the ground is told; below the other, all of it."""


def with_clouds(sample: Sample, often: float) -> Sample:
    """The sample with labels of cloud at each date, painted over one of them or both as `often` as that.

    Rows 3 and 4 of `labels` are added: 1 under cloud, `IGNORE` in its thin rim, and otherwise 0 where the sample is
    sure of change: places whose labels are in doubt may lie under a real cloud (datasets.doubts). Under a painted one
    the structures of that date are not told, and nothing has changed.
    """
    labels = sample["labels"].numpy()
    clear = np.where(labels[2] == IGNORE, IGNORE, 0).astype(np.uint8)
    labels = np.concatenate([labels, clear[None], clear[None]])
    sample = dict(sample)
    if chance(often):
        both, first = chance(0.15), randint(0, 1)
        for date in (0, 1) if both else (first,):
            _hide(sample, labels, date)
    sample["labels"] = tv_tensors.Mask(torch.from_numpy(labels))
    return sample


def _hide(sample: Sample, labels: NDArray[np.uint8], date: int) -> None:
    """Paint clouds over one date, in place, and say so in the labels."""
    key, shape = ("before", "after")[date], labels.shape[1:]
    cover, shade = _cover(shape)
    picture = sample[key].permute(1, 2, 0).numpy().astype(np.float32) * (1 - shade[..., None])
    picture = picture * (1 - cover[..., None]) + _light(shape) * cover[..., None]
    pixels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    sample[key] = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
    hidden = cover >= HIDDEN
    labels[date][cover >= (HIDDEN + THIN) / 2] = IGNORE
    labels[2][hidden] = 0
    labels[3 + date][cover >= THIN] = IGNORE
    labels[3 + date][hidden] = 1


def _fractal(shape: tuple[int, ...], coarsest: float, roughness: float) -> Field:
    """Noise of mean 0 and spread 1, of every scale from `coarsest` pixels down: half as coarse, so much as strong."""
    total, strength = np.zeros(shape, dtype=np.float32), 1.0
    while coarsest >= 2:
        size = [max(2, round(n / coarsest) + 3) for n in shape]
        noise = cv2.resize(torch.randn(size).numpy(), None, fx=coarsest, fy=coarsest, interpolation=cv2.INTER_CUBIC)
        top, left = (randint(0, n - want) for n, want in zip(noise.shape, shape, strict=True))
        total += strength * noise[top : top + shape[0], left : left + shape[1]]
        coarsest, strength = coarsest / 2, strength * roughness
    return np.asarray((total - total.mean()) / (total.std() + 1e-6), dtype=np.float32)


def _cover(shape: tuple[int, ...]) -> tuple[Field, Field]:
    """(H, W) float32 each: the share of the light that comes from clouds, and what their shadow takes of the ground's.

    A single cloud, its middle perhaps outside of the picture, or a broken cover.
    """
    height, width = shape
    coarsest = uniform(0.15, 0.6) * min(shape)
    noise = _fractal(shape, coarsest, uniform(0.45, 0.65))
    if chance(0.65):
        ys, xs = np.mgrid[:height, :width].astype(np.float32)
        across, along = uniform(0.1, 1.2) * width, uniform(0.1, 1.2) * height
        x, y = uniform(-0.3, 1.3) * width, uniform(-0.3, 1.3) * height
        away = np.hypot((xs - x) / across, (ys - y) / along)
        dense = 2.2 * (1 - away) + uniform(0.3, 0.7) * noise
    else:
        dense = noise - uniform(-0.6, 1.2)
    soft = uniform(0.3, 1.5)
    cover = uniform(0.75, 1.0) * np.clip(dense / soft, 0, 1)
    cover = np.asarray(cover * cover * (3 - 2 * cover), dtype=np.float32)
    if chance(0.5):
        return cover, np.zeros_like(cover)
    reach = 0.5 * min(shape)
    matrix = np.array([[1, 0, uniform(-reach, reach)], [0, 1, uniform(-reach, reach)]])
    shadow = cv2.warpAffine(cover, matrix, (width, height))
    return cover, np.asarray(cv2.GaussianBlur(shadow, (0, 0), uniform(1, 6)) * uniform(0.3, 0.7), dtype=np.float32)


def _light(shape: tuple[int, ...]) -> Field:
    """(H, W, 3) float32: the cloud itself, white to grey, its folds in their own shade, some of it burnt out."""
    folds = _fractal(shape, uniform(0.15, 0.5) * min(shape), uniform(0.4, 0.6))
    level = uniform(140, 275) + uniform(3, 28) * folds
    tint = np.array([uniform(0.97, 1.02), 1.0, uniform(0.98, 1.05)], dtype=np.float32)
    return np.asarray(level[..., None] * tint, dtype=np.float32)
