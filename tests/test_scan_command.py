"""`jingdi scan`: exit codes, and what it says on which stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from inference.model import Model
from service.cli import app
from service.commands.scan import ABSTAINED, FINDINGS, NOTHING_FOUND, SET_ASIDE, USAGE
from tests import scans
from tests.imagery import MagentaModel
from tests.scans import dated, pair, write

NEW = (30, 40, 60, 40)
Scan = Callable[..., Result]


class Poisoned(MagentaModel):
    """Fails wherever it is shown anything."""

    def probabilities(self, before: Any, after: Any) -> Any:
        raise RuntimeError("poison")


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch) -> Scan:
    scans.small_windows(monkeypatch)
    monkeypatch.delenv("JINGDI_LANGUAGE", raising=False)

    def run(*arguments: object, model: type[MagentaModel] = MagentaModel) -> Result:
        monkeypatch.setattr(Model, "load", classmethod(lambda cls, *args, **options: model()))
        return CliRunner().invoke(app, ["scan", *map(str, arguments)])

    return run


def given(before: Path, after: Path, out: Path) -> list[object]:
    return ["--before", before, "--after", after, "--out", out]


def test_findings_and_none_have_their_codes(scan: Scan, tmp_path: Path) -> None:
    files = pair(tmp_path, (), (NEW,))
    found = scan(*given(*files, tmp_path / "run"))
    assert found.exit_code == FINDINGS, found.output
    assert "新增" in found.stdout
    assert "100%" in found.stdout
    (tmp_path / "bare").mkdir()
    assert scan(*given(*pair(tmp_path / "bare"), tmp_path / "run2")).exit_code == NOTHING_FOUND


def test_nothing_observed_is_not_clear(scan: Scan, tmp_path: Path) -> None:
    empty = np.zeros((100, 100, 4), np.uint8)
    files = write(tmp_path / "a.tif", empty), write(tmp_path / "b.tif", empty, 1)
    result = scan(*given(*files, tmp_path / "run"), "--language", "en")
    assert result.exit_code == ABSTAINED
    assert "Nothing of the area was observed" in result.stdout
    assert "not observed (no data): 100%" in result.stdout


def test_windows_that_were_set_aside_are_said_with_code_4_and_made_up_for(scan: Scan, tmp_path: Path) -> None:
    files = pair(tmp_path, (), (NEW,))
    result = scan(*given(*files, tmp_path / "run"), model=Poisoned)
    assert result.exit_code == SET_ASIDE
    assert "搁置" in result.stderr
    assert "poison" in result.stderr
    assert scan(*given(*files, tmp_path / "run"), "--resume").exit_code == FINDINGS


def test_a_list_of_pairs_gives_a_folder_each(scan: Scan, tmp_path: Path) -> None:
    pair(tmp_path, (), (NEW,))
    (tmp_path / "pairs.csv").write_text("name,before,after\nA,before.tif,after.tif\nB,before.tif,after.tif\n")
    result = scan("--pairs", tmp_path / "pairs.csv", "--out", tmp_path / "runs")
    assert result.exit_code == FINDINGS, result.output
    assert all((tmp_path / "runs" / name / "findings.gpkg").exists() for name in "AB")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (["--before", "https://elsewhere.example/a.tif"], "source_not_allowed"),
        (["--before", "gone.tif"], "source_unreadable"),
        (["--area", "area.geojson"], "bad_area"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_code(scan: Scan, tmp_path: Path, change: list[str], code: str) -> None:
    files = pair(tmp_path)
    (tmp_path / "area.geojson").write_text("{}")
    change = [str(tmp_path / c) if c.endswith("geojson") else c for c in change]
    sides = [] if "--before" in change else ["--before", files[0]]
    result = scan(*sides, "--after", files[1], "--out", tmp_path / "run", *change)
    assert result.exit_code == USAGE
    assert code in result.stderr.replace("\n", "")
    assert not result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--before", "a.tif"],
        ["--before", "a", "--after", "b", "--bands", "1,2"],
        ["--before", "a", "--after", "b", "--language", "fr"],
    ],
)
def test_wrong_usage(scan: Scan, tmp_path: Path, arguments: list[str]) -> None:
    assert scan(*arguments, "--out", tmp_path / "run").exit_code == USAGE


def test_scenes_without_a_place_are_sent_to_score(scan: Scan, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", dated(), crs=None)
    result = scan(*given(path, path, tmp_path / "run"))
    assert result.exit_code == USAGE
    assert "jingdi score" in result.stderr.replace("\n", " ")
