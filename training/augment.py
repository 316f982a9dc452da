"""Augmentation of one pair: geometry shared by both dates, light and sensor drawn for each date alone.

A sample is a dict of tv_tensors, so that torchvision's v2 transforms move images and labels together:
`before`, `after`: Image (3, H, W) uint8; `labels`: Mask (3, H, W) uint8 in the order structure_before,
structure_after, change, or (5, H, W) with cloud_before and cloud_after besides. All randomness comes from torch's
global generator, which the caller seeds.
"""

from __future__ import annotations

import io
import math
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
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


def choose(weights: dict[str, float]) -> str:
    """A name, as often as its weight says."""
    names = list(weights)
    return names[int(torch.multinomial(torch.tensor([weights[n] for n in names]), 1))]


def jpeg(image: Tensor, quality: int) -> Tensor:
    """Compress and decode. By Pillow: torchvision's own codec is compiled code that may not load (see model.vision)."""
    buffer = io.BytesIO()
    v2.functional.to_pil_image(image).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as decoded:
        out: Tensor = v2.functional.pil_to_tensor(decoded)
    return out


_photometric = v2.Compose(
    [
        v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
        v2.RandomApply([v2.ColorJitter(hue=0.04)], p=0.25),  # slow, and the gains below move hues too
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
        table = torch.linspace(0, 1, 256).pow(uniform(0.7, 1.4)).mul(255).round().to(torch.uint8)
        out = table[out.long()]
    if chance(0.15):
        out = haze(out)
    return out


def restyle(image: Tensor) -> Tensor:
    """The picture as another sensor and another product would show it: other mean and spread of each channel, at times
    grey, at times sharpened until edges ring.

    Reinhard et al., "Color Transfer between Images" (IEEE CG&A 2001), towards colours that are drawn at random: what
    the sets here look like says nothing about the next region.
    """
    out = image.float()
    if chance(0.12):
        out = out.mean(dim=0, keepdim=True).expand(3, -1, -1)
    mean, spread = out.mean(dim=(1, 2), keepdim=True), out.std(dim=(1, 2), keepdim=True) + 1
    other_mean = uniform(50, 165) + 9 * torch.randn(3, 1, 1)
    other_spread = uniform(18, 65) * torch.empty(3, 1, 1).uniform_(0.85, 1.15)
    share = uniform(0.3, 1)
    gain = 1 + share * (other_spread / spread - 1)
    out = (out - mean) * gain + mean + share * (other_mean - mean)
    if chance(0.3):
        out = out + uniform(0.5, 2.0) * (out - v2.functional.gaussian_blur(out, [5, 5], [1.0, 1.0]))
    return out.clamp(0, 255).round().to(torch.uint8)


def displace(sample: Sample, key: str, dx: float, dy: float, angle: float = 0.0, scale: float = 1.0) -> Sample:
    """Move one date against the other, as an imperfect registration does.

    The structures of that date move with it. Change goes where its evidence goes: what stands at the moved date
    alone moves, what stands at the other date alone stays. Edges that come into view repeat the border and are
    ignored in all labels.

    Args:
        key: `before` or `after`.
        dx, dy: displacement in pixels.
        angle, scale: rotation in degrees and magnification about the centre.
    """
    if (dx, dy, angle, scale) == (0, 0, 0, 1):
        return sample
    own = 0 if key == "before" else 1
    labels = sample["labels"].numpy()
    h, w = labels.shape[-2:]
    matrix = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), angle, scale)
    matrix[:, 2] += np.array([dx, dy])

    def moved(layer: NDArray[np.uint8], how: int, border: int, value: int = 0) -> NDArray[np.uint8]:
        warped = cv2.warpAffine(layer, matrix, (w, h), flags=how, borderMode=border, borderValue=value)
        return np.asarray(warped, dtype=np.uint8)

    def moved_label(layer: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return moved(layer, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT, IGNORE)

    image = sample[key].permute(1, 2, 0).numpy()
    image = moved(image, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    structure = moved_label(labels[own])
    change = labels[2]
    mine = (change == 1) & (labels[own] == 1)
    going = moved_label(np.where(mine | (change == IGNORE), change, 0).astype(np.uint8))
    staying = np.where(mine, 0, change)
    out = labels.copy()
    out[own] = structure
    out[2] = np.maximum(going, staying)  # IGNORE is the largest value
    out[:, moved_label(np.zeros_like(change)) == IGNORE] = IGNORE
    return {
        **sample,
        key: tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)),
        "labels": tv_tensors.Mask(torch.from_numpy(out)),
    }


def coarsen(image: Tensor, factor: float) -> Tensor:
    """The picture as a sensor of `factor` times the GSD would have taken it, on the same grid."""
    h, w = image.shape[-2:]
    small = v2.functional.resize(image, [max(8, round(h / factor)), max(8, round(w / factor))], antialias=True)
    out: Tensor = v2.functional.resize(small, [h, w], antialias=True)
    return out


def wedge(sample: Sample, key: str) -> Sample:
    """The edge of a scene: beyond a random line one date was not seen, and holds its mean colour as in use."""
    h, w = sample["labels"].shape[-2:]
    angle = uniform(0, 2 * math.pi)
    ys, xs = torch.meshgrid(torch.arange(h) - h / 2, torch.arange(w) - w / 2, indexing="ij")
    distance = xs * math.cos(angle) + ys * math.sin(angle)
    unseen = distance > uniform(0.15, 0.45) * min(h, w)
    image, labels = sample[key].clone(), sample["labels"].clone()
    image[:, unseen] = image[:, ~unseen].float().mean(dim=1, keepdim=True).round().to(torch.uint8)
    labels[0 if key == "before" else 1][unseen] = IGNORE
    labels[2][unseen] = IGNORE
    return {**sample, key: tv_tensors.Image(image), "labels": tv_tensors.Mask(labels)}


def swap(sample: Sample) -> Sample:
    """Exchange the dates; what appeared now vanishes."""
    return {
        "before": sample["after"],
        "after": sample["before"],
        "labels": tv_tensors.Mask(sample["labels"][[1, 0, 2, 4, 3][: len(sample["labels"])]]),
    }


def rot90(sample: Sample, turns: int) -> Sample:
    return {k: type(v)(torch.rot90(v, turns, (-2, -1)).contiguous()) for k, v in sample.items()}


_flip = v2.RandomHorizontalFlip(0.5)


def misalign(sample: Sample, reach: int) -> Sample:
    """Displace one date by up to `reach` pixels either way, with a little rotation and magnification."""
    key = ("before", "after")[randint(0, 1)]
    dx, dy = uniform(-reach, reach), uniform(-reach, reach)
    turn, scale = (uniform(-1.5, 1.5), uniform(0.985, 1.015)) if chance(0.3) else (0.0, 1.0)
    return displace(sample, key, dx, dy, turn, scale)


def augment(sample: Sample, restyled: float = 0.0) -> Sample:
    """Everything that is drawn for a training sample after its crop and its misalignment.

    Args:
        restyled: share of the dates that look as if another sensor had taken them (`restyle`).
    """
    sample = rot90(_flip(sample), randint(0, 3))
    if chance(0.5):
        sample = swap(sample)
    for key in ("before", "after"):
        if chance(0.7):
            sample[key] = tv_tensors.Image(relight(sample[key]))
    if chance(0.15):  # two sensors, one sharper than the other
        key = ("before", "after")[randint(0, 1)]
        sample[key] = tv_tensors.Image(coarsen(sample[key], uniform(1.2, 2.2)))
    if chance(0.06):
        sample = wedge(sample, ("before", "after")[randint(0, 1)])
    for key in ("before", "after") if restyled else ():
        if chance(restyled):
            sample[key] = tv_tensors.Image(restyle(sample[key]))
    return sample


def crop(sample: Sample, top: int, left: int, side: int, size: int) -> Sample:
    """Cut a square of `side` pixels and resample it to `size`."""
    cut = {k: v2.functional.crop(v, top, left, side, side) for k, v in sample.items()}
    if side == size:
        return cut
    return {
        k: v2.functional.resize(v, [size, size], antialias=True)
        if k != "labels"
        else v2.functional.resize(v, [size, size], interpolation=v2.InterpolationMode.NEAREST_EXACT)
        for k, v in cut.items()
    }
