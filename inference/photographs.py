"""Photographs taken by hand: what stands at each date, compared in the view they have in common.

The same path as for overhead imagery (inference.assess), with three differences: both pictures are reduced to a
common working size first, several classes are told apart at each date, and the verdict follows the written standard
场光地净 (inference/standard), which says what shares of the view mean what.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from datasets.raster import Raster
from inference.assess import Progress, refused, silent
from inference.findings import Assessment, Finding, Layers, Verdict, VerdictKind, View
from inference.model import Model
from inference.pair import Pair
from inference.photo_checks import photograph_problems, same_photograph
from inference.quality import pair_problems, picture_notes, picture_problems
from inference.reasons import Reason
from inference.registration import NotComparable, register
from inference.site import Site, place_reasons
from inference.vectorise import find

WORKING_SIDE_PX = 1600
"""Longest side of the common grid. More shows nothing that the network, which sees less, could use."""

Classes = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Standard:
    """The figures of `inference/standard/site_cleared.toml`; shares of the common view, 0..1."""

    version: str
    least_view: float
    least_view_for_clear: float
    structure_most: float
    ground_least: float
    other_most: float
    structure_least: float
    smallest_share: float


@cache
def standard() -> Standard:
    """The standard that this release applies."""
    text = (files("inference") / "standard" / "site_cleared.toml").read_text("utf-8")
    values: dict[str, Any] = tomllib.loads(text)
    view, clear = values["view"], values["clear"]
    return Standard(
        values["version"], view["least"], view["least_for_clear"], clear["structure_most"],
        clear["ground_and_vegetation_least"], clear["other_most"], values["remaining"]["structure_least"],
        values["finding"]["smallest_share"],
    )  # fmt: skip


def assess_photographs(
    before: Raster, after: Raster, model: Model, *, site: Site | None = None, progress: Progress = silent
) -> Assessment:
    """Compare two photographs of one place. Always returns, as `assess` does.

    Args:
        model: weights of the domain `ground`.
        site: where they should have been taken, if that is known.
    """
    progress("compare", 0.0)
    problems = [*photograph_problems(before, "before"), *photograph_problems(after, "after")]
    away, doubts = place_reasons(before, after, site)
    problems = [*problems, *away]
    before, after = (reduced(r, WORKING_SIDE_PX) for r in (before, after))
    problems = problems or [
        *picture_problems(before, "before", overhead=False),
        *picture_problems(after, "after", overhead=False),
    ]
    problems = problems or pair_problems(before, after)
    if problems:
        return refused(tuple(problems), model)
    progress("register", 0.0)
    try:
        pair = register(before, after, "ground")
    except NotComparable as refusal:
        return refused((refusal.reason,), model)
    if same_photograph(pair):
        return refused((Reason("same_photo"),), model)
    share = float(pair.observed.mean())
    if share < standard().least_view:
        return refused((Reason("little_in_common", {"percent": round(100 * share)}),), model, pair)
    progress("score", 0.0)
    layers, classes = score_photographs(pair, model)
    whole = score_one(after, model)
    progress("vectorise", 0.0)
    least_px = standard().smallest_share * pair.observed.sum()
    findings = tuple(f for f in find(pair, layers, model.contract) if f.area_px >= least_px)
    names = model.contract.classes
    views = (
        View(_shares(classes[0], pair.observed, names), _shares(classes[0], ~pair.observed & pair.before.valid, names)),
        View(_shares(classes[1], pair.observed, names), None, _shares(whole, after.valid, names)),
    )
    verdict = _verdict(pair, findings, views[1].common, share, model)
    verdict = replace(verdict, notes=(*verdict.notes, *doubts))
    return Assessment(verdict, findings, pair, layers, views)


def reduced(raster: Raster, side: int) -> Raster:
    """The picture with a longest side of `side` pixels at most; a photograph has no ground resolution."""
    raster = replace(raster, crs=None, transform=None, gsd=None)
    scale = side / max(raster.height, raster.width)
    if scale >= 1:
        return raster
    size = (round(raster.width * scale), round(raster.height * scale))
    pixels = np.asarray(cv2.resize(raster.pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    valid = cv2.resize(raster.valid.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return replace(raster, pixels=pixels, valid=valid)


def score_photographs(pair: Pair, model: Model) -> tuple[Layers, Classes]:
    """Calibrated probabilities on the grid of the pair, and (2, K, H, W) of the classes at each date.

    Where the later photograph does not reach, the earlier one stands in for it: a black edge looks like a structure.
    Nothing is said of those pixels.
    """
    after = np.where(pair.after.valid[..., None], pair.after.pixels, pair.before.pixels)
    probabilities, classes = _run(pair.before.pixels, after, model)
    return Layers(*(probabilities * pair.observed)), classes


def score_one(raster: Raster, model: Model) -> Classes:
    """(K, H, W) probabilities of the classes of one photograph."""
    classes: Classes = _run(raster.pixels, raster.pixels, model)[1][0]
    return classes


def _run(before: NDArray[np.uint8], after: NDArray[np.uint8], model: Model) -> tuple[Classes, Classes]:
    """Score at the size the weights know, and bring the outcome back."""
    h, w = before.shape[:2]
    step, side = model.contract.multiple_of, model.contract.long_side or max(h, w)
    scale = side / max(h, w)
    size = tuple(max(step, round(n * scale / step) * step) for n in (w, h))
    small = [cv2.resize(x, size, interpolation=cv2.INTER_AREA).transpose(2, 0, 1)[None] for x in (before, after)]
    probabilities, classes = model.classes(np.ascontiguousarray(small[0]), np.ascontiguousarray(small[1]))
    stack = np.concatenate([probabilities[0], *classes[0]])
    full = np.stack([cv2.resize(layer, (w, h), interpolation=cv2.INTER_LINEAR) for layer in stack])
    return full[:3], full[3:].reshape(2, -1, h, w)


def _shares(classes: Classes, where: NDArray[np.bool_], names: tuple[str, ...]) -> dict[str, float] | None:
    """Share of each class, by the likeliest one of each pixel; None where there are no pixels."""
    if not where.any():
        return None
    counts = np.bincount(classes.argmax(axis=0)[where], minlength=len(names))
    return {name: round(float(count / where.sum()), 4) for name, count in zip(names, counts, strict=True)}


def _verdict(
    pair: Pair, findings: tuple[Finding, ...], shares: dict[str, float] | None, share: float, model: Model
) -> Verdict:
    rules, seen = standard(), shares or {}
    structure = seen.get("structure", 1.0)
    reasons: tuple[Reason, ...] = ()
    kind = VerdictKind.NOT_COMPARABLE
    if any(f.kind == "new" for f in findings):
        kind = VerdictKind.NEW
    elif structure >= rules.structure_least:
        kind = VerdictKind.REMAINING
    elif structure > rules.structure_most or any(f.kind == "remaining" for f in findings):
        reasons = (Reason("undecided", {"structure_percent": round(100 * structure, 1)}),)
    elif share < rules.least_view_for_clear:
        reasons = (Reason("little_in_common", {"percent": round(100 * share)}),)
    elif seen["ground"] + seen["vegetation"] < rules.ground_least or seen["other"] > rules.other_most:
        reasons = (Reason("ground_hidden", {"other_percent": round(100 * seen["other"])}),)
    else:
        kind = VerdictKind.CLEAR
    notes = (
        Reason("standard_applied", {"version": rules.version}),
        Reason("not_assessed"),
        *((Reason("neighbours_counted"),) if kind is VerdictKind.REMAINING else ()),
        *picture_notes(pair.before, "before"),
        *picture_notes(pair.after, "after"),
    )
    return Verdict(kind, reasons, notes, round(share, 4), model.name, model.version, model.sha256)
