"""Scenes over HTTP: lists for a map, findings, tiles and cut-outs, for those who are signed in."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from shapely.geometry import box, mapping, shape

from service.app import create_app
from service.ledger.rebound import take_in
from service.ledger.schemas import ScanIn
from service.scenes.imagery import MERCATOR
from service.settings import Settings
from tests.databases import new_database
from tests.ledgers import NIGHT, square
from tests.people import House, house
from tests.scenes import NEW, TAKEN, taken_in

PLACE = (116.1925, 39.9088)
ROOT = "/api/v1/scenes"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, red: Any) -> Iterator[House]:
    """A night with imagery, and a later one elsewhere that came without any."""
    folder = tmp_path_factory.mktemp("scenes")
    with house(folder, lambda: red) as made, pytest.MonkeyPatch.context() as patch:
        url = made.engine.url.render_as_string(hide_password=False)
        taken_in(made.engine, Settings(data_dir=folder, database_url=url), patch, "night-1")
        later = ScanIn.model_validate(
            {"scene": "夜2", "taken_at": NIGHT, "findings": {"type": "FeatureCollection", "features": []},
             "coverage": mapping(square(3000, 3000, 100))}
        )  # fmt: skip
        take_in(made.engine, later.scan, 20, record=later.record)
        yield made


@pytest.fixture(scope="module")
def client(world: House) -> TestClient:
    return world.browser("ana", "analyst")


@pytest.fixture(scope="module")
def found(client: TestClient) -> Any:
    """The scene with imagery."""
    return client.get(f"{ROOT}/night-1").json()


def middle(feature: dict[str, Any]) -> tuple[float, float]:
    centre = shape(feature["geometry"]).centroid
    return centre.x, centre.y


# --- Lists ------------------------------------------------------------------------------------------------


def test_scenes_are_listed_newest_first_and_say_what_can_be_shown(client: TestClient) -> None:
    page = client.get(ROOT).json()
    assert page["total"] == 2
    assert [(item["id"], item["layers"]) for item in page["items"]] == [
        ("夜2", []), ("night-1", ["before", "after", "probability"]),
    ]  # fmt: skip
    assert [item["coverage"] for item in page["items"]] == [None, None]
    with_coverage = client.get(ROOT, params={"coverage": "true"}).json()["items"]
    assert {item["coverage"]["type"] for item in with_coverage} == {"MultiPolygon"}
    assert [item["id"] for item in client.get(ROOT, params={"limit": 1, "offset": 1}).json()["items"]] == ["night-1"]


def test_no_path_of_a_file_is_told(client: TestClient, found: dict[str, Any]) -> None:
    text = client.get(ROOT).text + str(found) + client.get(f"{ROOT}/night-1/after/tilejson.json").text
    assert ".tif" not in text
    assert "sources" not in text


def test_an_area_selects_what_touches_it(client: TestClient, found: dict[str, Any]) -> None:
    west, south, east, north = found["bounds"]
    assert (west, south) < (east, north)
    for area, ids in (
        (f"{west},{south},{east},{north}", ["night-1"]),
        (f"{east - 1e-6},{north - 1e-6},{east + 1},{north + 1}", ["夜2", "night-1"]),
        (f"{west - 1},{south - 1},{west - 0.01},{south - 0.01}", []),
    ):
        assert [item["id"] for item in client.get(ROOT, params={"area": area}).json()["items"]] == ids


@pytest.mark.parametrize("area", ["", "1,2,3", "a,b,c,d", "2,1,1,2", "nan,1,2,3", "0,0,190,1", "1,2,3,4,5"])
def test_an_area_that_is_none_is_refused(client: TestClient, area: str) -> None:
    response = client.get(ROOT, params={"area": area})
    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert response.json()["errors"] == [{"field": "area", "code": "bounding_box"}]


def test_a_scene_says_what_was_seen_when(found: dict[str, Any]) -> None:
    assert (found["taken_at"], found["findings_count"]) == (f"{TAKEN:%Y-%m-%dT%H:%M:%SZ}", 2)
    assert found["before_at"] == "2016-06-01T03:00:00Z"
    assert box(*found["bounds"]).buffer(1e-6).contains(shape(found["coverage"]))


def test_an_id_in_chinese_is_an_address_like_any_other(client: TestClient) -> None:
    assert client.get(f"{ROOT}/夜2").json()["taken_at"] == f"{NIGHT:%Y-%m-%dT%H:%M:%SZ}"


def test_findings_are_geojson_and_can_be_cut_to_an_area(client: TestClient) -> None:
    response = client.get(f"{ROOT}/night-1/findings.geojson")
    assert response.headers["content-type"] == "application/geo+json"
    features = response.json()["features"]
    assert [feature["id"] for feature in features] == ["night-1.1", "night-1.2"]
    assert {feature["properties"]["status"] for feature in features} == {"suspected"}
    new = features[0]
    assert new["properties"]["kind"] == "new"
    lon, lat = middle(new)
    area = f"{lon},{lat},{lon},{lat}"
    cut = client.get(f"{ROOT}/night-1/findings.geojson", params={"area": area}).json()["features"]
    assert cut == [new]


# --- Imagery ----------------------------------------------------------------------------------------------


def test_the_tiles_that_tilejson_names_show_the_finding_where_it_lies(client: TestClient) -> None:
    [new, _] = client.get(f"{ROOT}/night-1/findings.geojson").json()["features"]
    lon, lat = middle(new)
    for layer, magenta in (("before", False), ("after", True)):
        about = client.get(f"{ROOT}/night-1/{layer}/tilejson.json").json()
        west, south, east, north = about["bounds"]
        assert west < lon < east
        assert south < lat < north
        place = MERCATOR.tile(lon, lat, about["maxzoom"])
        link = about["tiles"][0].format(z=place.z, x=place.x, y=place.y)
        response = client.get(f"{urlsplit(link).path}?{urlsplit(link).query}")
        assert response.headers["content-type"] == "image/png"
        pixels = np.asarray(Image.open(io.BytesIO(response.content)))
        x, y = MERCATOR.xy(lon, lat)
        bounds = MERCATOR.xy_bounds(place)
        row = int((bounds.top - y) / (bounds.top - bounds.bottom) * 256)
        column = int((x - bounds.left) / (bounds.right - bounds.left) * 256)
        assert (pixels[row, column].tolist() == [255, 0, 255, 255]) == magenta


def test_a_cut_out_shows_the_finding_in_its_middle(client: TestClient) -> None:
    [new, _] = client.get(f"{ROOT}/night-1/findings.geojson").json()["features"]
    lon, lat = middle(new)
    for layer, magenta in (("before", False), ("after", True), ("probability", False)):
        query = {"lon": lon, "lat": lat, "metres": 40, "size": 200}
        response = client.get(f"{ROOT}/night-1/{layer}/chip.jpg", params=query)
        assert response.headers["content-type"] == "image/jpeg"
        picture = Image.open(io.BytesIO(response.content))
        assert picture.size == (200, 200)
        pixels = np.asarray(picture).astype(int)
        wide = (pixels[100, :, 1] < 90) & (pixels[100, :, 0] > 180)
        assert wide.sum() == pytest.approx(magenta * NEW[2] * 0.5 / 40 * 200, abs=6)


def test_a_picture_that_is_known_is_not_drawn_again(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    place = MERCATOR.tile(*PLACE, 17)
    for path in (
        f"{ROOT}/night-1/after/tiles/17/{place.x}/{place.y}.png",
        f"{ROOT}/night-1/after/chip.jpg?lon={PLACE[0]}&lat={PLACE[1]}",
    ):
        first = client.get(path)
        assert first.status_code == 200
        assert first.headers["cache-control"] == "private, max-age=3600"
        tag = first.headers["etag"]
        with monkeypatch.context() as patch:
            patch.setattr("service.scenes.imagery._read", None)  # it would fail if it were asked
            again = client.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        other = client.get(path.replace("/after/", "/before/"))
        assert other.headers["etag"] != tag


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nothing", 404, "scene_not_found"),
        ("/nothing/findings.geojson", 404, "scene_not_found"),
        ("/nothing/after/tiles/0/0/0.png", 404, "scene_not_found"),
        ("/夜2/after/tiles/0/0/0.png", 404, "layer_not_found"),
        ("/夜2/after/tilejson.json", 404, "layer_not_found"),
        ("/night-1/infrared/tilejson.json", 422, "invalid"),
        ("/night-1/after/tiles/3/8/0.png", 404, "tile_not_found"),
        ("/night-1/after/tiles/25/0/0.png", 404, "tile_not_found"),
        ("/night-1/after/tiles/-1/0/0.png", 404, "tile_not_found"),
        ("/night-1/after/tiles/a/0/0.png", 422, "invalid"),
        ("/night-1/after/chip.jpg?lon=0&lat=0", 404, "place_outside_scene"),
        ("/night-1/after/chip.jpg?lon=0", 422, "invalid"),
        ("/night-1/after/chip.jpg?lon=0&lat=90", 422, "invalid"),
        ("/night-1/after/chip.jpg?lon=0&lat=0&metres=1", 422, "invalid"),
        ("/night-1/after/chip.jpg?lon=0&lat=0&size=9999", 422, "invalid"),
        ("/night-1/after/chip.jpg?lon=nan&lat=nan", 422, "invalid"),
    ],
)
def test_what_cannot_be_shown_is_said_as_a_problem(client: TestClient, path: str, status: int, code: str) -> None:
    response = client.get(f"{ROOT}{path}")
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["remedy"]


def test_nobody_sees_anything_without_signing_in(world: House) -> None:
    stranger = world.stranger()
    layer = "/night-1/after"
    pictures = (f"{layer}/tilejson.json", f"{layer}/tiles/0/0/0.png", f"{layer}/chip.jpg?lon={PLACE[0]}&lat={PLACE[1]}")
    for path in ("", "/night-1", "/night-1/findings.geojson", *pictures):
        assert stranger.get(f"{ROOT}{path}").status_code == 401
        assert world.browser("aud", "auditor").get(f"{ROOT}{path}").status_code == 200


def test_a_scan_that_is_posted_is_a_scene(world: House) -> None:
    analyst = world.browser("ana", "analyst")
    given = {
        "scene": "posted", "taken_at": (NIGHT - timedelta(days=900)).isoformat(),
        "findings": {"type": "FeatureCollection", "features": []}, "coverage": mapping(square(0, 0, 50)),
    }  # fmt: skip
    assert analyst.post("/api/v1/ledger/scans", json=given).status_code == 200
    assert analyst.get(f"{ROOT}/posted").json()["layers"] == []
    assert analyst.post("/api/v1/ledger/scans", json=given | {"scene": "a/b"}).status_code == 422


def test_links_to_tiles_go_to_where_the_service_is_known(tmp_path: Any, red: Any) -> None:
    with new_database(tmp_path) as url, pytest.MonkeyPatch.context() as patch:
        settings = Settings(data_dir=tmp_path, database_url=url, accounts="off", public_url="https://jingdi.example/")
        with TestClient(
            create_app(settings, load=lambda: red), base_url="http://127.0.0.1", client=("127.0.0.1", 50000)
        ) as client:
            taken_in(client.app.state.services.pairs.engine, settings, patch)  # type: ignore[attr-defined]
            tiles = client.get(f"{ROOT}/night-1/after/tilejson.json").json()["tiles"]
    assert tiles[0].startswith("https://jingdi.example/api/v1/scenes/night-1/after/tiles/{z}/{x}/{y}.png?v=")
