"""How many small sheds the overhead weights find, by the colour of the roof.

    python -m tests.benchmarks.sheds --data DATA [--weights FOLDER]

Most illegal sheds have roofs of coloured steel sheet, which hardly a house in the sets has. Pieces of real roofs, 7 to
20 px a side, are painted and pasted into held-out scenes in which nothing changed, otherwise as they were published
(tests.benchmarks.planted draws them hazy, dark or blurred as training does, some past seeing). One counts as found if
what is decided to be change covers 10 % of it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from datasets.labelled import LabelledPair, read_set
from inference.model import Model
from model.decision import hysteresis
from model.vision import tv_tensors
from tests.benchmarks.asked import data_and_model
from tests.benchmarks.planted import by_size
from training.augment import Sample
from training.composite import SHEET_METAL, composite, paint_roof
from training.metrics import score

SETS, CROPS, SIDE = ("xbd_mexico", "xbd_other", "ida", "banepa"), 40, 256
SIZES_PX = ((30, 100), (100, 250))


def main() -> None:
    data, model = data_and_model()
    for name, colour in {"as they are": None, **SHEET_METAL}.items():
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        planted, false = np.zeros((2, len(SIZES_PX)), dtype=np.int64), 0
        for source in SETS:
            pairs = read_set(data, source, "validation")
            for i in range(CROPS):
                base = _crop(pairs[i % len(pairs)], rng)
                sheds, wrong = _found(model, base, composite(base, _donor(base, colour), sheds=1.0))
                planted, false = planted + sheds, false + wrong
        sizes = [
            f"{n} of {there} of {low} to {high} px" for (low, high), there, n in zip(SIZES_PX, *planted, strict=True)
        ]
        print(f"{name:12} " + ", ".join(sizes) + f"; {false} false")


def _crop(pair: LabelledPair, rng: np.random.Generator) -> Sample:
    height, width = pair.change.shape
    top, left = rng.integers(0, height - SIDE + 1), rng.integers(0, width - SIDE + 1)
    cut = np.s_[top : top + SIDE, left : left + SIDE]
    layers = np.stack([layer[cut] for layer in (pair.structure_before, pair.structure_after, pair.change)])
    return {
        "before": _image(pair.before[cut]),
        "after": _image(pair.after[cut]),
        "labels": tv_tensors.Mask(torch.from_numpy(layers)),
    }


def _image(pixels: NDArray[np.uint8]) -> tv_tensors.Image:
    return tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))))


def _donor(base: Sample, colour: tuple[int, int, int] | None) -> Sample:
    """The crop itself, its roofs in another colour."""
    pixels, roofs = base["before"].numpy().transpose(1, 2, 0), base["labels"][0].numpy() == 1
    if colour is not None and roofs.any():
        pixels = paint_roof(pixels, roofs, np.array(colour, dtype=np.float32))
    return {**base, "before": _image(pixels)}


def _found(model: Model, base: Sample, sample: Sample) -> tuple[NDArray[np.int64], int]:
    """How many sheds were pasted and found, (2, sizes), and false changes."""
    contract = model.contract
    seen = model.probabilities(*(sample[date].numpy()[None] for date in ("before", "after")))[0, 2]
    changed = hysteresis(seen, contract.threshold["change"], *contract.change_least)
    truth, stood = sample["labels"][2].numpy(), (base["labels"].numpy() == 1).any(axis=0)
    counts = score(changed, truth, 1.0)
    sheds = by_size(truth == 1, (changed,), SIZES_PX, without=stood)  # what was covered is no shed
    return sheds, counts.predicted - counts.right


if __name__ == "__main__":
    main()
