"""Photographs made for tests: a street with houses, trees, poles and paving, and the same without some houses."""

from __future__ import annotations

import cv2
import numpy as np

from tests.imagery import Pixels, ground, relit

HOUSES = 9


def _colour(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    """Something near grey, as houses are."""
    r, g, b = np.clip(rng.integers(low, high) + rng.integers(-30, 31, 3), 0, 255)
    return int(r), int(g), int(b)


def street(seed: int, height: int = 384, width: int = 512, *, without: slice = slice(0)) -> Pixels:
    """(H, W, 3) a street that looks like no other; `without` leaves out some of its nine houses, from the left."""
    rng = np.random.default_rng(seed)
    foot = round(height * rng.uniform(0.5, 0.7))
    scene = ground(seed, height, width)
    sky = np.linspace(150, 225, foot)[:, None, None] * np.array([0.85, 0.95, 1.0])
    scene[:foot] = np.clip(sky + rng.normal(0, 2, (foot, width, 3)), 0, 255).astype(np.uint8)
    for left in rng.integers(-20, width, 30):  # far off, behind the houses, and always there
        right, top = left + int(rng.integers(15, 50)), foot - int(rng.integers(height // 8, height // 3))
        cv2.rectangle(scene, (int(left), top), (right, foot), _colour(rng, 60, 200), -1)
        for x, y in rng.integers((left, top), (right, foot), (10, 2)):
            sides = rng.integers(3, 9, 2)
            cv2.rectangle(scene, (int(x), int(y)), (int(x + sides[0]), int(y + sides[1])), _colour(rng, 20, 230), -1)
    present = range(HOUSES)[without]
    for number, left in enumerate(np.sort(rng.integers(-10, width - 20, HOUSES))):
        top, right = int(rng.integers(height // 10, foot // 2)), left + int(rng.integers(width // 12, width // 6))
        drawn = [((int(left), top), (int(right), foot), _colour(rng, 60, 220))]
        for x, y in rng.integers((left, top), (right, foot), (25, 2)):
            sides = rng.integers(4, 12, 2)
            drawn.append(((int(x), int(y)), (int(x + sides[0]), int(y + sides[1])), _colour(rng, 20, 220)))
        for corner, opposite, colour in drawn if number not in present else ():
            cv2.rectangle(scene, corner, opposite, colour, -1)
    for x, y in rng.integers((0, foot + 8), (width, height), (40, 2)):  # paving, drains, marks
        corners = np.array([x, y]) + rng.integers(-9, 10, (4, 2))
        cv2.fillConvexPoly(scene, cv2.convexHull(corners.astype(np.int32)), _colour(rng, 20, 230))
    return scene


def from_elsewhere(pixels: Pixels, *, degrees: float = 3, scale: float = 1.1, lean: float = 0.05) -> Pixels:
    """The same seen a step aside on another day: turned and scaled about the middle, one side nearer by `lean`."""
    height, width = pixels.shape[:2]
    turn = np.eye(3)
    turn[:2] = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    lean_over = np.eye(3)
    lean_over[2, 0] = lean / width
    size, beyond = (width, height), (128, 128, 128)
    seen = cv2.warpPerspective(pixels, lean_over @ turn, size, flags=cv2.INTER_CUBIC, borderValue=beyond)
    return relit(np.asarray(seen, dtype=np.uint8), 5)
