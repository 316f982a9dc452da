"""`jingdi greening`: figures in m² and mu, always called an estimate; the ledger stays as it is."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from datasets.district import Changes, District, generate
from service.cli import app
from service.commands.greening import ABSTAINED, COLUMNS, ESTIMATED
from service.commands.ledger import USAGE
from service.database import connect
from service.ledger.audit import writing
from service.ledger.tables import Site
from tests.databases import new_database
from tests.greenings import boxes, scenes, site, truth_m2
from tests.imagery import geotiff
from tests.ledgers import site as ledger_site

Greening = Callable[..., Result]


@pytest.fixture(scope="module")
def district() -> District:
    return generate(105, size=256, changes=Changes(new=0, removed=0, greened=9, nets=1))


@pytest.fixture
def lots(tmp_path: Path, district: District) -> Path:
    """A file of two sites: where most was greened, and one beside the scene."""
    best = max(boxes(district, 0, others=0), key=lambda box: truth_m2(district, box))
    features = [
        {**site(district, box).document, "properties": {"code": code, "name": "=1+1"}}
        for code, box in (("A-1", best), ("A-2", (400, 0, 440, 40)))
    ]
    path = tmp_path / "sites.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
    return path


@pytest.fixture
def greening(tmp_path: Path, district: District, monkeypatch: pytest.MonkeyPatch) -> Greening:
    monkeypatch.delenv("JINGDI_LANGUAGE", raising=False)
    before, after = scenes(tmp_path, district)

    def run(*arguments: object) -> Result:
        sides = ["--before", before.sources[0], "--after", after.sources[0]]
        return CliRunner().invoke(app, ["greening", *sides, *map(str, arguments)])

    return run


def test_a_site_gets_square_metres_and_mu_and_the_unseen_gets_none(
    greening: Greening, lots: Path, tmp_path: Path, district: District
) -> None:
    out = tmp_path / "out.geojson"
    result = greening("--sites", lots, "--json", "--out", out)
    assert result.exit_code == ESTIMATED, result.output
    document = json.loads(result.stdout)
    assert document == json.loads(out.read_text("utf-8"))
    assert "估算" in document["note"]
    seen, unseen = (feature["properties"] for feature in document["features"])
    truth = max(truth_m2(district, box) for box in boxes(district, 0, others=0))
    assert seen["greened_m2"] == pytest.approx(truth, rel=0.2)
    assert seen["greened_mu"] == pytest.approx(seen["greened_m2"] * 15 / 10_000, abs=0.001)
    assert seen["notes"] == ["season_differs"]
    assert (seen["index"], seen["estimate"]) == ("rgb", True)
    assert (unseen["greened_m2"], unseen["greened_mu"], unseen["observed_share"]) == (None, None, 0)
    assert unseen["not_observed"] == {"nodata": 1.0}


def test_the_table_says_that_it_is_an_estimate_in_both_languages(greening: Greening, lots: Path) -> None:
    chinese, english = (greening("--sites", lots, "--language", language) for language in ("zh", "en"))
    assert "覆绿面积为估算值" in chinese.stdout.replace("\n", "")
    assert "未观测" in chinese.stdout
    assert "Greened land is an estimate" in english.stdout.replace("\n", " ")
    assert "not observed" in english.stdout


def test_a_spreadsheet_can_open_it_and_finds_no_formula(greening: Greening, lots: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert greening("--sites", lots, "--out", out).exit_code == ESTIMATED
    assert out.read_bytes().startswith(b"\xef\xbb\xbf")
    heading, seen, unseen = csv.reader(out.read_text("utf-8-sig").splitlines())
    assert len(heading) == len(COLUMNS)
    row = dict(zip(COLUMNS, seen, strict=True))
    assert float(row["greened_m2"]) > 100
    assert row["estimate"] == "估算值"
    assert not row["name"].startswith("=")
    empty = dict(zip(COLUMNS, unseen, strict=True))
    assert empty["greened_m2"] == empty["greened_mu"] == ""
    assert "无数据 100%" in empty["not_observed"]


def test_sites_of_the_ledger_are_reported_beside_what_it_states_and_not_changed(
    greening: Greening, district: District, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = max(boxes(district, 0, others=0), key=lambda box: truth_m2(district, box))
    place = site(district, best)
    (tmp_path / "db").mkdir()
    with new_database(tmp_path / "db") as url:
        monkeypatch.setenv("JINGDI_DATABASE_URL", url)
        engine = connect(url)
        with writing(engine) as session:
            bounds = dict(zip(("west", "south", "east", "north"), place.geometry.bounds, strict=True))
            geometry: Any = place.document["geometry"]
            ledger_site(session, "S-1", geometry=geometry, greened_m2=777.0, **bounds)
        result = greening("--ledger", "--json")
        assert result.exit_code == ESTIMATED, result.output
        [feature] = json.loads(result.stdout)["features"]
        assert (feature["id"], feature["properties"]["stated_m2"]) == ("S-1", 777.0)
        assert feature["properties"]["greened_m2"] != 777.0
        with Session(engine) as session:
            assert session.scalars(select(Site.greened_m2)).one() == 777.0
        engine.dispose()


def test_nothing_observed_has_its_own_code(greening: Greening, lots: Path, district: District, tmp_path: Path) -> None:
    transform = district.before.transform
    assert transform is not None
    (tmp_path / "clouds.tif").write_bytes(geotiff(np.ones((256, 256), np.uint8), transform=transform))
    result = greening("--sites", lots, "--cloud-after", tmp_path / "clouds.tif")
    assert result.exit_code == ABSTAINED, result.output
    assert "不等于没有覆绿" in result.stdout.replace("\n", "")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "bad_area"),
        ('{"type": "FeatureCollection"}', "bad_area"),
        ('{"type": "Feature", "geometry": {"type": "Point", "coordinates": [116, 40]}, "properties": {}}', "bad_site"),
        ('{"type": "Polygon", "coordinates": [[[500000, 4400000], [500100, 4400000], [500000, 4400100]]]}', "bad_site"),
    ],
)
def test_a_file_that_holds_no_sites_is_said_with_its_code(
    greening: Greening, tmp_path: Path, text: str, code: str
) -> None:
    path = tmp_path / "wrong.geojson"
    path.write_text(text)
    result = greening("--sites", path)
    assert result.exit_code == USAGE
    assert code in result.stderr.replace("\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--ledger", "--sites", "LOTS"],
        ["--sites", "LOTS", "--out", "a.xlsx"],
        ["--sites", "LOTS", "--bands", "1,2"],
    ],
    ids=str,
)
def test_wrong_usage(greening: Greening, lots: Path, arguments: list[str]) -> None:
    assert greening(*(lots if each == "LOTS" else each for each in arguments)).exit_code == USAGE
