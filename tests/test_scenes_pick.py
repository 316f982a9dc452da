"""Two dates that are here, picked for a comparison: each once, cut out without loss, nothing unseen called clear."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from fastapi.testclient import TestClient
from rasterio.warp import transform_bounds
from sqlalchemy.orm import Session

from datasets.geotiff import write_geotiff
from service.idempotency import HEADER
from service.ledger.audit import writing
from service.ledger.tables import Site
from service.scenes import picking
from service.scenes.picking import NARROWEST_M, Place
from service.settings import Settings
from tests.dates import BLOCK, DAYS, GSD, MIDDLE, NEWEST_FIRST, SIDE, corner, imagery, look, picture, put, scene
from tests.imagery import geotiff
from tests.ledgers import site, square
from tests.people import House, house
from tests.queues import until

LIST, POST = "/api/v1/imagery", "/api/v1/pairs/from-scenes"
WHOLE = {"lon": MIDDLE[0], "lat": MIDDLE[1], "metres": 100}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, red: Any) -> Iterator[House]:
    """Seven dates, and a site in their middle."""
    folder = tmp_path_factory.mktemp("dates")
    with house(folder, lambda: red, max_bytes=2**20) as made:
        put(made.engine, Settings(data_dir=folder).scene_folders[0])
        with writing(made.engine) as session:
            site(session, "院/1", x=-20, y=-20, side=40)
            site(session, "W1", x=-20, y=-20_000, side=40)
        yield made


@pytest.fixture(scope="module")
def client(world: House) -> TestClient:
    return world.browser("ana", "analyst")


@pytest.fixture(scope="module")
def ids(client: TestClient) -> dict[str, str]:
    """Name -> id."""
    return {each["name"]: each["id"] for each in client.get(LIST).json()["items"]}


def folder_of(world: House) -> Path:
    found: Path = world.app.state.services.settings.data_dir
    return found


def lonlat(column: float, row: float) -> tuple[float, float]:
    """Where a pixel of the half-metre pictures lies."""
    x, y = corner() @ (column, row)
    lon, lat, *_ = transform_bounds("EPSG:32650", "EPSG:4326", x, y, x, y)
    return lon, lat


def compared(client: TestClient, before: str, after: str, place: Any = WHOLE) -> dict[str, Any]:
    """The pair, once it is compared."""
    response = client.post(POST, json={"before": before, "after": after, "place": place})
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/api/v1/pairs/{response.json()['id']}"
    return finished(client, response.json()["id"])


def finished(client: TestClient, pair_id: str) -> dict[str, Any]:
    until(lambda: client.get(f"/api/v1/pairs/{pair_id}").json()["status"] in ("done", "failed"))
    pair: dict[str, Any] = client.get(f"/api/v1/pairs/{pair_id}").json()
    assert pair["status"] == "done"
    return pair


# --- What there is ----------------------------------------------------------------------------------------


def test_every_date_is_listed_once_newest_first(client: TestClient) -> None:
    page = client.get(LIST).json()
    assert [item["name"] for item in page["items"]] == NEWEST_FIRST
    assert page["total"] == len(NEWEST_FIRST)
    assert [item["taken_at"] for item in page["items"]] == [f"{DAYS[name]:%Y-%m-%dT%H:%M:%SZ}" for name in NEWEST_FIRST]
    gsd = {item["name"]: item["gsd_m"] for item in page["items"]}
    assert gsd["old"] == pytest.approx(GSD, rel=0.002)
    assert gsd["coarse"] == pytest.approx(2 * GSD, rel=0.002)
    part = client.get(LIST, params={"limit": 2, "offset": 3}).json()
    assert ([item["name"] for item in part["items"]], part["total"]) == (NEWEST_FIRST[3:5], len(NEWEST_FIRST))


def test_a_date_is_known_by_all_that_scans_have_looked_at_of_it(client: TestClient) -> None:
    found = {item["name"]: item["bounds"] for item in client.get(LIST).json()["items"]}
    assert found["old"][0] == pytest.approx(found["new"][0])
    assert found["old"][2] == found["far"][2]


def test_only_what_touches_an_area_or_a_site_is_listed(client: TestClient) -> None:
    everything = client.get(LIST).json()["items"]
    west, south, east, north = next(item["bounds"] for item in everything if item["name"] == "new")
    here = client.get(LIST, params={"area": f"{west},{south},{east},{north}"}).json()["items"]
    of_site = client.get(LIST, params={"site": "院/1"}).json()["items"]
    assert [item["name"] for item in here] == [item["name"] for item in of_site] == NEWEST_FIRST[1:]
    nowhere = client.get(LIST, params={"site": "院/1", "area": "0,0,1,1"}).json()
    assert (nowhere["items"], nowhere["total"]) == ([], 0)
    assert client.get(LIST, params={"site": "W1"}).json()["items"] == []
    assert client.get(LIST, params={"area": "1,2,3"}).status_code == 422
    assert client.get(LIST, params={"site": "X"}).json()["code"] == "site_not_found"


@pytest.mark.parametrize("query", [{}, {"site": "院/1"}])
def test_a_thumbnail_shows_the_place(client: TestClient, query: dict[str, str]) -> None:
    [item] = [item for item in client.get(LIST, params=query).json()["items"] if item["name"] == "new"]
    answer = client.get(item["thumbnail"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")


def test_no_path_of_a_file_is_told(client: TestClient, world: House) -> None:
    text = client.get(LIST).text
    assert ".tif" not in text
    assert str(folder_of(world)) not in text


def test_what_has_no_date_or_no_files_or_lies_elsewhere_is_not_listed(
    world: House, client: TestClient, tmp_path: Path
) -> None:
    folder = folder_of(world) / "scenes"
    for path in (folder / "undated.tif", folder / "lost.tif", tmp_path / "outside.tif"):
        write_geotiff(picture("old"), path)
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    rows = [
        scene("lost", moment, folder / "undated.tif", folder / "lost.tif"),
        scene("outside", moment, None, tmp_path / "outside.tif"),
    ]
    with Session(world.engine) as session, session.begin():
        session.add_all(rows)
    names = [item["name"] for item in client.get(LIST).json()["items"]]
    assert names == [*NEWEST_FIRST, "lost"]
    lost = client.get(LIST).json()["items"][-1]["id"]
    (folder / "lost.tif").unlink()
    assert [item["name"] for item in client.get(LIST).json()["items"]] == NEWEST_FIRST
    given = {"before": lost, "after": client.get(LIST).json()["items"][0]["id"], "place": WHOLE}
    problem = client.post(POST, json=given)
    assert (problem.status_code, problem.json()["code"]) == (404, "imagery_gone")
    assert "lost" in problem.json()["detail"]


def test_an_id_stays_the_same_and_a_name_is_that_of_the_later_date(world: House) -> None:
    folders = [folder_of(world) / "scenes"]
    with Session(world.engine) as session:
        first, second = (picking.known(session, folders) for _ in range(2))
        assert [each.id for each in first] == [each.id for each in second]
        assert len({each.id for each in first}) == len(first)
        new = next(each for each in first if each.name == "new")
        session.add(
            scene("again", datetime(2027, 1, 1, tzinfo=UTC), Path(new.source.paths[0]), None, before_at=new.taken_at)
        )
        session.flush()
        again = next(each for each in picking.known(session, folders) if each.id == new.id)
        assert (again.name, again.layer, again.scene) == ("new", "after", "scene-new")
        session.rollback()


# --- Comparing --------------------------------------------------------------------------------------------


def test_two_dates_of_a_site_are_a_pair_like_any_other(client: TestClient, ids: dict[str, str]) -> None:
    pair = compared(client, ids["old"], ids["new"], "院/1")
    report = pair["report"]
    assert (report["verdict"]["kind"], report["verdict"]["observed_share"]) == ("new", 1.0)
    assert report["totals"]["new"]["count"] == 1
    assert report["totals"]["new"]["area_m2"] == pytest.approx(24 * 28 * GSD**2, rel=0.15)
    lon, lat = report["findings"][0]["centroid_lonlat"]
    rows, columns = BLOCK
    assert (lon, lat) == pytest.approx(
        lonlat((columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2), abs=1e-5
    )
    first, second = report["images"]["before"], report["images"]["after"]
    assert (first["name"], second["name"]) == ("old 院-1.tif", "new 院-1.tif")
    assert (first["captured_at"], second["captured_at"]) == ("2025-03-01T10:00:00", "2026-03-01T10:00:00")
    assert first["gsd"] == second["gsd"] == pytest.approx(GSD, rel=0.002)
    assert report["kind"] == "overhead"
    assert client.get(f"/pairs/{pair['id']}").status_code == 200
    assert "old 院-1.tif" in client.get("/").text


def test_the_page_of_the_site_offers_the_pair_as_evidence(
    client: TestClient, world: House, ids: dict[str, str]
) -> None:
    pair = compared(client, ids["old"], ids["calm"], "院/1")
    assert pair["report"]["verdict"]["kind"] == "clear"
    with writing(world.engine) as session:
        site(session, "C1", x=-20, y=-20, side=40, state="claimed_clear")
    assert f"pair:{pair['id']}" in world.browser("rev", "reviewer").get("/sites/C1").text


def test_what_is_cut_out_is_every_pixel_as_it_was(client: TestClient, world: House, ids: dict[str, str]) -> None:
    pair = compared(client, ids["old"], ids["half"])
    folder = folder_of(world) / "pairs" / pair["id"]
    for side, name in (("before", "old"), ("after", "half")):
        whole = picture(name)
        with rasterio.open(folder / side) as cut:
            column, row = (round(v) for v in ~corner() @ (cut.transform.c, cut.transform.f))
            assert cut.crs == whole.crs
            assert (cut.transform.a, cut.transform.e) == (GSD, -GSD)
            here = np.s_[row : row + cut.height, column : column + cut.width]
            np.testing.assert_array_equal(cut.dataset_mask() > 0, whole.valid[here])
            seen = whole.valid[here]
            np.testing.assert_array_equal(cut.read().transpose(1, 2, 0)[seen], whole.pixels[here][seen])
            assert 100 / GSD <= cut.width <= 100 / GSD + 8


@pytest.mark.parametrize(
    ("before", "after", "observed"), [("old", "half", 50), ("half", "coarse", 50), ("old", "blind", 0)]
)
def test_what_one_date_did_not_see_is_not_observed_and_never_clear(
    client: TestClient, ids: dict[str, str], before: str, after: str, observed: int
) -> None:
    verdict = compared(client, ids[before], ids[after])["report"]["verdict"]
    assert verdict["kind"] == "not_comparable"
    [reason] = verdict["reasons"]
    assert reason["code"] == "nodata"
    assert reason["values"]["observed_percent"] == pytest.approx(observed, abs=2)


def test_a_place_half_outside_of_the_imagery_is_half_observed(client: TestClient, ids: dict[str, str]) -> None:
    lon, lat = lonlat(SIDE, SIDE / 2)
    pair = compared(client, ids["old"], ids["calm"], {"lon": lon, "lat": lat, "metres": 100})
    assert pair["report"]["verdict"]["kind"] == "not_comparable"
    assert pair["report"]["verdict"]["observed_share"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("before", "after"), [("old", "coarse"), ("calm", "new")])
def test_each_date_keeps_its_own_pixels_and_the_later_one_reaches_to_every_edge(
    client: TestClient, world: House, ids: dict[str, str], before: str, after: str
) -> None:
    pair = compared(client, ids[before], ids[after])
    for side, name in (("before", before), ("after", after)):
        whole = picture(name)
        assert whole.transform is not None
        with rasterio.open(folder_of(world) / "pairs" / pair["id"] / side) as cut:
            assert (cut.crs, cut.transform.a) == (whole.crs, whole.transform.a)
    assert pair["report"]["verdict"]["observed_share"] == 1.0


def test_a_date_that_is_far_too_coarse_does_not_pass_for_a_fine_one(
    world: House, client: TestClient, ids: dict[str, str]
) -> None:
    path = folder_of(world) / "scenes" / "rough.tif"
    pixels = np.asarray(cv2.resize(look("calm"), (80, 80), interpolation=cv2.INTER_AREA), np.uint8)
    seen = np.ones(pixels.shape[:2], np.bool_)
    place = {"pixels": pixels, "valid": seen, "transform": corner(gsd=5 * GSD)}
    write_geotiff(dataclasses.replace(picture("old"), **place), path)
    with Session(world.engine) as session, session.begin():
        session.add(scene("rough", datetime(2026, 2, 3, 2, tzinfo=UTC), None, path))
    [rough] = [item["id"] for item in client.get(LIST).json()["items"] if item["name"] == "rough"]
    verdict = compared(client, ids["old"], rough, WHOLE | {"metres": 190})["report"]["verdict"]
    assert (verdict["kind"], verdict["reasons"][0]["code"]) == ("not_comparable", "resolution_mismatch")


def test_sixteen_bit_is_seen_in_the_light_of_its_scene(world: House, client: TestClient, ids: dict[str, str]) -> None:
    path = folder_of(world) / "scenes" / "deep.tif"
    values = look("calm").astype(np.uint16) * 8 + 1000
    path.write_bytes(geotiff(values, transform=corner()))
    row = scene("deep", datetime(2026, 2, 2, 2, tzinfo=UTC), None, path)
    row.after = imagery(path) and {**imagery(path), "range": [1000, 1000 + 255 * 8]}  # type: ignore[dict-item]
    with Session(world.engine) as session, session.begin():
        session.add(row)
    [deep] = [item["id"] for item in client.get(LIST).json()["items"] if item["name"] == "deep"]
    pair = compared(client, ids["old"], deep)
    with rasterio.open(folder_of(world) / "pairs" / pair["id"] / "after") as cut:
        column, top = (round(v) for v in ~corner() @ (cut.transform.c, cut.transform.f))
        there = look("calm")[top : top + cut.height, column : column + cut.width]
        np.testing.assert_array_equal(cut.read().transpose(1, 2, 0), there)
    assert pair["report"]["verdict"]["kind"] == "clear"


def test_the_same_request_with_a_key_is_one_pair(client: TestClient, ids: dict[str, str]) -> None:
    given = {"before": ids["old"], "after": ids["new"], "place": WHOLE}
    first, second = (client.post(POST, json=given, headers={HEADER: "pick-1"}) for _ in range(2))
    assert first.status_code == second.status_code == 202
    assert first.json()["id"] == second.json()["id"]
    other = client.post(POST, json=given | {"after": ids["calm"]}, headers={HEADER: "pick-1"})
    assert other.json()["code"] == "idempotency_key_reused"
    finished(client, first.json()["id"])


# --- What cannot be ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"after": "old"}, 422, "imagery_same"),
        ({"before": "half"}, 422, "imagery_order"),
        ({"after": "far"}, 422, "no_common_ground"),
        ({"place": WHOLE | {"metres": 1000}}, 422, "place_too_large"),
        ({"place": "X"}, 404, "site_not_found"),
        ({"before": "nothing"}, 404, "imagery_not_found"),
        ({"place": WHOLE | {"metres": NARROWEST_M - 1}}, 422, "invalid"),
        ({"place": WHOLE | {"lat": 90}}, 422, "invalid"),
        ({"place": {"lon": 1, "lat": 2}}, 422, "invalid"),
        ({"gsd": 0.5}, 422, "invalid"),
    ],
)
def test_what_cannot_be_compared_is_said_with_a_remedy_and_nothing_is_stored(
    client: TestClient, ids: dict[str, str], change: dict[str, Any], status: int, code: str
) -> None:
    pairs = client.get("/api/v1/pairs").json()["total"]
    given = {"before": "old", "after": "new", "place": WHOLE} | change
    given |= {side: ids.get(given[side], given[side]) for side in ("before", "after")}
    for language in ("zh", "en"):
        response = client.post(POST, json=given, headers={"Accept-Language": language})
        assert (response.status_code, response.json()["code"]) == (status, code), response.text
        assert response.json()["remedy"]
    assert client.get("/api/v1/pairs").json()["total"] == pairs


def test_how_large_a_place_can_be_is_said_and_is_true(client: TestClient, ids: dict[str, str]) -> None:
    given = {"before": ids["old"], "after": ids["calm"], "place": WHOLE | {"metres": 400}}
    problem = client.post(POST, json=given, headers={"Accept-Language": "en"}).json()
    most = int(problem["detail"].split("about ")[1].split(" m")[0])
    assert 200 < most < 400
    assert "smaller place" in problem["remedy"]
    assert "jingdi scan" in problem["remedy"]
    fits = client.post(POST, json=given | {"place": WHOLE | {"metres": most}})
    assert fits.status_code == 202
    finished(client, fits.json()["id"])


def test_who_may_look_may_list_and_who_may_compare_may_pick(world: House, ids: dict[str, str]) -> None:
    given = {"before": ids["old"], "after": ids["calm"], "place": WHOLE}
    stranger, auditor = world.stranger(), world.browser("aud", "auditor")
    assert [client.get(LIST).status_code for client in (stranger, auditor)] == [401, 200]
    assert [client.post(POST, json=given).status_code for client in (stranger, auditor)] == [401, 403]


def test_without_weights_nothing_is_taken(client: TestClient, world: House, ids: dict[str, str]) -> None:
    parts = world.app.state.services
    world.app.state.services = dataclasses.replace(parts, intake=None)
    try:
        response = client.post(POST, json={"before": ids["old"], "after": ids["calm"], "place": WHOLE})
    finally:
        world.app.state.services = parts
    assert (response.status_code, response.json()["code"]) == (503, "model_unavailable")


# --- Places -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [20.0, 400.0])
def test_all_of_a_site_lies_within_its_place(side: float) -> None:
    outline = square(-side / 2, -side / 2, side)
    row = Site(code="A", geometry=outline.__geo_interface__, radius_m=None)
    place = Place.of_site(row)
    west, south, east, north = place.bounds
    left, bottom, right, top = outline.bounds
    assert west < left < right < east
    assert south < bottom < top < north
    assert place.view.metres == pytest.approx(max(NARROWEST_M, 1.8 * side), abs=10)
