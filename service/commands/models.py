"""`jingdi models`: which weights there are; add, replay, promote, take back. And `jingdi work`, beside the service.

Exit codes of `models`: 0 done, 1 a replay found a difference, 2 usage, or refused.
"""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.markup import escape
from rich.table import Table

from service.commands.ledger import DataOption, LanguageOption, check_language, err, out, settings_for

if TYPE_CHECKING:
    from service.database import Pairs
    from service.queue import Job
    from service.registry.tables import ModelVersion
    from service.settings import Settings
    from service.storage import Storage
    from service.workers import Background

SAME, DIFFERENT, USAGE = 0, 1, 2
_SHORT = 12
models = typer.Typer(no_args_is_help=True, help="Weights: versions, what they would change, which one speaks.")

IdArgument = Annotated[str, typer.Argument(help="Id of the version, or its first 8 characters and more.")]
ActorOption = Annotated[str, typer.Option(help="Who answers for it, by name.")]
ReasonOption = Annotated[str, typer.Option(help="Why.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(models, name="models")
    app.command()(work)


@models.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON, with their figures.")] = False,
    data_dir: DataOption = None,
    language: LanguageOption = "zh",
) -> None:
    """Versions, by domain, newest first."""
    from service.language import say

    with open_background(data_dir, language) as (background, *_):
        versions = background.registry.versions()
    if as_json:
        names = ("id", "sha256", "domain", "name", "version", "state", "metrics", "added_by")
        rows = [{name: getattr(each, name) for name in names} for each in versions]
        print(json.dumps([{**row, "added_at": v.added_at.isoformat()} for row, v in zip(rows, versions, strict=True)]))
        return
    table = Table(*(say(language, f"models.{name}") for name in ("id", "domain", "version", "state", "added")))
    for each in versions:
        added = f"{each.added_at:%Y-%m-%d} {each.added_by}"
        state = say(language, f"models.{each.state}")
        table.add_row(each.id[:_SHORT], each.domain, escape(each.version), state, escape(added))
    out.print(table)


@models.command()
def add(
    onnx: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="ONNX file, as `jingdi export` makes it.")],
    manifest: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Its manifest.", show_default="beside it, .json")
    ] = None,
    actor: ActorOption = "jingdi",
    data_dir: DataOption = None,
    language: LanguageOption = "zh",
) -> None:
    """Take weights in, as a candidate, after checking and trying them."""
    from service.language import say
    from service.ledger.audit import SYSTEM, Actor

    with open_background(data_dir, language) as (background, *_):
        who = SYSTEM if actor == SYSTEM.name else Actor(actor)
        made = background.registry.add(who, onnx, manifest or onnx.with_suffix(".json"))
    state = say(language, f"models.{made.state}")
    out.print(escape(say(language, "models.made", domain=made.domain, version=made.version, id=made.id, state=state)))


@models.command()
def replay(
    version: IdArgument,
    pairs: Annotated[int, typer.Option(min=1, max=1000, help="Pairs at most, the newest.")] = 50,
    scans: Annotated[int, typer.Option(min=0, max=100, help="Scans at most, the newest whose imagery is there.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")] = False,
    data_dir: DataOption = None,
    language: LanguageOption = "zh",
) -> None:
    """Compare stored pairs and scans once more: what would come, and what would go, if this version spoke."""
    from service.queue import Worker
    from service.registry.replay import REPLAY

    with open_background(data_dir, language) as (background, *_):
        job = background.replays.submit(version, pairs=pairs, scans=scans)
        worker = Worker(background.queue, {REPLAY: background.replays.run})
        worker.start()
        try:
            job = _wait(background, job, language)
        finally:
            worker.stop()
    result: dict[str, Any] | None = job.result
    if result is None:
        _fail_replay(job, language)
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        _print_replay(result, language)
    raise typer.Exit(DIFFERENT if result["sum"]["changed"] else SAME)


@models.command()
def promote(
    version: IdArgument,
    actor: ActorOption,
    reason: ReasonOption,
    data_dir: DataOption = None,
    language: LanguageOption = "zh",
) -> None:
    """Have a version speak from the next comparison on. It must have been replayed against the one in use."""
    from service.ledger.audit import Actor
    from service.registry import promoting

    with open_background(data_dir, language) as (background, *_):
        _tell("models.promoted", promoting.promote(background.registry, Actor(actor), version, reason), language)


@models.command()
def rollback(
    version: IdArgument,
    actor: ActorOption,
    reason: ReasonOption,
    data_dir: DataOption = None,
    language: LanguageOption = "zh",
) -> None:
    """Take the version in use back; the one before it speaks again."""
    from service.ledger.audit import Actor
    from service.registry import promoting

    with open_background(data_dir, language) as (background, *_):
        _tell("models.rolled_back", promoting.roll_back(background.registry, Actor(actor), version, reason), language)


def work(
    workers: Annotated[int, typer.Option(min=1, help="Comparisons at once.")] = 1,
    data_dir: DataOption = None,
    language: LanguageOption = "zh",
) -> None:
    """Work on the queue of a service: as many processes as wanted, all with its database and its data folder."""
    from service.app import load_assess
    from service.comparisons import Comparisons
    from service.language import say
    from service.metrics import Metrics

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with open_background(data_dir, language) as (background, settings, pairs, storage):
        metrics = Metrics(lambda: pairs.count("queued", "running"))
        assess = load_assess(background.registry)
        comparisons = Comparisons(pairs, storage, metrics, assess, limits=settings.limits)
        hired = background.hire(comparisons, workers)
        err.print(say(language, "models.working"))
        for each in hired:
            each.start()
        stop.wait()
        for each in hired:
            each.stop()


@contextlib.contextmanager
def open_background(data_dir: Path | None, language: str) -> Iterator[tuple[Background, Settings, Pairs, Storage]]:
    """What is done in the background, on the database; what is refused ends the command with its reason."""
    from inference.model import ModelError
    from service.commands.ledger import open_database
    from service.database import Pairs
    from service.errors import ServiceError, describe
    from service.storage import Storage
    from service.workers import Background

    check_language(language)
    settings, engine = settings_for(data_dir), open_database(data_dir)
    pairs, storage = Pairs(engine), Storage(settings.data_dir)
    background = Background.of(settings, pairs, storage)
    try:
        background.registry.prepare()
        yield background, settings, pairs, storage
    except ServiceError as error:
        problem = describe(error, language, settings.max_bytes)
        err.print(f"[red]error[/] {escape(f'{problem.detail} {problem.remedy}')}")
        raise typer.Exit(USAGE) from None
    except ModelError as error:
        err.print(f"[red]error[/] {escape(str(error))}")
        raise typer.Exit(USAGE) from None
    finally:
        engine.dispose()


def _wait(background: Background, job: Job, language: str) -> Job:
    """Until the replay is over, by whichever process."""
    from service.language import say

    with err.status("") as status:
        while job.state in ("queued", "running"):
            time.sleep(0.1)
            found = background.queue.get(job.id)
            assert found is not None  # jobs are never deleted
            job = found
            status.update(say(language, "models.replaying", stage=job.stage or "", share=f"{job.progress:.0%}"))
    return job


def _fail_replay(job: Job, language: str) -> NoReturn:
    from service.language import say

    error = job.error or {"code": job.state, "values": {}}
    detail = "; ".join(str(value) for value in error["values"].values())
    err.print(f"[red]error[/] {escape(say(language, 'models.failed', code=error['code'], detail=detail))}")
    raise typer.Exit(USAGE)


def _print_replay(result: dict[str, Any], language: str) -> None:
    """One line for each pair or scan that differs, and the sum."""
    from service.language import say, word

    table = Table("", *(say(language, f"models.{name}") for name in ("gained", "lost", "alerts")))
    for each in [*result["pairs"], *result["scans"]]:
        verdict = each["verdict"]
        cells = [_counts(each[side], language) for side in ("gained", "lost")]
        signed = ((sign, each[f"alerts_{side}"]) for sign, side in (("+", "gained"), ("-", "lost")))
        alerts = ", ".join(f"{sign}{code} {word(language, cause)}" for sign, found in signed for code, cause in found)
        name = each["name"]
        if verdict and verdict[0] != verdict[1]:
            before, after = (say(language, f"verdict.{kind}.badge") for kind in verdict)
            name += f"\n{say(language, 'models.verdict_changed', before=before, after=after)}"
        if any((*cells, alerts, name != each["name"])):
            table.add_row(*map(escape, (name, *cells, alerts)))
    total = result["sum"]
    sums = [_counts(total[side], language) for side in ("gained", "lost")]
    table.add_section()
    table.add_row(say(language, "word.total"), *sums, f"+{total['alerts_gained']} -{total['alerts_lost']}")
    out.print(table)
    out.print(
        say(
            language, "models.against", against=result["against"][:_SHORT], pairs=total["pairs"], scans=total["scans"],
            changed=total["changed"], verdicts=total["verdicts_changed"],
        )
    )  # fmt: skip
    if result["left_out"]:
        codes = ", ".join(sorted({each["code"] for each in result["left_out"]}))
        out.print(escape(say(language, "models.left_out", count=len(result["left_out"]), codes=codes)))


def _counts(found: dict[str, int], language: str) -> str:
    from service.language import word

    return ", ".join(f"{word(language, kind)} {number}" for kind, number in found.items() if number)


def _tell(key: str, version: ModelVersion, language: str) -> None:
    from service.language import say

    values = {"domain": version.domain, "version": version.version, "id": version.id[:_SHORT]}
    out.print(escape(say(language, key, **values)))
