"""The one path from two rasters to an assessment: comparable? -> register -> score -> vectorise -> verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.raster import Raster
from inference.clouds import hidden
from inference.findings import Assessment, Finding, Layers, Verdict, VerdictKind
from inference.model import FINEST_SCORED_M, Contract, Model
from inference.pair import Pair
from inference.quality import MIN_SIDE_PX, pair_problems, picture_notes, picture_problems, placement_problems
from inference.reasons import Reason
from inference.registration import NotComparable, register
from inference.tiling import predict_tiled
from inference.vectorise import find

Number = TypeVar("Number", np.uint8, np.float32)

MIN_OBSERVED = 0.25
"""Below this share of the area seen at both dates nothing is judged."""
CLEAR_NEEDS_OBSERVED = 0.95
"""`clear` speaks for the whole area, so nearly all of it must have been seen."""

Progress = Callable[[str, float], None]
"""Called with a stage (`compare`, `register`, `score`, `vectorise`) and the share of the stage done, 0..1."""


def silent(stage: str, share: float) -> None:
    """Report no progress."""


def assess(before: Raster, after: Raster, model: Model, *, progress: Progress = silent) -> Assessment:
    """Compare two dates of one place.

    Always returns; a pair that cannot be compared gets the verdict `not_comparable` with its reasons.
    """
    pair, problems = comparable(before, after, model.contract, progress)
    if pair is None or problems:
        return refused(problems, model, pair)
    given, (pair, layers) = pair, score(pair, model, progress)
    clouds = _clouds(given, pair)
    if float(pair.observed.mean()) < MIN_OBSERVED:
        return refused(clouds, model, pair)
    progress("vectorise", 0.0)
    findings = find(pair, layers, model.contract)
    return Assessment(_verdict(pair, findings, clouds, model), findings, pair, layers)


def comparable(
    before: Raster, after: Raster, contract: Contract, progress: Progress = silent
) -> tuple[Pair | None, tuple[Reason, ...]]:
    """The gate: the two dates on one grid, and what forbids to judge them. None where they were never laid on one."""
    progress("compare", 0.0)
    dates = ((before, "before"), (after, "after"))
    problems = [reason for raster, side in dates for reason in picture_problems(raster, side)]
    problems = problems or pair_problems(before, after)
    if problems:
        return None, tuple(problems)
    progress("register", 0.0)
    try:
        pair = register(before, after)
    except NotComparable as refusal:
        return None, (refusal.reason,)
    observed_share = float(pair.observed.mean())
    if observed_share < MIN_OBSERVED:
        return pair, (_nodata(observed_share),)
    low, high = contract.overhead_gsd_range()
    # Each date by itself: laid on the grid of a finer one, a coarse picture is as coarse as before.
    coarsest = max((r.gsd for r in (before, after) if r.gsd is not None), default=low)
    if coarsest > high:
        return pair, (_gsd_out_of_range(coarsest, low, high),)
    # What is much finer is scored coarser, and a few metres of ground are then too few pixels to see anything in.
    side = min(pair.before.width, pair.before.height)
    if pair.gsd is not None and side * pair.gsd / low < MIN_SIDE_PX:
        return pair, (_gsd_out_of_range(pair.gsd, low, high),)
    return pair, tuple(placement_problems(pair))


def _gsd_out_of_range(gsd: float, low: float, high: float) -> Reason:
    return Reason("gsd_out_of_range", {"gsd": round(gsd, 3), "low": low, "high": high})


def score(pair: Pair, model: Model, progress: Progress = silent) -> tuple[Pair, Layers]:
    """The pair without what clouds hide, and calibrated probabilities, 0 where it was not observed.

    Finer imagery is scored at `FINEST_SCORED_M` and brought back; a small picture less coarsely, so that enough
    pixels are left of it.
    """
    before, after = _filled(pair.before), _filled(pair.after)
    height, width = before.shape[:2]
    scale = 1.0
    if pair.gsd is not None:
        trained, ground = model.contract.overhead_gsd_range()[0], min(height, width) * pair.gsd
        scale = min(1.0, pair.gsd / max(trained, min(FINEST_SCORED_M, ground / MIN_SIDE_PX)))
    if scale < 1.0:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        before, after = (_resized(x, size, cv2.INTER_AREA) for x in (before, after))
    probabilities = predict_tiled(
        model.probabilities,
        before,
        after,
        multiple_of=model.contract.multiple_of,
        progress=lambda share: progress("score", share),
    )
    if model.contract.cloud is not None:
        pair = _without(pair, hidden(probabilities[3:], model.contract.cloud))
    probabilities = probabilities[:3]
    if scale < 1.0:
        probabilities = np.stack([_resized(p, (width, height), cv2.INTER_LINEAR) for p in probabilities])
    return pair, Layers(*(probabilities * pair.observed))


def _without(pair: Pair, clouds: NDArray[np.bool_]) -> Pair:
    """The pair without what clouds, (2, H, W) bool of any size, hide of each date."""
    if not clouds.any():
        return pair
    size = (pair.before.width, pair.before.height)
    before, after = (
        replace(raster, valid=raster.valid & (_resized(cloud.astype(np.uint8), size, cv2.INTER_NEAREST) == 0))
        for raster, cloud in zip((pair.before, pair.after), clouds, strict=True)
    )
    return replace(pair, before=before, after=after)


def _clouds(given: Pair, seen: Pair) -> tuple[Reason, ...]:
    """How much of each date clouds hide that was thought to be seen."""
    sides = ("before", given.before, seen.before), ("after", given.after, seen.after)
    shares = {side: float((first.valid & ~second.valid).mean()) for side, first, second in sides}
    return tuple(
        Reason("cloud", {"side": side, "cloud_percent": max(1, round(100 * share))})
        for side, share in shares.items()
        if share > 0
    )


def _resized(values: NDArray[Number], size: tuple[int, int], how: int) -> NDArray[Number]:
    return np.asarray(cv2.resize(values, size, interpolation=how), dtype=values.dtype)


def _filled(raster: Raster) -> NDArray[np.uint8]:
    """Pixels with unobserved ones set to the mean colour: a hard black edge looks like a structure."""
    if raster.valid.all():
        return raster.pixels
    pixels = raster.pixels.copy()
    pixels[~raster.valid] = pixels[raster.valid].mean(axis=0).round()
    return pixels


def _verdict(pair: Pair, findings: tuple[Finding, ...], clouds: tuple[Reason, ...], model: Model) -> Verdict:
    kinds = {f.kind for f in findings}
    observed_share = float(pair.observed.mean())
    notes = (*_notes(pair, observed_share), *clouds)
    reasons: tuple[Reason, ...] = ()
    if "new" in kinds:
        kind = VerdictKind.NEW
    elif "remaining" in kinds:
        kind = VerdictKind.REMAINING
    elif observed_share >= CLEAR_NEEDS_OBSERVED:
        kind = VerdictKind.CLEAR
    else:
        kind, reasons = VerdictKind.NOT_COMPARABLE, (_nodata(observed_share),)
    return Verdict(kind, reasons, notes, round(observed_share, 4), model.name, model.version, model.sha256)


def _notes(pair: Pair, observed_share: float) -> tuple[Reason, ...]:
    notes = [*picture_notes(pair.before, "before"), *picture_notes(pair.after, "after")]
    if pair.gsd is None:
        notes.append(Reason("no_gsd"))
    if pair.before.captured_at is None or pair.after.captured_at is None:
        notes.append(Reason("no_dates"))
    if observed_share < 0.999:
        notes.append(Reason("partly_observed", {"unobserved_percent": round(100 * (1 - observed_share), 1)}))
    if pair.registration.model in ("similarity", "homography"):
        values = {"model": pair.registration.model, "inliers": pair.registration.inliers}
        notes.append(Reason("resampled", values))
    return tuple(notes)


def _nodata(observed_share: float) -> Reason:
    return Reason("nodata", {"observed_percent": round(100 * observed_share, 1)})


def refused(reasons: tuple[Reason, ...], model: Model, pair: Pair | None = None) -> Assessment:
    """The outcome of a pair that must not be judged."""
    observed = float(pair.observed.mean()) if pair else 0.0
    verdict = Verdict(
        VerdictKind.NOT_COMPARABLE, reasons, (), round(observed, 4), model.name, model.version, model.sha256
    )
    return Assessment(verdict, pair=pair)
