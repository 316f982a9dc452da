"""Release and measure weights: the one place where training and inference meet.

Figures are those of the shipped path, ONNX Runtime and tiling included, not of the training code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.labelled import SOURCES
from inference.model import Model
from inference.tiling import predict_tiled
from model import OUTPUTS
from training.evaluate import (
    Predict,
    area_error_px,
    best_peak,
    best_threshold,
    predict_validation,
    reliability,
    rescaled,
    table,
    temperature,
)

GSD_RANGE_M = (0.25, 1.2)
"""Ground resolution of the training imagery, its resampling included."""


def _predictor(model: Model) -> Predict:
    def predict(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        return predict_tiled(model.probabilities, before, after, multiple_of=model.contract.multiple_of)

    return predict


def _sources(data: Path) -> list[str]:
    return [s for s in SOURCES if (data / s).is_dir() and s != "dubai_coarse"]  # its labels are coarse


def measure(model: Model, data: Path) -> dict[str, dict[str, float | None]]:
    """Figures of released weights on every validation split below `data`, told forwards and backwards."""
    rows: dict[str, dict[str, float | None]] = {}
    for suffix, swap in (("", False), (" (swapped)", True)):
        predictions = predict_validation(data, _sources(data), _predictor(model), swap=swap)
        scores = table(predictions, model.contract.threshold, model.contract.change_peak)
        rows |= {name + suffix: s.as_dict() for name, s in scores.items()}
    return rows


def release(run: Path, data: Path, version: str, folder: Path) -> Path:
    """Export the averaged weights of a run, calibrate them on the validation splits and write the manifest.

    Returns:
        Path of the manifest; the ONNX file lies beside it.
    """
    from training.export import export_onnx, write_manifest
    from training.loop import CHECKPOINT, load_averaged, strip

    net, recipe = load_averaged(run / CHECKPOINT)
    folder.mkdir(parents=True, exist_ok=True)
    onnx, manifest = folder / f"{recipe.domain}.onnx", folder / f"{recipe.domain}.json"
    facts: dict[str, Any] = {
        "name": f"jingdi-{recipe.domain}", "version": version, "domain": recipe.domain,
        "sha256": export_onnx(net, onnx), "gsd_range": GSD_RANGE_M,
    }  # fmt: skip
    strip(run / CHECKPOINT, onnx.with_suffix(".pt"))
    plain = dict.fromkeys(OUTPUTS, 1.0)
    half = dict.fromkeys(OUTPUTS, 0.5)
    write_manifest(manifest, **facts, threshold=half, temperature=plain, change_peak=0.5, area_error_px=1.0)
    raw = predict_validation(data, _sources(data), _predictor(Model(onnx, manifest)))
    temperatures = {output: temperature(raw, output) for output in OUTPUTS}
    # Both dates are read by one head: they get one temperature and one threshold, or symmetry would be lost.
    temperatures["structure_after"] = temperatures["structure_before"]
    calibrated = rescaled(raw, temperatures)
    thresholds = {output: best_threshold(calibrated, output) for output in OUTPUTS}
    thresholds["structure_after"] = thresholds["structure_before"]
    facts |= {
        "threshold": thresholds, "temperature": temperatures,
        "change_peak": best_peak(calibrated, thresholds["change"]),
        "area_error_px": area_error_px(calibrated, thresholds["change"]),
        "calibration_error": {o: round(reliability(calibrated, o).expected_calibration_error, 4) for o in OUTPUTS},
        "recipe": recipe.as_dict(),
    }  # fmt: skip
    write_manifest(manifest, **facts)
    write_manifest(manifest, **facts, metrics=measure(Model(onnx, manifest), data))
    return manifest
