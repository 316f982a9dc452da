"""A fresh database for every test: SQLite, or PostgreSQL on the server named in JINGDI_TEST_DATABASE_URL."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

from sqlalchemy import create_engine, make_url, text

from service.database import connect, upgrade

SERVER = os.environ.get("JINGDI_TEST_DATABASE_URL")
"""URL of a PostgreSQL database whose user may create others, such as `tests/postgres.sh` gives."""


@contextmanager
def new_database(folder: Path) -> Iterator[str]:
    """URL of a database with all tables and no rows, there for nobody else. SQLite puts it into `folder`."""
    if SERVER is None:
        shutil.copy(_template(), folder / "jingdi.db")
        yield f"sqlite:///{folder / 'jingdi.db'}"
        return
    name = f"jingdi_{uuid4().hex}"
    _command(f"CREATE DATABASE {name} TEMPLATE {_template()}")
    try:
        yield _named(name)
    finally:
        _command(f"DROP DATABASE {name} WITH (FORCE)")


@cache
def _template() -> str:
    """A database with all tables, made once: migrating takes longer than most tests."""
    if SERVER is None:
        folder = tempfile.mkdtemp(prefix="jingdi")
        atexit.register(shutil.rmtree, folder)
        name, url = f"{folder}/template.db", f"sqlite:///{folder}/template.db"
    else:
        name = f"jingdi_template_{uuid4().hex}"
        _command(f"CREATE DATABASE {name}")
        atexit.register(_command, f"DROP DATABASE {name} WITH (FORCE)")
        url = _named(name)
    engine = connect(url)
    upgrade(engine)
    engine.dispose()
    return name


def _named(name: str) -> str:
    assert SERVER is not None
    return make_url(SERVER).set(database=name).render_as_string(hide_password=False)


def _command(statement: str) -> None:
    assert SERVER is not None
    engine = create_engine(SERVER, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
