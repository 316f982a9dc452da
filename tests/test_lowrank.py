from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.network import ChangeNet
from training.lowrank import factorised

STEMS = (
    "up8.smooth", "up4.smooth", "change16", "change8.smooth", "change4.smooth",
    "structure_head.conv", "change_head.conv",
)  # fmt: skip


def dense(net: ChangeNet, rank: int) -> dict[str, Tensor]:
    """Averaged weights with full 3x3 kernels of this rank, as checkpoints before 2026.11.26 have them."""
    average = {f"module.{name}": value for name, value in net.state_dict().items()}
    for stem in (f"module.{s}." for s in STEMS):
        column, row = average.pop(f"{stem}0.weight"), average.pop(f"{stem}1.weight")
        average[f"{stem}0.weight"] = torch.einsum("rchx,orxw->ochw", column[:rank], row[:, :rank])
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            average[f"{stem}1.{part}"] = average.pop(f"{stem}2.{part}")
    return average


def small() -> ChangeNet:
    torch.manual_seed(3)
    net = ChangeNet((8, 16, 16))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.normal_()
    return net.eval()


def test_a_kernel_of_low_rank_is_kept_and_its_normalisation_moves_along() -> None:
    net = small()
    average = dense(net, rank=4)
    found = factorised(average, net)
    net.load_state_dict({name.removeprefix("module."): value for name, value in found.items()})
    for stem in (f"module.{s}." for s in STEMS):
        kernel = torch.einsum("rchx,orxw->ochw", found[f"{stem}0.weight"], found[f"{stem}1.weight"])
        torch.testing.assert_close(kernel, average[f"{stem}0.weight"], rtol=0, atol=1e-5)
        assert torch.equal(found[f"{stem}2.running_mean"], average[f"{stem}1.running_mean"])


def test_a_full_kernel_is_cut_to_the_nearest_of_half_the_rank() -> None:
    net = small()
    average = dense(net, rank=4)
    name = "module.up4.smooth.0.weight"
    average[name] = torch.randn(8, 8, 3, 3, generator=torch.Generator().manual_seed(1))
    found = factorised(average, net)
    column, row = found[name], found["module.up4.smooth.1.weight"]
    assert (column.shape, row.shape) == ((4, 8, 3, 1), (8, 4, 1, 3))
    error = (torch.einsum("rchx,orxw->ochw", column, row) - average[name]).square().sum()
    values = torch.linalg.svdvals(average[name].permute(1, 2, 0, 3).reshape(24, 24))
    torch.testing.assert_close(error, values[4:].square().sum())  # Eckart and Young: no other of this rank is nearer


def test_a_column_and_a_row_do_what_the_kernel_does() -> None:
    net = small()
    found = factorised(dense(net, rank=2), net)
    column, row = found["module.change16.0.weight"], found["module.change16.1.weight"]
    x = torch.randn(1, 16, 12, 10, generator=torch.Generator().manual_seed(2))
    whole = F.conv2d(x, dense(net, rank=2)["module.change16.0.weight"], padding=1)
    torch.testing.assert_close(
        F.conv2d(F.conv2d(x, column, padding=(1, 0)), row, padding=(0, 1)), whole, rtol=0, atol=1e-4
    )


def test_weights_of_today_are_left_as_they_are() -> None:
    net = small()
    average = {f"module.{name}": value for name, value in net.state_dict().items()}
    assert factorised(average, net) == average
