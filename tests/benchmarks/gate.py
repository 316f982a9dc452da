"""How well the gate tells pairs that nobody could judge from ordinary ones.

    python -m tests.benchmarks.gate --data DATA

Crops of 512 px of validation pairs are spoilt in ways that leave nothing to judge by (hopeless), or as pictures
differ on any other day (good), always the later date. Printed per kind: the share that was refused, with the
reasons given; then the totals. No model runs: the gate speaks before it.

With `--json FILE` the figures are written for the model card as well (training.card).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.labelled import read_set
from datasets.raster import Raster
from inference.assess import comparable
from inference.model import Model

SOURCES = {"levir_cd": 12, "xbd_mexico": 19, "xbd_other": 6, "ida": 2}
"""Sets with two dates, and how many crops of their validation pairs are taken."""
SIDE = 512
NOT_GOOD = ("guatemala-volcano_00000001/0,0", "guatemala-volcano_00000010/0,0", "guatemala-volcano_00000010/512,512")
"""Crops that nobody could judge as they were taken: under cloud, or buried whole. Looked at one by one."""

Pixels = NDArray[np.uint8]
Spoil = Callable[[Raster, np.random.Generator], Raster]


def _clipped(values: NDArray[np.floating]) -> Pixels:
    return np.clip(values.round(), 0, 255).astype(np.uint8)


def _on_pixels(change: Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.floating]]) -> Spoil:
    """Spoil what was seen and leave nodata black."""

    def spoil(raster: Raster, rng: np.random.Generator) -> Raster:
        pixels = _clipped(change(raster.pixels.astype(np.float32), rng))
        return replace(raster, pixels=pixels * raster.valid[..., None])

    return spoil


def _blur(sigma: float) -> Spoil:
    return _on_pixels(lambda x, rng: np.asarray(cv2.GaussianBlur(x, (0, 0), sigma)))


def _motion(length: int) -> Spoil:
    def change(x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.floating]:
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), float(rng.uniform(0, 180)), 1.0)
        turned = cv2.warpAffine(kernel, turn, (length, length))
        return np.asarray(cv2.filter2D(x, -1, turned / turned.sum()))

    return _on_pixels(change)


def _haze(cover: float) -> Spoil:
    """Koschmieder's law with air light of (225, 228, 232)."""
    air = np.array([225, 228, 232], np.float32)
    return _on_pixels(lambda x, rng: x * (1 - cover) + air * cover)


def _cloud(share: float, opacity: float) -> Spoil:
    """Soft clouds over this share of the picture, white with a little shading."""

    def change(x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.floating]:
        height = sum(
            weight * cv2.GaussianBlur(rng.normal(size=x.shape[:2]), (0, 0), sigma) * sigma
            for weight, sigma in ((1.0, 60), (0.4, 20), (0.15, 7))
        )
        level = np.quantile(height, 1 - share)
        cover = np.clip((height - level) / (0.15 * height.std()) + 0.5, 0, 1)[..., None] * opacity
        white = 238 + 8 * np.tanh(height / height.std())[..., None]
        return x * (1 - cover) + white * cover

    return _on_pixels(change)


def _light(gain: float, offset: float = 0.0, noise: float = 0.0) -> Spoil:
    return _on_pixels(lambda x, rng: x * gain + offset + rng.normal(0, max(noise, 1e-6), x.shape))


def _jpeg(quality: int) -> Spoil:
    def spoil(raster: Raster, rng: np.random.Generator) -> Raster:
        data = cv2.imencode(".jpg", raster.pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
        return replace(raster, pixels=pixels * raster.valid[..., None])

    return spoil


def _warped(raster: Raster, matrix: NDArray[np.floating]) -> Raster:
    size = (raster.width, raster.height)
    pixels = np.asarray(cv2.warpAffine(raster.pixels, matrix, size, flags=cv2.INTER_CUBIC), dtype=np.uint8)
    valid = cv2.warpAffine(raster.valid.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0
    return replace(raster, pixels=pixels, valid=valid)


def _moved(shift: float, degrees: float) -> Spoil:
    def spoil(raster: Raster, rng: np.random.Generator) -> Raster:
        matrix = cv2.getRotationMatrix2D((raster.width / 2, raster.height / 2), degrees, 1.0)
        angle = rng.uniform(0, 2 * np.pi)
        matrix[:, 2] += shift * np.cos(angle), shift * np.sin(angle)
        return _warped(raster, matrix)

    return spoil


def _sheared(pixels: float) -> Spoil:
    """One half of the picture is displaced against the other, along a soft seam."""

    def spoil(raster: Raster, rng: np.random.Generator) -> Raster:
        x, y = np.meshgrid(np.arange(raster.width, dtype=np.float32), np.arange(raster.height, dtype=np.float32))
        step = np.tanh((x - raster.width / 2) / 20).astype(np.float32) * pixels / 2
        moved = cv2.remap(raster.pixels, x, y + step, cv2.INTER_CUBIC)
        valid = cv2.remap(raster.valid.astype(np.uint8), x, y + step, cv2.INTER_NEAREST) > 0
        return replace(raster, pixels=np.asarray(moved, dtype=np.uint8), valid=valid)

    return spoil


def _rippled(pixels: float) -> Spoil:
    """Every place is displaced by so much, in another direction every 150 px or so: no one transform undoes it."""

    def spoil(raster: Raster, rng: np.random.Generator) -> Raster:
        x, y = np.meshgrid(np.arange(raster.width, dtype=np.float32), np.arange(raster.height, dtype=np.float32))
        dx, dy = (cv2.GaussianBlur(rng.normal(size=x.shape).astype(np.float32), (0, 0), 60) for _ in range(2))
        length = float(np.sqrt((dx**2 + dy**2).mean()))
        x, y = x + dx / length * pixels, y + dy / length * pixels
        moved = cv2.remap(raster.pixels, x, y, cv2.INTER_CUBIC)
        valid = cv2.remap(raster.valid.astype(np.uint8), x, y, cv2.INTER_NEAREST) > 0
        return replace(raster, pixels=np.asarray(moved, dtype=np.uint8), valid=valid)

    return spoil


def _coarser(factor: int, *, gsd_known: bool, enlarged: bool) -> Spoil:
    def spoil(raster: Raster, rng: np.random.Generator) -> Raster:
        size = (raster.width // factor, raster.height // factor)
        pixels = cv2.resize(raster.pixels, size, interpolation=cv2.INTER_AREA)
        valid = cv2.resize(raster.valid.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        if enlarged:
            full = (raster.width, raster.height)
            pixels = cv2.resize(pixels, full, interpolation=cv2.INTER_CUBIC)
            valid = cv2.resize(valid, full, interpolation=cv2.INTER_NEAREST)
        gsd = raster.gsd * factor if gsd_known and raster.gsd else None
        return replace(raster, pixels=np.asarray(pixels, dtype=np.uint8), valid=valid > 0, gsd=gsd)

    return spoil


def _small(side: int) -> Spoil:
    return lambda raster, rng: replace(raster, pixels=raster.pixels[:side, :side], valid=raster.valid[:side, :side])


HOPELESS: dict[str, Spoil] = {
    "blur 3 px": _blur(3),
    "blur 5 px": _blur(5),
    "moved by 15 px while exposed": _motion(15),
    "haze 65 %": _haze(0.65),
    "haze 80 %": _haze(0.8),
    "cloud over 65 %": _cloud(0.65, 1.0),
    "thin cloud over 85 %": _cloud(0.85, 0.8),
    "night, gain 0.1": _light(0.1, 0, 2),
    "night, gain 0.05, lifted": _light(0.05, 30, 6),
    "white-out, gain 3": _light(2.5, 80),
    "low contrast, gain 0.15": _light(0.15, 100),
    "noise 50": _light(1, 0, 50),
    "noise 80": _light(1, 0, 80),
    "JPEG quality 3": _jpeg(3),
    "4 times coarser, GSD stated": _coarser(4, gsd_known=True, enlarged=False),
    "4 times coarser, GSD unknown": _coarser(4, gsd_known=False, enlarged=False),
    "4 times coarser, enlarged": _coarser(4, gsd_known=True, enlarged=True),
    "48 px": _small(48),
    "one half 16 px off": _sheared(16),
    "rippled by 12 px": _rippled(12),
}
OTHER_PLACE, TURNED = "another place", "another place, turned 45 degrees"
GOOD: dict[str, Spoil] = {
    "as taken": lambda raster, rng: raster,
    "blur 0.8 px": _blur(0.8),
    "haze 15 %": _haze(0.15),
    "gain 0.8": _light(0.8),
    "gain 1.2": _light(1.2),
    "noise 6": _light(1, 0, 6),
    "JPEG quality 60": _jpeg(60),
    "shifted by 8 px": _moved(8, 0),
    "turned by 2 degrees": _moved(0, 2),
}


def crops(data: Path) -> list[tuple[str, Raster, Raster]]:
    """Name, earlier and later date of each base pair."""
    result = []
    for source, wanted in SOURCES.items():
        pairs = read_set(data, source, "validation")
        per_pair = -(-wanted // len(pairs))
        taken = 0
        for pair in pairs:
            height, width = pair.change.shape
            places = [(y, x) for y in range(0, height - SIDE + 1, SIDE) for x in range(0, width - SIDE + 1, SIDE)]
            for y, x in (places[0], places[-1])[: min(per_pair, len(places), wanted - taken)]:
                cut = np.s_[y : y + SIDE, x : x + SIDE]
                a, b = (np.ascontiguousarray(p[cut]) for p in (pair.before, pair.after))
                dates = (Raster(p, p.max(axis=2) > 3, gsd=pair.gsd) for p in (a, b))
                taken += 1
                if not (name := f"{source}/{pair.name}/{y},{x}").endswith(NOT_GOOD):
                    result.append((name, *dates))
    return result


def spoilt(pairs: list[tuple[str, Raster, Raster]]) -> Iterator[tuple[bool, str, str, Raster, Raster]]:
    """Whether it is hopeless, the kind, the name, and the two dates."""
    for hopeless, kinds in ((True, HOPELESS), (False, GOOD)):
        for kind, spoil in kinds.items():
            for i, (name, before, after) in enumerate(pairs):
                yield hopeless, kind, name, before, spoil(after, np.random.default_rng(i))
    for kind, degrees in ((OTHER_PLACE, 0), (TURNED, 45)):
        for i, (name, before, _) in enumerate(pairs):
            other = pairs[(i + len(pairs) // 2) % len(pairs)][2]
            elsewhere = _moved(0, degrees)(other, np.random.default_rng(i)) if degrees else other
            yield True, kind, name, before, replace(elsewhere, gsd=before.gsd)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="where to write the figures too")
    parser.add_argument("--every", type=int, default=1, help="take every n-th base pair only")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pairs = crops(options.data)[:: options.every]
    contract = Model.load(threads=1).contract
    kinds: dict[str, dict[str, Any]] = {}
    for hopeless, kind, name, before, after in spoilt(pairs):
        row = kinds.setdefault(kind, {"hopeless": hopeless, "pairs": 0, "refused": 0, "reasons": Counter()})
        _, problems = comparable(before, after, contract)
        row["pairs"] += 1
        row["refused"] += bool(problems)
        row["reasons"].update(problem.code for problem in problems[:1])
        if problems and not hopeless:
            print(f"good, but refused: {name}, {kind}: {problems[0].say('en')}")
    for kind, row in kinds.items():
        reasons = ", ".join(f"{code} {count}" for code, count in row["reasons"].most_common())
        which = "hopeless" if row["hopeless"] else "good"
        print(f"{which:9s} {kind:34s} {row['refused']:3d} of {row['pairs']:3d}   {reasons}")
    totals = {}
    for which, hopeless in (("hopeless", True), ("good", False)):
        rows = [row for row in kinds.values() if row["hopeless"] == hopeless]
        totals[f"{which}_refused"] = sum(r["refused"] for r in rows) / sum(r["pairs"] for r in rows)
        print(f"{which}: {totals[f'{which}_refused']:.1%} refused")
    if options.json:
        options.json.write_text(json.dumps({**totals, "kinds": kinds}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
