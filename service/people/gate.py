"""The gate: who asks is known before anything of a request is read.

A request that changes something and comes with a session's cookie must come from a page of this service. Of the two
ways to tell, the browser's own word is taken (`Sec-Fetch-Site`, else `Origin`), not a token in every form: no page can
forget it, and another site cannot write it. `SameSite=Lax` stands behind it. What names neither is refused; programs
use API keys, which no browser sends by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import quote, urlsplit

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import errors
from service.people.keys import Keys
from service.people.rights import OPERATOR, SignedIn
from service.people.sessions import LONGEST, Sessions
from service.public.photographs import MAX_BYTES
from service.settings import Settings, loopback

SAFE = ("GET", "HEAD", "OPTIONS")
LOGIN, PASSWORD, LOGOUT = "/login", "/password", "/logout"
PUBLIC, REPORT = "/public", "/public/report"
_BY_TOKEN = "/api/v1/notify/unsubscribe/"  # a mail program posts there (RFC 8058), the token is what lets it
_OPEN = ("/healthz", "/readyz", LOGIN, PUBLIC)
_OPEN_BELOW = ("/static/", f"{LOGIN}/", f"{PUBLIC}/", _BY_TOKEN)
_PROGRAM = ("/api/", "/static/", "/metrics")
STRANGER_MAX_BYTES = 64 * 2**10
REPORT_MAX_BYTES = MAX_BYTES + STRANGER_MAX_BYTES
"""Of a report with its photograph, where the public may report."""


def secure(request: Request, settings: Settings) -> bool:
    """Whether the browser speaks https, with us or with a proxy in front."""
    return request.url.scheme == "https" or (settings.public_url or "").startswith("https:")


def cookie_name(request: Request, settings: Settings) -> str:
    """With https, a name that browsers take from this very host only."""
    return "__Host-jingdi" if secure(request, settings) else "jingdi_session"


def keep_session(
    response: Response, request: Request, settings: Settings, token: str, kept: timedelta = LONGEST
) -> None:
    """Put the session's token into the browser; no script can read it."""
    response.set_cookie(
        cookie_name(request, settings), token, max_age=int(kept.total_seconds()), path="/", httponly=True,
        samesite="lax", secure=secure(request, settings),
    )  # fmt: skip


def drop_session(response: Response, request: Request, settings: Settings) -> None:
    """Take it out again, and what the browser kept of pages and pictures."""
    keep_session(response, request, settings, "", timedelta(0))
    response.headers["Clear-Site-Data"] = '"cache"'


def from_own_page(headers: Headers, settings: Settings) -> bool:
    """Whether the browser says that the request comes from a page of this service."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    host = urlsplit(headers.get("origin", "")).netloc
    return bool(host) and host in (headers.get("host"), urlsplit(settings.public_url or "").netloc)


class Gate:
    """Leaves on the request who asks (`state.signed_in`, `state.person`), and lets strangers to open doors only."""

    def __init__(
        self, app: ASGIApp, settings: Settings, engine: Engine, answer: Callable[[Request, Exception], Response]
    ) -> None:
        self.app, self.settings, self.answer = app, settings, answer
        self.sessions, self.keys = Sessions(engine), Keys(engine)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        request.state.signed_in = None
        try:
            asking = await run_in_threadpool(self._admit, request)
        except errors.ServiceError as error:
            await self._refuse(request, error)(scope, receive, send)
            return
        request.state.signed_in = asking
        if asking is not None:
            request.state.person = asking.name
        reporting = self.settings.public == "on" and request.url.path == REPORT
        limit = REPORT_MAX_BYTES if reporting else STRANGER_MAX_BYTES
        await self.app(scope, receive if asking else _little(receive, limit), send)

    def _admit(self, request: Request) -> SignedIn | None:
        if self.settings.accounts == "off":
            # The page of another site can be made to bear a name that resolves to this machine; not `localhost`.
            if request.client and loopback(request.client.host) and loopback(request.url.hostname or ""):
                return OPERATOR
            raise errors.LoopbackOnly
        path, asking, by_key = request.url.path, None, False
        kind, _, credentials = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            asking, by_key = self.keys.find(credentials.strip()), True
            if asking is None:
                raise errors.SignInRequired
        elif token := request.cookies.get(cookie_name(request, self.settings)):
            asking = self.sessions.find(token)
        if asking is None and not (path in _OPEN or path.startswith(_OPEN_BELOW)):
            raise errors.SignInRequired
        changes = request.method not in SAFE and not path.startswith(_BY_TOKEN)
        if changes and not by_key and not from_own_page(request.headers, self.settings):
            raise errors.CrossSite
        if asking and asking.restricted and path not in (PASSWORD, LOGOUT) and not path.startswith("/static/"):
            raise errors.NotAllowed("password_change_required")
        return asking

    def _refuse(self, request: Request, error: errors.ServiceError) -> Response:
        person = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        if person and not request.url.path.startswith(_PROGRAM):
            if isinstance(error, errors.SignInRequired):
                query = f"?{request.url.query}" if request.url.query else ""
                return RedirectResponse(f"{LOGIN}?next={quote(request.url.path + query, safe='')}", 303)
            if isinstance(error, errors.NotAllowed):
                return RedirectResponse(PASSWORD, 303)
        return self.answer(request, error)


def _little(receive: Receive, limit: int) -> Receive:
    """Of somebody unknown no more is read than a form takes."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise errors.RequestTooLarge(limit)
        return message

    return limited
