"""The pages of a comparison: two places for pictures, progress, result, the camera for another try."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from service.api.photographs import ghost
from service.comparisons import STAGES
from service.corrections.review import read
from service.pages import reviewing, view
from service.pages.rendering import page_language, render
from service.pages.sites import may, nameless
from service.services import PairDep, ServicesDep

RECENT = 12

router = APIRouter(include_in_schema=False)


@router.get("/")
def start(request: Request, parts: ServicesDep) -> HTMLResponse:
    """Two places for pictures, and what was compared recently."""
    return render(
        request,
        "start.html",
        parts.settings,
        recent=parts.pairs.recent(RECENT),
        ready=parts.intake is not None,
        max_bytes=parts.settings.max_bytes,
        may_compare=may(request, "compare"),
    )


@router.get("/batch")
def batch(request: Request, parts: ServicesDep) -> HTMLResponse:
    """Many pairs at once, and a table of what came out."""
    return render(
        request, "batch.html", parts.settings, ready=parts.intake is not None, max_bytes=parts.settings.max_bytes
    )


@router.get("/pairs/{id}")
def pair(request: Request, row: PairDep, parts: ServicesDep) -> HTMLResponse:
    """One pair: how far it is, or what came out."""
    if row.status == "done":
        language = page_language(request, parts.settings.languages)
        with Session(parts.pairs.engine) as session:
            review = reviewing.review(row, read(session, row.id), language)
        return render(
            request,
            "result.html",
            parts.settings,
            pair=row,
            result=view.result(row, language),
            review=review,
            may_correct=review is not None and may(request, "compare"),
            nameless=nameless(request),
        )
    return render(request, "progress.html", parts.settings, pair=row, stages=list(STAGES))


@router.get("/shoot/{id}")
def shoot(request: Request, row: PairDep, parts: ServicesDep) -> HTMLResponse:
    """A camera with the earlier photograph over its view, so that the second can be compared with the first."""
    ghost(row, parts)
    return render(
        request, "shoot.html", parts.settings, pair=row, max_bytes=parts.settings.max_bytes, ready=bool(parts.intake)
    )
