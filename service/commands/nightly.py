"""`jingdi nightly`: schedules of nightly scans, and one scan in the foreground for cron and systemd.

Whoever has cron or systemd start `jingdi nightly run NAME` adds the schedule with `--disabled`, so that the service
does not scan it as well. Exit codes of `run` are those of `jingdi scan`: 0 nothing found, 1 findings, 2 usage or the
area is being scanned, 3 nothing was observed, 4 it failed or windows were set aside.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from service.commands.ledger import DataOption, LanguageOption, err, fail, out
from service.commands.models import open_background
from service.commands.scan import read_bands

if TYPE_CHECKING:
    from rich.status import Status
    from sqlalchemy.orm import Session

    from service.nightly.running import Nightly
    from service.nightly.tables import Night, Schedule

NOTHING_FOUND, FINDINGS, USAGE, ABSTAINED, SET_ASIDE = 0, 1, 2, 3, 4
nightly = typer.Typer(no_args_is_help=True, help="Scans that come back every night: add, list, run, remove.")

NameArgument = Annotated[str, typer.Argument(help="Name of a schedule.")]
ActorOption = Annotated[str, typer.Option(help="Who answers for it, by name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(nightly, name="nightly")


@nightly.command()
def add(
    name: NameArgument,
    source: Annotated[
        str, typer.Option(help="Imagery of a night: file, folder, STAC or tiles; may have {date} in it.")
    ],
    cron: Annotated[str, typer.Option(help="When: five fields, as cron has them.")],
    time_zone: Annotated[str, typer.Option(help="Whose clock.")] = "Asia/Shanghai",
    area: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="GeoJSON in WGS-84.")] = None,
    policy: Annotated[str, typer.Option(help="Compared with: fixed, last_accepted, previous_night.")] = "last_accepted",
    baseline: Annotated[str | None, typer.Option(help="Imagery that a fixed policy compares with.")] = None,
    gsd: Annotated[float | None, typer.Option(min=0.01, help="Metres per pixel, if not those of the baseline.")] = None,
    bands: Annotated[str, typer.Option(help="Which bands are red, green and blue.")] = "1,2,3",
    zoom: Annotated[int, typer.Option(min=0, max=24, help="Level of a tile template.")] = 18,
    disabled: Annotated[bool, typer.Option("--disabled", help="The service leaves it alone; for cron.")] = False,
    actor: ActorOption = "operator",
    data_dir: DataOption = None,
    language: LanguageOption = "zh",
) -> None:
    """Have an area scanned every night."""
    from inference.reasons import InputError
    from service.language import say
    from service.ledger.audit import Actor
    from service.nightly.schedules import Plan, Schedules
    from service.nightly.tables import POLICIES

    if policy not in POLICIES:
        raise typer.BadParameter(f"one of {', '.join(POLICIES)}", param_hint="--policy")
    rgb = read_bands(bands)
    with open_background(data_dir, language) as (background, settings, *_):
        try:
            place = None if area is None else json.loads(area.read_text("utf-8-sig"))
            plan = Plan(
                name, source, cron, time_zone, place, policy, baseline, rgb, gsd, zoom, enabled=not disabled,
            )  # fmt: skip
            schedule = Schedules(background.queue.engine, settings).add(Actor(actor), plan)
        except InputError as error:
            reason = error.reason
            fail(f"{reason.say(language)} {reason.remedy(language)} ({reason.code})")
        except (OSError, ValueError) as error:
            fail(f"{area}: {error}")
        due = say(language, "nightly.off") if disabled else _next(schedule)
        out.print(escape(say(language, "nightly.added", name=name, due=due, zone=time_zone)))


@nightly.command("list")
def list_(as_json: JsonOption = False, data_dir: DataOption = None, language: LanguageOption = "zh") -> None:
    """Schedules, when they are due next, and what became of the last night of each."""
    from sqlalchemy.orm import Session

    from service.language import say
    from service.nightly.schedules import Schedules
    from service.nightly.schemas import ScheduleOut

    with open_background(data_dir, language) as (background, settings, *_):
        engine = background.queue.engine
        schedules = Schedules(engine, settings).all()
        with Session(engine) as session:
            last = {each.id: _last(session, each) for each in schedules}
    if as_json:
        print(json.dumps([ScheduleOut.of(each).model_dump(mode="json") for each in schedules], ensure_ascii=False))
        return
    if not schedules:
        out.print(say(language, "nightly.none"))
        return
    columns = ("name", "source", "cron", "policy", "due", "last")
    table = Table(*(say(language, f"nightly.column.{name}") for name in columns))
    for each in schedules:
        due = _next(each) if each.enabled else say(language, "nightly.off")
        night = last[each.id]
        state = "" if night is None else say(language, f"nightly.state.{night.state}")
        when = f"{each.cron} ({each.time_zone})"
        row = (each.name, each.source, when, say(language, f"nightly.policy.{each.policy}"), due, state)
        table.add_row(*map(escape, row))
    out.print(table)


@nightly.command()
def remove(
    name: NameArgument, actor: ActorOption = "operator", data_dir: DataOption = None, language: LanguageOption = "zh"
) -> None:
    """No more nights of a schedule; those there were stay on record."""
    from service.language import say
    from service.ledger.audit import Actor
    from service.nightly.schedules import Schedules

    with open_background(data_dir, language) as (background, settings, *_):
        Schedules(background.queue.engine, settings).remove(Actor(actor), name)
    out.print(escape(say(language, "nightly.removed", name=name)))


@nightly.command()
def run(
    name: Annotated[
        str | None, typer.Argument(help="Name of a schedule, scanned now; all that are due if left out.")
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataOption = None,
    language: LanguageOption = "zh",
) -> None:
    """Scan in the foreground, and lay the findings over the ledger."""
    from sqlalchemy.orm import Session

    from service.language import say
    from service.nightly.due import begin, take_due
    from service.nightly.schedules import Schedules

    codes = []
    with open_background(data_dir, language) as (background, settings, *_):
        engine, now = background.queue.engine, datetime.now(UTC)
        if name is None:
            nights = take_due(engine, now, lambda session, night: None)
        else:
            schedule = Schedules(engine, settings).get(name)
            with Session(engine) as session, session.begin():
                nights = [begin(session, schedule, now).id]
        if not nights:
            err.print(say(language, "nightly.nothing_due"))
        for night_id in nights:
            codes.append(_carry_out(background.nightly, night_id, as_json, language))
    raise typer.Exit(max(codes, key=_SEVERITY.index, default=NOTHING_FOUND))


_SEVERITY = (NOTHING_FOUND, FINDINGS, ABSTAINED, USAGE, SET_ASIDE)
"""Of several nights, the exit code of the one that needs somebody most."""


def _carry_out(nightly: Nightly, night_id: str, as_json: bool, language: str) -> int:
    from service.nightly.schemas import NightOut

    name = nightly.read(night_id).schedule.name
    with err.status(name) as status:
        nightly.conclude(night_id, _reporting(status, name, language))
    night = nightly.read(night_id)
    if as_json:
        print(NightOut.of(night, language).model_dump_json())
    else:
        _print(night, name, language)
    if night.state == "failed" or any(reason["code"] == "windows_set_aside" for reason in night.reasons):
        return SET_ASIDE
    return {"findings": FINDINGS, "nothing_found": NOTHING_FOUND}.get(night.state, ABSTAINED)


def _reporting(status: Status, name: str, language: str) -> Any:
    from service.language import say

    def report(stage: str, share: float) -> None:
        status.update(
            say(language, "nightly.scanning", name=name, stage=say(language, f"scan.{stage}"), share=f"{share:.0%}")
        )

    return report


def _print(night: Night, name: str, language: str) -> None:
    from service.language import say
    from service.nightly.texts import sentence

    seen = night.state in ("findings", "nothing_found")
    observed = f"{int((night.observed_share or 0) * 1000) / 10:g}%"
    told = "nightly.ended" if seen else "nightly.unseen"
    state = say(language, f"nightly.state.{night.state}")
    out.print(escape(say(language, told, name=name, state=state, observed=observed)))
    for reason in night.reasons:
        out.print(f"  {escape(sentence(reason, language))}")


def _last(session: Session, schedule: Schedule) -> Night | None:
    from sqlalchemy import select

    from service.nightly.tables import Night

    query = select(Night).where(Night.schedule_id == schedule.id).order_by(Night.due_at.desc())
    return session.scalars(query.limit(1)).first()


def _next(schedule: Schedule) -> str:
    from service.nightly.times import local, upcoming

    moment = upcoming(schedule.cron, schedule.time_zone, datetime.now(UTC))
    return f"{local(moment, schedule.time_zone):%Y-%m-%d %H:%M}"
