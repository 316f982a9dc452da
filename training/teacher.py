"""Learning from other weights: what a released network says of a pair, beside what the labels say.

The teacher is any ONNX file with the inputs and outputs of a release (`model.OUTPUTS`, `model.CLASS_OUTPUTS`): an
earlier release, or a network too wide to ship. It also speaks where nothing is labelled, and of how sure to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.model import open_session
from model import CLASS_OUTPUTS, OUTPUTS
from model.network import ChangeLogits, agreed
from training.export import INPUTS


class Teacher:
    """Weights to learn from, run by ONNX Runtime: the mean of what each says of a pair and of the pair turned.

    Turned by half a circle. Together they are the wide network that would be too slow to ship: one network asked both
    ways is worth 0.005 of F1, and runs that differ in their seed err differently (training/RESULTS.md).

    Args:
        paths: the ONNX files.

    Raises:
        ValueError: a file has other inputs or outputs than a release, or other outputs than the first.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._sessions = [open_session(path.read_bytes(), torch.get_num_threads()) for path in paths]
        outputs = [[each.name for each in session.get_outputs()] for session in self._sessions]
        self._names = [name for name in (*OUTPUTS, *CLASS_OUTPUTS) if name in outputs[0]]
        for path, session, names in zip(paths, self._sessions, outputs, strict=True):
            if not set(OUTPUTS) <= set(names) or {i.name for i in session.get_inputs()} != set(INPUTS):
                raise ValueError(
                    f"{path} cannot teach: its outputs are {', '.join(names)}; give the ONNX file of a release"
                )
            if set(names) != set(outputs[0]):
                raise ValueError(f"{path} and {paths[0]} cannot teach together: one tells classes apart, one does not")

    def __call__(self, before: Tensor, after: Tensor) -> ChangeLogits:
        """Mean logits, as of `ChangeNet`, for uint8 pairs (N, 3, H, W); pair after pair, for memory's sake."""
        pairs = zip(torch.split(before, 1), torch.split(after, 1), strict=True)
        rows = [self._mean(b, a) for b, a in pairs]
        return ChangeLogits(*(torch.cat(parts) for parts in zip(*rows, strict=True)))

    def _mean(self, before: Tensor, after: Tensor) -> list[Tensor]:
        said = []
        for session in self._sessions:
            for turn in ((), (-2, -1)):
                pair = {"before": before.flip(turn).numpy(), "after": after.flip(turn).numpy()}
                said.append([torch.from_numpy(part).flip(turn) for part in session.run(self._names, pair)])
        return [torch.stack(parts).mean(dim=0) for parts in zip(*said, strict=True)]


def distillation_loss(logits: ChangeLogits, taught: ChangeLogits, told: Tensor | None = None) -> Tensor:
    """Mean cross-entropy against the teacher's probabilities, over the outputs that both have.

    Args:
        told: (N, 1, H, W) bool, where to believe the teacher: no earlier one knew clouds. Everywhere if None.

    Structures are compared as they come out, judged from both dates where nothing changed.

    Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), at temperature 1: for segmentation the
    teacher's own uncertainty along outlines is soft enough.
    """
    losses = [_cross_entropy(logits.change, taught.change, told)]
    if logits.classes_before is not None and taught.classes_before is not None:
        assert logits.classes_after is not None
        assert taught.classes_after is not None
        ours = torch.cat([logits.classes_before, logits.classes_after])
        theirs = torch.cat([taught.classes_before, taught.classes_after])
        losses.append(F.cross_entropy(ours, torch.softmax(theirs, dim=1)))
    else:
        logits = agreed(logits)
        ours = torch.cat([logits.structure_before, logits.structure_after])
        theirs = torch.cat([taught.structure_before, taught.structure_after])
        losses.append(_cross_entropy(ours, theirs, None if told is None else told.repeat(2, 1, 1, 1)))
    return torch.stack(losses).mean()


def _cross_entropy(ours: Tensor, theirs: Tensor, told: Tensor | None) -> Tensor:
    if told is None:
        return F.binary_cross_entropy_with_logits(ours, torch.sigmoid(theirs))
    each = F.binary_cross_entropy_with_logits(ours, torch.sigmoid(theirs), reduction="none")
    return (each * told).sum() / told.sum().clamp(min=1)
