"""The page for many pairs, and reasons in words for it."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(("language", "heading"), [("zh-CN", "一次比对许多处"), ("en", "Compare many places at once")])
def test_the_page_speaks_the_language_of_its_reader(service: Any, language: str, heading: str) -> None:
    page = service.client.get("/batch", headers={"Accept-Language": language})
    assert page.status_code == 200
    assert heading in page.text


def test_the_first_page_leads_there(service: Any) -> None:
    assert 'href="/batch"' in service.client.get("/", headers={"Accept": "text/html"}).text


@pytest.mark.parametrize(("language", "said"), [("zh-CN", "同一张"), ("en", "same")])
def test_why_a_pair_was_refused_is_said_in_the_language_that_was_asked_for(
    service: Any, before: bytes, language: str, said: str
) -> None:
    pair = service.finish(before, before)
    told = service.client.get(f"/api/v1/pairs/{pair['id']}", headers={"Accept-Language": language}).json()
    (reason,) = told["report"]["verdict"]["reasons"]
    assert reason["code"] == "same_image"
    assert said in reason["text"]
    assert reason["remedy"]
