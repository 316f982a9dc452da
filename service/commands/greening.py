"""`jingdi greening`: how much of each site was made green (覆绿) between two dates. An estimate, and said to be one.

Exit codes: 0 estimated, 2 usage or unusable input, 3 nothing of any site was observed at both dates.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from service.commands.ledger import DataOption, LanguageOption, check_language, err, fail, open_database, out
from service.commands.scan import SOURCES, read_bands

if TYPE_CHECKING:
    from inference.greening import Greened, Survey
    from inference.site import Site
    from service.ledger.tables import Site as Entry

ESTIMATED, ABSTAINED = 0, 3
COLUMNS = (
    "code", "name", "site_m2", "greened_m2", "greened_error_m2", "greened_mu", "vegetation_before_m2",
    "vegetation_after_m2", "observed_share", "stated_m2", "not_observed", "notes", "estimate",
)  # fmt: skip
"""Of a CSV file. A figure that is missing was not observed, which is not 0."""
_NAMES = ("code", "id", "name", "点位编号", "编号", "名称")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(greening)


@dataclass(frozen=True, slots=True)
class Asked:
    """A site to be looked at; `stated_m2` is what the ledger says was greened there, None where nobody says."""

    code: str
    name: str
    site: Site
    stated_m2: float | None = None


def greening(
    before: Annotated[list[str], typer.Option(help=f"Earlier date: {SOURCES}")],
    after: Annotated[list[str], typer.Option(help="Later date, the same.")],
    sites: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="GeoJSON in WGS-84; a point has a radius_m.")
    ] = None,
    ledger: Annotated[
        bool, typer.Option("--ledger", help="The sites of the ledger instead; it is not changed.")
    ] = False,
    to: Annotated[Path | None, typer.Option("--out", dir_okay=False, help="File to write: .geojson or .csv.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print GeoJSON.")] = False,
    bands: Annotated[str, typer.Option(help="Which bands are red, green and blue.")] = "1,2,3",
    infrared: Annotated[
        int | None, typer.Option("--nir", min=1, help="Near-infrared band, where the files do not name it.")
    ] = None,
    zoom: Annotated[int, typer.Option(min=0, max=24, help="Level of a tile template.")] = 18,
    cloud_before: Annotated[list[str] | None, typer.Option(help="Mask, not 0 where clouds are.")] = None,
    cloud_after: Annotated[list[str] | None, typer.Option(help="The same for the later date.")] = None,
    allow_host: Annotated[list[str] | None, typer.Option(help="host[:port] that may be read from.")] = None,
    allow_bucket: Annotated[list[str] | None, typer.Option(help="S3 bucket that may be read from.")] = None,
    data_dir: DataOption = None,
    language: LanguageOption = "zh",
) -> None:
    """Estimate on each site what was bare before and is vegetated after, in m² and mu, with an error."""
    from datasets.scene import Access, SceneError
    from datasets.scene_sources import open_scene
    from inference.greening import survey
    from inference.reasons import InputError, Reason
    from service.language import say

    check_language(language)
    if (sites is None) != ledger:
        raise typer.BadParameter("either --sites or --ledger", param_hint="--sites")
    if to is not None and to.suffix.lower() not in (".geojson", ".csv"):
        raise typer.BadParameter("must end in .geojson or .csv", param_hint="--out")
    rgb = read_bands(bands)
    access = Access(frozenset(allow_host or ()), frozenset(allow_bucket or ()))
    asked = read_sites(sites, language) if sites is not None else of_ledger(data_dir)
    if not asked:
        fail(say(language, "greening.no_sites"))
    try:
        scenes = [
            open_scene(names, access, bands=rgb, zoom=zoom, clouds=clouds or ())
            for names, clouds in ((before, cloud_before), (after, cloud_after))
        ]
        with err.status(say(language, "greening.working", count=len(asked))):
            nir = None if infrared is None else (infrared, infrared)
            found = survey(scenes[0], scenes[1], [each.site for each in asked], infrared=nir)
    except (SceneError, InputError) as error:
        reason = Reason(error.code, error.values) if isinstance(error, SceneError) else error.reason
        fail(f"{reason.say(language)} {reason.remedy(language)} ({reason.code})")
    dates = [None if scene.captured_at is None else scene.captured_at.isoformat() for scene in scenes]
    document = collection(asked, found, dates, language)
    if to is not None:
        data = _csv(document, language) if to.suffix.lower() == ".csv" else _json(document)
        try:
            to.write_bytes(data.encode())
        except OSError as error:
            fail(f"{error.filename}: {error.strerror or error}")
    if as_json:
        print(_json(document))
    else:
        _print(asked, found, language)
    raise typer.Exit(ESTIMATED if any(site.observed_share for site in found.sites) else ABSTAINED)


def read_sites(path: Path, language: str = "zh") -> list[Asked]:
    """Sites of a GeoJSON file, named by `code`, `id` or `name` among their properties, or else by their number."""
    from inference.reasons import InputError, Reason
    from inference.site import Site

    number = 0
    try:
        document = json.loads(path.read_text("utf-8-sig"))
        features = document["features"] if document["type"] == "FeatureCollection" else [document]
        found = []
        for number, feature in enumerate(features, 1):
            properties = feature.get("properties") or {}
            known = [str(properties[key]) for key in _NAMES if properties.get(key) not in (None, "")]
            code = known[0] if known else str(feature.get("id", number))
            name = str(properties.get("name") or properties.get("名称") or "")
            found.append(Asked(code, name, Site.parse(json.dumps(feature))))
    except InputError as error:
        fail(f"{path}: {number}: {error.reason.say(language)} {error.reason.remedy(language)} ({error.reason.code})")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = Reason("bad_area", {"detail": type(error).__name__})
        fail(f"{path}: {reason.say(language)} {reason.remedy(language)} ({reason.code})")
    return found


def of_ledger(data_dir: Path | None) -> list[Asked]:
    """All sites of the ledger, with what it states of each."""
    from sqlalchemy import select
    from sqlalchemy.orm import Session

    from service.ledger.tables import Site as Entry

    engine = open_database(data_dir)
    try:
        with Session(engine) as session:
            entries = session.scalars(select(Entry).order_by(Entry.code)).all()
            return [_of_entry(entry) for entry in entries]
    finally:
        engine.dispose()


def _of_entry(entry: Entry) -> Asked:
    from inference.site import Site

    place = {"type": "Feature", "geometry": entry.geometry, "properties": {"radius_m": entry.radius_m or 0}}
    return Asked(entry.code, entry.name, Site.of(place), entry.greened_m2)


def collection(asked: Sequence[Asked], found: Survey, dates: Sequence[str | None], language: str) -> dict[str, Any]:
    """GeoJSON in WGS-84: one feature a site, with figures in m² and mu that are None where nothing was seen."""
    from service.language import say
    from service.pages.view import M2_PER_MU

    features = []
    for each, one in zip(asked, found.sites, strict=True):
        figures = {
            "site_m2": one.site_m2, "greened_m2": one.greened_m2, "greened_error_m2": one.error_m2,
            "vegetation_before_m2": one.before_m2, "vegetation_after_m2": one.after_m2,
        }  # fmt: skip
        properties: dict[str, Any] = {"code": each.code, "name": each.name}
        properties |= {name: None if value is None else round(value, 1) for name, value in figures.items()}
        properties["greened_mu"] = None if one.greened_m2 is None else round(one.greened_m2 / M2_PER_MU, 3)
        properties |= {
            "observed_share": math.floor(one.observed_share * 1000) / 1000, "not_observed": one.not_observed,
            "stated_m2": each.stated_m2, "index": found.index, "before_date": dates[0], "after_date": dates[1],
            "notes": [note.code for note in (*found.notes, *one.notes)], "estimate": True,
        }  # fmt: skip
        features.append({**each.site.document, "id": each.code, "properties": properties | _radius(each.site)})
    note = say(language, "greening.estimate", index=say(language, f"greening.index_{found.index}"))
    return {"type": "FeatureCollection", "note": note, "features": features}


def _radius(site: Site) -> dict[str, float]:
    return {"radius_m": site.radius_m} if site.radius_m else {}


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False)


def _csv(document: dict[str, Any], language: str) -> str:
    """UTF-8 with a BOM, which spreadsheets need to see that it is."""
    from service.language import say

    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([say(language, f"greening.column.{name}") for name in COLUMNS])
    for feature in document["features"]:
        values = feature["properties"] | {"estimate": say(language, "greening.estimated")}
        values["not_observed"] = _missing(values["not_observed"], language)
        values["notes"] = ", ".join(values["notes"])
        values |= {name: _harmless(values[name]) for name in ("code", "name")}
        writer.writerow(["" if values[name] is None else values[name] for name in COLUMNS])
    return "\ufeff" + text.getvalue()


def _harmless(text: str) -> str:
    """What a spreadsheet would run as a formula, as text."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _missing(shares: dict[str, float], language: str) -> str:
    from service.language import say

    return ", ".join(f"{say(language, f'scan.reason.{code}')} {100 * share:.3g}%" for code, share in shares.items())


def _print(asked: Sequence[Asked], found: Survey, language: str) -> None:
    from service.language import say
    from service.pages.view import M2_PER_MU

    columns = ["code", "greened_m2", "greened_mu", "observed_share"]
    stated = any(each.stated_m2 is not None for each in asked)
    table = Table(*(say(language, f"greening.column.{name}") for name in columns + ["stated_m2"] * stated))
    for each, one in zip(asked, found.sites, strict=True):
        row = [
            escape(each.code),
            *_figures(one, language, M2_PER_MU),
            f"{math.floor(one.observed_share * 1000) / 10:g}%",
        ]
        table.add_row(*row, *([f"{each.stated_m2:.0f}"] if each.stated_m2 is not None else []))
    out.print(table)
    out.print(escape(say(language, "greening.estimate", index=say(language, f"greening.index_{found.index}"))))
    for note in found.notes:
        out.print(f"  {escape(note.say(language))} {escape(note.remedy(language))}")
    if unseen := sum(one.greened_m2 is None for one in found.sites):
        out.print(say(language, "greening.not_observed", count=unseen))


def _figures(one: Greened, language: str, m2_per_mu: float) -> tuple[str, str]:
    from service.language import say

    if one.greened_m2 is None or one.error_m2 is None:
        return say(language, "greening.unseen"), ""
    return f"{one.greened_m2:.0f} ± {one.error_m2:.0f}", f"{one.greened_m2 / m2_per_mu:.2f}"
