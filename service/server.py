"""Run the service."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.language import say
from service.people.accounts import FIRST, Accounts
from service.people.sessions import LINK_FOR, Sessions
from service.services import Services
from service.settings import Settings, loopback


class _Server(uvicorn.Server):
    """Says where it can be opened and, the first time, how to sign in, once it can be."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, *, demo: bool) -> None:
        super().__init__(config)
        self.app, self.demo = app, demo

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            reachable = "127.0.0.1" if host in ("0.0.0.0", "::") else host
            address = f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}/"
            lines = [f"净地 Jingdi: {address}", *way_in(self.app.state.services, address, link=self.demo)]
            print("\n".join(lines), flush=True)


def way_in(parts: Services, address: str, *, link: bool) -> list[str]:
    """How to sign in the first time: lines for the terminal of whoever starts the service, and for nobody else.

    The one-time password of the first administrator, until one was chosen. With `link`, and only where the service
    listens on this machine alone, a link that signs the first administrator in, once and soon.
    """
    if parts.settings.accounts == "off":
        return []
    accounts, languages = Accounts(parts.pairs.engine), parts.settings.languages
    values: list[tuple[str, dict[str, object]]] = []
    password = accounts.first()
    if link and loopback(parts.settings.host) and any(each.name == FIRST for each in accounts.all()):
        url = f"{address}login/{Sessions(parts.pairs.engine).make_link(FIRST)}"
        values.append(("people.printed_link", {"url": url, "minutes": LINK_FOR.seconds // 60}))
    if password is not None:
        values.append(("people.printed_password", {"name": FIRST, "password": password}))
    return [say(language, key, **each) for key, each in values for language in languages]


def serve(settings: Settings, *, demo: bool = False) -> None:
    """Run until interrupted. With `demo`, an empty database gets an example pair and district."""
    app = create_app(settings, demo=demo)
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, log_level="warning", server_header=False, lifespan="on",
        timeout_graceful_shutdown=5,  # an inbox that somebody follows never ends by itself
    )  # fmt: skip
    _Server(config, app, demo=demo).run()
