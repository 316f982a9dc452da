"""Decisions on leads become a set that training reads: from generated imagery, end to end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.features import rasterize
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from datasets.feedback import IGNORE
from datasets.labelled import LabelledPair, read_set
from service.cli import app
from service.database import connect
from service.ledger.audit import writing
from service.ledger.tables import Alert, Decision, Observation
from service.triage.decide import decide
from service.triage.reasons import compose
from tests.databases import new_database
from tests.leads import OTHER, REVIEWER, Leads, district, plant
from tests.miniature import recipe

X = IGNORE


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    with new_database(tmp_path) as url:
        monkeypatch.setenv("JINGDI_DATABASE_URL", url)
        found = connect(url)
        yield found
        found.dispose()


@pytest.fixture
def leads(engine: Engine, tmp_path: Path) -> Leads:
    return plant(engine, tmp_path)


def say(engine: Engine, alert_id: str, verdict: Any, code: Any, words: str = "") -> None:
    with writing(engine) as session:
        alert = session.get_one(Alert, alert_id)
        for person in (REVIEWER, OTHER, REVIEWER):
            if alert.state in ("confirmed", "dismissed"):
                return
            decide(session, alert, alert.state, verdict, person, compose(verdict, code, words))


def export(tmp_path: Path, *more: str) -> Any:
    command = ["feedback", "export", "--to", str(tmp_path / "sets/feedback"), "--data-dir", str(tmp_path), *more]
    return CliRunner().invoke(app, command)


def exported(tmp_path: Path) -> dict[str, LabelledPair]:
    """By id of the observation, from either side of the split."""
    found = {}
    for split in ("train", "validation"):
        try:
            pairs = read_set(tmp_path / "sets", "feedback", split)  # type: ignore[arg-type]
        except ValueError:  # the ids of the sites, which are drawn, may hold out every one of them
            continue
        found |= {pairs[i].name: pairs[i] for i in range(len(pairs))}
    return found


def look_of(engine: Engine, alert_id: str) -> str:
    with Session(engine) as session:
        return session.scalars(select(Observation.id).where(Observation.alert_id == alert_id)).one()


def labels(pair: LabelledPair) -> list[tuple[int, ...]]:
    """What is said of (structure before, structure after, change), wherever anything is."""
    layers = np.stack([pair.structure_before, pair.structure_after, pair.change], axis=-1).reshape(-1, 3)
    return sorted({tuple(each) for each in layers.tolist()} - {(X, X, X)})


def test_what_people_decided_is_what_training_is_told(engine: Engine, leads: Leads, tmp_path: Path) -> None:
    first, second, third, fourth, fifth = leads.alerts
    say(engine, first, "real", "structure")
    say(engine, second, "not_real", "shadow")
    say(engine, third, "not_real", "permitted", "批文 12 号")
    say(engine, fourth, "not_real", "other", "说不清")
    result = export(tmp_path)
    assert result.exit_code == 0, result.output
    assert "已导出 3 对影像、3 处图斑" in result.output.replace("\n", "")
    assert "理由不能说明是不是建筑：1" in result.output
    pairs = exported(tmp_path)
    told = {alert: labels(pairs[look_of(engine, alert)]) for alert in (first, second, third)}
    assert told == {first: [(0, 1, 1)], second: [(X, X, 0)], third: [(0, 1, 1)]}
    assert look_of(engine, fourth) not in pairs
    assert look_of(engine, fifth) not in pairs  # undecided


def test_pixels_and_labels_lie_where_the_structure_is(engine: Engine, leads: Leads, tmp_path: Path) -> None:
    say(engine, leads.alerts[0], "real", "structure")
    assert export(tmp_path).exit_code == 0
    [pair] = exported(tmp_path).values()
    assert (pair.before.shape, pair.gsd) == ((512, 512, 3), pytest.approx(0.5, rel=1e-3))
    scene = district()
    largest = max((s.polygon for s in scene.structures if s.kind == "new"), key=lambda polygon: polygon.area)
    rows, columns = np.nonzero(pair.structure_after == 1)
    assert rows.size == pytest.approx(largest.area, rel=0.03)
    here = rasterize([largest], scene.after.pixels.shape[:2]) > 0
    truth_rows, truth_columns = np.nonzero(here)
    for side, pixels in ((pair.before, scene.before.pixels), (pair.after, scene.after.pixels)):
        assert np.abs(side[rows, columns].mean(axis=0) - pixels[truth_rows, truth_columns].mean(axis=0)).max() < 3
    assert pair.structures_known is False


def test_beyond_the_imagery_nothing_is_labelled_and_nothing_is_made_up(
    engine: Engine, leads: Leads, tmp_path: Path
) -> None:
    for alert in leads.alerts[:3]:
        say(engine, alert, "real", "structure")
    export(tmp_path)
    for pair in exported(tmp_path).values():
        unseen = (pair.after == 0).all(axis=2)
        if unseen.any():
            assert (pair.change[unseen] == X).all()
            break
    else:
        raise AssertionError("no lead lies near the edge of the imagery")


def test_training_reads_it(engine: Engine, leads: Leads, tmp_path: Path) -> None:
    from training.samples import Samples

    for alert in leads.alerts:
        say(engine, alert, "real", "structure")
    assert export(tmp_path).exit_code == 0
    one = replace(recipe(), sources={"feedback": 1.0}, mix={"real": 1.0})
    before, after, told = Samples(one, tmp_path / "sets", 4)[0]
    assert before.shape == after.shape == told.shape == (3, one.crop, one.crop)


def test_exporting_again_changes_nothing_and_a_look_after_the_decision_is_left_out(
    engine: Engine, leads: Leads, tmp_path: Path
) -> None:
    say(engine, leads.alerts[0], "real", "structure")
    export(tmp_path)
    first = {path: path.read_bytes() for path in (tmp_path / "sets").rglob("*") if path.is_file()}
    export(tmp_path)
    assert first == {path: path.read_bytes() for path in (tmp_path / "sets").rglob("*") if path.is_file()}
    with Session(engine) as session, session.begin():
        decided = session.scalars(select(Decision.decided_at).where(Decision.target == "confirmed")).one()
        late = update(Observation).values(recorded_at=decided + timedelta(seconds=1))
        session.execute(late.where(Observation.alert_id == leads.alerts[0]))
    assert export(tmp_path).exit_code == 1


def test_what_cannot_be_exported_is_counted_by_why(engine: Engine, tmp_path: Path) -> None:
    leads = plant(engine, tmp_path, imagery=False)
    say(engine, leads.alerts[0], "real", "structure")
    result = export(tmp_path, "--language", "en")
    assert result.exit_code == 1
    assert "imagery not registered with this service, or gone: 1" in result.output
    assert "No decision or correction can be exported." in result.output
    assert not (tmp_path / "sets").exists()


def test_a_folder_that_cannot_be_written_is_said(engine: Engine, leads: Leads, tmp_path: Path) -> None:
    say(engine, leads.alerts[0], "real", "structure")
    (tmp_path / "sets").write_text("in the way")
    assert export(tmp_path).exit_code == 2
