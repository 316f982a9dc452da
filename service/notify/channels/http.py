"""One POST: to a checked address, with a deadline for the whole of it, following nothing."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

import httpx2

from service.notify.channels.base import AddressError, Outcome
from service.notify.guard import Forbidden, Guard
from service.notify.schedule import retry_after

logging.getLogger("httpx2").setLevel(logging.WARNING)  # its INFO lines show addresses, and robots' are secret

TIMEOUT = timedelta(seconds=20)
_LARGEST_ANSWER = 64 * 2**10
_OVERLOADED = (429, 502, 503, 504)
_PAUSE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver replied; `body` is cut off after 64 KiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@cache
def _tls() -> ssl.SSLContext:
    """Once: reading the certificates takes a hundred times longer than the rest of a request."""
    return httpx2.create_ssl_context()


class NoAnswer(Exception):
    """Nothing usable came back. `uncertain` if the receiver may have taken the request all the same."""

    def __init__(self, reason: str, *, uncertain: bool) -> None:
        super().__init__(reason)
        self.uncertain = uncertain


@dataclass(frozen=True, slots=True)
class Poster:
    """Sends to addresses that `guard` allows. Proxies and `.netrc` of the environment are not used."""

    guard: Guard
    timeout: timedelta = TIMEOUT

    def check(self, url: str) -> None:
        """Refuse an address before it is stored.

        Raises:
            AddressError: it is not an http(s) address, or not an allowed one.
        """
        try:
            self.guard.check_url(url)
        except Forbidden as error:
            raise AddressError("receiver_forbidden") from error
        except OSError as error:
            raise AddressError("receiver_unknown") from error

    def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Post and read the answer.

        Raises:
            NoAnswer: there was none in time, or the address may not be reached.
        """
        return asyncio.run(self._post(httpx2.URL(url), content, headers))

    async def _post(self, url: httpx2.URL, content: bytes, headers: Mapping[str, str]) -> Answer:
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            async with asyncio.timeout(self.timeout.total_seconds()):  # httpx2's own start anew with every byte
                *others, last = await asyncio.to_thread(self.guard.resolve, url.host, port)
                for address in others:
                    try:
                        return await self._send(url, address, content, headers)
                    except httpx2.ConnectError:
                        continue
                return await self._send(url, last, content, headers)
        except Forbidden as error:
            raise NoAnswer("address not allowed", uncertain=False) from error
        except (httpx2.ConnectError, httpx2.ConnectTimeout, socket.gaierror) as error:
            raise NoAnswer(type(error).__name__, uncertain=False) from error
        except (httpx2.HTTPError, OSError) as error:
            raise NoAnswer(type(error).__name__, uncertain=True) from error

    async def _send(self, url: httpx2.URL, address: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        # Connect to what was checked; certificate and virtual host are still those of the name.
        seconds = self.timeout.total_seconds()
        request = httpx2.Request(
            "POST",
            url.copy_with(host=address),
            content=content,
            headers={"Host": url.netloc.decode(), "User-Agent": "jingdi", **headers},
            extensions={"sni_hostname": url.host, "timeout": httpx2.Timeout(seconds).as_dict()},
        )
        async with httpx2.AsyncClient(verify=_tls(), trust_env=False) as client:
            answer = await client.send(request, stream=True)
            try:
                body = bytearray()
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > _LARGEST_ANSWER:
                        break
            finally:
                await answer.aclose()
        return Answer(answer.status_code, answer.headers, bytes(body[:_LARGEST_ANSWER]))


def no_answer(error: NoAnswer) -> Outcome:
    """The outcome of an attempt without an answer."""
    return Outcome("retry", str(error), uncertain=error.uncertain)


def failure(answer: Answer, now: datetime) -> Outcome:
    """The outcome of a status other than 2xx, as Standard Webhooks has it."""
    reason = f"HTTP {answer.status}"
    if answer.status == 410:
        return Outcome("gone", reason)
    after = retry_after(answer.headers.get("retry-after"), now)
    if after is None and answer.status in _OVERLOADED:
        after = _PAUSE
    return Outcome("retry", reason, after)
