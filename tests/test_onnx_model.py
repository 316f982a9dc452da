"""Released weights are what their manifest says, or they are not used."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.model import Model, ModelError, _enlarged
from model import CLOUD_STRIDE, OUTPUTS
from tests.imagery import ground

WEIGHTS = Path(__file__).parents[1] / "model" / "weights"


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(threads=1)


@pytest.fixture
def copy(tmp_path: Path) -> tuple[Path, Path]:
    """Weights and manifest that may be damaged."""
    for suffix in ("onnx", "json"):
        shutil.copy(WEIGHTS / f"overhead.{suffix}", tmp_path)
    return tmp_path / "overhead.onnx", tmp_path / "overhead.json"


def batch(*seeds: int, side: int = 64) -> np.ndarray:
    return np.stack([ground(seed, side).transpose(2, 0, 1) for seed in seeds])


def test_the_bundled_weights_load_and_say_which_they_are(model: Model) -> None:
    facts = json.loads((WEIGHTS / "overhead.json").read_text("utf-8"))
    assert (model.name, model.version, model.sha256) == (facts["name"], facts["version"], facts["sha256"])
    assert model.contract.multiple_of % 16 == 0
    assert 0 < model.contract.gsd_range_m[0] < model.contract.gsd_range_m[1]
    assert set(model.contract.threshold) == set(model.contract.temperature) == set(OUTPUTS)
    assert all(0 < value < 1 for value in model.contract.threshold.values())
    assert all(value > 0 for value in model.contract.temperature.values())


def test_probabilities_are_probabilities(model: Model) -> None:
    result = model.probabilities(batch(1, 2), batch(3, 4))
    assert result.shape == (2, 5, 64, 64)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= 1


def test_swapping_the_dates_swaps_the_structures_and_keeps_the_change(model: Model) -> None:
    there, back = model.probabilities(batch(1), batch(2)), model.probabilities(batch(2), batch(1))
    np.testing.assert_allclose(there[:, 0], back[:, 1], atol=1e-4)
    np.testing.assert_allclose(there[:, 1], back[:, 0], atol=1e-4)
    np.testing.assert_allclose(there[:, 2], back[:, 2], atol=1e-4)


def test_a_picture_does_not_depend_on_its_neighbours_in_the_batch(model: Model) -> None:
    together = model.probabilities(batch(1, 2), batch(3, 4))
    alone = model.probabilities(batch(2), batch(4))
    np.testing.assert_allclose(together[1:], alone, atol=1e-4)


def test_a_cell_of_cloud_is_enlarged_where_it_lies() -> None:
    coarse = np.zeros((1, 1, 6, 8), dtype=np.float32)
    coarse[0, 0, 2, 5] = 1.0
    fine = _enlarged(coarse)
    assert fine.shape == (1, 1, 6 * CLOUD_STRIDE, 8 * CLOUD_STRIDE)
    rows, columns = np.nonzero(fine[0, 0] > 0.5)
    middle = (CLOUD_STRIDE - 1) / 2
    assert (rows.mean(), columns.mean()) == (2 * CLOUD_STRIDE + middle, 5 * CLOUD_STRIDE + middle)


def test_temperature_flattens_and_keeps_the_order(copy: tuple[Path, Path]) -> None:
    _, manifest = copy
    _edit(manifest, lambda facts: facts["calibration"].update(temperature=dict.fromkeys(OUTPUTS, 1.0)))
    plain = Model(*copy, threads=1).probabilities(batch(1), batch(2))
    _edit(manifest, lambda facts: facts["calibration"].update(temperature=dict.fromkeys(OUTPUTS, 2.0)))
    flat = Model(*copy, threads=1).probabilities(batch(1), batch(2))
    logit = np.log(plain / (1 - plain))
    np.testing.assert_allclose(flat[:, :3], 1 / (1 + np.exp(-logit[:, :3] / 2)), atol=1e-3)
    np.testing.assert_array_equal(flat[:, 3:], plain[:, 3:])  # clouds have none


def test_a_model_may_be_asked_from_several_threads(model: Model) -> None:
    pairs = [(batch(i), batch(i + 10)) for i in range(4)]
    alone = [model.probabilities(*pair) for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda pair: model.probabilities(*pair), pairs))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def _edit(manifest: Path, change: Any) -> None:
    facts = json.loads(manifest.read_text("utf-8"))
    change(facts)
    manifest.write_text(json.dumps(facts), "utf-8")


def test_an_unknown_domain_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="cannot read the weights"):
        Model.load("underwater")


@pytest.mark.parametrize("which", [0, 1], ids=["weights", "manifest"])
def test_a_missing_file_is_a_model_error(copy: tuple[Path, Path], which: int) -> None:
    copy[which].unlink()
    with pytest.raises(ModelError, match="cannot read the weights"):
        Model(*copy)


def test_a_single_changed_byte_is_found_out(copy: tuple[Path, Path]) -> None:
    onnx, _ = copy
    data = bytearray(onnx.read_bytes())
    data[len(data) // 2] ^= 1
    onnx.write_bytes(data)
    with pytest.raises(ModelError, match="not what its manifest describes"):
        Model(*copy)


def test_weights_that_are_no_onnx_are_a_model_error(copy: tuple[Path, Path]) -> None:
    onnx, manifest = copy
    onnx.write_bytes(b"hello")
    sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    _edit(manifest, lambda facts: facts.update(sha256=sha256))
    with pytest.raises(ModelError, match="cannot be loaded"):
        Model(*copy)


@pytest.mark.parametrize(
    "text",
    ["", "not json", "[]", "null", "{}", '{"name": 1, "version": 2, "sha256": "x", "input": {"gsd_range_m": [1]}}'],
)
def test_a_manifest_that_lacks_something_is_a_model_error(copy: tuple[Path, Path], text: str) -> None:
    copy[1].write_text(text, "utf-8")
    with pytest.raises(ModelError, match="not a manifest"):
        Model(*copy)
