"""Binary cross-entropy plus Dice for each output, where the labels say anything, and at coarser strides besides."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.labelled import IGNORE
from model import CLOUD_STRIDE
from model.network import ChangeLogits

CLOUD_WEIGHT = 0.3
"""Of the loss of clouds: beside the rest an easy task."""
WHOLE_PX = 800
"""A house of 200 m2 at half a metre."""


def object_weights(target: Tensor, most: float) -> Tensor:
    """Weights of pixels by which a small object counts for as much as one of `WHOLE_PX`, up to `most` times.

    Pixels alone say that a shed is worth a tenth of a house, and a network that never sees one loses nothing by it.
    After Kofler et al., "blob loss: instance imbalance aware loss functions" (IPMI 2023).

    Args:
        target: (N, H, W) uint8; 1 is what makes up the objects, 8-connected.

    Returns:
        (N, H, W) float32, 1 off the objects.
    """
    rows = []
    for labels in target.numpy():
        _, objects, stats, _ = cv2.connectedComponentsWithStats((labels == 1).astype(np.uint8), connectivity=8)
        weights = np.clip(WHOLE_PX / stats[:, cv2.CC_STAT_AREA], 1.0, most).astype(np.float32)
        weights[0] = 1.0
        rows.append(torch.from_numpy(weights[objects]))
    return torch.stack(rows)


def masked_bce_dice(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """BCE (mean over known pixels) + soft Dice (over the known pixels of the batch).

    Args:
        logits: (N, H, W) float.
        target: (N, H, W) uint8, 0, 1 or `IGNORE`.
        weights: (N, H, W) float, of each pixel in the BCE; the mean stays that over all of them alike.

    Returns:
        A scalar; 0 where no pixel is known. Dice is Milletari et al., "V-Net" (3DV 2016); it is left out where
        no known pixel is positive, since it then rewards nothing but small logits, as BCE does already.
    """
    known = target != IGNORE
    if not bool(known.any()):
        return logits.sum() * 0.0
    x, y = logits[known], target[known].to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(x, y, None if weights is None else weights[known])
    if bool((y > 0).any()):
        p = torch.sigmoid(x)
        loss = loss + 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
    return loss


def masked_classes(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice, meaned over the classes that occur, over the known pixels of the batch.

    Args:
        logits: (N, K, H, W) float.
        target: (N, H, W) uint8, 1 to K or `IGNORE`.
    """
    known = target != IGNORE
    if not bool(known.any()):
        return logits.sum() * 0.0
    x, y = logits.movedim(1, -1)[known], target[known].long() - 1
    p, truth = torch.softmax(x, dim=1), F.one_hot(y, logits.shape[1]).to(x.dtype)
    overlap, total = (p * truth).sum(dim=0), p.sum(dim=0) + truth.sum(dim=0)
    dice = (2 * overlap + 1) / (total + 1)
    return F.cross_entropy(x, y) + 1 - dice[truth.any(dim=0)].mean()


def _middles(labels: Tensor, stride: int) -> Tensor:
    """(N, H, W) -> (N, H / stride, W / stride): a coarse cell takes the label of the pixel in its middle."""
    return labels[:, stride // 2 :: stride, stride // 2 :: stride]


def pair_loss(logits: ChangeLogits, labels: Tensor, structure_weight: float, small_weight: float = 1.0) -> Tensor:
    """Loss of a batch.

    Args:
        labels: (N, 3, H, W) uint8 in the order before, after, change; the dates hold structure as 0 and 1, or
            classes from 1 on where the network tells several apart. (N, 5, H, W) with clouds of both dates for one that
            tells those.
        structure_weight: weight of the structure term. Both dates enter it as one, so that a batch in which
            only one date is labelled counts as much as any other.
        small_weight: how much more a pixel of a small change may weigh (`object_weights`).
    """
    weights = object_weights(labels[:, 2], small_weight) if small_weight > 1 else None
    change = masked_bce_dice(logits.change[:, 0], labels[:, 2], weights)
    if logits.cloud_before is not None and logits.cloud_after is not None:
        clouds = torch.cat([logits.cloud_before, logits.cloud_after])[:, 0]
        change = change + CLOUD_WEIGHT * masked_bce_dice(
            clouds, _middles(torch.cat([labels[:, 3], labels[:, 4]]), CLOUD_STRIDE)
        )
    dates = torch.cat([labels[:, 0], labels[:, 1]])
    if logits.classes_before is not None and logits.classes_after is not None:
        classes = torch.cat([logits.classes_before, logits.classes_after])
        return change + structure_weight * masked_classes(classes, dates)
    structure = torch.cat([logits.structure_before, logits.structure_after])[:, 0]
    return change + structure_weight * masked_bce_dice(structure, dates)


class DeepSupervision(nn.Module):
    """Change read off the coarser features too: a gradient that need not pass the whole decoder.

    Lee et al., "Deeply-Supervised Nets" (AISTATS 2015). The heads exist in training only.

    Args:
        channels: of the features at strides 8 and 16.
    """

    def __init__(self, channels: tuple[int, int]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(c, 1, 1) for c in channels)

    def forward(self, features: tuple[Tensor, Tensor], change: Tensor) -> Tensor:
        """The mean loss of both strides.

        Args:
            features: each (N, C, H / stride, W / stride).
            change: (N, H, W) uint8.
        """
        losses = []
        for stride, head, feature in zip((8, 16), self.heads, features, strict=True):
            losses.append(masked_bce_dice(head(feature)[:, 0], _middles(change, stride)))
        return torch.stack(losses).mean()
