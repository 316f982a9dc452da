"""Where the imagery of a night is: one day's worth, newer than the last, and from nowhere that is not allowed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from datasets.scene import SceneError
from datasets.scene_sources import is_tiles
from service.nightly import sources
from service.nightly.sources import NothingToSee, find, fixed
from service.settings import Settings
from tests.nights import at, picture
from tests.test_scene_sources import Server, item

DUE = at("2026-03-02T18:30")
"""Half past two on 2026-03-03 in Beijing."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "scenes").mkdir()
    return Settings(data_dir=tmp_path)


@pytest.fixture
def folder(settings: Settings) -> Path:
    return settings.scene_folders[0]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def look(source: str, settings: Settings, since: datetime | None = None, **options: Any) -> Any:
    return find(source, settings, due_at=DUE, time_zone="Asia/Shanghai", since=since, **options)


def why(source: str, settings: Settings, **options: Any) -> tuple[str, dict[str, Any]]:
    with pytest.raises(NothingToSee) as nothing:
        look(source, settings, **options)
    return nothing.value.code, nothing.value.values


def names(scene: Any) -> list[str]:
    return [Path(source).name for source in scene.sources]


# --- Files and folders ------------------------------------------------------------------------------------


def test_the_date_in_a_source_is_that_of_the_schedules_clock(settings: Settings, folder: Path) -> None:
    picture(folder / "2026" / "03" / "night-2026-03-03.tif")
    scene = look("{yyyy}/{mm}/night-{date}.tif", settings)
    assert names(scene) == ["night-2026-03-03.tif"]
    assert scene.captured_at == DUE  # the file does not say, and its path does
    assert why("{yyyy}/{mm}/{dd}.tif", settings) == ("no_imagery", {"source": "2026/03/03.tif"})


def test_a_folder_gives_the_newest_day_that_is_new(settings: Settings, folder: Path) -> None:
    for name, taken in (
        ("a", "2026-03-01T03:00"), ("b", "2026-03-02T03:00"), ("c", "2026-03-02T03:10"), ("d", "2026-03-01T17:00"),
    ):  # fmt: skip
        picture(folder / "n" / f"{name}.tif", taken=taken)
    (folder / "n" / "notes.txt").write_text("not imagery")
    scene = look("n", settings)
    assert names(scene) == ["c.tif", "b.tif", "d.tif"]  # 17:00 UTC is the day after in Beijing
    assert scene.captured_at == at("2026-03-02T03:10")
    assert names(look("n", settings, since=at("2026-03-02T03:00"))) == ["c.tif"]
    assert why("n", settings, since=at("2026-03-02T03:10")) == ("nothing_new", {"newest": "2026-03-02 11:10"})


def test_a_damaged_file_is_the_reason_only_if_there_is_no_other(settings: Settings, folder: Path) -> None:
    (folder / "n").mkdir()
    (folder / "n" / "b.tif").write_bytes(b"II*\0")
    assert why("n", settings)[0] == "source_unreadable"
    picture(folder / "n" / "a.tif", taken="2026-03-02T03:00")
    assert names(look("n", settings)) == ["a.tif"]
    assert why("n", settings, since=at("2026-03-02T03:00"))[0] == "source_unreadable"


def test_an_undated_file_is_no_night_unless_its_path_has_a_date(settings: Settings, folder: Path) -> None:
    picture(folder / "2026-03-03" / "a.tif")
    assert why("2026-03-03", settings)[0] == "undated"
    assert look("{date}", settings).captured_at == DUE


@pytest.mark.parametrize("source", ["../outside.tif", "/etc/passwd", "nights/../../outside.tif", "\0"])
def test_nothing_outside_of_the_folders_is_read(settings: Settings, folder: Path, source: str) -> None:
    picture(folder.parent / "outside.tif", taken="2026-03-02T03:00")
    assert why(source, settings)[0] == "scene_outside"
    with pytest.raises(NothingToSee):
        sources.check(source, settings, DUE)


def test_a_link_out_of_the_folder_is_not_followed(settings: Settings, folder: Path) -> None:
    outside = picture(folder.parent / "outside.tif", taken="2026-03-02T03:00")
    (folder / "n").mkdir()
    (folder / "n" / "a.tif").symlink_to(outside)
    assert why("n", settings)[0] == "scene_outside"


def test_an_absolute_path_within_the_folder_will_do(settings: Settings, folder: Path) -> None:
    path = picture(folder / "a.tif", taken="2026-03-02T03:00")
    assert names(look(str(path), settings)) == ["a.tif"]


def test_a_fixed_baseline_is_all_there_is_whenever_it_was_taken(settings: Settings, folder: Path) -> None:
    for name, taken in (("a", "2025-05-01T03:00"), ("b", "2025-06-01T03:00")):
        picture(folder / "base" / f"{name}.tif", taken=taken)
    scene = fixed("base", settings, bands=(3, 2, 1), zoom=18)
    assert (names(scene), scene.captured_at, scene.bands) == (["a.tif", "b.tif"], at("2025-06-01T03:00"), (3, 2, 1))
    picture(folder / "base" / "c.tif")
    assert fixed("base", settings, bands=(1, 2, 3), zoom=18).captured_at is None


# --- STAC and tiles ---------------------------------------------------------------------------------------


def collection(folder: Path, **items: str) -> Path:
    """Items with one picture and one cloud mask each: name -> date."""
    links = []
    for name, date in items.items():
        picture(folder / f"{name}.tif")
        document = item(name, f"{name}.tif", date)
        document["assets"]["cloud"] = {"href": f"{name}-cloud.tif", "roles": ["cloud"]}
        (folder / f"{name}.json").write_text(json.dumps(document))
        links.append({"rel": "item", "href": f"{name}.json"})
    path = folder / "collection.json"
    extent = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}}
    path.write_text(
        json.dumps(
            {"type": "Collection", "id": "c", "stac_version": "1.0.0", "description": "", "license": "other",
             "extent": extent, "links": links}
        )
    )  # fmt: skip
    return path


def test_older_items_of_a_collection_do_not_stand_in_for_tonight(settings: Settings, folder: Path) -> None:
    collection(folder, old="2026-03-01T03:00:00Z", late="2026-03-02T03:20:00Z", early="2026-03-02T03:00:00Z")
    scene = look("collection.json", settings)
    assert names(scene) == ["late.tif", "early.tif"]
    assert [Path(mask).name for mask in scene.clouds] == ["late-cloud.tif", "early-cloud.tif"]
    assert scene.captured_at == datetime(2026, 3, 2, 3, 20, tzinfo=UTC)


def test_an_item_that_names_a_file_elsewhere_is_refused(settings: Settings, folder: Path) -> None:
    (folder / "a.json").write_text(json.dumps(item("a", "../secret.tif", "2026-03-02T03:00:00Z")))
    assert why("a.json", settings) == ("scene_outside", {"name": "secret.tif"})
    (folder / "b.json").write_text(json.dumps(item("b", "https://elsewhere.example/a.tif", "2026-03-02T03:00:00Z")))
    assert why("b.json", settings)[0] == "source_not_allowed"


def test_what_comes_over_the_network_comes_from_allowed_hosts(settings: Settings, folder: Path, server: Server) -> None:
    path = picture(folder / "a.tif", taken="2026-03-02T03:00")
    server.files["/2026-03-03.tif"] = path.read_bytes()
    source = f"{server.url}/{{date}}.tif"
    assert why(source, settings)[0] == "source_not_allowed"
    with pytest.raises(SceneError):
        sources.check(source, settings, DUE)
    allowed = settings.model_copy(update={"scene_hosts": (server.url.split("//")[1],)})
    sources.check(source, allowed, DUE)
    scene = look(source, allowed)
    assert scene.captured_at == at("2026-03-02T03:00")
    assert sources.is_there(scene)


def test_tiles_are_of_the_moment_they_are_asked_for(settings: Settings, server: Server) -> None:
    allowed = settings.model_copy(update={"scene_hosts": (server.url.split("//")[1],)})
    scene = look(f"{server.url}/{{date}}/{{z}}/{{x}}/{{y}}.png", allowed)
    assert is_tiles(scene)
    assert "/2026-03-03/${z}/${x}/${y}.png" in scene.sources[0]
    assert scene.captured_at == DUE


def test_a_scene_comes_back_from_its_document_as_it_was(settings: Settings, folder: Path) -> None:
    collection(folder, a="2026-03-02T03:20:00Z")
    scene = look("collection.json", settings, bands=(3, 2, 1))
    assert sources.of_document(json.loads(json.dumps(sources.as_document(scene)))) == scene
    (folder / "a.tif").unlink()
    assert not sources.is_there(scene)
