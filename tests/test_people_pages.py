"""The pages to sign in and out, and what the terminal says about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from service.app import create_app
from service.cli import app as command
from service.pages.people import local
from service.server import way_in
from service.settings import Settings
from tests.people import COOKIE, PASSWORD, House, cheap_passwords, house

ADDRESS = "http://127.0.0.1:8000/"


@pytest.fixture
def place(tmp_path: Path, red: Any) -> Iterator[House]:
    with house(tmp_path, lambda: red) as made:
        yield made


def sign_in(client: Any, name: str, password: str, **more: str) -> Any:
    return client.post("/login", data={"name": name, "password": password, **more})


@pytest.mark.parametrize(("language", "word"), [("zh", "账号"), ("en", "Account")])
def test_the_door_is_in_the_readers_language_and_loads_nothing_from_elsewhere(
    place: House, language: str, word: str
) -> None:
    page = place.stranger(accept="text/html", **{"accept-language": language}).get("/login")
    assert page.status_code == 200
    assert word in page.text
    assert not re.search(r"(?:src|href|action)=\"(?![/#?])", page.text)
    assert "<script" not in page.text


def test_signing_in_leads_back_to_where_one_wanted_to_go(place: House) -> None:
    chief = place.stranger()
    answer = sign_in(chief, "chief", PASSWORD, next="/pairs/1?lang=en")
    assert (answer.status_code, answer.headers["location"]) == (303, "/pairs/1?lang=en")
    assert chief.get("/login").headers["location"] == "/"
    assert "Chief" in chief.get("/").text


@pytest.mark.parametrize(
    "path",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil", "javascript:alert(1)", "", "evil",
     "/\t/evil.example", "/login", "/login/x", "http:///evil", "/\r\nSet-Cookie: x"],
)  # fmt: skip
def test_nobody_is_sent_elsewhere_after_signing_in(place: House, path: str) -> None:
    assert local(path) == "/"
    answer = sign_in(place.stranger(), "chief", PASSWORD, next=path)
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize(("name", "password"), [("chief", "wrong"), ("nobody", "wrong"), ("nobody", PASSWORD)])
def test_a_wrong_name_and_a_wrong_password_look_the_same(place: House, name: str, password: str) -> None:
    client = place.stranger()
    answer = sign_in(client, name, password)
    assert (answer.status_code, COOKIE in client.cookies) == (403, False)
    assert answer.text.replace(f'value="{name}"', "") == sign_in(client, "x<y", "z").text.replace('value="x&lt;y"', "")


def test_too_many_wrong_passwords_are_told_so_and_when_to_come_back(place: House) -> None:
    client = place.stranger()
    for _ in range(5):
        assert sign_in(client, "chief", "wrong").status_code == 403
    answer = sign_in(client, "chief", PASSWORD)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


def test_signing_in_again_gives_a_new_session_and_ends_the_one_before(place: House) -> None:
    client = place.browser("chief")
    first = client.cookies[COOKIE]
    sign_in(client, "chief", PASSWORD)
    old = place.stranger()
    old.cookies.set(COOKIE, first)
    assert old.get("/api/v1/pairs").status_code == 401


def test_signing_out_ends_the_session_here_and_on_the_server(place: House) -> None:
    client = place.browser("chief")
    token = client.cookies[COOKIE]
    answer = client.post("/logout")
    assert answer.headers["clear-site-data"] == '"cache"'
    assert "Max-Age=0" in answer.headers["set-cookie"]
    thief = place.stranger()
    thief.cookies.set(COOKIE, token)
    assert thief.get("/api/v1/pairs").status_code == 401


def test_the_password_page_changes_it_or_says_why_not(place: House) -> None:
    client = place.browser("chief")
    assert "current" in client.get("/password").text
    assert client.post("/password", data={"current": "wrong", "new": "another horse"}).status_code == 403
    assert client.post("/password", data={"current": PASSWORD, "new": "weak"}).status_code == 422
    assert client.post("/password", data={"current": PASSWORD, "new": "another horse"}).status_code == 303
    assert sign_in(place.stranger(), "chief", "another horse").status_code == 303


def test_without_an_administrator_the_terminal_lets_one_in(tmp_path: Path, red: Any) -> None:
    settings = Settings(data_dir=tmp_path)
    app = create_app(settings, load=lambda: red)
    browser = {"base_url": "http://127.0.0.1", "follow_redirects": False, "headers": {"Sec-Fetch-Site": "none"}}
    with cheap_passwords(), TestClient(app, **browser) as client:  # type: ignore[arg-type]
        printed = "\n".join(way_in(app.state.services, ADDRESS, link=True))
        link = re.search(r"http://127\.0\.0\.1:8000(/login/\S+)", printed)
        password = re.search(r"[a-z2-9]{4}(?:-[a-z2-9]{4}){3}", printed)
        assert link
        assert password
        assert client.get(link[1]).headers["location"] == "/"
        assert client.get("/").status_code == 200  # usable at once
        assert TestClient(app, **browser).get(link[1]).status_code == 403  # type: ignore[arg-type]
        client.cookies.clear()
        client.headers["Sec-Fetch-Site"] = "same-origin"
        assert sign_in(client, "admin", password[0]).status_code == 303
        assert client.get("/", headers={"Accept": "text/html"}).headers["location"] == "/password"
        assert client.post("/password", data={"new": PASSWORD}).status_code == 303
        again = way_in(app.state.services, ADDRESS, link=True)
        assert all("/login/" in line for line in again)  # a link still, a password no more
        assert way_in(app.state.services, ADDRESS, link=False) == []
        for other in (settings.model_copy(update={"host": "0.0.0.0"}), settings.model_copy(update={"accounts": "off"})):
            assert way_in(replace(app.state.services, settings=other), ADDRESS, link=True) == []


def test_without_accounts_an_open_address_is_refused_with_a_clear_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINGDI_ACCOUNTS", "off")
    result = CliRunner().invoke(command, ["serve", "--host", "0.0.0.0", "--data-dir", str(tmp_path / "var")])
    assert result.exit_code == 2
    assert "0.0.0.0 can be reached from elsewhere" in " ".join(result.stderr.split())
    assert not (tmp_path / "var").exists()


def test_accounts_are_made_and_passwords_reset_from_the_server(tmp_path: Path) -> None:
    run, at = CliRunner(), ["--data-dir", str(tmp_path), "--language", "en"]
    with cheap_passwords():
        made = run.invoke(command, ["people", "add", "wang", "--role", "analyst", "--role", "administrator", *at])
        assert (made.exit_code, "Account wang, one-time password" in made.stdout) == (0, True)
        twice = run.invoke(command, ["people", "add", "wang", "--role", "analyst", *at])
        assert (twice.exit_code, "already" in twice.stderr or "account with this name" in twice.stderr) == (2, True)
        assert run.invoke(command, ["people", "add", "li", "--role", "emperor", *at]).exit_code == 2
        reset = run.invoke(command, ["people", "password", "wang", *at])
        assert reset.exit_code == 0
        assert reset.stdout != made.stdout
        assert run.invoke(command, ["people", "password", "nobody", *at]).exit_code == 2
