"""The pages: in both languages, honest about what was not seen, and with nothing from elsewhere."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from shapely.geometry import LinearRing

import service as package
from inference.reasons import LANGUAGES
from service.language import catalogue
from service.pages import view

ROOT = Path(package.__file__).parent
TEMPLATES = sorted(ROOT.glob("templates/*.html"))
SOURCES = [*TEMPLATES, *(path for path in sorted(ROOT.glob("static/*")) if path.suffix in (".css", ".js", ".svg"))]


def fields(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


def test_both_catalogues_have_the_same_keys_and_the_same_figures() -> None:
    first, *others = (catalogue(language) for language in LANGUAGES)
    for other in others:
        assert set(other) == set(first)
        assert {key: fields(text) for key, text in other.items()} == {k: fields(t) for k, t in first.items()}
        assert all(text.strip() for text in other.values())


def test_every_key_that_a_template_names_is_in_the_catalogue() -> None:
    known = set(catalogue("zh"))
    for path in TEMPLATES:
        for key, more in re.findall(r"""\bt\(["']([\w.]+)["'](\s*~)?""", path.read_text("utf-8")):
            assert any(each.startswith(key) for each in known) if more else key in known, (path.name, key)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_is_loaded_from_another_host(path: Path) -> None:
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|//cdn|@import", text)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_nothing_is_inline_that_the_content_security_policy_forbids(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_sentence_stands_in_a_template(path: Path) -> None:
    assert not re.search(r"[\u4e00-\u9fff]", path.read_text("utf-8"))


def test_the_start_page_teaches_when_there_is_nothing_yet(service: Any) -> None:
    page = service.client.get("/").text
    assert '<html lang="zh-CN">' in page
    assert "还没有比对过" in page
    assert "最近的比对" not in page


def test_the_start_page_lists_what_was_compared(service: Any, before: bytes, after: bytes) -> None:
    pair = service.finish(before, after)
    page = service.client.get("/").text
    assert f'href="/pairs/{pair["id"]}"' in page
    assert "疑似新增" in page
    assert "还没有比对过" not in page


def test_english_is_given_to_who_prefers_it(service: Any) -> None:
    response = service.client.get("/", headers={"Accept-Language": "en-GB"})
    assert '<html lang="en">' in response.text
    assert response.headers["vary"] == "Accept-Language, Cookie"


def test_a_chosen_language_is_remembered_over_the_preferred_one(service: Any) -> None:
    service.client.get("/?lang=en", headers={"Accept-Language": "zh"})
    assert '<html lang="en">' in service.client.get("/", headers={"Accept-Language": "zh"}).text
    service.client.get("/?lang=zh")
    assert '<html lang="zh-CN">' in service.client.get("/", headers={"Accept-Language": "en"}).text


def test_a_language_that_does_not_exist_is_ignored(service: Any) -> None:
    response = service.client.get("/?lang=../../etc")
    assert (response.status_code, response.headers.get("set-cookie")) == (200, None)


def test_the_result_says_what_was_found_and_who_decides(service: Any, before: bytes, after: bytes) -> None:
    pair = service.finish(before, after, gsd="0.5")
    page = service.client.get(f"/pairs/{pair['id']}").text
    assert "疑似有新增建筑" in page
    assert "由具名的经办人员核实后决定" in page
    assert page.count('class="finding"') == page.count('<path id="path-') == 3
    assert "平方米" in page
    assert "亩" in page
    assert pair["report"]["model"]["sha256"] in page


def test_a_refused_pair_is_never_called_clear(service: Any, before: bytes) -> None:
    pair = service.finish(before, before)
    page = service.client.get(f"/pairs/{pair['id']}?lang=en").text
    assert "Not comparable, so no verdict" in page
    assert "Both pictures are the same." in page
    assert "Choose the picture taken after the clearing." in page
    assert "Try another pair" in page
    assert "No structures" not in page
    assert "overlay.png" not in page


def test_what_was_not_seen_is_said_next_to_the_verdict(service: Any, scene: Any, as_file: Any, before: bytes) -> None:
    from PIL import Image

    image = Image.fromarray(scene[1]).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 200, 256, 256))
    pair = service.finish(before, as_file(image))
    page = service.client.get(f"/pairs/{pair['id']}?lang=en").text
    assert "was not seen, which does not mean that nothing is there." in page
    (unseen,) = re.findall(r'<path class="unseen" d="([^"]*)"', page)
    corners = [tuple(float(v) for v in corner.split()) for corner in unseen.strip("MZ").split("L")]
    assert LinearRing(corners).bounds == (0, 200, 256, 256)


def test_where_all_was_seen_nothing_is_hatched(service: Any, before: bytes, after: bytes) -> None:
    pair = service.finish(before, after)
    assert "unseen" not in service.client.get(f"/pairs/{pair['id']}").text


def test_a_failed_comparison_says_so_without_a_verdict(
    open_service: Any, before: bytes, after: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("no such luck")

    with open_service(fail) as service:
        pair = service.finish(before, after)
        page = service.client.get(f"/pairs/{pair['id']}?lang=en").text
        assert "This comparison was not completed" in page
        assert "no such luck" not in page
    assert "no such luck" in caplog.text


def test_a_file_name_cannot_become_markup(service: Any, before: bytes, after: bytes) -> None:
    files = {"before": ("<img src=x onerror=alert(1)>.png", before), "after": ("b.png", after)}
    pair = service.client.post("/api/v1/pairs", files=files).json()
    service.wait(pair["id"])
    for path in ("/", f"/pairs/{pair['id']}"):
        page = service.client.get(path).text
        assert "<img src=x" not in page
        assert "&lt;img src=x onerror=alert(1)&gt;.png" in page


def test_styles_and_scripts_are_kept_for_good_under_their_version(service: Any) -> None:
    page = service.client.get("/").text
    address = re.search(r"/static/base\.css\?v=\w+", page)
    assert address
    assert "immutable" in service.client.get(address.group()).headers["cache-control"]
    assert service.client.get("/static/base.css").headers["cache-control"] == "no-cache"


# --- Figures as text --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [(1.0, 1, "100%"), (0.9999, 1, "99.9%"), (0.983, 1, "98.3%"), (0.999, 0, "99%"), (0.29, 0, "29%"), (0, 0, "0%")],
)
def test_only_the_whole_reads_as_100_percent(share: float, digits: int, text: str) -> None:
    assert view.percent(share, digits=digits) == text


def test_moments_are_shown_as_on_a_clock_in_china() -> None:
    assert view.moment(datetime(2017, 6, 30, 16, 30, tzinfo=UTC), "zh") == "2017-07-01 00:30"
    assert view.moment("2017-06-30T16:30:00", "zh") == "2017-06-30 16:30"
    assert view.moment(None, "zh") == "未知"


def test_one_mu_is_a_fifteenth_of_a_hectare() -> None:
    assert pytest.approx(666.67, abs=0.01) == view.M2_PER_MU
