"""Corrected pairs as a labelled set (`datasets.feedback`), beside decided leads: back into training.

Both pictures are laid on each other once more as they were for the comparison, which gives the same grid. Of pictures
whose ground resolution is unknown nothing can be learnt for overhead imagery, and photographs have labels of another
kind; both stay here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from shapely.geometry import Polygon
from sqlalchemy import select
from sqlalchemy.orm import Session

from datasets.feedback import Decision, ReviewedPair
from datasets.pairs import rasterised
from inference.decode import Limits
from inference.pair import Pair
from inference.reasons import InputError
from inference.registration import NotComparable, register
from service.comparisons import read_pair
from service.corrections.review import Correction, corrections_of
from service.corrections.tables import PairReview
from service.database import PairRow
from service.storage import Storage
from service.triage.feedback import Exported, LeftOut


def export(session: Session, storage: Storage, limits: Limits, to: Path) -> Exported:
    """Write every corrected pair into the set in `to`; writing it again changes nothing."""
    done = Exported()
    query = select(PairRow, PairReview).join(PairReview, PairReview.pair_id == PairRow.id).order_by(PairRow.id)
    for row, review in session.execute(query):
        if review.corrections:
            done.write(to, partial(_reviewed, row, review, storage, limits))
    return done


def _reviewed(row: PairRow, review: PairReview, storage: Storage, limits: Limits) -> ReviewedPair:
    """One pair, as the set takes it.

    Raises:
        LeftOut: it cannot be learnt from.
    """
    assert row.report is not None  # only finished pairs are corrected
    if row.report.get("kind") == "photos":
        raise LeftOut("photographs")
    if not row.report["model"]:
        raise LeftOut("no_model")
    pair = _laid(row, storage, limits)
    if pair.gsd is None:
        raise LeftOut("no_gsd")
    shape = pair.before.pixels.shape[:2]
    if shape != (row.height, row.width):
        raise LeftOut("no_imagery")  # laid otherwise than when it was looked at
    decisions = list(_decisions(row, corrections_of(review), shape))
    if not decisions:
        raise LeftOut("unusable")
    model_sha256 = row.report["model"]["sha256"]
    site = f"pair-{row.id}"  # a pair is a place of its own
    return ReviewedPair(f"pair-{row.id}", site, pair.before, pair.after, decisions, model_sha256, review.reviewed_at)


def _laid(row: PairRow, storage: Storage, limits: Limits) -> Pair:
    try:
        before, after, _ = read_pair(row, storage, limits)
        return register(before, after)
    except (InputError, OSError, NotComparable) as error:
        raise LeftOut("no_imagery") from error


def _decisions(row: PairRow, corrections: list[Correction], shape: Any) -> Iterator[Decision]:
    """What is said of each place; what covers no pixel says nothing."""
    outlines = {finding["id"]: finding["polygon_px"] for finding in (row.report or {})["findings"]}
    for number, each in enumerate(corrections, 1):
        drawn = each.polygon
        if each.finding is None:
            found, drawn = drawn, None
        else:
            exterior, *holes = outlines[each.finding]
            found = Polygon(exterior, holes)
        assert found is not None  # what no machine has found was drawn
        if not rasterised([drawn or found], shape).any():
            continue
        name = f"{row.id}-{number}" if each.finding is None else f"{row.id}-finding-{each.finding}"
        yield Decision(name, each.kind, found, each.accepted, drawn)
