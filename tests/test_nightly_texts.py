"""Whatever became of a night can be said, in every language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import service.nightly
from inference.reasons import LANGUAGES
from inference.scan.window import COVERAGE, OBSERVED
from service.language import say
from service.nightly.tables import NIGHT_STATES, POLICIES
from service.nightly.texts import sentence

SOURCE = "\n".join(path.read_text("utf-8") for path in Path(service.nightly.__file__).parent.glob("*.py"))
OWN = sorted(
    set(re.findall(r'NothingToSee\(\s*"(\w+)"', SOURCE))
    | set(re.findall(r'"code": "(\w+)"', SOURCE))
    | {"undated", "area_busy", "service_down", "no_model", "internal"}
)
FIGURES = {"source": "a", "newest": "b", "name": "c", "day": "d", "count": 3, "detail": "e"}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", OWN)
def test_every_reason_of_a_night_is_a_sentence(code: str, language: str) -> None:
    said = sentence({"code": code, "values": FIGURES}, language)
    assert said != code
    assert "{" not in said


def test_the_codes_in_the_source_are_found() -> None:
    assert {"no_imagery", "nothing_new", "first_night", "windows_set_aside", "worker_died"} <= set(OWN)


@pytest.mark.parametrize("language", LANGUAGES)
def test_parts_that_were_not_seen_are_said_with_their_share(language: str) -> None:
    for code in COVERAGE[OBSERVED + 1 :]:
        assert "12.5%" in sentence({"code": code, "values": {"share": 0.125}}, language)


def test_reasons_of_imagery_are_said_with_what_to_do() -> None:
    said = sentence({"code": "no_overlap", "values": {}}, "en")
    assert said.startswith("The two pictures show no place in common. Choose two pictures")
    assert sentence({"code": "of_a_later_version", "values": {}}, "en") == "of_a_later_version"


@pytest.mark.parametrize("language", LANGUAGES)
def test_states_and_policies_have_names_and_none_is_called_clear(language: str) -> None:
    names = {say(language, f"nightly.state.{state}") for state in NIGHT_STATES}
    assert len(names) == len(NIGHT_STATES)
    assert not any("clear" in name or "干净" in name for name in names)
    assert all(say(language, f"nightly.policy.{policy}") for policy in POLICIES)
