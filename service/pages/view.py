"""From a stored report to what a page shows: figures as text, outlines as SVG paths, reasons as sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shapely.geometry import Polygon

from inference.findings import KINDS
from inference.reasons import Reason
from service.database import PairRow
from service.language import say, word
from service.ledger.states import CHINA

M2_PER_MU = 10_000 / 15

# A close-up shows a finding with this much around it, and never less than so many pixels.
_CLOSE_UP_MARGIN = 0.6
_CLOSE_UP_MIN_PX = 48.0
_CROWDED = (12, 30)


@dataclass(frozen=True, slots=True)
class FindingView:
    """One finding, ready to be drawn and listed. Positions are shares of the picture as SVG percentages."""

    id: int
    kind: str
    area: str
    error: str | None
    mu: str | None
    probability: str
    path: str
    left: str
    top: str
    close_up: str


@dataclass(frozen=True, slots=True)
class TotalView:
    """All findings of one kind."""

    kind: str
    count: int
    area: str
    mu: str | None


@dataclass(frozen=True, slots=True)
class ReasonView:
    """A reason or note in words."""

    code: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ResultView:
    """A finished pair."""

    verdict: str
    headline: str
    summary: str
    observed: str
    unobserved: str | None
    unseen: str
    reasons: Sequence[ReasonView]
    notes: Sequence[ReasonView]
    findings: Sequence[FindingView]
    totals: Sequence[TotalView]
    sources: Sequence[tuple[str, str, str]]
    facts: Sequence[tuple[str, str]]
    photographs: bool
    shares: Sequence[tuple[str, Sequence[str]]]
    width: int
    height: int
    shape: int

    @property
    def crowd(self) -> int:
        """How many numbers there are to show in the picture: 0 few, 1 too many for a phone, 2 too many."""
        return sum(len(self.findings) > limit for limit in _CROWDED)

    @property
    def has_imagery(self) -> bool:
        """Whether both pictures lie on one grid and can be shown."""
        return self.width > 0


def result(row: PairRow, language: str) -> ResultView:
    """What the page of a finished pair says."""
    report = row.report or {}
    verdict, totals = report["verdict"], report["totals"]
    width, height = row.width or 0, row.height or 0
    share = verdict["observed_share"]
    photographs = report.get("kind") == "photos"  # reports of earlier versions know no kind
    view_px = width * height * share if photographs else None
    total_views = [_total(kind, totals[kind], language, view_px) for kind in KINDS]
    kind = verdict["kind"]
    spoken = next((total for total in total_views if total.kind == kind), total_views[-1])
    key = "verdict.clear.removed" if kind == "clear" and spoken.count else f"verdict.{kind}.summary"
    if photographs and kind in ("clear", "remaining"):
        key = f"verdict.{kind}.photos"
    views = report.get("views")
    structure = percent((views[1]["common"] or {}).get("structure", 0.0), digits=1) if views else ""
    return ResultView(
        verdict=kind,
        headline=say(language, f"verdict.{kind}.title"),
        summary=say(language, key, count=spoken.count, area=_with_mu(spoken.area, spoken.mu), structure=structure),
        observed=percent(share, digits=1),
        unobserved=percent(1 - math.floor(share * 1000) / 1000, digits=1) if share < 1 else None,
        unseen=" ".join(path(rings) for rings in verdict.get("unobserved_px", ())),  # earlier reports know none
        reasons=[_reason(item, language) for item in verdict["reasons"]],
        notes=[_reason(item, language) for item in verdict["notes"]],
        findings=[_finding(item, width, height, language, view_px) for item in report["findings"]] if width else [],
        totals=total_views,
        sources=_sources(row, report["images"], language, photographs),
        facts=_facts(row, report, language),
        photographs=photographs,
        shares=_shares(views, language) if views else [],
        width=width,
        height=height,
        shape=_shape(width, height),
    )


def percent(share: float, *, digits: int = 0) -> str:
    """Rounded down, so that nothing short of the whole reads as 100 %."""
    scale = 10**digits
    return f"{math.floor(share * 100 * scale + 1e-6) / scale:g}%"


def moment(value: datetime | str | None, language: str) -> str:
    """A date and time as on a clock in China; a camera's time without a zone is taken as it is."""
    if value is None:
        return say(language, "fact.unknown")
    when = datetime.fromisoformat(value) if isinstance(value, str) else value
    if when.tzinfo is not None:
        when = when.astimezone(CHINA)
    return f"{when:%Y-%m-%d %H:%M}"


def _area(item: Mapping[str, Any], language: str, view_px: float | None) -> tuple[str, str | None]:
    """What a patch covers, and the same in mu; of photographs the share of the view that both have in common."""
    if view_px:
        return say(language, "unit.view", value=percent(item["area_px"] / view_px, digits=1)), None
    if item["area_m2"] is None:
        return say(language, "unit.px", value=f"{item['area_px']:,.0f}"), None
    return areas(item["area_m2"], language)


def areas(m2: float, language: str) -> tuple[str, str]:
    """An area in m2, and the same in mu."""
    in_mu = say(language, "unit.mu", value=f"{m2 / M2_PER_MU:,.2f}")
    return say(language, "unit.m2", value=f"{m2:,.0f}"), in_mu


def _with_mu(area: str, mu: str | None) -> str:
    return f"{area} ({mu})" if mu else area


def _total(kind: str, item: Mapping[str, Any], language: str, view_px: float | None) -> TotalView:
    area, mu = _area(item, language, view_px)
    return TotalView(kind, item["count"], area, mu)


def _reason(item: Mapping[str, Any], language: str) -> ReasonView:
    reason = Reason(item["code"], item["values"])
    return ReasonView(reason.code, reason.say(language), reason.remedy(language))


def _finding(item: Mapping[str, Any], width: int, height: int, language: str, view_px: float | None) -> FindingView:
    area, mu = _area(item, language, view_px)
    error = item["area_error_m2"]
    rings = item["polygon_px"]
    polygon = Polygon(rings[0], rings[1:])
    left, top = place(polygon, width, height)
    return FindingView(
        id=item["id"],
        kind=item["kind"],
        area=area,
        error=None if error is None else f"±{error:,.0f}" if error >= 1 else f"±{error:.1f}",
        mu=mu,
        probability=percent(item["probability"]),
        path=path(rings),
        left=left,
        top=top,
        close_up=close_up(polygon.bounds, width, height),
    )


def path(rings: Sequence[Sequence[tuple[float, float]]]) -> str:
    """Rings in pixels as an SVG path."""
    return " ".join("M" + "L".join(f"{x:g} {y:g}" for x, y in ring) + "Z" for ring in rings)


def place(polygon: Polygon, width: int, height: int) -> tuple[str, str]:
    """A point inside, from left and top in shares of the picture as SVG percentages."""
    inside = polygon.representative_point()
    return f"{100 * inside.x / width:.3f}%", f"{100 * inside.y / height:.3f}%"


def close_up(bounds: tuple[float, float, float, float], width: int, height: int) -> str:
    """A square SVG view box around a finding, inside the picture as far as the picture goes."""
    left, top, right, bottom = bounds
    side = max((right - left), (bottom - top)) * (1 + 2 * _CLOSE_UP_MARGIN)
    side = min(max(side, _CLOSE_UP_MIN_PX), min(width, height))
    x = min(max((left + right - side) / 2, 0), width - side)
    y = min(max((top + bottom - side) / 2, 0), height - side)
    return f"{x:.1f} {y:.1f} {side:.1f} {side:.1f}"


def _shape(width: int, height: int) -> int:
    """Width over height in eighths, rounded down: the style sheet keeps tall pictures within the window."""
    return min(max(math.floor(8 * width / height), 3), 16) if width else 8


def _shares(views: Sequence[Mapping[str, Any]], language: str) -> list[tuple[str, list[str]]]:
    """What the photographs show: class; its share in both common views, the rest of the earlier, all of the later."""
    before, after = views
    columns = before["common"], after["common"], before["outside"], after["whole"]
    names = next((list(column) for column in columns if column), [])
    return [
        (word(language, name), [percent(column[name], digits=1) if column else "–" for column in columns])
        for name in names
    ]


def _sources(
    row: PairRow, images: Mapping[str, Any] | None, language: str, photographs: bool
) -> list[tuple[str, str, str]]:
    """What is known of both pictures: label, before, after."""
    names = say(language, "fact.file"), row.before_name, row.after_name
    if images is None:
        return [names]

    def size(image: Mapping[str, Any]) -> str:
        return f"{image['width']} × {image['height']}"

    def gsd(image: Mapping[str, Any]) -> str:
        known = image["gsd"] is not None
        return say(language, "fact.gsd_text", value=f"{image['gsd']:.3g}") if known else unknown

    def crs(image: Mapping[str, Any]) -> str:
        return image["crs"] or say(language, "fact.none")

    def captured(image: Mapping[str, Any]) -> str:
        return moment(image["captured_at"], language)

    def place(image: Mapping[str, Any]) -> str:
        return "{:.5f}, {:.5f}".format(*image["place"]) if image.get("place") else unknown

    unknown = say(language, "fact.unknown")
    rows = {"size": size, "gsd": gsd, "captured_at": captured, "crs": crs}
    if photographs:
        rows = {"size": size, "captured_at": captured, "place": place}
    before, after = images["before"], images["after"]
    return [names, *((say(language, f"fact.{key}"), text(before), text(after)) for key, text in rows.items())]


def _facts(row: PairRow, report: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    """How the pair was compared: label and text."""
    facts: list[tuple[str, str]] = []
    if registration := report["registration"]:
        inliers, residual = registration["inliers"], registration["residual_px"]
        text = say(
            language,
            "fact.registration_text" if inliers else "fact.registration_direct",
            model=word(language, registration["model"]),
            inliers=inliers,
            overlap=percent(registration["overlap"]),
            residual=say(language, "fact.unknown") if residual is None else f"{residual:.2f} px",
        )
        facts.append((say(language, "fact.registration"), text))
    if model := report["model"]:
        facts.append((say(language, "fact.model"), f"{model['name']} {model['version']}"))
        facts.append(("SHA-256", model["sha256"]))
    facts.append((say(language, "fact.submitted"), moment(row.created_at, language)))
    return facts
