"""What messages say: in both languages, suspected and never more, cut without breaking a character."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.language import catalogue
from service.notify.tables import Delivery, EventRow
from service.notify.texts import KINDS, compose, explain, parameters, split


def delivery(**rule: str) -> Delivery:
    params = {"name": "铸造厂", "area_m2": 1234.5, "probability": 0.87, "looks": 2}
    event = EventRow(
        kind="rebound_suspected", params=params, site="SJS-001", street=None, system="shougang", url="/sites/SJS-001"
    )
    return Delivery(event=event, rule=rule)


def test_a_single_event_is_told_with_its_figures() -> None:
    text = compose([delivery()], "zh", "https://jingdi.example/")
    assert text.title == "疑似反弹：SJS-001 铸造厂"
    assert "1,234 平方米" in text.body
    assert "87%" in text.body
    assert "未登记" in text.body  # the street is not known
    assert text.body.endswith("https://jingdi.example/sites/SJS-001")


def test_without_a_public_address_there_is_no_link() -> None:
    text = compose([delivery()], "en", None)
    assert text.url is None
    assert "http" not in text.body


def test_a_digest_lists_what_happened() -> None:
    text = compose([delivery(), delivery()], "en", "https://jingdi.example")
    assert text.title == "Suspected sites: 2 messages"
    assert "1. Suspected rebound: SJS-001 铸造厂\nhttps://jingdi.example/sites/SJS-001" in text.body
    assert "2. Suspected" in text.body


def test_why_names_what_of_the_subscription_matched() -> None:
    assert explain("zh", [{}]) == "您收到本消息，是因为订阅了全部消息。"
    rules = [{"system": "shougang", "kind": "rebound_suspected"}, {"system": "state_assets"}]
    assert explain("zh", rules) == "您收到本消息，是因为订阅了：类别 疑似反弹；责任系统 首钢系统、国资系统。"
    assert explain("en", [{"street": "古城街道"}]) == "You get this because you subscribed to street 古城街道."


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_a_machine_says_sounds_like_a_decision(kind: str) -> None:
    zh, en = (
        " ".join(catalogue(language)[f"notify.kind.{kind}.{part}"] for part in ("name", "title", "body"))
        for language in ("zh", "en")
    )
    assert not re.search("违法|违建|查处|责令|限期|拆除|处罚|强制", zh)
    assert not re.search(r"illegal|violation|enforce|penalt|demolish|order(ed)? to", en, re.IGNORECASE)
    assert "疑似" in zh
    assert "suspected" in en.lower()
    assert parameters(kind) == {
        name for name in re.findall(r"{(\w+)", en) if name not in ("site", "street", "area", "system")
    }


def test_a_text_that_fits_is_left_alone() -> None:
    assert split("字" * 682, 2048) == ["字" * 682]


def test_the_limit_is_in_bytes_and_no_character_is_cut() -> None:
    text = "".join(chr(0x4E00 + number % 20000) for number in range(5000))  # 15,000 bytes
    parts = split(text, 2048)
    assert all(len(part.encode()) <= 2048 for part in parts)
    assert parts[0].startswith(f"(1/{len(parts)})\n")
    assert "".join(part.partition("\n")[2] for part in parts) == text


def test_lines_are_kept_whole_where_they_can_be() -> None:
    lines = [f"{number}. 疑似反弹：某某街道某某院" for number in range(200)]
    parts = split("\n".join(lines), 2048)
    assert [line for part in parts for line in part.split("\n")[1:]] == lines


def test_a_mark_stays_with_the_character_it_belongs_to() -> None:
    text = "a" * 30 + "葛\U000e0100" * 40  # a character and its variant, as in names of places
    for part in split(text, 64):
        assert not part.partition("\n")[2].startswith("\U000e0100")


@settings(max_examples=50)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300), st.integers(64, 200))
def test_whatever_the_text_nothing_is_lost_and_nothing_is_too_long(text: str, limit: int) -> None:
    parts = split(text, limit)
    assert all(len(part.encode()) <= limit for part in parts)
    bodies = [part.partition("\n")[2] for part in parts] if len(parts) > 1 else parts
    assert "".join(bodies).replace("\n", "") == text.replace("\n", "")
