"""A service with accounts, and clients that are signed in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from service import errors
from service.app import create_app
from service.database import connect
from service.ledger.audit import SYSTEM
from service.people import passwords
from service.people.accounts import Accounts
from service.people.rights import Role
from service.people.sessions import Sessions
from service.settings import Settings
from tests.databases import new_database

COOKIE = "jingdi_session"
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
PASSWORD = "correct horse battery"


class Clock:
    """Stands still until it is set forward."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **time: float) -> None:
        self.now += timedelta(**time)


def at_once(work: Callable[[], Any], times: int) -> list[Any]:
    """What `times` threads get that start together."""
    gate, got = threading.Barrier(times), []

    def run() -> None:
        gate.wait()
        try:
            got.append(work())
        except errors.ServiceError as error:
            got.append(type(error))

    threads = [threading.Thread(target=run) for _ in range(times)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return got


@contextmanager
def cheap_passwords() -> Iterator[None]:
    """Argon2 with parameters that take no time."""
    passwords._nobodys.cache_clear()
    with patch.object(passwords, "hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)):
        yield
    passwords._nobodys.cache_clear()


@contextmanager
def database(folder: Path) -> Iterator[Engine]:
    """An engine on a fresh database."""
    with new_database(folder) as url:
        engine = connect(url)
        yield engine
        engine.dispose()


def with_chief(engine: Engine, clock: Clock) -> Accounts:
    """Accounts with one administrator, who has chosen a password."""
    made = Accounts(engine, clock)
    made.add(SYSTEM, "chief", "Chief", ["administrator"])
    made.choose("chief", PASSWORD)
    return made


@dataclass
class House:
    """A running service with accounts."""

    app: FastAPI
    engine: Engine

    @property
    def accounts(self) -> Accounts:
        return Accounts(self.engine)

    def stranger(self, **headers: str) -> TestClient:
        """A browser that is not signed in."""
        return TestClient(
            self.app, base_url="http://127.0.0.1", headers={**OWN_PAGE, **headers}, follow_redirects=False
        )

    def browser(self, name: str, *roles: Role) -> TestClient:
        """A browser of somebody who is signed in; the account is made if it is not there."""
        if name not in [each.name for each in self.accounts.all()]:
            self.accounts.add(SYSTEM, name, name.title(), roles)
            self.accounts.choose(name, PASSWORD)
        client = self.stranger()
        client.cookies.set(COOKIE, Sessions(self.engine).open(name))
        return client

    def program(self, owner: TestClient, *actions: str) -> TestClient:
        """A program with an API key of `owner`."""
        made = owner.post("/api/v1/people/me/keys", json={"label": "t", "actions": list(actions)})
        assert made.status_code == 201, made.text
        return TestClient(
            self.app, base_url="http://127.0.0.1", headers={"Authorization": f"Bearer {made.json()['key']}"}
        )


@contextmanager
def house(folder: Path, load: Any, **options: Any) -> Iterator[House]:
    """A service with accounts, on a database of its own, with the administrator `chief`."""
    with cheap_passwords(), database(folder) as engine:
        url = engine.url.render_as_string(hide_password=False)
        app = create_app(Settings(data_dir=folder, database_url=url, **options), load=load)
        with TestClient(app):
            made = House(app, engine)
            made.browser("chief", "administrator")
            yield made
