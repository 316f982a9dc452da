"""Sets of photographs: layout, splits, and what a mask may say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.labelled import IGNORE
from datasets.photographs import GROUND, OTHER, SKY, SOURCES, STRUCTURE, read_photographs
from tests.miniature import write_photographs


def test_every_fifth_picture_validates(photographs: Path) -> None:
    names = [
        [p.name for p in read_photographs(photographs, "ground_facade", split)] for split in ("train", "validation")
    ]
    assert names == [["view_01", "view_02", "view_03", "view_04", "view_06"], ["view_00", "view_05"]]


def test_of_a_film_one_sequence_validates(photographs: Path) -> None:
    held = [p.name for p in read_photographs(photographs, "ground_camvid", "validation")]
    assert held
    assert all(name.startswith("0016E5") for name in held)
    assert not any(p.name.startswith("0016E5") for p in read_photographs(photographs, "ground_camvid", "train"))


def test_unlabelled_pixels_say_nothing(photographs: Path) -> None:
    for source in SOURCES:
        for photograph in read_photographs(photographs, source, "train"):
            assert photograph.image.shape == (*photograph.classes.shape, 3)
            values = set(np.unique(photograph.classes).tolist())
            assert values <= {*range(STRUCTURE, OTHER + 1), IGNORE}
            assert {STRUCTURE, SKY, IGNORE} <= values


@pytest.mark.parametrize(("rows", "believed"), [(2, True), (24, False)], ids=["a strip", "walls"])
def test_ground_in_the_upper_part_of_a_picture_is_walls_mistaken_for_it(
    tmp_path: Path, rows: int, believed: bool
) -> None:
    write_photographs(tmp_path)
    mask = tmp_path / "ground_facade" / "classes" / "view_01.png"
    with Image.open(mask) as picture:
        classes = np.array(picture)
    classes[:rows, :20] = GROUND
    Image.fromarray(classes).save(mask)
    read = next(p for p in read_photographs(tmp_path, "ground_facade", "train") if p.name == "view_01").classes
    assert (read[classes == GROUND] == (GROUND if believed else IGNORE)).all()
    others = ~np.isin(classes, (0, GROUND))
    assert np.array_equal(read[others], classes[others])


def test_a_picture_without_a_mask_is_named(tmp_path: Path) -> None:
    write_photographs(tmp_path)
    (tmp_path / "ground_facade" / "classes" / "view_03.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"classes has no view_03\.png"):
        read_photographs(tmp_path, "ground_facade", "train")


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    write_photographs(tmp_path)
    Image.new("L", (10, 10)).save(tmp_path / "ground_facade" / "classes" / "view_01.png")
    with pytest.raises(ValueError, match=r"view_01\.png measures \(10, 10\)"):
        list(read_photographs(tmp_path, "ground_facade", "train"))


def test_a_missing_set_says_where_the_layout_is_described(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"image holds no pictures.*layout"):
        read_photographs(tmp_path, "ground_facade", "train")


def test_an_unknown_set_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="ground_camvid"):
        read_photographs(tmp_path, "ground_moon", "train")
