"""What a comparison says: findings with their evidence, and one verdict. Always a *suspected* lead."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon

from inference.pair import Pair
from inference.reasons import Reason

Kind = Literal["new", "remaining", "removed"]
PictureKind = Literal["overhead", "photos"]
KINDS: tuple[Kind, ...] = ("new", "remaining", "removed")


class VerdictKind(StrEnum):
    """`new` outranks `remaining`; `clear` needs the whole area observed."""

    CLEAR = "clear"
    REMAINING = "remaining"
    NEW = "new"
    NOT_COMPARABLE = "not_comparable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One suspected patch (疑似图斑).

    Attributes:
        polygon: outline in pixels of the pair's grid, (x, y) with the origin at the upper left corner.
        kind: what seems to have happened there.
        probability: calibrated probability that the finding is right, 0..1.
        area_px: area in pixels.
        area_m2, area_error_m2: area on the ground and its standard error, None where the GSD is unknown.
        lonlat: outline in WGS-84 longitude and latitude, None without a georeference.
    """

    polygon: Polygon
    kind: Kind
    probability: float
    area_px: float
    area_m2: float | None = None
    area_error_m2: float | None = None
    lonlat: Polygon | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome for the whole pair.

    Attributes:
        reasons: why the pair was refused; empty unless `not_comparable`.
        notes: what to keep in mind about a result that stands.
        observed_share: share of the area seen at both dates, 0..1. What was not seen is never `clear`.
        model_name, model_version, model_sha256: which weights spoke; None if none were asked.
    """

    kind: VerdictKind
    reasons: tuple[Reason, ...] = ()
    notes: tuple[Reason, ...] = ()
    observed_share: float = 0.0
    model_name: str | None = None
    model_version: str | None = None
    model_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Layers:
    """Calibrated probabilities per pixel of the grid, each (H, W) float32 in 0..1, 0 where not observed."""

    structure_before: NDArray[np.float32]
    structure_after: NDArray[np.float32]
    change: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class View:
    """What one photograph shows: class -> share, 0..1, of the pixels named.

    Attributes:
        common: of the view that both photographs have in common.
        outside: of the rest of it, on the common grid; None where there is none, and for the later photograph.
        whole: of all of it; for the later photograph only, whose frame is not that of the grid.
    """

    common: dict[str, float] | None
    outside: dict[str, float] | None = None
    whole: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Assessment:
    """Everything that came out of one comparison. `pair` and `layers` are None where it was refused early.

    `kind` is of which kind the pictures are, and `views` what the earlier and the later photograph show; None for
    overhead pictures.
    """

    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    pair: Pair | None = None
    layers: Layers | None = None
    views: tuple[View, View] | None = None
    kind: PictureKind = "overhead"
