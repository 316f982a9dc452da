"""Photographs through the service: kind, site, another try, a person's check, and nothing that a camera wrote."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from datasets.raster import Raster
from inference.compare import Asked, compare
from inference.findings import Assessment, PictureKind
from inference.model import Model, ModelError
from service.comparisons import Progress
from service.database import connect
from service.ledger.audit import verify
from service.ledger.tables import AuditEntry
from tests.imagery import MagentaModel, encoded, later, look
from tests.test_compare import CLEARED, STANDING, models
from tests.test_exif import exif, placed

SECRET = "A camera of nobody"
BEFORE = encoded(STANDING, "JPEG", quality=95, exif=exif(make=SECRET, gps=placed()))
AFTER = encoded(CLEARED, "JPEG", quality=95, exif=exif(make=SECRET, gps=placed()))
SITE = "116.19,39.91,50"


def see(before: Raster, after: Raster, asked: Asked, progress: Progress) -> Assessment:
    return compare(before, after, models, asked, progress=progress)


def see_overhead(before: Raster, after: Raster, asked: Asked, progress: Progress) -> Assessment:
    def overhead_only(kind: PictureKind) -> Model:
        if kind == "photos":
            raise ModelError("no such file")
        return MagentaModel()  # type: ignore[return-value]

    return compare(before, after, overhead_only, asked, progress=progress)


@pytest.fixture
def photos(open_service: Any) -> Iterator[Any]:
    with open_service(see) as running:
        yield running


@pytest.fixture
def pair(photos: Any) -> dict[str, Any]:
    found: dict[str, Any] = photos.finish(BEFORE, AFTER, kind="photos", site=SITE)
    return found


def test_photographs_are_recognised_and_reported_as_such(photos: Any) -> None:
    pair = photos.finish(BEFORE, AFTER)
    report = pair["report"]
    assert (pair["kind"], report["kind"]) == ("auto", "photos")
    assert report["views"][1]["common"]["ground"] > 0.3
    assert report["views"][0]["whole"] is None
    assert report["registration"]["planes"] >= 1
    assert report["images"]["before"]["place"] == pytest.approx([116.19, 39.91])
    assert "standard_applied" in [note["code"] for note in report["verdict"]["notes"]]


def test_overhead_imagery_has_no_views(photos: Any) -> None:
    report = photos.finish(encoded(look()), encoded(later()), kind="overhead")["report"]
    assert (report["kind"], report["views"], report["images"]["before"]["place"]) == ("overhead", None, None)


def test_without_weights_for_photographs_the_service_runs_and_says_so(open_service: Any) -> None:
    with open_service(see_overhead) as service:
        assert service.client.get("/readyz").status_code == 200
        pair = service.finish(BEFORE, AFTER)
        assert [r["code"] for r in pair["report"]["verdict"]["reasons"]] == ["no_photo_weights"]
        page = service.client.get(f"/pairs/{pair['id']}").text
        assert "比对照片所用的模型尚未安装" in page
        assert service.finish(encoded(look()), encoded(later()))["verdict"] == "clear"


def test_a_kind_that_does_not_exist_is_refused(photos: Any) -> None:
    response = photos.submit(BEFORE, AFTER, kind="painting")
    assert (response.status_code, response.json()["code"]) == (422, "invalid")


def test_a_site_that_is_none_is_refused_and_nothing_stored(photos: Any) -> None:
    response = photos.submit(BEFORE, AFTER, site="somewhere")
    assert (response.status_code, response.json()["code"]) == (422, "bad_site")
    assert photos.stored == []


def test_photographs_from_elsewhere_are_refused_by_their_place(photos: Any) -> None:
    pair = photos.finish(BEFORE, AFTER, kind="photos", site="116.40,39.91,50")
    reasons = pair["report"]["verdict"]["reasons"]
    assert [(r["code"], r["values"]["side"]) for r in reasons] == [
        ("far_from_site", "before"),
        ("far_from_site", "after"),
    ]
    assert pair["site"]["properties"]["radius_m"] == 50


# --- Nothing that a camera wrote --------------------------------------------------------------------------


def given_out(photos: Any, pair: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    names = ("before.jpg", "after.jpg", "overlay.png", "thumb.jpg", "findings.geojson", "ghost.jpg")
    for name in names:
        response = photos.client.get(f"/api/v1/pairs/{pair['id']}/{name}")
        assert response.status_code == 200, name
        yield name, response.content


def test_nothing_given_out_carries_exif(photos: Any, pair: dict[str, Any]) -> None:
    assert SECRET.encode() in BEFORE
    for name, content in given_out(photos, pair):
        assert SECRET.encode() not in content, name
        assert b"Exif" not in content, name
        if not name.endswith(".geojson"):
            picture = Image.open(io.BytesIO(content))
            assert not picture.getexif()
            assert not {"exif", "xmp", "icc_profile"} & set(picture.info)


def test_originals_are_kept_and_not_given_out(photos: Any, pair: dict[str, Any]) -> None:
    folder: Path = photos.settings.data_dir / "pairs" / pair["id"]
    assert (folder / "before").read_bytes() == BEFORE
    for path in ("original/before", "original/after"):
        response = photos.client.get(f"/api/v1/pairs/{pair['id']}/{path}")
        assert (response.status_code, response.json()["code"]) == (403, "originals_closed")
    for path in ("before", "after", "../before"):
        assert photos.client.get(f"/api/v1/pairs/{pair['id']}/{path}").status_code == 404


def test_originals_are_given_out_where_the_operator_says_so(open_service: Any, settings: Any) -> None:
    with open_service(see, settings=settings.model_copy(update={"serve_originals": True})) as service:
        pair = service.finish(BEFORE, AFTER, kind="photos")
        response = service.client.get(f"/api/v1/pairs/{pair['id']}/original/before")
        assert response.content == BEFORE
        assert response.headers["content-disposition"].startswith("attachment")
        assert service.client.get(f"/api/v1/pairs/{pair['id']}/original/thumb").status_code == 422


# --- Another try ------------------------------------------------------------------------------------------


def retake(photos: Any, pair: dict[str, Any], after: bytes, **more: Any) -> Any:
    return photos.client.post(f"/api/v1/pairs/{pair['id']}/retake", files={"after": ("again.jpg", after)}, **more)


def test_a_refused_photograph_is_taken_again(photos: Any) -> None:
    refused = photos.finish(BEFORE, BEFORE, kind="photos", site=SITE)
    assert [r["code"] for r in refused["report"]["verdict"]["reasons"]] == ["same_image"]
    response = retake(photos, refused, AFTER)
    assert response.status_code == 202
    assert response.headers["location"].endswith(response.json()["id"])
    again = photos.wait(response.json()["id"])
    assert (again["report"]["kind"], again["before_name"], again["after_name"]) == ("photos", "before.png", "again.jpg")
    assert again["report"]["registration"]["inliers"] > 0
    assert again["site"] == refused["site"]
    assert photos.client.get(f"/api/v1/pairs/{refused['id']}").json() == refused


def test_only_photographs_are_taken_again(photos: Any) -> None:
    overhead = photos.finish(encoded(look()), encoded(later()), kind="overhead")
    assert retake(photos, overhead, AFTER).json()["code"] == "no_ghost"
    assert photos.client.get(f"/api/v1/pairs/{overhead['id']}/ghost.jpg").json()["code"] == "no_ghost"
    assert photos.client.get(f"/shoot/{overhead['id']}", headers={"accept": "text/html"}).status_code == 404


def test_a_bad_photograph_is_refused_and_nothing_stored(photos: Any, pair: dict[str, Any]) -> None:
    stored = photos.stored
    assert retake(photos, pair, b"no picture").json()["code"] == "not_an_image"
    assert photos.client.post(f"/api/v1/pairs/{pair['id']}/retake").json()["code"] == "unsupported_media_type"
    assert photos.stored == stored


def test_the_camera_is_allowed_on_its_page_and_nowhere_else(photos: Any, pair: dict[str, Any]) -> None:
    on_page = photos.client.get(f"/shoot/{pair['id']}")
    assert on_page.status_code == 200
    assert "camera=(self)" in on_page.headers["permissions-policy"]
    assert f"/api/v1/pairs/{pair['id']}/ghost.jpg" in on_page.text
    for path in ("/", f"/pairs/{pair['id']}", "/api/v1/pairs"):
        assert "camera=()" in photos.client.get(path).headers["permissions-policy"]


# --- A person's check -------------------------------------------------------------------------------------

SEEN = {"person": "王芳", "no_faces": True, "no_plates": True}


def check(photos: Any, pair: dict[str, Any], **body: Any) -> Any:
    return photos.client.put(f"/api/v1/pairs/{pair['id']}/check", json=SEEN | body)


def test_nothing_is_publishable_until_a_person_has_looked(photos: Any, pair: dict[str, Any]) -> None:
    assert (pair["publishable"], pair["checked_by"]) == (False, None)
    checked = check(photos, pair).json()
    assert (checked["publishable"], checked["checked_by"]) == (True, "王芳")
    assert "王芳" in photos.client.get(f"/pairs/{pair['id']}").text
    back = photos.client.delete(f"/api/v1/pairs/{pair['id']}/check", params={"person": "李强"}).json()
    assert (back["publishable"], back["checked_by"], back["checked_at"]) == (False, None, None)


def test_who_looked_stands_in_the_audit_log(photos: Any, pair: dict[str, Any]) -> None:
    check(photos, pair)
    check(photos, pair)
    photos.client.delete(f"/api/v1/pairs/{pair['id']}/check", params={"person": "李强"})
    photos.client.delete(f"/api/v1/pairs/{pair['id']}/check", params={"person": "李强"})  # nothing left to take back
    engine = connect(photos.settings.resolved_database_url)
    with Session(engine) as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.number)).all()
        subject = f"pair:{pair['id']}"
        assert [(e.actor, e.action) for e in entries if e.subject == subject] == [
            ("王芳", "pair.checked"), ("王芳", "pair.checked"), ("李强", "pair.unchecked"),
        ]  # fmt: skip
        assert verify(session).problem is None
    engine.dispose()


@pytest.mark.parametrize("person", ["jingdi", "系统", "  AUTO "])
def test_a_machine_cannot_look(photos: Any, pair: dict[str, Any], person: str) -> None:
    response = check(photos, pair, person=person)
    assert (response.status_code, response.json()["code"]) == (403, "person_required")


@pytest.mark.parametrize("body", [{"no_faces": False}, {"no_plates": False}, {"person": ""}, {"more": 1}])
def test_half_a_check_is_none(photos: Any, pair: dict[str, Any], body: dict[str, Any]) -> None:
    assert check(photos, pair, **body).status_code == 422
    assert photos.client.get(f"/api/v1/pairs/{pair['id']}").json()["publishable"] is False


# --- The page ---------------------------------------------------------------------------------------------


def test_the_result_page_shows_photographs_shares_and_what_was_not_assessed(photos: Any, pair: dict[str, Any]) -> None:
    page = photos.client.get(f"/pairs/{pair['id']}").text
    for text in ("照片所见", "共同画面，整治后", "构筑物", "“场光地净”判读标准", "渣土、垃圾", "公开之前", "占画面"):
        assert text in page, text
    assert "平方米" not in page
    assert f"/shoot/{pair['id']}" in page


def test_a_refused_pair_of_photographs_offers_to_take_it_again(photos: Any) -> None:
    pair = photos.finish(BEFORE, BEFORE, kind="photos")
    assert f'href="/shoot/{pair["id"]}"' in photos.client.get(f"/pairs/{pair['id']}").text
