"""Does the ledger add up? Stated totals against the rows, and the rows against their evidence."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.language import say, word
from service.ledger.tables import CLOSED_SITE, SYSTEMS, Decision, Site
from service.ledger.watch import not_observed_since

STATED = Path(__file__).with_name("stated.toml")
"""Totals of the founding case."""
STALE_DAYS = 90
_FIGURES = ("courtyards", "sites", "land", "building", "greened")


class StatedError(ValueError):
    """A file of stated totals that cannot be used; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not fit. `code` is stable; `subject` is a figure or the code of a site."""

    code: str
    subject: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def say(self, language: str) -> str:
        """One sentence."""
        values = {key: word(language, str(value)) for key, value in self.values.items()}
        return say(language, f"ledger.difference.{self.code}", subject=self.subject, **values)


def read_stated(path: Path) -> dict[str, Any]:
    """Stated totals, see `stated.toml`.

    Raises:
        StatedError: the file is no TOML or has keys that are not known.
        OSError: it cannot be read.
    """
    try:
        stated = tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StatedError(str(error)) from error
    parts = {"total": stated.get("total", {}), **{f"system.{k}": v for k, v in stated.get("system", {}).items()}}
    unknown = set(stated) - {"unit_m2", "total", "system"} | set(stated.get("system", {})) - set(SYSTEMS)
    unknown |= {f"{part}.{key}" for part, figures in parts.items() for key in set(figures) - set(_FIGURES)}
    if unknown:
        raise StatedError(f"unknown: {', '.join(sorted(unknown))}")
    return stated


def check(session: Session, stated: Mapping[str, Any], now: datetime, stale_days: int = STALE_DAYS) -> list[Difference]:
    """Everything that does not fit; empty if the ledger adds up."""
    return [*_totals(session, stated), *_evidence(session, now, stale_days)]


def _totals(session: Session, stated: Mapping[str, Any]) -> Iterator[Difference]:
    unit = Decimal(stated.get("unit_m2", 1))
    rows = session.execute(
        select(Site.system, Site.courtyard_id, Site.land_m2, Site.building_m2, Site.greened_m2)
    ).all()  # fmt: skip
    parts = [("total", stated.get("total", {}), rows)]
    for system, figures in stated.get("system", {}).items():
        parts.append((system, figures, [row for row in rows if row.system == system]))
    for part, figures, of_part in parts:
        counted = _count(of_part, unit)
        for name, value in figures.items():
            is_stated = Decimal(value)
            found = counted[name].quantize(is_stated, ROUND_HALF_UP)  # to as many digits as are stated
            if found != is_stated:
                values = {"part": part, "figure": name, "stated": is_stated, "found": f"{counted[name]:f}"}
                yield Difference("total", f"{part}.{name}", values)


def _count(rows: Iterable[Any], unit: Decimal) -> dict[str, Decimal]:
    rows = list(rows)

    def total(column: str) -> Decimal:
        # Decimal: adding thousands of floats would decide a rounding by its errors.
        return sum((Decimal(repr(getattr(row, column))) for row in rows), Decimal(0)) / unit

    return {
        "courtyards": Decimal(len({row.courtyard_id for row in rows})),
        "sites": Decimal(len(rows)),
        "land": total("land_m2"),
        "building": total("building_m2"),
        "greened": total("greened_m2"),
    }


def _evidence(session: Session, now: datetime, stale_days: int) -> Iterator[Difference]:
    accepted = select(Decision.site_id).where(Decision.target == "accepted", Decision.alert_id.is_(None))
    closed = select(Site.code).where(Site.state.in_(CLOSED_SITE)).order_by(Site.code)
    for code in session.scalars(closed.where(Site.id.not_in(accepted))):
        yield Difference("accepted_without_evidence", code)
    for code, baseline in session.execute(closed.add_columns(Site.baseline)):
        if baseline is None:
            yield Difference("no_baseline", code)
    for code in session.scalars(closed.where(Site.closed_on.is_(None))):
        yield Difference("closed_without_date", code)
    for code in session.scalars(select(Site.code).where(Site.state == "open", Site.closed_on.is_not(None))):
        yield Difference("open_with_closing_date", code)
    for site in not_observed_since(session, now - timedelta(days=stale_days)):
        since = site.observed_at.date().isoformat() if site.observed_at else "never"
        yield Difference("not_observed_since", site.code, {"since": since})
