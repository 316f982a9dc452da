from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from inference.model import BUNDLED
from model.network import ChangeLogits, ChangeNet
from tests.miniature import recipe
from training.loop import CHECKPOINT, load_averaged, train
from training.teacher import Teacher, distillation_loss


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    first, second = (torch.randint(0, 256, (2, 3, 64, 64), generator=generator, dtype=torch.uint8) for _ in range(2))
    return first, second


@torch.no_grad()
def test_a_teacher_says_what_its_network_says_of_the_pair_and_of_it_turned() -> None:
    net, _ = load_averaged(BUNDLED / "ground.pt")
    straight, turned = net(*pictures()), net(*(each.flip(-2, -1) for each in pictures()))
    said_all = Teacher([BUNDLED / "ground.onnx"])(*pictures())
    for said, one, other in zip(said_all[:5], straight[:5], turned[:5], strict=True):
        torch.testing.assert_close(said, (one + other.flip(-2, -1)) / 2, rtol=0, atol=1e-2)


def test_several_teachers_say_their_mean() -> None:
    path = BUNDLED / "overhead.onnx"
    alone, twice = Teacher([path])(*pictures()), Teacher([path, path])(*pictures())
    torch.testing.assert_close(twice.change, alone.change, rtol=0, atol=1e-5)


def test_a_teacher_of_structures_says_nothing_of_classes() -> None:
    said = Teacher([BUNDLED / "overhead.onnx"])(*pictures())
    assert said.classes_before is said.classes_after is None
    assert said.change.shape == (2, 1, 64, 64)


def test_other_files_cannot_teach() -> None:
    with pytest.raises(ValueError, match=r"cannot teach.*give the ONNX file of a release"):
        Teacher([BUNDLED / "matcher_points.onnx"])
    with pytest.raises(ValueError, match=r"ground.onnx and .*overhead.onnx cannot teach together"):
        Teacher([BUNDLED / "overhead.onnx", BUNDLED / "ground.onnx"])


@pytest.mark.parametrize("classes", [1, 5])
def test_the_loss_is_least_where_both_agree_and_is_passed_on(classes: int) -> None:
    torch.manual_seed(1)
    net = ChangeNet((8, 8, 8), classes=classes).eval()
    with torch.no_grad():
        taught = net(*pictures())
    distillation_loss(net(*pictures()), taught).backward()
    heads = [net.change_head.logits.bias, net.structure_head.logits.bias]
    for bias in heads:
        assert bias.grad is not None
        assert bias.grad.abs().max() < 1e-4  # nothing to learn from one's own words
    off = ChangeLogits(
        *(None if each is None else each + torch.linspace(-2, 3, each.shape[1]).view(-1, 1, 1) + 1 for each in taught)
    )
    for bias in heads:
        bias.grad = None
    more = distillation_loss(net(*pictures()), off)
    more.backward()
    assert more > distillation_loss(off, off)
    assert all(bias.grad.abs().max() > 1e-4 for bias in heads)  # type: ignore[union-attr]


def test_a_teacher_is_not_believed_under_clouds() -> None:
    ours = ChangeLogits(*(torch.zeros(1, 1, 8, 8) for _ in range(3)))
    theirs = [torch.zeros(1, 1, 8, 8) for _ in range(3)]
    for each in theirs:
        each[..., :4] = 9.0  # under the cloud
    told = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    told[..., :4] = False
    agreeing = distillation_loss(ours, ours)
    torch.testing.assert_close(distillation_loss(ours, ChangeLogits(*theirs), told), agreeing)
    assert distillation_loss(ChangeLogits(*theirs), ours, told) == pytest.approx(float(agreeing))
    assert distillation_loss(ChangeLogits(*theirs), ours) > agreeing + 1
    assert distillation_loss(ours, ours, told & False) == 0


def test_a_run_follows_its_teacher(sets: Path, tmp_path: Path) -> None:
    """From the same samples, one step with a teacher and one without lead to different weights."""
    one = recipe(steps=1, teacher_weight=1.0)
    train(one, sets, tmp_path / "alone")
    train(one, sets, tmp_path / "taught", teachers=[BUNDLED / "overhead.onnx"])
    alone, taught = (torch.load(tmp_path / n / CHECKPOINT, weights_only=True)["net"] for n in ("alone", "taught"))
    assert not torch.equal(alone["change_head.logits.weight"], taught["change_head.logits.weight"])
    shutil.rmtree(tmp_path / "alone")
    train(one, sets, tmp_path / "alone")
    again = torch.load(tmp_path / "alone" / CHECKPOINT, weights_only=True)["net"]
    assert torch.equal(alone["change_head.logits.weight"], again["change_head.logits.weight"])
