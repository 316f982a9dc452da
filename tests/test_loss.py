from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from datasets.labelled import IGNORE
from model.network import ChangeLogits
from training.loss import WHOLE_PX, DeepSupervision, masked_bce_dice, masked_classes, object_weights, pair_loss


def labels(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.uint8).reshape(1, 1, -1)


def test_ignored_pixels_get_no_gradient_and_known_ones_do() -> None:
    logits = torch.zeros(1, 1, 4, requires_grad=True)
    masked_bce_dice(logits, labels(1, IGNORE, 0, IGNORE)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[0, 0, 1] == logits.grad[0, 0, 3] == 0
    assert logits.grad[0, 0, 0] < 0 < logits.grad[0, 0, 2]


def test_what_an_ignored_pixel_predicts_does_not_matter() -> None:
    target = labels(1, IGNORE, 0)
    losses = [float(masked_bce_dice(torch.tensor([[[2.0, x, -1.0]]]), target)) for x in (-50.0, 50.0)]
    assert losses[0] == losses[1]


def test_a_batch_without_labels_costs_nothing_and_moves_nothing() -> None:
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    parts = ChangeLogits(logits[:, 0:1], logits[:, 1:2], logits[:, 2:3])
    loss = pair_loss(parts, torch.full((2, 3, 8, 8), IGNORE, dtype=torch.uint8), 0.5)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert logits.grad is not None
    assert bool((logits.grad == 0).all())


def test_right_predictions_cost_little_and_wrong_ones_much() -> None:
    target = (torch.rand(2, 3, 16, 16) > 0.5).to(torch.uint8)
    confident = target.float() * 24 - 12
    right, wrong = (
        pair_loss(ChangeLogits(x[:, 0:1], x[:, 1:2], x[:, 2:3]), target, 0.5).item() for x in (confident, -confident)
    )
    assert right < 0.01
    assert wrong > 5


def test_a_small_object_counts_for_as_much_as_a_whole_one_up_to_a_limit() -> None:
    target = torch.zeros(2, 64, 64, dtype=torch.uint8)
    target[0, :40, :40] = 1  # larger than a house
    target[1, :10, :20] = 1  # a quarter of one
    target[1, 30:34, 30:34] = 1
    target[1, 60:, 60:] = IGNORE
    weights = object_weights(target, 8.0)
    assert (weights[0] == 1).all()
    assert (weights[1, :10, :20] == WHOLE_PX / 200).all()
    assert (weights[1, 30:34, 30:34] == 8).all()  # not 50
    assert weights.sum() == 2 * 64 * 64 + 200 * (WHOLE_PX / 200 - 1) + 16 * 7


def test_missing_a_small_change_costs_more_with_a_weight_and_raising_one_falsely_does_not() -> None:
    target = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    target[:, :, :8, :8] = 1
    blind = torch.full((1, 1, 32, 32), -6.0)
    alarmed = torch.where(target[:, 2:] == 1, 6.0, blind)
    alarmed[..., 20:28, 20:28] = 6.0

    def cost(change: Tensor, small_weight: float) -> float:
        return pair_loss(ChangeLogits(blind, blind, change), target, 0.5, small_weight).item()

    assert cost(blind, 8.0) > cost(blind, 1.0) + 1
    assert cost(alarmed, 8.0) == pytest.approx(cost(alarmed, 1.0), abs=0.01)


def test_without_positives_only_cross_entropy_is_left() -> None:
    assert masked_bce_dice(torch.zeros(1, 1, 4), labels(0, 0, 0, IGNORE)).item() == pytest.approx(math.log(2))


def test_with_positives_dice_is_added() -> None:
    # Two known pixels at probability 1/2, one of them positive: dice is (2 * 0.5 + 1) / (1 + 1 + 1).
    loss = masked_bce_dice(torch.zeros(1, 1, 3), labels(1, 0, IGNORE)).item()
    assert loss == pytest.approx(math.log(2) + 1 - 2 / 3)


def test_each_output_is_held_against_its_own_layer() -> None:
    target = torch.stack([torch.ones(4, 4), torch.zeros(4, 4), torch.ones(4, 4)]).to(torch.uint8)[None]
    on, off = torch.full((1, 1, 4, 4), 12.0), torch.full((1, 1, 4, 4), -12.0)
    assert pair_loss(ChangeLogits(on, off, on), target, 1).item() < 0.01
    for wrong in (ChangeLogits(off, on, on), ChangeLogits(on, off, off), ChangeLogits(on, on, on)):
        assert pair_loss(wrong, target, 1).item() > 1


def test_the_structure_weight_scales_the_structure_loss_alone() -> None:
    target = torch.ones(1, 3, 4, 4, dtype=torch.uint8)
    zeros = torch.zeros(1, 1, 4, 4)
    whole, half, none = (pair_loss(ChangeLogits(zeros, zeros, zeros), target, w).item() for w in (1.0, 0.5, 0.0))
    assert whole - half == pytest.approx(half - none)
    assert none > 0
    assert whole > half


def test_a_date_without_labels_does_not_dilute_the_other() -> None:
    target = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    one_date = target.clone()
    one_date[:, 1] = IGNORE
    zeros = torch.zeros(1, 1, 4, 4)
    logits = ChangeLogits(zeros, zeros, zeros)
    assert pair_loss(logits, one_date, 0.5).item() == pytest.approx(pair_loss(logits, target, 0.5).item())


def test_clouds_of_each_date_are_held_against_their_own_layer() -> None:
    target = torch.zeros(1, 5, 32, 32, dtype=torch.uint8)
    target[:, 3, :16] = 1
    target[:, 4] = IGNORE
    none = torch.full((1, 1, 32, 32), -12.0)
    off, zeros = torch.full((1, 1, 4, 4), -12.0), torch.zeros(1, 1, 4, 4)
    right = off.clone()
    right[..., :2, :] = 12.0

    def loss(before: Tensor, after: Tensor) -> float:
        clouds = {"cloud_before": before, "cloud_after": after}
        return float(pair_loss(ChangeLogits(none, none, none, **clouds), target, 0.5))

    assert loss(right, zeros) < 0.01
    assert loss(right, zeros) == pytest.approx(loss(right, off))  # where nothing is told
    assert loss(-right, off) > 1
    assert loss(off, right) > 0.1


def test_coarse_features_are_held_against_the_label_in_the_middle_of_each_cell() -> None:
    torch.manual_seed(0)
    deep = DeepSupervision((1, 1))
    with torch.no_grad():
        for head in deep.heads:
            head.weight.fill_(1.0)  # type: ignore[operator,union-attr]
            head.bias.zero_()  # type: ignore[operator,union-attr]
    change = torch.zeros(1, 64, 64, dtype=torch.uint8)
    change[:, 16:48, 32:64] = 1
    right = tuple((change[:, None, s // 2 :: s, s // 2 :: s].float() - 0.5) * 24 for s in (8, 16))
    assert deep(right, change).item() < 0.01
    assert deep(tuple(-x for x in right), change).item() > 5


def test_coarse_features_get_a_gradient() -> None:
    features = (torch.randn(1, 4, 8, 8, requires_grad=True), torch.randn(1, 6, 4, 4, requires_grad=True))
    change = (torch.rand(1, 64, 64) > 0.5).to(torch.uint8)
    DeepSupervision((4, 6))(features, change).backward()
    assert all(f.grad is not None and bool(f.grad.any()) for f in features)


def test_classes_are_numbered_from_one() -> None:
    target = torch.tensor([[[1, 2, 3, IGNORE]]], dtype=torch.uint8)
    right = torch.full((1, 3, 1, 4), -12.0)
    for column, number in enumerate((0, 1, 2)):
        right[0, number, 0, column] = 12.0
    assert masked_classes(right, target).item() < 0.2  # the smoothing of Dice over three pixels
    assert masked_classes(right.roll(1, dims=1), target).item() > 5
    assert masked_classes(right, torch.full_like(target, IGNORE)).item() == 0


def test_a_network_with_classes_is_held_against_classes() -> None:
    torch.manual_seed(0)
    classes = torch.randn(1, 3, 8, 8)
    structure = classes[:, :1] - torch.logsumexp(classes[:, 1:], dim=1, keepdim=True)
    labels = torch.randint(1, 4, (1, 3, 8, 8), dtype=torch.uint8)
    labels[:, 2] = IGNORE
    logits = ChangeLogits(structure, structure, torch.zeros(1, 1, 8, 8), classes, classes)
    expected = masked_classes(torch.cat([classes, classes]), torch.cat([labels[:, 0], labels[:, 1]]))
    assert pair_loss(logits, labels, 0.7).item() == pytest.approx(0.7 * expected.item())
