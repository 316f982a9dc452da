"""The report of one comparison: what its page says, pictures with findings, the same bytes, nothing where refused."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader
from reportlab.lib.colors import Color
from sqlalchemy import update
from sqlalchemy.orm import Session

from inference.findings import Assessment
from inference.reasons import InputError, Reason
from service.database import PairRow
from service.language import say, word
from service.pages.view import result
from service.printing import pair_pdf
from service.printing.marked import DASHES, DRAWN, VEIL, View
from service.printing.pair_pdf import CLOSE_UPS
from tests.printed import fonts, images, words
from tests.test_photographs_api import AFTER, BEFORE, SITE, see

A_CAMERA = b"A camera of nobody"


@pytest.fixture
def photos(open_service: Any) -> Iterator[Any]:
    with open_service(see) as running:
        yield running


def get(service: Any, pair: dict[str, Any], language: str = "zh") -> bytes:
    answer = service.client.get(f"/api/v1/pairs/{pair['id']}/report.pdf", headers={"Accept-Language": language})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf"), answer.text[:200]
    assert answer.headers["content-language"] == language
    return bytes(answer.content)


def row(service: Any, pair: dict[str, Any]) -> PairRow:
    found = service.client.app.state.services.pairs.get(pair["id"])
    assert found is not None
    return found


def change(service: Any, pair: dict[str, Any], **values: Any) -> None:
    with Session(service.client.app.state.services.pairs.engine) as session, session.begin():
        session.execute(update(PairRow).where(PairRow.id == pair["id"]).values(**values))


def operators(content: bytes) -> str:
    drawn = PdfReader(io.BytesIO(content)).pages[0].get_contents()
    assert drawn is not None
    return drawn.get_data().decode("latin-1")


def said(colour: Color) -> str:
    """A colour in the words of a PDF."""
    return " ".join(f"{value:.6f}".rstrip("0").rstrip(".").lstrip("0") for value in colour.rgb())


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_paper_says_what_the_page_says(service: Any, before: bytes, after: bytes, language: str) -> None:
    pair = service.finish(before, after, gsd="0.5")
    content = get(service, pair, language)
    text, page = words(content), result(row(service, pair), language)
    assert len(page.findings) == 3
    said = [
        page.headline, page.summary, say(language, "result.decides"), *(fact for each in page.facts for fact in each),
        *(each for reason in page.notes for each in (reason.text, reason.remedy)),
        *(cell for source in page.sources for cell in source),
        *(f"{word(language, each.kind)}{each.area}{each.error}{each.mu}{each.probability}" for each in page.findings),
    ]  # fmt: skip
    assert page.notes
    for sentence in said:
        assert squeezed(sentence) in text, sentence
    assert "before.png" in text
    assert pair["report"]["model"]["sha256"] in text
    assert pair["id"] in text
    assert images(content) == 2 + 2 * 3
    assert all(fonts(content).values())


@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_a_person_says_stands_beside_it_on_paper(service: Any, before: bytes, after: bytes, language: str) -> None:
    pair = service.finish(before, after, gsd="0.5")
    plain = words(get(service, pair, language))
    first, second, _ = pair["report"]["findings"]
    outline = [[10, 10], [40, 10], [40, 30]]
    corrections = [
        {"finding": first["id"], "accepted": True, "kind": first["kind"], "outline": None},
        {"finding": second["id"], "accepted": False, "kind": second["kind"], "outline": None},
        {"finding": None, "accepted": True, "kind": "removed", "outline": outline},
    ]
    body = {"version": 0, "corrections": corrections, "actor": {"name": "王芳"}}
    assert service.client.put(f"/api/v1/pairs/{pair['id']}/review", json=body).status_code == 200
    text = words(get(service, pair, language))
    for state in ("accepted", "rejected"):
        assert squeezed(say(language, f"review.{state}")) in text
        assert squeezed(say(language, f"review.{state}")) not in plain
    assert squeezed(f"{say(language, 'review.drawn_list')}: {word(language, 'removed')} 1") in text
    assert text.count("王芳") == 1
    assert squeezed(result(row(service, pair), language).headline) in text


def test_what_was_not_seen_is_said_on_paper(service: Any, before: bytes, after: bytes) -> None:
    pair = service.finish(before, after)
    report = pair["report"]
    report["verdict"]["observed_share"] = 0.8125
    change(service, pair, report=report)
    assert "两期都看到的范围占81.2%。其余18.8%没有看到，不等于没有建筑。" in words(get(service, pair))


def test_the_same_pair_gives_the_same_bytes_and_the_moment_of_its_end(
    service: Any, before: bytes, after: bytes
) -> None:
    pair = service.finish(before, after)
    content = get(service, pair)
    assert get(service, pair) == content
    assert get(service, pair, "en") != content
    finished = row(service, pair).finished_at
    assert finished is not None
    document = PdfReader(io.BytesIO(content))
    assert document.metadata is not None
    assert document.metadata.creation_date == finished.replace(microsecond=0)
    assert document.metadata.title == f"比对报告 {pair['id'][:8]}：疑似有新增建筑"


def test_each_kind_is_drawn_in_its_own_line(service: Any, before: bytes, after: bytes) -> None:
    pair = service.finish(before, after)
    drawn = operators(get(service, pair))
    for kind in ("new", "remaining", "removed"):
        colour = said(DRAWN[kind])
        assert f"{colour} RG" in drawn, kind
        dash = " ".join(f"{length:g}".lstrip("0") for length in DASHES[kind])
        assert f"[{dash}] 0 d" in drawn, kind


def test_what_was_not_seen_is_hatched_in_every_picture_that_shows_it(service: Any, before: bytes, after: bytes) -> None:
    pair = service.finish(before, after, gsd="0.5")
    key, report, page = say("zh", "result.unseen"), pair["report"], result(row(service, pair), "zh")
    seen = get(service, pair)
    assert squeezed(key) not in words(seen)
    assert f"{said(VEIL)} rg" not in operators(seen)
    report["verdict"]["unobserved_px"] = [
        [[[0, 0], [page.width / 4, 0], [page.width / 4, page.height], [0, page.height]]]
    ]
    change(service, pair, report=report)
    hatched = get(service, pair)
    assert squeezed(key) in words(hatched)
    strips = re.findall(r"n 0 ([\d.]+) m ([\d.]+) \1 l \2 0 l 0 0 l h W\* n", operators(hatched))
    assert len(strips) == 2, "one in each date"
    frames = re.findall(r"n 0 0 ([\d.]+) ([\d.]+) re W\*? n", operators(hatched))[:2]
    for (top, right), (width, height) in zip(strips, frames, strict=True):
        assert float(top) == pytest.approx(float(height), abs=0.01)
        assert float(right) == pytest.approx(float(width) / 4, abs=0.01)
    del report["verdict"]["unobserved_px"]  # as in reports of earlier versions
    change(service, pair, report=report)
    assert get(service, pair) == seen


def test_the_most_important_findings_are_shown_large_and_the_others_counted(
    service: Any, before: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_pdf, "TABLED", 20)
    pair = service.finish(before, after, gsd="0.5")
    report = pair["report"]
    one = report["findings"][0]
    report["findings"] = [{**one, "id": number} for number in range(1, 41)]
    change(service, pair, report=report)
    content = get(service, pair)
    assert re.findall(r"(\d+)号，新增", words(content)) == [str(number) for number in range(1, CLOSE_UPS + 1)]
    assert "其余20处" in words(content)
    area = squeezed(result(row(service, pair), "zh").findings[0].area)
    assert words(content).count(f"新增{area}±") == 20


def test_of_a_refused_pair_there_are_reasons_and_no_pictures(service: Any, before: bytes) -> None:
    pair = service.finish(before, before)
    content, page = get(service, pair), result(row(service, pair), "zh")
    assert images(content) == 0
    assert page.reasons
    for sentence in (
        "无法比对，不作判断",
        say("zh", "result.decides_alone"),
        page.reasons[0].text,
        page.reasons[0].remedy,
    ):
        assert squeezed(sentence) in words(content)
    assert "两期都看到的范围" not in words(content)


def test_photographs_are_printed_once_a_person_has_checked_them(photos: Any) -> None:
    pair = photos.finish(BEFORE, AFTER, kind="photos", site=SITE)
    content = get(photos, pair)
    assert images(content) == 0
    assert squeezed(say("zh", "pair_report.unchecked")) in words(content)
    check = {"person": "王检查", "no_faces": True, "no_plates": True}
    assert photos.client.put(f"/api/v1/pairs/{pair['id']}/check", json=check).status_code == 200
    content, page = get(photos, pair), result(row(photos, pair), "zh")
    assert images(content) == 2 + 2 * min(len(page.findings), CLOSE_UPS)
    assert squeezed(say("zh", "pair_report.unchecked")) not in words(content)
    assert squeezed("".join(page.shares[0][1])) in words(content)
    assert A_CAMERA not in content


def test_pictures_that_are_gone_leave_gaps_and_no_error(service: Any, before: bytes, after: bytes) -> None:
    pair = service.finish(before, after)
    folder: Path = service.client.app.state.services.storage.folder(pair["id"])
    (folder / "before.jpg").unlink()
    (folder / "after.jpg").write_bytes(b"\xff\xd8torn")
    content = get(service, pair)
    assert images(content) == 0
    assert words(content).count("影像已不存在") == 2 + 2 * 3


def test_a_view_smaller_than_the_grid_shows_the_same_part(tmp_path: Path, scene: Any, as_file: Any) -> None:
    path = tmp_path / "view.jpg"
    path.write_bytes(as_file(scene[0], "JPEG"))
    small = View(path, 1024, 1024)
    assert small.part(small.whole, 72, 72) == View(path, 256, 256).part(View(path, 256, 256).whole, 72, 72)


def test_there_is_no_report_before_the_end_nor_of_a_failure(open_service: Any, before: bytes, after: bytes) -> None:
    def fail(*_: Any) -> Assessment:
        raise InputError(Reason("truncated"), "after")

    with open_service(fail) as service:
        pair = service.finish(before, after)
        assert pair["status"] == "failed"
        address = f"/api/v1/pairs/{pair['id']}/report.pdf"
        answer = service.client.get(address)
        assert (answer.status_code, answer.json()["code"]) == (404, "no_result")
        change(service, pair, status="running")
        answer = service.client.get(address)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_finished")
        answer = service.client.get(f"/api/v1/pairs/{'0' * 32}/report.pdf")
        assert (answer.status_code, answer.json()["code"]) == (404, "pair_not_found")


def test_the_page_of_a_result_leads_to_its_report(service: Any, before: bytes, after: bytes) -> None:
    for later in (after, before):
        pair = service.finish(before, later)
        address = f"/api/v1/pairs/{pair['id']}/report.pdf"
        assert f'href="{address}"' in service.client.get(f"/pairs/{pair['id']}").text
