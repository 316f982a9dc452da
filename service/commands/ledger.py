"""`jingdi ledger import | export | check` and `jingdi audit verify`.

Exit codes: 0 all is well; 1 rows were refused, the ledger does not add up, or the audit log is not as it was
written; 2 usage or an unusable file.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from service.settings import Settings

WELL, DIFFERS, USAGE = 0, 1, 2
err = Console(stderr=True)
out = Console()
ledger = typer.Typer(no_args_is_help=True, help="The ledger of sites: import, export, check.")
audit = typer.Typer(no_args_is_help=True, help="The audit log.")

CrsOption = Annotated[str, typer.Option(help="WGS-84, CGCS2000, GCJ-02, BD-09 or EPSG:n. Never guessed.")]
DataOption = Annotated[Path | None, typer.Option("--data-dir", help="Where the embedded database is kept.")]
LanguageOption = Annotated[str, typer.Option(envvar="JINGDI_LANGUAGE", help="zh or en, for sentences.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(ledger, name="ledger")
    app.add_typer(audit, name="audit")


@ledger.command("import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, xlsx, GeoJSON or GeoPackage.")],
    crs: CrsOption,
    actor: Annotated[str, typer.Option(help="Who answers for it, by name.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check only, and list every row's problem.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Write the good rows although others are bad.")] = False,
    data_dir: DataOption = None,
    language: LanguageOption = "zh",
) -> None:
    """Take a ledger file over, all of it or nothing. The same file again changes nothing."""
    from service.errors import PersonRequired
    from service.language import say, word
    from service.ledger.audit import Actor
    from service.ledger.importing import import_ledger

    check_language(language)
    engine = open_database(data_dir)
    try:
        report = import_ledger(
            engine, file.read_bytes(), crs, Actor(actor), file_name=file.name, dry_run=dry_run, skip_bad=skip_bad
        )
    except PersonRequired:
        raise typer.BadParameter(say(language, "problem.person_required.detail"), param_hint="--actor") from None
    finally:
        engine.dispose()
    if report.problems:
        table = Table(*(say(language, f"ledger.column.{name}") for name in ("row", "column", "problem", "remedy")))
        for problem in report.problems:
            style = "red" if problem.fatal else "yellow"
            texts = (problem.say(language), problem.remedy(language))
            column = word(language, problem.column) if problem.column else ""
            table.add_row(str(problem.row or "–"), *map(escape, (column, *texts)), style=style)
        out.print(table)
    counts = {name: len(getattr(report, name)) for name in ("created", "updated", "unchanged", "skipped")}
    out.print(say(language, "ledger.written" if report.written else "ledger.not_written", **counts))
    if report.refused and not report.written:
        raise typer.Exit(DIFFERS)


@ledger.command()
def export(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="The ending says which: csv, xlsx, geojson, gpkg.")],
    crs: CrsOption = "WGS-84",
    data_dir: DataOption = None,
) -> None:
    """Write the ledger to a file that can be imported again without a difference."""
    from sqlalchemy.orm import Session

    from service.ledger.coordinates import UnknownSystem
    from service.ledger.exporting import MEDIA_TYPES, export_ledger

    kind = file.suffix.removeprefix(".").lower()
    if kind not in MEDIA_TYPES:
        raise typer.BadParameter(f"the file must end in one of {', '.join(MEDIA_TYPES)}")
    engine = open_database(data_dir)
    try:
        with Session(engine) as session:
            data = export_ledger(session, kind, crs)
        file.write_bytes(data)
    except UnknownSystem:
        raise typer.BadParameter("no such coordinate system", param_hint="--crs") from None
    except OSError as error:
        fail(f"{error.filename}: {error.strerror or error}")
    finally:
        engine.dispose()


@ledger.command()
def check(
    stated: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="TOML of stated totals; else the founding case's.")
    ] = None,
    stale_days: Annotated[int, typer.Option(min=1, help="Closed sites not seen whole for longer are listed.")] = 90,
    as_json: Annotated[bool, typer.Option("--json", help="Print differences as JSON.")] = False,
    data_dir: DataOption = None,
    language: LanguageOption = "zh",
) -> None:
    """Compare stated totals with the rows, and the rows with their evidence."""
    from sqlalchemy.orm import Session

    from service.language import say
    from service.ledger import check as checks

    check_language(language)
    try:
        totals = checks.read_stated(stated or checks.STATED)
    except (checks.StatedError, OSError) as error:
        fail(f"{stated}: {error}")
    engine = open_database(data_dir)
    with Session(engine) as session:
        found = checks.check(session, totals, datetime.now(UTC), stale_days)
    engine.dispose()
    if as_json:
        rows = [
            {"code": d.code, "subject": d.subject, "values": {k: str(v) for k, v in d.values.items()}} for d in found
        ]
        json.dump(rows, sys.stdout, ensure_ascii=False)
    else:
        for difference in found:
            out.print(escape(difference.say(language)))
        out.print(say(language, "ledger.differs" if found else "ledger.adds_up", count=len(found)))
    raise typer.Exit(DIFFERS if found else WELL)


@audit.command()
def verify(data_dir: DataOption = None, language: LanguageOption = "zh") -> None:
    """Read the whole audit log and find any entry that was changed, removed, exchanged or cut off."""
    from sqlalchemy.orm import Session

    from service.language import say
    from service.ledger.audit import verify as run

    check_language(language)
    engine = open_database(data_dir)
    with Session(engine) as session:
        found = run(session)
    engine.dispose()
    out.print(say(language, f"audit.{found.problem or 'intact'}", number=found.broken_at, length=found.length))
    print(found.hash)
    raise typer.Exit(DIFFERS if found.problem else WELL)


def settings_for(data_dir: Path | None) -> Settings:
    from service.settings import Settings

    return Settings(data_dir=data_dir) if data_dir else Settings()


def open_database(data_dir: Path | None) -> Engine:
    from service.database import connect, upgrade

    settings = settings_for(data_dir)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    engine = connect(settings.resolved_database_url)
    upgrade(engine)
    return engine


def check_language(language: str) -> None:
    from inference.reasons import LANGUAGES

    if language not in LANGUAGES:
        raise typer.BadParameter(f"one of {', '.join(LANGUAGES)}", param_hint="--language")


def fail(message: str) -> NoReturn:
    err.print(f"[red]error[/] {escape(message)}")
    raise typer.Exit(USAGE)
