"""A recipe: everything a training run depends on besides the data, as one small TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training run.

    Attributes:
        name: of the recipe and its runs.
        domain: `overhead` or `ground`.
        sources: set name -> relative weight of its pairs.
        mix: kind of sample (`real`, `composite`, `unrelated`, `same`; see training.samples) -> relative weight.
        steps, batch, crop: length of the run, pairs per step, side of a crop in pixels.
        scale: range of the side of the cut square relative to `crop`, used for half of the samples; for `ground` of the
            long side of a picture relative to the one it is scored at (training.photographs.LONG_SIDE).
        aim_at_change: share of the crops of real pairs that are aimed at labelled change.
        misaligned, max_shift: share of the samples with one date displaced, and by how many pixels at most.
        sheds: share of the structures pasted into `composite` samples that are as small as sheds.
        yards: share of what is pasted into them that brings ground around it.
        painted: share of what is pasted into them that gets a roof of coloured steel sheet, and of the samples in which
            some standing roofs do.
        cluttered: share of the samples with painted clutter that is no structure.
        restyled: share of the dates in colours and sharpness of another sensor.
        clouded: share of the samples with a painted cloud; with any, the network tells clouds.
        auxiliary_weight: weight of the change losses at strides 8 and 16 (deep supervision).
        teacher_weight: weight of what a teacher says, in a run that is given one (training.teacher).
        lr, encoder_lr: peak learning rates of decoder and encoder.
        weight_decay, warmup: AdamW's decay; share of the run spent raising the rate.
        ema: decay of the moving average of the weights, which is what is released.
        structure_weight: weight of the structure losses next to the change loss.
        small_weight: how much more a pixel of a small change may weigh than one of a house (training.loss).
        frozen_stages: stages of the encoder, counted from the image, that keep their ImageNet weights.
        widths: decoder channels at strides 4, 8 and 16.
        classes: what is told apart at each date: 1 for overhead imagery, the five of datasets.photographs for `ground`.
        seed: of everything random.
    """

    name: str
    domain: str = "overhead"
    sources: dict[str, float] = field(default_factory=dict)
    mix: dict[str, float] = field(default_factory=lambda: {"real": 1.0})
    steps: int = 1000
    batch: int = 8
    crop: int = 256
    scale: tuple[float, float] = (0.7, 1.4)
    aim_at_change: float = 0.6
    misaligned: float = 0.0
    max_shift: int = 8
    sheds: float = 0.0
    yards: float = 0.0
    painted: float = 0.0
    cluttered: float = 0.0
    restyled: float = 0.0
    clouded: float = 0.0
    auxiliary_weight: float = 0.0
    teacher_weight: float = 0.0
    lr: float = 1e-3
    encoder_lr: float = 3e-4
    weight_decay: float = 0.01
    warmup: float = 0.05
    ema: float = 0.995
    structure_weight: float = 0.5
    small_weight: float = 1.0
    frozen_stages: int = 0
    widths: tuple[int, int, int] = (48, 64, 96)
    classes: int = 1
    seed: int = 0

    @classmethod
    def of(cls, values: dict[str, Any]) -> Recipe:
        """From what `as_dict` gave, also by way of TOML or JSON, which know no tuples."""
        known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**known)

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a TOML file.

        Raises:
            ValueError: the file has a key this class does not know, or lacks `sources`.
        """
        with path.open("rb") as file:
            values: dict[str, Any] = tomllib.load(file)
        values.setdefault("name", path.stem)
        try:
            recipe = cls.of(values)
        except TypeError as error:
            raise ValueError(f"{path}: {error}; known keys are those of training.recipe.Recipe") from None
        if not recipe.sources:
            raise ValueError(f"{path}: a recipe names at least one set under [sources]")
        return recipe

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
