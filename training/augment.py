"""Augmentation of one pair: geometry shared by both dates, light and sensor drawn for each date alone.

A sample is a dict of tv_tensors, so that torchvision's v2 transforms move images and labels together:
`before`, `after`: Image (3, H, W) uint8; `labels`: Mask (3, H, W) uint8 in the order structure_before,
structure_after, change. All randomness comes from torch's global generator, which the caller seeds.
"""

from __future__ import annotations

import io
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from datasets.labelled import IGNORE
from model.vision import tv_tensors, v2

Sample = dict[str, Any]


def uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def chance(p: float) -> bool:
    return float(torch.rand(())) < p


def randint(low: int, high: int) -> int:
    """An integer in low..high, both included."""
    return int(torch.randint(low, high + 1, ()))


def jpeg(image: Tensor, quality: int) -> Tensor:
    """Compress and decode. By Pillow: torchvision's own codec is compiled code that may not load (see model.vision)."""
    buffer = io.BytesIO()
    v2.functional.to_pil_image(image).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as decoded:
        out: Tensor = v2.functional.pil_to_tensor(decoded)
    return out


_photometric = v2.Compose(
    [
        v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03),
        v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.2))], p=0.15),
        v2.RandomApply([v2.Lambda(lambda image: jpeg(image, randint(40, 90)))], p=0.15),
    ]
)


def haze(image: Tensor) -> Tensor:
    """Blend towards a bright grey, as thin cloud and dust do."""
    level, strength = uniform(150, 230), uniform(0.0, 0.35)
    return (image.float() * (1 - strength) + level * strength).round().to(torch.uint8)


def relight(image: Tensor) -> Tensor:
    """Change light, season tint and sensor of one date."""
    out: Tensor = _photometric(tv_tensors.Image(image))
    if chance(0.5):  # per-channel gain: season, atmosphere, sensor
        gain = torch.empty(3, 1, 1).uniform_(0.85, 1.15)
        out = (out.float() * gain).clamp(0, 255).round().to(torch.uint8)
    if chance(0.2):
        gamma = uniform(0.7, 1.4)
        out = (out.float().div(255).pow(gamma) * 255).round().to(torch.uint8)
    if chance(0.15):
        out = haze(out)
    return out


def shift(sample: Sample, key: str, dx: int, dy: int) -> Sample:
    """Displace one date by whole pixels together with its structure layer; change keeps its place.

    Edges that come into view repeat the border and are ignored in all labels.
    """
    if dx == 0 and dy == 0:
        return sample
    sample = dict(sample)
    sample[key] = tv_tensors.Image(_displace(sample[key], dx, dy))
    labels = sample["labels"].clone()
    layer = 0 if key == "before" else 1
    labels[layer] = _displace(labels[layer : layer + 1], dx, dy)[0]
    h, w = labels.shape[-2:]
    labels[:, : max(dy, 0)] = labels[:, h + min(dy, 0) :] = IGNORE
    labels[:, :, : max(dx, 0)] = labels[:, :, w + min(dx, 0) :] = IGNORE
    sample["labels"] = tv_tensors.Mask(labels)
    return sample


def _displace(x: Tensor, dx: int, dy: int) -> Tensor:
    h, w = x.shape[-2:]
    rows = (torch.arange(h) - dy).clamp(0, h - 1)
    columns = (torch.arange(w) - dx).clamp(0, w - 1)
    return x[..., rows, :][..., columns]


def swap(sample: Sample) -> Sample:
    """Exchange the dates; what appeared now vanishes."""
    return {
        "before": sample["after"],
        "after": sample["before"],
        "labels": tv_tensors.Mask(sample["labels"][[1, 0, 2]]),
    }


def rot90(sample: Sample, turns: int) -> Sample:
    return {k: type(v)(torch.rot90(v, turns, (-2, -1)).contiguous()) for k, v in sample.items()}


_flip = v2.RandomHorizontalFlip(0.5)


def augment(sample: Sample) -> Sample:
    """Everything that is drawn for a training sample after its crop."""
    sample = rot90(_flip(sample), randint(0, 3))
    if chance(0.5):
        sample = swap(sample)
    for key in ("before", "after"):
        if chance(0.7):
            sample[key] = tv_tensors.Image(relight(sample[key]))
    return sample


def crop(sample: Sample, top: int, left: int, side: int, size: int) -> Sample:
    """Cut a square of `side` pixels and resample it to `size`."""
    cut = {k: v2.functional.crop(v, top, left, side, side) for k, v in sample.items()}
    if side == size:
        return cut
    return {
        k: v2.functional.resize(v, [size, size], antialias=True)
        if k != "labels"
        else v2.functional.resize(v, [size, size], interpolation=v2.InterpolationMode.NEAREST)
        for k, v in cut.items()
    }
