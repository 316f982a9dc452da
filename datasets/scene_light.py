"""How the values of a scene become 8 bit."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.scene import Grid, Scene, SceneError, SceneReader

_SAMPLES, _SAMPLE_SIDE = 8, 128


@dataclass(frozen=True, slots=True)
class Radiometry:
    """How the values of a scene become 8 bit: one range for the whole scene, so that windows do not differ.

    Attributes:
        low, high: values that become 0 and 255.
        fill: mean colour in 8 bit, shown to the network where nothing was seen: an edge against black looks like
            a structure.
    """

    low: float
    high: float
    fill: tuple[int, int, int]

    def to_8_bit(self, values: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
        if values.dtype == np.uint8:
            return values  # type: ignore[return-value]
        levels = (np.arange(65536) - self.low) / max(self.high - self.low, 1.0)
        table = np.rint(np.clip(levels, 0, 1) * 255).astype(np.uint8)
        stretched: NDArray[np.uint8] = table[values]
        return stretched


def radiometry(scene: Scene, grid: Grid) -> Radiometry:
    """Measure a scene in 64 patches spread over the grid: 0.5th to 99.5th percentile for 16 bit, 8 bit as it is.

    Patches that cannot be read are left out: the windows that need them will say so.
    """
    rows, columns = (
        np.linspace(0, max(0, side - _SAMPLE_SIDE), _SAMPLES).round().astype(int) for side in (grid.height, grid.width)
    )
    with SceneReader(scene, grid) as reader:
        seen = [np.empty((0, 3), reader.dtype)]
        for row in np.unique(rows):
            for column in np.unique(columns):
                with suppress(SceneError):
                    pixels, valid = reader.read(int(row), int(column), _SAMPLE_SIDE, _SAMPLE_SIDE)
                    seen.append(pixels[valid])
    values: NDArray[Any] = np.concatenate(seen)
    if not len(values):
        return Radiometry(0.0, 255.0, (0, 0, 0))
    low, high = (0.0, 255.0) if values.dtype == np.uint8 else (float(v) for v in np.percentile(values, (0.5, 99.5)))
    found = Radiometry(low, high, (0, 0, 0))
    red, green, blue = (int(v) for v in found.to_8_bit(values).mean(axis=0).round())
    return replace(found, fill=(red, green, blue))
