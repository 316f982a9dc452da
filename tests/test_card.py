"""The model card says what the manifest says, and nothing that was not measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from training.card import GATE, LEAVE_ONE_OUT, card, write_card

ROW = {
    "f1": 0.887, "iou": 0.797, "precision": 0.9, "recall": 0.9, "object_recall": None, "object_precision": 0.993,
    "false_objects_per_km2": 1.9, "objects": 445, "area_km2": 1.573,
}  # fmt: skip


def facts(**changes: Any) -> dict[str, Any]:
    return {
        "name": "jingdi-overhead", "version": "1.2", "domain": "overhead", "sha256": "ab" * 32,
        "input": {"multiple_of": 16, "gsd_range_m": [0.25, 1.2]},
        "output": {"names": ["structure_before", "structure_after", "change"]},
        "calibration": {"temperature": {"change": 1.4}, "area_error_px": 0.68},
        "recipe": {"name": "overhead", "steps": 1700, "batch": 8, "sources": {"levir_cd": 0.8, "unheard_of": 0.2}},
        "metrics": {"levir_cd/change": ROW},
        "reliability": {
            "change": {"error": 0.0106, "bins": [[0.031, 0.004, 90_000], [0.95, 1.0, 12_345]]},
            "findings: remaining": {"error": None, "bins": []},
        },
        "area_coverage": {"interval": 0.9, "sigmas": 1.645, "share": 0.9005, "findings": 392},
        "shift": {"px": 4, "metrics": {"levir_cd/change": {**ROW, "f1": 0.886}}},
    } | changes  # fmt: skip


def line(text: str, start: str) -> str:
    (found,) = [x for x in text.splitlines() if x.startswith(start)]
    return found


def test_every_figure_of_the_manifest_is_in_the_card() -> None:
    text = card(facts())
    assert "| levir_cd/change | 0.887 | 0.797 | – | 0.993 | 1.900 | 445 | 1.57 |" in text  # – was not measured
    assert "--shift 4" in text
    assert "| levir_cd/change | 0.886 |" in text
    assert "0.68 px" in text
    assert "held 90.0% of\n392 findings" in text
    assert "0.0106" in text


def test_a_reliability_diagram_is_a_table_with_bars() -> None:
    text = card(facts())
    assert line(text, "| 0.950") == f"| 0.950 | 1.000 | {20 * '█'} | 12345 |"
    assert line(text, "| 0.031") == "| 0.031 | 0.004 | · | 90000 |"
    assert "**findings: remaining**: expected calibration error not measured." in text


def test_every_set_that_was_trained_on_is_named() -> None:
    text = card(facts())
    assert "academic use" in line(text, "| `levir_cd`")
    assert "see its publisher" in line(text, "| `unheard_of`")


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    gate = {"hopeless_refused": 0.95, "good_refused": 0.01, "kinds": {
        "blur 3 px": {"hopeless": True, "refused": 38, "pairs": 39, "reasons": {"too_blurred": 38}}}}  # fmt: skip
    text = card(facts(), leave_one_out={"ida/change": ROW}, gate=gate)
    for block in text.split("\n\n"):
        rows = [x for x in block.splitlines() if x.startswith("|")]
        assert len({x.replace("\\|", "").count("|") for x in rows}) <= 1, block


def test_what_was_not_measured_has_no_section() -> None:
    text = card(facts(shift=None, area_coverage=None))
    for heading in ("## Areas", "## When the dates", "## Sets never seen", "## Knowing when"):
        assert heading not in text


def test_too_few_findings_are_said_to_be_too_few() -> None:
    few = {"interval": 0.9, "sigmas": 1.645, "share": None, "findings": 3}
    assert "too few" in card(facts(area_coverage=few))


@pytest.mark.parametrize("beside_the_weights", [True, False])
def test_figures_measured_apart_are_taken_from_the_run_or_from_beside_the_weights(
    tmp_path: Path, beside_the_weights: bool
) -> None:
    weights, run = tmp_path / "weights", tmp_path / "run"
    weights.mkdir()
    run.mkdir()
    manifest = weights / "overhead.json"
    manifest.write_text(json.dumps(facts()), "utf-8")
    folder = weights if beside_the_weights else run
    (folder / LEAVE_ONE_OUT).write_text(json.dumps({"ida/structure_after": {**ROW, "f1": 0.123}}))
    kinds = {"night": {"hopeless": True, "refused": 39, "pairs": 39, "reasons": {"too_dark": 39}}}
    (folder / GATE).write_text(json.dumps({"hopeless_refused": 0.97, "good_refused": 0.0, "kinds": kinds}))
    text = write_card(manifest, run).read_text("utf-8")
    assert "| ida/structure_after | 0.123 |" in text
    assert "| night | hopeless | 39 of 39 | too_dark |" in text
    assert "97.0% of hopeless pairs refused" in text


@pytest.mark.parametrize("domain", ["overhead", "ground"])
def test_the_released_card_is_that_of_the_released_manifest(tmp_path: Path, domain: str) -> None:
    weights = Path(__file__).parents[1] / "model" / "weights"
    for path in weights.glob("*.json"):
        shutil.copy(path, tmp_path)
    written = write_card(tmp_path / f"{domain}.json").read_text("utf-8")
    assert written == (weights / f"{domain}.md").read_text("utf-8")
