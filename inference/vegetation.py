"""Where vegetation grows at two dates of one place, with how sure that is, pixel by pixel.

With a near-infrared band by NDVI (Rouse et al. 1974): up to 0.2 is bare, from 0.5 on fully covered (Sobrino et al.,
"Land surface temperature retrieval from LANDSAT TM 5", Remote Sensing of Environment 2004). Without one by excess
green 2g - r - b (Woebbecke et al., "Color indices for weed identification", Transactions of the ASAE 1995) relative to
brightness. On generated districts its area under the ROC curve is 0.98, that of (g - r)/(g + r) and of VARI 0.75, since
dry turf is reddish; on the vegetation of labelled street photographs all of them are weak (0.62 to 0.73), as they are
for anything but a picture from above.

Two things are added to it. The brightness is counted above the haze and has a constant put to it, as SAVI has (Huete
1988), because ratios of the dark are noise. And what is sunlit and bluer than red is no plant: chlorophyll takes most
of the blue, the pigment of dust nets (防尘网), painted courts and plastic turf, phthalocyanine green, most of the red.
Without that rule every net that is laid counts as greened: on generated sites with hardly any greening (4 m2 of 2,500)
28 m2 instead of 4.

One date may be brighter, hazier or of another gamma than the other. Its bands are brought to those of the date with
more contrast by quantiles of the ground that looks the same at both (pseudo-invariant features: Schott et al. 1988), so
that both are judged alike; a gain of 0.7 to 1.25, a gamma of 0.75 to 1.35 and a haze of 0.4 leave the same values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Index = Literal["rgb", "ndvi"]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Patch = tuple[NDArray[Any], NDArray[Any], Mask]
"""Values of both dates, (H, W, bands), and (H, W) bool where both were seen."""

SMOOTH_M = 1.0
"""Standard deviation of the smoothing, metres on the ground: less than a lot, more than the blocks that JPEG makes of
colour and the sunny and the shady side of a crown."""
_SMOOTH_PX = 0.7
_QUANTILES = np.linspace(0.5, 99.5, 34)
_STABLE = 60.0
"""Per cent of the pixels that differ least: a district does not change by more than the rest between two dates."""
_ROUNDS = 3
_ENOUGH = 2000
_HAZE_PERCENT = 0.5
"""The darkest band of the darkest pixels would be black without haze (dark channel: He, Sun and Tang, CVPR 2009)."""
_STEADY = 0.25
_GREEN, _GREEN_WIDTH = 0.05, 0.02
_RED, _RED_WIDTH = 0.02, 0.012
_SUNLIT, _SUNLIT_WIDTH = 0.6, 0.05
_BARE, _COVERED = 0.2, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """How the values of two dates compare, measured once for all sites.

    Attributes:
        index: what vegetation is told by: bands are (red, green, blue) or (red, near infrared).
        before, after: per band, values of this date and what they are at the date of reference, (2, bands, K); None
            for the date of reference itself.
        haze: value of a black surface, in values of the date of reference.
        typical: median brightness above it, summed over the bands.
    """

    index: Index
    before: NDArray[np.float64] | None
    after: NDArray[np.float64] | None
    haze: float
    typical: float


def measure(patches: Sequence[Patch], index: Index, gsd: float) -> Light:
    """Compare the light of two dates on samples of both.

    Args:
        patches: of one place each; three bands for `rgb`, (red, near infrared) for `ndvi`.
        gsd: metres per pixel.
    """
    first, second = _samples(patches, index, gsd)
    spreads = [float(np.subtract(*np.percentile(x.sum(axis=1), (95, 5)))) if len(x) else 0.0 for x in (first, second)]
    before = after = None
    if len(first) >= _ENOUGH:
        if spreads[0] >= spreads[1]:
            after = _match(second, first)
        else:
            before = _match(first, second)
    values = first if spreads[0] >= spreads[1] else second
    if not len(values):
        return Light(index, None, None, 0.0, 1.0)
    haze = float(np.percentile(values.min(axis=1), _HAZE_PERCENT))
    typical = float(np.median(values.sum(axis=1))) - values.shape[1] * haze
    return Light(index, before, after, haze, max(typical, 1.0))


def cover(light: Light, patch: Patch, gsd: float) -> tuple[Floats, Floats]:
    """How much each pixel of two dates is taken for vegetation.

    Returns:
        (H, W) float32 in 0..1 for each date; 0 where it was not seen at both.
    """
    before, after, seen = patch
    shares = []
    for values, tables in ((before, light.before), (after, light.after)):
        smooth = _smooth(values, seen, gsd)
        if tables is not None:
            smooth = np.stack([_lookup(smooth[..., c], *tables[:, c]) for c in range(smooth.shape[2])], axis=2)
        share: Floats = (_ndvi if light.index == "ndvi" else _excess_green)(smooth, light)
        shares.append(np.where(seen, share, 0).astype(np.float32))
    return shares[0], shares[1]


def _excess_green(values: Floats, light: Light) -> Floats:
    red, green, blue = (values[..., c] for c in range(3))
    bright = np.maximum(values.sum(axis=2) - 3 * light.haze, 0)
    steady = bright + _STEADY * light.typical
    plant = _sigmoid(((2 * green - red - blue) / steady - _GREEN) / _GREEN_WIDTH)
    sunlit = _sigmoid((bright / light.typical - _SUNLIT) / _SUNLIT_WIDTH)
    bluish = _sigmoid((_RED - (red - blue) / steady) / _RED_WIDTH)
    return np.asarray(plant * (1 - sunlit * bluish), dtype=np.float32)


def _ndvi(values: Floats, light: Light) -> Floats:
    red, infrared = values[..., 0], values[..., 1]
    bright = np.maximum(values.sum(axis=2) - 2 * light.haze, 0)
    ndvi = (infrared - red) / np.maximum(bright, 0.1 * light.typical)
    return np.asarray(np.clip((ndvi - _BARE) / (_COVERED - _BARE), 0, 1), dtype=np.float32)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))), dtype=np.float32)


def _smooth(values: NDArray[Any], seen: Mask, gsd: float) -> Floats:
    """(H, W, bands) float32, smoothed over what was seen alone."""
    sigma = max(_SMOOTH_PX, SMOOTH_M / gsd)
    weight = cv2.GaussianBlur(seen.astype(np.float32), (0, 0), sigma)
    blurred = cv2.GaussianBlur(values.astype(np.float32) * seen[..., None], (0, 0), sigma)
    return np.asarray(blurred / np.maximum(weight, 1e-3)[..., None], dtype=np.float32)


def _samples(patches: Sequence[Patch], index: Index, gsd: float) -> tuple[Floats, Floats]:
    """(N, bands) of each date, one to one."""
    bands = 2 if index == "ndvi" else 3
    sides = []
    for side in (0, 1):
        found = [_smooth(patch[side], patch[2], gsd)[patch[2]] for patch in patches]
        sides.append(np.concatenate([np.empty((0, bands), np.float32), *found]))
    return sides[0], sides[1]


def _match(source: Floats, target: Floats) -> NDArray[np.float64]:
    """(2, bands, K): quantiles of the one and of the other date, over the ground that looks the same at both."""
    stable = np.ones(len(source), dtype=np.bool_)
    tables = np.empty((2, source.shape[1], len(_QUANTILES)))
    for _ in range(_ROUNDS):
        fitted = np.empty_like(source)
        for c in range(source.shape[1]):
            tables[0, c] = np.percentile(source[stable, c], _QUANTILES)
            tables[1, c] = np.percentile(target[stable, c], _QUANTILES)
            fitted[:, c] = _lookup(source[:, c], *tables[:, c])
        residual = np.abs(fitted - target).sum(axis=1)
        stable = residual <= np.percentile(residual, _STABLE)
    return tables


def _lookup(values: Floats, source: NDArray[np.float64], target: NDArray[np.float64]) -> Floats:
    """Between the quantiles linear, beyond them as steep as they are on the whole."""
    steep = (target[-1] - target[0]) / max(source[-1] - source[0], 1e-6)
    beyond = np.minimum(values - source[0], 0) + np.maximum(values - source[-1], 0)
    return np.asarray(np.interp(values, source, target) + steep * beyond, dtype=np.float32)
