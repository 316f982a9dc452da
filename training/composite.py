"""Structures appear and vanish in real scenes: real buildings cut out and pasted, or covered by real ground.

No labelled set shows a new shed in a dense old quarter, or a demolition. So they are made: a building is cut from
a donor picture along its mask, matched to the light of its new place, given a shadow and pasted into one date
(change), or into both (it remains); a standing building is covered in one date by ground from nearby. Ground pasted
the same way teaches that a patch that differs is not yet a structure. Copy-paste follows Ghiasi et al., CVPR 2021.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.vision import tv_tensors
from training.augment import Sample, chance, randint, uniform

_MIN_PX, _MAX_PX = 60, 9000
_SHED = (7.0, 20.0)
"""Sides of a shed, pixels: 3.5 to 10 m at half a metre."""
_YARD = (4, 24)
"""How far the ground around a building that comes with it reaches, pixels."""
SHEET_METAL = {
    "blue": (70, 125, 195),
    "white": (228, 228, 226),
    "red": (160, 65, 55),
    "grey": (150, 152, 155),
    "green": (75, 135, 105),
}
"""Colours of steel sheet (彩钢板) in the sun."""

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def composite(base: Sample, donor: Sample, sheds: float = 0.0, yards: float = 0.0, painted: float = 0.0) -> Sample:
    """Change a pair in a few places.

    Args:
        base: crop of a pair whose structures are known at both dates; what its labels call changed stays so.
        donor: crop of another pair, of the same size, from whose first date buildings and ground are cut.
        sheds: share of what is pasted of which only a small rectangle is: no set has labelled sheds. What is covered is
            covered whole: a light rectangle in the middle of a roof is no structure that is gone.
        yards: share of what is pasted that brings ground around it, which is no structure: whoever builds changes the
            ground as well, and a seam that always runs along the wall would give a pasted building away.
        painted: share of what is pasted that gets a roof of coloured steel sheet, of which most sheds are and hardly a
            house in the sets; as large a share of the pairs has some of its standing roofs painted, at one date or
            both. Another coat is no change.
    """
    dates = [_hwc(base["before"]), _hwc(base["after"])]
    labels = base["labels"].numpy().copy()
    source, source_labels = _hwc(donor["before"]), donor["labels"][0].numpy()
    buildings = _buildings(source_labels == 1)
    if painted and chance(painted):
        _repaint(dates, labels)
    for _ in range(randint(2, 6)):
        date = randint(0, 1)
        draw = uniform(0, 1)
        if draw < 0.30:
            _cover(dates, labels, date, randint(*_YARD) if yards and chance(yards) else 0)
        elif buildings:
            mask, shed = buildings[randint(0, len(buildings) - 1)], bool(sheds) and chance(sheds)
            if shed:
                mask = _piece(mask)
            reach = randint(*_YARD) if yards and chance(yards) else 0
            given = paint_roof(source, mask, _sheet()) if painted and chance(painted) else source, source_labels, mask
            if shed and reach:
                with_yard = _on_ground(*given, reach)
                given, reach = (with_yard, reach) if with_yard else (given, 0)
            _paste(dates, labels, date, *given, reach, real=draw < 0.85)
    return {
        "before": tv_tensors.Image(torch.from_numpy(dates[0]).permute(2, 0, 1)),
        "after": tv_tensors.Image(torch.from_numpy(dates[1]).permute(2, 0, 1)),
        "labels": tv_tensors.Mask(torch.from_numpy(labels)),
    }


def _hwc(image: torch.Tensor) -> Image:
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy()).copy()


def _buildings(mask: Mask) -> list[Mask]:
    """Whole buildings (not cut by the border) of a size worth moving, as masks cropped to their box and a margin."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    height, width = mask.shape
    found = []
    for i in range(1, count):
        x, y, w, h, area = (int(v) for v in stats[i])
        if _MIN_PX <= area <= _MAX_PX and x > 2 and y > 2 and x + w < width - 2 and y + h < height - 2:
            found.append(labels == i)
    return found


def _piece(mask: Mask) -> Mask:
    """A rectangle of a roof, the size of a shed, turned anyhow."""
    rows, columns = np.nonzero(mask)
    middle = randint(0, len(rows) - 1)
    sides = uniform(*_SHED), uniform(*_SHED)
    corners = cv2.boxPoints(((float(columns[middle]), float(rows[middle])), sides, uniform(0, 90)))
    rectangle = np.zeros(mask.shape, dtype=np.uint8)
    cv2.fillConvexPoly(rectangle, np.rint(corners).astype(np.int32), 1)
    return np.asarray(mask & (rectangle > 0), dtype=np.bool_)


def paint_roof(image: Image, mask: Mask, colour: NDArray[np.float32]) -> Image:
    """The picture (H, W, 3) with steel sheet of a colour on a roof, mask (H, W): its own light and shade, weaker."""
    light = image[mask].mean(axis=1, keepdims=True, dtype=np.float32)
    shade = 1 + uniform(0.2, 0.6) * (light / max(float(light.mean()), 1.0) - 1)
    result = image.copy()
    result[mask] = np.rint(np.clip(colour * shade, 0, 255)).astype(np.uint8)
    return result


def _sheet() -> NDArray[np.float32]:
    """A colour of steel sheet, more or less bleached and lit."""
    colour = np.array(list(SHEET_METAL.values())[randint(0, len(SHEET_METAL) - 1)], dtype=np.float32)
    colour += uniform(0, 0.5) * (colour.mean() - colour)
    return np.asarray(colour * uniform(0.7, 1.1), dtype=np.float32)


def _repaint(dates: list[Image], labels: NDArray[np.uint8]) -> None:
    """Paint a few roofs that stand at both dates, at both or at one of them."""
    buildings = _buildings((labels[0] == 1) & (labels[1] == 1) & (labels[2] == 0))
    for _ in range(randint(1, 4) if buildings else 0):
        mask, colour = buildings[randint(0, len(buildings) - 1)], _sheet()
        for d in (0, 1) if chance(0.6) else (randint(0, 1),):
            dates[d][:] = paint_roof(dates[d], mask, colour)


def _on_ground(
    source: Image, labels: NDArray[np.uint8], mask: Mask, reach: int
) -> tuple[Image, NDArray[np.uint8], Mask] | None:
    """Picture, labels and mask with a piece of roof moved to where `reach` pixels of bare ground are all around, in the
    same light; None where they are nowhere."""
    whole = _grown(mask, reach)
    box = _box(whole, 4)
    place = _place_for(whole[box], labels == 0)
    if place is None:
        return None
    shape = mask[box]
    picture, told, moved = source.copy(), labels.copy(), np.zeros_like(mask)
    _shade(picture, place, shape, _beside(uniform(0, 2 * np.pi), uniform(1, 5)), uniform(0.4, 0.75))
    _blend(picture, place, source[box], shape, 0)
    moved[place] = shape
    told[moved] = 1
    return picture, told, moved


def _beside(angle: float, length: float) -> tuple[int, int]:
    """Right and down, pixels."""
    return round(length * np.cos(angle)), round(length * np.sin(angle))


def _grown(mask: Mask, reach: int) -> Mask:
    """What lies within `reach` pixels of it."""
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), square) > 0, dtype=np.bool_)


def _box(mask: Mask, margin: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + 1 + margin),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + 1 + margin),
    )


def _paste(
    dates: list[Image], labels: NDArray[np.uint8], date: int, source: Image, source_labels: NDArray[np.uint8],
    mask: Mask, reach: int, *, real: bool,
) -> None:  # fmt: skip
    """Paste a building (`real`) or a piece of ground of the same outline where no structure stands at either date, with
    the ground up to `reach` pixels around it."""
    whole = mask | (_grown(mask, reach) & (source_labels != 1))
    box = _box(whole, 4)
    patch, shape, told = source[box], whole[box], np.where(mask, 1, source_labels)[box]
    if not real:  # the same outline over bare ground of the donor
        moved = _place_for(shape, source_labels == 0)
        if moved is None:
            return
        patch = source[moved]
    turns = randint(0, 3)
    patch, shape, told = np.rot90(patch, turns), np.rot90(shape, turns), np.rot90(told, turns)
    free = (labels[0] == 0) & (labels[1] == 0) & (labels[2] == 0)
    place = _place_for(shape, free)
    if place is None:
        return
    both = real and chance(0.25)
    strength = uniform(0.4, 0.75)
    angle, length = uniform(0, 2 * np.pi), uniform(1, 5)
    for d in (0, 1) if both else (date,):
        if real and not reach:  # its yard brings its own shadow
            _shade(dates[d], place, shape, _beside(angle, length), strength)
            angle += uniform(-0.8, 0.8)  # the sun stands elsewhere at the other date
        _blend(dates[d], place, _matched(patch, dates[d][place], shape), shape, reach)
    if real:
        for d in (0, 1) if both else (date,):
            labels[d][place][shape] = told[shape]
        if not both:
            labels[2][place][shape] = told[shape]


def _cover(dates: list[Image], labels: NDArray[np.uint8], date: int, reach: int) -> None:
    """Cover a building that stands at both dates by ground from nearby, at one date, up to `reach` pixels around it."""
    standing = (labels[0] == 1) & (labels[1] == 1) & (labels[2] == 0)
    buildings = _buildings(standing)
    if not buildings:
        return
    mask = buildings[randint(0, len(buildings) - 1)]
    # The mask of this date alone can reach further (a leaning roof), and so can what is not labelled: all goes.
    gone = mask | (_grown(mask, 3) & (labels[date] != 0))
    wide = _grown(gone, 2) | (_grown(gone, reach) & (labels == 0).all(axis=0))
    box = _box(wide, 2)
    shape = wide[box]
    ground = _place_for(shape, labels[date] == 0)
    if ground is None:
        return
    _blend(dates[date], box, dates[date][ground].copy(), shape, max(0, reach - 2))
    labels[date][gone] = 0
    labels[2][gone] = labels[1 - date][gone]  # what stood at this date alone is now at neither


def _place_for(shape: Mask, free: Mask) -> tuple[slice, slice] | None:
    """Somewhere the shape fits onto free pixels only, each such place as likely; None if there is none."""
    (h, w), (height, width) = shape.shape, free.shape
    if h >= height or w >= width:
        return None
    taken = cv2.matchTemplate((~free).astype(np.float32), shape.astype(np.float32), cv2.TM_CCORR)  # pixels under it
    fits = np.flatnonzero(taken < 0.5)
    if not len(fits):
        return None
    top, left = divmod(int(fits[randint(0, len(fits) - 1)]), width - w + 1)
    return slice(top, top + h), slice(left, left + w)


def _matched(patch: Image, around: Image, shape: Mask) -> NDArray[np.float32]:
    """The patch with its brightness moved halfway towards its new surroundings: same sun, own colour."""
    values = patch.astype(np.float32)
    difference = around.mean() - values.mean()
    return np.asarray(np.clip(values + 0.5 * difference, 0, 255), dtype=np.float32)


def _blend(image: Image, place: tuple[slice, slice], patch: NDArray[Any], shape: Mask, reach: int) -> None:
    """Lay the patch over a place; the further its rim lies from what matters (`reach`), the softer."""
    softness = min(0.8 + 0.2 * reach, 4.0)
    alpha = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), softness)[..., None]
    image[place] = np.rint(alpha * patch + (1 - alpha) * image[place]).astype(np.uint8)


def _shade(image: Image, place: tuple[slice, slice], shape: Mask, offset: tuple[int, int], strength: float) -> None:
    """Darken the ground beside the shape, away from an imagined sun."""
    whole = np.zeros(image.shape[:2], dtype=np.float32)
    whole[place] = shape
    move = np.array([[1, 0, offset[0]], [0, 1, offset[1]]], dtype=np.float32)
    shadow = cv2.warpAffine(whole, move, (image.shape[1], image.shape[0]))
    shadow = cv2.GaussianBlur(np.maximum(shadow, whole), (0, 0), 0.7)[..., None]
    image[:] = np.rint(image * (1 - shadow * (1 - strength))).astype(np.uint8)
