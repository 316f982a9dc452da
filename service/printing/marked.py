"""Pictures with what was found drawn over them: outlines stay sharp however far a reader zooms in."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

from PIL import Image
from reportlab.lib.colors import HexColor
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.pdfgen.pathobject import PDFPathObject
from reportlab.platypus import Flowable

from service.printing.fonts import SANS

DRAWN = {"new": HexColor("#ff7a21"), "remaining": HexColor("#f0e442"), "removed": HexColor("#35b4f0")}
DASHES = {"new": (), "remaining": (3.4, 1.9), "removed": (0.1, 2.2)}
"""As on screen: see static/picture.css."""
CASING, WHITE = HexColor("#10140f"), HexColor("#ffffff")
VEIL, HATCH = HexColor("#bebebe"), HexColor("#5a5a5a")
"""Of what was not seen, as on screen."""
LINE = 1.1
_HATCH_STEP = 4.5
_RADIUS, _DIGITS = 4.0, 5.2
_DOTS_PER_POINT = 300 / 72


Rings = Sequence[Sequence[tuple[float, float]]]
"""A polygon: exterior, then holes; (x, y) in pixels of the common grid, y downwards."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A finding as it is drawn.

    Attributes:
        mark: where its number goes.
    """

    id: int
    kind: str
    rings: Rings
    mark: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the common grid, in its pixels."""

    left: float
    top: float
    width: float
    height: float


class View:
    """One date of a pair on the common grid, as it is kept to be shown.

    Args:
        width, height: of the grid in pixels; the file may be smaller.
    """

    def __init__(self, path: Path, width: int, height: int) -> None:
        self.path, self.width, self.height = path, width, height

    @property
    def whole(self) -> Section:
        """All of it."""
        return Section(0, 0, self.width, self.height)

    @cached_property
    def _picture(self) -> Image.Image | None:
        try:
            with Image.open(self.path) as image:
                return image.convert("RGB")
        except OSError:
            return None

    def part(self, section: Section, width: float, height: float) -> bytes | None:
        """A JPEG to fill `width` x `height` points of paper, None if the file is gone or damaged."""
        picture = self._picture
        if picture is None:
            return None
        across, down = picture.width / self.width, picture.height / self.height
        box = (
            section.left * across, section.top * down,
            min((section.left + section.width) * across, picture.width),
            min((section.top + section.height) * down, picture.height),
        )  # fmt: skip
        size = round(width * _DOTS_PER_POINT), round(height * _DOTS_PER_POINT)
        buffer = io.BytesIO()
        picture.resize(size, Image.Resampling.BICUBIC, box, reducing_gap=3).save(buffer, "JPEG", quality=85)
        return buffer.getvalue()


class Marked(Flowable):
    """A part of a picture with the outlines that reach into it.

    Args:
        jpeg: shows just that part.
        width, height: on paper, in points.
        numbered: ids of the findings whose numbers are shown.
        unseen: what was not seen at both dates, hatched.
    """

    def __init__(
        self, jpeg: bytes, section: Section, outlines: Sequence[Outline], width: float, height: float,
        numbered: frozenset[int] = frozenset(), unseen: Sequence[Rings] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.unseen = unseen
        self.jpeg, self.section, self.outlines = jpeg, section, outlines
        self.width, self.height, self.numbered = width, height, numbered

    def wrap(self, *_: float) -> tuple[float, float]:
        """reportlab asks how much room it takes."""
        return self.width, self.height

    def draw(self) -> None:
        """reportlab draws it."""
        canvas: Canvas = self.canv
        canvas.saveState()
        frame = canvas.beginPath()
        frame.rect(0, 0, self.width, self.height)
        canvas.clipPath(frame, stroke=0)
        canvas.drawImage(ImageReader(io.BytesIO(self.jpeg)), 0, 0, self.width, self.height)
        if self.unseen:
            _hatch(canvas, self._placed(chain.from_iterable(self.unseen)), self.width, self.height)
        canvas.setLineJoin(1)
        canvas.setLineCap(1)
        for outline in self.outlines:
            self._line(canvas, outline)
        for outline in self.outlines:
            if outline.id in self.numbered:
                self._number(canvas, outline)
        canvas.restoreState()

    def _line(self, canvas: Canvas, outline: Outline) -> None:
        """The colour over a dark casing, so that it is seen on any ground."""
        path = _closed(canvas, self._placed(outline.rings))
        canvas.setStrokeColor(CASING, 0.55)
        canvas.setLineWidth(2 * LINE)
        canvas.setDash()
        canvas.drawPath(path)
        canvas.setFillColor(DRAWN[outline.kind], 0.12)
        canvas.setStrokeColor(DRAWN[outline.kind], 1)
        canvas.setLineWidth(LINE)
        canvas.setDash(list(DASHES[outline.kind]))
        canvas.drawPath(path, fill=1, fillMode=0)
        canvas.setDash()

    def _number(self, canvas: Canvas, outline: Outline) -> None:
        x, y = self._place(*outline.mark)
        canvas.setFillColor(CASING, 0.85)
        canvas.setStrokeColor(DRAWN[outline.kind], 1)
        canvas.setLineWidth(0.8)
        canvas.circle(x, y, _RADIUS, fill=1)
        canvas.setFillColor(WHITE, 1)
        canvas.setFont(SANS, _DIGITS)
        canvas.drawCentredString(x, y - 0.36 * _DIGITS, str(outline.id))

    def _placed(self, rings: Iterable[Sequence[tuple[float, float]]]) -> Rings:
        return [[self._place(*corner) for corner in ring] for ring in rings]

    def _place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.section.left) / self.section.width
        down = (y - self.section.top) / self.section.height
        return self.width * across, self.height * (1 - down)


def _closed(canvas: Canvas, rings: Rings) -> PDFPathObject:
    path = canvas.beginPath()
    for ring in rings:
        path.moveTo(*ring[0])
        for corner in ring[1:]:
            path.lineTo(*corner)
        path.close()
    return path


def _hatch(canvas: Canvas, rings: Rings, width: float, height: float) -> None:
    """Hatch what the rings enclose, within `width` x `height` points."""
    canvas.saveState()
    canvas.clipPath(_closed(canvas, rings), stroke=0, fillMode=0)
    canvas.setFillColor(VEIL, 0.35)
    canvas.rect(0, 0, width, height, stroke=0, fill=1)
    canvas.setStrokeColor(HATCH, 0.7)
    canvas.setLineWidth(_HATCH_STEP / 3)
    for i in range(int((width + height) / _HATCH_STEP) + 1):
        left = i * _HATCH_STEP - height
        canvas.line(left, 0, left + height, height)
    canvas.restoreState()


class Stroke(Flowable):
    """How the outline of a kind looks, for a legend."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.width, self.height = 18.0, 6.0

    def draw(self) -> None:
        """reportlab draws it."""
        canvas: Canvas = self.canv
        canvas.setLineCap(1)
        canvas.setStrokeColor(CASING, 0.55)
        canvas.setLineWidth(2.4 * LINE)
        canvas.line(1, 3, 17, 3)
        canvas.setStrokeColor(DRAWN[self.kind], 1)
        canvas.setLineWidth(1.3 * LINE)
        canvas.setDash(list(DASHES[self.kind]))
        canvas.line(1, 3, 17, 3)


class Hatched(Flowable):
    """How what was not seen looks, for a legend."""

    def __init__(self) -> None:
        super().__init__()
        self.width, self.height = 18.0, 9.0

    def draw(self) -> None:
        """reportlab draws it."""
        canvas: Canvas = self.canv
        corners = [(0.0, 0.0), (self.width, 0.0), (self.width, self.height), (0.0, self.height)]
        _hatch(canvas, [corners], self.width, self.height)
