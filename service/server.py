"""Run the service."""

from __future__ import annotations

import socket

import uvicorn

from service.app import create_app
from service.settings import Settings


class _Server(uvicorn.Server):
    """Says where it can be opened, once it can be."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            reachable = "127.0.0.1" if host in ("0.0.0.0", "::") else host
            print(f"净地 Jingdi: http://{reachable}:{port}/", flush=True)


def serve(settings: Settings, *, demo: bool = False) -> None:
    """Run until interrupted. With `demo`, an empty database gets an example pair."""
    app = create_app(settings, demo=demo)
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, log_level="warning", server_header=False, lifespan="on"
    )
    _Server(config).run()
