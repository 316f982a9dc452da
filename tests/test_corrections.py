"""Corrections of a pair: beside the report, by a named person, never over somebody else's, and into training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from datasets.feedback import IGNORE
from datasets.labelled import LabelledPair, read_set
from service.cli import app
from service.corrections.tables import PairReview
from service.database import PairRow, connect
from service.ledger.audit import verify
from service.ledger.tables import AuditEntry
from tests.people import House, house
from tests.test_photographs_api import AFTER, BEFORE, see

WANG = {"name": "王芳"}
SQUARE = [[10.0, 10.0], [40.0, 10.0], [40.0, 30.0], [10.0, 30.0]]


@pytest.fixture
def pair(service: Any, before: bytes, after: bytes) -> dict[str, Any]:
    found: dict[str, Any] = service.finish(before, after, gsd="0.5", kind="overhead")
    assert {each["kind"] for each in found["report"]["findings"]} == {"new", "remaining", "removed"}
    return found


@pytest.fixture
def engine(service: Any) -> Iterator[Engine]:
    found = connect(service.settings.resolved_database_url)
    yield found
    found.dispose()


def number(pair: dict[str, Any], kind: str) -> int:
    return next(int(each["id"]) for each in pair["report"]["findings"] if each["kind"] == kind)


def said(pair: dict[str, Any], kind: str, *, accepted: bool = True, outline: Any = None) -> dict[str, Any]:
    return {"finding": number(pair, kind), "accepted": accepted, "kind": kind, "outline": outline}


def drawn(outline: Any = SQUARE, kind: str = "new") -> dict[str, Any]:
    return {"finding": None, "accepted": True, "kind": kind, "outline": outline}


def write(client: Any, pair: dict[str, Any], *corrections: Any, version: int = 0, actor: Any = WANG) -> Any:
    body = {"version": version, "corrections": list(corrections), **({"actor": actor} if actor else {})}
    return client.put(f"/api/v1/pairs/{pair['id']}/review", json=body)


def read(client: Any, pair: dict[str, Any]) -> Any:
    return client.get(f"/api/v1/pairs/{pair['id']}/review").json()


# --- What is said -----------------------------------------------------------------------------------------


def test_nobody_has_said_anything_at_first(service: Any, pair: dict[str, Any]) -> None:
    assert read(service.client, pair) == {"version": 0, "corrections": [], "actor": None, "reviewed_at": None}


def test_what_a_person_says_stands_beside_the_report(service: Any, pair: dict[str, Any]) -> None:
    corrections = [said(pair, "new", outline=SQUARE), said(pair, "remaining", accepted=False), drawn(kind="removed")]
    written = write(service.client, pair, *corrections)
    assert written.status_code == 200, written.text
    assert (written.json()["version"], written.json()["actor"]) == (1, "王芳")
    assert read(service.client, pair) == written.json()
    assert written.json()["corrections"] == corrections
    assert service.client.get(f"/api/v1/pairs/{pair['id']}").json() == pair


def test_what_is_not_repeated_is_taken_back(service: Any, pair: dict[str, Any]) -> None:
    write(service.client, pair, said(pair, "new"), drawn())
    again = write(service.client, pair, said(pair, "new", accepted=False), version=1, actor={"name": "李强"}).json()
    assert (again["version"], again["actor"], len(again["corrections"])) == (2, "李强", 1)


def test_somebody_elses_corrections_are_not_written_over(service: Any, pair: dict[str, Any]) -> None:
    first = write(service.client, pair, said(pair, "new")).json()
    for version in (0, 2):
        late = write(service.client, pair, drawn(), version=version)
        assert (late.status_code, late.json()["code"]) == (409, "review_changed")
        assert late.json()["remedy"]
    assert read(service.client, pair) == first


def test_each_version_stands_in_the_audit_log(service: Any, pair: dict[str, Any], engine: Engine) -> None:
    write(service.client, pair, said(pair, "new"))
    write(service.client, pair, version=1)
    with Session(engine) as session:
        query = select(AuditEntry).where(AuditEntry.action == "pair.reviewed").order_by(AuditEntry.number)
        entries = session.scalars(query).all()
        assert [(each.actor, each.subject) for each in entries] == [("王芳", f"pair:{pair['id']}")] * 2
        assert '"version":1' in entries[0].detail
        assert verify(session).problem is None


def test_corrections_go_with_their_pair(service: Any, pair: dict[str, Any], engine: Engine) -> None:
    write(service.client, pair, drawn())
    assert service.client.delete(f"/api/v1/pairs/{pair['id']}").status_code == 204
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(PairReview)) == 0


# --- What cannot be said ----------------------------------------------------------------------------------


def unusable(pair: dict[str, Any]) -> dict[str, tuple[list[Any], str]]:
    bow = [[10.0, 10.0], [40.0, 30.0], [40.0, 10.0], [10.0, 30.0]]
    beyond = [[10.0, 10.0], [10_000.0, 10.0], [40.0, 30.0]]
    return {
        "no such finding": ([{**said(pair, "new"), "finding": 99}], "correction_finding"),
        "twice": ([said(pair, "new"), said(pair, "new", accepted=False)], "correction_finding"),
        "rejected as another kind": ([{**said(pair, "new", accepted=False), "kind": "removed"}], "correction_kind"),
        "rejected and redrawn": ([said(pair, "new", accepted=False, outline=SQUARE)], "correction_kind"),
        "rejected though not found": ([{**drawn(), "accepted": False}], "correction_kind"),
        "drawn without an outline": ([drawn(None)], "correction_outline"),
        "crosses itself": ([drawn(bow)], "correction_outline"),
        "beyond the picture": ([drawn(beyond)], "correction_outline"),
        "a line": ([drawn([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])], "correction_outline"),
        "second of two": ([drawn(), drawn(bow)], "correction_outline"),
    }


def test_what_does_not_hold_is_refused_and_nothing_kept(service: Any, pair: dict[str, Any]) -> None:
    for name, (corrections, code) in unusable(pair).items():
        refused = write(service.client, pair, *corrections)
        assert (refused.status_code, refused.json()["code"]) == (422, code), name
        assert f"第 {len(corrections)} 条" in refused.json()["detail"] or name == "twice"
    two_corners = write(service.client, pair, drawn(SQUARE[:2]))
    assert (two_corners.status_code, two_corners.json()["code"]) == (422, "invalid")
    assert read(service.client, pair)["version"] == 0


def test_only_a_named_person_corrects(service: Any, pair: dict[str, Any]) -> None:
    for actor in (None, {"name": "系统"}, {"name": "王芳", "kind": "system"}):
        refused = write(service.client, pair, drawn(), actor=actor)
        assert (refused.status_code, refused.json()["code"]) == (403, "person_required"), actor
    assert read(service.client, pair)["version"] == 0


def test_a_refused_pair_has_nothing_to_correct(service: Any, before: bytes) -> None:
    refused = service.finish(before, before, gsd="0.5", kind="overhead")
    assert write(service.client, refused, drawn()).json()["code"] == "no_imagery"
    missing = service.client.put(f"/api/v1/pairs/{'0' * 32}/review", json={"version": 0, "corrections": []})
    assert missing.json()["code"] == "pair_not_found"


def test_a_pair_that_was_refused_though_its_pictures_lie_on_each_other_neither(
    service: Any, pair: dict[str, Any], engine: Engine
) -> None:
    assert 'data-do="draw"' in service.client.get(f"/pairs/{pair['id']}").text
    with Session(engine) as session, session.begin():
        row = session.get(PairRow, pair["id"])
        assert row is not None
        row.verdict = "not_comparable"
    refused = write(service.client, pair, drawn())
    assert (refused.status_code, refused.json()["code"]) == (422, "correction_refused")
    assert 'data-do="draw"' not in service.client.get(f"/pairs/{pair['id']}").text


@pytest.fixture
def place(tmp_path: Path, red: Any) -> Iterator[House]:
    with house(tmp_path, lambda: red) as made:
        yield made


def test_with_accounts_it_is_whoever_is_signed_in(place: House, before: bytes, after: bytes) -> None:
    anna, audit = place.browser("anna", "analyst"), place.browser("otto", "auditor")
    files = {"before": ("before.png", before), "after": ("after.png", after)}
    pair = anna.post("/api/v1/pairs", files=files, data={"gsd": "0.5"}).json()
    while (pair := anna.get(f"/api/v1/pairs/{pair['id']}").json())["status"] not in ("done", "failed"):
        pass
    assert write(anna, pair, drawn()).json()["actor"] == "anna"  # whatever name is given
    assert write(audit, pair, version=1).status_code == 403
    assert read(audit, pair)["version"] == 1
    program = place.program(anna, "read", "compare")
    refused = write(program, pair, version=1)
    assert (refused.status_code, refused.json()["code"]) == (403, "person_required")
    assert place.stranger().get(f"/api/v1/pairs/{pair['id']}/review").status_code == 401


# --- Back into training -----------------------------------------------------------------------------------


def export(service: Any, tmp_path: Path) -> Any:
    folder = service.settings.data_dir
    arguments = ["feedback", "export", "--to", str(tmp_path / "sets/feedback"), "--data-dir", str(folder)]
    url = service.settings.resolved_database_url
    return CliRunner().invoke(app, arguments, env={"JINGDI_DATABASE_URL": url})


def exported(tmp_path: Path) -> list[LabelledPair]:
    found = []
    for split in ("train", "validation"):
        try:
            pairs = read_set(tmp_path / "sets", "feedback", split)  # type: ignore[arg-type]
        except ValueError:  # the only pair is on the other side
            continue
        found += [pairs[i] for i in range(len(pairs))]
    return found


def test_what_was_corrected_is_what_training_is_told(service: Any, pair: dict[str, Any], tmp_path: Path) -> None:
    redrawn = [[150.0, 150.0], [190.0, 150.0], [190.0, 170.0], [150.0, 170.0]]
    corrections = [said(pair, "remaining"), said(pair, "new", accepted=False), said(pair, "removed", outline=redrawn)]
    write(service.client, pair, *corrections, drawn(SQUARE))
    result = export(service, tmp_path)
    assert result.exit_code == 0, result.output
    assert "已导出 1 对影像、4 处图斑" in result.output.replace("\n", "")
    [told] = exported(tmp_path)
    assert (told.name, told.gsd, told.structures_known) == (f"pair-{pair['id']}", 0.5, False)
    assert told.before.shape == (256, 256, 3)
    layers = np.stack([told.structure_before, told.structure_after, told.change], axis=-1)
    assert (layers[12:28, 12:38] == (0, 1, 1)).all()  # drawn
    assert (layers[152:168, 152:188] == (1, 0, 1)).all()  # redrawn
    seen = {tuple(each) for each in layers.reshape(-1, 3).tolist()}
    assert seen == {(0, 1, 1), (1, 0, 1), (1, 1, 0), (IGNORE, IGNORE, 0), (IGNORE, IGNORE, IGNORE)}
    assert (layers[..., 2] == 1).sum() == pytest.approx(30 * 20 + 40 * 20, rel=0.1)
    assert export(service, tmp_path).exit_code == 0  # once more
    assert len(exported(tmp_path)) == 1


def test_what_nobody_judged_and_what_cannot_be_learnt_from_stays(
    service: Any, pair: dict[str, Any], before: bytes, after: bytes, tmp_path: Path
) -> None:
    result = export(service, tmp_path)
    assert (result.exit_code, "没有可导出" in result.output) == (1, True)
    unscaled = service.finish(before, after, kind="overhead")
    write(service.client, unscaled, drawn())
    result = export(service, tmp_path)
    assert (result.exit_code, "地面分辨率未知：1" in result.output) == (1, True)
    write(service.client, pair, said(pair, "new"))
    (service.settings.data_dir / "pairs" / pair["id"] / "before").unlink()
    assert "已不在：1" in export(service, tmp_path).output
    assert not (tmp_path / "sets/feedback").exists()


def test_photographs_are_corrected_but_not_learnt_from(open_service: Any, tmp_path: Path) -> None:
    with open_service(see) as running:
        pair = running.finish(BEFORE, AFTER, kind="photos", gsd="0.5")
        assert write(running.client, pair, drawn()).status_code == 200
        result = export(running, tmp_path)
        assert (result.exit_code, "照片" in result.output) == (1, True)
