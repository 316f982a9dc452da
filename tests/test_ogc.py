"""OGC API Features: as the standard says, and as GDAL, which is what QGIS uses, opens it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import uvicorn
from fastapi.testclient import TestClient
from shapely.geometry import mapping, shape
from sqlalchemy.orm import Session

from service.ledger.rebound import take_in
from service.ledger.schemas import ScanIn
from service.ogc import COLLECTIONS, MAX_ITEMS, Asked
from service.scenes.errors import QueryUnusable
from tests.ledgers import NIGHT, site, square
from tests.people import House, house

FINDINGS = 25
PLAIN = ["", "/conformance", "/collections", "/collections/sites", "/collections/sites/items/A"]
Get = Any


def features(count: int) -> list[dict[str, Any]]:
    """Findings in a row, 20 m apart, the first on a site."""
    return [
        {"type": "Feature", "properties": {"kind": "new", "probability": 0.9, "area_m2": 100.0, "area_error_m2": 8.0},
         "geometry": mapping(square(20 * number + 10, 10, 10))}
        for number in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, red: Any) -> Iterator[House]:
    """A closed site with an alert, an open one that is a point, and two nights."""
    with house(tmp_path_factory.mktemp("ogc"), lambda: red) as made:
        with Session(made.engine) as session, session.begin():
            site(session, "A", side=30)
            point = mapping(square(500, 500, 0.01).centroid)
            site(session, "乙", 470, 470, state="open", geometry=point, radius_m=30.0, closed_on=None)
        for night, count in ((0, FINDINGS), (1, 3)):
            scan = ScanIn.model_validate(
                {"scene": f"night-{night}", "taken_at": NIGHT + timedelta(days=night), "model_sha256": "a" * 64,
                 "findings": {"type": "FeatureCollection", "features": features(count)},
                 "coverage": mapping(square(-50, -50, 600))}
            )  # fmt: skip
            take_in(made.engine, scan.scan, 20, record=scan.record)
        yield made


@pytest.fixture(scope="module")
def program(world: House) -> TestClient:
    return world.program(world.browser("ana", "analyst"), "read")


@pytest.fixture(scope="module")
def get(program: TestClient) -> Get:
    def get(path: str = "", **query: Any) -> Any:
        response = program.get(f"/ogc{path}", params=query)
        assert response.status_code == 200, response.text
        return response.json()

    return get


def items(get: Get, name: str, **query: Any) -> list[str]:
    return [feature["id"] for feature in get(f"/collections/{name}/items", **query)["features"]]


# --- As the standard says ---------------------------------------------------------------------------------


def test_the_landing_page_leads_everywhere(get: Get, program: TestClient) -> None:
    links = {link["rel"]: link for link in get()["links"]}
    assert set(links) == {"self", "service-desc", "conformance", "data"}
    for link in links.values():
        response = program.get(link["href"])
        assert response.status_code == 200
    assert "openapi" in program.get(links["service-desc"]["href"]).json()


def test_it_says_what_it_conforms_to(get: Get) -> None:
    classes = get("/conformance")["conformsTo"]
    assert "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core" in classes


def test_each_collection_says_where_and_when_it_is(get: Get) -> None:
    listed = get("/collections")["collections"]
    assert [each["id"] for each in listed] == list(COLLECTIONS)
    for each in listed:
        assert get(f"/collections/{each['id']}") == each
        assert {link["rel"] for link in each["links"]} == {"self", "items"}
        assert each["title"]
        [[west, south, east, north]] = each["extent"]["spatial"]["bbox"]
        assert 116.19 < west < east < 116.21
        assert 39.89 < south < north < 39.91
    temporal = {each["id"]: each["extent"].get("temporal") for each in listed}
    assert temporal["findings"] == {"interval": [["2026-03-01T02:00:00+00:00", "2026-03-02T02:00:00+00:00"]]}
    assert temporal["sites"] is None


def test_collections_of_an_empty_database_have_no_extent(tmp_path: Path, red: Any) -> None:
    with house(tmp_path, lambda: red) as empty:
        client = empty.browser("ana", "analyst")
        listed = client.get("/ogc/collections").json()["collections"]
        assert ["extent" in each for each in listed] == [False] * len(COLLECTIONS)
        page = client.get("/ogc/collections/findings/items").json()
        assert (page["features"], page["numberMatched"]) == ([], 0)


@pytest.mark.parametrize("name", ["findings", "alerts", "sites", "coverage"])
def test_a_page_and_each_of_its_features_are_geojson(get: Get, program: TestClient, name: str) -> None:
    response = program.get(f"/ogc/collections/{name}/items")
    assert response.headers["content-type"] == "application/geo+json"
    page = response.json()
    assert page["numberReturned"] == len(page["features"]) == page["numberMatched"] > 0
    assert page["timeStamp"].endswith("Z")
    for feature in page["features"]:
        assert shape(feature["geometry"]).is_valid
        single = get(f"/collections/{name}/items/{feature['id']}")
        links = {link["rel"]: link["href"] for link in single.pop("links")}
        assert single == feature
        assert program.get(links["self"]).status_code == program.get(links["collection"]).status_code == 200


def test_pages_lead_to_each_other_and_show_everything_once(get: Get, program: TestClient) -> None:
    page, seen = get("/collections/findings/items", limit=10, bbox="116,39,117,40"), []
    while True:
        assert page["numberMatched"] == FINDINGS + 3
        seen += [feature["id"] for feature in page["features"]]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        if not following:
            break
        assert ("bbox", "116,39,117,40") in parse_qsl(urlsplit(following[0]).query)
        page = program.get(following[0]).json()
    assert len(seen) == len(set(seen)) == FINDINGS + 3
    assert seen[0] == "night-1.1"  # newest first


def test_a_box_and_an_interval_select(get: Get) -> None:
    west, south, east, north = square(0, 0, 45).bounds
    here = f"{west},{south},{east},{north}"
    assert items(get, "findings", bbox=here) == [f"night-{night}.{number}" for night in (1, 0) for number in (1, 2)]
    assert items(get, "sites", bbox=here) == ["A"]
    assert items(get, "findings", bbox=f"{west},{south},0,{east},{north},50") == items(get, "findings", bbox=here)
    first = "2026-03-01T02:00:00Z"
    assert len(items(get, "findings", datetime=first)) == FINDINGS
    assert len(items(get, "findings", datetime=f"../{first}")) == FINDINGS
    assert len(items(get, "findings", datetime="2026-03-01T10:00:01+08:00/..")) == 3
    assert items(get, "coverage", datetime="2026-03-02T00:00:00Z/2026-03-03T00:00:00Z") == ["night-1"]
    assert items(get, "findings", datetime="2020-01-01T00:00:00Z") == []
    assert len(items(get, "sites", datetime="2020-01-01T00:00:00Z")) == 2  # they have no time, so any fits


def test_a_box_across_the_antimeridian_is_no_box_around_the_world(get: Get) -> None:
    assert items(get, "sites", bbox="170,30,-170,50") == []
    assert items(get, "sites", bbox="100,30,-170,50") == ["A", "乙"]


def test_an_alert_lies_where_its_site_does_and_says_what_became_of_it(get: Get) -> None:
    [alert] = get("/collections/alerts/items")["features"]
    sites = {each["id"]: each for each in get("/collections/sites/items")["features"]}
    assert alert["geometry"] == sites["A"]["geometry"]
    assert (alert["properties"]["site"], alert["properties"]["state"]) == ("A", "dispatched")
    assert alert["properties"]["looks"] == 2


def test_a_point_with_a_radius_is_the_circle_that_it_stands_for(get: Get) -> None:
    outline = shape(get("/collections/sites/items/乙")["geometry"])
    assert outline.geom_type == "Polygon"
    width = square(500, 500, 60).bounds
    assert outline.bounds[2] - outline.bounds[0] == pytest.approx(width[2] - width[0], rel=0.01)


def test_nothing_is_said_of_who_is_sent(get: Get) -> None:
    for name in COLLECTIONS:
        for feature in get(f"/collections/{name}/items")["features"]:
            assert "inspector" not in feature["properties"]


def test_a_limit_beyond_the_highest_is_no_mistake(get: Get) -> None:
    assert len(items(get, "findings", limit=10 * MAX_ITEMS)) == FINDINGS + 3
    assert Asked.read([("limit", str(10 * MAX_ITEMS))]).limit == MAX_ITEMS


@pytest.mark.parametrize(
    "query",
    [
        {"colour": "red"}, {"bbox": "1,2,3"}, {"bbox": "a,b,c,d"}, {"bbox": "1,9,2,8"}, {"bbox": "nan,1,2,3"},
        {"bbox": "190,1,191,2"}, {"datetime": "yesterday"}, {"datetime": "2026-03-01T00:00:00"}, {"datetime": ".."},
        {"datetime": "../.."}, {"datetime": "2026-03-02T00:00:00Z/2026-03-01T00:00:00Z"}, {"limit": "0"},
        {"limit": "-1"}, {"limit": "x"}, {"offset": "-1"}, {"offset": "99999999999999999999"},
    ],
    ids=str,
)  # fmt: skip
def test_a_query_that_makes_no_sense_is_refused_as_the_standard_wants(program: TestClient, query: Any) -> None:
    response = program.get("/ogc/collections/findings/items", params=query)
    assert (response.status_code, response.json()["code"]) == (400, "query_unusable")


def test_a_parameter_that_comes_twice_is_refused() -> None:
    with pytest.raises(QueryUnusable):
        Asked.read([("limit", "1"), ("limit", "2")])


@pytest.mark.parametrize(
    "path", ["", "/conformance", "/collections", "/collections/sites", "/collections/sites/items/A"]
)
def test_parameters_that_nobody_described_are_refused_everywhere(program: TestClient, path: str) -> None:
    assert program.get(f"/ogc{path}", params={"colour": "red"}).status_code == 400


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/collections/people", "collection_not_found"),
        ("/collections/people/items", "collection_not_found"),
        ("/collections/sites/items/无", "feature_not_found"),
        ("/collections/findings/items/night-0.9999", "feature_not_found"),
        ("/collections/findings/items/night-0", "feature_not_found"),
        ("/collections/findings/items/night-0.x", "feature_not_found"),
        ("/collections/findings/items/night-0.²", "feature_not_found"),
    ],
)
def test_what_is_not_there_is_said_so(program: TestClient, path: str, code: str) -> None:
    response = program.get(f"/ogc{path}")
    assert (response.status_code, response.json()["code"]) == (404, code)


def test_nobody_sees_anything_without_signing_in_or_a_key_that_may_read(world: House) -> None:
    for path in ("", "/collections", "/collections/sites/items", "/collections/findings/items/night-0.1"):
        assert world.stranger().get(f"/ogc{path}").status_code == 401
        assert world.browser("aud", "auditor").get(f"/ogc{path}").status_code == 200
    compares = world.program(world.browser("bob", "reviewer"), "compare")
    assert compares.get("/ogc/collections/sites/items").status_code == 403


# --- As GDAL opens it -------------------------------------------------------------------------------------


CLIENT = """
import json, sys
import numpy as np, pyogrio, shapely
address, key = sys.argv[1:3]
pyogrio.set_gdal_config_options({"GDAL_HTTP_AUTH": "BEARER", "GDAL_HTTP_BEARER": key})
source, found = f"OAPIF:{address}/ogc", {}
found["layers"] = pyogrio.list_layers(source)[:, 0].tolist()
for layer in found["layers"]:
    info, _, geometry, fields = pyogrio.raw.read(source, layer=layer, PAGE_SIZE=int(sys.argv[3]))
    outlines = shapely.from_wkb(geometry)
    found[layer] = {
        "crs": info["crs"], "fields": list(info["fields"]), "bounds": shapely.total_bounds(outlines).tolist(),
        "ids": [str(value) for value in dict(zip(info["fields"], fields))["id"]],
        "valid": bool(shapely.is_valid(outlines).all()),
    }
box = tuple(float(part) for part in sys.argv[4].split(","))
_, _, geometry, _ = pyogrio.raw.read(source, layer="findings", bbox=box)
found["in the box"] = len(geometry)
print(json.dumps(found))
"""


@contextmanager
def listening(world: House) -> Iterator[tuple[str, list[str]]]:
    """The service on a free port of this machine, and what it is asked for."""
    asked: list[str] = []

    async def noted(scope: Any, receive: Any, send: Any) -> None:
        asked.append(f"{scope['path']}?{scope['query_string'].decode()}")
        await world.app(scope, receive, send)

    config = uvicorn.Config(noted, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", asked
    finally:
        server.should_exit = True
        thread.join()


def opened(address: str, key: str, page: int, box: str = "0,0,1,1") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    arguments = [sys.executable, "-W", "ignore", "-c", CLIENT, address, key, str(page), box]
    return subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_gdal_reads_all_collections_page_by_page_with_an_api_key(world: House, program: TestClient) -> None:
    key = str(program.headers["authorization"]).removeprefix("Bearer ")
    west, south, east, north = square(0, 0, 45).bounds
    with listening(world) as (address, asked):
        result = opened(address, key, 10, f"{west},{south},{east},{north}")
        assert result.returncode == 0, result.stderr
        found = json.loads(result.stdout)
        refused = opened(address, "jk_wrong", 10)
    assert found["layers"] == list(COLLECTIONS)
    assert len(set(found["findings"]["ids"])) == FINDINGS + 3
    assert {"kind", "probability", "area_m2", "area_error_m2", "after_date"} <= set(found["findings"]["fields"])
    assert found["sites"]["ids"] == ["A", "乙"]
    assert found["coverage"]["bounds"] == pytest.approx(square(-50, -50, 600).bounds, abs=1e-6)
    for name in COLLECTIONS:
        assert found[name]["valid"]
        assert found[name]["crs"] in ("OGC:CRS84", "EPSG:4326")
    assert found["in the box"] == 4
    assert "/ogc/collections/findings/items?limit=10&offset=20" in asked
    assert refused.returncode != 0
    assert "401" in refused.stderr
