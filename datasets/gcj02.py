"""GCJ-02, the shift that maps in China are published with (Amap, WeChat), to and from WGS-84.

It is not in PROJ. The forward formula is the one that the open-source world has agreed on since 2011
(`eviltransform`, `coordtransform`); it has no closed inverse, so that is found by iteration, which converges to
rounding error because the offset changes by less than 1 in 100 of the distance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
"""(N, 2) float64, x = longitude or easting, y = latitude or northing."""

CHINA = (72.004, 0.8293, 137.8347, 55.8271)
"""West, south, east, north: outside these GCJ-02 is the same as WGS-84."""
_SEMI_MAJOR, _ECCENTRICITY_2 = 6378245.0, 0.00669342162296594323  # Krassowsky 1940
_ITERATIONS = 30


def in_china(points: Array) -> NDArray[np.bool_]:
    """Which (longitude, latitude) lie in the rectangle where GCJ-02 is shifted."""
    west, south, east, north = CHINA
    x, y = points[:, 0], points[:, 1]
    return (x >= west) & (x <= east) & (y >= south) & (y <= north)


def gcj02(points: Array) -> Array:
    """WGS-84 to GCJ-02."""
    x, y = points[:, 0] - 105.0, points[:, 1] - 35.0
    wave = (20 * np.sin(6 * x * np.pi) + 20 * np.sin(2 * x * np.pi)) * 2 / 3
    north = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * np.sqrt(np.abs(x)) + wave
    north += (20 * np.sin(y * np.pi) + 40 * np.sin(y / 3 * np.pi)) * 2 / 3
    north += (160 * np.sin(y / 12 * np.pi) + 320 * np.sin(y * np.pi / 30)) * 2 / 3
    east = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * np.sqrt(np.abs(x)) + wave
    east += (20 * np.sin(x * np.pi) + 40 * np.sin(x / 3 * np.pi)) * 2 / 3
    east += (150 * np.sin(x / 12 * np.pi) + 300 * np.sin(x / 30 * np.pi)) * 2 / 3
    latitude = np.radians(points[:, 1])
    magic = 1 - _ECCENTRICITY_2 * np.sin(latitude) ** 2
    north = np.degrees(north * magic**1.5 / (_SEMI_MAJOR * (1 - _ECCENTRICITY_2)))
    east = np.degrees(east * np.sqrt(magic) / (_SEMI_MAJOR * np.cos(latitude)))
    return np.where(in_china(points)[:, None], points + np.stack([east, north], axis=1), points)


def inverse(forward: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The inverse of a small shift, by fixed-point iteration: w <- w + (p - forward(w))."""

    def solve(points: Array) -> Array:
        guess = points.copy()
        for _ in range(_ITERATIONS):
            step = points - forward(guess)
            guess += step
            if not np.abs(step).max(initial=0.0) > 1e-13:
                break
        return guess

    return solve
