"""Release weights for photographs: calibration, figures and card, measured through ONNX Runtime as in use."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from datasets.labelled import IGNORE, LabelledPair
from datasets.photographs import CLASSES, SOURCES, STRUCTURE
from inference.model import Model
from model import OUTPUTS
from training.card import write_card
from training.evaluate import Prediction, calibrate, reliability, rescaled, table
from training.evaluate_photographs import Predict, class_table, synthetic_pairs
from training.outcomes import UNKNOWN_ERROR_PX
from training.photographs import LONG_SIDE
from training.recipe import Recipe

if TYPE_CHECKING:
    from model.network import ChangeNet

PAIRS = 160
"""Pairs made of validation pictures on which change is calibrated and measured, in two halves."""


def _predictor(model: Model) -> Predict:
    def predict(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        a, b = (np.ascontiguousarray(x.transpose(2, 0, 1))[None] for x in (before, after))
        probabilities, classes = model.classes(a, b)
        return probabilities[0], classes[0]

    return predict


def made_predictions(recipe: Recipe, data: Path, predict: Predict, count: int) -> list[Prediction]:
    """What is predicted for pairs made of validation pictures (training.photographs), as for labelled ones."""
    predictions = []
    for i, (before, after, labels) in enumerate(synthetic_pairs(recipe, data, count)):
        structures = [np.where(x == IGNORE, IGNORE, x == STRUCTURE).astype(np.uint8) for x in labels[:2]]
        images = [np.ascontiguousarray(x.transpose(1, 2, 0)) for x in (before, after)]
        pair = LabelledPair("made", str(i), images[0], images[1], structures[0], structures[1], labels[2], gsd=1.0)
        predictions.append(Prediction(pair, predict(images[0], images[1])[0]))
    return predictions


def release_photographs(run: Path, net: ChangeNet, recipe: Recipe, data: Path, version: str, folder: Path) -> Path:
    """Export, calibrate on half of the made pairs, measure on the other half and on the sets; manifest and card.

    Returns:
        Path of the manifest.
    """
    from training.export import export_onnx, write_manifest
    from training.loop import CHECKPOINT, strip

    folder.mkdir(parents=True, exist_ok=True)
    onnx, manifest = folder / f"{recipe.domain}.onnx", folder / f"{recipe.domain}.json"
    facts: dict[str, Any] = {
        "name": f"jingdi-{recipe.domain}", "version": version, "domain": recipe.domain,
        "sha256": export_onnx(net, onnx), "gsd_range": None, "long_side": LONG_SIDE, "classes": CLASSES,
        "area_error_px": UNKNOWN_ERROR_PX,
    }  # fmt: skip
    strip(run / CHECKPOINT, onnx.with_suffix(".pt"))
    plain, half = dict.fromkeys(OUTPUTS, 1.0), dict.fromkeys(OUTPUTS, 0.5)
    write_manifest(manifest, **facts, threshold=half, temperature=plain, change_peak=0.5, change_mean=0.0)
    predict = _predictor(Model(onnx, manifest))
    raw = made_predictions(replace(recipe, seed=recipe.seed + 1), data, predict, PAIRS)
    calibration = calibrate(raw[::2])
    measured = rescaled(raw[1::2], calibration.temperature)
    diagrams = {output: reliability(measured, output) for output in OUTPUTS}
    sources = [s for s in SOURCES if (data / s).is_dir()]
    facts |= {
        **asdict(calibration), "recipe": recipe.as_dict(),
        "calibration_error": {o: round(d.expected_calibration_error, 4) for o, d in diagrams.items()},
        "reliability": {o: d.as_dict() for o, d in diagrams.items()},
        "classes_iou": class_table(data, sources, predict),
        "metrics": {name: s.as_dict() for name, s in table(measured, *calibration.decision).items()},
    }  # fmt: skip
    write_manifest(manifest, **facts)
    write_card(manifest)
    return manifest
