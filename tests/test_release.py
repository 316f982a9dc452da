"""From a run to weights that the scoring path loads, on the labelled sets in miniature."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.model import Model
from model import OUTPUTS
from service.release import GSD_RANGE_M, measure
from tests.miniature import GONE, NEW, Released, inside, recipe, write_masked
from training.export import write_manifest


@pytest.fixture(scope="module")
def manifest(released: Released) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    loaded: dict[str, Any] = json.loads(released.manifest.read_text("utf-8"), parse_constant=refuse)
    return loaded


def test_released_weights_load_and_score(released: Released) -> None:
    model = Model(released.onnx, released.manifest, threads=1)
    assert (model.name, model.version) == ("jingdi-overhead", "0.0-test")
    assert model.contract.multiple_of == 16
    assert model.contract.gsd_range_m == GSD_RANGE_M
    window = np.zeros((1, 3, 64, 64), dtype=np.uint8)
    p = model.probabilities(window, window)
    assert p.shape == (1, 5, 64, 64)
    assert ((p > 0) & (p < 1)).all()


def test_the_manifest_belongs_to_the_file_beside_it(released: Released, manifest: dict[str, Any]) -> None:
    assert manifest["sha256"] == hashlib.sha256(released.onnx.read_bytes()).hexdigest()


def test_the_manifest_holds_a_calibration(manifest: dict[str, Any]) -> None:
    calibration = manifest["calibration"]
    for output in OUTPUTS:
        assert 0.5 <= calibration["temperature"][output] <= 4
        assert 0.2 <= calibration["threshold"][output] <= 0.8
        assert 0 <= manifest["calibration_error"][output] <= 1
    assert calibration["area_error_px"] >= 0
    assert set(manifest["reliability"]) == {*OUTPUTS, "findings: change", "findings: remaining"}
    for output in OUTPUTS:
        diagram = manifest["reliability"][output]
        assert diagram["error"] == manifest["calibration_error"][output]
        assert 0 < len(diagram["bins"]) <= 15


def test_the_manifest_says_how_many_true_areas_the_stated_interval_held(manifest: dict[str, Any]) -> None:
    coverage = manifest["area_coverage"]
    assert (coverage["interval"], coverage["sigmas"]) == (0.9, 1.645)
    assert coverage["share"] is None  # three tiles have too few findings


def test_the_manifest_says_what_a_shift_costs(manifest: dict[str, Any]) -> None:
    shift = manifest["shift"]
    assert shift["px"] == 4
    assert set(shift["metrics"]) == {n for n in manifest["metrics"] if n.endswith("/change")}
    # What the shift uncovers is not scored.
    assert 0 < shift["metrics"]["levir_cd/change"]["area_km2"] < manifest["metrics"]["levir_cd/change"]["area_km2"]


def test_the_card_lies_beside_the_manifest_and_names_the_weights(released: Released, manifest: dict[str, Any]) -> None:
    text = released.manifest.with_suffix(".md").read_text("utf-8")
    assert manifest["sha256"] in text
    assert "levir_cd/change (swapped)" in text


def test_both_dates_are_calibrated_alike(manifest: dict[str, Any]) -> None:
    for figures in (manifest["calibration"]["temperature"], manifest["calibration"]["threshold"]):
        assert figures["structure_before"] == figures["structure_after"]


def test_the_manifest_holds_figures_of_every_set_forwards_and_backwards(manifest: dict[str, Any]) -> None:
    rows = manifest["metrics"]
    both = {"xbd_mexico", "xbd_other", "ida", "banepa"}
    outputs = {f"{source}/{output}" for source in both for output in OUTPUTS} | {"levir_cd/change"}
    new = {"levir_cd/structure_after", "levir_cd/structure_before (swapped)"}  # nothing is told of what stood
    assert set(rows) == outputs | {f"{name} (swapped)" for name in outputs} | new  # none of the coarse set
    assert rows["levir_cd/change"]["objects"] > 0
    assert 0 <= rows["levir_cd/change"]["recall"] <= 1


def test_told_backwards_the_figures_are_the_same(manifest: dict[str, Any]) -> None:
    rows = manifest["metrics"]
    swap = {"change": "change", "structure_before": "structure_after", "structure_after": "structure_before"}
    for name in [n for n in rows if "swapped" not in n]:
        source, output = name.split("/")
        forwards, backwards = rows[name], rows[f"{source}/{swap[output]} (swapped)"]
        assert {k: v if v is None else pytest.approx(v, abs=0.01) for k, v in forwards.items()} == backwards, name


def test_what_could_not_be_measured_is_null(manifest: dict[str, Any]) -> None:
    assert manifest["metrics"]["ida/change"]["object_recall"] is None  # nothing changed there


def test_the_recipe_is_kept(manifest: dict[str, Any]) -> None:
    assert manifest["recipe"]["sources"] == recipe().sources
    assert manifest["recipe"]["steps"] == 2


def test_the_figures_of_the_manifest_can_be_measured_again(
    released: Released, manifest: dict[str, Any], sets: Path, tmp_path: Path
) -> None:
    (tmp_path / "ida").symlink_to(sets / "ida")
    rows = measure(Model(released.onnx, released.manifest, threads=1), tmp_path)
    assert set(rows) == {f"ida/{output}{suffix}" for output in OUTPUTS for suffix in ("", " (swapped)")}
    for name, row in rows.items():
        for key, value in row.items():
            kept = manifest["metrics"][name][key]
            assert value is None if kept is None else value == pytest.approx(kept, abs=1e-3), (name, key)


def test_a_release_on_pairs_without_structure_labels_keeps_the_defaults(
    released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.release import release

    def copy(net: object, path: Path) -> str:
        path.write_bytes(released.onnx.read_bytes())
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr("training.export.export_onnx", copy)
    parts = {"train": ["a"], "val": ["b"]}
    write_masked(tmp_path / "data" / "whu_cd", ("A", "B", "label"), parts, inside(NEW, GONE))
    made = json.loads(release(released.run, tmp_path / "data", "0.0", tmp_path / "out").read_text("utf-8"))
    assert made["calibration"]["temperature"]["structure_before"] == 1.0
    assert made["calibration"]["threshold"]["structure_before"] == 0.5
    assert made["calibration_error"]["structure_before"] is None
    assert set(made["metrics"]) == {"whu_cd/change", "whu_cd/change (swapped)"}


def test_a_manifest_is_json_even_where_figures_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    write_manifest(
        path, name="n", version="1", domain="overhead", sha256="0", gsd_range=(0.2, 1.0), threshold={},
        temperature={}, change_peak=0.9, change_mean=0.0, area_error_px=1.0,
        metrics={"a": {"f1": float("nan"), "objects": 0}}, zh="静地",
    )  # fmt: skip
    text = path.read_text("utf-8")
    assert "NaN" not in text
    assert "静地" in text
    assert json.loads(text)["metrics"]["a"] == {"f1": None, "objects": 0}
