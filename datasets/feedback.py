"""What reviewers decided, as a labelled set: the loop from a decision on a finding back into training.

    feedback/<pair>/before.png after.png                                      the imagery, on one grid
    feedback/<pair>/changed.png structures_before.png structures_after.png    0 no, 255 yes, 128 not reviewed
    feedback/<pair>/pair.json                                                ground resolution and provenance

Only what was reviewed and seen is labelled, all else is `IGNORE`, so `structures_known` is false:

| decision | before | after | change |
|---|---|---|---|
| `new` accepted | 0 | 1 | 1 |
| `removed` accepted | 1 | 0 | 1 |
| `remaining` accepted | 1 | 1 | 0 |
| `new` or `removed` rejected | `IGNORE` | `IGNORE` | 0 |
| `remaining` rejected | 0 | 0 | 0 |

A rejected change may have been a shadow on bare ground or a structure that stood all the time: which, is not said.
A redrawn outline replaces that of the finding, which then says nothing any more. Where decisions contradict each
other, accepted ones win; accepted ones of several kinds leave `IGNORE`.

Nobody's name is stored, neither a reviewer's nor a resident's: decisions are told by their ids.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from shapely.geometry import Polygon

from datasets.pairs import IGNORE, Entry, LabelledPair, Split, rasterised, read_dates, read_labels, write_labels
from datasets.raster import Raster

Kind = Literal["new", "remaining", "removed"]
SIDECAR = "pair.json"

_ACCEPTED: dict[Kind, tuple[int, int, int]] = {"new": (0, 1, 1), "removed": (1, 0, 1), "remaining": (1, 1, 0)}
_REJECTED: dict[Kind, tuple[int, int, int]] = {
    "new": (IGNORE, IGNORE, 0),
    "removed": (IGNORE, IGNORE, 0),
    "remaining": (0, 0, 0),
}
"""Structure before, structure after, change."""

_LAYERS = ("structures_before", "structures_after", "changed")
_AGAIN = "export the pair again"
_ID = re.compile(r"[\w-][\w.-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VALIDATION_SHARE = 5
"""One site in so many validates."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a reviewer decided on one finding.

    Attributes:
        decision_id: refers back to the ledger, which knows who decided.
        kind: of the finding. Where the reviewer saw another kind, that kind, accepted.
        polygon: outline of the finding in pixels of the grid, (x, y) from its upper left corner.
        accepted: the finding is right.
        redrawn: the outline as corrected by the reviewer; only with `accepted`.
    """

    decision_id: str
    kind: Kind
    polygon: Polygon
    accepted: bool
    redrawn: Polygon | None = None


@dataclass(frozen=True, slots=True)
class ReviewedPair:
    """A pair with all decisions on its findings so far.

    Attributes:
        pair_id: of the pair; writing it again replaces it.
        site_id: of the place. It alone decides whether the pair trains or validates, so that every picture of a
            place, whenever exported, is on the same side.
        before, after: on one grid, with `gsd` known for either.
        model_sha256: the weights that made the findings.
        reviewed_at: when the last decision was taken, with its time zone.
    """

    pair_id: str
    site_id: str
    before: Raster
    after: Raster
    decisions: Sequence[Decision]
    model_sha256: str
    reviewed_at: datetime


def write_feedback(folder: Path, item: ReviewedPair) -> Path:
    """Write a reviewed pair into the set in `folder`, whole or not at all; `jingdi train` reads it as `feedback`.

    Returns:
        The folder of the pair.

    Raises:
        ValueError: an id, a polygon, the grid or another part of `item` cannot be used; nothing is written.
    """
    description = _description(item)
    labels = _labels(item)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / item.pair_id
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        written, replaced = Path(temporary) / "pair", Path(temporary) / "replaced"
        written.mkdir()
        for name, raster in (("before", item.before), ("after", item.after)):
            Image.fromarray(raster.pixels).save(written / f"{name}.png")
        for name, layer in zip(_LAYERS, labels, strict=True):
            write_labels(written / f"{name}.png", layer)
        (written / SIDECAR).write_text(json.dumps(description, indent=1), "utf-8")
        if target.exists():
            target.rename(replaced)
        written.rename(target)
    return target


def _description(item: ReviewedPair) -> dict[str, Any]:
    for what, text in (
        ("pair id", item.pair_id),
        ("site id", item.site_id),
        *(("decision id", decision.decision_id) for decision in item.decisions),
    ):
        if not _ID.fullmatch(text):
            raise ValueError(f"{what} {text!r}: at most 128 letters, digits and . _ -, not beginning with a dot")
    if not _SHA256.fullmatch(item.model_sha256):
        raise ValueError(f"model_sha256 {item.model_sha256!r} is no sha256 in hexadecimal")
    if item.reviewed_at.tzinfo is None:
        raise ValueError("reviewed_at lacks its time zone")
    gsd = item.before.gsd or item.after.gsd
    if gsd is None:
        raise ValueError("the ground resolution is unknown; give the rasters their gsd in metres per pixel")
    return {
        "site": item.site_id,
        "gsd": gsd,
        "decisions": [decision.decision_id for decision in item.decisions],
        "model_sha256": item.model_sha256,
        "reviewed_at": item.reviewed_at.astimezone(UTC).isoformat(),
    }


def _labels(item: ReviewedPair) -> NDArray[np.uint8]:
    """(3, H, W) of 0, 1 and `IGNORE`: structure before, structure after, change."""
    before, after = item.before, item.after
    if before.pixels.shape != after.pixels.shape or (before.crs, before.transform) != (after.crs, after.transform):
        raise ValueError("before and after lie on different grids; register them first")
    if not item.decisions:
        raise ValueError(f"pair {item.pair_id} has no decisions; export pairs that were reviewed")
    shape = before.pixels.shape[:2]
    outlines = [(decision, _outline(decision, shape)) for decision in item.decisions]
    labels = np.full((3, *shape), IGNORE, np.uint8)
    for accepted, meaning in ((False, _REJECTED), (True, _ACCEPTED)):
        claims = np.zeros(shape, np.uint8)
        for kind, values in meaning.items():
            mask = rasterised([o for d, o in outlines if (d.kind, d.accepted) == (kind, accepted)], shape)
            labels[:, mask] = np.array(values, np.uint8)[:, None]
            claims += mask
        labels[:, claims > 1] = IGNORE
    labels[0][~before.valid], labels[1][~after.valid] = IGNORE, IGNORE
    labels[2][~(before.valid & after.valid)] = IGNORE
    return labels


def _outline(decision: Decision, shape: tuple[int, ...]) -> Polygon:
    if decision.redrawn is not None and not decision.accepted:
        raise ValueError(f"decision {decision.decision_id}: a rejected finding has no redrawn outline")
    if decision.kind not in _ACCEPTED:
        raise ValueError(f"decision {decision.decision_id}: {decision.kind!r} is no kind; {', '.join(_ACCEPTED)} are")
    outline = decision.polygon if decision.redrawn is None else decision.redrawn
    if not outline.is_valid or not rasterised([outline], shape).any():
        raise ValueError(
            f"decision {decision.decision_id}: the outline crosses itself or covers no pixel; outlines are in pixels "
            f"of the grid of {shape[1]} x {shape[0]} px"
        )
    return outline


def entries(folder: Path, source: str, split: Split) -> list[Entry]:
    """The pairs that `write_feedback` put into `folder`.

    Raises:
        FileNotFoundError: there is none, or one lacks a file.
        ValueError: a description cannot be read.
    """
    sidecars = sorted(folder.glob(f"[!.]*/{SIDECAR}"))
    if not sidecars:
        raise FileNotFoundError(f"{folder} holds no reviewed pairs (*/{SIDECAR}); export decisions into it first")
    found = []
    for sidecar in sidecars:
        try:
            description = json.loads(sidecar.read_text("utf-8"))
            site, gsd = str(description["site"]), float(description["gsd"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{sidecar} cannot be read ({error!r}); {_AGAIN}") from error
        if _validates(site) != (split == "validation"):
            continue
        files = {layer: sidecar.with_name(f"{layer}.png") for layer in ("before", "after", *_LAYERS)}
        for path in files.values():
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing; {_AGAIN}")
        found.append(Entry(source, sidecar.parent.name, gsd, files, _read, structures_known=False))
    return found


def _validates(site: str) -> bool:
    """By a hash of the site: the same for ever, whatever else is exported."""
    return int.from_bytes(sha256(site.encode()).digest()[:8]) % _VALIDATION_SHARE == 0


def _read(entry: Entry) -> LabelledPair:
    before, after = read_dates(entry)
    return entry.pair(before, after, *(read_labels(entry.files[name], before.shape, _AGAIN) for name in _LAYERS))
