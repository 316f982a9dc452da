"""The training loop: resumable, and the same whether it was interrupted or not."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, Subset

from model.network import ChangeNet
from training.loss import DeepSupervision, pair_loss
from training.lowrank import factorised
from training.photographs import PhotographSamples
from training.recipe import Recipe
from training.samples import Samples
from training.teacher import Teacher, distillation_loss

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"


def learning_rate_factor(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then half a cosine to 1 % of the peak."""
    warmup = max(1, round(recipe.warmup * recipe.steps))
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, recipe.steps - warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def _network(recipe: Recipe, *, pretrained: bool = False) -> ChangeNet:
    return ChangeNet(recipe.widths, classes=recipe.classes, clouds=recipe.clouded > 0, pretrained=pretrained)


def _with_heads(average: dict[str, Tensor], recipe: Recipe) -> dict[str, Tensor]:
    """Averaged weights of another run with the heads that the recipe asks for.

    One that it does not ask for is dropped. One that is lacking begins alike whatever the seed, or the mean of runs
    (`average_runs`) would mean nothing there.
    """
    head = "module.cloud_head."
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = {f"module.{name}": value for name, value in _network(recipe).state_dict().items()}
    asked = {name: average.get(name, value) for name, value in fresh.items() if name.startswith(head)}
    return {name: value for name, value in average.items() if not name.startswith(head)} | asked


def _optimiser(net: ChangeNet, deep: DeepSupervision, recipe: Recipe) -> torch.optim.AdamW:
    frozen = nn.ModuleList([net.encoder.stem, *net.encoder.blocks][: recipe.frozen_stages])
    frozen.requires_grad_(False)
    encoder = [p for p in net.encoder.parameters() if p.requires_grad]
    inside = {id(p) for p in net.encoder.parameters()}
    rest = [p for p in net.parameters() if id(p) not in inside] + list(deep.parameters())
    groups = [
        {"params": [p for p in params if (p.ndim > 1) == decays], "lr": lr, "peak": lr,
         "weight_decay": recipe.weight_decay if decays else 0.0}
        for params, lr in ((encoder, recipe.encoder_lr), (rest, recipe.lr))
        for decays in (True, False)
    ]  # fmt: skip
    return torch.optim.AdamW(groups)


def _batches(samples: Dataset[Any], batch: int, first: int, last: int, workers: int) -> Iterator[tuple[Tensor, ...]]:
    """Those of steps `first` (counted from 0) to `last`, itself left out."""
    rest = Subset(samples, range(first * batch, last * batch))
    yield from DataLoader(rest, batch_size=batch, num_workers=workers)


def train(
    recipe: Recipe,
    root: Path,
    out: Path,
    *,
    start: Path | None = None,
    teachers: Sequence[Path] = (),
    filled: Path | None = None,
    workers: int = 0,
    checkpoint_every: int = 100,
    stop_after: int | None = None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> ChangeNet:
    """Run a recipe, or go on with it where `out` holds a checkpoint of it.

    Args:
        root: folder of the labelled sets.
        out: folder of the run: `checkpoint.pt` (replaced atomically) and `log.jsonl`.
        start: checkpoint of an earlier run to take the weights from, instead of ImageNet's; one that tells clouds
            may start one that does not, and the other way. Has no effect on a run that is resumed.
        teachers: ONNX files to learn from besides the labels, with the recipe's `teacher_weight`.
        filled: folder of structures that the sets do not label, to believe as labels (datasets.filled).
        stop_after: leave after this step, as an interruption would.
        on_step: called with step number and loss.

    Returns:
        The network with averaged weights.

    Raises:
        ValueError: `out` holds a checkpoint of another recipe, a teacher is no release, or a recipe for photographs is
            to be given what is for overhead imagery.
    """
    if recipe.domain == "ground" and (filled is not None or recipe.clouded):
        raise ValueError(
            f"{recipe.name} is a recipe for photographs: nothing is filled in for it, and clouds are the sky"
        )
    torch.manual_seed(recipe.seed)
    out.mkdir(parents=True, exist_ok=True)
    net = _network(recipe, pretrained=True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
    average = AveragedModel(net, multi_avg_fn=ema, use_buffers=True)
    deep = DeepSupervision(recipe.widths[1:])
    optimiser = _optimiser(net, deep, recipe)
    step = 0
    if (out / CHECKPOINT).exists():
        state = torch.load(out / CHECKPOINT, map_location="cpu", weights_only=True)
        if state["recipe"] != json.dumps(recipe.as_dict()):
            raise ValueError(f"{out} holds a run of another recipe; give a new folder or remove it")
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        deep.load_state_dict(state["deep"])
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]
        log.info("resuming at step %d", step)
    elif start is not None:
        state = torch.load(start, map_location="cpu", weights_only=True)
        average.load_state_dict(factorised(_with_heads(state["average"], recipe), net))
        # Released checkpoints carry the averaged weights only.
        trained = state.get("net", {})
        net.load_state_dict({name: trained.get(name, value) for name, value in average.module.state_dict().items()})

    def save() -> None:
        state = {"recipe": json.dumps(recipe.as_dict()), "net": net.state_dict(), "step": step,
                 "deep": deep.state_dict(),
                 "average": average.state_dict(), "optimiser": optimiser.state_dict()}  # fmt: skip
        torch.save(state, out / "checkpoint.part")
        (out / "checkpoint.part").replace(out / CHECKPOINT)

    net.train()
    started = time.monotonic()
    first, last = step, recipe.steps if stop_after is None else min(stop_after, recipe.steps)
    count = recipe.steps * recipe.batch
    samples = (
        PhotographSamples(recipe, root, count)
        if recipe.domain == "ground"
        else Samples(recipe, root, count, filled=filled)
    )
    taught_by = Teacher(teachers) if teachers else None
    for before, after, labels in _batches(samples, recipe.batch, first, last, workers):
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * learning_rate_factor(step, recipe)
        layout: dict[str, Any] = {"memory_format": torch.channels_last}
        logits, coarse = net.decode(before.contiguous(**layout), after.contiguous(**layout))
        loss = pair_loss(logits, labels, recipe.structure_weight, recipe.small_weight)
        loss = loss + recipe.auxiliary_weight * deep(coarse, labels[:, 2])
        if taught_by is not None:
            told = (labels[:, 3:] == 0).all(dim=1, keepdim=True) if recipe.clouded else None
            loss = loss + recipe.teacher_weight * distillation_loss(logits, taught_by(before, after), told)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*net.parameters(), *deep.parameters()], 5.0)
        optimiser.step()
        average.update_parameters(net)
        step += 1
        value = float(loss.detach())
        on_step(step, value)
        if step % 20 == 0:
            rate = (step - first) * recipe.batch / (time.monotonic() - started)
            line = {"step": step, "loss": round(value, 4), "pairs_per_s": round(rate, 2)}
            with (out / "log.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
        if step % checkpoint_every == 0 or step == last:
            save()
    return cast("ChangeNet", average.module)


def strip(checkpoint: Path, target: Path) -> None:
    """Keep of a checkpoint what a release and a later `start` need: the averaged weights and the recipe."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    torch.save({"recipe": state["recipe"], "average": state["average"]}, target)


def average_runs(checkpoints: Sequence[Path], target: Path) -> None:
    """Mean of the averaged weights of runs that began with the same ones, as one checkpoint to release.

    Wortsman et al., "Model soups" (ICML 2022): runs from one start that differ in their seed end in one basin, and
    the mean of their weights is better than either.

    Raises:
        ValueError: the runs have different networks.
    """
    states = [torch.load(path, map_location="cpu", weights_only=True) for path in checkpoints]
    averages = [state["average"] for state in states]
    shapes = [{name: tuple(value.shape) for name, value in average.items()} for average in averages]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("only runs of the same network can be averaged; give those of one recipe")
    mean = {
        name: torch.stack([average[name] for average in averages]).mean(dim=0) if first.is_floating_point() else first
        for name, first in averages[0].items()
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"recipe": states[0]["recipe"], "average": mean}, target)


def load_averaged(checkpoint: Path) -> tuple[ChangeNet, Recipe]:
    """The averaged network of a run, in evaluation mode, and its recipe."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    recipe = Recipe.of(json.loads(state["recipe"]))
    net = _network(recipe)
    average = AveragedModel(net, use_buffers=True)
    average.load_state_dict(state["average"])
    return cast("ChangeNet", average.module.eval()), recipe
