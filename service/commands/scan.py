"""`jingdi scan`: two scenes, files to polygons.

Exit codes: 0 nothing found, 1 findings, 2 usage or unusable input, 3 nothing of the area was observed,
4 windows were set aside (the outputs are there, and say which).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.commands.ledger import DataOption, open_database, settings_for
from service.commands.watch import read_moment, tell

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from inference.scan.run import Progress as State
    from inference.scan.run import Scan

NOTHING_FOUND, FINDINGS, USAGE, ABSTAINED, SET_ASIDE = 0, 1, 2, 3, 4
err = Console(stderr=True)
out = Console()

SOURCES = "GeoTIFF (path, http(s)://, s3://), STAC JSON or {z}/{x}/{y} template; repeat for several files of one date."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(scan)


def scan(
    to: Annotated[Path, typer.Option("--out", file_okay=False, help="Folder of the run.")],
    before: Annotated[list[str] | None, typer.Option(help=f"Earlier date: {SOURCES}")] = None,
    after: Annotated[list[str] | None, typer.Option(help="Later date, the same.")] = None,
    pairs: Annotated[Path | None, typer.Option(exists=True, help="CSV (before, after, name) instead.")] = None,
    area: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="GeoJSON in WGS-84.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in the folder.")] = False,
    gsd: Annotated[float | None, typer.Option(min=0.01, help="Metres per pixel, if not those of before.")] = None,
    bands: Annotated[str, typer.Option(help="Which bands are red, green and blue.")] = "1,2,3",
    zoom: Annotated[int, typer.Option(min=0, max=24, help="Level of a tile template.")] = 18,
    cloud_before: Annotated[list[str] | None, typer.Option(help="Mask, not 0 where clouds are.")] = None,
    cloud_after: Annotated[list[str] | None, typer.Option(help="The same for the later date.")] = None,
    allow_host: Annotated[list[str] | None, typer.Option(help="host[:port] that may be read from.")] = None,
    allow_bucket: Annotated[list[str] | None, typer.Option(help="S3 bucket that may be read from.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler, tcp://host:port.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Cores for the network; 0 for all.")] = 0,
    ledger: Annotated[bool, typer.Option("--ledger", help="Then lay the findings over the ledger.")] = False,
    taken_at: Annotated[str | None, typer.Option(help="When that of --after was taken, if it does not say.")] = None,
    data_dir: DataOption = None,
    language: Annotated[str, typer.Option(envvar="JINGDI_LANGUAGE", help="zh or en, for sentences.")] = "zh",
) -> None:
    """Compare two satellite scenes of any size; writes polygons, rasters and a STAC item into a folder."""
    from datasets.scene import Access, SceneError
    from datasets.scene_sources import PairSpec, open_scene, read_pairs
    from inference.model import Model, ModelError
    from inference.reasons import LANGUAGES, InputError, Reason
    from inference.scan.plan import grid_for, read_area
    from inference.scan.run import scan as run
    from inference.scan.window import cores_each

    if language not in LANGUAGES:
        raise typer.BadParameter(f"one of {', '.join(LANGUAGES)}", param_hint="--language")
    if not (before and after) if pairs is None else (before or after):
        raise typer.BadParameter("both --before and --after, or --pairs", param_hint="--before")
    rgb, moment = read_bands(bands), read_moment(taken_at) if taken_at else None
    access = Access(frozenset(allow_host or ()), frozenset(allow_bucket or ()))
    results: list[Scan] = []
    try:
        place = read_area(area) if area else None
        if pairs is None:
            tasks = [(to, before or [], after or [])]
        else:
            specs: tuple[PairSpec, ...] = read_pairs(pairs)
            tasks = [(to / spec.name, [spec.before], [spec.after]) for spec in specs]
        load = partial(Model.load, "overhead", threads=cores_each(threads))
        with _executor(scheduler, threads) as executor:
            for folder, first, second in tasks:
                scenes = [
                    open_scene(names, access, bands=rgb, zoom=zoom, clouds=clouds or ())
                    for names, clouds in ((first, cloud_before), (second, cloud_after))
                ]
                if ledger and moment is None and scenes[1].captured_at is None:
                    raise typer.BadParameter("the later files do not say when they were taken", param_hint="--taken-at")
                grid, placed = grid_for(scenes[0], scenes[1], area=place, gsd=gsd)
                with _progress(language) as report:
                    result = run(
                        scenes[0], scenes[1], grid, folder, load,
                        area=placed, resume=resume, executor=executor, progress=report,
                    )  # fmt: skip
                _print(result, folder, language)
                results.append(result)
                if ledger:
                    _take_in(folder, moment, data_dir, language)
    except SceneError as error:
        _fail(Reason(error.code, error.values), language)
    except InputError as error:
        _fail(error.reason, language)
    except (ModelError, OSError) as error:
        err.print(f"[red]error[/] {escape(str(error))}")
        raise typer.Exit(USAGE) from None
    raise typer.Exit(_code(results))


def _take_in(folder: Path, moment: datetime | None, data_dir: Path | None, language: str) -> None:
    """One look for each later picture, however often it is scanned."""
    from service.scenes.runs import take_in_run

    engine = open_database(data_dir)
    try:
        tell(take_in_run(engine, settings_for(data_dir), folder, taken_at=moment), language)
    finally:
        engine.dispose()


def _code(results: list[Scan]) -> int:
    if any(r.set_aside for r in results):
        return SET_ASIDE
    if any(found["count"] for r in results for found in r.summary["findings"].values()):
        return FINDINGS
    return NOTHING_FOUND if any(r.summary["observed_share"] for r in results) else ABSTAINED


def read_bands(text: str) -> tuple[int, int, int]:
    try:
        red, green, blue = (int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter("three numbers from 1 on, such as 3,2,1", param_hint="--bands") from None
    if min(red, green, blue) < 1:
        raise typer.BadParameter("bands are counted from 1", param_hint="--bands")
    return red, green, blue


def _fail(reason: Any, language: str) -> NoReturn:
    err.print(f"[red]error[/] {escape(f'{reason.say(language)} {reason.remedy(language)} ({reason.code})')}")
    raise typer.Exit(USAGE) from None


@contextlib.contextmanager
def _executor(scheduler: str | None, threads: int) -> Iterator[Executor | None]:
    """Workers of a Dask cluster, one thread if there is to be no more, or None for what a scan takes by itself."""
    if scheduler is None:
        with ThreadPoolExecutor(1) if threads == 1 else contextlib.nullcontext() as executor:
            yield executor
        return
    try:
        from distributed import Client
    except ImportError:
        raise typer.BadParameter("needs the `cluster` extra", param_hint="--scheduler") from None
    with Client(scheduler, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        yield client.get_executor(pure=False)


@contextlib.contextmanager
def _progress(language: str) -> Iterator[Any]:
    """A bar with time left, Mpx/s and km²/h, where there is a person to see it."""
    from service.language import say

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[speed]}"))
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def report(state: State) -> None:
            if state.stage not in tasks:
                tasks[state.stage] = bar.add_task(say(language, f"scan.{state.stage}"), total=1, speed="")
            speed = f"{state.mpx_per_s:.2f} Mpx/s, {state.km2_per_h:.1f} km²/h"
            bar.update(tasks[state.stage], completed=state.done_px, total=state.total_px, speed=speed)

        yield report


def _print(result: Scan, folder: Path, language: str) -> None:
    from service.language import say, word

    summary = result.summary
    table = Table("", "#", say(language, "result.area"))
    for kind, found in summary["findings"].items():
        area = say(language, "unit.m2", value=f"{found['area_m2']:.0f}")
        table.add_row(word(language, kind), str(found["count"]), area)
    out.print(table)
    observed = f"{int(summary['observed_share'] * 1000) / 10:g}%"
    out.print(escape(say(language, "scan.done", observed=observed, path=folder)))
    for code, pixels in summary["not_observed_px"].items():
        share = f"{100 * pixels / summary['area_px']:.3g}%"
        out.print(f"  {say(language, 'scan.not_observed', reason=say(language, f'scan.reason.{code}'), share=share)}")
    if not summary["observed_share"]:
        out.print(say(language, "scan.nothing_observed"))
    if result.set_aside:
        err.print(say(language, "scan.set_aside", count=result.set_aside))
        for error in summary["errors"]:
            err.print(f"  {escape(error)}")
