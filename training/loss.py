"""Binary cross-entropy plus Dice for each output, where the labels say anything."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.labelled import IGNORE
from model.network import ChangeLogits


def masked_bce_dice(logits: Tensor, target: Tensor) -> Tensor:
    """BCE (mean over known pixels) + soft Dice (over the known pixels of the batch).

    Args:
        logits: (N, H, W) float.
        target: (N, H, W) uint8, 0, 1 or `IGNORE`.

    Returns:
        A scalar; 0 where no pixel is known. Dice is Milletari et al., "V-Net" (3DV 2016); it is left out where
        no known pixel is positive, since it then rewards nothing but small logits, as BCE does already.
    """
    known = target != IGNORE
    if not bool(known.any()):
        return logits.sum() * 0.0
    x, y = logits[known], target[known].to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(x, y)
    if bool((y > 0).any()):
        p = torch.sigmoid(x)
        loss = loss + 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    return loss


def pair_loss(logits: ChangeLogits, labels: Tensor, structure_weight: float) -> Tensor:
    """Loss of a batch.

    Args:
        labels: (N, 3, H, W) uint8 in the order structure_before, structure_after, change.
        structure_weight: weight of the structure term. Both dates enter it as one, so that a batch in which
            only one date is labelled counts as much as any other.
    """
    structure = torch.cat([logits.structure_before, logits.structure_after], dim=1).flatten(0, 1)
    change = masked_bce_dice(logits.change[:, 0], labels[:, 2])
    return change + structure_weight * masked_bce_dice(structure, labels[:, :2].flatten(0, 1))
