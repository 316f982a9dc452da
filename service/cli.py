"""The `jingdi` command. Data goes to stdout, progress and errors to stderr.

Exit codes of `score`: 0 nothing found, 1 findings, 2 usage or unusable input, 3 abstained.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from service.commands.feedback import register as register_feedback
from service.commands.greening import register as register_greening
from service.commands.ledger import register as register_ledger
from service.commands.models import register as register_models
from service.commands.nightly import register as register_nightly
from service.commands.people import register as register_people
from service.commands.scan import register as register_scan
from service.commands.watch import register as register_watch

if TYPE_CHECKING:
    from inference.findings import Verdict

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="See from before/after imagery whether structures are gone, still standing, or back.",
)
err = Console(stderr=True)
out = Console()

NOTHING_FOUND, FINDINGS, USAGE, ABSTAINED = 0, 1, 2, 3

PictureArgument = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)]
DataOption = Annotated[Path, typer.Option("--data", exists=True, file_okay=False, help="Folder of labelled sets.")]


@app.command()
def score(
    before: PictureArgument,
    after: PictureArgument,
    gsd: Annotated[float | None, typer.Option(help="Metres per pixel, where the files do not say.")] = None,
    photos: Annotated[
        bool | None, typer.Option("--photos/--overhead", help="Of which kind they are.", show_default="found out")
    ] = None,
    site: Annotated[
        str | None, typer.Option(help="Where photographs should be from: GeoJSON file, or LON,LAT,METRES (WGS-84).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
    overlay: Annotated[Path | None, typer.Option(help="Write the later picture with findings drawn (PNG).")] = None,
    geojson: Annotated[Path | None, typer.Option(help="Write the findings as GeoJSON (WGS-84).")] = None,
    language: Annotated[str, typer.Option(envvar="JINGDI_LANGUAGE", help="zh or en, for sentences.")] = "zh",
) -> None:
    """Compare two pictures of one place and print what is new, what remains and what was removed."""
    from inference.compare import Asked, compare
    from inference.decode import read_raster
    from inference.findings import VerdictKind
    from inference.model import ModelError
    from inference.reasons import LANGUAGES, InputError
    from inference.render import encode_png
    from inference.render import overlay as draw
    from inference.report import feature_collection, report
    from inference.site import Site
    from service.language import word

    if language not in LANGUAGES:
        raise typer.BadParameter(f"one of {', '.join(LANGUAGES)}", param_hint="--language")
    if gsd is not None and not (math.isfinite(gsd) and gsd > 0):
        raise typer.BadParameter("metres per pixel, more than 0", param_hint="--gsd")
    try:
        place = Site.parse(Path(site).read_text("utf-8") if Path(site).is_file() else site) if site else None
    except (InputError, OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(str(error), param_hint="--site") from None
    rasters = []
    for side, path in (("before", before), ("after", after)):
        try:
            rasters.append(read_raster(path, gsd=gsd, photograph=bool(photos)))
        except InputError as error:
            reason = error.reason
            _fail(f"{word(language, side)} {path}: {reason.say(language)} {reason.remedy(language)} ({reason.code})")
        except OSError as error:
            _fail(f"{word(language, side)} {path}: {error.strerror or error}")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("load", total=1.0)
        try:
            assessment = compare(
                rasters[0],
                rasters[1],
                asked=Asked("auto" if photos is None else "photos" if photos else "overhead", place),
                progress=lambda stage, share: bar.update(task, description=stage, completed=share),
            )
        except ModelError as error:
            _fail(str(error))
    result = report(assessment)
    try:
        if geojson:
            geojson.write_text(json.dumps(feature_collection(assessment), ensure_ascii=False), "utf-8")
        if overlay and assessment.pair:
            overlay.write_bytes(encode_png(draw(assessment)))
        elif overlay:
            err.print(f"{escape(str(overlay))}: not written, the pictures could not be laid on one grid")
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror or error}")
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        _print_report(result, assessment.verdict, language)
    if assessment.verdict.kind is VerdictKind.NOT_COMPARABLE:
        raise typer.Exit(ABSTAINED)
    raise typer.Exit(FINDINGS if assessment.findings else NOTHING_FOUND)


@contextmanager
def _plainly() -> Iterator[None]:
    """Say what a recipe, weights or a folder of labelled sets lack as a sentence: what reads them documents these
    errors."""
    from inference.model import ModelError

    try:
        yield
    except KeyError as error:
        _fail(str(error.args[0]))
    except (ValueError, FileNotFoundError, ModelError) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    """Say what is wrong and leave with the code of unusable input, which no script can take for a finding."""
    err.print(f"[red]error[/] {escape(message)}")
    raise typer.Exit(USAGE)


def _print_report(result: dict[str, Any], verdict: Verdict, language: str) -> None:
    from service.language import say, word
    from service.pages.view import percent

    kind, observed = result["verdict"]["kind"], result["verdict"]["observed_share"]
    style = {"new": "bold red", "remaining": "bold yellow", "clear": "bold green"}.get(kind, "bold")
    shown = say(language, "result.observed", share=percent(observed, digits=1))
    out.print(f"[{style}]{say(language, f'verdict.{kind}.title')}[/]  {shown}")
    for reason in verdict.reasons:
        out.print(f"  {reason.say(language)} {reason.remedy(language)}")
    _print_views(result, language)
    for note in verdict.notes:
        out.print(f"  {note.say(language)}")
    if not result["findings"]:
        return
    table = Table("#", "", say(language, "result.area"), say(language, "result.probability"), "lon, lat / x, y")
    for finding in result["findings"]:
        area = say(language, "unit.px", value=f"{finding['area_px']:.0f}")
        if finding["area_m2"] is not None:
            area = say(language, "unit.m2", value=f"{finding['area_m2']:.0f} ± {finding['area_error_m2']:.0f}")
        xs, ys = zip(*finding["polygon_px"][0], strict=True)
        where = finding["centroid_lonlat"] or [round(sum(xs) / len(xs)), round(sum(ys) / len(ys))]
        name, probability = word(language, finding["kind"]), percent(finding["probability"])
        table.add_row(str(finding["id"]), name, area, probability, ", ".join(str(v) for v in where))
    out.print(table)
    out.print(say(language, "result.decides"))


def _print_views(result: dict[str, Any], language: str) -> None:
    """What each photograph shows of the view that both have in common."""
    from service.language import say, word

    if not result["views"]:
        return
    before, after = (view["common"] or {} for view in result["views"])
    table = Table("", *(say(language, f"result.share_common_{side}") for side in ("before", "after")))
    for name in after:
        table.add_row(word(language, name), *(f"{shares[name]:.1%}" for shares in (before, after)))
    out.print(table)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where pairs and the database are kept.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Start with a generated pair and district.")] = False,
) -> None:
    """Start the service and its page."""
    from pydantic import ValidationError

    from service.server import serve as run
    from service.settings import Settings

    given = {"host": host, "port": port, "data_dir": data_dir}
    try:
        settings = Settings(**{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        _fail("\n".join(str(each["msg"]).removeprefix("Value error, ") for each in error.errors()))
    run(settings, demo=demo)


@app.command()
def train(
    recipe: PictureArgument,
    data: DataOption,
    run: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run there goes on.")],
    start: Annotated[Path | None, typer.Option(exists=True, help="Checkpoint of another run to begin with.")] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(exists=True, help="ONNX file of a release to learn from too; of several, the mean."),
    ] = None,
    filled: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder written by fill-labels, to believe.")
    ] = None,
    stop_after: Annotated[int | None, typer.Option(help="Leave after this step; the run can be resumed.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 for all.")] = 0,
) -> None:
    """Train a recipe (needs the `train` extra)."""
    import torch

    from training.loop import train as fit
    from training.recipe import Recipe

    if threads:
        torch.set_num_threads(threads)
    with _plainly(), Progress(*Progress.get_default_columns(), console=err) as bar:
        loaded = Recipe.load(recipe)
        task = bar.add_task(loaded.name, total=loaded.steps)
        fit(
            loaded, data, run, start=start, teachers=teacher or (), filled=filled, stop_after=stop_after,
            on_step=lambda step, loss: bar.update(task, completed=step, description=f"{loaded.name} {loss:.3f}"),
        )  # fmt: skip


@app.command()
def leave_out(
    recipe: PictureArgument,
    data: DataOption,
    run: Annotated[Path, typer.Option(help="Folder of the runs; interrupted ones go on.")],
    leave: Annotated[list[str] | None, typer.Option(help="Family of sets to leave out.", show_default="each")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 for all.")] = 0,
) -> None:
    """Train a recipe without one family of sets after another and measure on what was left out (`train` extra)."""
    import torch

    from training.leave_one_out import leave_one_out
    from training.recipe import Recipe

    if threads:
        torch.set_num_threads(threads)
    with _plainly(), Progress(*Progress.get_default_columns(), console=err) as bar:
        loaded = Recipe.load(recipe)
        task = bar.add_task(loaded.name, total=loaded.steps)
        rows = leave_one_out(
            loaded, data, run, leave=leave or (),
            on_step=lambda name, step, loss: bar.update(task, completed=step, description=f"{name} {loss:.3f}"),
        )  # fmt: skip
    _print_scores(rows)


@app.command()
def register_labels(
    data: DataOption,
    to: Annotated[Path, typer.Option(help="JSON to write.")] = Path("datasets/label_offsets.json"),
) -> None:
    """Measure by how much labels of training pictures lie beside what released weights see (`train` extra)."""
    from service.release import register

    with _plainly(), err.status("registering labels"):
        offsets = register(data)
    sets = [  # a picture a line
        f"{json.dumps(source)}: {{\n"
        + ",\n".join(f"  {json.dumps(name)}: {json.dumps(layers)}" for name, layers in names.items())
        + "\n}"
        for source, names in offsets.items()
    ]
    to.write_text("{\n" + ",\n".join(sets) + "\n}\n", "utf-8")
    out.print(f"{sum(len(names) for names in offsets.values())} pictures: {to}")


@app.command()
def fill_labels(
    data: DataOption,
    to: Annotated[Path, typer.Option(help="Folder to write, for `train --filled`.")],
) -> None:
    """Write what released weights see of structures that sets do not label, and doubt of others (`train` extra)."""
    from service.release import fill

    with _plainly(), err.status("filling labels"):
        pictures = fill(data, to)
    out.print(f"{len(pictures)} pictures: {to}")


@app.command()
def samples(
    recipe: PictureArgument,
    data: DataOption,
    to: Annotated[Path, typer.Option(help="PNG to write.")],
    count: Annotated[int, typer.Option(min=1, help="How many samples.")] = 24,
) -> None:
    """Draw the first training samples of a recipe on one sheet, to be looked at (needs the `train` extra)."""
    from inference.render import encode_png
    from training.recipe import Recipe
    from training.samples import Samples
    from training.sheet import sheet

    with _plainly():
        to.write_bytes(encode_png(sheet(Samples(Recipe.load(recipe), data, count), count)))


@app.command()
def export(
    run: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of the run.")],
    data: DataOption,
    version: Annotated[str, typer.Option(help="Version of the released weights.")] = f"{date.today():%Y.%m.%d}",
    to: Annotated[Path, typer.Option(help="Folder for the ONNX file and its manifest.")] = Path("model/weights"),
) -> None:
    """Release a trained run: ONNX file, calibration and figures on the validation splits, manifest."""
    from service.release import release

    with _plainly(), err.status("exporting and evaluating"):
        manifest = release(run, data, version, to)
    print(manifest)


@app.command()
def evaluate(
    data: DataOption,
    domain: Annotated[str, typer.Option(help="Which released weights.")] = "overhead",
    as_json: Annotated[bool, typer.Option("--json", help="Print figures as JSON.")] = False,
    shift: Annotated[int, typer.Option(min=0, help="Move one date by so many pixels; figures of change only.")] = 0,
) -> None:
    """Measure released weights on the validation splits, both ways in time."""
    from inference.model import Model
    from service.release import measure

    with _plainly(), err.status("evaluating"):
        rows = measure(Model.load(domain), data, shift_px=shift)
    if as_json:
        print(json.dumps(rows))
        return
    _print_scores(rows)


def _print_scores(rows: dict[str, dict[str, Any]]) -> None:
    table = Table("set/output", "F1", "IoU", "object recall", "object precision", "false/km²", "objects", "km²")
    for name, row in rows.items():
        keys = ("f1", "iou", "object_recall", "object_precision", "false_objects_per_km2")
        table.add_row(
            name,
            *("–" if row[k] is None else f"{row[k]:.3f}" for k in keys),
            str(row["objects"]),
            f"{row['area_km2']:.2f}",
        )
    out.print(table)


register_feedback(app)
register_greening(app)
register_ledger(app)
register_models(app)
register_nightly(app)
register_people(app)
register_scan(app)
register_watch(app)

if __name__ == "__main__":
    app()
