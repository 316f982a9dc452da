from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from model.network import ChangeLogits, ChangeNet, agreed
from training.loss import pair_loss


def randomise_statistics(net: nn.Module) -> None:
    """Batch statistics as training leaves them, so that evaluation does not run on 0 and 1."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2.0)


def pictures(n: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(height)
    before, after = (
        torch.randint(0, 256, (n, 3, height, width), generator=generator, dtype=torch.uint8) for _ in range(2)
    )
    return before, after


@pytest.fixture(scope="module")
def net() -> ChangeNet:
    torch.manual_seed(0)
    net = ChangeNet((16, 16, 24), pretrained=True)
    randomise_statistics(net)
    return net.eval()


@pytest.mark.parametrize("n", [1, 3])
@torch.no_grad()
def test_swapping_the_dates_swaps_structures_and_keeps_change(net: ChangeNet, n: int) -> None:
    before, after = pictures(n, 64, 96)
    forwards, backwards = net(before, after), net(after, before)
    torch.testing.assert_close(backwards.structure_before, forwards.structure_after, rtol=0, atol=1e-6)
    torch.testing.assert_close(backwards.structure_after, forwards.structure_before, rtol=0, atol=1e-6)
    torch.testing.assert_close(backwards.change, forwards.change, rtol=0, atol=1e-6)
    assert (forwards.structure_before - forwards.structure_after).abs().max() > 1e-3


@torch.no_grad()
def test_each_date_is_read_by_itself_where_it_is_taught(net: ChangeNet) -> None:
    before, after = pictures(1, 64, 64)
    alone, moved = net.decode(before, after)[0], net.decode(before, after.flip(-1))[0]
    torch.testing.assert_close(moved.structure_before, alone.structure_before, rtol=0, atol=1e-6)
    assert (moved.structure_after - alone.structure_after).abs().max() > 1e-3
    assert (moved.change - alone.change).abs().max() > 1e-3


def test_both_dates_are_judged_together_where_nothing_changed() -> None:
    """A sure change 8 px wide: the dates keep their own judgement on it, and share it elsewhere."""
    first, second, change = (torch.full((1, 1, 128, 128), level) for level in (4.0, -2.0, -30.0))
    change[..., 64:72, 64:72] = 30.0
    out = agreed(ChangeLogits(first, second, change))
    assert torch.equal(out.change, change)
    for own, judged in ((first, out.structure_before), (second, out.structure_after)):
        apart = judged == own
        assert bool(apart[..., 64:72, 64:72].all())
        assert int(apart.sum()) == 8**2
        torch.testing.assert_close(judged[~apart], torch.ones(1).expand(int((~apart).sum())))


def test_the_surer_change_is_the_less_one_date_says_of_the_other() -> None:
    first, second = torch.full((1, 1, 16, 16), 4.0), torch.full((1, 1, 16, 16), -2.0)
    levels = [agreed(ChangeLogits(first, second, torch.full((1, 1, 16, 16), c))) for c in (-4.0, -1.0, 1.0, 4.0)]
    between = [float(out.structure_before.mean() - out.structure_after.mean()) for out in levels]
    assert between == sorted(between)
    assert 0 < between[0] < 0.2
    assert 5.8 < between[-1] < 6


@torch.no_grad()
def test_a_network_of_classes_leaves_each_date_its_own() -> None:
    torch.manual_seed(0)
    net, pair = ChangeNet((8, 8, 8), classes=3).eval(), pictures(1, 64, 64)
    assert torch.equal(net(*pair).structure_before, net.decode(*pair)[0].structure_before)


@pytest.mark.parametrize("classes", [1, 3])
@torch.no_grad()
def test_clouds_of_a_date_are_read_off_that_date_alone(classes: int) -> None:
    torch.manual_seed(0)
    net = ChangeNet((8, 8, 8), classes=classes, clouds=True).eval()
    before, after = pictures(2, 64, 96)
    out, swapped, moved = net(before, after), net(after, before), net(before, after.flip(-1))
    assert out.cloud_before.shape == out.cloud_after.shape == (2, 1, 8, 12)
    torch.testing.assert_close(swapped.cloud_before, out.cloud_after, rtol=0, atol=1e-6)
    torch.testing.assert_close(moved.cloud_before, out.cloud_before, rtol=0, atol=1e-6)
    assert (moved.cloud_after - out.cloud_after).abs().max() > 1e-3


@torch.no_grad()
def test_a_network_that_was_not_taught_clouds_says_nothing_of_them(net: ChangeNet) -> None:
    out = net(*pictures(1, 64, 64))
    assert out.cloud_before is out.cloud_after is None


@pytest.mark.parametrize(("height", "width"), [(64, 64), (256, 256), (304, 192)])
@torch.no_grad()
def test_outputs_have_the_size_of_the_input(net: ChangeNet, height: int, width: int) -> None:
    out = net(*pictures(1, height, width))
    assert isinstance(out, ChangeLogits)
    assert out.classes_before is out.classes_after is None
    for logits in out[:3]:
        assert (logits.shape, logits.dtype) == ((1, 1, height, width), torch.float32)
        assert bool(logits.isfinite().all())


@torch.no_grad()
def test_bytes_and_floats_of_the_same_picture_agree(net: ChangeNet) -> None:
    before, after = pictures(1, 64, 64)
    for x, y in zip(net(before, after)[:3], net(before.float(), after.float())[:3], strict=True):
        assert torch.equal(x, y)


@torch.no_grad()
def test_pairs_of_a_batch_do_not_see_each_other(net: ChangeNet) -> None:
    before, after = pictures(3, 64, 64)
    together = net(before, after)
    for i in range(3):
        alone = net(before[i : i + 1], after[i : i + 1])
        for x, y in zip(together[:3], alone[:3], strict=True):
            torch.testing.assert_close(x[i : i + 1], y, rtol=0, atol=1e-4)


@torch.no_grad()
def test_an_untrained_network_expects_the_prior_rates() -> None:
    torch.manual_seed(0)
    out = ChangeNet((8, 8, 8)).eval()(*pictures(1, 64, 64))
    assert torch.sigmoid(out.structure_before).mean() == pytest.approx(0.2, abs=0.1)
    assert torch.sigmoid(out.change).mean() == pytest.approx(0.05, abs=0.04)


@torch.no_grad()
def test_sub_pixels_start_alike() -> None:
    torch.manual_seed(0)
    change = ChangeNet((8, 8, 8)).eval()(*pictures(1, 64, 64)).change[0, 0]
    cells = change.reshape(16, 4, 16, 4)
    torch.testing.assert_close(cells, cells[:, :1, :, :1].expand_as(cells), rtol=0, atol=1e-6)


@pytest.mark.parametrize("pretrained", [False, True])
def test_the_gradient_reaches_every_trainable_parameter(pretrained: bool) -> None:
    torch.manual_seed(0)
    net = ChangeNet((8, 8, 8), clouds=True, pretrained=pretrained).train()
    labels = (torch.rand(2, 5, 64, 64) > 0.7).to(torch.uint8)
    pair_loss(net(*pictures(2, 64, 64)), labels, 0.5).backward()  # type: ignore[no-untyped-call]
    trainable = {name: p for name, p in net.named_parameters() if p.requires_grad}
    assert len(trainable) > 60
    assert [name for name, p in trainable.items() if p.grad is None or not bool((p.grad != 0).any())] == []
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters() if p.grad is not None)


def test_a_few_steps_on_one_batch_lower_its_loss() -> None:
    torch.manual_seed(0)
    net = ChangeNet((8, 8, 8), pretrained=True).train()
    before, after = pictures(2, 64, 64)
    labels = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    labels[:, :, 16:48, 16:48] = 1
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        loss = pair_loss(net(before, after), labels, 0.5)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@pytest.fixture(scope="module")
def several() -> ChangeNet:
    torch.manual_seed(1)
    net = ChangeNet((8, 8, 8), classes=5)
    randomise_statistics(net)
    return net.eval()


@torch.no_grad()
def test_structure_is_the_first_class_against_all_the_others(several: ChangeNet) -> None:
    out = several(*pictures(2, 64, 96))
    for structure, classes in ((out.structure_before, out.classes_before), (out.structure_after, out.classes_after)):
        assert classes is not None
        assert classes.shape == (2, 5, 64, 96)
        torch.testing.assert_close(torch.sigmoid(structure), torch.softmax(classes, dim=1)[:, :1])


@torch.no_grad()
def test_several_classes_are_symmetric_in_time_too(several: ChangeNet) -> None:
    before, after = pictures(1, 64, 64)
    forwards, backwards = several(before, after), several(after, before)
    for x, y in ((forwards.classes_before, backwards.classes_after), (forwards.change, backwards.change)):
        assert x is not None
        assert y is not None
        torch.testing.assert_close(x, y, rtol=0, atol=1e-5)


def test_coarse_features_come_along_with_the_logits(net: ChangeNet) -> None:
    logits, (d8, d16) = net.decode(*pictures(1, 64, 96))
    assert torch.equal(logits.change, net(*pictures(1, 64, 96)).change)
    assert (d8.shape, d16.shape) == ((1, 16, 8, 12), (1, 24, 4, 6))
