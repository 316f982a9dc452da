"""Release and measure weights: the one place where training and inference meet.

Figures are those of the shipped path, ONNX Runtime and tiling included, not of the training code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.labelled import IGNORE, SOURCES
from inference.clouds import hidden
from inference.findings import Layers
from inference.model import Contract, Model
from inference.tiling import predict_tiled
from inference.vectorise import classify
from model import OUTPUTS
from training.card import write_card
from training.evaluate import Predict, Prediction, calibrate, predict_validation, reliability, rescaled, table
from training.label_filling import fill as fill_labels
from training.label_registration import label_offsets
from training.outcomes import (
    UNKNOWN_ERROR_PX,
    Outcome,
    area_coverage,
    area_error_px,
    finding_reliability,
    held_out,
    outcomes,
    platt,
)
from training.robustness import predict_shifted

GSD_RANGE_M = (0.25, 1.2)
"""Ground resolution of the training imagery, its resampling included."""

SHIFT_PX = 4
"""By how much one date is displaced to measure what misalignment costs; registration leaves no more."""

FITTED_MEAN = 0.6
"""From this mean on patches tell how sure to be of one: of what a strict decision lets through hardly any is wrong."""

CLOUD = 0.5
"""Probability of cloud from which the ground counts as hidden."""


def _predictor(model: Model) -> Predict:
    def predict(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        return predict_tiled(model.probabilities, before, after, multiple_of=model.contract.multiple_of)

    return predict


def _shown(predictions: Iterable[Prediction], cloud: float | None) -> list[Prediction]:
    """What is shown of them in use: nothing where a cloud hides the ground."""
    shown = []
    for prediction in predictions:
        probabilities = prediction.probabilities[: len(OUTPUTS)]
        if cloud is not None:
            probabilities = probabilities * ~hidden(prediction.probabilities[len(OUTPUTS) :], cloud).any(axis=0)
        shown.append(Prediction(prediction.pair, probabilities))
    return shown


def _sources(data: Path) -> list[str]:
    return [s for s in SOURCES if (data / s).is_dir() and s != "dubai_coarse"]  # its labels are coarse


def register(data: Path) -> dict[str, dict[str, dict[str, tuple[int, int]]]]:
    """Offsets of the labels of training pictures, by the released weights (training.label_registration)."""
    model = Model.load()
    return label_offsets(data, _sources(data), _predictor(model), model.contract.threshold)


def fill(data: Path, folder: Path) -> list[str]:
    """Write structures that sets do not label, as the released weights see them (training.label_filling)."""
    return fill_labels(data, _sources(data), _predictor(Model.load()), folder)


def measure(model: Model, data: Path, *, shift_px: int = 0) -> dict[str, dict[str, float | None]]:
    """Figures of released weights on every validation split below `data`, told forwards and backwards.

    With `shift_px`, those of change alone, forwards, with the earlier date moved by so much (training.robustness).
    What a cloud hides counts as not found.
    """
    rows: dict[str, dict[str, float | None]] = {}
    contract, predict = model.contract, _predictor(model)
    if shift_px:
        moved = _shown(predict_shifted(data, _sources(data), predict, shift_px), contract.cloud)
        scores = table(moved, contract.threshold, *contract.change_least)
        return {name: s.as_dict() for name, s in scores.items() if name.endswith("/change")}
    for suffix, swap in (("", False), (" (swapped)", True)):
        predictions = _shown(predict_validation(data, _sources(data), predict, swap=swap), contract.cloud)
        scores = table(predictions, contract.threshold, *contract.change_least)
        rows |= {name + suffix: s.as_dict() for name, s in scores.items()}
    return rows


def finding_outcomes(predictions: Sequence[Prediction], contract: Contract) -> dict[str, list[Outcome]]:
    """The findings that would be reported for each pair, with what the labels say: of `change` and of `remaining`."""
    found: dict[str, list[Outcome]] = {"change": [], "remaining": []}
    for prediction in predictions:
        pair, layers = prediction.pair, Layers(*prediction.probabilities)
        scene = f"{pair.source}/{pair.name}"
        masks = classify(layers, np.ones(pair.change.shape, dtype=np.bool_), contract)
        for mask in (masks.new, masks.removed):
            found["change"] += outcomes(scene, mask, layers.change, pair.change, contract.change_rim)
        standing = np.minimum(pair.structure_before, pair.structure_after)  # what is bare at one date does not remain
        unknown = (standing == 1) & ((pair.structure_before == IGNORE) | (pair.structure_after == IGNORE))
        least = np.minimum(layers.structure_before, layers.structure_after)
        told = np.where(unknown, IGNORE, standing)
        found["remaining"] += outcomes(scene, masks.remaining, least, told, contract.change_rim)
    return found


def release(run: Path, data: Path, version: str, folder: Path) -> Path:
    """Export the averaged weights of a run, calibrate them on the validation splits, write manifest and model card.

    Returns:
        Path of the manifest; the ONNX file and the card lie beside it.
    """
    from training.export import export_onnx, write_manifest
    from training.loop import CHECKPOINT, load_averaged, strip

    net, recipe = load_averaged(run / CHECKPOINT)
    if recipe.domain == "ground":
        from service.release_photographs import release_photographs  # it needs torch

        return release_photographs(run, net, recipe, data, version, folder)
    folder.mkdir(parents=True, exist_ok=True)
    onnx, manifest = folder / f"{recipe.domain}.onnx", folder / f"{recipe.domain}.json"
    facts: dict[str, Any] = {
        "name": f"jingdi-{recipe.domain}", "version": version, "domain": recipe.domain,
        "sha256": export_onnx(net, onnx), "gsd_range": GSD_RANGE_M, "cloud": None if net.cloud_head is None else CLOUD,
    }  # fmt: skip
    strip(run / CHECKPOINT, onnx.with_suffix(".pt"))
    plain = dict.fromkeys(OUTPUTS, 1.0)
    half = dict.fromkeys(OUTPUTS, 0.5)
    unknown = UNKNOWN_ERROR_PX
    write_manifest(
        manifest, **facts, threshold=half, temperature=plain, change_peak=0.5, change_mean=0.0, area_error_px=unknown
    )
    raw = predict_validation(data, _sources(data), _predictor(Model(onnx, manifest)))
    calibration = calibrate(raw)
    calibrated = rescaled(raw, calibration.temperature)
    facts |= {**asdict(calibration), "recipe": recipe.as_dict()}
    write_manifest(manifest, **facts, area_error_px=unknown)
    model = Model(onnx, manifest)
    shown = _shown(calibrated, model.contract.cloud)
    found = finding_outcomes(shown, model.contract)
    lenient = replace(model.contract, change_mean=min(model.contract.change_mean, FITTED_MEAN))
    fitted = {**found, "change": finding_outcomes(shown, lenient)["change"]}
    diagrams = {output: reliability(calibrated, output) for output in OUTPUTS}
    # Each scene by what was fitted on the others: the same findings would flatter themselves.
    diagrams |= {f"findings: {kind}": finding_reliability(held_out(f, fitted[kind])) for kind, f in found.items()}
    facts |= {
        "findings": {kind: platt(f) for kind, f in fitted.items()},
        "area_error_px": area_error_px(found["change"]), "area_coverage": area_coverage(found["change"]),
        "calibration_error": {o: round(diagrams[o].expected_calibration_error, 4) for o in OUTPUTS},
        "reliability": {name: diagram.as_dict() for name, diagram in diagrams.items()},
        "metrics": measure(model, data),
        "shift": {"px": SHIFT_PX, "metrics": measure(model, data, shift_px=SHIFT_PX)},
    }  # fmt: skip
    write_manifest(manifest, **facts)
    write_card(manifest, run)
    return manifest
