"""The way in for any two pictures: of which kind they are decides which weights see them, and the rest is one path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from datasets.raster import Raster
from inference.assess import Progress, assess, silent
from inference.domain import KindAsked, recognised
from inference.findings import Assessment, PictureKind, Verdict, VerdictKind
from inference.model import Model, ModelError
from inference.photographs import assess_photographs
from inference.reasons import Reason
from inference.site import Site

WEIGHTS: dict[PictureKind, str] = {"overhead": "overhead", "photos": "ground"}
"""Which domain of released weights sees which kind of picture."""

Models = Callable[[PictureKind], Model]


def released(kind: PictureKind) -> Model:
    """The weights that come with Jingdi.

    Raises:
        ModelError: they are missing or damaged.
    """
    return Model.load(WEIGHTS[kind])


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a comparison.

    Attributes:
        kind: of which kind the pictures are, or `auto`.
        site: where photographs should have been taken, if that is known.
    """

    kind: KindAsked = "auto"
    site: Site | None = None


def compare(
    before: Raster, after: Raster, models: Models = released, asked: Asked | None = None, *, progress: Progress = silent
) -> Assessment:
    """Compare two dates of one place. A pair that cannot be compared gets `not_comparable` with its reasons.

    Raises:
        ModelError: the weights for overhead imagery cannot be loaded. Those for photographs may not have been
            released yet: without them photographs are refused with `no_photo_weights`.
    """
    asked = asked or Asked()
    kind, sure = recognised(before, after) if asked.kind == "auto" else (asked.kind, True)
    assessment = _assess_as(kind, before, after, models, asked.site, progress)
    if not sure:
        notes = (*assessment.verdict.notes, Reason("kind_guessed", {"kind": kind}))
        assessment = replace(assessment, verdict=replace(assessment.verdict, notes=notes))
    return replace(assessment, kind=kind)


def _assess_as(
    kind: PictureKind, before: Raster, after: Raster, models: Models, site: Site | None, progress: Progress
) -> Assessment:
    if kind == "overhead":
        return assess(before, after, models(kind), progress=progress)
    try:
        model = models(kind)
    except ModelError:
        return Assessment(Verdict(VerdictKind.NOT_COMPARABLE, (Reason("no_photo_weights"),)))
    return assess_photographs(before, after, model, site=site, progress=progress)
