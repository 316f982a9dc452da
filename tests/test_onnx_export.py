"""The exported file computes what torch does, and the bundled weights are what their manifest says."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

from datasets.photographs import CLASSES
from inference.model import Model
from model import CLASS_OUTPUTS, CLOUD_OUTPUTS, CLOUD_STRIDE, OUTPUTS
from model.network import ChangeNet
from tests.miniature import Released, blocks, picture
from training.export import INPUTS, TESTED_SIZES
from training.loop import CHECKPOINT, load_averaged

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "model" / "weights"
ALL = (*OUTPUTS, *CLOUD_OUTPUTS)


def batch(n: int, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(n, 3, height, width) before and after: blocks on soil, differently placed."""
    rng = np.random.default_rng(height + width)
    side = max(height, width)
    before, after = (
        np.stack([picture(rng, blocks(rng, side, side // 16))[:height, :width].transpose(2, 0, 1) for _ in range(n)])
        for _ in range(2)
    )
    return before, after


@pytest.fixture(scope="module")
def net(released: Released) -> ChangeNet:
    return load_averaged(released.run / CHECKPOINT)[0]


@pytest.fixture(scope="module")
def session(released: Released) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(released.onnx, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("n", "height", "width"), [(1, size, size) for size in TESTED_SIZES] + [(3, 256, 256), (1, 304, 192)]
)
def test_the_exported_file_agrees_with_torch(net: ChangeNet, session: Any, n: int, height: int, width: int) -> None:
    before, after = batch(n, height, width)
    with torch.no_grad():
        expected = [x for x in net(torch.from_numpy(before), torch.from_numpy(after)) if x is not None]
    found = session.run(list(ALL), {"before": before, "after": after})
    for name, ours, theirs in zip(ALL, found, expected, strict=True):
        stride = CLOUD_STRIDE if name in CLOUD_OUTPUTS else 1
        assert ours.shape == (n, 1, height // stride, width // stride)
        assert ours.dtype == np.float32
        assert ours.std() > 0.02, f"{name} hardly varies: agreement to 1e-4 would mean little"
        assert np.abs(ours - theirs.numpy()).max() <= 1e-4, name


def test_inputs_are_bytes_named_by_their_date_of_any_batch_and_window(session: Any) -> None:
    assert [i.name for i in session.get_inputs()] == list(INPUTS) == ["before", "after"]
    assert [o.name for o in session.get_outputs()] == list(ALL)
    for entry in session.get_inputs():
        assert entry.type == "tensor(uint8)"
        n, channels, height, width = entry.shape
        assert channels == 3
        assert all(isinstance(side, str) for side in (n, height, width))


@pytest.mark.parametrize("moved", ["before", "after"])
def test_each_input_matters_to_every_output(session: Any, moved: str) -> None:
    before, after = batch(1, 256, 256)
    feeds = {"before": before, "after": after}
    plain = session.run(list(OUTPUTS), feeds)
    other = session.run(list(OUTPUTS), feeds | {moved: np.ascontiguousarray(feeds[moved][..., ::-1])})
    for name, one, two in zip(OUTPUTS, plain, other, strict=True):
        assert np.abs(two - one).max() > 0.2, name


def test_the_exported_file_is_symmetric_in_time(session: Any) -> None:
    before, after = batch(2, 256, 256)
    forwards = session.run(list(ALL), {"before": before, "after": after})
    backwards = session.run(list(ALL), {"before": after, "after": before})
    for x, y in zip(forwards, (backwards[i] for i in (1, 0, 2, 4, 3)), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)


def test_nothing_half_written_is_left_beside_the_file(released: Released) -> None:
    assert sorted(path.name for path in released.onnx.parent.iterdir()) == [
        "overhead.json",
        "overhead.md",
        "overhead.onnx",
        "overhead.pt",
    ]


@pytest.mark.parametrize("domain", ["overhead", "ground"])
def test_bundled_weights_are_those_of_their_manifest_and_small(domain: str) -> None:
    manifest = json.loads((WEIGHTS / f"{domain}.json").read_text("utf-8"))
    content = (WEIGHTS / f"{domain}.onnx").read_bytes()
    assert hashlib.sha256(content).hexdigest() == manifest["sha256"]
    assert manifest["sha256"] in (WEIGHTS / f"{domain}.md").read_text("utf-8")
    assert len(content) <= 20 * 2**20
    assert manifest["domain"] == domain
    assert manifest["input"]["names"] == ["before", "after"]
    assert manifest["output"]["names"] == list(ALL if domain == "overhead" else (*OUTPUTS, *CLASS_OUTPUTS))


@pytest.mark.parametrize("size", TESTED_SIZES)
def test_bundled_weights_agree_with_the_checkpoint_beside_them(size: int) -> None:
    net, _ = load_averaged(WEIGHTS / "overhead.pt")
    before, after = batch(1, size, size)
    with torch.no_grad():
        expected = [x for x in net(torch.from_numpy(before), torch.from_numpy(after)) if x is not None]
    for name, ours, theirs in zip(ALL, Model.load(threads=1).logits(before, after), expected, strict=True):
        worst = float(np.abs(ours - theirs.numpy()).max())
        assert worst <= 1e-4, (name, worst)


def test_bundled_weights_for_photographs_agree_with_the_checkpoint_beside_them() -> None:
    net, _ = load_averaged(WEIGHTS / "ground.pt")
    before, after = batch(1, 288, 384)
    with torch.no_grad():
        expected = net(torch.from_numpy(before), torch.from_numpy(after))
    assert expected.classes_before is not None
    model = Model.load("ground", threads=1)
    for ours, theirs in zip(model.logits(before, after), expected[:3], strict=True):
        assert np.abs(ours - theirs.numpy()).max() <= 1e-4
    classes = model.classes(before, after)[1][:, 0]
    np.testing.assert_allclose(classes, torch.softmax(expected.classes_before, dim=1).numpy(), atol=1e-4)
    assert model.contract.classes == CLASSES


@pytest.mark.parametrize("kind", ["exported", "bundled"])
def test_weights_tell_nothing_of_the_machine_they_were_made_on(kind: str, released: Released) -> None:
    content = (released.onnx if kind == "exported" else WEIGHTS / "overhead.onnx").read_bytes()
    for trace in (b"stack_trace", b"export.py", str(ROOT).encode(), str(Path.home()).encode() + b"/"):
        assert trace not in content, trace


def test_bundled_weights_calibrate_both_dates_alike() -> None:
    contract = Model.load().contract
    assert contract.temperature["structure_before"] == contract.temperature["structure_after"]
    assert contract.threshold["structure_before"] == contract.threshold["structure_after"]


def test_bundled_weights_are_symmetric_in_time() -> None:
    model = Model.load(threads=1)
    before, after = batch(1, 256, 256)
    forwards, backwards = model.probabilities(before, after)[0], model.probabilities(after, before)[0]
    np.testing.assert_allclose(backwards[[1, 0, 2, 4, 3]], forwards, atol=1e-5)
    assert np.abs(forwards[0] - forwards[1]).max() > 0.05


def test_scoring_needs_no_torch() -> None:
    modules = [
        f"inference.{path.stem}" for path in sorted((ROOT / "inference").glob("*.py")) if path.stem != "__init__"
    ]
    imports = ", ".join([*modules, "datasets.raster", "datasets.labelled", "training.evaluate", "service.release"])
    code = f"import sys, {imports}; sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
