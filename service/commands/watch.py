"""`jingdi watch`: findings of a scan, laid over the ledger.

Exit codes: 0 no new alert, 1 alerts were opened or corroborated, 2 usage or an unusable file.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from service.commands.ledger import DataOption, LanguageOption, check_language, fail, open_database, out, settings_for

if TYPE_CHECKING:
    from service.ledger.rebound import Taken

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
    """Lay a scan over the ledger: alerts on closed sites, candidates outside; inspectors hear after two looks.

    Imagery of the scan is shown on the map if it lies below a folder of JINGDI_SCENE_DIRS.
    """
    import json

    from pydantic import ValidationError
    from shapely.errors import ShapelyError

    from service.ledger.coverage import read_coverage
    from service.ledger.rebound import take_in
    from service.ledger.schemas import ScanIn
    from service.scenes.runs import is_run, with_imagery

    check_language(language)
    moment, settings, run = read_moment(taken_at), settings_for(data_dir), findings.parent
    try:
        collection = json.loads(findings.read_bytes())
        given = {
            "scene": scene,
            "taken_at": moment,
            "findings": collection,
            "coverage": read_coverage(coverage) if coverage else None,
            "model_sha256": next((each["properties"].get("model_sha256") for each in collection["features"]), None),
        }
        scan = ScanIn.model_validate(given)
        record = with_imagery(scan.record, run, settings.scene_folders) if is_run(run) else scan.record
    except ValidationError as error:
        first = error.errors()[0]
        fail(f"{findings}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ShapelyError) as error:
        fail(f"{error or type(error).__name__}")
    engine = open_database(data_dir)
    try:
        taken = take_in(engine, scan.scan, settings.alert_budget, record=record)
    finally:
        engine.dispose()
    tell(taken, language)
    raise typer.Exit(ALERTS if taken.outcome.opened or taken.outcome.corroborated else QUIET)


def read_moment(text: str) -> datetime:
    """ISO 8601, Beijing time if no zone is given."""
    from service.ledger.states import CHINA

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("ISO 8601, such as 2026-03-01 or 2026-03-01T10:30+08:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=CHINA)


def tell(taken: Taken, language: str) -> None:
    """Say what came of it."""
    from service.language import say
    from service.ledger.schemas import TakenOut

    counts = {name: len(value) for name, value in TakenOut.of(taken).model_dump().items()}
    told = "watch.nothing_new" if taken.outcome.nothing_new else "watch.taken_in"
    out.print(escape(say(language, told, **counts)))
