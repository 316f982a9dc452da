"""From a checkpoint to released weights: an ONNX file and its manifest."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from model import output_names
from model.network import STRIDE, ChangeNet

INPUTS = ("before", "after")
TESTED_SIZES = (256, 512, 1024)
"""Sides of the square windows for which parity with torch is tested; others work if multiples of `STRIDE`."""


class _Tuple(nn.Module):
    """The exporter names plain tuples, not named ones, and no output that is not there."""

    def __init__(self, net: ChangeNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, before: Tensor, after: Tensor) -> tuple[Tensor, ...]:
        return tuple(x for x in self.net(before, after) if x is not None)


def export_onnx(net: ChangeNet, path: Path) -> str:
    """Write `net` as ONNX with dynamic batch and window size, atomically.

    Inputs are (N, 3, H, W) uint8 RGB, so that normalisation cannot be forgotten or done twice; outputs are
    (N, 1, H, W) float32 logits, and (N, K, H, W) for each date where the network tells K classes apart; of clouds
    (N, 1, H / 8, W / 8) for each date where it tells those.

    Returns:
        sha256 of the file.
    """
    net = net.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    # Two tensors: given one object twice, the exporter wires both inputs to the same one.
    examples = tuple(torch.zeros(2, 3, 256, 256, dtype=torch.uint8) for _ in INPUTS)
    # The sides are written as 16 h and 16 w, which tells the exporter what the encoder needs of them.
    batch, h, w = torch.export.Dim("batch", min=1), torch.export.Dim("h", min=2), torch.export.Dim("w", min=2)
    shape = {0: batch, 2: STRIDE * h, 3: STRIDE * w}
    names = output_names(classes=net.classes > 1, clouds=net.cloud_head is not None)
    with warnings.catch_warnings():
        # Of torch about itself, and that both inputs share their axes, which is meant.
        warnings.filterwarnings("ignore", r".*LeafSpec", FutureWarning)
        warnings.filterwarnings("ignore", r".*axis name: .* will not be used", UserWarning)
        program = torch.onnx.export(
            _Tuple(net).eval(), examples, input_names=INPUTS, output_names=names,
            dynamic_shapes={"before": shape, "after": shape}, dynamo=True, opset_version=20, verbose=False,
        )  # fmt: skip
    assert program is not None
    content = anonymous(program.model_proto).SerializeToString()
    partial = path.with_suffix(".part")
    partial.write_bytes(content)
    partial.replace(path)
    return hashlib.sha256(content).hexdigest()


def anonymous(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what the exporter tells of the machine: stack traces with paths, on every node and value."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for function in model.functions:
        raise ValueError(f"the exporter left the function {function.name}, which is not cleaned")
    return model


def write_manifest(
    path: Path, *, name: str, version: str, domain: str, sha256: str, gsd_range: tuple[float, float] | None,
    threshold: dict[str, float], temperature: dict[str, float], change_peak: float, change_mean: float,
    area_error_px: float, change_rim: int = 0,
    long_side: int | None = None, classes: tuple[str, ...] = (),
    findings: dict[str, tuple[float, float]] | None = None, cloud: float | None = None, **facts: Any,
) -> None:  # fmt: skip
    """Write the manifest that `inference.model` reads beside the ONNX file.

    Args:
        gsd_range: metres per pixel the weights were trained on; None for photographs.
        threshold: output -> calibrated probability from which a pixel counts.
        temperature: output -> divisor of its logits (Guo et al., ICML 2017).
        change_peak, change_mean, change_rim: what a changed patch must reach somewhere, and on average within a rim
            of so many pixels (model.decision).
        area_error_px: standard error of a finding's area per pixel of its outline.
        findings: `change` and `remaining` -> slope and offset of a finding's logit (training.outcomes.platt).
        cloud: probability of cloud from which the ground counts as hidden; None for weights that tell no clouds.
        long_side, classes: of weights for photographs: the long side at which they are scored, and what is told apart.
        facts: whatever else is to be kept, such as metrics, data and recipe. NaN becomes null: JSON has no NaN.
    """
    manifest = {
        "name": name, "version": version, "domain": domain, "sha256": sha256,
        "input": {"names": INPUTS, "layout": "NCHW", "dtype": "uint8", "channels": "RGB", "multiple_of": STRIDE,
                  "tested_sizes": TESTED_SIZES, "gsd_range_m": gsd_range, "long_side": long_side},
        "output": {"names": output_names(classes=bool(classes), clouds=cloud is not None),
                   "classes": classes, "layout": "NCHW", "dtype": "float32", "meaning": "logits"},
        "calibration": {"temperature": temperature, "threshold": threshold, "change_peak": change_peak,
                        "change_mean": change_mean, "change_rim": change_rim,
                        "area_error_px": area_error_px, "cloud": cloud, "findings": findings or {}},
        **facts,
    }  # fmt: skip
    text = json.dumps(_null_for_nan(manifest), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", "utf-8")


def _null_for_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _null_for_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_null_for_nan(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
