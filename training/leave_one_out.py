"""Leave one set out: train without it, measure on it. How far the weights travel, before anyone relies on it.

The runs are short, so the figures say what a set that was never seen *costs*: each stands beside that of a run of the
same recipe and length that saw everything. Neither is the figure of the released weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inference.tiling import predict_tiled
from model.network import STRIDE, ChangeNet
from training.card import LEAVE_ONE_OUT
from training.evaluate import Predict, calibrate, predict_validation, rescaled, table
from training.loop import CHECKPOINT, load_averaged, train
from training.recipe import Recipe

EVERYTHING = "everything"
COARSE = "dubai_coarse"
"""Its labels fill the gaps between houses: good for variety, no measure of anything."""


def families(sources: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Sets by publisher: they leave together, since one event of xBD tells much about the next."""
    groups: dict[str, tuple[str, ...]] = {}
    for source in sources:
        name = source.split("_")[0]
        groups[name] = (*groups.get(name, ()), source)
    return groups


def leave_one_out(
    recipe: Recipe,
    root: Path,
    out: Path,
    *,
    leave: Sequence[str] = (),
    on_step: Callable[[str, int, float], None] = lambda run, step, loss: None,
) -> dict[str, dict[str, Any]]:
    """Train `recipe` with every set and without each family of sets; score both on what was left out.

    Each run resumes where it was interrupted. Temperature, threshold and decision are chosen on the validation splits
    of the sets that the run saw, never on the one it is measured on.

    Args:
        root: folder of the labelled sets.
        out: a folder for each run, and `leave_one_out.json`, which is written anew after each run.
        leave: families to leave out; all of them where none is named.
        on_step: called with the name of the run, step and loss.

    Returns:
        `set/output (seen | never seen)` -> figures as of `Scores.as_dict`.

    Raises:
        ValueError: a family that the recipe does not have, or the only one it has.
    """
    groups = families([s for s in recipe.sources if s != COARSE])
    for name in leave:
        if name not in groups:
            raise ValueError(f"{name!r} is not among the sets of the recipe: {', '.join(groups)}")
    if len(groups) < 2:
        raise ValueError("a recipe with one family of sets has nothing left to train on; name more under [sources]")
    seen: dict[str, dict[str, Any]] = {}
    rows: dict[str, dict[str, Any]] = {}
    for name in (EVERYTHING, *(leave or groups)):
        left = groups.get(name, ())
        kept = {source: weight for source, weight in recipe.sources.items() if source not in left}
        run = out / name
        one = replace(recipe, name=f"{recipe.name}-{name}", sources=kept)

        def step(number: int, loss: float, name: str = name) -> None:
            on_step(name, number, loss)

        train(one, root, run, on_step=step)
        scores = _scores(run, root, list(kept), left or list(recipe.sources))
        if name == EVERYTHING:
            seen = scores
            continue
        for key, row in scores.items():
            rows |= {f"{key} (seen)": seen[key], f"{key} (never seen)": row}
        (out / LEAVE_ONE_OUT).write_text(json.dumps(rows, indent=1), "utf-8")
    return rows


def _scores(run: Path, root: Path, known: Sequence[str], on: Sequence[str]) -> dict[str, dict[str, Any]]:
    predict = _predictor(load_averaged(run / CHECKPOINT)[0])
    raw = predict_validation(root, [source for source in known if source != COARSE], predict)
    calibration = calibrate(raw)
    found = predict_validation(root, [source for source in on if source != COARSE], predict)
    found = rescaled(found, calibration.temperature)
    return {name: scores.as_dict() for name, scores in table(found, *calibration.decision).items()}


def _predictor(net: ChangeNet) -> Predict:
    def probabilities(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits = net(torch.from_numpy(before), torch.from_numpy(after))
        layers: NDArray[np.float32] = torch.cat(tuple(logits)[:3], dim=1).sigmoid().numpy()
        return layers

    def predict(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        return predict_tiled(probabilities, before, after, multiple_of=STRIDE)

    return predict
