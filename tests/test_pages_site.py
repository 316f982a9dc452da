"""The page of a site: what is known of it in one order, and the steps that the reader may take, by two people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.database import PairRow
from service.ledger.audit import verify, writing
from service.ledger.rebound import take_in
from service.ledger.states import Evidence, move_site
from service.ledger.tables import Decision, Observation, Site
from service.ledger.watch import Scan
from service.pages.site import StepForm
from tests.leads import plant
from tests.ledgers import CLERK, NIGHT, OTHER, shed, site, square
from tests.people import House, house

DAY = timedelta(days=1)


@pytest.fixture
def place(tmp_path: Path, red: Any) -> Iterator[House]:
    with house(tmp_path, lambda: red) as made:
        yield made


def look(engine: Engine, code: str = "A", result: Any = "clear", nights: int = 1, first: int = 0) -> list[str]:
    """Ids of looks at a site, a night each."""
    with writing(engine) as session:
        own = session.scalar(select(Site).where(Site.code == code))
        assert own is not None
        looks = [
            Observation(
                site_id=own.id, scene=f"{result}-{number}", observed_at=NIGHT + number * DAY, result=result,
                observed_share=0.4 if result == "not_observed" else 1.0, recorded_at=NIGHT,
            )
            for number in range(first, first + nights)
        ]  # fmt: skip
        session.add_all(looks)
        session.flush()
        return [each.id for each in looks]


def given(engine: Engine, code: str = "A", **values: Any) -> None:
    with writing(engine) as session:
        site(session, code, **values)


def read(client: Any, code: str = "A", language: str = "zh") -> str:
    answer = client.get(f"/sites/{code}", headers={"Accept-Language": language})
    assert answer.status_code == 200
    return unescape(answer.text)


def step(client: Any, expected: str, target: str, code: str = "A", **fields: Any) -> Any:
    return client.post(f"/sites/{code}", data={"expected": expected, "target": target, "reason": "现场核实"} | fields)


def state_of(engine: Engine, code: str = "A") -> str | None:
    with Session(engine) as session:
        return session.scalar(select(Site.state).where(Site.code == code))


def test_the_head_has_state_figures_and_since_when_nothing_is_known(place: House) -> None:
    given(place.engine, land_m2=2_000, building_m2=666.67, street="八角街道", community="八角第1社区")
    page = read(place.browser("wang", "analyst"))
    for text in (
        "销账巡查",
        "集经系统",
        "2,000 平方米（3.00 亩）",
        "八角街道 · 八角第1社区",
        "从未观测",
        "2017-06-30",
    ):
        assert text in page
    assert 'data-level="never"' in page
    assert "本服务上没有登记看到整个点位的影像" in page
    assert "Responsible system" in read(place.browser("wang"), language="en")


def test_a_code_with_any_sign_in_it_has_a_page(place: House) -> None:
    given(place.engine, "院/3 #1?")
    wang = place.browser("wang", "reviewer")
    assert "院/3 #1?" in unescape(wang.get("/sites/%E9%99%A2/3%20%231%3F").text)
    assert wang.get("/sites/nothing").status_code == 404


def test_a_site_is_closed_by_two_people_on_evidence_that_they_choose(place: House) -> None:
    given(place.engine, state="open")
    [clear] = look(place.engine)
    wang, li = place.browser("wang", "reviewer"), place.browser("li", "inspector")
    assert "申报销账" in read(wang)
    done = step(wang, "open", "claimed_clear")
    assert (done.status_code, done.headers["location"]) == (303, "/sites/A")
    page = read(li)
    assert re.search(r"wang 于 .* 申报销账。须由另一人验收。", page)
    assert f'value="observation:{clear}"' in page
    refused = step(wang, "claimed_clear", "accepted", evidence=[f"observation:{clear}"])
    assert refused.status_code == 403
    assert "验收人与申报人不能是同一人" in refused.text
    bare = step(li, "claimed_clear", "accepted")
    assert bare.status_code == 422
    assert "销账须有照片或影像的比对结果为“未发现建筑”" in bare.text
    assert state_of(place.engine) == "claimed_clear"
    assert step(li, "claimed_clear", "accepted", evidence=[f"observation:{clear}"]).status_code == 303
    page = read(li)
    assert "点位由“申报销账”转为“已销账”" in page
    assert "依据：影像观测，2026-03-01，未见疑似图斑" in page
    with Session(place.engine) as session:
        deciders = session.scalars(select(Decision.actor).order_by(Decision.decided_at)).all()
        assert (deciders, verify(session).problem) == (["wang", "li"], None)


def test_what_was_filled_in_stays_when_a_step_is_refused(place: House) -> None:
    given(place.engine, state="claimed_clear")
    [clear] = look(place.engine)
    page = step(
        place.browser("li", "reviewer"), "claimed_clear", "accepted", evidence=[f"observation:{clear}"],
        reason="<b>地净</b>", document="验收单 7",
    ).text  # fmt: skip
    assert "须由另一人验收" in page  # there is no claim on record
    assert "&lt;b&gt;地净&lt;/b&gt;</textarea>" in page
    assert 'value="验收单 7"' in page
    assert re.search(rf'value="observation:{clear}" checked', page)


def test_a_step_that_somebody_else_took_meanwhile_is_not_taken_again(place: House) -> None:
    given(place.engine, state="open")
    wang = place.browser("wang", "reviewer")
    step(wang, "open", "claimed_clear")
    late = step(wang, "open", "claimed_clear")
    assert late.status_code == 409
    assert "状态已被他人变更" in late.text


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"reason": " "}, 422),
        ({"evidence": ["observation:nothing"]}, 422),
        ({"evidence": ["letter:7"]}, 422),
        ({"pair": "https://elsewhere/"}, 422),
        ({"pair": "0" * 32}, 422),
        ({"target": "rebound_confirmed"}, 409),
        ({"target": "demolished"}, 409),
    ],
)
def test_a_refusal_is_told_in_words_and_changes_nothing(place: House, fields: dict[str, Any], status: int) -> None:
    given(place.engine, state="open")
    answer = step(place.browser("wang", "reviewer"), "open", **({"target": "claimed_clear"} | fields))
    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert state_of(place.engine) == "open"


def test_steps_are_offered_and_taken_by_those_alone_who_may_decide(place: House) -> None:
    given(place.engine, state="open")
    analyst = place.browser("chen", "analyst")
    assert '<form method="post" action="/sites' not in read(analyst)
    assert step(analyst, "open", "claimed_clear").status_code == 403
    foreign = place.browser("wang", "reviewer")
    answer = foreign.post(
        "/sites/A", data={"expected": "open", "target": "claimed_clear", "reason": "x"},
        headers={"Sec-Fetch-Site": "cross-site"},
    )  # fmt: skip
    assert answer.status_code == 403
    assert state_of(place.engine) == "open"


def test_without_accounts_a_name_has_to_be_given(service: Any) -> None:
    from service.database import connect

    engine = connect(service.settings.resolved_database_url)
    given(engine, state="open")
    assert 'name="actor"' in service.client.get("/sites/A").text
    assert step(service.client, "open", "claimed_clear", actor="").status_code == 403
    assert step(service.client, "open", "claimed_clear", actor="王经办").status_code == 200  # redirected to the page
    assert state_of(engine) == "claimed_clear"
    engine.dispose()


def pair(engine: Engine, number: int, **values: Any) -> str:
    known: dict[str, Any] = {
        "status": "done", "progress": 1.0, "before_name": "前.jpg", "after_name": "后.jpg", "verdict": "clear",
        "width": 0, "height": 0, "report": {"images": None, "model": None}, "created_at": NIGHT, "kind": "photos",
    }  # fmt: skip
    row = PairRow(id=f"{number:032x}", **(known | values))
    with Session(engine, expire_on_commit=False) as session, session.begin():
        session.add(row)
    return row.id


def test_photographs_that_show_the_site_are_offered_others_are_not(place: House) -> None:
    given(place.engine, state="claimed_clear")
    outline = {"type": "Feature", "geometry": square(10, 10, 5).__geo_interface__, "properties": {}}
    away = {"type": "Feature", "geometry": square(900, 900, 5).__geo_interface__, "properties": {}}
    here = square(70, 0, 1).centroid
    there = {"images": {"before": {"place": [here.x, here.y]}, "after": {"place": None}}, "model": None}
    shown = [pair(place.engine, 1, site=outline), pair(place.engine, 2, report=there)]
    hidden = [
        pair(place.engine, 3, site=away),
        pair(place.engine, 4),
        pair(place.engine, 5, site=outline, verdict="new"),
    ]
    page = read(place.browser("wang", "reviewer"))
    accept = next(form for form in page.split("<form") if 'name="target" value="accepted"' in form)
    assert [each for each in (*shown, *hidden) if f'value="pair:{each}"' in accept] == shown
    assert all(f'href="/pairs/{each}"' in page for each in shown)


def test_a_comparison_can_be_cited_by_its_address(place: House) -> None:
    given(place.engine, state="open")
    cited = pair(place.engine, 7)
    wang, li = place.browser("wang", "reviewer"), place.browser("li", "reviewer")
    step(wang, "open", "claimed_clear")
    address = f"https://jingdi.example/pairs/{cited}?lang=en"
    assert step(li, "claimed_clear", "accepted", pair=address).status_code == 303
    assert f"依据：比对 {cited}，未见疑似图斑" in read(li)


def test_the_form_names_evidence_as_the_ledger_takes_it() -> None:
    form = StepForm(expected="a", target="b", evidence=["pair:p"], document=" 7 ")
    assert form.cited() == [Evidence("pair", "p"), Evidence("document", "7")]


# --- Timeline ---------------------------------------------------------------------------------------------


def titles(page: str) -> list[str]:
    history = page[page.index('class="timeline"') :]
    return re.findall(r"<(?:h3|summary)>([^<]*)", history)


def test_everything_stands_in_one_order_the_newest_first(place: House) -> None:
    given(place.engine, observed_at=NIGHT)
    for night in (3, 5):
        take_in(
            place.engine, Scan(f"n{night}", NIGHT + night * DAY, (shed(10, 10),), square(-50, -50, 400)), 20,
            at=NIGHT + night * DAY + timedelta(hours=1),
        )  # fmt: skip
    page = read(place.browser("wang", "reviewer"))
    assert titles(page) == [
        "线索由“待派发”转为“已派发”", "点位由“销账巡查”转为“疑似反弹”", "线索由“待研判”转为“待派发”", "影像：疑似新增",
        "开立线索", "影像：疑似新增",
    ]  # fmt: skip
    assert "两次不同日期的观测一致" in page
    assert "系统" in page
    assert re.search(r"审计日志第 \d+ 条 <code title=\"[0-9a-f]{64}\">", page)
    assert re.search(r'href="/triage\?alert=[0-9a-f]{32}"', page)


def test_nights_without_a_finding_are_one_line_and_never_mixed_with_nights_unseen(place: House) -> None:
    given(place.engine)
    look(place.engine, nights=3)
    look(place.engine, result="not_observed", first=3, nights=2)
    look(place.engine, first=5, nights=2)
    page = read(place.browser("wang", "analyst"))
    clear, unseen = "影像：未见疑似图斑", "影像：没有看到整个点位，情况不明"
    folded = "连续 3 次未见疑似图斑（2026-03-01 至 2026-03-03）"
    assert titles(page) == [clear, clear, unseen, unseen, folded]
    assert "看到点位的 40%" in page


def test_a_run_of_quiet_nights_is_folded_with_its_dates(place: House) -> None:
    given(place.engine)
    look(place.engine, nights=9)
    page = read(place.browser("wang", "analyst"))
    assert titles(page) == ["连续 9 次未见疑似图斑（2026-03-01 至 2026-03-09）"]
    assert page[page.index('class="folded"') :].count("<time") == 9


def test_looks_with_imagery_show_both_dates_and_the_outlines(place: House, tmp_path: Path) -> None:
    plant(place.engine, tmp_path)
    wang = place.browser("wang", "reviewer")
    page = read(wang, "L1")
    chips = re.findall(r'<img src="(/api/v1/scenes/night-0/(before|after)/chip.jpg[^"]*)"', page)
    assert [side for _, side in chips] == ["after", "before", "after"]  # the head, then the look
    for address, _ in chips:
        assert wang.get(address).headers["content-type"] == "image/jpeg"
    assert page.count('class="outline" data-kind="new"') == 2
    assert "最近的影像" in page


def test_imports_are_told_with_what_they_changed(place: House) -> None:
    wang = place.browser("wang", "reviewer")
    header = "code,courtyard_code,courtyard_name,name,system,land_m2,building_m2,lon,lat,radius_m,batch\n"
    row = "A,Y1,1号院,点位,collective,{},5,116.2,39.9,40,第一批\n"
    for land in (5000, 6000):
        files = {"file": ("账.csv", (header + row.format(land)).encode())}
        answer = wang.post("/api/v1/ledger/import", files=files, data={"crs": "WGS-84", "dry_run": "false"})
        assert answer.status_code == 200, answer.text
    page = read(wang)
    assert titles(page) == ["台账导入更新", "随台账导入新建"]
    assert "占地面积：5000.0 → 6000.0" in page
    assert "文件 账.csv，坐标系 WGS-84" in page


def test_a_reason_cannot_become_markup(place: House) -> None:
    given(place.engine, state="open")
    wang = place.browser("wang", "reviewer")
    step(wang, "open", "claimed_clear", reason="<img src=x onerror=alert(1)>")
    assert "<img src=x" not in wang.get("/sites/A").text


def test_a_long_history_comes_in_pages(place: House) -> None:
    given(place.engine, state="open")
    with writing(place.engine) as session:
        own = session.scalar(select(Site).where(Site.code == "A"))
        assert own is not None
        for _ in range(25):
            move_site(session, own, "open", "claimed_clear", CLERK, "申报", at=NIGHT)
            move_site(session, own, "claimed_clear", "open", OTHER, "退回", at=NIGHT)
    wang = place.browser("wang", "analyst")
    first, second = read(wang), unescape(wang.get("/sites/A?page=2").text)
    assert (len(titles(first)), len(titles(second))) == (40, 10)
    assert 'href="?page=2"' in first
