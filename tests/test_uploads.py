"""Uploads in pieces: they go on where the line broke, never mix, and are forgotten in time."""

from __future__ import annotations

import asyncio
import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request

from service.api.uploads import append_upload, metadata
from service.errors import RequestTooLarge
from service.field import uploads as module
from service.field.errors import UploadNotFound, UploadOffset, UploadRefused, UploadsTooMany
from service.field.tables import Upload
from service.field.uploads import KEPT_FOR, Uploads
from tests.ledgers import at_once
from tests.people import Clock, House, database, house

API = "/api/v1/uploads"
PIECE = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0"}
CONTENT = bytes(range(256)) * 40


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Iterator[Uploads]:
    with database(tmp_path) as engine:
        yield Uploads(engine, tmp_path / "uploads", 20_000, clock)


def send(kept: Uploads, upload: Upload, offset: int, piece: bytes) -> Upload:
    return kept.append(upload, offset, io.BytesIO(piece))


def test_a_file_arrives_in_pieces_whole(kept: Uploads) -> None:
    upload = kept.begin("a" * 32, "zhao", r"C:\photos\棚 1.jpg", len(CONTENT))
    assert (upload.name, upload.received) == ("棚 1.jpg", 0)
    for start in range(0, len(CONTENT), 3000):
        upload = send(kept, upload, start, CONTENT[start : start + 3000])
    assert upload.received == upload.length
    assert kept.path(upload.id).read_bytes() == CONTENT


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 60)), max_size=12))
def test_whatever_pieces_come_what_is_there_is_the_beginning_of_the_file(
    kept: Uploads, pieces: list[tuple[int, int]]
) -> None:
    name = os.urandom(16).hex()
    upload, content = kept.begin(name, "zhao", "a", 120), CONTENT[:120]
    for offset, length in pieces:
        try:
            upload = send(kept, upload, offset, content[offset : offset + length])
        except UploadOffset:
            assert offset != upload.received
    assert kept.path(name).read_bytes()[: upload.received] == content[: upload.received]


def test_what_a_crash_left_beyond_the_end_is_written_over(kept: Uploads) -> None:
    upload = send(kept, kept.begin("a" * 32, "zhao", "a", 8), 0, b"1234")
    with kept.path(upload.id).open("ab") as file:
        file.write(b"xxxxxxxx")
    assert send(kept, upload, 4, b"56").received == 6
    assert kept.path(upload.id).read_bytes() == b"123456"


def test_of_pieces_that_come_at_once_one_counts(kept: Uploads) -> None:
    upload = kept.begin("a" * 32, "zhao", "a", 6)
    results = at_once(4, lambda number: send(kept, upload, 0, bytes([number]) * 3))
    assert sum(isinstance(each, Upload) for each in results) == 1
    assert sum(isinstance(each, UploadOffset) for each in results) == 3
    assert len(set(kept.path(upload.id).read_bytes())) == 1


def test_uploads_of_somebody_else_are_not_there(kept: Uploads) -> None:
    upload = kept.begin("a" * 32, "zhao", "a", 6)
    with pytest.raises(UploadNotFound):
        kept.find(upload.id, "wang")


def test_an_upload_is_forgotten_a_while_after_its_last_piece(kept: Uploads, clock: Clock) -> None:
    upload = kept.begin("a" * 32, "zhao", "a", 6)
    clock.now += KEPT_FOR * 0.9
    upload = send(kept, upload, 0, b"123")
    clock.now += KEPT_FOR * 0.9
    assert kept.find(upload.id, "zhao").received == 3
    clock.now += KEPT_FOR * 0.2
    with pytest.raises(UploadNotFound):
        kept.find(upload.id, "zhao")
    with pytest.raises(UploadNotFound):
        send(kept, upload, 3, b"456")
    kept.begin("b" * 32, "zhao", "b", 1)  # clears away
    assert not kept.path(upload.id).exists()
    with Session(kept.engine) as session:
        assert session.scalars(select(Upload.id)).all() == ["b" * 32]


def test_one_person_has_so_many_unfinished_uploads_and_another_his_own(
    kept: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_AT_ONCE", 2)
    for name in "ab":
        kept.begin(name * 32, "zhao", name, 1)
    with pytest.raises(UploadsTooMany):
        kept.begin("c" * 32, "zhao", "c", 1)
    kept.begin("d" * 32, "wang", "d", 1)
    kept.drop("a" * 32)
    kept.begin("c" * 32, "zhao", "c", 1)


@pytest.mark.parametrize(("length", "problem"), [(0, UploadRefused), (-1, UploadRefused), (20_001, RequestTooLarge)])
def test_an_upload_is_neither_empty_nor_endless(kept: Uploads, length: int, problem: type[Exception]) -> None:
    with pytest.raises(problem):
        kept.begin("a" * 32, "zhao", "a", length)
    assert not kept.folder.exists()


# --- Over HTTP --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, red: Any) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("uploads"), lambda: red, max_bytes=100_000) as made:
        yield made


@pytest.fixture
def zhao(place: House) -> TestClient:
    return place.browser("zhao", "inspector")


def begin(client: TestClient, length: Any, **headers: str) -> Any:
    name = base64.b64encode("现场 1.jpg".encode()).decode()
    return client.post(
        API, headers={"Upload-Length": str(length), "Upload-Metadata": f"filename {name},x eA=="} | headers
    )


def patch(client: TestClient, url: str, offset: int, piece: bytes, **headers: str) -> Any:
    return client.patch(url, content=piece, headers=PIECE | {"Upload-Offset": str(offset)} | headers)


def test_the_way_of_a_file_over_a_line_that_breaks(zhao: TestClient) -> None:
    begun = begin(zhao, len(CONTENT))
    url = begun.headers["location"]
    assert (begun.status_code, begun.headers["upload-offset"]) == (201, "0")
    assert patch(zhao, url, 0, CONTENT[:4000]).status_code == 204
    asked = zhao.head(url)
    assert (asked.status_code, asked.headers["upload-offset"], asked.headers["upload-length"]) == (200, "4000", "10240")
    assert "expires" in " ".join(asked.headers)
    again = patch(zhao, url, 0, CONTENT[:4000])
    assert (again.status_code, again.json()["code"]) == (409, "upload_offset")
    assert patch(zhao, url, 4000, CONTENT[4000:]).headers["upload-offset"] == "10240"


def test_the_same_beginning_sent_twice_is_one_upload(zhao: TestClient) -> None:
    first, second = (begin(zhao, 10, **{"Idempotency-Key": "k1"}) for _ in range(2))
    assert first.headers["location"] == second.headers["location"]
    assert second.headers["idempotency-replayed"] == "true"


def test_what_makes_no_sense_is_refused_with_a_reason(zhao: TestClient) -> None:
    assert begin(zhao, "many").json()["code"] == "invalid"
    assert begin(zhao, 0).json()["code"] == "upload_empty"
    assert begin(zhao, 100_001).status_code == 413
    assert begin(zhao, 5, **{"Upload-Metadata": "filename not-base64!"}).json()["code"] == "upload_malformed"
    url = begin(zhao, 5).headers["location"]
    assert patch(zhao, url, 0, b"123456").json()["code"] == "upload_too_long"
    assert patch(zhao, url, 0, b"12", **{"Content-Type": "text/plain"}).json()["code"] == "upload_malformed"
    assert patch(zhao, url, 3, b"12").json()["code"] == "upload_offset"
    assert zhao.head(url).headers["upload-offset"] == "0"


def test_nobody_else_sees_an_upload_and_whoever_began_it_can_give_it_up(place: House, zhao: TestClient) -> None:
    url = begin(zhao, 5).headers["location"]
    other = place.browser("qian", "inspector")
    assert other.head(url).status_code == 404
    assert patch(other, url, 0, b"1").json()["code"] == "upload_not_found"
    assert other.delete(url).status_code == 404
    assert zhao.delete(url).status_code == 204
    assert zhao.head(url).status_code == 404
    assert place.browser("audit", "auditor").post(API).json()["code"] == "not_allowed"


def test_a_piece_whose_line_breaks_off_counts_as_far_as_it_came(kept: Uploads) -> None:
    upload = kept.begin("a" * 32, "zhao", "a", 10)

    async def broken() -> Any:
        if not sent:
            sent.append(1)
            return {"type": "http.request", "body": b"1234", "more_body": True}
        return {"type": "http.disconnect"}

    sent: list[int] = []
    scope = {"type": "http", "method": "PATCH", "headers": [(b"content-type", PIECE["Content-Type"].encode())]}
    asyncio.run(append_upload(upload, kept, Request(scope, broken), 0))
    assert kept.find(upload.id, "zhao").received == 4
    assert kept.path(upload.id).read_bytes() == b"1234"


@pytest.mark.parametrize(
    ("header", "found"),
    [("", {}), ("filename YQ==", {"filename": "a"}), ("a YQ==, b Yg==,c", {"a": "a", "b": "b", "c": ""})],
)
def test_metadata_are_pairs_of_a_key_and_base64(header: str, found: dict[str, str]) -> None:
    assert metadata(header) == found
