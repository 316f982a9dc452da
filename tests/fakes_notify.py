"""Receivers on loopback that fail each in its own way, and a sender that can be killed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.database import connect
from service.notify.channels.email import EmailChannel, Server
from service.notify.channels.http import Poster
from service.notify.channels.webhook import WebhookChannel
from service.notify.guard import Guard
from service.notify.inbox import Inbox
from service.notify.outbox import Event, Outbox, enqueue
from service.notify.sender import Sender, build_channels
from service.notify.subscriptions import Subscriptions
from service.notify.tables import ChannelName, Endpoint, Message, Subscription
from service.settings import Settings
from tests.databases import new_database

Mood = Literal["well", "500", "timeout", "timeout_after", "errcode", "429", "410", "drop"]
REFERENCE = re.compile(r"msg_[0-9a-f]{32}")
LOOPBACK = ip_network("127.0.0.0/8")


class Receiver:
    """What came in and was accepted, and how to behave.

    Args:
        failing: share of requests that fail, drawn from a fixed sequence.
        speed: how much faster time passes than on the clock on the wall (`Clock`).
        hang_s: how long a time-out takes.
    """

    def __init__(self, mood: Mood = "well", failing: float = 1.0, *, speed: float = 1.0, hang_s: float = 0.8) -> None:
        self.mood, self.failing, self.speed, self.hang_s = mood, failing, speed, hang_s
        self.accepted: list[tuple[str, str]] = []  # id, text
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self.lock = threading.Lock()

    def decide(self) -> Mood:
        """How this request fares. Drawn by its number, so that a run can be repeated."""
        with self.lock:
            number = len(self.times)
            self.times.append(time.monotonic() * self.speed)
        drawn = hashlib.sha256(f"{self.mood}{number}".encode()).digest()[0] / 256
        return self.mood if drawn < self.failing else "well"

    def accept(self, message_id: str, text: str) -> None:
        with self.lock:
            self.accepted.append((message_id, text))

    @property
    def ids(self) -> Counter[str]:
        """Messages with how often each was accepted; a part of a split message counts as its own."""
        return Counter(f"{number}{_part(text)}" for number, text in self.accepted)

    @property
    def duplicates(self) -> int:
        """How many were accepted more often than once."""
        return sum(self.ids.values()) - len(self.ids)

    @property
    def busiest_minute(self) -> int:
        """Most requests within any minute of the faster clock."""
        return max((sum(1 for t in self.times if 0 <= t - start < 60) for start in self.times), default=0)


def _part(text: str) -> str:
    found = re.search(r"^\(\d+/\d+\)$", text, re.MULTILINE)
    return found[0] if found else ""


class _Patient:
    """A server that does not complain of senders who were killed."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[misc]


class _HttpServer(_Patient, ThreadingHTTPServer):
    pass


class _SmtpServer(_Patient, socketserver.ThreadingTCPServer):
    pass


class _Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        receiver: Receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
        receiver.paths.append(self.path)
        mood = receiver.decide()
        if mood in ("timeout", "timeout_after"):
            if mood == "timeout_after":
                self._accept(body)
            time.sleep(receiver.hang_s)
            self.close_connection = True
            return
        if mood in ("500", "410", "429"):
            self._reply(int(mood), {}, {"Retry-After": "2"} if mood == "429" else {})
        elif mood == "errcode":
            self._reply(200, self.server.failed)
        else:
            self._accept(body)
            self._reply(200, self.server.succeeded)

    def _accept(self, body: bytes) -> None:
        data = json.loads(body)
        text = data.get("text", data.get("content", {})).get("text" if "content" in data else "content", "")
        found = self.headers["webhook-id"] or (REFERENCE.search(text) or [self.headers["idempotency-key"]])[0]
        self.server.receiver.accept(found, text or body.decode())

    def _reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


_ANSWERS: dict[str, tuple[Any, Any]] = {
    "webhook": ({}, {}),
    "wecom": ({"errcode": 0, "errmsg": "ok"}, {"errcode": 45009, "errmsg": "api freq out of limit"}),
    "dingtalk": ({"errcode": 0, "errmsg": "ok"}, {"errcode": 130101, "errmsg": "send too fast"}),
    "feishu": ({"code": 0, "msg": "success"}, {"code": 11232, "msg": "frequency limited"}),
}


@contextmanager
def http_receiver(kind: str, receiver: Receiver) -> Iterator[str]:
    """A webhook, WeCom, DingTalk or Feishu server; yields its URL."""
    server: Any = _HttpServer(("127.0.0.1", 0), _Http)
    server.receiver, server.daemon_threads = receiver, True
    server.succeeded, server.failed = _ANSWERS[kind]
    with _serving(server):
        yield f"http://127.0.0.1:{server.server_address[1]}/{kind}?key=secret"


class _Smtp(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        receiver: Receiver = self.server.receiver
        self._say("220 fake")
        while line := self.rfile.readline():
            verb = line[:4].upper().strip()
            if verb == b"DATA":
                self._say("354 go on")
                data = b"".join(iter(self.rfile.readline, b".\r\n"))
                mood = receiver.decide()
                if mood == "drop":
                    return
                if mood == "500":
                    self._say("451 try again later")
                elif mood == "410":
                    self._say("550 no such mailbox")
                else:
                    message = message_from_bytes(data, policy=default)
                    receiver.requests.append((dict(message.items()), data))
                    receiver.accept(str(message["Message-ID"])[1:-1].partition("@")[0], str(message.get_content()))
                    self._say("250 taken")
            elif verb == b"QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 fake" if verb in (b"EHLO", b"HELO", b"MAIL", b"RCPT", b"RSET") else "502 what?")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@contextmanager
def smtp_receiver(receiver: Receiver) -> Iterator[int]:
    """An SMTP server; yields its port."""
    server: Any = _SmtpServer(("127.0.0.1", 0), _Smtp)
    server.receiver, server.daemon_threads = receiver, True
    with _serving(server):
        yield server.server_address[1]


@contextmanager
def _serving(server: Any) -> Iterator[None]:
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self, now: datetime = datetime(2017, 7, 3, 2, 0, tzinfo=UTC)) -> None:  # Monday, 10:00 in Beijing
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        self.now += timedelta(**delta)


def fast_clock(speed: float) -> datetime:
    """Wall-clock time, faster; the same in every process of this machine."""
    return datetime(2017, 7, 3, 2, 0, tzinfo=UTC) + timedelta(seconds=(time.monotonic() % 10**6) * speed)


def make_sender(url: str, smtp_port: int, speed: float, lease_s: float) -> Sender:
    """A sender to the receivers above, on a fast clock: retries after 5 s, leases and time-outs in real seconds."""
    engine = connect(url)
    outbox = Outbox(engine, lambda: fast_clock(speed), timedelta(seconds=lease_s * speed))
    channels = build_channels(Settings(receiver_networks=(LOOPBACK,)), Inbox(engine))
    channels["webhook"] = WebhookChannel(Poster(Guard((LOOPBACK,)), timedelta(seconds=0.5)))
    channels["email"] = EmailChannel(Server("127.0.0.1", smtp_port, "none"), "jingdi@example.org", timedelta(seconds=2))
    return Sender(outbox, channels, delays=(timedelta(seconds=5),) * 40)


class World:
    """A fresh database with a sender whose clock stands still, and short ways to do what tests do."""

    def __init__(self, url: str) -> None:
        self.url, self.clock = url, Clock()
        self.engine = connect(url)
        self.outbox = Outbox(self.engine, self.clock)
        self.settings = Settings(receiver_networks=(LOOPBACK,))
        self.box = Inbox(self.engine)
        self.channels = build_channels(self.settings, self.box)
        self.sender = Sender(self.outbox, self.channels, jitter=lambda: 0.0)
        self.subscriptions = Subscriptions(self.engine, self.channels, self.clock)

    def subscribe(self, address: str = "wang", channel: ChannelName = "inbox", **values: Any) -> Subscription:
        """A subscription to a new endpoint; its owner is called "wang"."""
        endpoint = self.subscriptions.register("wang", channel, address, "zh", values.pop("secret", None))
        row = self.subscriptions.subscribe("wang", endpoint.id, **values)
        assert row is not None
        return row

    def enqueue(self, *keys: str, **values: Any) -> int:
        """Events in a transaction of their own."""
        with Session(self.engine) as session, session.begin():
            return sum(enqueue(session, rebound(key, **values), self.clock()) for key in keys)

    def send(self) -> int:
        """Everything that is due now; how many attempts that took."""
        attempts = 0
        while self.sender.step():
            attempts += 1
        return attempts

    def messages(self, *states: str) -> list[Message]:
        """Messages, or those in these states, oldest first."""
        query = select(Message).order_by(Message.created_at, Message.id)
        if states:
            query = query.where(Message.state.in_(states))
        with Session(self.engine) as session:
            return list(session.scalars(query))

    def end_leases(self) -> None:
        """As if the time of all leases had passed."""
        with self.engine.begin() as connection:
            long_ago = Clock().now - timedelta(days=1)
            connection.execute(update(Message).where(Message.state == "sending").values(lease_until=long_ago))

    def endpoint(self) -> Endpoint:
        """The only endpoint."""
        with Session(self.engine) as session:
            return session.scalars(select(Endpoint)).one()


@contextmanager
def new_world(folder: Path) -> Iterator[World]:
    """On a new database (see `tests.databases`)."""
    with new_database(folder) as url:
        world = World(url)
        try:
            yield world
        finally:
            world.engine.dispose()


def rebound(key: str, **values: Any) -> Event:
    """A suspected rebound."""
    params = {"name": "铸造厂", "area_m2": 1234.5, "probability": 0.87, "looks": 2} | values.pop("params", {})
    place = {"site": "SJS-001", "system": "state_assets", "street": "古城街道", "area": "west"}
    return Event("rebound_suspected", key, params, **(place | values))


class Killable:
    """A function in a process of its own that can be killed and started again at once.

    A nursery process has everything imported and forks a child for every line it reads; without it, each start
    would take longer than a child lives.

    Args:
        work: `module:function`.
        arguments: for it, texts and numbers.
    """

    def __init__(self, work: str, *arguments: str | float) -> None:
        self.nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes_notify", work, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self) -> None:
        """Have it run."""
        self._tell("start")

    def kill(self) -> None:
        """kill -9; returns when it is dead."""
        self._tell("kill")

    def _tell(self, what: str) -> None:
        assert self.nursery.stdin is not None
        assert self.nursery.stdout is not None
        self.nursery.stdin.write(f"{what}\n")
        self.nursery.stdin.flush()
        assert self.nursery.stdout.readline() == f"{what}\n"

    def close(self) -> None:
        """End everything."""
        assert self.nursery.stdin is not None
        assert self.nursery.stdout is not None
        self.nursery.stdin.close()
        self.nursery.wait(10)
        self.nursery.stdout.close()


def keep_sending(url: str, smtp_port: int, speed: float, lease_s: float, workers: int) -> None:
    """Run a sender for ever."""
    make_sender(url, smtp_port, speed, lease_s).run(threading.Event(), workers=workers, poll_s=0.02)


def _nurse(work: str, arguments: str) -> None:
    module, _, name = work.partition(":")
    function, child = getattr(import_module(module), name), 0
    for line in sys.stdin:
        if line == "start\n":
            child = os.fork()
            if child == 0:
                function(*json.loads(arguments))
                os._exit(0)
        else:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            child = 0
        print(line, end="", flush=True)
    if child:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    _nurse(sys.argv[1], sys.argv[2])
