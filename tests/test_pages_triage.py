"""The page of triage, verdicts over HTTP, and the evidence packet."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import update
from sqlalchemy.orm import Session

from service.database import connect
from service.ledger.tables import Alert, Observation
from tests.leads import SHA256, Leads, plant
from tests.people import House, house

API = "/api/v1/ledger/alerts"


@pytest.fixture
def place(tmp_path: Path, red: Any) -> Iterator[House]:
    with house(tmp_path, lambda: red) as made:
        yield made


@pytest.fixture
def leads(place: House, tmp_path: Path) -> Leads:
    return plant(place.engine, tmp_path)


def verdict(client: TestClient, alert: str, which: str, code: str, expected: str = "suspected", **more: Any) -> Any:
    body = {"expected": expected, "verdict": which, "code": code} | more
    return client.post(f"{API}/{alert}/verdicts", json=body)


def listed(client: TestClient) -> list[str]:
    found = re.search(r'data-ids="([^"]*)"', client.get("/triage").text)
    assert found
    return found.group(1).split()


def test_the_first_lead_is_shown_with_pictures_figures_and_what_is_near(place: House, leads: Leads) -> None:
    wang = place.browser("wang", "reviewer")
    page = wang.get("/triage").text
    assert listed(wang) == leads.alerts
    assert f'data-alert="{leads.alerts[0]}"' in page
    texts = ("疑似新增", "L1", "95%", "平方米", "亩", "±5 平方米", "2017-06-30", "1 次独立观测", "附近 300 米")
    assert [text for text in (*texts, SHA256) if text not in page] == []
    for side in ("before", "after"):
        address = re.search(rf'src="(/api/v1/scenes/night-0/{side}/chip.jpg[^"]*)"', page)
        assert address
        picture = wang.get(address.group(1).replace("&amp;", "&"))
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
        assert Image.open(io.BytesIO(picture.content)).size == (512, 512)
    assert "Suspected new" in wang.get("/triage", headers={"Accept-Language": "en"}).text


def test_a_lead_alone_is_the_same_card(place: House, leads: Leads) -> None:
    wang = place.browser("wang", "reviewer")
    card = wang.get(f"/triage/{leads.alerts[1]}").text
    assert card.count('class="lead-card"') == 1
    assert "<html" not in card
    assert f'data-alert="{leads.alerts[1]}"' in card
    assert wang.get("/triage/nothing").status_code == 404


def test_an_address_leads_to_one_lead(place: House, leads: Leads) -> None:
    page = place.browser("wang", "reviewer").get(f"/triage?alert={leads.alerts[2]}").text
    assert 'data-number="2"' in page
    assert f'data-alert="{leads.alerts[2]}"' in page


def test_without_imagery_the_page_says_so_and_draws_the_outlines(place: House, tmp_path: Path) -> None:
    plant(place.engine, tmp_path, imagery=False)
    page = place.browser("wang", "reviewer").get("/triage").text
    assert "没有登记在本服务上" in page
    assert "chip.jpg" not in page
    assert 'class="outline" d="M' in page


def test_nothing_to_do_is_explained(place: House) -> None:
    page = place.browser("wang", "reviewer").get("/triage").text
    assert "没有待研判的线索" in page
    assert "data-alert" not in page


def test_triage_is_for_reviewers(place: House, leads: Leads) -> None:
    zhao = place.browser("zhao", "inspector")
    assert zhao.get("/triage").status_code == 403
    assert verdict(place.browser("audit", "auditor"), leads.alerts[0], "real", "structure").status_code == 403


def test_an_accepted_lead_leaves_the_list_and_is_sent_out_by_a_second_yes(place: House, leads: Leads) -> None:
    wang, first = place.browser("wang", "reviewer"), leads.alerts[0]
    answer = verdict(wang, first, "real", "structure")
    assert (answer.json()["outcome"], answer.json()["alert"]["state"]) == ("moved", "corroborated")
    assert first in listed(wang)  # waits for its turn with the inspector
    assert verdict(wang, first, "real", "structure", "corroborated").json()["alert"]["state"] == "dispatched"
    assert first not in listed(wang)


def test_a_dismissal_waits_on_the_list_of_another_reviewer_first_of_all(place: House, leads: Leads) -> None:
    wang, li, last = place.browser("wang", "reviewer"), place.browser("li", "reviewer"), leads.alerts[-1]
    answer = verdict(wang, last, "not_real", "shadow", words="楼影")
    assert answer.json()["outcome"] == "proposed"
    assert last not in listed(wang)
    assert "您提出的驳回还有 1 条在等另一人复核" in wang.get("/triage").text
    assert "您已提议驳回：阴影：楼影" in wang.get(f"/triage/{last}").text
    assert listed(li)[0] == last
    page = li.get("/triage").text
    assert "待您复核" in page
    assert "阴影：楼影" in page
    assert verdict(wang, last, "not_real", "shadow").json()["code"] == "proposal_pending"
    assert verdict(li, last, "not_real", "vehicle").json()["alert"]["state"] == "dismissed"
    assert last not in listed(li)


def test_who_proposed_cannot_confirm_by_the_other_door(place: House, leads: Leads) -> None:
    wang = place.browser("wang", "reviewer")
    step = {"expected": "suspected", "target": "dismissed", "reason": "x"}
    refused = wang.post(f"{API}/{leads.alerts[0]}/transitions", json=step)
    assert (refused.status_code, refused.json()["code"]) == (403, "second_reviewer_required")


def test_somebody_else_was_first(place: House, leads: Leads) -> None:
    wang, first = place.browser("wang", "reviewer"), leads.alerts[0]
    verdict(wang, first, "real", "structure")
    late = verdict(place.browser("li", "reviewer"), first, "not_real", "shadow")
    assert (late.status_code, late.json()["code"]) == (409, "state_changed")


def test_the_same_verdict_sent_again_acts_once(place: House, leads: Leads) -> None:
    wang, body = place.browser("wang", "reviewer"), {"expected": "suspected", "verdict": "real", "code": "structure"}
    answers = [
        wang.post(f"{API}/{leads.alerts[0]}/verdicts", json=body, headers={"Idempotency-Key": "a1"}) for _ in range(3)
    ]
    assert {each.status_code for each in answers} == {200}
    assert {each.json()["alert"]["state"] for each in answers} == {"corroborated"}


@pytest.mark.parametrize(
    ("which", "code", "words"),
    [("real", "shadow", ""), ("not_real", "structure", ""), ("not_real", "other", " "), ("not_real", "permitted", "")],
)
def test_a_reason_fits_the_verdict(place: House, leads: Leads, which: str, code: str, words: str) -> None:
    answer = verdict(place.browser("wang", "reviewer"), leads.alerts[0], which, code, words=words)
    assert (answer.status_code, answer.json()["code"]) == (422, "reason_unusable")


def test_a_program_decides_nothing(place: House, leads: Leads) -> None:
    program = place.program(place.browser("wang", "reviewer"), "decide", "review")
    answer = verdict(program, leads.alerts[0], "real", "structure", actor={"name": "wang"})
    assert (answer.status_code, answer.json()["code"]) == (403, "person_required")


# --- The packet -------------------------------------------------------------------------------------------


def unpack(answer: Any) -> dict[str, bytes]:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_packet_holds_all_that_a_decision_rests_on_and_can_be_checked(place: House, leads: Leads) -> None:
    wang, first = place.browser("wang", "reviewer"), leads.alerts[0]
    verdict(wang, first, "not_real", "vehicle")
    verdict(place.browser("li", "reviewer"), first, "not_real", "vehicle")
    files = unpack(wang.get(f"{API}/{first}/packet.zip"))
    sums = dict(reversed(line.split("  ")) for line in files.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    facts = json.loads(files["facts.json"])
    assert (facts["status"], facts["alert"]["id"], facts["site"]["code"]) == ("dismissed", first, "L1")
    assert [look["model_sha256"] for look in facts["looks"]] == [SHA256]
    assert [(each["actor"], each["settled_by"]) for each in facts["proposals"]] == [("wang", "li")]
    outlines = json.loads(files["outlines.geojson"])["features"]
    assert [each["properties"]["what"] for each in outlines] == ["site", "suspected"]
    entries = json.loads(files["audit.json"])["entries"]
    actions = [each["action"] for each in entries]
    assert actions[:3] == ["alert.suspected", "alert.dismissal_proposed", "alert.dismissed"]
    assert all(re.fullmatch("[0-9a-f]{64}", each["hash"]) for each in entries)
    chips = [name for name in files if name.startswith("chips/")]
    assert sorted(name.rsplit("-", 1)[1] for name in chips) == ["after.jpg", "before.jpg"]
    for language, text in (("zh", "不等于没有建筑"), ("en", "What was not observed is not clear.")):
        assert text in files[f"README.{language}.txt"].decode()
    assert "1号点位" not in b"".join(content for name, content in files.items() if name.endswith("json")).decode()


def test_a_packet_without_imagery_says_which_is_missing(place: House, tmp_path: Path) -> None:
    alert = plant(place.engine, tmp_path, imagery=False).alerts[0]
    files = unpack(place.browser("wang", "reviewer").get(f"{API}/{alert}/packet.zip"))
    assert not any(name.startswith("chips/") for name in files)
    assert "night-0" in files["README.zh.txt"].decode()


def test_packets_are_for_those_who_may_export(place: House, leads: Leads) -> None:
    path = f"{API}/{leads.alerts[0]}/packet.zip"
    assert place.browser("zhao", "inspector").get(path).status_code == 403
    assert place.browser("audit", "auditor").get(path).status_code == 200
    assert place.browser("audit", "auditor").get(f"{API}/{'x' * 32}/packet.zip").status_code == 404


def test_a_lead_without_any_look_is_shown_all_the_same(place: House, leads: Leads) -> None:
    with Session(place.engine) as session, session.begin():
        session.execute(update(Alert).values(probability=1.0).where(Alert.id == leads.alerts[1]))
        session.execute(update(Observation).values(alert_id=None).where(Observation.alert_id == leads.alerts[1]))
    page = place.browser("wang", "reviewer").get("/triage").text
    assert "这条线索没有观测记录" in page
    assert "100%" in page


def test_without_accounts_whoever_decides_is_asked_for_a_name(service: Any) -> None:
    engine = connect(service.settings.resolved_database_url)
    alert = plant(engine, service.settings.data_dir).alerts[0]
    engine.dispose()
    assert 'id="name"' in service.client.get("/triage").text
    refused = verdict(service.client, alert, "real", "structure")
    assert (refused.status_code, refused.json()["code"]) == (403, "person_required")
    made = verdict(service.client, alert, "real", "structure", actor={"name": "王经办"})
    assert made.json()["alert"]["state"] == "corroborated"
