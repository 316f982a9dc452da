"""Shared by tests of the service: pictures, a model that sees red, applications that start in an instant."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import settings as examples
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser

from datasets.district import Changes, generate
from datasets.raster import Raster
from inference.assess import assess
from inference.compare import Asked
from inference.findings import Assessment
from service.app import create_app
from service.comparisons import Assess, Progress
from service.settings import Settings
from tests.browsing import Visit, chromium, visiting
from tests.databases import new_database
from tests.imagery import MagentaModel

# How long an example takes depends on what else the machine does: speed is measured in benchmarks, not in tests.
examples.register_profile("jingdi", deadline=None)
examples.load_profile("jingdi")

RED = (255, 0, 0)
NEW, REMAINING, REMOVED = (40, 30), (150, 60), (90, 180)  # x, y of red blocks
BLOCK = 24


class RedModel:
    """Stands in for the released weights: whatever is pure red is a structure, and nothing else is."""

    name, version, sha256 = "red", "1", "0" * 64
    contract = replace(MagentaModel.contract, multiple_of=32, gsd_range_m=(0.2, 1.0))

    def probabilities(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        first, second = ((x[:, 0] > 200) & (x[:, 1] < 60) & (x[:, 2] < 60) for x in (before, after))
        return np.stack([first, second, first ^ second], axis=1).astype(np.float32) * 0.9 + 0.02


def see_red(before: Raster, after: Raster, asked: Asked, progress: Progress) -> Assessment:
    """The real comparison of overhead imagery with the model that sees red."""
    return assess(before, after, RedModel(), progress=progress)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def scene() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One place at two dates, with one red block new, one remaining and one removed."""
    district = generate(3, size=256, changes=Changes(new=0, removed=0, shift_px=0))
    before, after = district.before.pixels.copy(), district.after.pixels.copy()
    for pixels, blocks in ((before, (REMAINING, REMOVED)), (after, (REMAINING, NEW))):
        for x, y in blocks:
            pixels[y : y + BLOCK, x : x + BLOCK] = RED
    return before, after


def encode(pixels: NDArray[Any] | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A picture as a file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def before(scene: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> bytes:
    return encode(scene[0])


@pytest.fixture(scope="session")
def after(scene: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> bytes:
    return encode(scene[1])


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A service of its own, with limits low enough to reach."""
    folder = tmp_path / "var"
    folder.mkdir()
    with new_database(folder) as url:
        yield Settings(data_dir=folder, database_url=url, accounts="off", max_bytes=2 * 2**20, max_pixels=4_000_000)


class Service:
    """A running application as a client sees it."""

    def __init__(self, client: TestClient, settings: Settings) -> None:
        self.client, self.settings = client, settings

    def submit(self, before: bytes, after: bytes, **data: str) -> Any:
        files = {"before": ("before.png", before), "after": ("after.png", after)}
        return self.client.post("/api/v1/pairs", files=files, data=data)

    def finish(self, before: bytes, after: bytes, **data: str) -> dict[str, Any]:
        """Submit and wait for the end."""
        response = self.submit(before, after, **data)
        assert response.status_code == 202, response.text
        return self.wait(response.json()["id"])

    def wait(self, pair_id: str, *statuses: str) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            pair: dict[str, Any] = self.client.get(f"/api/v1/pairs/{pair_id}").json()
            if pair["status"] in (statuses or ("done", "failed")):
                return pair
            time.sleep(0.02)
        raise AssertionError(f"still {pair['status']}")

    @property
    def stored(self) -> list[str]:
        """Everything there is: rows, folders of pairs, uploads that are still arriving."""
        rows = [item["id"] for item in self.client.get("/api/v1/pairs").json()["items"]]
        folders = [
            str(path.relative_to(self.settings.data_dir))
            for name in ("pairs", "incoming")
            for path in (self.settings.data_dir / name).rglob("*")
        ]
        return rows + folders


Open = Callable[..., AbstractContextManager[Service]]


@pytest.fixture
def open_service(settings: Settings) -> Open:
    """Start an application, as often as wanted on the same data."""

    @contextmanager
    def start(assess: Assess = see_red, **options: Any) -> Iterator[Service]:
        options.setdefault("load", lambda: assess)
        app = create_app(options.pop("settings", settings), **options)
        with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50000)) as client:
            yield Service(client, settings)

    return start


@pytest.fixture
def service(open_service: Open) -> Iterator[Service]:
    with open_service() as running:
        yield running


@pytest.fixture(scope="session")
def red() -> Assess:
    """The comparison that the service fixtures use."""
    return see_red


@pytest.fixture(scope="session")
def as_file() -> Callable[..., bytes]:
    """Pixels -> file."""
    return encode


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The labelled sets in miniature."""
    from tests.miniature import write_sets

    return write_sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sets of photographs in miniature."""
    from tests.miniature import write_photographs

    return write_photographs(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="session")
def released(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A `tests.miniature.Released`, made once for all tests: exporting takes longest of all there is here."""
    from tests.miniature import release_run

    return release_run(sets, tmp_path_factory.mktemp("released"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """Of the service at the `address` of the module."""
    with visiting(browser, address) as made:
        yield made
