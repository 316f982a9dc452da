"""Problems: one shape, in the reader's language, without a word about what is inside."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from inference.reasons import InputError, Reason
from service import errors
from service.language import negotiate, say


def subclasses(kind: type) -> set[type]:
    return {each for child in kind.__subclasses__() for each in ({child} | subclasses(child))}


def test_every_error_of_the_service_has_a_status() -> None:
    assert subclasses(errors.ServiceError) <= set(errors.STATUS)


def raised() -> list[tuple[str, frozenset[str]]]:
    """Every code that the service can answer with, with the figures it gives along: from what is written there."""
    kinds = {kind.__name__: kind for kind in subclasses(errors.ServiceError)}
    found: set[tuple[str, frozenset[str]]] = set()
    for path in Path(errors.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            if not isinstance(node, ast.Call) or name not in kinds:
                continue
            figures = frozenset(keyword.arg for keyword in node.keywords if keyword.arg)
            if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                found.add((node.args[0].value, figures))
            elif not node.args and "code" in vars(kinds[name]):
                found.add((kinds[name].code, figures))
    told = {code for code, _ in found}
    plain = {(kind.code, frozenset[str]()) for kind in kinds.values() if "code" in vars(kind) and kind.code not in told}
    return sorted(found | plain, key=lambda each: (each[0], sorted(each[1])))


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize(("code", "figures"), raised(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_error_of_the_service_has_its_sentences(code: str, figures: frozenset[str], language: str) -> None:
    for part in ("title", "detail", "remedy"):
        assert say(language, f"problem.{code}.{part}", **dict.fromkeys(figures, "7"))


def test_an_input_error_says_which_picture_what_is_wrong_and_what_to_do() -> None:
    error = InputError(Reason("animated", {"frames": 3}), "after")
    problem = errors.describe(error, "en", 2**20)
    assert problem.type == "urn:jingdi:problem:animated"
    assert (problem.status, problem.code, problem.side) == (422, "animated", "after")
    assert problem.detail == "After: The file holds 3 pictures, not one."
    assert problem.remedy == "Save the one frame you mean as JPEG or PNG."


def test_words_among_the_figures_of_a_reason_are_translated() -> None:
    assert Reason("too_dark", {"side": "before"}).say("zh").startswith("整治前")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "zh"),
        ("", "zh"),
        ("fr-FR, *", "zh"),
        ("en", "en"),
        ("en-GB,en;q=0.9", "en"),
        ("fr, en;q=0.3", "en"),
        ("zh-Hant-TW, en;q=0.9", "zh"),
        ("zh;q=0.2, en;q=0.8", "en"),
        ("en;q=0", "zh"),
        ("en;q=x, ;;,", "zh"),
    ],
)
def test_the_language_is_what_the_reader_prefers_and_chinese_otherwise(header: str | None, language: str) -> None:
    assert negotiate(header, ("zh", "en")) == language


def test_problems_are_chinese_unless_asked_for_english(service: Any) -> None:
    chinese = service.client.get("/api/v1/pairs/x")
    english = service.client.get("/api/v1/pairs/x", headers={"Accept-Language": "en"})
    assert (chinese.json()["title"], english.json()["title"]) == ("没有这次比对", "No such comparison")
    assert chinese.json()["code"] == english.json()["code"] == "pair_not_found"
    assert english.headers["content-language"] == "en"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("PUT", "/api/v1/pairs", 405, "method_not_allowed"),
        ("GET", "/api/v1/pairs?limit=0", 422, "invalid"),
        ("GET", "/api/v1/pairs?offset=99999999999999999999", 422, "invalid"),
        ("GET", "/static/nothing.css", 404, "not_found"),
    ],
)
def test_whatever_is_wrong_comes_as_problem_details(
    service: Any, method: str, path: str, status: int, code: str
) -> None:
    response = service.client.request(method, path)
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)


def test_a_wrong_method_is_told_the_right_ones(service: Any) -> None:
    assert "GET" in service.client.put("/api/v1/pairs/x").headers["allow"]


def test_an_accident_is_a_plain_500_and_goes_to_the_log(
    service: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr("service.database.Pairs.recent", fail)
    response = service.client.get("/api/v1/pairs")
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert response.headers["content-type"] == "application/problem+json"
    assert "content-security-policy" in response.headers
    assert "swordfish" not in response.text
    assert "swordfish" in caplog.text


def test_a_person_gets_a_page_and_a_program_gets_problem_details(service: Any) -> None:
    page = service.client.get("/pairs/x", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "没有这次比对" in page.text
    api = service.client.get("/api/v1/pairs/x", headers={"Accept": "text/html"})
    assert api.headers["content-type"] == "application/problem+json"
