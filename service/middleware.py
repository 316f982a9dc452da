"""What holds for every request: measured, guarded, and answered with safe headers."""

from __future__ import annotations

import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import errors
from service.metrics import Metrics
from service.people.gate import REPORT
from service.settings import Settings

log = logging.getLogger("jingdi")

# Everything from this host and nothing inline; `blob:` shows a chosen picture before it is sent.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
PERMISSIONS = "camera=(), geolocation=(), microphone=()"
POWERS = {"/shoot/": ("camera",), "/field": ("camera", "geolocation")}
"""Pages, by the beginning of their address, that may ask a person for the camera or for where they are."""
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": PERMISSIONS,
    "Referrer-Policy": "same-origin",  # addresses stay here; with `no-referrer` forms would come with `Origin: null`
    "X-Content-Type-Options": "nosniff",
}


def _permitted(powers: tuple[str, ...]) -> str:
    policy = PERMISSIONS
    for power in powers:
        policy = policy.replace(f"{power}=()", f"{power}=(self)")
    return policy


class SafeHeaders:
    """Adds the security headers to every response, and `no-store` where nothing else was said."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                for page, powers in POWERS.items():
                    if scope["path"].startswith(page):
                        headers["Permissions-Policy"] = _permitted(powers)
                if scope["path"] == REPORT:
                    headers["Permissions-Policy"] = PERMISSIONS.replace("geolocation=()", "geolocation=(self)")
                if host := scope.get("state", {}).get("images_from"):  # said by the one page that needs it
                    policy = CONTENT_SECURITY_POLICY.replace("img-src 'self'", f"img-src 'self' {host}")
                    headers["Content-Security-Policy"] = policy
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, send_safely)


class Measure:
    """Counts and times requests by route, so that ids in addresses do not become labels."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, started = 500, time.perf_counter()

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_counted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if route != "other" else "other"
            self.metrics.requests.labels(method, route, str(status)).inc()
            self.metrics.durations.labels(method, route).observe(time.perf_counter() - started)


class Guard:
    """Refuses what is too large or comes from another site, and turns accidents into a plain 500."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, limit = Headers(scope=scope), self.settings.max_request_bytes
        received, answered = 0, False

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise errors.RequestTooLarge
            return message

        async def send_noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            if scope["method"] not in ("GET", "HEAD") and headers.get("sec-fetch-site") == "cross-site":
                raise errors.CrossSite
            length = headers.get("content-length", "0")
            if length.isdecimal() and int(length) > limit:
                raise errors.RequestTooLarge
            await self.app(scope, receive_limited, send_noted)
        except Exception as error:
            known = isinstance(error, errors.CrossSite | errors.RequestTooLarge)
            if not known:
                log.exception("%s %s failed", scope["method"], scope["path"])
            if answered:
                raise  # too late for another answer; the server closes the connection
            answer = errors.response(error, headers, self.settings.languages, self.settings.max_bytes)
            await answer(scope, receive, send)
