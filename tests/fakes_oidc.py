"""An OpenID provider on loopback that signs real tokens, and errs as it is told."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

CLIENT, SECRET = "jingdi", "s/ecret+of=sixteen"
Claims = dict[str, Any]


@dataclass
class Provider:
    """One provider and the people it knows.

    Attributes:
        subject, name: who signs in there.
        twist: changes the claims before they are signed.
        key, algorithm: what the token is signed with.
        published: keys that it gives out.
        discovery: changes what it says of itself.
        broken: path -> status that it answers with instead.
    """

    issuer: str = ""
    subject: str = "sub-1"
    name: str = "wang"
    twist: Callable[[Claims], object] = lambda claims: None
    discovery: Callable[[dict[str, Any]], object] = lambda said: None
    key: Any = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    algorithm: str = "RS256"
    published: list[Any] = field(default_factory=list)
    broken: dict[str, int] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def authorize(self, address: str) -> dict[str, str]:
        """What the browser is sent back with once the person has signed in there."""
        parts = urlsplit(address)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.issuer}/authorize"
        asked = dict(parse_qsl(parts.query))
        assert (asked["client_id"], asked["response_type"], asked["code_challenge_method"]) == (CLIENT, "code", "S256")
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return {"code": code, "state": asked["state"], "iss": self.issuer}

    def say(self) -> dict[str, Any]:
        said = {name: f"{self.issuer}/{path}" for name, path in (
            ("authorization_endpoint", "authorize"), ("token_endpoint", "token"), ("jwks_uri", "jwks"),
        )}  # fmt: skip
        said["issuer"] = self.issuer
        self.discovery(said)
        return said

    def jwks(self) -> dict[str, Any]:
        keys = KeySet(self.published or [self.key]).as_dict(private=False)
        return {"keys": [*keys["keys"], {"kty": "future", "kid": "two"}]}

    def redeem(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """The tokens for a code, once, for whoever knows the verifier and the secret."""
        password = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if password != f"{CLIENT}:{quote(SECRET, safe='')}":
            return 401, {"error": "invalid_client"}
        if (
            asked is None
            or asked["code_challenge"] != challenge.decode()
            or asked["redirect_uri"] != form["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims: Claims = {
            "iss": self.issuer, "aud": CLIENT, "sub": self.subject, "iat": now, "exp": now + 300,
            "nonce": asked["nonce"], "preferred_username": self.name, "name": "王经办", "email": "wang@example.org",
        }  # fmt: skip
        self.twist(claims)
        header = {"alg": self.algorithm, "kid": getattr(self.key, "kid", None) or "one"}
        token = jwt.encode(header, claims, self.key, algorithms=[self.algorithm])
        return 200, {"access_token": "a", "token_type": "Bearer", "id_token": token}


def other_key() -> Any:
    """A key that nobody has heard of, under a known name."""
    return RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})


def elliptic_key() -> Any:
    """A key of another kind."""
    return ECKey.generate_key("P-256", {"kid": "three", "use": "sig"})


@contextmanager
def provider() -> Iterator[Provider]:
    """A provider that listens."""
    fake = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = {"/.well-known/openid-configuration": fake.say, "/jwks": fake.jwks}.get(self.path)
            self._answer(200 if found else 404, found() if found else {})

        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
            self._answer(*fake.redeem(form, self.headers.get("authorization", "")))

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            fake.asked.append(self.path)
            self.send_response(fake.broken.get(self.path, status))
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def callback(answer: dict[str, str]) -> str:
    """The address that the browser is sent back to."""
    return f"/login/oidc/callback?{urlencode(answer)}"
