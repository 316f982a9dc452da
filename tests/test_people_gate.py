"""The gate: nothing without signing in, nothing beyond one's roles, nothing at another site's bidding."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, Response
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from pydantic import ValidationError
from starlette.types import Message, Receive, Scope, Send

from service import errors
from service.api import notify as notify_api
from service.app import create_app
from service.ledger import fixture
from service.ledger.audit import writing
from service.ledger.tables import Observation
from service.people.gate import STRANGER_MAX_BYTES, Gate
from service.people.rights import OPEN, OPERATIONS, ROLES, Role, actions_of
from service.people.sessions import Sessions
from service.settings import Settings
from tests.ledgers import NIGHT, site
from tests.people import COOKIE, House, house

API = "/api/v1"
Operation = tuple[str, str, str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, red: Any) -> Iterator[House]:
    """One service for all tests here; each names people of its own."""
    with house(tmp_path_factory.mktemp("gate"), lambda: red, serve_originals=True) as made:
        yield made


def routes(app: FastAPI) -> list[APIRoute]:
    """Every route there is, pages and API."""
    found, left = [], list(app.router.routes)
    while left:
        route = left.pop()
        left += getattr(getattr(route, "original_router", None), "routes", [])
        if isinstance(route, APIRoute):
            found.append(route)
    return found


def name_of(route: APIRoute) -> str:
    return route.operation_id or route.name


def ask(client: TestClient, route: APIRoute, **options: Any) -> Any:
    method = next(iter(route.methods))
    path = re.sub(r"\{(\w+)\}", "before" if "original" in route.path else "x" * 32, route.path)
    return client.request(method, path, **options)


def test_every_route_has_its_entry_and_every_entry_its_route(place: House) -> None:
    assert sorted(name_of(each) for each in routes(place.app)) == sorted(OPERATIONS)


def test_a_route_without_an_entry_is_refused_to_everybody(place: House, red: Any) -> None:
    app = create_app(place.app.state.services.settings, load=lambda: red)
    app.get("/forgotten")(lambda: "secret")
    chief = place.browser("omnipotent", *ROLES)
    with TestClient(app, base_url="http://127.0.0.1", cookies=chief.cookies) as client:
        answer = client.get("/forgotten")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")


def test_a_stranger_gets_nothing_but_health_pages_to_sign_in_and_what_they_load(place: House) -> None:
    stranger = place.stranger()
    for route in routes(place.app):
        answer = ask(stranger, route)
        if OPERATIONS[name_of(route)] == OPEN:
            assert answer.status_code != 401, route.path
        else:
            assert answer.status_code == 401, route.path
            assert answer.request.method == "HEAD" or answer.json()["code"] == "sign_in_required", route.path
            assert answer.headers["www-authenticate"] == "Bearer"
    assert stranger.get("/static/base.css").status_code == 200
    for path in (f"{API}/openapi.json", "/nothing", "/login/../api/v1/pairs", "//login", "/LOGIN", "/static"):
        assert stranger.get(path).status_code == 401, path


def test_a_stranger_with_a_browser_is_led_to_the_door_and_back(place: House) -> None:
    answer = place.stranger(accept="text/html").get("/pairs/1?lang=en")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fpairs%2F1%3Flang%3Den"


@pytest.mark.parametrize("cookie", ["", "x", "x" * 5000])
def test_a_session_that_is_none_is_nobodys(place: House, cookie: str) -> None:
    stranger = place.stranger()
    stranger.cookies.set(COOKIE, cookie)
    assert stranger.get(f"{API}/pairs").status_code == 401


WHO: dict[str, set[Role]] = {
    "createPair": {"analyst", "reviewer", "inspector"},
    "readPair": set(ROLES),
    "deletePair": {"reviewer"},
    "readOriginal": {"reviewer"},
    "checkPair": {"reviewer", "inspector"},
    "importLedger": {"reviewer"},
    "exportLedgerXlsx": {"analyst", "reviewer", "auditor"},
    "moveSite": {"reviewer", "inspector"},
    "moveAlert": {"reviewer", "inspector"},
    "listAudit": {"auditor"},
    "verifyAudit": {"auditor"},
    "readMetrics": {"auditor", "administrator"},
    "createAccount": {"administrator"},
    "changeAccount": {"administrator"},
    "resetPassword": {"administrator"},
    "listSubscriptions": set(ROLES),
}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_do_what_the_table_says_and_nothing_else(
    place: House, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify_api, "STREAM_FOR_S", 0.0)
    name = f"only-{role}"
    client = place.browser(name, role)
    for route in routes(place.app):
        operation = name_of(route)
        client.cookies.set(COOKIE, Sessions(place.engine).open(name))  # some operations sign out
        answer = ask(client, route)
        refused = answer.status_code == 403 and (answer.request.method == "HEAD" or "not_allowed" in answer.text)
        if operation in WHO:
            assert refused == (role not in WHO[operation]), operation
        allowed = OPERATIONS[operation] == OPEN or OPERATIONS[operation] in actions_of([role])
        assert refused != allowed, operation


def test_originals_stay_closed_to_everybody_unless_the_setting_opens_them(tmp_path: Any, red: Any) -> None:
    with house(tmp_path, lambda: red) as closed:
        answer = closed.browser("li", "reviewer").get(f"{API}/pairs/{'0' * 32}/original/before")
        assert answer.status_code in (403, 404)
        assert answer.json()["code"] != "not_allowed"


# --- Other sites ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"}, False),
        ({"Origin": "http://127.0.0.1"}, True),
        ({"Origin": "https://jingdi.example"}, True),
        ({"Origin": "http://127.0.0.1:81"}, False),
        ({"Origin": "http://127.0.0.1.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_with_a_cookie_only_pages_of_this_service_change_anything(
    place: House, headers: dict[str, str], allowed: bool, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = place.browser("csrf", *ROLES)
    gate = place.app.middleware_stack
    while not hasattr(gate, "sessions"):
        gate = gate.app  # type: ignore[union-attr]
    monkeypatch.setattr(gate, "settings", Settings(public_url="https://jingdi.example"))
    owner.cookies.set("__Host-jingdi", owner.cookies[COOKIE])
    del owner.headers["Sec-Fetch-Site"]
    answer = owner.request(method, f"{API}/people/nobody", json={}, headers=headers)
    assert (answer.json().get("code") == "cross_site") != allowed
    assert owner.get(f"{API}/people", headers=headers).status_code == 200  # reading is another matter


def test_another_site_cannot_sign_a_browser_in_or_out(place: House) -> None:
    stranger = place.stranger()
    for path in ("/login", "/logout"):
        answer = stranger.post(path, data={"name": "chief"}, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code in (401, 403)
        assert "set-cookie" not in answer.headers
    link = Sessions(place.engine).make_link("chief")
    answer = stranger.get(f"/login/{link}", headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


def test_a_program_needs_no_page_and_a_wrong_key_is_not_helped_by_a_cookie(place: House) -> None:
    owner = place.browser("owner", "analyst")
    program = place.program(owner, "compare")
    assert program.post(f"{API}/pairs", files={"x": b""}).status_code == 422
    assert program.get(f"{API}/pairs").json()["code"] == "not_allowed"
    assert owner.get(f"{API}/pairs", headers={"Authorization": "Bearer jingdi_0_0"}).status_code == 401
    for path in ("people/me/keys", "people/me", "notify/inbox"):
        assert program.get(f"{API}/{path}").json()["code"] == "not_allowed"


def test_unsubscribing_by_mail_needs_neither_cookie_nor_page(place: House) -> None:
    mail = TestClient(place.app, base_url="http://127.0.0.1")
    assert mail.post(f"{API}/notify/unsubscribe/unknown").json()["code"] == "subscription_not_found"


def test_of_a_stranger_no_more_is_read_than_a_form_takes(place: House) -> None:
    read = 0

    async def endless() -> Message:
        nonlocal read
        read += 2**15
        return {"type": "http.request", "body": b"x" * 2**15, "more_body": True}

    async def swallow(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            await receive()

    async def ignore(message: Message) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": "/login", "query_string": b"", "scheme": "http"}
    scope |= {"headers": [(b"sec-fetch-site", b"same-origin")], "client": ("10.0.0.1", 1), "server": ("x", 80)}
    gate = Gate(swallow, Settings(), place.engine, lambda request, error: Response(str(error)))
    with pytest.raises(errors.RequestTooLarge):
        anyio.run(gate, scope, endless, ignore)
    assert read == STRANGER_MAX_BYTES + 2**15
    assert place.stranger().post("/login", data={"name": "x" * STRANGER_MAX_BYTES}).status_code == 413


# --- Without accounts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "jingdi.example", ""])
def test_without_accounts_the_service_does_not_start_where_others_can_reach_it(host: str) -> None:
    with pytest.raises(ValidationError, match="Without accounts"):
        Settings(host=host, accounts="off")
    assert Settings(host=host).accounts == "on"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_without_accounts_it_starts_for_this_machine(host: str) -> None:
    assert Settings(host=host, accounts="off")


@pytest.mark.parametrize(
    ("client", "url", "status"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000", 200),
        ("::1", "http://localhost", 200),
        ("10.1.2.3", "http://127.0.0.1:8000", 403),  # bound elsewhere by another server, or behind a proxy
        ("127.0.0.1", "http://rebound.example", 403),  # DNS rebinding
        ("127.0.0.1", "http://127.0.0.1.example", 403),
    ],
)
def test_without_accounts_only_this_machine_is_answered(
    settings: Settings, red: Any, client: str, url: str, status: int
) -> None:
    app = create_app(settings, load=lambda: red)
    with TestClient(app, base_url=url, client=(client, 50000)) as asking:
        assert asking.get(f"{API}/pairs").status_code == status


# --- Who answers for what ---------------------------------------------------------------------------------


def step(client: TestClient, path: str, expected: str, target: str, **more: Any) -> Any:
    body = {"expected": expected, "target": target, "reason": "现场核实"} | more
    return client.post(f"{API}/ledger/{path}/transitions", json=body)


def test_two_accounts_accept_a_site_whatever_names_the_requests_bear(place: House) -> None:
    with writing(place.engine) as session:
        own = site(session, "GATE", state="open")
        look = Observation(
            site_id=own.id, scene="s", observed_at=NIGHT, result="clear", observed_share=1.0, recorded_at=NIGHT
        )
        session.add(look)
    wang, li = place.browser("wang", "inspector"), place.browser("li", "reviewer")
    program = place.program(wang, "decide")
    clear = {"evidence": [{"kind": "observation", "ref": look.id}]}
    by_program = step(program, "sites/GATE", "open", "claimed_clear", actor={"name": "li", "kind": "human"})
    assert (by_program.status_code, by_program.json()["code"]) == (403, "person_required")
    assert step(wang, "sites/GATE", "open", "claimed_clear", actor={"name": "li"}).status_code == 200
    again = step(wang, "sites/GATE", "claimed_clear", "accepted", actor={"name": "li"}, **clear)
    assert (again.status_code, again.json()["code"]) == (403, "second_person_required")
    accepted = step(li, "sites/GATE", "claimed_clear", "accepted", actor={"name": "wang"}, **clear)
    assert accepted.json()["state"] == "accepted"
    history = li.get(f"{API}/ledger/sites/GATE/history").json()["decisions"]
    assert [(each["target"], each["actor"]) for each in history] == [("claimed_clear", "wang"), ("accepted", "li")]


def test_an_import_is_answered_for_by_the_account(place: House) -> None:
    data = json.dumps({"type": "FeatureCollection", "features": fixture.features()[:1]}).encode()
    form = {"crs": "WGS-84", "actor": "somebody else", "dry_run": "false"}
    reviewer, auditor = place.browser("importer", "reviewer"), place.browser("auditor", "auditor")
    program = place.program(reviewer, "import")
    refused = program.post(f"{API}/ledger/import", files={"file": ("l", data)}, data=form)
    assert (refused.status_code, refused.json()["code"]) == (403, "person_required")
    assert reviewer.post(f"{API}/ledger/import", files={"file": ("l", data)}, data=form).json()["written"]
    log = auditor.get(f"{API}/audit", params={"limit": 1}).json()["items"]
    assert (log[0]["actor"], log[0]["human"]) == ("importer", True)
    assert auditor.get(f"{API}/audit/verify").json()["problem"] is None


def test_subscriptions_are_seen_by_their_owner_only(place: House) -> None:
    zhao, qian = place.browser("zhao", "inspector"), place.browser("qian", "administrator")
    body = {"channel": "inbox", "address": "zhao"}
    made = zhao.post(f"{API}/notify/endpoints", json=body).json()
    assert [each["id"] for each in zhao.get(f"{API}/notify/endpoints").json()] == [made["id"]]
    assert qian.get(f"{API}/notify/endpoints").json() == []
    assert qian.delete(f"{API}/notify/endpoints/{made['id']}").status_code == 404
