"""Corrections of findings: right, wrong, drawn anew, overlooked.

They stand beside the report, which stays as the machine wrote it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from shapely.geometry import Polygon
from sqlalchemy.orm import Session

from inference.findings import Kind
from service import errors
from service.corrections.errors import CorrectionUnusable, ReviewChanged
from service.corrections.tables import PairReview
from service.database import PairRow, Pairs
from service.ledger.audit import Actor, append, writing

MAX_CORRECTIONS, MAX_CORNERS = 1000, 500
MIN_AREA_PX = 4.0

Outline = Sequence[tuple[float, float]]
State = Literal["accepted", "rejected", "redrawn", "drawn"]


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person says of one place.

    Attributes:
        finding: number of the finding, None where the machine found nothing.
        accepted: whether a structure is there, as `kind` says.
        kind: of what is there; of the finding where it is rejected.
        outline: as a person drew it, (x, y) in pixels of the common grid, without the first corner once more;
            None where that of the finding holds.
    """

    finding: int | None
    accepted: bool
    kind: Kind
    outline: Outline | None = None

    @property
    def document(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)

    @property
    def state(self) -> State:
        """What that makes of the place."""
        if self.finding is None:
            return "drawn"
        if not self.accepted:
            return "rejected"
        return "accepted" if self.outline is None else "redrawn"

    @property
    def polygon(self) -> Polygon | None:
        """The outline that was drawn."""
        return None if self.outline is None else Polygon(self.outline)


def read(session: Session, pair_id: str) -> PairReview | None:
    """What was said of a pair; None if nobody has said anything."""
    return session.get(PairReview, pair_id)


def corrections_of(review: PairReview) -> list[Correction]:
    """The corrections of a review."""
    return [Correction(**each) for each in review.corrections]


def write(pairs: Pairs, row: PairRow, corrections: Sequence[Correction], version: int, actor: Actor) -> PairReview:
    """Put what is said of a pair in place of what was said before.

    Args:
        version: of what was said before, 0 if nothing was: what somebody else has said meanwhile is not lost.

    Raises:
        NotFinished, NoImagery: there are no findings to speak of.
        PersonRequired: a program has no opinion.
        CorrectionUnusable: `correction_refused`, the pair was refused; `correction_finding`, `correction_kind`,
            `correction_outline`, with the number of the first.
        ReviewChanged: there is a newer version.
    """
    if not actor.person:
        raise errors.PersonRequired
    _check(row, corrections)
    now = datetime.now(UTC)
    with writing(pairs.engine) as session:
        review = read(session, row.id)
        if version != (review.version if review else 0):
            raise ReviewChanged
        if review is None:
            review = PairReview(pair_id=row.id, version=0)
            session.add(review)
        review.version, review.actor, review.reviewed_at = version + 1, actor.name, now
        review.corrections = [each.document for each in corrections]
        detail = {"version": review.version, "corrections": review.corrections}
        append(session, actor, "pair.reviewed", f"pair:{row.id}", detail, now)
    return review


def _check(row: PairRow, corrections: Sequence[Correction]) -> None:
    if row.status != "done":
        raise errors.NotFinished
    if row.report is None or not row.width or not row.height:
        raise errors.NoImagery
    if row.verdict == "not_comparable":
        raise CorrectionUnusable("correction_refused")
    kinds = {finding["id"]: finding["kind"] for finding in row.report["findings"]}
    said = Counter(each.finding for each in corrections if each.finding is not None)
    for number, each in enumerate(corrections, 1):
        if each.finding is not None and (each.finding not in kinds or said[each.finding] > 1):
            raise CorrectionUnusable("correction_finding", number=number, finding=each.finding)
        if not each.accepted and (each.finding is None or each.outline is not None or each.kind != kinds[each.finding]):
            raise CorrectionUnusable("correction_kind", number=number)
        if each.finding is None and each.outline is None:
            raise CorrectionUnusable(number=number)
        if each.polygon is not None and not _fits(each.polygon, row.width, row.height):
            raise CorrectionUnusable(number=number)


def _fits(outline: Polygon, width: int, height: int) -> bool:
    left, top, right, bottom = outline.bounds
    inside = left >= 0 and top >= 0 and right <= width and bottom <= height
    return inside and outline.is_valid and outline.area >= MIN_AREA_PX
