"""`jingdi people add | password`: accounts for whoever sits at the server, when nobody can sign in to make them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

USAGE = 2
err = Console(stderr=True)
people = typer.Typer(no_args_is_help=True, help="Accounts, from the server itself.")

NameArgument = Annotated[str, typer.Argument(help="Name of the account.")]
DataOption = Annotated[Path | None, typer.Option("--data-dir", help="Where the embedded database is kept.")]
LanguageOption = Annotated[str, typer.Option(envvar="JINGDI_LANGUAGE", help="zh or en, for sentences.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(people, name="people")


@people.command()
def add(
    name: NameArgument,
    role: Annotated[list[str], typer.Option(help="analyst, reviewer, inspector, auditor, administrator; repeatable.")],
    display_name: Annotated[str | None, typer.Option(help="As others see it.", show_default="the name")] = None,
    data_dir: DataOption = None,
    language: LanguageOption = "zh",
) -> None:
    """Make an account and print its one-time password."""
    from service.people.rights import ROLES

    unknown = [each for each in role if each not in ROLES]
    if unknown:
        raise typer.BadParameter(f"one of {', '.join(ROLES)}", param_hint="--role")
    _run(name, [each for each in ROLES if each in role], display_name or name, data_dir, language)


@people.command()
def password(name: NameArgument, data_dir: DataOption = None, language: LanguageOption = "zh") -> None:
    """Print a one-time password in place of a forgotten one."""
    _run(name, None, "", data_dir, language)


def _run(name: str, roles: list[object] | None, display_name: str, data_dir: Path | None, language: str) -> None:
    from inference.reasons import LANGUAGES
    from service.database import connect, upgrade
    from service.errors import ServiceError, describe
    from service.language import say
    from service.ledger.audit import SYSTEM
    from service.people.accounts import ONE_TIME_FOR, Accounts
    from service.settings import Settings

    if language not in LANGUAGES:
        raise typer.BadParameter(f"one of {', '.join(LANGUAGES)}", param_hint="--language")
    settings = Settings() if data_dir is None else Settings(data_dir=data_dir)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    engine = connect(settings.resolved_database_url)
    upgrade(engine)
    accounts = Accounts(engine)
    try:
        made = accounts.reset(SYSTEM, name) if roles is None else accounts.add(SYSTEM, name, display_name, roles)  # type: ignore[arg-type]
    except ServiceError as error:
        problem = describe(error, language, settings.max_bytes)
        err.print(f"[red]error[/] {escape(problem.detail)} {escape(problem.remedy or '')}")
        raise typer.Exit(USAGE) from None
    finally:
        engine.dispose()
    print(say(language, "people.made", name=name, password=made, days=ONE_TIME_FOR.days))
