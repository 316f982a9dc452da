"""Signing in with an account at an OpenID provider: authorisation code flow with PKCE, `state` and `nonce`.

After OpenID Connect Core 1.0, RFC 7636 (PKCE), RFC 9207 (`iss` of the answer) and RFC 9700. Authlib and joserfc make
the request and check the token; httpx2 carries them, because Authlib's own clients are for httpx and requests.
Provider and keys are asked for at every sign-in, so that a change of keys needs nothing here.

A browser holds a random token in a cookie. `nonce` and PKCE verifier are derived from it and from `state`, so that
neither is stored, and an answer is of use in the one browser that asked, once.

Of what the provider says, the subject is kept and nothing else. The first time, the name it gives leads to an account
here; from then on the subject alone does. An account that already has a password of its own, or is an
administrator's, is never taken over by a name: whoever can choose names at the provider could choose that one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx2
from sqlalchemy import CursorResult, Engine, delete, select
from sqlalchemy.orm import Session

from service import errors
from service.ledger.audit import SYSTEM, append, writing
from service.people.accounts import NAME, account_key, utc_now
from service.people.sessions import digest
from service.people.tables import Account, OidcAttempt, OidcIdentity
from service.settings import Settings, trusted

log = logging.getLogger("jingdi")

SCOPE = "openid profile"
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures that only the provider can make: not those whose key both sides know, and never none."""
KEY_TYPES = ("RSA", "EC", "OKP")
ATTEMPT_FOR = timedelta(minutes=10)
LEEWAY_S = 60
"""So much clocks may differ."""
_TIMEOUT_S = 10.0
_LONGEST = 255
_NEXT_LENGTH = 2000


class OidcRefused(errors.ServiceError):
    """Nobody is signed in; `code` says why: `oidc_unreachable`, `oidc_state`, `oidc_refused` or `oidc_no_account`."""


class OidcOff(errors.ServiceError):
    """No provider is set up."""

    code = "not_found"


errors.STATUS[OidcRefused] = HTTPStatus.FORBIDDEN
errors.STATUS[OidcOff] = HTTPStatus.NOT_FOUND


@dataclass(frozen=True, slots=True)
class Provider:
    """What the provider says of itself."""

    issuer: str
    authorization: str
    token: str
    jwks: str


@dataclass(frozen=True, slots=True)
class Oidc:
    """The way in through one provider. `now` is the clock."""

    engine: Engine
    settings: Settings
    now: Callable[[], datetime] = utc_now

    def begin(self, browser: str, redirect_uri: str, next: str) -> str:
        """The address that the browser is to be sent to.

        Args:
            browser: the token in its cookie.
            next: page of this service to go to after signing in.

        Raises:
            OidcOff, OidcRefused: `oidc_unreachable`.
        """
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        client_id = self._client_id()
        with self._provider() as (provider, _):
            state, now = secrets.token_urlsafe(32), self.now()
        attempt = OidcAttempt(
            state=digest(state), browser=digest(browser), next=next[:_NEXT_LENGTH], expires_at=now + ATTEMPT_FOR
        )
        with Session(self.engine) as session, session.begin():
            session.execute(delete(OidcAttempt).where(OidcAttempt.expires_at <= now))
            session.add(attempt)
        address: str = prepare_grant_uri(
            provider.authorization, client_id, "code", redirect_uri, SCOPE, state,
            nonce=_derived(browser, state, "nonce"), code_challenge_method="S256",
            code_challenge=create_s256_code_challenge(_derived(browser, state, "verifier")),
        )  # fmt: skip
        return address

    def finish(self, browser: str, redirect_uri: str, answer: Mapping[str, str]) -> tuple[str, str]:
        """Who came back, and where he goes from here.

        Args:
            answer: the parameters that the provider sent the browser back with.

        Returns:
            Name of the account, and page of this service.

        Raises:
            OidcOff, OidcRefused: not signed in.
        """
        client_id, state = self._client_id(), answer.get("state", "")
        next = self._take(state, browser)
        with self._provider() as (provider, http):
            if answer.get("iss", provider.issuer) != provider.issuer:
                raise _refused("the answer is of another issuer")
            if "error" in answer or not answer.get("code"):
                raise _refused(f"the provider answered {answer.get('error', 'without a code')!r:.80}")
            tokens = self._redeem(http, provider, answer["code"], redirect_uri, _derived(browser, state, "verifier"))
            keys = _json(http.get(provider.jwks))
        claims = self._verify(provider, client_id, tokens, keys, _derived(browser, state, "nonce"))
        return self._account(provider.issuer, claims), next

    # --- Step by step -------------------------------------------------------------------------------------

    def _client_id(self) -> str:
        if self.settings.oidc_issuer is None or self.settings.oidc_client_id is None:
            raise OidcOff
        return self.settings.oidc_client_id

    @contextmanager
    def _provider(self) -> Iterator[tuple[Provider, httpx2.Client]]:
        """What the provider says of itself, and a way to ask it more."""
        issuer = self.settings.oidc_issuer or ""
        try:
            with httpx2.Client(timeout=_TIMEOUT_S, follow_redirects=False) as http:
                said = _json(http.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration"))
                names = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
                provider = Provider(*(str(said.get(name, "")) for name in names))
                if provider.issuer != issuer:
                    raise _refused(f"the provider calls itself {provider.issuer!r:.120}, not {issuer!r}")
                if not all(trusted(each) for each in (provider.authorization, provider.token, provider.jwks)):
                    raise _refused("an address of the provider is not https")
                yield provider, http
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            log.warning("the OpenID provider cannot be reached: %s", error)
            raise OidcRefused("oidc_unreachable") from error

    def _take(self, state: str, browser: str) -> str:
        """Use the attempt up. Returns the page it was begun on."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            attempt = session.get(OidcAttempt, digest(state))
            gone: CursorResult[Any] = session.execute(  # type: ignore[assignment]
                delete(OidcAttempt).where(OidcAttempt.state == digest(state))
            )
        if attempt is None or gone.rowcount != 1 or attempt.expires_at <= self.now():
            raise OidcRefused("oidc_state")
        if not hmac.compare_digest(attempt.browser, digest(browser)):
            raise OidcRefused("oidc_state")
        return attempt.next

    def _redeem(
        self, http: httpx2.Client, provider: Provider, code: str, redirect_uri: str, verifier: str
    ) -> Mapping[str, Any]:
        """The tokens for a code."""
        client_id, secret = self._client_id(), self.settings.oidc_client_secret
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier,
        }  # fmt: skip
        if secret is None:
            return _json(http.post(provider.token, data={**form, "client_id": client_id}))
        password = secret.get_secret_value()
        return _json(http.post(provider.token, data=form, auth=(quote(client_id, ""), quote(password, ""))))

    def _verify(
        self, provider: Provider, client_id: str, tokens: Mapping[str, Any], keys: Mapping[str, Any], nonce: str
    ) -> Mapping[str, Any]:
        """The claims of the ID token, if the provider signed them for us, for this attempt, and just now."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            signing = [
                key for key in keys["keys"] if key.get("kty") in ("RSA", "EC", "OKP") and key.get("use") != "enc"
            ]
            token = jwt.decode(tokens["id_token"], KeySet.import_key_set({"keys": signing}), algorithms=ALGORITHMS)
            claims = CodeIDToken(
                token.claims, token.header,
                {"iss": {"essential": True, "value": provider.issuer}, "aud": {"essential": True, "value": client_id}},
                {"nonce": nonce, "client_id": client_id, "access_token": tokens.get("access_token")},
            )  # fmt: skip
            claims.validate(now=int(self.now().timestamp()), leeway=LEEWAY_S)
        except (JoseError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise _refused(f"the ID token is not valid: {type(error).__name__}: {error}") from error
        return dict(claims)

    # --- The account --------------------------------------------------------------------------------------

    def _account(self, issuer: str, claims: Mapping[str, Any]) -> str:
        """Name of the account that the subject has here, by now."""
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST:
            raise _refused("the subject is no text of up to 255 characters")
        with writing(self.engine) as session:
            identity = session.get(OidcIdentity, (issuer, subject))
            if identity is not None:
                account = session.get_one(Account, identity.account)
            else:
                account = self._link(session, issuer, subject, claims.get(self.settings.oidc_name_claim))
            if account.disabled_at is not None:
                raise OidcRefused("oidc_no_account")
            return account.name

    def _link(self, session: Session, issuer: str, subject: str, said: object) -> Account:
        key, now = account_key(said) if isinstance(said, str) else "", self.now()
        if not NAME.fullmatch(key):
            raise OidcRefused("oidc_no_account")
        account = session.get(Account, key)
        if account is None and self.settings.oidc_create:
            account = Account(name=key, display_name=key, roles=[], created_at=now)
            session.add(account)
            append(session, SYSTEM, "account.created", f"account:{key}", {"roles": [], "by": "oidc"}, now)
        taken = select(OidcIdentity.subject).where(OidcIdentity.account == key)
        if account is None or _own(account) or session.scalar(taken) is not None:
            raise OidcRefused("oidc_no_account")
        account.password_hash = account.temporary_until = None  # a one-time password that is still about
        session.flush()
        session.add(OidcIdentity(issuer=issuer, subject=subject, account=key))
        append(session, SYSTEM, "account.linked", f"account:{key}", {"issuer": issuer}, now)
        return account


def _own(account: Account) -> bool:
    """Whether a name that somebody else gives must not lead to it."""
    chosen = account.password_hash is not None and account.temporary_until is None
    return chosen or "administrator" in account.roles or account.disabled_at is not None


def _derived(browser: str, state: str, purpose: str) -> str:
    """43 characters that only whoever knows the browser's token can know."""
    code = hmac.digest(browser.encode(), f"{purpose}:{state}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(code).rstrip(b"=").decode()


def _json(response: httpx2.Response) -> Mapping[str, Any]:
    """The object that the provider answered with.

    Raises:
        OidcRefused: it answered with something else.
    """
    try:
        response.raise_for_status()
        found = response.json()
    except httpx2.HTTPStatusError as error:
        if response.status_code >= 500:
            raise
        raise _refused(f"{response.request.url.path} answered {response.status_code}") from error
    except ValueError as error:
        raise _refused(f"{response.request.url.path} did not answer with JSON") from error
    if not isinstance(found, dict):
        raise _refused(f"{response.request.url.path} did not answer with an object")
    return found


def _refused(why: str) -> OidcRefused:
    log.warning("signing in with the OpenID provider was refused: %s", why)
    return OidcRefused("oidc_refused")
