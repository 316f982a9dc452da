"""`jingdi feedback export`: what people decided and corrected, as a set that `jingdi train` reads.

Exit codes: 0 written, 1 nothing to write, 2 usage or a folder that cannot be written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from service.commands.ledger import (
    DIFFERS,
    DataOption,
    LanguageOption,
    check_language,
    fail,
    open_database,
    out,
    settings_for,
)

feedback = typer.Typer(no_args_is_help=True, help="Decisions and corrections, back into training.")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.add_typer(feedback, name="feedback")


@feedback.command()
def export(
    to: Annotated[Path, typer.Option(file_okay=False, help="Folder of the set, such as DATA/feedback.")],
    data_dir: DataOption = None,
    language: LanguageOption = "zh",
) -> None:
    """Write imagery and labels of every decided lead and corrected pair, which `jingdi train` reads as `feedback`."""
    from sqlalchemy.orm import Session

    from service.corrections import export as corrections
    from service.language import say
    from service.storage import Storage
    from service.triage.feedback import export as decided

    check_language(language)
    engine, settings = open_database(data_dir), settings_for(data_dir)
    try:
        with Session(engine) as session:
            done = decided(session, settings.scene_folders, to)
            done.add(corrections.export(session, Storage(settings.data_dir), settings.limits, to))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror or error}")
    finally:
        engine.dispose()
    for reason, count in sorted(done.left_out.items()):
        words = say(language, f"feedback.reason.{reason}")
        out.print(escape(say(language, "feedback.left_out", reason=words, count=count)))
    if not done.pairs:
        out.print(say(language, "feedback.nothing"))
        raise typer.Exit(DIFFERS)
    out.print(escape(say(language, "feedback.exported", written=done.pairs, decisions=done.decisions, folder=to)))
