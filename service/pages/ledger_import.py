"""The import wizard: file and coordinate system, a dry run that lists every problem, then the import. No script."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request, UploadFile
from fastapi.responses import RedirectResponse, Response

from service import errors
from service.api.pairs import multipart
from service.api.people import Asking
from service.ledger.audit import Actor
from service.ledger.importing import import_ledger
from service.ledger.reading import MAX_BYTES, MAX_ROWS
from service.ledger.schemas import ImportOut
from service.ledger.staging import Staged, Staging
from service.pages.ledger import around
from service.pages.rendering import page_language, render
from service.pages.sites import nameless
from service.people.rights import acting
from service.services import Services, ServicesDep

PROBLEMS = 200
CHOICES = ("WGS-84", "CGCS2000", "EPSG:4548", "EPSG:32650", "GCJ-02", "BD-09")
"""Coordinate systems with an explanation of their own; any other by its EPSG number."""

router = APIRouter(include_in_schema=False)

PageQuery = Annotated[int, Query(ge=1, le=100_000)]
Short = Annotated[str, Form(max_length=64)]


@router.get("/ledger/import")
def ledger_import(request: Request, parts: ServicesDep) -> Response:
    """Which file, and which coordinate system it is in."""
    return _form(request, parts)


@router.post("/ledger/import", dependencies=[Depends(multipart)])
def ledger_try(
    request: Request,
    parts: ServicesDep,
    asking: Asking,
    file: UploadFile | None = None,
    crs: Short = "",
    other: Short = "",
) -> Response:
    """Keeps the file for a dry run; what is missing is asked for again."""
    named = other.strip() if crs == "other" else crs
    data = file.file.read(MAX_BYTES + 1) if file else b""
    missing = "need_file" if not data else "need_crs" if not named else None
    if missing:
        return _form(request, parts, missing=missing, crs=crs, other=other, status_code=422)
    staged = Staging(parts.settings.data_dir).put(data, file.filename or "" if file else "", named, asking.name)
    return RedirectResponse(f"/ledger/import/{staged.token}", 303)


@router.get("/ledger/import/{token}")
def ledger_tried(request: Request, token: str, parts: ServicesDep, asking: Asking, page: PageQuery = 1) -> Response:
    """What an import would do, and what is wrong with which row; or what it did."""
    staging = Staging(parts.settings.data_dir)
    staged = staging.get(token, asking.name)
    if staged.written:
        return render(request, "ledger_imported.html", parts.settings, staged=staged)
    return _tried(request, parts, staging.data(staged), staged, page)


@router.post("/ledger/import/{token}")
def ledger_take(
    request: Request, token: str, parts: ServicesDep, asking: Asking, skip_bad: bool = Form(False), actor: Short = ""
) -> Response:
    """Writes what was tried, and says so; or says why not."""
    staging = Staging(parts.settings.data_dir)
    staged = staging.get(token, asking.name)
    if staged.written is None:
        data = staging.data(staged)
        try:
            report = import_ledger(
                parts.pairs.engine, data, staged.crs, acting(request, Actor(actor)), file_name=staged.file_name,
                skip_bad=skip_bad,
            )  # fmt: skip
            if not report.written:
                raise errors.LedgerRowsRefused
        except (errors.PersonRequired, errors.LedgerRowsRefused) as error:
            return _tried(request, parts, data, staged, 1, error)
        staging.done(staged, report)
    return RedirectResponse(f"/ledger/import/{token}", 303)


def _form(
    request: Request, parts: Services, *, missing: str | None = None, crs: str = "", other: str = "",
    status_code: int = 200,
) -> Response:  # fmt: skip
    return render(
        request, "ledger_import.html", parts.settings, status_code=status_code, missing=missing, crs=crs, other=other,
        choices=CHOICES, limit_mb=MAX_BYTES // 2**20, limit_rows=MAX_ROWS,
    )  # fmt: skip


def _tried(
    request: Request, parts: Services, data: bytes, staged: Staged, page: int,
    error: errors.ServiceError | None = None,
) -> Response:  # fmt: skip
    """The dry run, made anew: the ledger may have changed since the last one."""
    language = page_language(request, parts.settings.languages)
    report = import_ledger(
        parts.pairs.engine, data, staged.crs, Actor(staged.person), file_name=staged.file_name, dry_run=True
    )
    told = ImportOut.of(report, language)
    pages = max(1, -(-len(told.problems) // PROBLEMS))
    page = min(page, pages)
    problem = None if error is None else errors.describe(error, language, parts.settings.max_bytes)
    return render(
        request, "ledger_tried.html", parts.settings, status_code=problem.status if problem else 200, staged=staged,
        report=told, shown=told.problems[(page - 1) * PROBLEMS : page * PROBLEMS],
        fatal=any(each.fatal for each in told.problems),
        whole=any(each.fatal and each.row == 0 for each in told.problems),
        pages=around(page, pages, lambda number: f"/ledger/import/{staged.token}?page={number}"),
        problem=problem, nameless=nameless(request),
    )  # fmt: skip
