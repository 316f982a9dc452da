"""A run that was interrupted ends, bit for bit, where an uninterrupted one does."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model.network import ChangeNet
from tests.miniature import ground_recipe, recipe
from training.loop import CHECKPOINT, average_runs, learning_rate_factor, load_averaged, strip, train


def state(run: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(run / CHECKPOINT, weights_only=True)
    return loaded


def assert_equal(a: Any, b: Any, where: str = "checkpoint") -> None:
    assert type(a) is type(b), where
    if isinstance(a, Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}/{i}")
    else:
        assert a == b, where


@pytest.fixture(scope="module")
def straight(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """Four steps at one go, and their losses."""
    run, losses = tmp_path_factory.mktemp("straight"), []
    train(recipe(), sets, run, on_step=lambda step, loss: losses.append(loss))
    return run, losses


def test_every_step_is_reported_with_its_loss(straight: tuple[Path, list[float]]) -> None:
    assert len(straight[1]) == 4
    assert all(math.isfinite(loss) and loss > 0 for loss in straight[1])
    assert state(straight[0])["step"] == 4


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(
    straight: tuple[Path, list[float]], sets: Path, tmp_path: Path
) -> None:
    steps: list[tuple[int, float]] = []
    for stop_after in (2, None):
        train(recipe(), sets, tmp_path, stop_after=stop_after, on_step=lambda step, loss: steps.append((step, loss)))
        assert len(steps) == (2 if stop_after else 4)
    assert steps == list(enumerate(straight[1], start=1))
    assert_equal(state(tmp_path), state(straight[0]))


def test_a_run_that_died_between_checkpoints_goes_on_as_if_it_had_not(
    straight: tuple[Path, list[float]], sets: Path, tmp_path: Path
) -> None:
    def die(step: int, loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe(), sets, tmp_path, checkpoint_every=2, on_step=die)
    assert state(tmp_path)["step"] == 2
    train(recipe(), sets, tmp_path, checkpoint_every=2)
    assert_equal(state(tmp_path), state(straight[0]))


def test_a_finished_or_stopped_run_does_not_train_further(
    straight: tuple[Path, list[float]], sets: Path, tmp_path: Path
) -> None:
    (tmp_path / CHECKPOINT).write_bytes((straight[0] / CHECKPOINT).read_bytes())
    steps: list[int] = []
    train(recipe(), sets, tmp_path, on_step=lambda step, loss: steps.append(step))
    train(recipe(), sets, tmp_path, stop_after=2, on_step=lambda step, loss: steps.append(step))
    assert steps == []


def test_the_checkpoint_of_another_recipe_is_refused(
    straight: tuple[Path, list[float]], sets: Path, tmp_path: Path
) -> None:
    (tmp_path / CHECKPOINT).write_bytes((straight[0] / CHECKPOINT).read_bytes())
    with pytest.raises(ValueError, match="another recipe"):
        train(recipe(lr=0.5), sets, tmp_path)


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one_whole(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(recipe(), sets, tmp_path, stop_after=1)
    before = (tmp_path / CHECKPOINT).read_bytes()

    def full_disk(obj: object, path: Path) -> None:
        path.write_bytes(b"half a check")
        raise OSError("no space left on device")

    monkeypatch.setattr("training.loop.torch.save", full_disk)
    with pytest.raises(OSError, match="no space"):
        train(recipe(), sets, tmp_path, stop_after=2)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_the_averaged_weights_follow_the_trained_ones(straight: tuple[Path, list[float]]) -> None:
    saved = state(straight[0])
    net, average = saved["net"], saved["average"]
    assert average["n_averaged"] == 4
    kernel = "change_head.conv.0.weight"
    assert not torch.equal(net[kernel], average[f"module.{kernel}"])
    torch.testing.assert_close(net[kernel], average[f"module.{kernel}"], rtol=0, atol=1e-2)
    statistics = "change_head.conv.2.running_mean"
    assert bool((average[f"module.{statistics}"] != 0).any())
    assert not torch.equal(net[statistics], average[f"module.{statistics}"])  # averaged as well, not copied


def test_what_is_loaded_is_the_average_in_evaluation_mode(straight: tuple[Path, list[float]]) -> None:
    net, loaded = load_averaged(straight[0] / CHECKPOINT)
    assert isinstance(net, ChangeNet)
    assert loaded == recipe()
    assert not any(module.training for module in net.modules())
    average = state(straight[0])["average"]
    for name, value in net.state_dict().items():
        assert torch.equal(value, average[f"module.{name}"]), name


def test_frozen_stages_keep_their_weights_and_the_rest_learns(straight: tuple[Path, list[float]]) -> None:
    trained, untouched = state(straight[0])["net"], ChangeNet((8, 8, 8), pretrained=True).state_dict()
    for name in ("encoder.stem.0.weight", "encoder.blocks.0.0.conv_dw.weight", "encoder.blocks.1.0.conv_pw.weight"):
        assert torch.equal(trained[name], untouched[name]), name
    for name in ("encoder.blocks.2.0.conv_pw.weight", "encoder.blocks.4.2.conv_pwl.weight"):
        assert not torch.equal(trained[name], untouched[name]), name


def test_decoder_and_encoder_have_rates_of_their_own(straight: tuple[Path, list[float]]) -> None:
    used = recipe()
    factor = learning_rate_factor(used.steps - 1, used)
    groups = state(straight[0])["optimiser"]["param_groups"]
    assert {group["peak"] for group in groups if group["params"]} == {used.lr, used.encoder_lr}
    for group in groups:
        assert group["lr"] == pytest.approx(group["peak"] * factor)
    assert {group["weight_decay"] for group in groups} == {used.weight_decay, 0.0}


def test_the_rate_rises_to_its_peak_and_falls_to_almost_nothing() -> None:
    long = recipe(steps=200, warmup=0.1)
    factors = [learning_rate_factor(step, long) for step in range(200)]
    assert factors[:20] == pytest.approx([(i + 1) / 20 for i in range(20)])
    assert max(factors) == 1
    falling = factors[20:]
    assert falling == sorted(falling, reverse=True)
    assert falling[90] == pytest.approx(0.505)  # half-way down a cosine
    assert 0.01 <= falling[-1] < 0.011


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_extreme_warm_ups_still_give_rates(warmup: float) -> None:
    short = recipe(steps=3, warmup=warmup)
    assert all(0 < learning_rate_factor(step, short) <= 1 for step in range(3))


def test_the_recipe_is_kept_with_the_weights(straight: tuple[Path, list[float]]) -> None:
    assert json.loads(state(straight[0])["recipe"])["sources"] == recipe().sources


@pytest.mark.parametrize("stripped", [False, True])
def test_a_run_can_start_from_the_weights_of_another(
    straight: tuple[Path, list[float]], sets: Path, tmp_path: Path, stripped: bool
) -> None:
    start = straight[0] / CHECKPOINT
    if stripped:  # as released: averaged weights only
        start = tmp_path / "released.pt"
        strip(straight[0] / CHECKPOINT, start)
    still = recipe(steps=1, lr=1e-12, encoder_lr=1e-12, weight_decay=0.0)
    train(still, sets, tmp_path / "run", start=start)
    known = state(straight[0])
    for name, value in state(tmp_path / "run")["net"].items():
        if name.endswith("weight"):
            before = known["average"][f"module.{name}"] if stripped else known["net"][name]
            assert torch.allclose(value, before, atol=1e-6), name


@pytest.mark.parametrize(("clouded", "filled"), [(0.0, True), (0.2, False)])
def test_a_recipe_for_photographs_is_given_neither_fillings_nor_clouds(
    clouded: float, filled: bool, sets: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="recipe for photographs"):
        train(ground_recipe(clouded=clouded), sets, tmp_path / "run", filled=tmp_path if filled else None)
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_taught_clouds_can_start_from_one_that_was_not(
    straight: tuple[Path, list[float]], sets: Path, tmp_path: Path
) -> None:
    start = straight[0] / CHECKPOINT
    still = recipe(steps=1, lr=1e-12, encoder_lr=1e-12, weight_decay=0.0, clouded=0.5)
    train(still, sets, tmp_path / "clouds", start=start)
    weights, known = state(tmp_path / "clouds")["net"], state(start.parent)["net"]
    new = {name for name in weights if name not in known}
    assert {name.split(".")[0] for name in new} == {"cloud_head"}
    assert all(torch.allclose(weights[n], known[n], atol=1e-6) for n in known if n.endswith("weight"))
    assert load_averaged(tmp_path / "clouds" / CHECKPOINT)[0].cloud_head is not None
    train(replace(still, seed=9), sets, tmp_path / "other", start=start)  # of which the mean is to be taken
    other = state(tmp_path / "other")["net"]
    assert all(torch.allclose(other[n], weights[n], atol=1e-6) for n in new if n.endswith("weight"))
    train(still, sets, tmp_path / "on", start=tmp_path / "clouds" / CHECKPOINT)  # and then it keeps what it learnt
    on = state(tmp_path / "on")["net"]
    assert all(torch.allclose(on[n], weights[n], atol=1e-6) for n in new if n.endswith("weight"))


def test_a_run_that_is_not_taught_clouds_can_start_from_one_that_was(sets: Path, tmp_path: Path) -> None:
    train(recipe(steps=1, clouded=0.5), sets, tmp_path / "clouds")
    still = recipe(steps=1, lr=1e-12, encoder_lr=1e-12, weight_decay=0.0)
    train(still, sets, tmp_path / "plain", start=tmp_path / "clouds" / CHECKPOINT)
    weights, known = (state(tmp_path / run)["net"] for run in ("plain", "clouds"))
    assert {name.split(".")[0] for name in known.keys() - weights.keys()} == {"cloud_head"}
    assert all(torch.allclose(weights[n], known[n], atol=1e-6) for n in weights if n.endswith("weight"))


def test_the_mean_of_runs_is_a_run_to_release(straight: tuple[Path, list[float]], sets: Path, tmp_path: Path) -> None:
    train(recipe(seed=5, steps=1), sets, tmp_path / "other", start=straight[0] / CHECKPOINT)
    both = [straight[0] / CHECKPOINT, tmp_path / "other" / CHECKPOINT]
    average_runs(both, tmp_path / "mean" / CHECKPOINT)
    first, second, mean = (load_averaged(path)[0].state_dict() for path in (*both, tmp_path / "mean" / CHECKPOINT))
    name = "change_head.logits.weight"
    assert not torch.equal(first[name], second[name])
    torch.testing.assert_close(mean[name], (first[name] + second[name]) / 2)
    assert load_averaged(tmp_path / "mean" / CHECKPOINT)[1] == recipe()


def test_runs_of_different_networks_have_no_mean(
    straight: tuple[Path, list[float]], sets: Path, tmp_path: Path
) -> None:
    train(recipe(widths=(8, 8, 16), steps=1), sets, tmp_path / "wide")
    with pytest.raises(ValueError, match="same network"):
        average_runs([straight[0] / CHECKPOINT, tmp_path / "wide" / CHECKPOINT], tmp_path / CHECKPOINT)
