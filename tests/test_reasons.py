"""Every reason can be said, in every language, with the same figures."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

import datasets
import inference
from inference.reasons import LANGUAGES, InputError, Reason, catalogue

FOLDERS = (Path(inference.__file__).parent, Path(datasets.__file__).parent)
SOURCE = "\n".join(path.read_text("utf-8") for folder in FOLDERS for path in folder.rglob("*.py"))
CODES = sorted(
    set(re.findall(r'(?:Reason|SceneError)\(\s*"(\w+)"', SOURCE))
    | set(re.findall(r'Reason\("\w+" if \w+ else "(\w+)"', SOURCE))
)


def _entries(language: str) -> dict[str, dict[str, str]]:
    return {code: entry for code, entry in catalogue(language).items() if code != "words"}


def _placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_the_codes_in_the_source_are_found() -> None:
    assert {"too_dark", "no_overlap", "nodata", "animated", "truncated", "not_an_image"} <= set(CODES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_code_in_the_source_has_a_sentence_and_no_sentence_is_left_over(language: str) -> None:
    assert set(_entries(language)) == set(CODES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_entry_says_something_and_what_to_do(language: str) -> None:
    for code, entry in _entries(language).items():
        assert set(entry) == {"say", "do"}, code
        assert all(text.strip() for text in entry.values()), code


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("part", ["say", "do"])
def test_all_languages_use_the_same_figures(code: str, part: str) -> None:
    zh, en = (_placeholders(catalogue(language)[code][part]) for language in ("zh", "en"))
    assert zh == en


def test_all_languages_have_the_same_words() -> None:
    words = [set(catalogue(language)["words"]) for language in LANGUAGES]
    assert words[0] == words[1] >= {"before", "after", "similarity", "homography"}


@pytest.mark.parametrize(
    ("language", "side", "sentence"),
    [
        ("zh", "before", "整治前图片太暗，看不清建筑物。"),
        ("zh", "after", "整治后图片太暗，看不清建筑物。"),
        ("en", "before", "The earlier picture is too dark to see structures."),
        ("en", "after", "The later picture is too dark to see structures."),
    ],
)
def test_the_side_is_said_in_the_readers_language(language: str, side: str, sentence: str) -> None:
    assert Reason("too_dark", {"side": side}).say(language) == sentence


def test_figures_stand_in_sentence_and_remedy() -> None:
    reason = Reason("too_small", {"side": "after", "width": 60, "height": 40, "minimum": 64})
    assert "60 x 40" in reason.say("en")
    assert "64 x 64" in reason.remedy("en")


def test_only_whole_values_are_words() -> None:
    values = {"before": "2017-06-30 after lunch", "after": "2016"}
    assert "2017-06-30 after lunch" in Reason("wrong_order", values).say("zh")


@pytest.mark.parametrize("code", CODES)
def test_the_chinese_sentences_are_chinese(code: str) -> None:
    for text in catalogue("zh")[code].values():
        assert re.search(r"[\u4e00-\u9fff]", text)
        assert text.endswith("。")


def test_an_unknown_language_has_no_catalogue() -> None:
    with pytest.raises(FileNotFoundError):
        catalogue("fr")


def test_an_input_error_says_which_picture_what_and_what_to_do() -> None:
    error = InputError(Reason("empty_file"), "after")
    assert str(error) == "after: The file is empty (0 bytes). Save or send the picture again."
    assert str(InputError(Reason("empty_file"))).startswith("The file is empty")
    assert isinstance(error, ValueError)
