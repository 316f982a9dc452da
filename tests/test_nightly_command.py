"""`jingdi nightly`: the same nights in the foreground, with the exit codes of a scan."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from service.cli import app
from service.commands.nightly import ABSTAINED, FINDINGS, NOTHING_FOUND, SET_ASIDE, USAGE
from service.ledger.audit import verify
from service.nightly.locks import Lock
from service.nightly.tables import Night, Schedule
from service.scenes.tables import SceneRow
from tests.imagery import MagentaModel
from tests.nights import NEW, House, Weights, house, picture, stand_in

Command = Callable[..., Result]


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> Weights:
    return stand_in(monkeypatch)


@pytest.fixture
def place(tmp_path: Path, weights: Weights) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


@pytest.fixture
def command(place: House, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("JINGDI_DATABASE_URL", place.settings.database_url or "")
    monkeypatch.delenv("JINGDI_LANGUAGE", raising=False)

    def run(*arguments: object) -> Result:
        data = ["--data-dir", str(place.settings.data_dir)]
        return CliRunner().invoke(app, ["nightly", *map(str, arguments), *data])

    return run


def add(command: Command, *more: object, name: str = "石景山") -> Result:
    return command(
        "add", name, "--source", "nights", "--cron", "30 2 * * *", "--policy", "fixed", "--baseline", "base.tif", *more
    )


@pytest.fixture
def scheduled(place: House, command: Command) -> House:
    """A schedule for cron, a baseline, and no night yet."""
    picture(place.scenes / "base.tif", taken="2026-02-01T03:00")
    assert add(command, "--disabled", "--actor", "王经办").exit_code == 0
    return place


def test_findings_nothing_found_and_not_observed_have_their_codes(scheduled: House, command: Command) -> None:
    result = command("run", "石景山")
    assert result.exit_code == ABSTAINED, result.output
    assert "没有影像" in result.stdout
    assert "不作任何判断" in result.stdout
    picture(scheduled.scenes / "nights" / "a.tif", NEW, taken="2026-03-02T03:00")
    with_findings = command("run", "石景山")
    assert with_findings.exit_code == FINDINGS, with_findings.output
    assert "发现疑似图斑" in with_findings.stdout
    picture(scheduled.scenes / "nights" / "b.tif", taken="2026-03-03T03:00", unseen=0.25)
    clear = command("run", "石景山")
    assert clear.exit_code == NOTHING_FOUND, clear.output
    assert "观测到的范围内未发现" in clear.stdout
    assert "未观测（无数据）：25%" in clear.stdout
    again = command("run", "石景山", "--language", "en")
    assert again.exit_code == ABSTAINED
    assert "no new imagery" in again.stdout
    with Session(scheduled.engine) as session:
        assert len(session.scalars(select(SceneRow)).all()) == 2
        assert verify(session).problem is None


class Poisoned(MagentaModel):
    """Fails wherever it is shown anything."""

    def probabilities(self, before: Any, after: Any) -> Any:
        raise RuntimeError("poison")


def test_windows_that_were_set_aside_have_code_4(scheduled: House, command: Command, weights: Weights) -> None:
    picture(scheduled.scenes / "nights" / "a.tif", taken="2026-03-02T03:00")
    weights.model = Poisoned()
    result = command("run", "石景山")
    assert result.exit_code == SET_ASIDE, result.output
    assert "读取失败" in result.stdout


def test_an_area_that_is_being_scanned_is_said(scheduled: House, command: Command) -> None:
    Lock(scheduled.engine, scheduled.schedules.get("石景山").area_key, "another").take()
    result = command("run", "石景山")
    assert result.exit_code == USAGE
    assert "还没有结束" in result.stderr


def test_without_a_name_everything_that_is_due_is_scanned(scheduled: House, command: Command) -> None:
    assert add(command, name="另一个").exit_code == 0
    picture(scheduled.scenes / "nights" / "a.tif", NEW, taken="2026-03-02T03:00")
    quiet = command("run")
    assert (quiet.exit_code, quiet.stdout) == (NOTHING_FOUND, "")
    assert "没有到期" in quiet.stderr
    with Session(scheduled.engine) as session, session.begin():
        session.execute(update(Schedule).values(checked_until=datetime.now(UTC) - timedelta(days=2)))
    result = command("run", "--json")
    assert result.exit_code == FINDINGS, result.output
    night = json.loads(result.stdout)
    assert (night["schedule"], night["state"], night["job_id"]) == ("另一个", "findings", None)
    with Session(scheduled.engine) as session:
        states = session.scalars(select(Night.state).order_by(Night.due_at)).all()
    assert states[-1] == "findings"
    assert set(states[:-1]) == {"missed"}


def test_schedules_are_listed_with_what_became_of_the_last_night(scheduled: House, command: Command) -> None:
    command("run", "石景山")
    table = command("list").stdout
    assert "石景山" in table
    assert "未观测" in table
    assert "已停用" in table
    [listed] = json.loads(command("list", "--json").stdout)
    assert (listed["name"], listed["policy"], listed["next_due_at"]) == ("石景山", "fixed", None)


def test_a_removed_schedule_is_gone_and_its_nights_are_not(scheduled: House, command: Command) -> None:
    command("run", "石景山")
    assert command("remove", "石景山").exit_code == 0
    assert "还没有计划" in command("list").stdout
    assert len(scheduled.nights()) == 1
    gone = command("run", "石景山")
    assert gone.exit_code == USAGE
    assert "没有这个编号或名称的计划" in gone.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--cron", "* * * * *"], "不到一小时"),
        (["--cron", "whenever"], "不是有效的 cron"),
        (["--time-zone", "Mars"], "时区"),
        (["--policy", "sometimes"], "last_accepted"),
        (["--source", "/etc"], "JINGDI_SCENE_DIRS"),
        (["--source", "http://elsewhere.example/{date}.tif"], "JINGDI_SCENE_HOSTS"),
        (["--bands", "1,2"], "3,2,1"),
        (["--area", "AREA"], "bad_area"),
    ],
    ids=str,
)
def test_a_schedule_that_makes_no_sense_is_refused(
    place: House, command: Command, tmp_path: Path, more: list[str], said: str
) -> None:
    (tmp_path / "area.geojson").write_text('{"type": "Point", "coordinates": [116, 40]}')
    result = add(command, *(str(tmp_path / "area.geojson") if each == "AREA" else each for each in more))
    assert result.exit_code == USAGE
    assert said in result.stderr.replace("\n", "").replace("│ │", "")
    assert place.schedules.all() == []


def test_a_name_is_used_once(scheduled: House, command: Command) -> None:
    again = add(command)
    assert again.exit_code == USAGE
    assert "已有同名的计划" in again.stderr
