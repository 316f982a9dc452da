"""How often the gate takes photographs for photographs of a screen, and how often it sees a simulated screen.

python -m tests.benchmarks.screens --data DATA [--each 250] [--screens 20]
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import cv2
import numpy as np

from inference.photo_checks import MAX_MOIRE, moire
from tests.screens import on_screen

SETS = ("ground_camvid", "ground_facade", "ground_labelmefacade")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--each", type=int, default=250)
    parser.add_argument("--screens", type=int, default=20)
    options = parser.parse_args()
    dice, rng = random.Random(5), np.random.default_rng(5)
    for name in SETS:
        paths = sorted((options.data / name / "image").iterdir())
        dice.shuffle(paths)
        pictures = [np.ascontiguousarray(cv2.imread(str(p))[..., ::-1]) for p in paths[: options.each]]
        taken = np.array([moire(p) for p in pictures])
        shown = np.array([moire(on_screen(p, rng)) for p in pictures[: options.screens]])
        print(f"{name:22} refused {(taken > MAX_MOIRE).sum()} of {len(taken)}, highest {taken.max():.2f};", end=" ")
        print(f"screens seen {(shown > MAX_MOIRE).sum()} of {len(shown)}")


if __name__ == "__main__":
    main()
