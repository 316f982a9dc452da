"""Shared by tests of reports: a service that lets the public in, what strangers send, and what they are shown."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import ExifTags, Image
from sqlalchemy import delete

from service.public.photographs import Photographs
from service.public.reports import Reports
from service.public.tables import Report
from tests.people import House

TEXT = "八角北路东口，围墙里新搭了一座蓝顶彩钢棚。"


def unheard(running: House) -> House:
    """The service as if nobody had reported anything yet."""
    reports: Reports = running.app.state.services.reports
    for report in reports.page(None, 100):
        reports.photographs.remove(report.id)
    with running.engine.begin() as connection:
        connection.execute(delete(Report))
    reports.throttle._idle_at.clear()
    return running


def photograph(**options: Any) -> bytes:
    """A photograph with all that a telephone writes into it, lying on its side."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "SecretPhone"
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (39.0, 54.0, 0.0)
    buffer = io.BytesIO()
    pixels = np.full((30, 60, 3), 90, np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", exif=exif, **options)
    return buffer.getvalue()


def torn() -> bytes:
    """Half a photograph."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()[: buffer.tell() // 2]


def send(client: TestClient, text: str = TEXT, picture: bytes | None = None, **fields: str) -> Any:
    file = ("a.jpg", picture, "image/jpeg") if picture is not None else ("", b"", "application/octet-stream")
    return client.post("/public/report", data={"text": text, **fields}, files={"photograph": file})


def receive(client: TestClient, **options: Any) -> str:
    """The token of a report, as the next page shows it."""
    answer = send(client, **options)
    assert (answer.status_code, answer.headers["location"]) == (303, "/public/report/received"), answer.text
    shown = re.search(r"<code>([0-9a-f ]+)</code>", client.get("/public/report/received").text)
    assert shown
    return shown.group(1)


def only(place: House) -> Report:
    return Reports(place.engine, Photographs(Path())).page(None, 10)[0]
