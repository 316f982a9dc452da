"""Let `import torchvision` succeed beside a torch build whose compiled ops it cannot load.

A CPU build of torch next to the torchvision wheel of PyPI lacks the operators `torchvision::nms` and
`torchvision::qnms`, and torchvision registers fake kernels for them on import, which then fails. Defining
their schemas first is enough: nothing here calls them. Where the compiled ops load, torchvision's own
definitions must come first, so nothing is defined there. Take torchvision and timm from here, never directly:

    from model.vision import timm, tv_tensors, v2
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _compiled_ops_load() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # nothing to guard: the import will say that torchvision is missing
    for library in sorted(Path(spec.origin).parent.glob("_C*.so")):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except OSError:
            return False
        return True
    return False


if not _compiled_ops_load():
    _library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for _schema in _SCHEMAS:
        _library.define(_schema)  # type: ignore[no-untyped-call]

import timm  # noqa: E402
from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

__all__ = ["timm", "tv_tensors", "v2"]
