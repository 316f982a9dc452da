"""A set that was left out is never trained on, and its figures stand beside those of a run that saw it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import training.leave_one_out as module
from model.network import ChangeNet
from tests.miniature import recipe
from training.leave_one_out import EVERYTHING, families, leave_one_out
from training.loop import CHECKPOINT, train
from training.recipe import Recipe


def short(**sources: float) -> Recipe:
    return replace(recipe(), steps=2, sources=sources)


def test_sets_of_one_publisher_leave_together() -> None:
    assert families(["levir_cd", "xbd_mexico", "ida", "xbd_other"]) == {
        "levir": ("levir_cd",),
        "xbd": ("xbd_mexico", "xbd_other"),
        "ida": ("ida",),
    }


def test_figures_of_what_was_never_seen_stand_beside_those_of_what_was(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: dict[str, set[str]] = {}

    def watched(recipe: Recipe, root: Path, out: Path, **options: Any) -> ChangeNet:
        trained[out.name] = set(recipe.sources)
        return train(recipe, root, out, **options)

    monkeypatch.setattr(module, "train", watched)
    rows = leave_one_out(short(levir_cd=0.5, xbd_mexico=0.3, ida=0.2), sets, tmp_path, leave=["xbd", "levir"])
    assert trained == {
        EVERYTHING: {"levir_cd", "xbd_mexico", "ida"},
        "xbd": {"levir_cd", "ida"},
        "levir": {"xbd_mexico", "ida"},
    }
    assert {key for key in rows if key.startswith("levir_cd")} == {
        "levir_cd/change (seen)",
        "levir_cd/change (never seen)",
        "levir_cd/structure_after (seen)",
        "levir_cd/structure_after (never seen)",
    }
    assert {key.split("/")[0] for key in rows} == {"levir_cd", "xbd_mexico"}
    assert json.loads((tmp_path / "leave_one_out.json").read_text()) == rows


def test_a_finished_run_is_not_trained_again(sets: Path, tmp_path: Path) -> None:
    chosen = short(xbd_mexico=0.7, ida=0.3)
    first = leave_one_out(chosen, sets, tmp_path, leave=["ida"])
    made = (tmp_path / "ida" / CHECKPOINT).stat().st_mtime_ns
    steps: list[int] = []
    again = leave_one_out(chosen, sets, tmp_path, leave=["ida"], on_step=lambda run, step, loss: steps.append(step))
    assert again == first
    assert steps == []
    assert (tmp_path / "ida" / CHECKPOINT).stat().st_mtime_ns == made


def test_a_family_that_the_recipe_has_not_is_named(sets: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'whu' is not among the sets of the recipe: levir, ida"):
        leave_one_out(short(levir_cd=0.5, ida=0.5), sets, tmp_path, leave=["whu"])


def test_one_family_alone_cannot_be_left_out(sets: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing left to train on"):
        leave_one_out(short(levir_cd=1.0), sets, tmp_path)
