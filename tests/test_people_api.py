"""One's own account and keys, and accounts of others, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.people.sessions import Sessions
from tests.people import COOKIE, PASSWORD, House, house

API = "/api/v1/people"


@pytest.fixture
def place(tmp_path: Path, red: Any) -> Iterator[House]:
    with house(tmp_path, lambda: red) as made:
        yield made


def test_an_administrator_makes_an_account_whose_owner_chooses_a_password(place: House) -> None:
    chief = place.browser("chief")
    body = {"name": "Wang", "display_name": "王经办", "email": "w@example.org", "roles": ["inspector", "analyst"]}
    made = chief.post(API, json=body)
    assert made.status_code == 201
    account = made.json()
    assert (account["name"], account["roles"], account["password_chosen"]) == ("wang", ["analyst", "inspector"], False)
    assert chief.post(API, json=body).json()["code"] == "account_exists"
    assert "one_time_password" not in chief.get(API).text

    wang = place.stranger()
    form = {"name": "wang", "password": account["one_time_password"], "next": "/"}
    assert wang.post("/login", data=form).status_code == 303
    refused = wang.get("/api/v1/pairs")
    assert (refused.status_code, refused.json()["code"]) == (403, "password_change_required")
    assert wang.get("/", headers={"Accept": "text/html"}).headers["location"] == "/password"
    assert wang.post("/password", data={"new": "short"}).status_code == 422
    assert wang.post("/password", data={"new": PASSWORD}).status_code == 303
    assert wang.get("/api/v1/pairs").status_code == 200
    assert chief.get(API).json()[1]["password_chosen"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"roles": ["auditor"], "display_name": "王"}, 200),
        ({"roles": []}, 422),
        ({"roles": ["emperor"]}, 422),
        ({"name": "other"}, 422),
        ({"email": "nowhere"}, 422),
        ({"email": None}, 200),
        ({"display_name": ""}, 422),
    ],
)
def test_what_is_given_is_changed_if_it_can_be(place: House, change: dict[str, Any], status: int) -> None:
    place.browser("wang", "analyst")
    chief = place.browser("chief")
    before = next(each for each in chief.get(API).json() if each["name"] == "wang")
    assert chief.patch(f"{API}/wang", json=change).status_code == status
    after = next(each for each in chief.get(API).json() if each["name"] == "wang")
    kept = ("display_name", "email", "roles")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept} | (
        change if status == 200 else {}
    )


def test_the_last_administrator_cannot_be_disabled_and_unknown_accounts_are_not_found(place: House) -> None:
    chief = place.browser("chief")
    assert chief.patch(f"{API}/chief", json={"disabled": True}).json()["code"] == "last_administrator"
    assert chief.get(f"{API}/me").status_code == 200
    assert chief.patch(f"{API}/nobody", json={"disabled": True}).status_code == 404
    assert chief.post(f"{API}/nobody/password").status_code == 404


def test_a_reset_signs_out_and_its_password_gets_in(place: House) -> None:
    chief, wang = place.browser("chief"), place.browser("wang", "analyst")
    password = chief.post(f"{API}/wang/password").json()["one_time_password"]
    assert wang.get(f"{API}/me").status_code == 401
    assert wang.post("/login", data={"name": "wang", "password": PASSWORD}).status_code == 403
    assert wang.post("/login", data={"name": "wang", "password": password}).status_code == 303


def test_changing_the_password_takes_the_current_one_and_signs_out_elsewhere(place: House) -> None:
    wang, elsewhere = place.browser("wang", "analyst"), place.browser("wang")
    new = "another horse battery"
    wrong = wang.post(f"{API}/me/password", json={"current": "wrong", "new": new})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong_password")
    assert wang.post(f"{API}/me/password", json={"current": PASSWORD, "new": "weak"}).status_code == 422
    assert elsewhere.get(f"{API}/me").status_code == 200
    assert wang.post(f"{API}/me/password", json={"current": PASSWORD, "new": new}).status_code == 204
    assert elsewhere.get(f"{API}/me").status_code == 401
    assert wang.get(f"{API}/me").json()["name"] == "wang"


def test_guessing_the_current_password_is_slowed_down_too(place: House) -> None:
    wang = place.browser("wang", "analyst")
    body = {"current": "wrong", "new": "another horse battery"}
    codes = [wang.post(f"{API}/me/password", json=body).status_code for _ in range(6)]
    assert codes == [403] * 5 + [429]


def test_signing_out_everywhere_ends_every_session(place: House) -> None:
    wang, elsewhere = place.browser("wang", "analyst"), place.browser("wang")
    assert wang.post(f"{API}/me/sign-out-everywhere").status_code == 204
    for browser in (wang, elsewhere):
        assert browser.get(f"{API}/me").status_code == 401


def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(place: House) -> None:
    wang, li = place.browser("wang", "analyst"), place.browser("li", "analyst")
    made = wang.post(f"{API}/me/keys", json={"label": "夜间扫描", "actions": ["read"], "days": 30}).json()
    program = place.stranger(authorization=f"Bearer {made['key']}")
    assert program.get("/api/v1/pairs").status_code == 200
    assert program.get(f"{API}/me/keys").status_code == 403
    [listed] = wang.get(f"{API}/me/keys").json()
    assert (listed["label"], listed["actions"]) == ("夜间扫描", ["read"])
    assert listed["used_at"]
    assert made["key"].split("_", 2)[2] not in str(listed)
    assert li.get(f"{API}/me/keys").json() == []
    assert li.delete(f"{API}/me/keys/{made['id']}").status_code == 404
    assert wang.delete(f"{API}/me/keys/{made['id']}").status_code == 204
    assert program.get("/api/v1/pairs").status_code == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"label": "k", "actions": ["originals"]}, 403),
        ({"label": "k", "actions": ["own"]}, 403),
        ({"label": "k", "actions": []}, 422),
        ({"label": "k", "actions": ["fly"]}, 422),
        ({"label": "k", "actions": ["read"], "days": 10_000}, 422),
        ({"actions": ["read"]}, 422),
    ],
)
def test_a_key_cannot_be_made_wider_or_longer(place: House, body: dict[str, Any], status: int) -> None:
    wang = place.browser("wang", "analyst")
    assert wang.post(f"{API}/me/keys", json=body).status_code == status
    assert wang.get(f"{API}/me/keys").json() == []


def test_the_cookie_is_kept_from_scripts_and_other_sites_and_from_plain_http_where_there_is_https(
    place: House,
) -> None:
    token = Sessions(place.engine).make_link("chief")
    cookie = place.stranger().get(f"/login/{token}").headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie
    assert "Domain" not in cookie
    safe = place.stranger()
    safe.base_url = "https://127.0.0.1"  # type: ignore[assignment]
    cookie = safe.get(f"/login/{Sessions(place.engine).make_link('chief')}").headers["set-cookie"]
    assert cookie.startswith("__Host-jingdi=")
    assert {"HttpOnly", "SameSite=lax", "Path=/", "Secure"} <= {part.strip() for part in cookie.split(";")}
    assert safe.get(f"{API}/me").json()["name"] == "chief"
