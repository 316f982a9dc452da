"""The HTTP interface: what goes in, what comes out, and that nothing bad that goes in does harm."""

from __future__ import annotations

import io
import json
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.crs import CRS

from datasets.geotiff import write_geotiff
from datasets.raster import Raster
from inference.findings import Assessment
from inference.model import Model
from tests.databases import SERVER

Scene = tuple[NDArray[np.uint8], NDArray[np.uint8]]
Encode = Callable[..., bytes]


# --- A pair, from upload to result ------------------------------------------------------------------------


def test_a_pair_is_accepted_at_once_and_compared_in_the_background(service: Any, before: bytes, after: bytes) -> None:
    response = service.submit(before, after, gsd="0.5")
    assert response.status_code == 202
    pair = response.json()
    assert response.headers["location"] == f"/api/v1/pairs/{pair['id']}"
    assert (pair["status"], pair["report"], pair["gsd"]) == ("queued", None, 0.5)

    done = service.wait(pair["id"])
    assert (done["status"], done["progress"], done["verdict"]) == ("done", 1.0, "new")


def test_the_report_has_each_finding_with_its_area(service: Any, before: bytes, after: bytes) -> None:
    report = service.finish(before, after, gsd="0.5")["report"]
    assert report["verdict"]["kind"] == "new"
    assert {kind: total["count"] for kind, total in report["totals"].items()} == {
        "new": 1, "remaining": 1, "removed": 1,
    }  # fmt: skip
    new = next(finding for finding in report["findings"] if finding["kind"] == "new")
    assert new["area_m2"] == pytest.approx(24 * 24 * 0.25, rel=0.15)
    assert report["model"] == {"name": "red", "version": "1", "sha256": "0" * 64}


def test_without_a_ground_resolution_areas_stay_in_pixels(service: Any, before: bytes, after: bytes) -> None:
    report = service.finish(before, after)["report"]
    assert all(finding["area_m2"] is None and finding["area_px"] > 0 for finding in report["findings"])
    assert "no_gsd" in [note["code"] for note in report["verdict"]["notes"]]


def test_the_pictures_and_the_geojson_can_be_fetched(service: Any, before: bytes, after: bytes) -> None:
    pair = service.finish(before, after)
    for name, media_type in (
        ("before.jpg", "image/jpeg"), ("after.jpg", "image/jpeg"), ("thumb.jpg", "image/jpeg"),
        ("overlay.png", "image/png"), ("findings.geojson", "application/geo+json"),
    ):  # fmt: skip
        response = service.client.get(f"/api/v1/pairs/{pair['id']}/{name}")
        assert (response.status_code, response.headers["content-type"]) == (200, media_type)
        if media_type.startswith("image/"):
            assert Image.open(io.BytesIO(response.content)).format in ("JPEG", "PNG")
        else:
            assert response.json()["type"] == "FeatureCollection"


def test_pictures_are_not_there_before_the_comparison_is_over(
    open_service: Any, red: Any, before: bytes, after: bytes
) -> None:
    go = threading.Event()

    def wait(*args: Any) -> Assessment:
        assert go.wait(20)
        return red(*args)

    with open_service(wait) as service:
        pair = service.submit(before, after).json()
        response = service.client.get(f"/api/v1/pairs/{pair['id']}/overlay.png")
        assert (response.status_code, response.json()["code"]) == (409, "not_finished")
        go.set()
        assert service.wait(pair["id"])["status"] == "done"


def test_a_refused_pair_has_a_report_but_no_pictures(service: Any, before: bytes) -> None:
    pair = service.finish(before, before)
    assert pair["verdict"] == "not_comparable"
    assert [reason["code"] for reason in pair["report"]["verdict"]["reasons"]] == ["same_image"]
    response = service.client.get(f"/api/v1/pairs/{pair['id']}/before.jpg")
    assert (response.status_code, response.json()["code"]) == (404, "no_imagery")


def test_pairs_are_listed_newest_first_and_in_pages(service: Any, before: bytes, after: bytes) -> None:
    ids = [service.submit(before, after).json()["id"] for _ in range(3)]
    first = service.client.get("/api/v1/pairs", params={"limit": 2}).json()
    rest = service.client.get("/api/v1/pairs", params={"limit": 2, "offset": 2}).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == ids[::-1]
    assert first["total"] == rest["total"] == 3
    assert "report" not in first["items"][0]


def test_a_deleted_pair_leaves_nothing_behind(service: Any, before: bytes, after: bytes) -> None:
    pair = service.finish(before, after)
    assert service.client.delete(f"/api/v1/pairs/{pair['id']}").status_code == 204
    assert service.client.get(f"/api/v1/pairs/{pair['id']}").status_code == 404
    assert service.client.delete(f"/api/v1/pairs/{pair['id']}").status_code == 404
    assert service.stored == []


def test_a_file_name_keeps_no_folders_and_nothing_unprintable(service: Any, before: bytes, after: bytes) -> None:
    files = {"before": ("../../etc/院落\u202e.png", before), "after": ("C:\\Photos\\after.png", after)}
    pair = service.client.post("/api/v1/pairs", files=files).json()
    assert (pair["before_name"], pair["after_name"]) == ("院落.png", "after.png")


def test_georeferenced_pictures_give_findings_in_longitude_and_latitude(
    service: Any, scene: Scene, tmp_path: Path
) -> None:
    files = []
    for name, pixels in zip(("before.tif", "after.tif"), scene, strict=True):
        transform = Affine(0.5, 0, 430_000, 0, -0.5, 4_418_000)
        valid = np.ones(pixels.shape[:2], np.bool_)
        write_geotiff(Raster(pixels, valid, name, CRS.from_epsg(32650), transform, 0.5), tmp_path / name)
        files.append((tmp_path / name).read_bytes())
    pair = service.finish(*files)
    assert pair["report"]["registration"]["model"] == "georeference"
    features = service.client.get(f"/api/v1/pairs/{pair['id']}/findings.geojson").json()["features"]
    assert {feature["properties"]["kind"] for feature in features} == {"new", "remaining", "removed"}
    for finding in pair["report"]["findings"]:
        assert finding["centroid_lonlat"] == pytest.approx([116.18, 39.91], abs=0.02)
        assert finding["area_m2"] == pytest.approx(144, rel=0.15)


def test_the_released_weights_are_what_compares_by_default(open_service: Any, before: bytes, after: bytes) -> None:
    with open_service(load=None) as service:
        report = service.finish(before, after, gsd="0.5")["report"]
    assert report["verdict"]["kind"] in ("new", "remaining")
    assert report["model"]["sha256"] == Model.load().sha256


# --- Unusual pictures that are fine -----------------------------------------------------------------------


def test_pictures_of_different_sizes_are_compared(service: Any, scene: Scene, as_file: Encode) -> None:
    smaller = Image.fromarray(scene[1]).resize((240, 240))
    assert service.finish(as_file(scene[0]), as_file(smaller))["status"] == "done"


def test_16_bit_pictures_are_compared(service: Any, scene: Scene, as_file: Encode) -> None:
    deep = [as_file(pixels.mean(axis=2).astype(np.uint16) * 200) for pixels in scene]
    assert service.finish(*deep)["status"] == "done"


def test_grayscale_pictures_are_compared_with_a_note(service: Any, scene: Scene, as_file: Encode) -> None:
    gray = [as_file(Image.fromarray(pixels).convert("L")) for pixels in scene]
    pair = service.finish(*gray)
    assert pair["status"] == "done"
    assert "grayscale" in [note["code"] for note in pair["report"]["verdict"]["notes"]]


def test_transparent_parts_are_not_observed(service: Any, scene: Scene, as_file: Encode) -> None:
    pictures = []
    for pixels in scene:
        image = Image.fromarray(pixels).convert("RGBA")
        alpha = np.full(pixels.shape[:2], 255, np.uint8)
        alpha[:, :64] = 0
        image.putalpha(Image.fromarray(alpha))
        pictures.append(as_file(image))
    pair = service.finish(*pictures)
    assert pair["report"]["verdict"]["observed_share"] == pytest.approx(0.75, abs=0.02)


def test_cmyk_pictures_are_compared(service: Any, scene: Scene, as_file: Encode) -> None:
    pair = service.finish(*(as_file(Image.fromarray(x).convert("CMYK"), "JPEG", quality=95) for x in scene))
    assert pair["status"] == "done"


def test_a_photograph_taken_sideways_is_turned_upright_and_loses_its_exif(
    service: Any, scene: Scene, as_file: Encode
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "A camera"
    sideways = [as_file(Image.fromarray(x[:160]), "JPEG", quality=95, exif=exif) for x in scene]
    pair = service.finish(*sideways)
    shown = service.client.get(f"/api/v1/pairs/{pair['id']}/before.jpg")
    picture = Image.open(io.BytesIO(shown.content))
    assert picture.size == (160, 256)
    assert not picture.getexif()
    assert b"A camera" not in shown.content


# --- Input that cannot be used: refused, explained, not stored --------------------------------------------


def refuse(service: Any, response: Any, status: int, code: str, side: str | None) -> None:
    problem = response.json()
    assert (response.status_code, problem["code"], problem.get("side")) == (status, code, side)
    assert response.headers["content-type"] == "application/problem+json"
    assert service.stored == []


def test_a_file_that_is_not_a_picture_is_refused(service: Any, after: bytes) -> None:
    refuse(service, service.submit(b"%PDF-1.7 no picture", after), 415, "not_an_image", "before")


def test_a_truncated_picture_is_refused(service: Any, before: bytes, after: bytes) -> None:
    refuse(service, service.submit(before, after[: len(after) // 2]), 422, "truncated", "after")


def test_an_empty_file_is_refused(service: Any, before: bytes) -> None:
    refuse(service, service.submit(before, b""), 422, "empty_file", "after")


def test_an_animation_is_refused(service: Any, before: bytes, as_file: Encode) -> None:
    frames = [Image.new("RGB", (80, 80), colour) for colour in ("red", "green", "blue")]
    film = as_file(frames[0], "GIF", save_all=True, append_images=frames[1:])
    refuse(service, service.submit(before, film), 422, "animated", "after")


def test_200_megapixels_are_refused_from_the_header_alone(service: Any, after: bytes) -> None:
    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    refuse(service, service.submit(bomb, after), 413, "too_many_pixels", "before")


def test_a_file_over_the_limit_is_refused(service: Any, before: bytes) -> None:
    refuse(service, service.submit(before, b"\0" * (2 * 2**20 + 1)), 413, "too_many_bytes", "after")


def test_a_request_over_the_limit_is_refused_by_its_content_length(service: Any) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(10**10)}
    response = service.client.post("/api/v1/pairs", content=b"", headers=headers)
    refuse(service, response, 413, "too_many_bytes", None)


def test_a_request_over_the_limit_is_refused_while_it_arrives(service: Any) -> None:
    def endless() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="before"; filename="a.png"\r\n\r\n'
        for _ in range(64):
            yield b"\0" * 2**17

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = service.client.post("/api/v1/pairs", content=endless(), headers=headers)
    refuse(service, response, 413, "too_many_bytes", None)


def test_a_picture_of_one_pixel_is_accepted_but_not_judged(service: Any, after: bytes, as_file: Encode) -> None:
    pair = service.finish(as_file(np.zeros((1, 1, 3), np.uint8)), after)
    assert pair["verdict"] == "not_comparable"
    assert [reason["code"] for reason in pair["report"]["verdict"]["reasons"]] == ["too_small"]


@pytest.mark.parametrize("gsd", ["-0.5", "0", "nan", "inf", "1e308"])
def test_a_ground_resolution_that_makes_no_sense_is_refused(
    service: Any, before: bytes, after: bytes, gsd: str
) -> None:
    refuse(service, service.submit(before, after, gsd=gsd), 422, "bad_gsd", None)


def test_a_ground_resolution_that_is_not_a_number_is_refused(service: Any, before: bytes, after: bytes) -> None:
    response = service.submit(before, after, gsd="half a metre")
    refuse(service, response, 422, "invalid", None)
    assert response.json()["errors"] == [{"field": "gsd", "code": "float_parsing"}]


def test_an_empty_ground_resolution_counts_as_unknown(service: Any, before: bytes, after: bytes) -> None:
    assert service.submit(before, after, gsd="").json()["gsd"] is None


def test_a_missing_picture_is_refused(service: Any, before: bytes) -> None:
    response = service.client.post("/api/v1/pairs", files={"before": ("a.png", before)})
    refuse(service, response, 422, "invalid", None)
    assert response.json()["errors"] == [{"field": "after", "code": "missing"}]


def test_a_misspelt_field_is_refused_and_not_overlooked(service: Any, before: bytes, after: bytes) -> None:
    refuse(service, service.submit(before, after, gds="0.5"), 422, "invalid", None)


def test_text_in_place_of_a_file_is_refused(service: Any, after: bytes) -> None:
    response = service.client.post("/api/v1/pairs", data={"before": "x"}, files={"after": ("a.png", after)})
    refuse(service, response, 422, "invalid", None)


def test_a_body_that_is_no_form_is_refused(service: Any) -> None:
    refuse(service, service.client.post("/api/v1/pairs", json={"before": 1}), 415, "unsupported_media_type", None)


def test_a_broken_form_is_refused(service: Any) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    refuse(service, service.client.post("/api/v1/pairs", content=b"x", headers=headers), 400, "bad_request", None)


def test_a_page_of_another_site_cannot_submit_or_delete(service: Any, before: bytes, after: bytes) -> None:
    service.client.headers["Sec-Fetch-Site"] = "cross-site"
    refuse(service, service.submit(before, after), 403, "cross_site", None)


@pytest.mark.parametrize("pair_id", ["0" * 32, "x", "a%00b", "..%2f..%2fetc"])
def test_an_unknown_pair_is_not_found(service: Any, pair_id: str) -> None:
    for suffix in ("", "/overlay.png"):
        response = service.client.get(f"/api/v1/pairs/{pair_id}{suffix}")
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"


# --- Operations -------------------------------------------------------------------------------------------


def test_it_is_alive_and_ready(service: Any) -> None:
    assert service.client.get("/healthz").json() == {"status": "ok"}
    ready = service.client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]) == (200, {"database": True, "model": True})


@pytest.mark.skipif(SERVER is not None, reason="takes SQLite's file away")
def test_it_is_not_ready_without_its_database(service: Any) -> None:
    folder = service.settings.data_dir
    folder.rename(folder.with_name("elsewhere"))  # the whole folder: threads of the service would make the file anew
    service.client.app.state.services.pairs.engine.dispose()
    ready = service.client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]) == (503, {"database": False, "model": True})
    assert service.client.get("/healthz").status_code == 200


def test_metrics_count_requests_by_route_and_pairs_by_verdict(service: Any, before: bytes, after: bytes) -> None:
    service.finish(before, after)
    text = service.client.get("/metrics").text
    assert 'jingdi_pairs_total{verdict="new"} 1.0' in text
    assert "jingdi_queue_length 0.0" in text
    assert 'method="POST",route="/api/v1/pairs",status="202"} 1.0' in text
    assert 'route="/api/v1/pairs/{id}"' in text


def test_every_response_has_the_security_headers(service: Any) -> None:
    for path in ("/", "/api/v1/pairs", "/nothing", "/static/base.css", "/healthz"):
        headers = service.client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "cache-control" in headers


# --- OpenAPI ----------------------------------------------------------------------------------------------


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_openapi_document_is_made_without_a_warning(service: Any) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        document = service.client.get("/api/v1/openapi.json").json()
    assert caught == []
    assert document["openapi"].startswith("3.1")


def test_every_operation_is_named_described_and_tagged(service: Any) -> None:
    document = service.client.get("/api/v1/openapi.json").json()
    tags = {tag["name"] for tag in document["tags"]}
    found = operations(document)
    names = [operation["operationId"] for _, operation in found]
    assert len(set(names)) == len(names) > 10
    for name, operation in found:
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name


def test_every_problem_in_the_openapi_document_is_problem_json(service: Any) -> None:
    document = service.client.get("/api/v1/openapi.json").json()
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if status.startswith("4"):
                assert list(response["content"]) == ["application/problem+json"], (name, status)


def test_every_reference_in_the_openapi_document_leads_somewhere(service: Any) -> None:
    document = service.client.get("/api/v1/openapi.json").json()
    schemas = document["components"]["schemas"]
    text = json.dumps(document)
    references = {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}
    assert references <= set(schemas)
    assert not {"HTTPValidationError", "ValidationError"} & set(schemas)
