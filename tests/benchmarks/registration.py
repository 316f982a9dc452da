"""How well the registration gate tells pairs of one place from unrelated pictures, and what it makes of shifts.

    python -m tests.benchmarks.registration --data DATA

For every pair of the labelled sets: the significance of the alignment of the pair itself, of the first date with
a date of another place, and whether `register` accepts each; then the same pair with the later date rotated by
3 degrees, scaled by 1.1 and shifted by 20 px.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import cv2
import numpy as np

from datasets.labelled import read_set
from datasets.raster import Raster
from inference.correlation import alignment
from inference.registration import NotComparable, register

SOURCES = ("levir_cd", "xbd_mexico", "xbd_other", "ida")


def _raster(pixels: np.ndarray) -> Raster:
    return Raster(pixels, pixels.max(axis=2) > 3)


def _significance(a: Raster, b: Raster) -> float:
    return alignment(a.pixels, a.valid, b.pixels, b.valid).significance


def _accepted(a: Raster, b: Raster) -> str:
    try:
        return register(a, b).registration.model
    except NotComparable as refusal:
        return refusal.reason.code


def _moved(raster: Raster) -> Raster:
    matrix = cv2.getRotationMatrix2D((raster.width / 2, raster.height / 2), 3, 1.1)
    matrix[:, 2] += 20
    size = (raster.width, raster.height)
    pixels = cv2.warpAffine(raster.pixels, matrix, size, flags=cv2.INTER_CUBIC)
    valid = cv2.warpAffine(raster.valid.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0
    return replace(raster, pixels=pixels, valid=valid)


def _counts(outcomes: list[str]) -> str:
    return ", ".join(f"{name} {outcomes.count(name)}" for name in sorted(set(outcomes)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=20, help="pairs per set")
    options = parser.parse_args()
    for source in SOURCES:
        splits = (read_set(options.data, source, split) for split in ("train", "validation"))
        pairs = list(islice(chain.from_iterable(splits), options.limit))
        dates = [(_raster(p.before), _raster(p.after)) for p in pairs]
        others = [dates[(i + max(1, len(dates) // 2)) % len(dates)][1] for i in range(len(dates))]
        own = [_significance(a, b) for a, b in dates]
        foreign = [_significance(a, c) for (a, _), c in zip(dates, others, strict=True)]
        print(f"{source}: {len(dates)} pairs")
        for name, values in (("same place", own), ("unrelated", foreign)):
            low, median, high = np.percentile(values, (0, 50, 100))
            print(f"  significance, {name:10s}  min {low:6.1f}  median {median:6.1f}  max {high:6.1f}")
        print("  register, same place:", _counts([_accepted(a, b) for a, b in dates]))
        print("  register, unrelated: ", _counts([_accepted(a, c) for (a, _), c in zip(dates, others, strict=True)]))
        print("  register, moved:     ", _counts([_accepted(a, _moved(b)) for a, b in dates]))


if __name__ == "__main__":
    main()
