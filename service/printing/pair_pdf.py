"""One comparison as PDF, in the words of its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from reportlab.lib.colors import HexColor
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, KeepTogether, Spacer

from inference.findings import KINDS
from service import derivatives
from service.corrections.review import Correction, corrections_of
from service.corrections.tables import PairReview
from service.database import PairRow
from service.language import say, word
from service.pages.view import FindingView, ReasonView, ResultView, moment, result
from service.printing import paper
from service.printing.marked import Hatched, Marked, Outline, Rings, Section, Stroke, View
from service.triage.evidence import SIDES

CLOSE_UPS = 6
TABLED = 300
"""Findings in the table; the others are counted. All of them are in the GeoJSON."""
TONES = {"new": "#a8400a", "remaining": "#665700", "clear": "#0f6b4f", "not_comparable": "#57534a"}
_GAP, _NARROW_GAP = 5 * mm, 1.4 * mm
_HALF = (paper.WIDTH - _GAP) / 2
_QUARTER = (_HALF - _NARROW_GAP) / 2
_SOURCES = (paper.LABELS, *[(paper.WIDTH - paper.LABELS) / 2] * 2)
_TALLEST = 100 * mm
_SECTION = 34 * mm
"""Room that a heading takes with the first lines below it."""


def pair_pdf(row: PairRow, folder: Path, language: str, review: PairReview | None = None) -> bytes:
    """What the page of a finished pair says, A4; the same bytes for the same pair, language and review.

    Photographs that no person has checked for faces and number plates are left out: paper leaves the house.

    Args:
        folder: where the pictures of the pair are.
        review: what a person says of the findings, beside which it stands.
    """
    found = result(row, language)
    shown = found.has_imagery and not found.reasons and (row.publishable or not found.photographs)
    pictures = _pictures(row, found, folder, language) if shown else []

    def story() -> Iterator[Flowable]:
        yield from paper.masthead(say(language, "pair_report.heading"), _about(row, language))
        yield Spacer(0, 6)
        yield from _verdict(found, language)
        if found.reasons:
            yield from _reasons(found.reasons, say(language, "result.reasons"))
        yield from pictures
        if found.has_imagery and not found.reasons and not shown:
            yield Spacer(0, 10)
            yield paper.text(say(language, "pair_report.unchecked"), paper.NOTE)
        if found.findings:
            yield from _table(found.findings, language, review)
        elif review and review.corrections:
            yield from paper.heading(say(language, "result.findings"), _SECTION)
        if review and review.corrections:
            yield from _by_hand(review, language)
        if found.shares:
            yield from _shares(found, language)
        if found.notes:
            yield from _reasons(found.notes, say(language, "result.notes"))
        yield from paper.heading(say(language, "result.facts"), _SECTION)
        yield paper.table(["", *(word(language, side) for side in SIDES)], found.sources, _SOURCES, words=3)
        yield Spacer(0, 8)
        yield from paper.facts(found.facts)

    title = say(language, "pair_report.title", id=row.id[:8], verdict=found.headline)
    foot = f"{say(language, 'pair_report.heading')} · {row.id}"
    return paper.pdf(lambda: list(story()), title, foot, language, row.finished_at or row.created_at)


def _about(row: PairRow, language: str) -> list[str]:
    """Of when the pictures are, and which comparison this is."""
    images = (row.report or {}).get("images")
    dates = [
        say(language, "bulletin.picture", side=word(language, side), date=moment(images[side]["captured_at"], language))
        for side in SIDES
        if images and images[side]["captured_at"]
    ]
    compared = say(language, "pair_report.compared", moment=moment(row.finished_at, language), id=row.id)
    return [" · ".join(dates), compared] if dates else [compared]


def _verdict(found: ResultView, language: str) -> Iterator[Flowable]:
    """The headline, what was seen and what was not, and who decides, along a bar in the colour of the verdict."""
    lines = [paper.headline(found.headline, HexColor(TONES[found.verdict])), paper.text(found.summary)]
    if found.verdict != "not_comparable":
        seen = say(language, "result.observed", share=found.observed)
        unseen = found.unobserved and say(language, "result.unobserved", share=found.unobserved)
        lines.append(paper.text(say(language, "pair_report.seen", seen=seen, unseen=unseen or "").strip()))
    decides = "result.decides_alone" if found.verdict == "not_comparable" else "result.decides"
    yield paper.barred([*lines, paper.text(say(language, decides))], HexColor(TONES[found.verdict]), 3)


def _reasons(reasons: Sequence[ReasonView], title: str) -> Iterator[Flowable]:
    yield from paper.heading(title, _SECTION)
    for reason in reasons:
        lines = [paper.text(reason.text, paper.CELL), paper.text(reason.remedy, paper.NOTE)]
        yield KeepTogether([paper.barred(lines, paper.RULE), Spacer(0, 5)])


# --- Pictures ---------------------------------------------------------------------------------------------


def _pictures(row: PairRow, found: ResultView, folder: Path, language: str) -> list[Flowable]:
    """Both dates, then the findings that stand first, large. Drawn before reportlab is waited for."""
    names = (derivatives.BEFORE, derivatives.AFTER)
    views = [View(folder / name, found.width, found.height) for name in names]
    outlines = _outlines(row, found)
    unseen: Sequence[Rings] = (row.report or {})["verdict"].get("unobserved_px", ())  # earlier reports know none
    chosen = found.findings[:CLOSE_UPS]
    numbered = frozenset(each.id for each in (chosen if found.crowd > 1 else found.findings))
    width = min(_HALF, _TALLEST * found.width / found.height)
    height = width * found.height / found.width
    whole = views[0].whole
    cells = [_drawn(view, whole, outlines, width, height, numbered, unseen, language) for view in views]
    captions = [paper.text(word(language, side), paper.NOTE) for side in SIDES]
    grid = paper.columns([cells, captions], [_HALF + _GAP, _HALF])
    legend = [_legend(found, language), *([_unseen_key(language)] if unseen else []), Spacer(0, 5)]
    story: list[Flowable] = [Spacer(0, 12), KeepTogether([*legend, grid])]
    if chosen:
        story += paper.heading(say(language, "pair_report.close_ups"), _QUARTER + _SECTION)
        story += _close_ups(chosen, views, outlines, unseen, language)
    return story


def _outlines(row: PairRow, found: ResultView) -> list[Outline]:
    items = (row.report or {})["findings"]
    return [
        Outline(each.id, each.kind, item["polygon_px"], _inside(each, found))
        for each, item in zip(found.findings, items, strict=True)
    ]


def _inside(finding: FindingView, found: ResultView) -> tuple[float, float]:
    """A place inside a finding, in pixels."""
    left, top = (float(share.rstrip("%")) / 100 for share in (finding.left, finding.top))
    return left * found.width, top * found.height


def _drawn(
    view: View, section: Section, outlines: Sequence[Outline], width: float, height: float, numbered: frozenset[int],
    unseen: Sequence[Rings], language: str,
) -> Flowable:  # fmt: skip
    jpeg = view.part(section, width, height)
    if jpeg is None:
        return paper.text(say(language, "bulletin.gone"), paper.NOTE)
    return Marked(jpeg, section, outlines, width, height, numbered, unseen)


def _legend(found: ResultView, language: str) -> Flowable:
    """What each kind of line means, how many there are and what they cover together."""
    cells: list[Flowable] = []
    for total in found.totals:
        words = f"{word(language, total.kind)}　{say(language, 'result.count', count=total.count)}"
        area = " · ".join(filter(None, (total.area, total.mu))) if total.count else ""
        cells += [Stroke(total.kind), paper.text(f"{words}\n{area}".strip(), paper.CELL)]
    third = paper.WIDTH / len(found.totals)
    return paper.columns([cells], [8 * mm, third - 8 * mm] * len(found.totals))


def _unseen_key(language: str) -> Flowable:
    return paper.columns([[Hatched(), paper.text(say(language, "result.unseen"), paper.CELL)]], [8 * mm, 60 * mm])


def _close_ups(
    chosen: Sequence[FindingView], views: Sequence[View], outlines: Sequence[Outline], unseen: Sequence[Rings],
    language: str,
) -> Iterator[Flowable]:  # fmt: skip
    """Two findings in a row, each with both dates."""
    by_id = {outline.id: outline for outline in outlines}
    cells = [_close_up(each, views, by_id[each.id], unseen, language) for each in chosen]
    for i in range(0, len(cells), 2):
        yield KeepTogether([paper.columns([[*cells[i : i + 2], ""][:2]], [_HALF + _GAP, _HALF]), Spacer(0, 8)])


def _close_up(
    finding: FindingView, views: Sequence[View], outline: Outline, unseen: Sequence[Rings], language: str
) -> list[Flowable]:
    section = Section(*map(float, finding.close_up.split()))
    pictures = [_drawn(view, section, [outline], _QUARTER, _QUARTER, frozenset(), unseen, language) for view in views]
    area = " ".join(filter(None, (finding.area, finding.error)))
    words = say(
        language, "result.finding", id=finding.id, kind=word(language, finding.kind), area=area,
        probability=finding.probability,
    )  # fmt: skip
    return [paper.text(words, paper.CELL), paper.columns([pictures], [_QUARTER + _NARROW_GAP, _QUARTER])]


# --- Tables -----------------------------------------------------------------------------------------------


def _table(findings: Sequence[FindingView], language: str, review: PairReview | None) -> Iterator[Flowable]:
    yield from paper.heading(say(language, "result.findings"), _SECTION)
    measured = findings[0].mu is not None
    said = {each.finding: each for each in corrections_of(review)} if review else {}
    judged = any(each.id in said for each in findings)
    columns = [("number", 10), ("kind", 22), *([("person", 30)] if judged else []), ("area", 34)]
    columns += [("error", 22), ("mu", 26)] if measured else []
    head = [*(say(language, f"pair_report.{name}") for name, _ in columns), say(language, "result.probability")]
    rows = [
        (
            each.id,
            word(language, each.kind),
            *((_judgement(said.get(each.id), language),) if judged else ()),
            each.area,
            *((each.error or "–", each.mu) if measured else ()),
            each.probability,
        )
        for each in findings[:TABLED]
    ]
    yield paper.table(head, rows, [*(width for _, width in columns), 20], words=3 if judged else 2)
    if len(findings) > TABLED:
        yield Spacer(0, 4)
        yield paper.text(say(language, "result.more", count=len(findings) - TABLED), paper.NOTE)


def _judgement(said: Correction | None, language: str) -> str:
    """What a person says of a finding."""
    return "–" if said is None else say(language, f"review.{said.state}")


def _by_hand(review: PairReview, language: str) -> Iterator[Flowable]:
    """Who corrected, when, and how many structures the machine had overlooked."""
    lines = [say(language, "review.status_by", person=review.actor, moment=moment(review.reviewed_at, language))]
    drawn = Counter(each.kind for each in corrections_of(review) if each.finding is None)
    counts = [f"{word(language, kind)} {drawn[kind]}" for kind in KINDS if drawn[kind]]
    if counts:
        lines.append(f"{say(language, 'review.drawn_list')}: {' · '.join(counts)}")
    yield Spacer(0, 4)
    yield from (paper.text(line, paper.NOTE) for line in lines)


def _shares(found: ResultView, language: str) -> Iterator[Flowable]:
    """What photographs show, by class."""
    columns = ("common_before", "common_after", "outside", "whole")
    yield from paper.heading(say(language, "result.views"), _SECTION)
    head = ["", *(say(language, f"result.share_{name}") for name in columns)]
    yield paper.table(head, [(label, *values) for label, values in found.shares], (34, 22, 22, 22, 22))
    yield Spacer(0, 4)
    yield paper.text(say(language, "result.views_hint"), paper.NOTE)
