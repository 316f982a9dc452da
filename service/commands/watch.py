"""`jingdi watch`: findings of a scan, laid over the ledger.

Exit codes: 0 no new alert, 1 alerts were opened or corroborated, 2 usage or an unusable file.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from service.commands.ledger import DataOption, LanguageOption, check_language, fail, open_database, out

QUIET, ALERTS = 0, 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(watch)


def watch(
    findings: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="findings.geojson of a scan.")],
    scene: Annotated[str, typer.Option(help="Which imagery; a scene counts as one look, however often it comes.")],
    taken_at: Annotated[str, typer.Option(help="When the later picture was taken, ISO 8601; Beijing time if bare.")],
    coverage: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="coverage.tif of the scan, or GeoJSON; else no site is clear."),
    ] = None,
    data_dir: DataOption = None,
    language: LanguageOption = "zh",
) -> None:
    """Lay a scan over the ledger: alerts on closed sites, candidates outside; inspectors hear after two looks."""
    import json

    from pydantic import ValidationError
    from shapely.errors import ShapelyError

    from service.language import say
    from service.ledger.coverage import read_coverage
    from service.ledger.rebound import take_in
    from service.ledger.schemas import ScanIn, TakenOut
    from service.ledger.states import CHINA
    from service.settings import Settings

    check_language(language)
    try:
        moment = datetime.fromisoformat(taken_at)
    except ValueError:
        raise typer.BadParameter("ISO 8601, such as 2026-03-01 or 2026-03-01T10:30+08:00") from None
    try:
        collection = json.loads(findings.read_bytes())
        given = {
            "scene": scene,
            "taken_at": moment if moment.tzinfo else moment.replace(tzinfo=CHINA),
            "findings": collection,
            "coverage": read_coverage(coverage) if coverage else None,
            "model_sha256": next((each["properties"].get("model_sha256") for each in collection["features"]), None),
        }
        scan = ScanIn.model_validate(given).scan
    except ValidationError as error:
        first = error.errors()[0]
        fail(f"{findings}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ShapelyError) as error:
        fail(f"{error or type(error).__name__}")
    engine = open_database(data_dir)
    try:
        taken = take_in(engine, scan, Settings().alert_budget)
    finally:
        engine.dispose()
    counts = {name: len(value) for name, value in TakenOut.of(taken).model_dump().items()}
    told = "watch.nothing_new" if taken.outcome.nothing_new else "watch.taken_in"
    out.print(escape(say(language, told, **counts)))
    raise typer.Exit(ALERTS if taken.outcome.opened or taken.outcome.corroborated else QUIET)
