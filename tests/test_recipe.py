from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from datasets import photographs
from datasets.labelled import SOURCES
from training.recipe import Recipe

SHIPPED = sorted((Path(__file__).parents[1] / "training" / "recipes").glob("*.toml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "quick.toml"
    path.write_text(text, "utf-8")
    return path


def test_recipes_are_shipped() -> None:
    assert "overhead" in [path.stem for path in SHIPPED]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipes_load_and_name_known_sets(path: Path) -> None:
    recipe = Recipe.load(path)
    assert recipe.name == path.stem
    assert recipe.steps > 0
    known = photographs.SOURCES if recipe.domain == "ground" else SOURCES
    assert set(recipe.sources) <= set(known)
    assert recipe.classes == (len(photographs.CLASSES) if recipe.domain == "ground" else 1)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipes_mix_known_kinds_of_sample(path: Path) -> None:
    from training import photographs, samples

    recipe = Recipe.load(path)
    kinds = photographs.KINDS if recipe.domain == "ground" else samples.KINDS
    assert set(recipe.mix) <= set(kinds)


def test_values_of_the_file_win_over_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "steps = 7\nscale = [0.5, 2.0]\nwidths = [8, 16, 24]\n[sources]\nida = 1.0\n")
    recipe = Recipe.load(path)
    assert (recipe.name, recipe.steps, recipe.batch) == ("quick", 7, 8)
    assert recipe.scale == (0.5, 2.0)
    assert recipe.widths == (8, 16, 24)
    assert recipe.sources == {"ida": 1.0}


def test_an_unknown_key_is_refused_with_the_name_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "learning_speed = 1\n[sources]\nida = 1.0\n")
    with pytest.raises(ValueError, match=r"quick\.toml.*learning_speed"):
        Recipe.load(path)


def test_a_recipe_without_sources_is_refused_with_the_name_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"quick\.toml.*\[sources\]"):
        Recipe.load(write(tmp_path, "steps = 10\n"))


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        Recipe.load(write(tmp_path, "steps: 10\n"))


def test_a_recipe_survives_as_dict_and_back(tmp_path: Path) -> None:
    recipe = Recipe.load(write(tmp_path, "lr = 0.002\n[sources]\nida = 1.0\n"))
    assert Recipe(**recipe.as_dict()) == recipe
