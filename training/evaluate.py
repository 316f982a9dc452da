"""Evaluate and calibrate on the validation splits, through whatever predicts: a checkpoint or released weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.labelled import IGNORE, LabelledPair, read_set
from model import DATES, OUTPUTS
from model.decision import RIM_PX, hysteresis
from training.metrics import Reliability, Scores, score

QUIET, BORNE = 0.75, 3.0
"""False changes per km2 that are borne in sets in which nothing changed, and in those with changes to find."""
AS_GOOD = 0.002
"""Pixel F1 by which outlines do not differ."""
PEAK = 0.9
MEANS = (0.6, 0.65, 0.7, 0.74, 0.78, 0.8, 0.82, 0.84, 0.86, 0.88, 0.9, 0.92)


Predict = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]
"""(H, W, 3) uint8 before and after -> (3, H, W) float32 probabilities in the order of `OUTPUTS`, or 5 with clouds."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A validation pair with what was predicted for it, (3, H, W) float32, or 5 with clouds of both dates."""

    pair: LabelledPair
    probabilities: NDArray[np.float32]

    def truth(self, output: str) -> NDArray[np.uint8]:
        labels: NDArray[np.uint8] = getattr(self.pair, output)
        return labels


def swapped(pair: LabelledPair) -> LabelledPair:
    """The same pair told backwards."""
    return replace(
        pair,
        before=pair.after,
        after=pair.before,
        structure_before=pair.structure_after,
        structure_after=pair.structure_before,
    )


def predict_validation(
    root: Path,
    sources: Iterable[str],
    predict: Predict,
    *,
    swap: bool = False,
    on_pair: Callable[[str], None] = lambda name: None,
) -> list[Prediction]:
    """Run `predict` over the validation splits of `sources`."""
    predictions = []
    for source in sources:
        for pair in read_set(root, source, "validation"):
            turned = swapped(pair) if swap else pair
            predictions.append(Prediction(turned, predict(turned.before, turned.after)))
            on_pair(f"{source}/{pair.name}")
    return predictions


def table(
    predictions: Sequence[Prediction],
    threshold: dict[str, float],
    change_peak: float = 0.0,
    change_mean: float = 0.0,
    change_rim: int = 0,
) -> dict[str, Scores]:
    """Scores by `set/output`, for every output of which the set has labels of both classes or, for change,
    any labels at all (a set in which nothing changed tells false alarms).

    `change_peak` and `change_mean` are what a changed patch must reach somewhere, and on average within its rim, to
    count (model.decision).
    """
    rows: dict[str, Scores] = {}
    for prediction, output in _measured(predictions, OUTPUTS):
        least = (change_peak, change_mean, change_rim) if output == "change" else (0.0, 0.0, 0)
        mask = hysteresis(prediction.probabilities[OUTPUTS.index(output)], threshold[output], *least)
        key = f"{prediction.pair.source}/{output}"
        rows[key] = rows.get(key, Scores()) + score(mask, prediction.truth(output), prediction.pair.gsd)
    return rows


def _measurable(truth: NDArray[np.uint8], output: str) -> bool:
    """False for structures of which it is not told where they end, or, where none is labelled, for most of a scene:
    precision cannot be measured on them. Change is always told."""
    if output == "change":
        return True
    stands = (truth == 1).astype(np.uint8)
    if not stands.any():
        return float((truth == IGNORE).mean()) < 0.5
    beside = (cv2.dilate(stands, np.ones((5, 5), np.uint8)) > 0) & (stands == 0)
    return bool(beside.any()) and float((truth[beside] == 0).mean()) >= 0.5


def _measured(predictions: Sequence[Prediction], outputs: Sequence[str]) -> Iterator[tuple[Prediction, str]]:
    """Every prediction with each of the outputs that can be measured on it."""
    for prediction in predictions:
        for output in outputs:
            if _measurable(prediction.truth(output), output):
                yield prediction, output


def temperature(predictions: Sequence[Prediction], *outputs: str) -> float:
    """Divisor of the logits that minimises the negative log-likelihood (Guo et al., ICML 2017) of all `outputs`.

    `predictions` must have been made with a temperature of 1. Where none is labelled, it stays 1.
    """
    logits, labels = [], []
    for prediction, output in _measured(predictions, outputs):
        truth, index = prediction.truth(output), OUTPUTS.index(output)
        known = truth != IGNORE
        known[1::2] = known[:, 1::2] = False  # a quarter of the pixels is plenty
        p = np.clip(prediction.probabilities[index][known].astype(np.float64), 1e-9, 1 - 1e-9)
        logits.append(np.log(p) - np.log1p(-p))
        labels.append(truth[known] == 1)
    if not logits:
        return 1.0
    z, y = np.concatenate(logits), np.concatenate(labels)
    candidates = np.geomspace(0.5, 4.0, 43)
    losses = [float(np.logaddexp(0, np.where(y, -z, z) / t).mean()) for t in candidates]
    return round(float(candidates[int(np.argmin(losses))]), 3)


def rescaled(predictions: Sequence[Prediction], temperatures: dict[str, float]) -> list[Prediction]:
    """The same predictions as they come out with these temperatures."""
    divisors = np.array([temperatures[o] for o in OUTPUTS], dtype=np.float32)[:, None, None]
    result = []
    for prediction in predictions:
        p, clouds = np.split(prediction.probabilities, [len(OUTPUTS)])
        p = np.clip(p, 1e-7, 1 - 1e-7)
        logits = (np.log(p) - np.log1p(-p)) / divisors
        calm = (1 / (1 + np.exp(-logits))).astype(np.float32)
        result.append(Prediction(prediction.pair, np.concatenate([calm, clouds])))
    return result


@dataclass(frozen=True, slots=True)
class Calibration:
    """How the output of a network is read; each field as in the manifest (training.export.write_manifest)."""

    temperature: dict[str, float]
    threshold: dict[str, float]
    change_peak: float
    change_mean: float
    change_rim: int = RIM_PX

    @property
    def decision(self) -> tuple[dict[str, float], float, float, int]:
        """What `table` takes besides predictions."""
        return self.threshold, self.change_peak, self.change_mean, self.change_rim


def calibrate(raw: Sequence[Prediction]) -> Calibration:
    """Temperatures, thresholds and the decision on change, chosen on predictions made with a temperature of 1.

    Both dates are read by one head: they get one temperature and one threshold, or symmetry would be lost.
    """
    temperatures = {**dict.fromkeys(DATES, temperature(raw, *DATES)), "change": temperature(raw, "change")}
    calibrated = rescaled(raw, temperatures)
    structure, (change, peak, mean) = best_threshold(calibrated, *DATES), best_decision(calibrated)
    return Calibration(temperatures, dict(zip(OUTPUTS, (structure, structure, change), strict=True)), peak, mean)


def best_threshold(predictions: Sequence[Prediction], *outputs: str) -> float:
    """Probability from which a pixel counts: the one with the highest pixel F1 over all `outputs`, of several as good
    ones the strictest."""
    f1 = _f1_by_threshold(predictions, *outputs)
    return max(threshold for threshold in f1 if f1[threshold] >= max(f1.values()) - AS_GOOD)


def _telling(predictions: Sequence[Prediction], *outputs: str) -> set[str]:
    """The sets that have something to find."""
    return {p.pair.source for p in predictions for output in outputs if (p.truth(output) == 1).any()}


def _f1_by_threshold(predictions: Sequence[Prediction], *outputs: str) -> dict[float, float]:
    """Pixel F1 over the sets that have something to find; of 0.5 alone where none has.

    Sets without are left out because no outline can be right in them. They speak through `best_decision`'s choice.
    """
    telling = _telling(predictions, *outputs)
    candidates = np.round(np.arange(0.2, 0.81, 0.05), 2)
    totals = {float(t): Scores() for t in candidates}
    for prediction, output in _measured([p for p in predictions if p.pair.source in telling], outputs):
        probability = prediction.probabilities[OUTPUTS.index(output)]
        for t in totals:
            totals[t] += score(probability >= t, prediction.truth(output), prediction.pair.gsd)
    if not any(s.tp + s.fn for s in totals.values()):
        return {0.5: 0.0}
    return {t: scores.f1 for t, scores in totals.items()}


def best_decision(predictions: Sequence[Prediction]) -> tuple[float, float, float]:
    """Threshold, peak and mean of change within its rim (model.decision) that find most objects while no more than
    `QUIET` and `BORNE` is false; of several the strictest, then the best outlines.

    Where no set has a change to miss, it is the least strict that is quiet: the quietest of all would find nothing. The
    strictest of all where none is.

    The three are chosen together, because a patch's mean depends on where it ends. Only thresholds that draw outlines
    as well as the best are taken.
    """
    f1, sets = _f1_by_threshold(predictions, "change"), _telling(predictions, "change")
    telling = [p for p in predictions if p.pair.source in sets]
    others = [p for p in predictions if p.pair.source not in sets]
    decisions = [
        (threshold, peak, mean)
        for threshold in f1
        if f1[threshold] >= max(f1.values()) - AS_GOOD
        for peak in {threshold, max(threshold, PEAK)}
        for mean in (0.0, *MEANS)
    ]
    found = {d: _change_scores(telling, *d) for d in decisions}
    quiet = [
        d
        for d in decisions
        if (not telling or found[d].false_objects_per_km2 <= BORNE)
        and (not others or _change_scores(others, *d).false_objects_per_km2 <= QUIET)
    ]
    if not quiet or not predictions:
        return max(decisions)
    if not telling:
        return min(quiet)
    return max(quiet, key=lambda d: (found[d].found, d[1], d[2], found[d].f1))


def _change_scores(predictions: Sequence[Prediction], threshold: float, peak: float, mean: float) -> Scores:
    total = Scores()
    for prediction in predictions:
        mask = hysteresis(prediction.probabilities[2], threshold, peak, mean, RIM_PX)
        total += score(mask, prediction.truth("change"), prediction.pair.gsd)
    return total


def reliability(predictions: Sequence[Prediction], output: str) -> Reliability:
    index, result = OUTPUTS.index(output), Reliability()
    for prediction, _ in _measured(predictions, [output]):
        result.add(prediction.probabilities[index], prediction.truth(output))
    return result
