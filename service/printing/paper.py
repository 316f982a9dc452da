"""What a printed page looks like: A4, quiet, black on white, one green, hairlines instead of boxes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from threading import Lock
from typing import Any

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.enums import TA_CENTER, TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    HRFlowable,
    Image,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from service.language import say
from service.printing.fonts import SANS, SERIF, characters, markup, plain

INK, MUTED, RULE, GREEN, PALE = (HexColor(code) for code in ("#1a211d", "#59625c", "#c9c6ba", "#17624a", "#e3efe8"))
SIDE, TOP, BOTTOM = 22 * mm, 22 * mm, 24 * mm
WIDTH = A4[0] - 2 * SIDE
LABELS = 36 * mm
CHART, PICTURES = 75 * mm, 95 * mm
"""Room that a heading takes with the chart, and with two pictures."""
_OWN_FONT: Any = ("FONTNAME", (0, 0), (-1, -1), SANS)
"""Otherwise each table would name a font that is not embedded."""
_printing = Lock()
"""reportlab reads markup with one parser for the whole process."""


def _style(name: str, size: float, leading: float, **more: Any) -> ParagraphStyle:
    settings = {"fontName": SANS, "textColor": INK, "wordWrap": "CJK", **more}
    return ParagraphStyle(name, fontSize=size, leading=leading, **settings)


TITLE = _style("title", 23, 32, fontName=SERIF, alignment=TA_CENTER)
SUBTITLE = _style("subtitle", 10, 16, textColor=MUTED, alignment=TA_CENTER)
HEADING = _style("heading", 13, 20, fontName=SERIF, textColor=GREEN, spaceBefore=15, spaceAfter=5)
BODY = _style("body", 10.5, 18, spaceAfter=3)
NOTE = _style("note", 8.5, 13.5, textColor=MUTED)
CELL = _style("cell", 9, 13)
FIGURE = _style("figure", 9, 13, alignment=TA_RIGHT, wordWrap=None)
LABEL = _style("label", 8.5, 13, textColor=MUTED)
HEAD_CELL = _style("head-cell", 7.5, 11, textColor=MUTED)
HEAD_FIGURE = _style("head-figure", 7.5, 11, textColor=MUTED, alignment=TA_RIGHT, wordWrap=None)
CAPTION = _style("caption", 9, 13.5)
HEADLINE = _style("headline", 17, 25, fontName=SERIF, spaceAfter=2)
SEAL = _style("seal", 6.5, 9, textColor=MUTED)


def text(words: object, style: ParagraphStyle = BODY) -> Paragraph:
    """A paragraph."""
    return Paragraph(markup(words, style.fontName), style)


def heading(words: str, room: float = 45 * mm) -> list[Flowable]:
    """Of a section; on the next page if there is less than this room for it and what follows."""
    return [CondPageBreak(room), text(words, HEADING)]


def headline(words: str, colour: Color) -> Paragraph:
    """What came out, in a colour of its own."""
    return text(words, ParagraphStyle("headline", HEADLINE, textColor=colour))


def masthead(title: str, lines: Sequence[str]) -> list[Flowable]:
    """Title, what it is about, and a double rule."""
    rules = [
        HRFlowable(width="100%", thickness=thickness, color=GREEN, spaceBefore=before, spaceAfter=after)
        for thickness, before, after in ((1.6, 8, 1.6), (0.5, 0, 10))
    ]
    return [text(title, TITLE), *(text(line, SUBTITLE) for line in lines), *rules]


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    widths: Sequence[float],
    *,
    words: int = 1,
    total: bool = False,
) -> Table:
    """Rows under a head that is repeated on every page.

    Args:
        widths: of the columns, as shares of their sum.
        words: so many columns are text, the others figures.
        total: the last row sums the others up.
    """
    cells: list[list[Paragraph]] = [
        [text(each, HEAD_CELL if i < words else HEAD_FIGURE) for i, each in enumerate(head)]
    ]
    cells += [[text(each, CELL if i < words else FIGURE) for i, each in enumerate(row)] for row in rows]
    scale = WIDTH / sum(widths)
    lines: list[Any] = [
        ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
        ("VALIGN", (0, 1), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, INK),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, RULE),
        ("LEFTPADDING", (0, 0), (0, -1), 0),
        ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
        ("LEFTPADDING", (1, 0), (-1, -1), 4),
        ("RIGHTPADDING", (0, 0), (-2, -1), 2),
        ("TOPPADDING", (0, 0), (-1, -1), 4),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 4.5),
    ]
    if total:
        lines += [("LINEABOVE", (0, -1), (-1, -1), 0.8, INK), ("LINEBELOW", (0, -1), (-1, -1), 0.8, INK)]
    return Table(cells, [width * scale for width in widths], repeatRows=1, style=TableStyle([_OWN_FONT, *lines]))


def facts(pairs: Sequence[tuple[str, object]]) -> list[Flowable]:
    """Labels and what they say, in two columns."""
    return labelled([(text(label, LABEL), [text(value, CELL)]) for label, value in pairs])


def labelled(rows: Sequence[tuple[Paragraph, Sequence[Flowable]]]) -> list[Flowable]:
    """Labels at the left and what belongs to each at the right, hairlines between.

    A row stays on one page unless it is longer than a page.
    """
    lines: list[Any] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (0, -1), 0),
        ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 3.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
        ("LINEBELOW", (0, 0), (-1, -1), 0.3, RULE),
    ]
    style = TableStyle([_OWN_FONT, *lines])
    widths = [LABELS, WIDTH - LABELS]
    return [
        KeepTogether([Table([[label, list(content)]], widths, splitInRow=1, style=style)]) for label, content in rows
    ]


def side_by_side(caption: str, pictures: Sequence[tuple[bytes | None, str]], gone: str) -> Flowable:
    """Two pictures with what they are below them, never torn from their caption; `gone` in place of one that is."""
    gap = 5 * mm
    width, height = (WIDTH - gap) / 2, 62 * mm
    images = [_fitted(content, width, height) if content else text(gone, NOTE) for content, _ in pictures]
    labels = [text(label, NOTE) for _, label in pictures]
    return KeepTogether([text(caption, CAPTION), columns([images, labels], [width + gap, width]), Spacer(0, 9)])


def columns(rows: Sequence[list[Any]], widths: Sequence[float]) -> Table:
    """Things side by side, without lines."""
    lines = [
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]
    return Table(rows, list(widths), style=TableStyle([_OWN_FONT, *lines]), hAlign="LEFT")


def barred(content: Sequence[Flowable], colour: Color, thickness: float = 1.5) -> Flowable:
    """Lines that belong together, along a bar."""
    lines: list[Any] = [
        ("LINEBEFORE", (0, 0), (0, -1), thickness, colour, "butt"),
        ("LEFTPADDING", (0, 0), (-1, -1), 9),
        ("RIGHTPADDING", (0, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 1),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ]
    return Table([[list(content)]], [WIDTH], splitInRow=1, style=TableStyle([_OWN_FONT, *lines]))


def _fitted(content: bytes, width: float, height: float) -> Image:
    image = Image(io.BytesIO(content), hAlign="LEFT")
    scale = min(width / image.imageWidth, height / image.imageHeight)
    image.drawWidth, image.drawHeight = image.imageWidth * scale, image.imageHeight * scale
    return image


class Chart(Flowable):
    """Counts over days as a line over a pale area, from 0 to `most`.

    Drawn on the page itself: reportlab's own drawings name a font that is not embedded.
    """

    _left, _right, _bottom, _top = 12 * mm, 4 * mm, 7 * mm, 6 * mm
    _plot_height = 46 * mm

    def __init__(self, points: Sequence[tuple[date, int]], most: int, unit: str) -> None:
        super().__init__()
        self.points, self.most, self.unit = points, most, unit

    def wrap(self, *_: float) -> tuple[float, float]:
        """reportlab asks how much room it takes."""
        return WIDTH, self._bottom + self._plot_height + self._top

    def _place(self, day: date, count: int) -> tuple[float, float]:
        first, last = self.points[0][0], self.points[-1][0]
        along = (day - first).days / max((last - first).days, 1)
        width = WIDTH - self._left - self._right
        return self._left + width * along, self._bottom + self._plot_height * count / max(self.most, 1)

    def draw(self) -> None:
        """reportlab draws it."""
        canvas, (first, _), (last, reached) = self.canv, self.points[0], self.points[-1]
        corners = [self._place(day, count) for day, count in self.points]
        area = canvas.beginPath()
        area.moveTo(*self._place(first, 0))
        for corner in (*corners, self._place(last, 0)):
            area.lineTo(*corner)
        area.close()
        canvas.setFillColor(PALE)
        canvas.drawPath(area, stroke=0, fill=1)
        canvas.setStrokeColor(RULE)
        canvas.setLineWidth(0.4)
        canvas.setFont(SANS, 7.5)
        canvas.setFillColor(MUTED)
        for count in dict.fromkeys((0, self.most // 2, self.most)):
            (left, y), (right, _) = self._place(first, count), self._place(last, count)
            canvas.line(left, y, right, y)
            canvas.drawRightString(left - 3, y - 2.5, f"{count:,}")
        left, top = self._place(first, self.most)
        canvas.drawString(left, top + 6, plain(self.unit))
        canvas.drawString(left, 5, first.isoformat())
        canvas.drawRightString(right, 5, last.isoformat())
        canvas.setStrokeColor(GREEN)
        canvas.setLineWidth(1.4)
        canvas.setLineJoin(1)
        line = canvas.beginPath()
        line.moveTo(*corners[0])
        for corner in corners[1:]:
            line.lineTo(*corner)
        canvas.drawPath(line)
        canvas.setFillColor(GREEN)
        canvas.setFont(SANS, 8.5)
        canvas.drawRightString(right, corners[-1][1] + 5, f"{reached:,}")


def pdf(story: Callable[[], Sequence[Flowable]], title: str, foot: str, language: str, made: datetime) -> bytes:
    """The document. Every page says at its foot what it belongs to and which of how many it is.

    Args:
        story: makes what stands in it; called when no other document is being made.
        made: when, as the file says; the same story of the same moment gives the same bytes.
    """
    buffer = io.BytesIO()
    document = BaseDocTemplate(
        buffer, pagesize=A4, title=title, author="Jingdi", lang={"zh": "zh-CN"}.get(language, language),
        leftMargin=SIDE, rightMargin=SIDE, topMargin=TOP, bottomMargin=BOTTOM, initialFontName=SANS,
        invariant=1,
    )  # fmt: skip
    frame = Frame(
        SIDE, BOTTOM, WIDTH, A4[1] - TOP - BOTTOM, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0
    )
    document.addPageTemplates([PageTemplate("page", [frame])])

    class Numbered(Canvas):
        """Keeps its pages until it knows how many there are."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.setDateFormatter(lambda *_: f"{made.astimezone(UTC):D:%Y%m%d%H%M%SZ}")
            self._kept: list[dict[str, Any]] = []

        def showPage(self) -> None:
            self._kept.append(dict(self.__dict__))
            self._startPage()  # type: ignore[attr-defined]

        def save(self) -> None:
            for number, page in enumerate(self._kept, 1):
                self.__dict__.update(page)
                _foot(self, foot, say(language, "bulletin.page", number=number, pages=len(self._kept)))
                super().showPage()
            super().save()

    with _printing:
        for font in (SANS, SERIF):
            characters(font)
        document.build(list(story()), canvasmaker=Numbered)
    return buffer.getvalue()


def _foot(canvas: Canvas, words: str, page: str) -> None:
    canvas.setStrokeColor(RULE)
    canvas.setLineWidth(0.4)
    canvas.line(SIDE, BOTTOM - 6 * mm, A4[0] - SIDE, BOTTOM - 6 * mm)
    canvas.setFont(SANS, 7.5)
    canvas.setFillColor(MUTED)
    canvas.drawString(SIDE, BOTTOM - 10.5 * mm, plain(words))
    canvas.drawRightString(A4[0] - SIDE, BOTTOM - 10.5 * mm, plain(page))
