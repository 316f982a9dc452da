"""The change network: one definition for every domain, symmetric in time by construction.

A siamese encoder (EfficientNet-Lite0, ImageNet weights, strides 4, 8 and 16) is shared by the two dates. A
U-shaped decoder, also shared, gives per-date features, from which the structure head reads what stands at
each date. A second decoder mixes the dates at every scale through |a - b| and a + b, both of which are
unchanged when the dates are swapped, so that

    net(before, after) = (sb, sa, c)   implies   net(after, before) = (sa, sb, c)   exactly.

Where nothing changed both dates show the same structures, whichever way a roof leans and however the light
falls: there both are judged together (`agreed`), which keeps the symmetry.

Mixing by difference and sum follows Daudt et al., "Fully Convolutional Siamese Networks for Change
Detection" (ICIP 2018) for the difference; the sum keeps what |a - b| loses, the level both dates share.
Heads work at stride 4 and reach full resolution by sub-pixel convolution (Shi et al., CVPR 2016): nothing is
computed at full resolution, which would cost more than all the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.encoder import CHANNELS, Encoder

STRIDE = 16
"""Height and width of the input must be multiples of this many pixels."""


class ChangeLogits(NamedTuple):
    """Per-pixel logits, float32.

    Attributes:
        structure_before, structure_after, change: (N, 1, H, W).
        classes_before, classes_after: (N, K, H, W) of a network that tells K classes apart, structure being the
            first; None for one that tells structure from the rest only.
        cloud_before, cloud_after: (N, 1, H / 8, W / 8), what clouds hide at each date; None for a network that was not
            taught.
    """

    structure_before: Tensor
    structure_after: Tensor
    change: Tensor
    classes_before: Tensor | None = None
    classes_after: Tensor | None = None
    cloud_before: Tensor | None = None
    cloud_after: Tensor | None = None


def _normalised(*convolutions: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(*convolutions, nn.BatchNorm2d(convolutions[-1].out_channels), nn.ReLU(inplace=True))


def _conv(channels: int) -> nn.Sequential:
    """A 3x3 convolution of half the rank, as a column and a row of three: a third of the multiplications.

    Jaderberg et al., "Speeding up Convolutional Neural Networks with Low Rank Expansions" (BMVC 2014).
    """
    column = nn.Conv2d(channels, channels // 2, (3, 1), padding=(1, 0), bias=False)
    row = nn.Conv2d(channels // 2, channels, (1, 3), padding=(0, 1), bias=False)
    return _normalised(column, row)


class _UpBlock(nn.Module):
    """Merge a coarse map into the next finer one: up(project(coarse)) + skip, then a convolution."""

    def __init__(self, c_coarse: int, c_fine: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(c_coarse, c_fine, 1, bias=False)
        self.smooth = _conv(c_fine)

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        up = F.interpolate(self.project(coarse), scale_factor=2.0, mode="nearest")
        out: Tensor = self.smooth(up + skip)
        return out


class _Mix(nn.Module):
    """(a, b) -> features of the pair, the same for (b, a)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _normalised(nn.Conv2d(2 * channels, channels, 1, bias=False))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        out: Tensor = self.conv(torch.cat([(a - b).abs(), a + b], dim=1))
        return out


class _Head(nn.Module):
    """Logits at full resolution from features at stride 4."""

    def __init__(self, channels: int, prior: float, classes: int = 1) -> None:
        super().__init__()
        self.conv = _conv(channels)
        self.logits = nn.Conv2d(channels, 16 * classes, 1)
        # All 16 sub-pixels of a class start alike (no checkerboard) and at its prior rate.
        with torch.no_grad():
            start = torch.randn(classes, channels, 1, 1).mul(0.05)
            self.logits.weight.copy_(start.repeat_interleave(16, dim=0))
            self.logits.bias.fill_(torch.logit(torch.tensor(prior)).item())  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.logits(self.conv(x)), 4)


def agreed(logits: ChangeLogits) -> ChangeLogits:
    """Structure judged from both dates as far as nothing changed: the mean of their logits."""
    first, second, change = logits[:3]
    changed = torch.sigmoid(change.detach())  # what is labelled as structure says nothing about change
    joint = (first + second) / 2
    structures = {
        "structure_before": torch.lerp(joint, first, changed),
        "structure_after": torch.lerp(joint, second, changed),
    }
    return logits._replace(**structures)


class ChangeNet(nn.Module):
    """Siamese structure and change segmentation.

    Args:
        widths: decoder channels at strides 4, 8 and 16.
        classes: what is told apart at each date: 1 is structure or not, more are classes with structure first.
        clouds: whether what clouds hide is told, at stride 8 (`model.CLOUD_STRIDE`): clouds are large.
        pretrained: start the encoder from ImageNet weights (needs the `train` extra).
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = (48, 64, 96),
        *,
        classes: int = 1,
        clouds: bool = False,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.widths, self.classes = tuple(widths), classes
        w4, w8, w16 = widths
        self.encoder = Encoder(pretrained=pretrained)
        self.lateral = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip(CHANNELS, widths, strict=True))
        self.up8, self.up4 = _UpBlock(w16, w8), _UpBlock(w8, w4)
        self.mix16, self.mix8, self.mix4 = _Mix(w16), _Mix(w8), _Mix(w4)
        self.change16 = _conv(w16)
        self.change8, self.change4 = _UpBlock(w16, w8), _UpBlock(w8, w4)
        self.structure_head = _Head(w4, prior=0.2 if classes == 1 else 0.5, classes=classes)
        self.change_head = _Head(w4, prior=0.05)
        self.cloud_head = nn.Sequential(_conv(w8), nn.Conv2d(w8, 1, 1)) if clouds else None

    def forward(self, before: Tensor, after: Tensor) -> ChangeLogits:
        """Score one batch of pairs.

        Args:
            before, after: (N, 3, H, W) RGB in 0..255, uint8 or float; H and W multiples of `STRIDE`.
        """
        logits = self.decode(before, after)[0]
        return agreed(logits) if self.classes == 1 else logits

    def decode(self, before: Tensor, after: Tensor) -> tuple[ChangeLogits, tuple[Tensor, Tensor]]:
        """Each date judged by itself, and the features of change at strides 8 and 16: what training supervises."""
        if self.training:  # as one batch, so that both dates are normalised alike
            pairs = [both.chunk(2) for both in self._date(torch.cat([before, after]))]
        else:  # one after the other: together they are no faster and take twice the memory
            pairs = list(zip(self._date(before), self._date(after), strict=True))
        p4, p8, x16, scores = pairs
        clouds = [None, None] if self.cloud_head is None else [self.cloud_head(p) for p in p8]
        d16 = self.change16(self.mix16(*x16))
        d8 = self.change8(d16, self.mix8(*p8))
        change = self.change_head(self.change4(d8, self.mix4(*p4)))
        if self.classes == 1:
            return ChangeLogits(scores[0], scores[1], change, None, None, *clouds), (d8, d16)
        # Log-odds of structure against all the rest: what a sigmoid turns into its share of the softmax.
        first, second = (each[:, :1] - torch.logsumexp(each[:, 1:], dim=1, keepdim=True) for each in scores)
        return ChangeLogits(first, second, change, scores[0], scores[1], *clouds), (d8, d16)

    def _date(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features of one date at strides 4, 8 and 16, and its scores."""
        features = self.encoder(picture.to(torch.float32) / 127.5 - 1.0)
        x4, x8, x16 = (lateral(feature) for lateral, feature in zip(self.lateral, features, strict=True))
        p8 = self.up8(x16, x8)
        p4 = self.up4(p8, x4)
        return p4, p8, x16, self.structure_head(p4)
