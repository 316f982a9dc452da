"""Public sets read as they are published: what came, went and stayed is told as far as the set tells it."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from shapely.geometry import Polygon, box

from datasets import layouts
from datasets.labelled import IGNORE, LabelledPair, Split, read_set
from tests.miniature import (
    GONE,
    LAND,
    NEW,
    PUBLISHED,
    SIZE,
    STOOD,
    UNSEEN,
    inside,
    recipe,
    write_fotbcd_instances,
    write_masked,
    write_published,
)

SOURCES = tuple(PUBLISHED)
SPLITS: tuple[Split, Split] = ("train", "validation")
SOIL = box(25, 0, 35, 20)
BESIDE = box(24, 8, 25, 24)  # what is new
X = IGNORE
# Structure before, structure after, change.
MEANING = {
    "levir_cd_plus": {NEW: (0, 1, 1), GONE: (X, X, 0), STOOD: (X, X, 0), LAND: (X, X, 0), BESIDE: (X, 0, 0)},
    "whu_cd": {NEW: (X, X, 1), GONE: (X, X, 1), STOOD: (X, X, 0), LAND: (X, X, 0), SOIL: (X, X, 0)},
    "s2looking": {NEW: (0, 1, 1), GONE: (1, 0, 1), STOOD: (X, X, 0), LAND: (X, X, 0), SOIL: (X, X, 0)},
    "sysu_cd": {NEW: (X, X, X), GONE: (X, X, X), STOOD: (X, X, 0), LAND: (X, X, X), SOIL: (X, X, 0)},
    "second": {NEW: (0, 1, 1), GONE: (1, 0, 1), STOOD: (X, X, 0), LAND: (0, 0, 0), SOIL: (X, X, 0)},
    "xbd": {NEW: (0, 0, 0), GONE: (1, 0, 1), STOOD: (1, 1, 0), LAND: (1, X, X), SOIL: (0, 0, 0)},
    "fotbcd": {NEW: (X, X, 1), GONE: (X, X, 1), STOOD: (X, X, 0), LAND: (X, X, 0), SOIL: (X, X, 0)},
    "bandon": {NEW: (0, 1, 1), GONE: (1, 0, 1), STOOD: (1, 1, 0), LAND: (X, X, X), SOIL: (0, 0, 0)},
    "feedback": {NEW: (0, 1, 1), GONE: (1, 0, 1), STOOD: (X, X, X), LAND: (X, X, X), SOIL: (X, X, X)},
}
KNOWN = {"xbd", "bandon"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("published"))


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(published, tmp_path / "data"))


def values(pair: LabelledPair, area: Polygon) -> tuple[int, int, int]:
    layers = (pair.structure_before, pair.structure_after, pair.change)
    found = [np.unique(layer[inside(area)]) for layer in layers]
    assert all(len(f) == 1 for f in found), found
    return cast(tuple[int, int, int], tuple(int(f[0]) for f in found))


def save(pixels: NDArray[np.uint8], path: Path) -> None:
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("source", SOURCES)
def test_every_layout_reads_its_own_splits_and_never_the_test_part(published: Path, source: str) -> None:
    train, validation = (read_set(published, source, split).names for split in SPLITS)
    assert (train, validation) == PUBLISHED[source]


@pytest.mark.parametrize("source", SOURCES)
def test_every_layout_reads_into_pixels_and_labels_of_one_size(published: Path, source: str) -> None:
    for split in SPLITS:
        for pair in read_set(published, source, split):
            assert pair.source == source
            assert pair.gsd > 0
            assert not pair.single_date
            assert pair.structures_known == (source in KNOWN)
            for image in (pair.before, pair.after):
                assert (image.shape, image.dtype) == ((SIZE, SIZE, 3), np.uint8)
            for layer in (pair.structure_before, pair.structure_after, pair.change):
                assert (layer.shape, layer.dtype) == ((SIZE, SIZE), np.uint8)


@pytest.mark.parametrize("source", SOURCES)
def test_every_layout_says_what_the_set_knows_and_no_more(
    published: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "BESIDE_PX", 2)  # the scenes are small
    for area, meaning in MEANING[source].items():
        assert values(read_set(published, source, "train")[-1], area) == meaning
    held = MEANING[source] | ({LAND: (1, 1, 0)} if source == "xbd" else {})  # targets do not tell un-classified
    for area, meaning in held.items():
        assert values(read_set(published, source, "validation")[0], area) == meaning


@pytest.mark.parametrize("source", [s for s in SOURCES if s != "levir_cd_plus"])
def test_what_was_not_seen_is_ignored_at_that_date(published: Path, source: str) -> None:
    pair = read_set(published, source, "train")[-1]
    assert (pair.after[-UNSEEN:] <= 3).all()
    assert (pair.structure_after[-UNSEEN:] == IGNORE).all()
    assert (pair.change[-UNSEEN:] == IGNORE).all()


@pytest.mark.parametrize("source", SOURCES)
def test_a_recipe_trains_on_each_of_them_alone(published: Path, source: str) -> None:
    from training.samples import Samples

    samples = Samples(recipe(sources={source: 1.0}, mix={"real": 1.0}, crop=32), published, 4)
    for i in range(4):
        before, after, labels = samples[i]
        assert before.shape == after.shape == labels.shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("source", "layer"),
    [
        ("levir_cd_plus", "train/label"), ("whu_cd", "B"), ("s2looking", "train/label2"), ("sysu_cd", "train/time2"),
        ("second", "train/label1"), ("xbd", "tier3/images"), ("fotbcd", "images/train/after"),
        ("bandon", "train/building_labels/bj/t1"), ("bandon", "train/imgs/bj/t2"),
    ],
)  # fmt: skip
def test_a_missing_layer_is_named_with_where_to_look(copy: Path, source: str, layer: str) -> None:
    shutil.rmtree(copy / source / layer)
    with pytest.raises(FileNotFoundError, match=rf"{source}/{layer} holds no images; see datasets/README.md"):
        read_set(copy, source, "train")


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("levir_cd_plus", "train/label/train_1.png"), ("whu_cd", "label/tile_0_0.png"),
        ("s2looking", "train/label1/10.png"), ("s2looking", "train/label2/10.png"),
        ("sysu_cd", "train/label/00001.png"), ("second", "train/label2/00021.png"),
        ("fotbcd", "images/train/label/1.png"), ("bandon", "train/labels_unch0ch1ig255/bj/t1VSt2/L81_1_1.png"),
        ("bandon", "train/building_labels/bj/t1/L81_1_1.png"), ("feedback", "pair-0/changed.png"),
    ],
)  # fmt: skip
def test_a_label_of_another_size_is_named(copy: Path, source: str, label: str) -> None:
    save(np.zeros((SIZE, SIZE - 1), np.uint8), copy / source / label)
    with pytest.raises(ValueError, match=rf"{source}/{label} has {SIZE - 1} x {SIZE} px"):
        read_set(copy, source, "train")[0]


def test_targets_of_another_size_are_named(copy: Path) -> None:
    name = PUBLISHED["xbd"][1][0]
    save(np.zeros((SIZE, SIZE - 1), np.uint8), copy / "xbd" / "hold" / "targets" / f"{name}_pre_disaster_target.png")
    with pytest.raises(ValueError, match=r"_pre_disaster_target\.png has 63 x 64 px"):
        read_set(copy, "xbd", "validation")[0]


@pytest.mark.parametrize("source", ["s2looking", "sysu_cd"])
def test_a_published_validation_part_without_images_is_an_error_not_an_empty_split(copy: Path, source: str) -> None:
    layer = {"s2looking": "Image1", "sysu_cd": "time1"}[source]
    for path in (copy / source / "val" / layer).iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"val/{layer} holds no images"):
        read_set(copy, source, "validation")


def test_without_a_validation_part_some_of_train_is_held_out(copy: Path) -> None:
    shutil.rmtree(copy / "s2looking" / "val")
    assert read_set(copy, "s2looking", "validation").names == ["10"]
    assert read_set(copy, "s2looking", "train").names == ["11"]


# LEVIR-CD, LEVIR-CD+


def test_levir_cd_reads_as_published_as_well(tmp_path: Path) -> None:
    parts = {"train": ["train_1", "train_2"], "val": ["val_1"], "test": ["test_1"]}
    write_masked(tmp_path / "levir_cd", ("A", "B", "label"), parts, inside(NEW))
    assert read_set(tmp_path, "levir_cd", "train").names == ["train_1", "train_2"]
    pair = read_set(tmp_path, "levir_cd", "validation")[0]
    assert (pair.name, values(pair, NEW)) == ("val_1", (0, 1, 1))


def test_levir_cd_plus_holds_out_one_block_of_numbers(tmp_path: Path) -> None:
    names = [f"train_{i}" for i in range(1, 21)]
    write_masked(tmp_path / "levir_cd_plus", ("A", "B", "label"), {"train": names}, inside(NEW))
    held = read_set(tmp_path, "levir_cd_plus", "validation").names
    assert sorted(held) == ["train_17", "train_18", "train_19", "train_20"]  # neither train_2 nor train_9


# WHU-CD


def test_whu_cd_reads_split_folders_as_well(tmp_path: Path) -> None:
    for layer in ("label", "OUT"):
        folder = tmp_path / layer / "whu_cd"
        write_masked(folder, ("A", "B", layer), {"train": ["a"], "val": ["b"]}, inside(GONE))
        assert read_set(tmp_path / layer, "whu_cd", "train").names == ["a"]
        assert values(read_set(tmp_path / layer, "whu_cd", "validation")[0], GONE) == (X, X, 1)


def test_whu_cd_as_mosaics_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "whu_cd" / "two-period image data" / "before").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"whu_cd holds neither train/ nor A/.*cut them into tiles"):
        read_set(tmp_path, "whu_cd", "train")


def test_a_list_of_tiles_that_is_missing_is_named(copy: Path) -> None:
    (copy / "whu_cd" / "list" / "val.txt").unlink()
    assert len(read_set(copy, "whu_cd", "train")) == 2
    with pytest.raises(FileNotFoundError, match=r"list/val\.txt is missing"):
        read_set(copy, "whu_cd", "validation")


@pytest.mark.parametrize(("text", "message"), [("\n", "names no scene"), ("tile_9_9.png\n", "names tile_9_9")])
def test_a_list_of_tiles_that_does_not_fit_is_named(copy: Path, text: str, message: str) -> None:
    path = copy / "whu_cd" / "list" / "train.txt"
    path.write_text(text)
    with pytest.raises(FileNotFoundError, match=rf"list/train\.txt {message}"):
        read_set(copy, "whu_cd", "train")


# S2Looking, SECOND


def test_a_place_torn_down_and_built_again_stood_at_both_dates_and_changed(copy: Path) -> None:
    folder = copy / "s2looking" / "train"
    shutil.copy(folder / "label1" / "10.png", folder / "label2" / "10.png")
    assert values(read_set(copy, "s2looking", "train")[0], NEW) == (1, 1, 1)


def test_colours_that_are_no_class_are_refused(copy: Path) -> None:
    path = copy / "second" / "train" / "label1" / "00021.png"
    with Image.open(path) as image:
        image.convert("L").save(path)  # class numbers would have to be guessed
    with pytest.raises(ValueError, match=r"label1/00021\.png has colours that are no class of SECOND"):
        read_set(copy, "second", "train")[0]


def test_building_to_building_does_not_say_whether_it_changed(copy: Path) -> None:
    folder = copy / "second" / "train"
    shutil.copy(folder / "label1" / "00021.png", folder / "label2" / "00021.png")
    assert values(read_set(copy, "second", "train")[0], GONE) == (1, 1, X)


# xBD


def test_xbd_holds_out_every_fifth_scene_where_hold_is_missing(copy: Path) -> None:
    shutil.rmtree(copy / "xbd" / "hold")
    first, second = PUBLISHED["xbd"][0]
    assert read_set(copy, "xbd", "validation").names == [first]
    assert read_set(copy, "xbd", "train").names == [second]


def test_xbd_without_labels_or_targets_is_refused(copy: Path) -> None:
    shutil.rmtree(copy / "xbd" / "train" / "labels")
    with pytest.raises(FileNotFoundError, match=r"xbd/train has neither labels/ nor targets/"):
        read_set(copy, "xbd", "train")


def test_an_xbd_scene_without_its_later_labels_is_named(copy: Path) -> None:
    name = PUBLISHED["xbd"][0][1]
    (copy / "xbd" / "tier3" / "labels" / f"{name}_post_disaster.json").unlink()
    with pytest.raises(FileNotFoundError, match=rf"tier3/labels has no {name}_post_disaster"):
        read_set(copy, "xbd", "train")


@pytest.mark.parametrize("text", ["{", "{}", '{"features": {"xy": [{"properties": {}, "wkt": "POLYGON (("}]}}'])
def test_xbd_labels_that_cannot_be_read_are_named(copy: Path, text: str) -> None:
    name = PUBLISHED["xbd"][0][0]
    (copy / "xbd" / "train" / "labels" / f"{name}_post_disaster.json").write_text(text)
    with pytest.raises(ValueError, match=rf"{name}_post_disaster\.json is no label file of xBD"):
        read_set(copy, "xbd", "train")[0]


def test_the_edge_of_a_vanished_building_that_was_moved_is_neither_change_nor_none(copy: Path) -> None:
    name = PUBLISHED["xbd"][0][0]
    path = copy / "xbd" / "train" / "labels" / f"{name}_post_disaster.json"
    content = json.loads(path.read_text())
    moved = box(38, 36, 54, 52)
    content["features"]["xy"][1]["wkt"] = moved.wkt
    path.write_text(json.dumps(content))
    pair = read_set(copy, "xbd", "train")[0]
    assert values(pair, box(38, 36, 52, 52)) == (1, 0, 1)
    assert values(pair, box(52, 36, 54, 52)) == (0, 0, X)


def test_a_target_with_another_value_is_refused(copy: Path) -> None:
    name = PUBLISHED["xbd"][1][0]
    path = copy / "xbd" / "hold" / "targets" / f"{name}_post_disaster_target.png"
    save(np.full((SIZE, SIZE), 255, np.uint8), path)
    with pytest.raises(ValueError, match=r"_post_disaster_target\.png has the value 255, known are 0, 1, 2, 3, 4"):
        read_set(copy, "xbd", "validation")[0]


# FOTBCD


@pytest.fixture
def instances(tmp_path: Path) -> Path:
    write_fotbcd_instances(tmp_path / "fotbcd")
    return tmp_path


def test_fotbcd_instances_know_every_building_and_the_direction(instances: Path) -> None:
    for split, names in zip(SPLITS, PUBLISHED["fotbcd"], strict=True):
        read = read_set(instances, "fotbcd", split)
        assert read.names == names
        pair = read[0]
        assert pair.structures_known
        found = {area: values(pair, area) for area in (NEW, GONE, STOOD, SOIL)}
        assert found == {NEW: (0, 1, 1), GONE: (1, 0, 1), STOOD: (1, 1, 0), SOIL: (0, 0, 0)}


def test_outlines_go_to_a_worker(instances: Path) -> None:
    read = pickle.loads(pickle.dumps(read_set(instances, "fotbcd", "train")))
    assert values(read[0], NEW) == (0, 1, 1)


def test_missing_annotations_are_named(instances: Path) -> None:
    (instances / "fotbcd" / "annotations" / "val.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"annotations/val\.json is missing"):
        read_set(instances, "fotbcd", "validation")


@pytest.mark.parametrize("category", [0, 4])
def test_an_unknown_category_is_refused(instances: Path, category: int) -> None:
    path = instances / "fotbcd" / "annotations" / "train.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["category_id"] = category
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"train\.json is no file of FOTBCD-Instances.*category {category}"):
        read_set(instances, "fotbcd", "train")


def test_an_image_without_annotations_is_named(instances: Path) -> None:
    for date in ("before", "after"):
        folder = instances / "fotbcd" / "images" / "train" / date
        shutil.copy(folder / "1.png", folder / "77.png")
    with pytest.raises(FileNotFoundError, match=r"train\.json has no image 77"):
        read_set(instances, "fotbcd", "train")


# BANDON


def test_bandon_holds_out_places_not_pairs_of_dates(copy: Path) -> None:
    shutil.rmtree(copy / "bandon" / "val")
    for layer in (copy / "bandon" / "train").glob("*/bj/*"):
        path = next(layer.iterdir())
        shutil.copy(path, path.with_stem("L81_9_9"))
    train, validation = (read_set(copy, "bandon", split).names for split in SPLITS)
    assert len(train) == len(validation) == 3
    assert all(name.endswith("L81_1_1") for name in validation)
    assert all(name.endswith("L81_9_9") for name in train)


@pytest.mark.parametrize(
    "label", ["labels_unch0ch1ig255/bj/t1VSt2/L81_1_1.png", "building_labels/bj/t2/L81_1_1.png"]
)  # fmt: skip
def test_values_that_mean_something_else_are_refused(copy: Path, label: str) -> None:
    save(np.full((SIZE, SIZE), 7, np.uint8), copy / "bandon" / "train" / label)
    with pytest.raises(ValueError, match=r"L81_1_1\.png has the value 7, known are 0, 1"):
        read_set(copy, "bandon", "train")[0]


def test_a_coloured_drawing_of_the_labels_is_refused(copy: Path) -> None:
    path = copy / "bandon" / "train" / "building_labels" / "bj" / "t1" / "L81_1_1.png"
    save(np.zeros((SIZE, SIZE, 3), np.uint8), path)
    with pytest.raises(ValueError, match=r"L81_1_1\.png is no mask of one channel"):
        read_set(copy, "bandon", "train")[0]


def test_bandon_without_change_labels_is_refused(copy: Path) -> None:
    shutil.rmtree(copy / "bandon" / "val" / "labels")
    with pytest.raises(FileNotFoundError, match=r"bandon/val has neither labels_unch0ch1ig255/ nor labels/"):
        read_set(copy, "bandon", "validation")
