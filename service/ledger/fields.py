"""The columns of a ledger file: what each is called in Chinese and in code, and how a cell is read.

A column that a file lacks leaves what is stored alone; an empty cell empties it. Areas are in m2 unless the heading
names another unit in brackets, as in 占地面积（亩）.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

from service.language import say, word
from service.ledger.tables import SITE_STATES, SYSTEMS

SYSTEM_NAMES = dict(zip(SYSTEMS, ("集经系统", "国资系统", "首钢系统", "政府部门和社会单位"), strict=True))
STATE_NAMES = dict(
    zip(SITE_STATES, ("挂账", "申报销账", "已销账", "销账巡查", "疑似反弹", "反弹属实"), strict=True)
)  # fmt: skip
UNITS = {
    "m2": 1.0,
    "平方米": 1.0,
    "平米": 1.0,
    "亩": 2000 / 3,
    "公顷": 1e4,
    "万m2": 1e4,
    "万平方米": 1e4,
    "米": 1.0,
    "m": 1.0,
}
_UNIT_KINDS = {"area": ("m2", "平方米", "平米", "亩", "公顷", "万m2", "万平方米"), "length": ("m", "米")}
_DECIMALS = 4
"""Of square metres, metres and shares: what every spreadsheet gives back without a difference."""
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
_DATE = re.compile(r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?(?:[T ]00:00(:00(\.0+)?)?)?")
_HEADING = re.compile(r"(.+?)\s*[(\[](.+?)[)\]]")

Kind = Literal["text", "area", "length", "number", "share", "date", "system", "state"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about one row of a file, or (`row` 0) about the file.

    Attributes:
        row: as the spreadsheet counts, the heading being row 1; of GeoJSON and GeoPackage the number of the feature.
        column: the field it is about, None for the whole row.
        fatal: the row cannot be imported; otherwise a warning.
    """

    row: int
    column: str | None
    code: str
    fatal: bool = True
    values: Mapping[str, Any] = field(default_factory=dict)

    def say(self, language: str) -> str:
        """The cause, in one sentence."""
        return self._text("say", language)

    def remedy(self, language: str) -> str:
        """What a person can do about it."""
        return self._text("do", language)

    def _text(self, part: str, language: str) -> str:
        values = {key: word(language, value) if isinstance(value, str) else value for key, value in self.values.items()}
        return say(language, f"ledger.problem.{self.code}.{part}", **values)


class CellError(ValueError):
    """A cell that cannot be read. `code` and `values` as in `Problem`."""

    def __init__(self, code: str, **values: Any) -> None:
        super().__init__(code)
        self.code, self.values = code, values


@dataclass(frozen=True, slots=True)
class Field:
    """A column. `limit` is the longest text; `also` are further headings that mean the same."""

    name: str
    zh: str
    kind: Kind = "text"
    required: bool = False
    limit: int = 64
    also: tuple[str, ...] = ()

    def parse(self, cell: Any, factor: float) -> Any:
        """The value of a cell, None if it is empty.

        Raises:
            CellError: it cannot be read, or it is required and empty.
        """
        text = _text(cell)
        if not text:
            if self.required:
                raise CellError("empty")
            return None
        if self.kind == "date":
            return _date(cell, text)
        if self.kind in ("system", "state"):
            return _choice(SYSTEM_NAMES if self.kind == "system" else STATE_NAMES, text)
        if self.kind != "text":
            return _number(text, factor, self.kind)
        if len(text) > self.limit:
            raise CellError("too_long", limit=self.limit)
        return text


FIELDS = (
    Field("code", "点位编号", required=True),
    Field("courtyard_code", "院编号", required=True),
    Field("courtyard_name", "院名称", required=True, limit=200),
    Field("name", "点位名称", required=True, limit=200),
    Field("system", "责任系统", "system", required=True),
    Field("street", "街道", also=("所属街道",)),
    Field("community", "社区", also=("所属社区",)),
    Field("batch", "批次"),
    Field("land_m2", "占地面积", "area", required=True),
    Field("building_m2", "建筑面积", "area", required=True),
    Field("greened_m2", "覆绿面积", "area"),
    Field("opened_on", "挂账日期", "date"),
    Field("closed_on", "销账日期", "date"),
    Field("state", "状态", "state"),
    Field("inspector", "巡查人员"),
    Field("sensitivity", "报警概率下限", "share"),
    Field("lon", "经度", "number", also=("东坐标", "longitude", "easting")),
    Field("lat", "纬度", "number", also=("北坐标", "latitude", "northing")),
    Field("radius_m", "半径", "length"),
    Field("boundary", "边界", limit=1_000_000, also=("wkt",)),
)
BY_NAME = {each.name: each for each in FIELDS}
LOCATION = ("lon", "lat", "radius_m", "boundary")
_BY_HEADING = {heading: each for each in FIELDS for heading in (each.name, each.zh, *each.also)}


def match_heading(heading: Any) -> tuple[Field, float] | None:
    """The field a heading means and the factor of its unit, None if it is none of the ledger's.

    Raises:
        CellError: it is one, but in a unit that is not known.
    """
    text = unicodedata.normalize("NFKC", _text(heading)).casefold()
    if text in _BY_HEADING:
        return _BY_HEADING[text], 1.0
    parts = _HEADING.fullmatch(text)
    found = _BY_HEADING.get(parts[1]) if parts else None
    if parts is None or found is None:
        return None
    if parts[2] not in _UNIT_KINDS.get(found.kind, ()):
        raise CellError("unknown_unit", unit=parts[2])
    return found, UNITS[parts[2]]


def _text(cell: Any) -> str:
    """A cell as text, runs of white space made one space."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        if math.isnan(cell):
            return ""
        cell = int(cell) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    text = " ".join(str(cell).split())
    if not text.isprintable() and any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise CellError("control_character")
    return text


def _number(text: str, factor: float, kind: Kind) -> float:
    plain = unicodedata.normalize("NFKC", text)
    if _GROUPED.fullmatch(plain):
        plain = plain.replace(",", "")
    try:
        value = float(plain) * factor
    except ValueError:
        value = math.nan
    if "_" in plain or not math.isfinite(value):
        raise CellError("not_a_number", value=text[:40])
    if kind != "number" and value < 0:
        raise CellError("negative")
    if kind == "share" and value > 1:
        raise CellError("not_a_share")
    return value if kind == "number" else round(value, _DECIMALS)


def _date(cell: Any, text: str) -> date:
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    parts = _DATE.fullmatch(unicodedata.normalize("NFKC", text))
    try:
        if parts:
            return date(*(int(part) for part in parts.groups()[:3]))
    except ValueError:
        pass
    raise CellError("not_a_date", value=text[:40])


def _choice(names: Mapping[Any, str], text: str) -> str:
    for code, name in names.items():
        if text.casefold() in (code, name):
            return str(code)
    raise CellError("unknown_choice", value=text[:40], choices="、".join(names.values()))
