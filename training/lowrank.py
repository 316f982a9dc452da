"""Weights of the releases before 2026.11.25.4, whose decoders had full 3x3 convolutions, for the network of today."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from model.network import ChangeNet


def factorised(average: Mapping[str, Tensor], net: ChangeNet) -> dict[str, Tensor]:
    """Bring averaged weights of a checkpoint into the shape of `net`, each full convolution as its best low rank.

    A 3x3 kernel (C_out, C_in, 3, 3), written as a matrix of (C_in, 3 rows) by (C_out, 3 columns), is cut after its
    largest singular values (Jaderberg et al., BMVC 2014). Weights that have that shape already come back as they are.

    Args:
        average: name -> tensor of `torch.optim.swa_utils.AveragedModel`, whose names begin with `module.`.
    """
    needed = {f"module.{name}": value for name, value in net.state_dict().items()}
    result = dict(average)
    # Column, row and normalisation are numbers 0, 1 and 2 of their sequence, a full convolution and its own 0 and 1.
    for stem in [n.removesuffix("2.weight") for n in needed if n.endswith("2.weight") and n not in average]:
        column, row = _split(average[f"{stem}0.weight"], rank=needed[f"{stem}1.weight"].shape[1])
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            result[f"{stem}2.{part}"] = result.pop(f"{stem}1.{part}")
        result |= {f"{stem}0.weight": column, f"{stem}1.weight": row}
    return result


def _split(kernel: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(C_out, C_in, 3, 3) -> a column (rank, C_in, 3, 1) and a row (C_out, rank, 1, 3) that follows it."""
    c_out, c_in, height, width = kernel.shape
    u, s, v = torch.linalg.svd(kernel.permute(1, 2, 0, 3).reshape(c_in * height, c_out * width), full_matrices=False)
    root = s[:rank].sqrt()
    column = (u[:, :rank] * root).T.reshape(rank, c_in, height, 1)
    row = (root[:, None] * v[:rank]).reshape(rank, c_out, width).permute(1, 0, 2)[:, :, None, :]
    return column.contiguous(), row.contiguous()
