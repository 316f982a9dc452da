"""What a scene may be given as, from a server of our own where it comes over the network."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image
from pyproj import Transformer

from datasets.scene import Access, SceneError, SceneReader, grid_of
from datasets.scene_sources import is_tiles, open_scene, read_pairs
from inference.reasons import InputError
from inference.scan.plan import grid_for, read_area
from tests.imagery import UTM, geotiff, ground
from tests.scans import opened, write

NOWHERE = Access()


class Server:
    """Files by path, with byte ranges; `tiles` answers what is left."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.tiles: Any = lambda path: None
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def _answer(self, *, body: bool) -> None:
                data = server.files.get(self.path) or server.tiles(self.path)
                if data is None:
                    self.send_error(404)
                    return
                ranged = self.headers.get("Range")
                start, stop = 0, len(data)
                if ranged:
                    first, _, last = ranged.removeprefix("bytes=").partition("-")
                    start, stop = int(first), min(len(data), int(last or len(data)) + 1)
                    server.asked.append(self.path)
                self.send_response(206 if ranged else 200)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(stop - start))
                if ranged:
                    self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
                self.end_headers()
                if body:
                    self.wfile.write(data[start:stop])

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._http.server_port}"
        self.url = f"http://{self.host}"
        self.access = Access(frozenset({self.host}))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


# --- GeoTIFF ----------------------------------------------------------------------------------------------


def test_a_file_knows_its_date(tmp_path: Path) -> None:
    assert opened(write(tmp_path / "a.tif", ground(1, 64), 1)).captured_at == datetime(2017, 9, 20, 3, tzinfo=UTC)


def test_a_file_on_a_server_is_read_in_pieces(server: Server) -> None:
    pixels = ground(1, 512)
    server.files["/a.tif"] = geotiff(pixels, tiled=True, blockxsize=128, blockysize=128)
    scene = open_scene([f"{server.url}/a.tif"], server.access)
    with SceneReader(scene, grid_of(scene)) as reader:
        values, seen = reader.read(100, 100, 64, 64)
    assert np.array_equal(values, pixels[100:164, 100:164])
    assert seen.all()
    assert server.asked


def test_a_server_that_is_not_allowed_is_not_asked(server: Server) -> None:
    server.files["/a.tif"] = geotiff(ground(1, 64))
    for source in ("a.tif", "{z}/{x}/{y}.png", "item.json"):
        with pytest.raises(SceneError) as refused:
            open_scene([f"{server.url}/{source}"], NOWHERE)
        assert refused.value.code == "source_not_allowed"
    assert not server.asked


# --- Tiles ------------------------------------------------------------------------------------------------

LON, LAT, ZOOM = 116.19, 39.91, 18


def _tile(path: str) -> bytes | None:
    """A tile of the world whose colour says which it is; odd columns are missing."""
    z, x, y = (int(part) for part in path.strip("/").removesuffix(".png").split("/"))
    if z != ZOOM or x % 2:
        return None
    buffer = io.BytesIO()
    Image.new("RGB", (256, 256), (x % 200 + 20, y % 200 + 20, 99)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("template", ["{z}/{x}/{y}.png", "{TileMatrix}/{TileCol}/{TileRow}.png"], ids=["XYZ", "WMTS"])
def test_a_tile_template_is_a_scene_and_missing_tiles_are_unseen(server: Server, template: str) -> None:
    server.tiles = _tile
    scene = open_scene([f"{server.url}/{template}"], server.access, zoom=ZOOM)
    assert is_tiles(scene)
    side = 2 * 20037508.342789244 / 2**ZOOM
    x, y = Transformer.from_crs(4326, 3857, always_xy=True).transform(LON, LAT)
    column, row = int((x + 20037508.342789244) // side), int((20037508.342789244 - y) // side)
    column -= column % 2
    with SceneReader(scene, grid_of(scene)) as reader:
        values, seen = reader.read(row * 256, column * 256, 256, 512)
    assert values[128, 128].tolist() == [column % 200 + 20, row % 200 + 20, 99]
    assert seen[:, :256].all()
    assert not seen[:, 256:].any()


def test_tiles_need_an_area(server: Server) -> None:
    scene = open_scene([f"{server.url}/{{z}}/{{x}}/{{y}}.png"], server.access)
    with pytest.raises(InputError) as refused:
        grid_for(scene, scene)
    assert refused.value.reason.code == "area_needed"
    grid, _ = grid_for(scene, scene, area=shapely.box(LON, LAT, LON + 0.001, LAT + 0.001))
    assert (grid.width, grid.height) == (pytest.approx(187, abs=2), pytest.approx(243, abs=2))


def test_a_template_without_all_its_parts_is_refused(server: Server) -> None:
    with pytest.raises(SceneError) as refused:
        open_scene([f"{server.url}/{{z}}/{{x}}.png"], server.access)
    assert refused.value.code == "source_unreadable"


# --- STAC -------------------------------------------------------------------------------------------------


def item(name: str, href: str, date: str, **assets: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": None,
        "properties": {"datetime": date},
        "links": [],
        "assets": {"visual": {"href": href, "type": "image/tiff; application=geotiff"}} | assets,
    }


def test_an_item_gives_picture_date_and_clouds(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", ground(1, 64))
    document = item("S1", "./a.tif", "2017-06-30T03:00:00Z", cloud_mask={"href": "c.tif", "roles": ["cloud"]})
    (tmp_path / "item.json").write_text(json.dumps(document))
    scene = open_scene([str(tmp_path / "item.json")], NOWHERE)
    assert (scene.name, scene.captured_at) == ("S1", datetime(2017, 6, 30, 3, tzinfo=UTC))
    assert scene.sources == (str(tmp_path / "a.tif"),)
    assert scene.clouds == (str(tmp_path / "c.tif"),)


def test_a_collection_gives_its_items_the_latest_first(tmp_path: Path, server: Server) -> None:
    for i, date in enumerate(("2017-06-01", "2017-07-01")):
        server.files[f"/items/{i}.json"] = json.dumps(item(f"S{i}", f"{i}.tif", f"{date}T03:00:00Z")).encode()
    collection = {
        "type": "Collection",
        "id": "summer",
        "links": [{"rel": "item", "href": f"./items/{i}.json"} for i in (0, 1)] + [{"rel": "root", "href": "x"}],
    }
    server.files["/collection.json"] = json.dumps(collection).encode()
    scene = open_scene([f"{server.url}/collection.json"], server.access)
    assert [s.rsplit("/", 1)[1] for s in scene.sources] == ["1.tif", "0.tif"]
    assert scene.captured_at == datetime(2017, 7, 1, 3, tzinfo=UTC)


def test_a_document_cannot_lead_to_a_place_that_is_not_allowed(tmp_path: Path) -> None:
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item("S1", "https://elsewhere.example/a.tif", "2017-06-30T03:00:00Z")))
    with pytest.raises(SceneError) as refused:
        open_scene([str(path)], NOWHERE)
    assert refused.value.code == "source_not_allowed"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type": "Collection", "links": []}', '{"type": "Feature"}'])
def test_a_document_that_is_not_stac_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "item.json"
    path.write_text(text)
    with pytest.raises(SceneError) as refused:
        open_scene([str(path)], NOWHERE)
    assert refused.value.code == "bad_stac"


# --- Pairs and areas --------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_a_list_of_pairs_is_read_as_excel_saves_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("name,before,after\n古城,一.tif,二.tif\n,a.tif,https://h/b.tif\n", encoding)
    first, second = read_pairs(path)
    assert (first.name, first.before, first.after) == ("古城", str(tmp_path / "一.tif"), str(tmp_path / "二.tif"))
    assert (second.name, second.after) == ("0002", "https://h/b.tif")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("before\na.tif\n", 1),
        ("before,after\n", 1),
        ("before,after\na.tif,\n", 2),
        ("before,after,name\na.tif,b.tif,../../etc\n", 2),
        ("before,after,name\na.tif,b.tif,x\nc.tif,d.tif,x\n", 3),
    ],
)
def test_a_list_of_pairs_that_cannot_be_used_says_which_line(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(SceneError) as refused:
        read_pairs(path)
    assert (refused.value.code, refused.value.values["line"]) == ("bad_pairs", line)


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"type": "Point", "coordinates": [1, 2]}', '{"type": "Polygon", "coordinates": [[[431000, 4418000], '
     "[431100, 4418000], [431100, 4418100], [431000, 4418000]]]}"],
    ids=["empty", "nothing", "point", "metres"],
)  # fmt: skip
def test_an_area_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "area.geojson"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        read_area(path)
    assert refused.value.reason.code == "bad_area"


def test_an_area_elsewhere_and_dates_of_two_places_are_refused(tmp_path: Path) -> None:
    here = opened(write(tmp_path / "a.tif", ground(1, 64)))
    there = opened(write(tmp_path / "b.tif", ground(1, 64), transform=UTM.translation(9000, 0) @ UTM))
    for after, area, code in ((here, shapely.box(10, 50, 11, 51), "area_elsewhere"), (there, None, "no_overlap")):
        with pytest.raises(InputError) as refused:
            grid_for(here, after, area=area)
        assert refused.value.reason.code == code
