"""Labelled sets in miniature, in the folder layouts of the real ones: a few small tiles of bright blocks on soil."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.recipe import Recipe

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

LEVIR_TRAIN = ("test_1", "test_2", "test_9", "test_15", "test_18")
LEVIR_VALIDATION = ("test_10", "test_14", "test_17")
NODATA = 16
"""Width of the black border on the left of the first training tile of `xbd_mexico`, after; whole JPEG blocks."""


def blocks(rng: np.random.Generator, size: int, count: int) -> Mask:
    """Rectangles of 12 to 24 pixels a side, clear of the border."""
    mask = np.zeros((size, size), dtype=bool)
    for _ in range(count):
        h, w = (int(v) for v in rng.integers(12, 25, 2))
        top, left = int(rng.integers(4, size - h - 4)), int(rng.integers(4, size - w - 4))
        mask[top : top + h, left : left + w] = True
    return mask


def picture(rng: np.random.Generator, structures: Mask) -> Pixels:
    """Bright roofs where there are structures, brownish soil elsewhere, both with some grain."""
    soil, roof = np.array([105, 95, 70]), np.array([205, 200, 210])
    colours = np.where(structures[..., None], roof, soil)
    return np.clip(colours + rng.normal(0, 8, colours.shape), 20, 255).astype(np.uint8)


def _save_image(pixels: Pixels, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95, subsampling=0)


def _save_mask(mask: Mask, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)


def write_levir(folder: Path, size: int = 96) -> None:
    """Growth only: every tile gains two blocks beside those that stood before."""
    for i, name in enumerate((*LEVIR_TRAIN, *LEVIR_VALIDATION)):
        rng = np.random.default_rng(i)
        stood = blocks(rng, size, 2)
        grown = blocks(rng, size, 2) & ~stood
        _save_image(picture(rng, stood), folder / "before" / f"{name}.jpg")
        _save_image(picture(rng, stood | grown), folder / "after" / f"{name}.jpg")
        _save_mask(grown, folder / "changed" / f"{name}.png")


def write_structure_pairs(folder: Path, names: list[str], size: int = 96, *, border: str = "") -> None:
    """Nothing changes, but roofs lean: the later mask is the earlier one moved by two pixels."""
    for i, name in enumerate(names):
        rng = np.random.default_rng(100 + i)
        before = blocks(rng, size, 3)
        after = np.roll(before, 2, axis=1)
        images = {"before": picture(rng, before), "after": picture(rng, after)}
        if name == border:
            images["after"][:, :NODATA] = 0
        for date, mask in (("before", before), ("after", after)):
            _save_image(images[date], folder / date / f"{name}.jpg")
            _save_mask(mask, folder / f"structures_{date}" / f"{name}.png")


def write_single_dates(folder: Path, names: list[str], size: int = 96) -> None:
    for i, name in enumerate(names):
        rng = np.random.default_rng(200 + i)
        mask = blocks(rng, size, 3)
        _save_image(picture(rng, mask), folder / "image" / f"{name}.jpg")
        _save_mask(mask, folder / "structures" / f"{name}.png")


def write_sets(root: Path) -> Path:
    """Every set that `datasets.labelled` knows; except for `levir_cd` the first name and every fifth after it
    are for validation."""
    write_levir(root / "levir_cd")
    mexico = [f"mexico-earthquake_{i:08d}" for i in range(6)]
    write_structure_pairs(root / "xbd_mexico", mexico, border=mexico[1])
    write_structure_pairs(root / "xbd_other", ["guatemala-volcano_00000003", "hurricane-harvey_00000001"], 128)
    write_structure_pairs(root / "ida", ["AOI1", "AOI2"])
    write_single_dates(root / "banepa", ["tile_00", "tile_01", "tile_02"])
    write_single_dates(root / "dubai_coarse", ["t1_part_1", "t1_part_2"])
    return root


def recipe(**values: object) -> Recipe:
    """A run small enough for a test."""
    defaults: dict[str, object] = {
        "name": "miniature", "sources": {"levir_cd": 0.6, "xbd_mexico": 0.2, "banepa": 0.2},
        "mix": {"real": 0.5, "composite": 0.2, "unrelated": 0.2, "same": 0.1},
        "steps": 4, "batch": 2, "crop": 64, "widths": (8, 8, 8), "frozen_stages": 3, "warmup": 0.25,
    }  # fmt: skip
    return Recipe(**{**defaults, **values})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Released:
    """A run of two steps and what was released of it."""

    run: Path
    onnx: Path
    manifest: Path


def release_run(sets: Path, folder: Path) -> Released:
    import torch

    from service.release import release
    from training.loop import CHECKPOINT, train

    train(recipe(steps=2), sets, folder / "run")
    # After two steps the average hardly tells pixels apart; louder heads make agreement and symmetry mean something.
    state = torch.load(folder / "run" / CHECKPOINT, weights_only=True)
    for head in ("structure_head", "change_head"):
        state["average"][f"module.{head}.logits.weight"] *= 50
    torch.save(state, folder / "run" / CHECKPOINT)
    manifest = release(folder / "run", sets, "0.0-test", folder / "weights")
    return Released(folder / "run", folder / "weights" / "overhead.onnx", manifest)
