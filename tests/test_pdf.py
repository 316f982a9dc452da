"""PDFs: Chinese that can be searched, every font inside, nothing lost unseen, nothing that breaks on odd input."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from importlib.resources import files
from typing import Any

import pytest
from PIL import Image
from pypdf import PdfReader
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.language import catalogue
from service.ledger.audit import writing
from service.ledger.states import move_site
from service.ledger.tables import AuditEntry, Site
from service.printing import paper
from service.printing.fonts import MISSING, SANS, SERIF, characters, markup, plain
from service.storage import Storage
from tests.ledgers import CLERK
from tests.people import House, house
from tests.printed import SHA256, add_pair, add_scene, close, fonts, images, look, words
from tests.test_bulletin import opened

NOON = datetime(2026, 3, 10, 4, tzinfo=UTC)
PERIOD = "since=2026-03-01&until=2026-03-31"


def printed(story: Any) -> bytes:
    return paper.pdf(story, "标题", "页脚", "zh", NOON)


# --- Fonts --------------------------------------------------------------------------------------------------


def test_the_fonts_are_small_and_under_their_licence() -> None:
    folder = files("service") / "fonts"
    assert sum(len((folder / each.name).read_bytes()) for each in folder.iterdir() if each.name.endswith(".ttf")) < 4e6
    assert "SIL OPEN FONT LICENSE Version 1.1" in (folder / "OFL.txt").read_text()


def test_every_sentence_there_is_can_be_printed() -> None:
    needed = {character for language in ("zh", "en") for text in catalogue(language).values() for character in text}
    assert not [each for each in needed if ord(each) not in characters(SANS) and not each.isspace()]


def test_names_outside_the_first_level_are_set_in_the_text_font_within_titles() -> None:
    assert markup("通报", SERIF) == "通报"
    assert markup("薛喆", SERIF) == f'薛<font name="{SANS}">喆</font>'
    assert ord("龑") in characters(SANS)


@pytest.mark.parametrize("font", [SANS, SERIF])
def test_what_no_font_has_is_seen_to_be_missing(font: str) -> None:
    assert MISSING * 2 in markup("甲🙂𠮷乙", font)
    assert plain("甲🙂", font) == f"甲{MISSING}"
    content = printed(lambda: [paper.text("甲🙂乙\u200b丙", paper.BODY), *paper.heading("丁𠮷")])
    assert words(content).startswith(f"甲{MISSING}乙")
    assert f"丁{MISSING}" in words(content)


def test_text_is_never_taken_for_markup() -> None:
    content = printed(lambda: [paper.text('<b>a</b> & <font size="90">b</font> <img src="/etc/passwd"/>')])
    assert '<b>a</b>&<fontsize="90">b</font><imgsrc="/etc/passwd"/>' in words(content)


# --- Paper --------------------------------------------------------------------------------------------------


def test_every_font_is_inside_and_every_page_is_numbered() -> None:
    def story() -> list[Any]:
        rows = [[f"DW{number:04d}", "1,000.00"] for number in range(120)]
        points = [(date(2026, 1, 1), 0), (date(2026, 2, 1), 7)]
        return [
            *paper.masthead("通报", ["一月"]), *paper.heading("表"),
            paper.table(["编号", "面积"], rows, (1, 1), total=True),
            paper.Chart(points, 10, "点位"), *paper.facts([("状态", "挂账")]),
        ]  # fmt: skip

    content = printed(story)
    assert fonts(content) == {"/AAAAAA+JingdiSans-Regular": True, "/AAAAAA+JingdiSerif-Bold": True}
    document = PdfReader(io.BytesIO(content))
    pages = [re.sub(r"\s", "", page.extract_text()) for page in document.pages]
    assert len(pages) >= 3
    for number, text in enumerate(pages, 1):
        assert f"第{number}页，共{len(pages)}页" in text
        assert "页脚" in text
    assert all("编号" in text for text in pages[:2])  # the head of the table comes again
    assert (document.metadata.title, document.root_object["/Lang"]) == ("标题", "zh-CN")  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["长" * 4000, "x" * 4000, "a b " * 2000, "", " ", "\n" * 50])
def test_no_text_is_too_long_for_paper(text: str) -> None:
    content = printed(lambda: paper.labelled([(paper.text("时间", paper.LABEL), [paper.text(text)])] * 2))
    assert words(content).count(text.strip()[:1] or "时") >= 2


def test_progress_of_a_single_day_and_of_nothing_can_be_drawn() -> None:
    for points, most in (([(date(2026, 1, 1), 0), (date(2026, 1, 1), 0)], 0), ([(date(2026, 1, 1), 3)], 3)):
        assert words(printed(lambda points=points, most=most: [paper.Chart(points, most, "点位")]))


def test_documents_made_at_the_same_time_do_not_mix() -> None:
    def one(number: int) -> str:
        return words(printed(lambda: [paper.text(f"文件{number}" * 300)]))

    with ThreadPoolExecutor(4) as pool:
        for number, text in enumerate(pool.map(one, range(8))):
            assert text.count(f"文件{number}") == 300


# --- The bulletin and the packet ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, red: Any) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("pdf")
    with house(folder, lambda: red) as made:
        storage = Storage(folder)
        with writing(made.engine) as session:
            seen = opened(session, "SEEN", land_m2=9000.0, name="喆院🙂", inspector="龑巡查")
            add_scene(session, seen, folder / "scenes", "night", NOON)
            close(session, seen, NOON, [look(session, seen, NOON, scene="night")])
            close(session, opened(session, "DONE"), NOON, [add_pair(session, storage, "aa", NOON, checked_by="王检查")])
            close(session, opened(session, "WAIT"), NOON, [add_pair(session, storage, "bb", NOON)])
            long = opened(session, "LONG/1 x")
            move_site(session, long, "open", "claimed_clear", CLERK, "<理由>" * 900, at=NOON)
            opened(session, "NEW")
        yield made


def get(place: House, path: str) -> bytes:
    answer = place.browser("ana", "analyst").get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf"), answer.text[:200]
    assert answer.content.startswith(b"%PDF-")
    return answer.content


def test_the_bulletin_says_on_paper_what_it_says_on_screen(place: House) -> None:
    content = get(place, f"/bulletin.pdf?{PERIOD}&lang=zh")
    text = words(content)
    for sentence in (
        "整治工作通报", "2026年3月1日至2026年3月31日", "本期销账3个点位，占地1.62万平方米。", "政府部门和社会单位",
        "有1个点位的照片尚未经人检查人脸和车牌，未予刊出。", "没有观测到不等于没有建筑",
    ):  # fmt: skip
        assert (sentence in text) is (sentence != "政府部门和社会单位"), sentence
    assert images(content) == 4  # of SEEN and DONE, and not of WAIT
    assert all(fonts(content).values())
    english = words(get(place, f"/bulletin.pdf?{PERIOD}&lang=en"))
    assert "Clearingbulletin" in english
    assert "3siteswereclosedintheperiod" in english


def test_pictures_are_small_enough_for_paper_and_carry_nothing_else(place: House) -> None:
    content = get(place, f"/bulletin.pdf?{PERIOD}")
    assert len(content) < 2e6
    for page in PdfReader(io.BytesIO(content)).pages:
        for each in page.images:
            with Image.open(io.BytesIO(each.data)) as picture:
                assert max(picture.size) <= 1000
                assert not picture.getexif()


def test_a_picture_that_is_gone_leaves_a_gap_and_no_error(place: House) -> None:
    folder = place.app.state.services.storage.folder("aa".ljust(32, "0"))
    moved = folder.rename(folder.with_name("away"))
    try:
        for path, count in ((f"/bulletin.pdf?{PERIOD}&lang=zh", 2), ("/sites/DONE/packet.pdf?lang=zh", 0)):
            content = get(place, path)
            assert images(content) == count
            assert words(content).count("影像已不存在") == 2
    finally:
        moved.rename(folder)


def test_the_packet_of_a_site_has_facts_seals_pictures_and_weights(place: House) -> None:
    content = get(place, "/sites/SEEN/packet.pdf?lang=zh")
    text = words(content)
    for sentence in (
        "点位证据材料", f"喆院{MISSING}", "龑巡查", "9,000平方米（13.50亩）", "没有观测到不等于没有建筑",
        "系统发现的图斑均为疑似，是线索，不是认定", "李验收", "理由：现场与影像一致", "以上3条日志均与其哈希相符",
        SHA256,
    ):  # fmt: skip
        assert sentence in text, sentence
    with Session(place.engine) as session:
        owner = session.scalars(select(Site).where(Site.code == "SEEN")).one()
        entries = session.scalars(select(AuditEntry).where(AuditEntry.subject == f"site:{owner.id}")).all()
        assert len(entries) == 3
        for entry in entries:
            assert f"第{entry.number}条{entry.hash}" in text
    assert images(content) == 2
    assert "Notobservedisnotclear" in words(get(place, "/sites/SEEN/packet.pdf?lang=en"))


def test_the_packet_names_the_weights_of_a_cited_pair_and_keeps_unchecked_photographs_back(place: House) -> None:
    done, wait = (get(place, f"/sites/{code}/packet.pdf?lang=zh") for code in ("DONE", "WAIT"))
    assert "jingdi-ground1" in words(done)
    assert "6" * 64 in words(done)
    assert (images(done), images(wait)) == (2, 0)
    assert "有1组照片尚未经人检查人脸和车牌，未附。" in words(wait)


def test_an_entry_that_was_changed_is_told_in_the_packet(place: House) -> None:
    with Session(place.engine) as session:
        owner = session.scalars(select(Site).where(Site.code == "DONE")).one()
        number, detail = session.execute(
            select(AuditEntry.number, AuditEntry.detail).where(AuditEntry.subject == f"site:{owner.id}").limit(1)
        ).one()
    changed = update(AuditEntry).where(AuditEntry.number == number)
    with place.engine.begin() as connection:
        connection.execute(changed.values(detail=detail.replace("场光地净", "改过了")))
    try:
        assert f"第{number}条与其哈希不符，被改动过" in words(get(place, "/sites/DONE/packet.pdf?lang=zh"))
    finally:
        with place.engine.begin() as connection:
            connection.execute(changed.values(detail=detail))


def test_a_code_with_a_slash_a_reason_of_pages_and_a_site_of_which_nothing_is_known(place: House) -> None:
    text = words(get(place, "/sites/LONG%2F1%20x/packet.pdf?lang=zh"))
    assert text.count("<理由>") >= 898  # all but those that the end of a page tears apart
    new = get(place, "/sites/NEW/packet.pdf?lang=zh")
    assert "没有可附的影像" in words(new)
    assert "从未" in words(new)
    ana = place.browser("ana", "analyst")
    assert ana.get("/sites/NOPE/packet.pdf").status_code == 404
    assert 'filename="jingdi-LONG-1-x.pdf"' in ana.get("/sites/LONG%2F1%20x/packet.pdf").headers["content-disposition"]


def test_the_page_of_a_site_leads_to_its_packet(place: House) -> None:
    assert 'href="/sites/SEEN/packet.pdf"' in place.browser("ana", "analyst").get("/sites/SEEN").text


def test_a_bulletin_of_a_time_before_the_ledger_is_printed_too(place: House) -> None:
    content = get(place, "/bulletin.pdf?since=2001-01-01&until=2001-01-01&lang=zh")
    assert "本期没有点位销账" in words(content)
    assert images(content) == 0
