"""Things on the ground that are no structures: parked vehicles, dust nets (防尘网), hoardings, heaps, tarpaulins.

They come and go between two dates, and a model that calls them structures raises alarms nobody wants. No set here
labels them, so they are painted, at one date, where nothing is labelled as structure; the labels stay as they are.
Containers and sheds are structures and therefore never painted here.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.vision import tv_tensors
from training.augment import Sample, chance, randint, uniform

Image = NDArray[np.uint8]
Stamp = NDArray[np.float32]


def clutter(sample: Sample) -> Sample:
    """Paint a few pieces of clutter at one date, sometimes at both; labels do not change."""
    dates = ("before", "after") if chance(0.25) else (("before", "after")[randint(0, 1)],)
    sample = dict(sample)
    labels = sample["labels"].numpy()
    for key in dates:
        image = np.ascontiguousarray(sample[key].permute(1, 2, 0).numpy()).copy()
        taken = (labels[0 if key == "before" else 1] == 1) | (labels[2] == 1)
        for _ in range(randint(1, 4)):
            paint = (_vehicles, _net, _hoarding, _heap)[randint(0, 3)]
            paint(image, taken)
        sample[key] = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))
    return sample


def _somewhere(shape: tuple[int, ...]) -> tuple[int, int]:
    """A point (x, y) of the picture."""
    return randint(0, shape[1] - 1), randint(0, shape[0] - 1)


def _blend(image: Image, stamp: Stamp, colour: tuple[float, float, float], taken: NDArray[np.bool_]) -> None:
    """Lay a colour over the picture, `stamp` (H, W) 0..1 saying how much, but not over a labelled structure."""
    if bool((taken & (stamp > 0.1)).any()):
        return
    rows, columns = np.flatnonzero(stamp.any(axis=1)), np.flatnonzero(stamp.any(axis=0))
    if not len(rows):
        return
    place = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    alpha = stamp[place][..., None]
    image[place] = np.rint(image[place] * (1 - alpha) + np.array(colour, dtype=np.float32) * alpha).astype(np.uint8)


def _box(centre: tuple[float, float], length: float, width: float, degrees: float) -> NDArray[np.int32]:
    return np.asarray(np.rint(cv2.boxPoints((centre, (length, width), degrees))), dtype=np.int32)


def _stamp(image: Image, outline: NDArray[np.int32], strength: float = 1.0) -> Stamp:
    mask = np.zeros(image.shape[:2], dtype=np.float32)
    cv2.fillPoly(mask, [outline], strength)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.6), dtype=np.float32)


def _vehicles(image: Image, taken: NDArray[np.bool_]) -> None:
    """A row of parked vehicles, 2 m by 4 to 10 m at GSDs of 0.3 to 1 m, with a dark edge as windows and shadow give."""
    x, y = _somewhere(image.shape)
    degrees, width = uniform(0, 180), uniform(2, 6)
    length = width * uniform(1.8, 3.2)
    across = np.deg2rad(degrees + 90)
    for i in range(randint(1, 7)):
        gap = i * width * 1.5
        centre = (x + gap * float(np.cos(across)), y + gap * float(np.sin(across)))
        shade = _box((centre[0] + 1, centre[1] + 1), length + 1, width + 1, degrees)
        _blend(image, _stamp(image, shade, 0.5), (25, 25, 30), taken)
        light = uniform(30, 240)
        colour = (light, light, light) if chance(0.75) else (uniform(20, 220), uniform(20, 220), uniform(20, 220))
        _blend(image, _stamp(image, _box(centre, length, width, degrees)), colour, taken)


def _ragged(centre: tuple[int, int], radius: float) -> NDArray[np.int32]:
    """An irregular outline of 7 to 12 corners."""
    corners = randint(7, 12)
    angles = np.sort([uniform(0, 2 * np.pi) for _ in range(corners)])
    radii = np.array([radius * uniform(0.5, 1.2) for _ in range(corners)])
    points = np.stack([centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)], axis=1)
    return np.asarray(np.rint(points), dtype=np.int32)


def _net(image: Image, taken: NDArray[np.bool_]) -> None:
    """A green or black net laid over bare earth: flat in colour, ragged in outline, the ground showing through."""
    outline = _ragged(_somewhere(image.shape), uniform(10, 45))
    green = (uniform(30, 90), uniform(90, 160), uniform(50, 110))
    _blend(image, _stamp(image, outline, uniform(0.45, 0.85)), green if chance(0.8) else (45, 48, 50), taken)


def _hoarding(image: Image, taken: NDArray[np.bool_]) -> None:
    """A fence of sheet metal around a plot: long and thin, with a thin shadow."""
    x, y = _somewhere(image.shape)
    outline = _box((x, y), uniform(20, 120), uniform(20, 90), uniform(0, 180))
    colours = ((60, 110, 190), (225, 228, 230), (70, 140, 90))
    colour = tuple(v * uniform(0.85, 1.1) for v in colours[randint(0, 2)])
    for dx, shade in ((1, True), (0, False)):
        mask = np.zeros(image.shape[:2], dtype=np.float32)
        cv2.polylines(mask, [outline + dx], chance(0.5), 0.4 if shade else 0.9, 1, cv2.LINE_AA)
        _blend(image, mask, (30, 30, 30) if shade else (colour[0], colour[1], colour[2]), taken)


def _heap(image: Image, taken: NDArray[np.bool_]) -> None:
    """A heap of earth, sand or rubbish: one side lit, the other in shadow, and grainy."""
    centre, radius = _somewhere(image.shape), uniform(3, 14)
    stamp = _stamp(image, _ragged(centre, radius), uniform(0.6, 0.95))
    if bool((taken & (stamp > 0.1)).any()):
        return
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    angle = uniform(0, 2 * np.pi)
    slope = ((xs - centre[0]) * np.cos(angle) + (ys - centre[1]) * np.sin(angle)) / radius
    earth = np.array([uniform(120, 190), uniform(100, 165), uniform(80, 140)], dtype=np.float32)
    grain = torch.randn(image.shape[:2]).numpy() * uniform(6, 22)
    lit = earth + (np.clip(slope, -1, 1) * 45 + grain)[..., None]
    alpha = stamp[..., None]
    image[:] = np.rint(np.clip(image * (1 - alpha) + lit * alpha, 0, 255)).astype(np.uint8)
