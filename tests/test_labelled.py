"""Every documented layout reads, lazily, and no validation tile leaks into training."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets.labelled import IGNORE, LabelledPair, Split, read_set
from datasets.layouts import BESIDE_PX
from tests.miniature import LEVIR_TRAIN, LEVIR_VALIDATION, NODATA

SOURCES = ("levir_cd", "xbd_mexico", "xbd_other", "ida", "banepa", "dubai_coarse")
"""The sets gathered for this project; published layouts are tested in test_layouts.py."""


def names(root: Path, source: str, split: Split) -> list[str]:
    return read_set(root, source, split).names


def both_splits(root: Path, source: str) -> list[LabelledPair]:
    return [*read_set(root, source, "train"), *read_set(root, source, "validation")]


@pytest.mark.parametrize("source", SOURCES)
def test_every_layout_reads_into_pixels_and_labels_of_one_size(sets: Path, source: str) -> None:
    pairs = both_splits(sets, source)
    assert pairs
    for pair in pairs:
        height, width = pair.change.shape
        assert pair.source == source
        assert pair.gsd > 0
        for image in (pair.before, pair.after):
            assert image.shape == (height, width, 3)
            assert image.dtype == np.uint8
        for layer in (pair.structure_before, pair.structure_after, pair.change):
            assert layer.shape == (height, width)
            assert layer.dtype == np.uint8
            assert set(np.unique(layer)) <= {0, 1, IGNORE}


@pytest.mark.parametrize("source", SOURCES)
def test_the_splits_share_nothing_and_leave_nothing_out(sets: Path, source: str) -> None:
    train, validation = names(sets, source, "train"), names(sets, source, "validation")
    layer = "image" if (sets / source / "image").exists() else "before"
    assert not set(train) & set(validation)
    assert sorted(train + validation) == sorted(path.stem for path in (sets / source / layer).iterdir())


def test_levir_validates_on_the_tiles_held_out_by_number(sets: Path) -> None:
    assert sorted(names(sets, "levir_cd", "validation")) == sorted(LEVIR_VALIDATION)
    assert sorted(names(sets, "levir_cd", "train")) == sorted(LEVIR_TRAIN)


def test_levir_holds_out_10_to_14_and_17_only(tmp_path: Path) -> None:
    for i in range(1, 35):
        for layer in ("before", "after", "changed"):
            path = tmp_path / "levir_cd" / layer / f"test_{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (16, 16)).save(path)
    held = {f"test_{i}" for i in (10, 11, 12, 13, 14, 17)}
    assert set(names(tmp_path, "levir_cd", "validation")) == held
    assert len(names(tmp_path, "levir_cd", "train")) == 34 - 6


def test_elsewhere_every_fifth_name_validates(sets: Path) -> None:
    everything = sorted(path.stem for path in (sets / "xbd_mexico" / "before").iterdir())
    assert names(sets, "xbd_mexico", "validation") == [everything[0], everything[5]]
    assert names(sets, "banepa", "validation") == ["tile_00"]


def test_levir_structures_are_known_only_at_and_around_what_changed(sets: Path) -> None:
    far = 0
    for pair in read_set(sets, "levir_cd", "train"):
        changed = pair.change == 1
        assert changed.any()
        assert set(np.unique(pair.change)) == {0, 1}
        assert (pair.structure_before[changed] == 0).all()  # growth: bare before ...
        assert (pair.structure_after[changed] == 1).all()  # ... built after
        distance = cv2.distanceTransform((~changed).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        around, beyond = ~changed & (distance < BESIDE_PX - 1), distance > BESIDE_PX + 1
        assert around.any()
        assert (pair.structure_before[~changed] == IGNORE).all()
        assert (pair.structure_after[around] == 0).all()  # a garden
        assert (pair.structure_after[beyond] == IGNORE).all()
        far += int(beyond.sum())
    assert far


def test_leaning_roofs_are_not_change(sets: Path) -> None:
    pair = read_set(sets, "ida", "train")[0]
    assert (pair.structure_before != pair.structure_after).any()
    assert not pair.change.any()


def test_black_borders_are_ignored_not_called_clear(sets: Path) -> None:
    pair = read_set(sets, "xbd_mexico", "train")[0]
    assert (pair.structure_after[:, :NODATA] == IGNORE).all()
    assert (pair.change[:, :NODATA] == IGNORE).all()
    assert (pair.structure_before[:, :NODATA] != IGNORE).all()  # the earlier date was seen there
    inside = slice(NODATA, None)
    assert (pair.structure_after[:, inside] != IGNORE).all()
    assert (pair.change[:, inside] == 0).all()


def test_black_borders_of_single_dates_are_ignored(sets: Path, tmp_path: Path) -> None:
    folder = tmp_path / "banepa"
    shutil.copytree(sets / "banepa", folder)
    path = folder / "image" / "tile_01.jpg"
    with Image.open(path) as image:
        pixels = np.array(image)
    pixels[:32] = 0
    Image.fromarray(pixels).save(path, quality=95, subsampling=0)
    pair = read_set(tmp_path, "banepa", "train")[0]
    assert (pair.structure_before[:32] == IGNORE).all()
    assert (pair.structure_before[32:] != IGNORE).all()


def test_a_single_date_is_both_dates_of_a_pair_without_change(sets: Path) -> None:
    pair = read_set(sets, "banepa", "train")[0]
    assert pair.single_date
    assert (pair.before == pair.after).all()
    assert (pair.structure_before == pair.structure_after).all()
    assert pair.structure_before.any()
    assert not pair.change.any()


def test_coarse_labels_are_believed_where_they_call_it_ground(sets: Path) -> None:
    """They fill the gaps between houses."""
    pair = read_set(sets, "dubai_coarse", "train")[0]
    assert pair.single_date
    assert not pair.structures_known  # so nothing is cut out of it, or pasted into it
    assert set(np.unique(pair.structure_before)) == {0, IGNORE}
    assert (pair.structure_before == pair.structure_after).all()
    assert (pair.change == 0).all()


def test_pairs_are_read_in_the_order_of_their_names(sets: Path) -> None:
    read = names(sets, "xbd_mexico", "train")
    assert read == sorted(read)


def test_colours_come_as_rgb(tmp_path: Path) -> None:
    folder = tmp_path / "dubai_coarse"
    for name in ("a", "b"):
        for layer, image in (
            ("image", Image.new("RGB", (16, 16), (200, 30, 10))),
            ("structures", Image.new("L", (16, 16))),
        ):
            (folder / layer).mkdir(parents=True, exist_ok=True)
            image.save(folder / layer / f"{name}.png")
    pixel = read_set(tmp_path, "dubai_coarse", "train")[0].before[0, 0]
    assert pixel.tolist() == [200, 30, 10]


def test_an_unknown_set_is_refused_with_the_known_ones(sets: Path) -> None:
    with pytest.raises(KeyError, match="levir_cd"):
        read_set(sets, "levir", "train")


@pytest.mark.parametrize("layer", ["before", "after", "changed"])
def test_a_missing_layer_is_named(sets: Path, tmp_path: Path, layer: str) -> None:
    shutil.copytree(sets / "levir_cd", tmp_path / "levir_cd", ignore=shutil.ignore_patterns(layer))
    with pytest.raises(FileNotFoundError, match=rf"levir_cd.{layer} holds no images.*layout"):
        read_set(tmp_path, "levir_cd", "train")


def test_a_scene_missing_from_one_layer_is_named(sets: Path, tmp_path: Path) -> None:
    shutil.copytree(sets / "ida", tmp_path / "ida", ignore=shutil.ignore_patterns("structures_after"))
    shutil.copytree(
        sets / "ida" / "structures_after",
        tmp_path / "ida" / "structures_after",
        ignore=shutil.ignore_patterns("AOI2*"),
    )
    with pytest.raises(FileNotFoundError, match=r"structures_after has no AOI2"):
        read_set(tmp_path, "ida", "train")


def test_names_and_what_is_known_are_told_without_reading(sets: Path, tmp_path: Path) -> None:
    shutil.copytree(sets / "banepa", tmp_path / "banepa")
    for path in (tmp_path / "banepa" / "image").iterdir():
        path.write_bytes(b"not an image")
    read = read_set(tmp_path, "banepa", "train")
    assert read.names == ["tile_01", "tile_02"]
    assert [(e.gsd, e.single_date, e.structures_known) for e in read.entries] == [(0.27, True, True)] * 2


def test_a_pair_is_read_once_and_kept(sets: Path, tmp_path: Path) -> None:
    shutil.copytree(sets / "ida", tmp_path / "ida")
    read = read_set(tmp_path, "ida", "train")
    first = read[0]
    shutil.rmtree(tmp_path / "ida")
    assert read[0] is first
    assert read[-1] is first


def test_the_budget_keeps_the_pairs_used_last(sets: Path) -> None:
    size = read_set(sets, "xbd_mexico", "train")[0].nbytes
    assert size == 96 * 96 * 9
    read = read_set(sets, "xbd_mexico", "train", cache_bytes=2 * size)
    first, second = read[0], read[1]
    assert read[0] is first
    third = read[2]  # the second one has to go
    assert read[0] is first
    assert read[2] is third
    assert read[1] is not second
    assert (read[1].before == second.before).all()


def test_a_single_date_weighs_once(sets: Path) -> None:
    assert read_set(sets, "banepa", "train")[0].nbytes == 96 * 96 * 5


def test_without_a_budget_nothing_is_kept(sets: Path) -> None:
    read = read_set(sets, "ida", "train", cache_bytes=0)
    assert read[0] is not read[0]


def test_a_set_goes_to_a_worker_without_its_pixels(sets: Path) -> None:
    read = read_set(sets, "xbd_mexico", "train")
    plain = pickle.dumps(read)
    pixels = [pair.before for pair in read]
    packed = pickle.dumps(read)
    assert len(packed) == len(plain) < pixels[0].nbytes
    assert all((pair.before == before).all() for pair, before in zip(pickle.loads(packed), pixels, strict=True))


def test_a_set_can_be_sliced_and_ends(sets: Path) -> None:
    read = read_set(sets, "xbd_mexico", "train")
    assert read[1:3].names == read.names[1:3]
    assert [pair.name for pair in read[1:3]] == read.names[1:3]
    with pytest.raises(IndexError):
        read[len(read)]


def test_a_mask_of_another_size_is_named_with_both_sizes(sets: Path, tmp_path: Path) -> None:
    shutil.copytree(sets / "ida", tmp_path / "ida")
    Image.new("L", (90, 96)).save(tmp_path / "ida" / "structures_after" / "AOI2.png")
    with pytest.raises(ValueError, match=r"structures_after.AOI2\.png has 90 x 96 px.*96 x 96.*one grid"):
        read_set(tmp_path, "ida", "train")[0]


def test_a_later_image_of_another_size_is_named(sets: Path, tmp_path: Path) -> None:
    shutil.copytree(sets / "ida", tmp_path / "ida")
    Image.new("RGB", (96, 90)).save(tmp_path / "ida" / "after" / "AOI2.jpg")
    with pytest.raises(ValueError, match=r"after.AOI2\.jpg has 96 x 90 px"):
        read_set(tmp_path, "ida", "train")[0]


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"cut"], ids=["empty", "broken", "cut off"])
def test_a_file_that_cannot_be_decoded_is_named(sets: Path, tmp_path: Path, content: bytes) -> None:
    shutil.copytree(sets / "ida", tmp_path / "ida")
    path = tmp_path / "ida" / "after" / "AOI2.jpg"
    path.write_bytes(path.read_bytes()[:1000] if content == b"cut" else content)
    with pytest.raises(ValueError, match=r"AOI2\.jpg cannot be read .*copy it"):
        read_set(tmp_path, "ida", "train")[0]


def test_a_whole_mosaic_is_refused_before_it_is_decoded(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.pairs._MAX_PX", 96 * 96 - 1)
    with pytest.raises(ValueError, match=r"AOI2\.jpg is a whole mosaic; cut .* into tiles"):
        read_set(sets, "ida", "train")[0]


def test_masks_of_0_and_1_read_as_those_of_0_and_255(sets: Path, tmp_path: Path) -> None:
    shutil.copytree(sets / "ida", tmp_path / "ida")
    path = tmp_path / "ida" / "structures_after" / "AOI2.png"
    with Image.open(path) as image:
        Image.fromarray(np.array(image) // 255).save(path)
    theirs, ours = read_set(sets, "ida", "train")[0], read_set(tmp_path, "ida", "train")[0]
    assert (theirs.structure_after == ours.structure_after).all()
    assert ours.structure_after.any()


def test_a_set_with_nothing_left_to_train_on_is_refused(tmp_path: Path) -> None:
    for layer in ("image", "structures"):
        (tmp_path / "banepa" / layer).mkdir(parents=True)
        Image.new("L", (16, 16)).save(tmp_path / "banepa" / layer / "only.png")
    with pytest.raises(ValueError, match=r"banepa has no scene to train on.*leave 'banepa' out of the recipe"):
        read_set(tmp_path, "banepa", "train")
    assert read_set(tmp_path, "banepa", "validation").names == ["only"]
