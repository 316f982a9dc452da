"""How often looks tell photographs from overhead imagery: fits the rule of inference.domain on one half of the sets.

    python -m tests.benchmarks.kinds --data DATA [--each 110]

Prints the share that the released rule has right of the half held back, set by set, and that of a rule fitted without
the set. Overhead pictures are turned by random quarter turns: they have no up.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.domain import _BIAS, _WEIGHTS, SURE, features

PHOTOS = ("ground_camvid/image", "ground_facade/image", "ground_labelmefacade/image")
OVERHEAD = (
    "levir_cd/before", "levir_cd/after", "xbd_mexico/before", "xbd_other/after", "ida/before", "banepa/image",
    "dubai_coarse/image",
)  # fmt: skip
RIDGE = 3.0

Values = NDArray[np.float64]


def measure(data: Path, each: int) -> tuple[Values, NDArray[np.bool_], NDArray[np.str_]]:
    """(N, 30) figures, (N,) whether a photograph, (N,) of which set."""
    dice, found, photographs, sets = random.Random(1), [], [], []
    for folder in (*PHOTOS, *OVERHEAD):
        paths = sorted((data / folder).iterdir())
        dice.shuffle(paths)
        for path in paths[:each]:
            pixels = cv2.imread(str(path))[..., ::-1]
            turns = [0] if folder in PHOTOS else dice.sample(range(4), 2)
            for turn in turns:
                found.append(features(np.ascontiguousarray(np.rot90(pixels, turn))))
                photographs.append(folder in PHOTOS)
                sets.append(folder)
    return np.array(found), np.array(photographs), np.array(sets)


def fit(x: Values, y: NDArray[np.bool_]) -> tuple[Values, float]:
    """Weights and bias of logistic regression with a ridge on standardised figures, both kinds weighing the same."""
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
    z = np.c_[(x - mean) / spread, np.ones(len(x))]
    ridge = RIDGE * np.diag([*np.ones(x.shape[1]), 1e-3])
    weight = np.where(y, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    b = np.zeros(z.shape[1])
    for _ in range(25):  # Newton
        p = 1 / (1 + np.exp(-z @ b))
        b -= np.linalg.solve((z * (weight * p * (1 - p))[:, None]).T @ z + ridge, z.T @ (weight * (p - y)) + ridge @ b)
    return b[:-1] / spread, float(b[-1] - (b[:-1] * mean / spread).sum())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--each", type=int, default=110)
    options = parser.parse_args()
    x, y, sets = measure(options.data, options.each)
    fitted = np.random.default_rng(0).random(len(y)) < 0.5
    scores = x @ _WEIGHTS + _BIAS
    right, held = (scores > 0) == y, ~fitted
    sure = abs(scores) > SURE
    print(f"held back: {right[held].mean():.3f} of {held.sum()}; wrong and sure {(~right & held & sure).sum()}")
    for name in np.unique(sets):
        of_set, others = sets == name, sets != name
        weights, bias = fit(x[others], y[others])
        without = ((x[of_set] @ weights + bias > 0) == y[of_set]).mean()
        print(f"{name:28} {right[held & of_set].mean():.3f}   fitted without it {without:.3f}")
    weights, bias = fit(x[fitted], y[fitted])
    print("weights", np.round(weights, 2).tolist(), "bias", round(bias, 2))


if __name__ == "__main__":
    main()
