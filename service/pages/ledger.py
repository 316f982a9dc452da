"""The ledger as a page: totals per responsible system, filters, a table to sort and page through. No script."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import Field

from service.api.ledger import SessionDep
from service.language import word
from service.ledger import listing
from service.ledger.exporting import MEDIA_TYPES
from service.ledger.filters import Filter
from service.ledger.listing import Sort
from service.ledger.tables import SYSTEMS, Site
from service.pages.rendering import page_language, render
from service.pages.sites import MARKS, Seen, Unit, figure, may, seen
from service.services import ServicesDep

PAGE = 50
AGES = (7, 30, 90)
UNITS: tuple[Unit, ...] = get_args(Unit)
COLUMNS: tuple[tuple[Sort, bool], ...] = (
    ("code", False), ("state", False), ("system", False), ("street", False), ("batch", False), ("land", True),
    ("building", True), ("greened", True), ("opened", False), ("closed", False), ("observed", False),
)  # fmt: skip
"""Columns in order, and whether they hold figures."""

router = APIRouter(include_in_schema=False)


class Asked(Filter):
    """What the address of the page asks for."""

    sort: Sort = "code"
    order: Literal["asc", "desc"] = "asc"
    unit: Unit = "wan"
    page: Annotated[int, Field(ge=1, le=100_000)] = 1

    def address(self, **changes: Any) -> str:
        """The address of this page with something else asked for; on its first page unless `page` is changed."""
        values = {**self.model_dump(), "page": 1, **changes}
        defaults = Asked().model_dump()
        return "/ledger?" + urlencode({key: value for key, value in values.items() if value != defaults[key]})

    def export(self, kind: str) -> str:
        """The address of what is asked for as a file."""
        chosen = self.model_dump(include=set(Filter.model_fields))
        query = urlencode({key: value for key, value in chosen.items() if value})
        return f"/api/v1/ledger/export.{kind}" + (f"?{query}" if query else "")


@dataclass(frozen=True, slots=True)
class Row:
    """A site and when it was seen whole."""

    site: Site
    seen: Seen


@router.get("/ledger")
def ledger(request: Request, session: SessionDep, parts: ServicesDep, asked: Annotated[Asked, Query()]) -> HTMLResponse:
    """Sites, filtered and sorted, and what they add up to."""
    now, language = datetime.now(UTC), page_language(request, parts.settings.languages)
    wanted = asked.wanted(now)
    found = listing.count(session, wanted)
    pages = max(1, -(-found // PAGE))
    asked = asked.model_copy(update={"page": min(asked.page, pages)})
    rows = listing.sites(
        session, wanted, sort=asked.sort, descending=asked.order == "desc", limit=PAGE, offset=(asked.page - 1) * PAGE
    )
    states = listing.by_state(session, wanted)
    return render(
        request,
        "ledger.html",
        parts.settings,
        asked=asked,
        empty=found == 0 and listing.count(session, listing.EVERYTHING) == 0,
        found=found,
        first=(asked.page - 1) * PAGE + 1,
        rows=[Row(site, seen(site.observed_at, now, language)) for site in rows],
        row_unit="mu" if asked.unit == "mu" else "m2",
        totals=listing.totals(session, wanted),
        states=states,
        everything=sum(states.values()),
        columns=[(name, figures, *_sorting(asked, name)) for name, figures in COLUMNS],
        systems=[(system, word(language, system)) for system in SYSTEMS],
        streets=[(street, street) for street in listing.choices(session, "street")],
        batches=[(batch, batch) for batch in listing.choices(session, "batch")],
        ages=AGES,
        units=UNITS,
        pages=around(asked.page, pages, lambda page: asked.address(page=page)),
        figure=figure,
        marks=MARKS,
        may_import=may(request, "import"),
        exports=[(kind, asked.export(kind)) for kind in MEDIA_TYPES] if may(request, "export") else [],
    )


def _sorting(asked: Asked, column: Sort) -> tuple[str, str | None]:
    """Where the heading of a column leads, and how the table is sorted by it now."""
    if asked.sort != column:
        return asked.address(sort=column, order="asc"), None
    turned = "asc" if asked.order == "desc" else "desc"
    return asked.address(order=turned), "descending" if asked.order == "desc" else "ascending"


def around(page: int, pages: int, address: Callable[[int], str]) -> list[tuple[int, str | None]]:
    """Pages to offer: the first, the last and those near this one. (number, address), None in place of this one."""
    near = sorted({1, pages, *(each for each in range(page - 2, page + 3) if 1 <= each <= pages)})
    return [(each, None if each == page else address(each)) for each in near] if pages > 1 else []
