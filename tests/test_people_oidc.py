"""Signing in with an OpenID provider: only its own fresh token for this browser's attempt opens the door, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import OctKey
from pydantic import SecretStr, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.ledger.audit import SYSTEM, AuditEntry
from service.people.oidc import ATTEMPT_FOR
from service.people.tables import Account, OidcAttempt, OidcIdentity
from service.settings import Settings
from tests.fakes_oidc import CLIENT, SECRET, Provider, callback, elliptic_key, other_key, provider
from tests.people import COOKIE, PASSWORD, House, at_once, house

BEGIN, ATTEMPT = "/login/oidc", f"{COOKIE}_oidc"


@pytest.fixture
def fake() -> Iterator[Provider]:
    with provider() as found:
        yield found


@pytest.fixture
def place(tmp_path: Path, red: Any, fake: Provider) -> Iterator[House]:
    with house(tmp_path, lambda: red, **configured(fake)) as made:
        made.accounts.add(SYSTEM, "wang", "Wang", ["analyst"])
        yield made


def configured(fake: Provider, **options: Any) -> dict[str, Any]:
    return {"oidc_issuer": fake.issuer, "oidc_client_id": CLIENT, "oidc_client_secret": SecretStr(SECRET)} | options


def sign_in(client: Any, fake: Provider, next: str = "/") -> Any:
    """The whole way, as a browser goes it."""
    there = client.get(BEGIN, params={"next": next})
    assert there.status_code == 303, there.text
    back = client.get(callback(fake.authorize(there.headers["location"])), headers={"Sec-Fetch-Site": "cross-site"})
    return back


def refused(client: Any, answer: Any, text: str) -> None:
    """Nobody is signed in, and the page says why."""
    assert answer.status_code == 403
    assert text in answer.text
    assert COOKIE not in client.cookies
    assert client.get("/api/v1/people/me").status_code == 401


NOT_VERIFIED, EXPIRED, NO_ACCOUNT = "无法核实", "已过期", "联系管理员"


# --- In ---------------------------------------------------------------------------------------------------


def test_whoever_signs_in_there_is_signed_in_here(place: House, fake: Provider) -> None:
    client = place.stranger()
    back = sign_in(client, fake, "/api/v1/people/me")
    assert (back.status_code, back.headers["location"]) == (303, "/api/v1/people/me")
    me = client.get("/api/v1/people/me").json()
    assert (me["name"], me["roles"]) == ("wang", ["analyst"])


def test_nothing_of_the_person_is_kept_but_the_subject(place: House, fake: Provider) -> None:
    sign_in(place.stranger(), fake)
    with Session(place.engine) as session:
        identity = session.scalars(select(OidcIdentity)).one()
        assert (identity.issuer, identity.subject, identity.account) == (fake.issuer, "sub-1", "wang")
        account = session.get_one(Account, "wang")
        assert (account.display_name, account.email) == ("Wang", None)
        entries = [(each.action, each.detail) for each in session.scalars(select(AuditEntry))]
        assert "account.linked" in [action for action, _ in entries]
        assert not any("example.org" in detail or "sub-1" in detail for _, detail in entries)


def test_the_subject_leads_to_the_account_whatever_name_it_has_by_then(place: House, fake: Provider) -> None:
    sign_in(place.stranger(), fake)
    fake.name = "chief"
    client = place.stranger()
    sign_in(client, fake)
    assert client.get("/api/v1/people/me").json()["name"] == "wang"


def test_a_one_time_password_is_used_up_with_the_link(place: House, fake: Provider) -> None:
    password = place.accounts.reset(SYSTEM, "wang")
    sign_in(place.stranger(), fake)
    assert place.accounts.check("wang", password, "address") is None


def test_keys_of_other_kinds_and_several_are_understood(place: House, fake: Provider) -> None:
    old = fake.key
    fake.key, fake.algorithm = elliptic_key(), "ES256"
    fake.published = [old, fake.key]
    assert sign_in(place.stranger(), fake).status_code == 303


def test_two_tabs_of_one_browser_sign_in_both(place: House, fake: Provider) -> None:
    client = place.stranger()
    places = [client.get(BEGIN).headers["location"] for _ in range(2)]
    assert places[0] != places[1]
    for each in places:
        assert client.get(callback(fake.authorize(each))).status_code == 303


def test_nobody_is_sent_elsewhere_afterwards(place: House, fake: Provider) -> None:
    assert sign_in(place.stranger(), fake, "https://example.org/").headers["location"] == "/"
    assert sign_in(place.stranger(), fake, "//example.org").headers["location"] == "/"


def test_a_browser_gets_a_new_session_whatever_it_had(place: House, fake: Provider) -> None:
    client = place.browser("li", "inspector")
    before = client.cookies[COOKIE]
    back = sign_in(client, fake)
    assert back.headers["set-cookie"].startswith(f"{COOKIE}=")
    assert before not in back.headers["set-cookie"]
    client.cookies.clear()
    client.cookies.set(COOKIE, before)
    assert client.get("/api/v1/people/me").status_code == 401


def test_the_login_page_has_the_link_only_where_there_is_a_provider(place: House, tmp_path: Path, red: Any) -> None:
    page = place.stranger().get("/login", params={"next": "/api/v1/pairs?limit=3"}).text
    assert 'href="/login/oidc?next=%2Fapi%2Fv1%2Fpairs%3Flimit%3D3"' in page
    (tmp_path / "off").mkdir()
    with house(tmp_path / "off", lambda: red) as closed:
        client = closed.stranger()
        assert "/login/oidc" not in client.get("/login").text
        assert client.get(BEGIN).status_code == 404
        assert client.get(f"{BEGIN}/callback").status_code == 404


# --- Not in: the answer -----------------------------------------------------------------------------------


def change(**values: Any) -> Callable[[dict[str, Any]], None]:
    def twist(claims: dict[str, Any]) -> None:
        claims.update(values)
        for name in [name for name, value in claims.items() if value is None]:
            del claims[name]

    return twist


def test_a_token_that_is_not_for_this_is_refused(place: House, fake: Provider) -> None:
    client, now = place.stranger(), int(time.time())
    for values in (
        {"nonce": "another"}, {"nonce": None}, {"aud": "another"}, {"aud": None}, {"iss": "https://example.org"},
        {"aud": [CLIENT, "another"]},  # for several, and does not say who asked
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"iss": None}, {"exp": now - 3600}, {"exp": None}, {"iat": now + 3600}, {"sub": None}, {"sub": ""},
        {"sub": "x" * 256}, {"sub": 7}, {"at_hash": "wrong"},
    ):  # fmt: skip
        fake.twist = change(**values)
        refused(client, sign_in(client, fake), NOT_VERIFIED)
    fake.twist = change(aud=[CLIENT, "another"], azp=CLIENT)
    assert sign_in(client, fake).status_code == 303


def test_a_token_that_somebody_else_signed_is_refused(place: House, fake: Provider) -> None:
    fake.published, fake.key = [fake.key], other_key()
    client = place.stranger()
    refused(client, sign_in(client, fake), NOT_VERIFIED)


def test_a_token_signed_with_what_both_sides_know_is_refused(place: House, fake: Provider) -> None:
    fake.published, fake.key, fake.algorithm = [fake.key], OctKey.import_key(SECRET, {"kid": "one"}), "HS256"
    client = place.stranger()
    refused(client, sign_in(client, fake), NOT_VERIFIED)


def test_a_token_that_nobody_signed_is_refused(place: House, fake: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Provider, "redeem", lambda self, form, password: (200, {"id_token": "eyJhbGciOiJub25lIn0.e30."})
    )
    client = place.stranger()
    refused(client, sign_in(client, fake), NOT_VERIFIED)
    monkeypatch.setattr(Provider, "redeem", lambda self, form, password: (200, {"access_token": "a"}))
    refused(client, sign_in(client, fake), NOT_VERIFIED)


def test_an_answer_is_good_once(place: House, fake: Provider) -> None:
    client = place.stranger()
    answer = fake.authorize(client.get(BEGIN).headers["location"])
    asked = len(fake.asked)
    results = at_once(lambda: client.get(callback(answer)).status_code, 4)
    assert sorted(results) == [303, 403, 403, 403]
    assert fake.asked[asked:].count("/token") == 1
    client.cookies.delete(COOKIE)
    refused(client, client.get(callback(answer)), EXPIRED)


def test_an_answer_is_good_in_the_browser_that_asked_alone(place: House, fake: Provider) -> None:
    victim, attacker = place.stranger(), place.stranger()
    answer = fake.authorize(attacker.get(BEGIN).headers["location"])
    refused(victim, victim.get(callback(answer)), EXPIRED)
    victim.get(BEGIN)
    other = fake.authorize(attacker.get(BEGIN).headers["location"])
    refused(victim, victim.get(callback(other)), EXPIRED)
    assert "/token" not in fake.asked


def test_an_answer_that_comes_late_is_refused(place: House, fake: Provider) -> None:
    client = place.stranger()
    answer = fake.authorize(client.get(BEGIN).headers["location"])
    with Session(place.engine) as session, session.begin():
        attempt = session.scalars(select(OidcAttempt)).one()
        attempt.expires_at -= ATTEMPT_FOR + timedelta(seconds=1)
    refused(client, client.get(callback(answer)), EXPIRED)


def test_an_answer_that_nobody_asked_for_is_refused(place: House, fake: Provider) -> None:
    client = place.stranger()
    for state in ("made up", ""):
        answer = fake.authorize(client.get(BEGIN).headers["location"])
        refused(client, client.get(callback(answer | {"state": state})), EXPIRED)


def test_an_answer_of_somebody_else_or_without_a_good_code_is_refused(place: House, fake: Provider) -> None:
    client = place.stranger()
    for changes in ({"iss": "https://example.org"}, {"error": "access_denied"}, {"code": ""}, {"code": "x"}):
        answer = fake.authorize(client.get(BEGIN).headers["location"])
        refused(client, client.get(callback(answer | changes)), NOT_VERIFIED)


# --- Not in: the provider ---------------------------------------------------------------------------------


def test_a_provider_that_is_another_or_can_be_listened_to_is_not_used(place: House, fake: Provider) -> None:
    client = place.stranger()
    for said in (
        {"issuer": "https://example.org"}, {"token_endpoint": "http://example.org/token"}, {"jwks_uri": None},
    ):  # fmt: skip
        fake.discovery = change(**said)
        refused(client, client.get(BEGIN), NOT_VERIFIED)


def test_a_provider_that_fails_lets_nobody_in(place: House, fake: Provider) -> None:
    client = place.stranger()
    for path, status in (("/token", 503), ("/jwks", 500)):
        fake.broken = {path: status}
        refused(client, sign_in(client, fake), "连接不上")
    fake.broken = {"/.well-known/openid-configuration": 502}
    refused(client, client.get(BEGIN), "连接不上")


# --- Not in: the account ----------------------------------------------------------------------------------


def test_whoever_has_no_account_here_stays_outside(place: House, fake: Provider) -> None:
    client = place.stranger()
    for fake.name in ("nobody", "", "a b", "system", "x" * 80):
        refused(client, sign_in(client, fake), NO_ACCOUNT)
    fake.twist = change(preferred_username=None)
    refused(client, sign_in(client, fake), NO_ACCOUNT)


def test_accounts_are_made_without_roles_where_that_is_wanted(tmp_path: Path, red: Any, fake: Provider) -> None:
    with house(tmp_path, lambda: red, **configured(fake, oidc_create=True)) as place:
        fake.name = "Sun.Li"
        client = place.stranger()
        assert sign_in(client, fake).status_code == 303
        with Session(place.engine) as session:
            made = session.get_one(Account, "sun.li")
            assert (made.roles, made.display_name, made.email, made.password_hash) == ([], "sun.li", None, None)
        assert client.get("/api/v1/pairs").status_code == 403
        place.accounts.change(SYSTEM, "sun.li", roles=["analyst"])
        assert client.get("/api/v1/pairs").status_code == 200


def test_a_name_does_not_take_over_an_account_with_a_password_or_an_administrators(
    place: House, fake: Provider
) -> None:
    place.accounts.choose("wang", PASSWORD)
    place.accounts.add(SYSTEM, "root", "Root", ["administrator"])
    client = place.stranger()
    for fake.name in ("wang", "WANG", "root", "chief"):
        refused(client, sign_in(client, fake), NO_ACCOUNT)
    place.accounts.reset(SYSTEM, "wang")  # an administrator opens it again
    fake.name = "wang"
    assert sign_in(client, fake).status_code == 303


def test_an_account_has_one_subject(place: House, fake: Provider) -> None:
    sign_in(place.stranger(), fake)
    fake.subject = "sub-2"
    client = place.stranger()
    refused(client, sign_in(client, fake), NO_ACCOUNT)


def test_a_disabled_account_stays_outside(place: House, fake: Provider) -> None:
    client = place.stranger()
    place.accounts.change(SYSTEM, "wang", disabled=True)
    refused(client, sign_in(client, fake), NO_ACCOUNT)
    place.accounts.change(SYSTEM, "wang", disabled=False)
    assert sign_in(place.stranger(), fake).status_code == 303
    place.accounts.change(SYSTEM, "wang", disabled=True)
    refused(client, sign_in(client, fake), NO_ACCOUNT)


# --- Set-up -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"oidc_issuer": "https://id.example.org"},
        {"oidc_issuer": "http://id.example.org", "oidc_client_id": "jingdi"},
        {"oidc_issuer": "id.example.org", "oidc_client_id": "jingdi"},
    ],
)
def test_half_a_provider_is_refused_at_the_start(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"JINGDI_OIDC_CLIENT_ID.*jingdi\[oidc\]"):
        Settings(**options)


def test_without_authlib_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.settings.find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=r"pip install 'jingdi\[oidc\]'"):
        Settings(oidc_issuer="https://id.example.org", oidc_client_id="jingdi")


def test_the_address_to_come_back_to_is_the_public_one(tmp_path: Path, red: Any, fake: Provider) -> None:
    with house(tmp_path, lambda: red, **configured(fake, public_url="https://jingdi.example.org/")) as place:
        there = place.stranger().get(BEGIN)
    assert "redirect_uri=https%3A%2F%2Fjingdi.example.org%2Flogin%2Foidc%2Fcallback" in there.headers["location"]
    cookie = there.headers["set-cookie"]
    assert cookie.startswith("__Host-jingdi_oidc=")
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"))
