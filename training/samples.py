"""The stream of training samples: sample i of a run is a function of (recipe, seed, i) alone.

That makes a resumed run see exactly what an uninterrupted one would have seen. Four kinds of sample are
drawn, mixed as the recipe says:

- `real`: a pair as photographed.
- `unrelated`: two single dates from different places; what stands in one and not in the other is change
  (STAR: Zheng et al., "Change is Everywhere", ICCV 2021, arXiv 2108.07002).
- `composite`: structures pasted into and removed from a pair (training.composite).
- `same`: one date twice under different light: nothing changed.

Any of them may have one date displaced against the other (`misaligned`) and things on the ground that are no
structures (`cluttered`, training.clutter), or a cloud over it (`clouded`, training.clouds).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datasets.labelled import IGNORE, LabelledPair, Split, read_set
from model import DATES
from model.vision import tv_tensors
from training.augment import Sample, augment, chance, choose, crop, misalign, randint, uniform
from training.clouds import with_clouds
from training.clutter import clutter
from training.composite import composite
from training.recipe import Recipe

KINDS = ("real", "composite", "unrelated", "same")


def _sample(pair: LabelledPair) -> Sample:
    labels = np.stack([pair.structure_before, pair.structure_after, pair.change])
    return {
        "before": tv_tensors.Image(torch.from_numpy(pair.before).permute(2, 0, 1)),
        "after": tv_tensors.Image(torch.from_numpy(pair.after).permute(2, 0, 1)),
        "labels": tv_tensors.Mask(torch.from_numpy(labels)),
    }


def _one_date(sample: Sample, date: int) -> Sample:
    """The given date (0 or 1) of a pair, as a pair with itself."""
    image, layer = sample["before" if date == 0 else "after"], sample["labels"][date]
    change = torch.zeros_like(layer)
    return {"before": image, "after": image, "labels": tv_tensors.Mask(torch.stack([layer, layer, change]))}


def pair_unrelated(a: Sample, b: Sample) -> Sample:
    """Before from `a`, after from `b`; change is the xor of their structures."""
    sa, sb = a["labels"][0], b["labels"][1]
    unknown = (sa == IGNORE) | (sb == IGNORE)
    change = torch.where(unknown, IGNORE, sa ^ sb).to(torch.uint8)
    return {
        "before": a["before"],
        "after": b["after"],
        "labels": tv_tensors.Mask(torch.stack([sa, sb, change])),
    }


class Samples(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Augmented crops: (before, after, labels), each (3, size, size) uint8.

    Labels are structure_before, structure_after and change; of a recipe with clouds (5, size, size), cloud_before and
    cloud_after besides.

    Args:
        recipe: sources with their weights, mix of kinds, crop size and scale range.
        root: folder that holds the sets.
        length: number of samples in the run.
        split: of the sets; what is held out is for measuring.
        filled: folder of structures that sets do not label (datasets.filled).

    Raises:
        ValueError: the mix names an unknown kind, or one for which the sources know too little.
    """

    def __init__(
        self, recipe: Recipe, root: Path, length: int, split: Split = "train", *, filled: Path | None = None
    ) -> None:
        if unknown := set(recipe.mix) - set(KINDS):
            raise ValueError(f"unknown kind of sample: {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}")
        self.recipe, self.length = recipe, length
        self.sets = {source: read_set(root, source, split, mended=True, filled=filled) for source in recipe.sources}
        self.known = [  # pairs whose structures are known throughout
            (source, i)
            for source, pairs in self.sets.items()
            for i, e in enumerate(pairs.entries)
            if e.structures_known
        ]
        self.dated = [  # the same, date by date
            (source, i, date)
            for source, i in self.known
            for date in ((0,) if self.sets[source].entries[i].single_date else (0, 1))
        ]
        self._cells: dict[tuple[str, int, str], list[tuple[int, int]]] = {}
        if not self.dated and {"unrelated", "composite"} & set(recipe.mix):
            raise ValueError("the mix needs a source whose structures are known throughout (see datasets/README.md)")

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed * 1_000_003 + index)
            sample = self._draw()
            if chance(self.recipe.misaligned):
                sample = misalign(sample, self.recipe.max_shift)
            if chance(self.recipe.cluttered):
                sample = clutter(sample)
            if self.recipe.clouded:
                sample = with_clouds(sample, self.recipe.clouded)
            sample = augment(sample, self.recipe.restyled)
        before, after, labels = (torch.Tensor(sample[k]).to(torch.uint8) for k in ("before", "after", "labels"))
        return before, after, labels

    def _draw(self) -> Sample:
        mix = self.recipe.mix
        kind = choose(mix)
        if kind == "composite":
            base = self._crop(self._pair(*self.known[randint(0, len(self.known) - 1)]))
            recipe = self.recipe
            return composite(base, self._date(aimed=True), recipe.sheds, recipe.yards, recipe.painted)
        if kind == "unrelated":
            return pair_unrelated(self._date(), self._date())
        source = choose(self.recipe.sources)
        index = randint(0, len(self.sets[source]) - 1)
        sample = self._pair(source, index)
        if kind == "same":
            return self._crop(_one_date(sample, randint(0, 1)))
        return self._crop(sample, self._aims(source, index, "change") if chance(self.recipe.aim_at_change) else [])

    def _pair(self, source: str, index: int) -> Sample:
        return _sample(self.sets[source][index])

    def _date(self, *, aimed: bool = False) -> Sample:
        """A crop of one date whose structures are known, as a pair with itself; `aimed` at one of them."""
        source, index, date = self.dated[randint(0, len(self.dated) - 1)]
        cells = self._aims(source, index, DATES[date]) if aimed else []
        return self._crop(_one_date(self._pair(source, index), date), cells)

    def _aims(self, source: str, index: int, layer: str) -> list[tuple[int, int]]:
        key = source, index, layer
        if key not in self._cells:
            self._cells[key] = _cells(torch.from_numpy(getattr(self.sets[source][index], layer)))
        return self._cells[key]

    def _crop(self, sample: Sample, cells: list[tuple[int, int]] | None = None) -> Sample:
        """A random square, around one of `cells` if there are any, resampled to the recipe's crop size."""
        h, w = sample["labels"].shape[-2:]
        low, high = self.recipe.scale
        size = self.recipe.crop
        side = min(round(size * uniform(low, high)) if chance(0.5) else size, h, w)
        if cells:
            y, x = cells[randint(0, len(cells) - 1)]
            top = min(max(y - randint(0, side), 0), h - side)
            left = min(max(x - randint(0, side), 0), w - side)
        else:
            top, left = randint(0, h - side), randint(0, w - side)
        return crop(sample, top, left, side, size)


def _cells(labels: Tensor, cell: int = 32) -> list[tuple[int, int]]:
    """Centres (y, x) of the cells that hold what is labelled, so that crops can be aimed at it."""
    h, w = (n // cell * cell for n in labels.shape)
    blocks = (labels[:h, :w] == 1).reshape(h // cell, cell, w // cell, cell).any(dim=3).any(dim=1)
    return [(int(y) * cell + cell // 2, int(x) * cell + cell // 2) for y, x in blocks.nonzero()]
