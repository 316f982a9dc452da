"""Learning from other weights: what a released network says of a pair, beside what the labels say.

The teacher is any ONNX file with the inputs and outputs of a release (`model.OUTPUTS`, `model.CLASS_OUTPUTS`): an
earlier release, or a network too wide to ship. It also speaks where nothing is labelled, and of how sure to be.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.model import open_session
from model import CLASS_OUTPUTS, OUTPUTS
from model.network import ChangeLogits
from training.export import INPUTS


class Teacher:
    """Weights to learn from, run by ONNX Runtime.

    Args:
        path: the ONNX file.

    Raises:
        ValueError: the file has other inputs or outputs than a release.
    """

    def __init__(self, path: Path) -> None:
        self._session = open_session(path.read_bytes(), torch.get_num_threads())
        names = [each.name for each in self._session.get_outputs()]
        self._names = [name for name in (*OUTPUTS, *CLASS_OUTPUTS) if name in names]
        if not set(OUTPUTS) <= set(names) or {i.name for i in self._session.get_inputs()} != set(INPUTS):
            raise ValueError(
                f"{path} cannot teach: its outputs are {', '.join(names)}; give the ONNX file of a release"
            )

    def __call__(self, before: Tensor, after: Tensor) -> ChangeLogits:
        """Its logits, as of `ChangeNet`, for uint8 pairs (N, 3, H, W); one pair after the other, for memory's sake."""
        pairs = zip(torch.split(before, 1), torch.split(after, 1), strict=True)
        rows = [self._session.run(self._names, {"before": b.numpy(), "after": a.numpy()}) for b, a in pairs]
        return ChangeLogits(
            *(torch.cat([torch.from_numpy(part) for part in parts]) for parts in zip(*rows, strict=True))
        )


def distillation_loss(logits: ChangeLogits, taught: ChangeLogits) -> Tensor:
    """Mean cross-entropy against the teacher's probabilities, over the outputs that both have.

    Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), at temperature 1: for segmentation the
    teacher's own uncertainty along outlines is soft enough.
    """
    losses = [F.binary_cross_entropy_with_logits(logits.change, torch.sigmoid(taught.change))]
    if logits.classes_before is not None and taught.classes_before is not None:
        assert logits.classes_after is not None
        assert taught.classes_after is not None
        ours = torch.cat([logits.classes_before, logits.classes_after])
        theirs = torch.cat([taught.classes_before, taught.classes_after])
        losses.append(F.cross_entropy(ours, torch.softmax(theirs, dim=1)))
    else:
        ours = torch.cat([logits.structure_before, logits.structure_after])
        theirs = torch.cat([taught.structure_before, taught.structure_after])
        losses.append(F.binary_cross_entropy_with_logits(ours, torch.sigmoid(theirs)))
    return torch.stack(losses).mean()
