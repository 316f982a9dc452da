"""The two fonts of the PDFs, and text set in them so that nothing is lost unseen.

See `service/fonts/README.md`. reportlab embeds of each font what a document uses, with the table by which its text can
be searched and copied.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from itertools import groupby
from xml.sax.saxutils import escape

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

SANS, SERIF = "JingdiSans", "JingdiSerif"
_FILES = {SANS: "JingdiSans-Regular.ttf", SERIF: "JingdiSerif-Bold.ttf"}
MISSING = "〓"
"""Stands for a character that no font has, as printers have always put it."""


@cache
def characters(font: str) -> frozenset[int]:
    """Registers a font with reportlab, and says which characters it has."""
    loaded = TTFont(font, str(files("service") / "fonts" / _FILES[font]))
    pdfmetrics.registerFont(loaded)
    return frozenset(loaded.face.charToGlyph)


def markup(text: object, font: str = SANS) -> str:
    """Text as reportlab's paragraphs take it: escaped, what `font` lacks in the text font, what that lacks as 〓.
    Line feeds stay."""
    own, text_font = characters(font), characters(SANS)

    def face(character: str) -> str:
        if ord(character) in own or character.isspace():
            return font
        return SANS if ord(character) in text_font else MISSING

    parts = []
    for name, run in groupby(str(text), face):
        found = "".join(run)
        shown = escape(MISSING * len(found) if name == MISSING else found)
        parts.append(shown if name == font else f'<font name="{SANS}">{shown}</font>')
    return "".join(parts).replace("\n", "<br/>")


def plain(text: object, font: str = SANS) -> str:
    """Text for places that take no markup: what `font` lacks as 〓."""
    own = characters(font)
    return "".join(c if ord(c) in own or c == " " else MISSING for c in str(text))
