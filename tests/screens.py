"""A photograph of a screen, simulated: subpixels in stripes, a lens, a sensor with a Bayer filter, and JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from tests.imagery import Pixels

_FINER = 3
"""Points per sensor pixel, along each side."""


def on_screen(shown: Pixels, rng: np.random.Generator, side: int = 448, *, pitch: float | None = None) -> Pixels:
    """(side, side, 3): `shown` on a screen, photographed from a little aslant.

    Args:
        pitch: pixels of the screen per pixel of the sensor; drawn from 0.25 to 1.2 if not given.
    """
    height, width = shown.shape[:2]
    pitch = rng.uniform(0.25, 1.2) if pitch is None else pitch
    turn = np.radians(rng.uniform(-6, 6))
    y, x = np.mgrid[0 : side * _FINER, 0 : side * _FINER].astype(np.float32) / _FINER - side / 2
    nearness = 1 + (rng.uniform(-0.1, 0.1) * x + rng.uniform(-0.1, 0.1) * y) / side
    column = pitch * (np.cos(turn) * x - np.sin(turn) * y) / nearness
    row = pitch * (np.sin(turn) * x + np.cos(turn) * y) / nearness
    zoom = max(height, width) / (side * pitch * 1.15)
    across, down = (np.floor(v) * zoom + n / 2 for v, n in ((column, width), (row, height)))
    light = (shown.astype(np.float32) / 255) ** 2.2
    image = cv2.remap(
        light, across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    within_column, within_row = column - np.floor(column), row - np.floor(row)
    for channel in range(3):  # a stripe each, black between them
        stripe = (within_column >= channel / 3 + 0.03) & (within_column < (channel + 1) / 3 - 0.03)
        image[..., channel] *= (stripe & (within_row < 0.88)) * 3.4
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.7) * _FINER)
    image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    levels = np.clip(image, 0, 1) ** (1 / 2.2) * 255 + rng.normal(0, 2.5, image.shape)
    seen = np.clip(levels, 0, 255).astype(np.uint8)
    mosaic = seen[..., 1].copy()
    mosaic[0::2, 0::2], mosaic[1::2, 1::2] = seen[0::2, 0::2, 0], seen[1::2, 1::2, 2]
    colours = cv2.cvtColor(mosaic, cv2.COLOR_BayerRGGB2RGB)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(75, 95))]
    return np.ascontiguousarray(cv2.imdecode(cv2.imencode(".jpg", colours[..., ::-1], quality)[1], 1)[..., ::-1])
