"""How soon each page shows something and how much of it moves, in Chromium over loopback.

    python -m tests.benchmarks.first_paint
    python -m tests.benchmarks.first_paint --data var/jingdi    # a copy of a service's data folder, as of `make run`

Each page is opened as by somebody who comes for the first time: nothing is cached.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, get_args

from playwright.sync_api import Browser
from sqlalchemy import select
from sqlalchemy.orm import Session

from datasets.district import generate
from inference.render import encode_png
from service.app import create_app
from service.ledger.audit import SYSTEM
from service.ledger.tables import Site
from service.people.accounts import Accounts
from service.people.rights import Role
from service.people.sessions import Sessions
from service.settings import Settings
from tests.browsing import LAYOUT_SHIFT, chromium, served
from tests.everything import WAYS, everything
from tests.people import COOKIE

TIMES = 5
FIRST_PAINT = """() => new Promise((resolve) => {
    new PerformanceObserver((list) => {
        const found = list.getEntriesByName("first-contentful-paint");
        if (found.length) resolve(found[0].startTime);
    }).observe({ type: "paint", buffered: true });
})"""


@contextmanager
def _everything(folder: Path) -> Iterator[tuple[str, Mapping[str, Any], Sequence[tuple[str, bool]]]]:
    district = generate(3, size=512)
    before, after = (encode_png(raster.pixels) for raster in (district.before, district.after))
    with everything(folder, before, after) as place:
        ways = [(way.path.format(**place.pairs), way.stranger) for way in WAYS.values() if way.then is None]
        yield place.address, place.cookie, list(dict.fromkeys(ways))


@contextmanager
def _copied(data: Path, folder: Path) -> Iterator[tuple[str, Mapping[str, Any], Sequence[tuple[str, bool]]]]:
    copy = folder / "data"
    shutil.copytree(data, copy, ignore=shutil.ignore_patterns("*.pid", "log"))
    app = create_app(Settings(data_dir=copy, public="on"))
    with served(app) as address:
        engine = app.state.services.pairs.engine
        Accounts(engine).add(SYSTEM, "first-paint", "First Paint", get_args(Role))
        cookie = {"name": COOKIE, "value": Sessions(engine).open("first-paint"), "url": address, "httpOnly": True}
        with Session(engine) as session:
            code = session.scalars(select(Site.code).order_by(Site.code)).first()
        paths = ["/", "/batch", "/scenes", "/map", "/triage", "/field", "/ledger", "/bulletin", "/reports"]
        paths += [f"/sites/{code}", f"/map?site={code}", f"/scenes?site={code}"] if code else []
        yield address, cookie, [*((path, False) for path in paths), ("/public", True)]


def _measure(browser: Browser, address: str, cookie: Any, path: str, *, stranger: bool) -> tuple[float, float]:
    """Milliseconds until the first contentful paint, and the layout shift."""
    context = browser.new_context(locale="zh-CN", viewport={"width": 1440, "height": 900})
    if not stranger:
        context.add_cookies([cookie])
    page = context.new_page()
    page.goto(address + path, wait_until="load")
    shown, moved = float(page.evaluate(FIRST_PAINT)), float(page.evaluate(LAYOUT_SHIFT))
    context.close()
    return shown, moved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="data folder of a service with a ledger; it is copied")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, chromium() as browser:
        place = _copied(given.data, Path(temporary)) if given.data else _everything(Path(temporary))
        with place as (address, cookie, ways):
            print(f"{'median':>8} {'slowest':>8} {'shift':>7}  page")
            _measure(browser, address, cookie, "/", stranger=True)  # the browser's own start is not the page's
            slowest = 0.0
            for path, stranger in ways:
                runs = [_measure(browser, address, cookie, path, stranger=stranger) for _ in range(TIMES)]
                times, shifts = zip(*runs, strict=True)
                slowest = max(slowest, *times)
                print(f"{median(times):5.0f} ms {max(times):5.0f} ms {max(shifts):7.4f}  {path}", flush=True)
            print(f"slowest of all: {slowest:.0f} ms")


if __name__ == "__main__":
    main()
