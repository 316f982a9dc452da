"""Patches traced a few rows at a time are those of the whole picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from inference.findings import Layers
from inference.model import Contract
from inference.scan import trace as module
from inference.scan.trace import Patch, trace
from inference.scan.window import LEVELS
from inference.vectorise import classify
from model import OUTPUTS
from model.decision import MIN_OBJECT_PX, inner_means

CONTRACT = Contract(
    multiple_of=16,
    gsd_range_m=(0.25, 1.2),
    temperature=dict.fromkeys(OUTPUTS, 1.0),
    threshold={"structure_before": 0.4, "structure_after": 0.4, "change": 0.45},
    change_peak=0.7,
    change_mean=0.6,
    area_error_px=0.5,
)
RIMMED = replace(CONTRACT, change_mean=0.7, change_rim=2)


def blobs(seed: int, height: int = 160, width: int = 120) -> NDArray[np.uint8]:
    """(4, H, W): smooth probabilities with patches of every size, some with a peak, and holes of nodata."""
    rng = np.random.default_rng(seed)
    layers = []
    for sigma in (4, 4, 5):
        noise = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), sigma)
        layers.append(np.clip(0.42 + 0.22 * noise / noise.std(), 0, 1))
    coverage = np.ones((height, width))
    coverage[70:75, 30:60] = 2
    levels = np.rint(np.stack(layers) * LEVELS).astype(np.uint8)
    return np.concatenate([levels, coverage[None].astype(np.uint8)])


def traced(
    layers: NDArray[np.uint8], rows: int, monkeypatch: pytest.MonkeyPatch, contract: Contract = CONTRACT
) -> list[Patch]:
    monkeypatch.setattr(module, "_PIXELS_AT_ONCE", rows * layers.shape[2])
    found = trace(lambda top, bottom: layers[:, top:bottom], *layers.shape[1:], contract)
    return sorted(found, key=lambda patch: patch.rank)


def burnt(patches: list[Patch], kind: str, shape: tuple[int, int]) -> Any:
    from rasterio.features import rasterize

    shapes = [(p.polygon, 1) for p in patches if p.kind == kind]
    return rasterize(shapes, out_shape=shape).astype(bool) if shapes else np.zeros(shape, bool)


@pytest.mark.parametrize("contract", [CONTRACT, RIMMED], ids=["whole", "rim"])
@pytest.mark.parametrize("seed", range(4))
def test_they_cover_what_classifying_the_whole_picture_covers(
    seed: int, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = blobs(seed)
    whole = classify(Layers(*(layers[:3].astype(np.float32) / LEVELS)), layers[3] == 1, contract)
    patches = traced(layers, 16, monkeypatch, contract)
    for kind in ("new", "remaining", "removed"):
        mask = getattr(whole, kind)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        large = stats[:, cv2.CC_STAT_AREA] >= MIN_OBJECT_PX
        large[0] = False
        assert np.array_equal(burnt(patches, kind, mask.shape), large[labels])
        assert sum(p.kind == kind for p in patches) == large.sum()
        said = np.minimum(layers[0], layers[1]) if kind == "remaining" else layers[2]
        means = inner_means(said.astype(np.float32) / LEVELS, labels, len(large), contract.change_rim)
        stated = [p.probability for p in patches if p.kind == kind]
        assert np.allclose(sorted(stated), sorted(means[large]))


@pytest.mark.parametrize("contract", [CONTRACT, RIMMED], ids=["whole", "rim"])
@pytest.mark.parametrize("rows", [16, 17, 50])
def test_it_does_not_matter_where_the_rows_are_cut(
    rows: int, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = blobs(7)
    a, b = traced(layers, 160, monkeypatch, contract), traced(layers, rows, monkeypatch, contract)
    assert len(a) > 10
    assert [(p.kind, p.probability) for p in a] == [(p.kind, p.probability) for p in b]
    for p, q in zip(a, b, strict=True):
        assert p.polygon.equals(q.polygon)
        assert len(p.polygon.wkb) == len(q.polygon.wkb)
    assert all(p.polygon.is_valid for p in b)


def plain(height: int = 64, width: int = 64) -> NDArray[np.uint8]:
    layers = np.zeros((4, height, width), np.uint8)
    layers[3] = 1
    return layers


def test_a_peak_anywhere_in_a_patch_keeps_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = plain()
    layers[1:3, 4:60, 10:14] = 160
    assert not traced(layers, 16, monkeypatch)
    layers[2, 50:56, 10:14] = 240
    (patch,) = traced(layers, 16, monkeypatch)
    assert patch.polygon.equals(shapely.box(10, 4, 14, 60))
    assert patch.kind == "new"


def test_a_patch_counts_by_the_mean_of_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = plain()
    layers[1:3, 4:60, 10:14] = 120
    layers[2, 4:12, 10:14] = 240
    assert not traced(layers, 16, monkeypatch)  # a peak, but 0.54 on average
    layers[2, 12:24, 10:14] = 240
    (patch,) = traced(layers, 16, monkeypatch)
    assert patch.polygon.equals(shapely.box(10, 4, 14, 60))


def test_the_mean_leaves_out_a_rim_that_lies_in_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = plain()
    layers[1:3, 14:34, 10:30] = 120
    layers[2, 16:32, 12:28] = 240  # from the first row of a run on: the rim is in the one before
    assert traced(layers, 16, monkeypatch, replace(RIMMED, change_mean=0.9))
    assert not traced(layers, 16, monkeypatch, replace(RIMMED, change_mean=0.9, change_rim=1))


def test_the_direction_is_decided_for_the_whole_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = plain()
    layers[2, 4:60, 10:20] = 240
    layers[1, 4:60, 10:20] = 240
    layers[0, 4:12, 10:20] = 250  # an eighth of it points the other way
    (patch,) = traced(layers, 16, monkeypatch)
    assert (patch.kind, patch.polygon.area) == ("new", 560)


def test_parts_that_meet_in_a_corner_are_one_patch_and_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = plain()
    for top, left in ((8, 8), (16, 16)):  # the seam of the rows runs through the corner
        layers[1:3, top : top + 8, left : left + 8] = 240
    (patch,) = traced(layers, 16, monkeypatch)
    assert patch.polygon.is_valid
    assert patch.polygon.geom_type == "MultiPolygon"
    assert patch.polygon.area == 128


def test_a_ring_keeps_its_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = plain()
    layers[1:3, 8:56, 8:56] = 240
    layers[1:3, 20:44, 20:44] = 0
    (patch,) = traced(layers, 16, monkeypatch)
    assert patch.polygon.equals(shapely.box(8, 8, 56, 56) - shapely.box(20, 20, 44, 44))


def test_the_probability_is_the_mean_over_all_of_the_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = plain()
    layers[1, 4:60, 10:20] = 240
    layers[2, 4:32, 10:20], layers[2, 32:60, 10:20] = 254, 127
    (patch,) = traced(layers, 16, monkeypatch)
    assert patch.probability == pytest.approx(0.75)


def test_the_probability_leaves_out_the_rim(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = plain()
    layers[1:3, 14:34, 10:30] = 127
    layers[2, 16:32, 12:28] = 254  # from the first row of a run on: the rim is in the one before
    (patch,) = traced(layers, 16, monkeypatch, RIMMED)
    assert patch.probability == pytest.approx(1)
    assert patch.polygon.area == 400


def test_nothing_is_found_where_nothing_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = plain()
    layers[:3] = 255
    layers[3] = 2
    assert not traced(layers, 16, monkeypatch)
