"""`jingdi score`: what it says on which stream, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from datasets.district import generate
from inference.model import Model, ModelError
from inference.reasons import Reason
from service.cli import ABSTAINED, FINDINGS, NOTHING_FOUND, USAGE, app
from tests.imagery import MagentaModel, StreetModel, encoded, geotiff, ground, later, look
from tests.street import from_elsewhere, street

NEW, REMAINING = (40, 30, 24, 24), (150, 60, 24, 24)
Score = Callable[..., Result]


@pytest.fixture
def score(monkeypatch: pytest.MonkeyPatch) -> Score:
    """Run `jingdi score` with a model that takes what is magenta for a structure."""
    monkeypatch.setattr(Model, "load", classmethod(lambda cls, *args, **options: MagentaModel()))
    monkeypatch.delenv("JINGDI_LANGUAGE", raising=False)

    def run(*arguments: object, **environment: str) -> Result:
        return CliRunner(env=environment).invoke(app, ["score", *map(str, arguments)])

    return run


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pictures of one place, and some that cannot be used."""
    folder = tmp_path_factory.mktemp("pictures")
    contents = {
        "bare.png": encoded(look()),
        "standing.png": encoded(look(REMAINING)),
        "later_bare.png": encoded(later()),
        "later_standing.png": encoded(later(REMAINING)),
        "later_new.png": encoded(later(REMAINING, NEW)),
        "elsewhere.png": encoded(ground(2)),
        "before.tif": geotiff(look(REMAINING)),
        "after.tif": geotiff(later(REMAINING, NEW)),
        "empty.png": b"",
        "letter.txt": b"this is no picture",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in contents}


def plain(text: str) -> str:
    """Without the line breaks and frames that a terminal of 80 columns puts into long text."""
    return re.sub(r"[\s│╭╮╰╯─]+", "", text)


# --- Exit codes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("bare.png", "later_bare.png", NOTHING_FOUND),
        ("standing.png", "later_new.png", FINDINGS),
        ("standing.png", "later_standing.png", FINDINGS),
        ("standing.png", "later_bare.png", FINDINGS),
        ("bare.png", "empty.png", USAGE),
        ("letter.txt", "bare.png", USAGE),
        ("bare.png", "elsewhere.png", ABSTAINED),
        ("bare.png", "bare.png", ABSTAINED),
    ],
)
def test_the_exit_code_tells_the_outcome(
    score: Score, files: dict[str, Path], before: str, after: str, code: int
) -> None:
    assert score(files[before], files[after]).exit_code == code


def test_the_exit_codes_are_those_that_scripts_rely_on() -> None:
    assert (NOTHING_FOUND, FINDINGS, USAGE, ABSTAINED) == (0, 1, 2, 3)


@pytest.mark.parametrize(
    "arguments", [(), ("bare.png",), ("bare.png", "nowhere.png"), ("bare.png", "bare.png", "--nope")]
)
def test_wrong_usage_is_2_and_leaves_stdout_empty(
    score: Score, files: dict[str, Path], arguments: tuple[str, ...]
) -> None:
    result = score(*(files.get(argument, argument) for argument in arguments))
    assert result.exit_code == USAGE
    assert result.stdout == ""
    assert result.stderr


def test_an_unknown_language_is_wrong_usage(score: Score, files: dict[str, Path]) -> None:
    result = score(files["bare.png"], files["later_bare.png"], "--language", "fr")
    assert result.exit_code == USAGE
    assert "zh,en" in plain(result.stderr)


# --- What is said -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "sentence"), [("zh", "文件为空"), ("en", "The file is empty")])
@pytest.mark.parametrize("position", [0, 1])
def test_an_unreadable_file_is_named_with_cause_and_code(
    score: Score, files: dict[str, Path], position: int, language: str, sentence: str
) -> None:
    pictures = [files["bare.png"], files["bare.png"]]
    pictures[position] = files["empty.png"]
    result = score(*pictures, "--language", language)
    assert result.stdout == ""
    said = plain(result.stderr)
    assert plain(str(files["empty.png"])) in said
    assert plain(sentence) in said
    assert "empty_file" in said


def test_a_resolution_that_makes_no_sense_is_refused(score: Score, files: dict[str, Path]) -> None:
    result = score(files["bare.png"], files["later_bare.png"], "--gsd", "-1")
    assert result.exit_code == USAGE
    assert "--gsd" in plain(result.stderr)


def test_an_abstention_says_why_and_what_to_do(score: Score, files: dict[str, Path]) -> None:
    result = score(files["bare.png"], files["elsewhere.png"], "--language", "en")
    assert "no place in common" in result.stdout
    assert "Choose two pictures of the same place" in " ".join(result.stdout.split())


def test_the_language_comes_from_the_environment_too(score: Score, files: dict[str, Path]) -> None:
    pair = (files["bare.png"], files["elsewhere.png"])
    assert "no place in common" in score(*pair, JINGDI_LANGUAGE="en").stdout
    assert "没有共同的地方" in score(*pair).stdout


def test_findings_are_listed_with_their_areas(score: Score, files: dict[str, Path]) -> None:
    result = score(files["before.tif"], files["after.tif"], "--language", "en")
    assert result.exit_code == FINDINGS
    assert re.search(r"144 ± \d+", result.stdout)
    assert "116.19" in result.stdout


def test_what_is_to_be_kept_in_mind_is_told(score: Score, files: dict[str, Path]) -> None:
    result = score(files["standing.png"], files["later_new.png"], "--language", "en")
    assert plain(Reason("no_gsd").say("en")) in plain(result.stdout)


def test_areas_in_pixels_without_a_resolution_and_in_metres_with_one(score: Score, files: dict[str, Path]) -> None:
    pair = (files["standing.png"], files["later_new.png"])
    assert "576" in score(*pair).stdout
    assert re.search(r"92 ± \d+", score(*pair, "--gsd", "0.4").stdout)


# --- Machine-readable -------------------------------------------------------------------------------------


def test_json_alone_is_on_stdout(score: Score, files: dict[str, Path]) -> None:
    result = score(files["before.tif"], files["after.tif"], "--json")
    report = json.loads(result.stdout)
    assert report["verdict"]["kind"] == "new"
    assert [finding["kind"] for finding in report["findings"]] == ["new", "remaining"]
    assert report["images"]["before"]["name"] == "before.tif"
    assert result.exit_code == FINDINGS


def test_json_of_an_abstention_has_the_code(score: Score, files: dict[str, Path]) -> None:
    result = score(files["bare.png"], files["elsewhere.png"], "--json")
    report = json.loads(result.stdout)
    assert report["verdict"]["reasons"] == [{"code": "no_overlap", "values": {}}]
    assert result.exit_code == ABSTAINED


def test_the_overlay_is_a_png_with_the_findings(score: Score, files: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "overlay.png"
    score(files["standing.png"], files["later_new.png"], "--overlay", target)
    with Image.open(target) as image:
        assert image.format == "PNG"
        drawn, plain_picture = np.asarray(image).astype(int), later(REMAINING, NEW).astype(int)
    differs = np.abs(drawn - plain_picture).max(axis=2) > 10
    assert differs[30:54, 40:64].mean() > 0.9
    assert differs[60:84, 150:174].mean() > 0.9
    assert differs.mean() < 0.05


def test_the_geojson_has_every_finding_in_degrees(score: Score, files: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "findings.geojson"
    score(files["before.tif"], files["after.tif"], "--geojson", target)
    collection = json.loads(target.read_text("utf-8"))
    assert [feature["properties"]["kind"] for feature in collection["features"]] == ["new", "remaining"]
    lon, lat = collection["features"][0]["geometry"]["coordinates"][0][0]
    assert (lon, lat) == pytest.approx((116.2, 39.9), abs=0.02)


def test_the_geojson_of_photos_is_empty(score: Score, files: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "findings.geojson"
    score(files["standing.png"], files["later_new.png"], "--geojson", target)
    assert json.loads(target.read_text("utf-8")) == {"type": "FeatureCollection", "features": []}


# --- Recipes and labelled sets ----------------------------------------------------------------------------

SOURCES = "[sources]\nlevir_cd = 1.0\n"


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("stepz = 3\n" + SOURCES, "stepz"),
        ("steps = 3\n", "at least one set under [sources]"),
        ('domain = "ground"\nclouded = 0.2\n' + SOURCES, "clouds are the sky"),
        ("[sources]\nlevir = 1.0\n", "unknown set 'levir'; known:"),
        (SOURCES, "datasets/README.md"),
    ],
    ids=["unknown key", "no sets", "clouds on photographs", "unknown set", "no pictures"],
)
def test_a_recipe_that_cannot_be_run_is_refused_in_a_sentence(recipe: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(recipe, "utf-8")
    (tmp_path / "levir_cd").mkdir()
    command = ["train", str(tmp_path / "a.toml"), "--data", str(tmp_path), "--run", str(tmp_path / "run")]
    result = CliRunner(env={"COLUMNS": "400", "NO_COLOR": "1"}).invoke(app, command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_weights_that_are_not_there_are_named_in_a_sentence(tmp_path: Path) -> None:
    runner = CliRunner(env={"COLUMNS": "400", "NO_COLOR": "1"})
    result = runner.invoke(app, ["evaluate", "--data", str(tmp_path), "--domain", "underground"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "underground" in result.stderr
    assert isinstance(result.exception, SystemExit)


# --- Help -------------------------------------------------------------------------------------------------


def test_help_names_the_commands() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(command in result.stdout for command in ("score", "serve", "train", "export", "evaluate"))


def test_help_of_score_names_its_options() -> None:
    result = CliRunner(env={"COLUMNS": "160", "NO_COLOR": "1"}).invoke(app, ["score", "--help"])
    assert result.exit_code == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", result.stdout)
    assert all(option in shown for option in ("--gsd", "--json", "--overlay", "--geojson", "--language"))


# --- A process of its own, with the released weights ------------------------------------------------------

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38;)")


def jingdi(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "JINGDI_LANGUAGE")}
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *map(str, arguments)],
        cwd=Path(__file__).parents[1],
        env=inherited | {"PYTHONWARNINGS": "error::UserWarning", "PYTHONUTF8": "1"} | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_on_a_terminal_progress_goes_to_stderr_and_json_alone_to_stdout(tmp_path: Path) -> None:
    district = generate(27, size=256)
    for name, picture in (("before", district.before), ("after", district.after)):
        (tmp_path / f"{name}.tif").write_bytes(geotiff(picture.pixels))
    result = jingdi("score", tmp_path / "before.tif", tmp_path / "after.tif", "--json", FORCE_COLOR="1")
    report = json.loads(result.stdout)
    assert report["model"]["sha256"] == Model.load(threads=1).sha256
    assert result.returncode == (FINDINGS if report["findings"] else NOTHING_FOUND)
    assert "load" in result.stderr
    assert COLOUR.search(result.stderr)
    assert "Traceback" not in result.stderr


def test_no_color_is_respected(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    result = jingdi("score", tmp_path / "empty.png", tmp_path / "empty.png", FORCE_COLOR="1", NO_COLOR="1")
    assert result.returncode == USAGE
    assert "empty_file" in result.stderr
    assert not COLOUR.search(result.stderr)
    assert result.stdout == ""


def test_weights_that_cannot_be_loaded_are_not_taken_for_a_finding(
    score: Score, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(cls: type[Model], *_: object) -> Model:
        raise ModelError("the weights are [damaged]")

    monkeypatch.setattr(Model, "load", classmethod(fail))
    result = score(files["bare.png"], files["later_bare.png"])
    assert result.exit_code == USAGE
    assert "[damaged]" in plain(result.stderr)


def test_photographs_are_refused_plainly_while_their_weights_are_missing(
    score: Score, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(cls: type[Model], domain: str) -> Any:
        if domain == "ground":
            raise ModelError("no such file")
        return MagentaModel()

    monkeypatch.setattr(Model, "load", classmethod(load))
    pictures = files["bare.png"], files["later_bare.png"]
    refused = score(*pictures, "--photos", "--json")
    assert refused.exit_code == ABSTAINED
    assert json.loads(refused.stdout)["verdict"]["reasons"][0]["code"] == "no_photo_weights"
    assert score(*pictures, "--overhead").exit_code == NOTHING_FOUND


def test_photographs_print_what_they_show(score: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "load", classmethod(lambda cls, domain: StreetModel()))
    paths = tmp_path / "before.jpg", tmp_path / "after.jpg"
    for path, pixels in zip(paths, (street(3), from_elsewhere(street(3))), strict=True):
        path.write_bytes(encoded(pixels, "JPEG", quality=95))
    result = score(*paths, "--photos", "--site", "116.19,39.91,50")
    assert result.exit_code == NOTHING_FOUND
    text = plain(result.stdout)
    assert "构筑物" in text
    assert "渣土" in text


@pytest.mark.parametrize("site", ["somewhere", "1,2", "116.19,39.91,-5"])
def test_a_site_that_is_none_is_wrong_usage(score: Score, files: dict[str, Path], site: str) -> None:
    assert score(files["bare.png"], files["later_bare.png"], "--site", site).exit_code == USAGE


def test_an_overlay_that_cannot_be_written_is_not_taken_for_a_finding(
    score: Score, files: dict[str, Path], tmp_path: Path
) -> None:
    result = score(files["bare.png"], files["later_bare.png"], "--overlay", tmp_path / "missing" / "out.png")
    assert result.exit_code == USAGE
    assert "out.png" in plain(result.stderr)


def test_an_overlay_of_a_refused_pair_is_said_to_be_missing(
    score: Score, files: dict[str, Path], tmp_path: Path
) -> None:
    target = tmp_path / "out.png"
    result = score(files["bare.png"], files["elsewhere.png"], "--overlay", target)
    assert result.exit_code == ABSTAINED
    assert not target.exists()
    assert "out.png" in plain(result.stderr)
