"""Real clouds, none of them labelled in training: how much of them is seen, and what is taken for cloud that is none.

    python -m tests.benchmarks.clouds --data DATA [--weights FOLDER]

The sets hold seven thick clouds and five thin ones, outlined here by eye. All other validation pictures are free of
cloud, and so is Dubai, training pictures included, whose bright bare ground looks most like it.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from datasets.labelled import IGNORE, LabelledPair, read_set
from inference.clouds import hidden
from inference.tiling import predict_tiled
from tests.benchmarks.asked import data_and_model
from training.metrics import Scores, score

Box = tuple[int, int, int, int]
THICK: dict[tuple[str, str, int], list[Box]] = {
    ("ida", "AOI1-tile_1-3", 1): [(120, 850, 300, 170)],
    ("ida", "AOI1-tile_1-4", 1): [(170, 60, 200, 180)],
    ("xbd_other", "guatemala-volcano_00000010", 0): [(420, 300, 420, 700)],
    ("xbd_other", "guatemala-volcano_00000010", 1): [(250, 780, 170, 110)],
    ("xbd_other", "guatemala-volcano_00000002", 1): [(0, 100, 280, 560), (730, 770, 130, 130)],
    ("xbd_mexico", "mexico-earthquake_00000034", 1): [(300, 350, 90, 150)],
}
"""Set, picture, date -> left, top, width, height of boxes that cloud fills, nothing of the ground in sight."""
THIN: dict[tuple[str, str, int], list[Box]] = {
    ("ida", "AOI1-tile_1-4", 1): [(300, 430, 110, 90)],
    ("xbd_other", "guatemala-volcano_00000010", 1): [(170, 190, 110, 120), (240, 420, 280, 190)],
    ("xbd_mexico", "mexico-earthquake_00000185", 1): [(135, 350, 70, 60)],
    ("xbd_mexico", "mexico-earthquake_00000181", 1): [(0, 40, 100, 80)],
}
"""The same of clouds through which some ground can be seen."""
SETS = ("levir_cd", "xbd_mexico", "xbd_other", "ida", "banepa", "dubai_coarse")


def lost(pair: LabelledPair, clouds: NDArray[np.bool_]) -> Scores:
    """Labelled structures of both dates, and changes: `found` are those of which a tenth is taken for cloud."""
    total = Scores()
    for labels, cloud in ((pair.structure_before, clouds[0]), (pair.structure_after, clouds[1])):
        total += score(cloud, np.where(labels == 1, 1, IGNORE).astype(np.uint8), pair.gsd)
    return total + score(clouds[0] | clouds[1], np.where(pair.change == 1, 1, IGNORE).astype(np.uint8), pair.gsd)


def main() -> None:
    data, model = data_and_model()
    threshold = model.contract.cloud
    if threshold is None:
        raise SystemExit("these weights tell no clouds")
    cloudy = {(source, name) for source, name, _ in (*THICK, *THIN)}
    false: defaultdict[str, int] = defaultdict(int)
    pixels: defaultdict[str, int] = defaultdict(int)
    objects: defaultdict[str, Scores] = defaultdict(Scores)
    for source in SETS:
        for split in ("train", "validation"):
            for pair in read_set(data, source, split):
                known = (source, pair.name) in cloudy
                if not known and split == "train" and source != "dubai_coarse":
                    continue
                clouds = hidden(predict_tiled(model.probabilities, pair.before, pair.after)[3:], threshold)
                if not known:
                    false[source] += int(clouds.sum())
                    pixels[source] += clouds.size
                    objects[source] += lost(pair, clouds)
                    continue
                for kind, places in (("thick", THICK), ("thin", THIN)):
                    for date in (0, 1):
                        for x, y, w, h in places.get((source, pair.name, date), []):
                            share = clouds[date, y : y + h, x : x + w].mean()
                            size = f"{w} x {h} px"
                            print(f"{kind:5} cloud, {source} {pair.name}: {100 * share:.1f} % of {size} seen")
    for source in pixels:
        found, mpx = objects[source], pixels[source] / 1e6
        print(
            f"free of cloud, {source:12}: {false[source] / mpx / 1e4:.3f} % of {mpx:.0f} Mpx taken for cloud,"
            f" with them {found.found} of {found.objects} structures and changes"
        )


if __name__ == "__main__":
    main()
