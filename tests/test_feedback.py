"""Decisions become labels of what was reviewed and of nothing else, on one side of the split for ever."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from PIL import Image
from rasterio.crs import CRS
from shapely.geometry import Polygon, box

from datasets.feedback import Decision, write_feedback
from datasets.labelled import IGNORE, LabelledPair, read_set
from datasets.raster import Raster
from tests.miniature import GONE, LAND, NEW, SIZE, STOOD, UNSEEN, inside, raster, recipe, reviewed

X = IGNORE


def labels(pair: LabelledPair, area: Polygon) -> tuple[int, ...]:
    layers = (pair.structure_before, pair.structure_after, pair.change)
    found = [np.unique(layer[inside(area)]).tolist() for layer in layers]
    assert all(len(f) == 1 for f in found), found
    return tuple(f[0] for f in found)


def export(root: Path, *decisions: Decision, **values: object) -> LabelledPair:
    """What `jingdi train` would read of a pair with these decisions."""
    write_feedback(root / "feedback", reviewed(decisions=decisions, **values))
    return read_set(root, "feedback", "train")[0]


@pytest.mark.parametrize(
    ("kind", "accepted", "meaning"),
    [
        ("new", True, (0, 1, 1)), ("removed", True, (1, 0, 1)), ("remaining", True, (1, 1, 0)),
        ("new", False, (X, X, 0)), ("removed", False, (X, X, 0)), ("remaining", False, (0, 0, 0)),
    ],
)  # fmt: skip
def test_a_decision_labels_its_outline_and_nothing_else(
    tmp_path: Path, kind: str, accepted: bool, meaning: object
) -> None:
    pair = export(tmp_path, Decision("d1", kind, STOOD, accepted))  # type: ignore[arg-type]
    assert labels(pair, STOOD) == meaning
    for layer in (pair.structure_before, pair.structure_after, pair.change):
        assert (layer[~inside(STOOD)] == IGNORE).all()


def test_the_imagery_comes_back_as_it_was_given(tmp_path: Path) -> None:
    item = reviewed()
    pair = export(tmp_path, *item.decisions)
    assert (pair.before == item.before.pixels).all()
    assert (pair.after == item.after.pixels).all()
    assert (pair.source, pair.name, pair.gsd, pair.structures_known) == ("feedback", "pair-0", 0.5, False)


def test_a_redrawn_outline_replaces_the_finding(tmp_path: Path) -> None:
    smaller = box(10, 10, 18, 18)
    pair = export(tmp_path, Decision("d1", "new", NEW, True, redrawn=smaller))
    assert labels(pair, smaller) == (0, 1, 1)
    assert (pair.change[inside(NEW) & ~inside(smaller)] == IGNORE).all()


def test_what_was_not_seen_is_not_labelled_even_if_it_was_accepted(tmp_path: Path) -> None:
    low = box(8, SIZE - UNSEEN - 4, 24, SIZE)  # reaches into the strip that was not seen after
    pair = export(tmp_path, Decision("d1", "removed", low, True))
    assert labels(pair, box(8, SIZE - UNSEEN - 4, 24, SIZE - UNSEEN)) == (1, 0, 1)
    assert labels(pair, box(8, SIZE - UNSEEN, 24, SIZE)) == (1, X, X)


def test_an_accepted_finding_wins_over_a_rejected_one(tmp_path: Path) -> None:
    accepted, rejected = Decision("d1", "new", NEW, True), Decision("d2", "remaining", NEW, False)
    assert labels(export(tmp_path, accepted, rejected), NEW) == (0, 1, 1)
    assert labels(export(tmp_path, rejected, accepted), NEW) == (0, 1, 1)


def test_accepted_findings_that_contradict_each_other_say_nothing(tmp_path: Path) -> None:
    half = box(8, 8, 16, 24)
    pair = export(tmp_path, Decision("d1", "new", NEW, True), Decision("d2", "remaining", half, True))
    assert labels(pair, half) == (X, X, X)
    assert labels(pair, box(16, 8, 24, 24)) == (0, 1, 1)


def test_a_hole_in_an_outline_is_not_labelled(tmp_path: Path) -> None:
    courtyard = box(12, 12, 20, 20)
    pair = export(tmp_path, Decision("d1", "new", NEW.difference(courtyard), True))
    assert labels(pair, courtyard) == (X, X, X)
    assert labels(pair, box(8, 8, 24, 12)) == (0, 1, 1)


def test_every_picture_of_a_site_stays_on_one_side_however_often_it_is_exported(tmp_path: Path) -> None:
    def sides() -> dict[str, str]:
        return {
            name: split
            for split in ("train", "validation")
            for name in read_set(tmp_path, "feedback", split).names  # type: ignore[arg-type]
        }

    for i in range(12):
        for when in ("a", "b"):
            write_feedback(tmp_path / "feedback", reviewed(f"{i}-{when}", f"site-{i}"))
    first = sides()
    assert len(first) == 24
    assert set(first.values()) == {"train", "validation"}
    assert all(first[f"{i}-a"] == first[f"{i}-b"] for i in range(12))
    for i in range(0, 12, 2):
        write_feedback(
            tmp_path / "feedback", reviewed(f"{i}-a", f"site-{i}", decisions=[Decision("d9", "new", LAND, True)])
        )
    write_feedback(tmp_path / "feedback", reviewed("more", "site-99"))
    again = sides()
    again.pop("more")
    assert again == first


def test_about_one_site_in_five_validates() -> None:
    from datasets.feedback import _validates

    assert 0.17 < np.mean([_validates(f"courtyard-{i}") for i in range(2000)]) < 0.23


def test_exporting_a_pair_again_replaces_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    export(tmp_path, Decision("d1", "new", NEW, True))
    pair = export(tmp_path, Decision("d2", "new", NEW, False))
    assert labels(pair, NEW) == (X, X, 0)
    assert [path.name for path in (tmp_path / "feedback").iterdir()] == ["pair-0"]


def test_a_write_that_fails_half_way_leaves_the_earlier_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(tmp_path, Decision("d1", "new", NEW, True))
    monkeypatch.setattr(json, "dumps", lambda *args, **kwargs: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_feedback(tmp_path / "feedback", reviewed(decisions=[Decision("d2", "new", NEW, False)]))
    assert labels(read_set(tmp_path, "feedback", "train")[0], NEW) == (0, 1, 1)
    assert [path.name for path in (tmp_path / "feedback").iterdir()] == ["pair-0"]


def test_the_sidecar_tells_where_labels_come_from_and_nothing_about_people(tmp_path: Path) -> None:
    peking = timezone(timedelta(hours=8))
    item = reviewed(reviewed_at=datetime(2017, 7, 1, 2, tzinfo=peking), model_sha256="ab" * 32)
    item = replace(item, before=replace(item.before, name="王家大院.jpg"))
    folder = write_feedback(tmp_path / "feedback", item)
    assert json.loads((folder / "pair.json").read_text("utf-8")) == {
        "site": "site-3", "gsd": 0.5, "decisions": ["d1", "d2"], "model_sha256": "ab" * 32,
        "reviewed_at": "2017-06-30T18:00:00+00:00",
    }  # fmt: skip
    for path in folder.iterdir():
        assert "王家大院".encode() not in path.read_bytes()


OTHER_GRID = Affine(0.5, 0, 440_000, 0, -0.5, 4_420_000)


def placed(source: Raster, transform: Affine) -> Raster:
    return replace(source, crs=CRS.from_epsg(32650), transform=transform)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decisions": ()}, "has no decisions"),
        ({"decisions": (Decision("d1", "new", box(80, 80, 90, 90), True),)}, "d1: the outline .* covers no pixel"),
        ({"decisions": (Decision("d1", "new", Polygon([(0, 0), (9, 9), (9, 0), (0, 9)]), True),)}, "crosses itself"),
        ({"decisions": (Decision("d1", "new", NEW, False, redrawn=NEW),)}, "rejected finding has no redrawn outline"),
        ({"decisions": (Decision("d1", "built", NEW, True),)}, "'built' is no kind"),  # type: ignore[arg-type]
        ({"decisions": (Decision("Wang Xiaoming", "new", NEW, True),)}, "decision id 'Wang Xiaoming'"),
        ({"model_sha256": "abc"}, "no sha256"),
        ({"reviewed_at": datetime(2017, 6, 30)}, "time zone"),
        ({"before": replace(raster(), gsd=None), "after": replace(raster(), gsd=None)}, "ground resolution is unknown"),
        ({"after": Raster(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), bool))}, "different grids"),
        ({"before": placed(raster(), OTHER_GRID), "after": placed(raster(), Affine.identity())}, "different grids"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_cannot_be_used_is_refused_and_nothing_is_written(
    tmp_path: Path, values: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_feedback(tmp_path / "feedback", reviewed(**values))
    assert not (tmp_path / "feedback").exists()


@pytest.mark.parametrize("pair_id", ["", "../up", "a/b", ".hidden", "a b", "x" * 129])
def test_an_id_that_is_no_file_name_is_refused(tmp_path: Path, pair_id: str) -> None:
    with pytest.raises(ValueError, match="pair id"):
        write_feedback(tmp_path / "feedback", reviewed(pair_id))


def test_ids_of_the_ledger_are_file_names(tmp_path: Path) -> None:
    assert write_feedback(tmp_path / "feedback", reviewed("古城-017_2017.06")).is_dir()


def test_an_empty_set_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "feedback").mkdir()
    with pytest.raises(FileNotFoundError, match=r"feedback holds no reviewed pairs .* export decisions"):
        read_set(tmp_path, "feedback", "train")


def test_few_sites_may_leave_nothing_to_validate_on(tmp_path: Path) -> None:
    export(tmp_path, Decision("d1", "new", NEW, True))
    assert len(read_set(tmp_path, "feedback", "validation")) == 0


@pytest.mark.parametrize("layer", ["before", "changed", "structures_after"])
def test_a_missing_file_is_named(tmp_path: Path, layer: str) -> None:
    (write_feedback(tmp_path / "feedback", reviewed()) / f"{layer}.png").unlink()
    with pytest.raises(FileNotFoundError, match=rf"pair-0.{layer}\.png is missing; export the pair again"):
        read_set(tmp_path, "feedback", "train")


@pytest.mark.parametrize("text", ["", "[]", '{"site": "a"}', '{"site": "a", "gsd": "half a metre"}'])
def test_a_broken_sidecar_is_named(tmp_path: Path, text: str) -> None:
    (write_feedback(tmp_path / "feedback", reviewed()) / "pair.json").write_text(text)
    with pytest.raises(ValueError, match=r"pair\.json cannot be read .*; export the pair again"):
        read_set(tmp_path, "feedback", "train")


def test_a_mask_that_was_edited_with_soft_edges_is_refused(tmp_path: Path) -> None:
    folder = write_feedback(tmp_path / "feedback", reviewed())
    Image.new("L", (SIZE, SIZE), 77).save(folder / "changed.png")
    with pytest.raises(ValueError, match=r"changed\.png has other values than 0, 128 and 255"):
        read_set(tmp_path, "feedback", "train")[0]


def test_a_recipe_trains_on_decisions_beside_a_set(sets: Path, tmp_path: Path) -> None:
    from training.samples import Samples

    (tmp_path / "ida").symlink_to(sets / "ida")
    export(tmp_path, Decision("d1", "new", NEW, True), Decision("d2", "removed", GONE, True))
    mixed = recipe(sources={"feedback": 0.5, "ida": 0.5}, mix={"real": 1.0}, crop=32, aim_at_change=1.0)
    samples = Samples(mixed, tmp_path, 16)
    seen = np.concatenate([samples[i][2].numpy().ravel() for i in range(16)])
    assert (seen == 1).any()
