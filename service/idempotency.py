"""`Idempotency-Key`: the same request sent again is answered as the first time, and done once.

After draft-ietf-httpapi-idempotency-key-header-07. The unique row of person and key is the lock: whoever inserts it
does the work, the others wait for its answer. Only what succeeded is kept, for a day; what was refused changed nothing,
so the same key may try again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import anyio
from anyio.to_thread import run_sync
from fastapi import Request, Response
from fastapi.routing import APIRoute
from sqlalchemy import JSON, CursorResult, Engine, String, Text, delete, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column
from starlette.datastructures import UploadFile

from service.database import Base, UtcDateTime
from service.errors import IdempotencyKeyUnusable, IdempotencyPending

HEADER = "Idempotency-Key"
KEPT_FOR = timedelta(hours=24)
LEASE = timedelta(minutes=5)
"""After this, whoever was at it has died, and the next one does it. No request takes that long."""
WAIT_S, LOOK_EVERY_S = 30.0, 0.05
_LENGTH = 200
_HEADERS = ("location", "content-type")
_CHUNK = 2**20

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class IdempotentRequest(Base):
    """A request with a key, and how it was answered; `status` is None until then.

    `job` is the id of what the request makes, the same for whoever has to take the work over.
    """

    __tablename__ = "idempotent_request"

    person: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(_LENGTH), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    job: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    lease_until: Mapped[datetime] = mapped_column(UtcDateTime)
    status: Mapped[int | None]
    headers: Mapped[dict[str, str] | None] = mapped_column(JSON)
    body: Mapped[str | None] = mapped_column(Text)


class IdempotentRoute(APIRoute):
    """A route whose POST does its work once per key."""

    def __init__(self, *args: Any, **options: Any) -> None:
        if "POST" in (options.get("methods") or ()):
            about = "The same request with the same key within 24 hours is done once and answered alike."
            parameter = {"name": HEADER, "in": "header", "required": False, "description": about}
            parameter["schema"] = {"type": "string", "maxLength": _LENGTH}
            options["openapi_extra"] = {"parameters": [parameter]} | (options.get("openapi_extra") or {})
        super().__init__(*args, **options)

    def get_route_handler(self) -> Handler:
        """FastAPI's own, taken once per key."""
        handle = super().get_route_handler()

        async def once(request: Request) -> Response:
            key = request.headers.get(HEADER)
            if key is None or request.method != "POST":
                return await handle(request)
            if not 0 < len(key) <= _LENGTH or not key.isascii() or not key.isprintable():
                raise IdempotencyKeyUnusable("idempotency_key_malformed")
            kept = Kept(request.app.state.services.pairs.engine, str(getattr(request.state, "person", "")), key)
            try:
                return await _once(kept, await _digest(request), request, handle)
            finally:
                await request.close()  # the files of a form that no handler came to see

        return once


def new_id(request: Request) -> str:
    """The id for what this request makes: with a key always the same, so that it is made once even if whoever was at
    it died between making it and answering."""
    return getattr(request.state, "job", None) or uuid4().hex


async def _once(kept: Kept, digest: str, request: Request, handle: Handler) -> Response:
    end = anyio.current_time() + WAIT_S
    while not await run_sync(kept.take, digest, datetime.now(UTC)):
        answer = await run_sync(kept.answer)
        if answer is not None:
            return answer
        if anyio.current_time() >= end:
            raise IdempotencyPending
        await anyio.sleep(LOOK_EVERY_S)
    try:
        request.state.job = await run_sync(kept.job)
        response = await handle(request)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await run_sync(kept.give_up)
        raise
    with anyio.CancelScope(shield=True):
        await run_sync(kept.keep, response)
    return response


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of the requests of one person with one key."""

    engine: Engine
    person: str
    key: str

    def take(self, digest: str, now: datetime) -> bool:
        """True for the one who is to do the work.

        Raises:
            IdempotencyKeyUnusable: the key came with another request.
        """
        with self.engine.begin() as connection:
            connection.execute(delete(IdempotentRequest).where(IdempotentRequest.created_at <= now - KEPT_FOR))
        row = IdempotentRequest(
            person=self.person, key=self.key, digest=digest, job=uuid4().hex, created_at=now, lease_until=now + LEASE
        )
        try:
            with Session(self.engine) as session, session.begin():
                session.add(row)
        except IntegrityError:
            return self._take_over(digest, now)
        return True

    def _take_over(self, digest: str, now: datetime) -> bool:
        with Session(self.engine) as session:
            row = session.get(IdempotentRequest, (self.person, self.key))
        if row is None:  # given up this moment
            return False
        if row.digest != digest:
            raise IdempotencyKeyUnusable
        if row.status is not None or row.lease_until > now:
            return False
        mine = self._where(update(IdempotentRequest)).where(IdempotentRequest.lease_until == row.lease_until)
        with self.engine.begin() as connection:
            result: CursorResult[Any] = connection.execute(mine.values(lease_until=now + LEASE))
        return result.rowcount == 1

    def job(self) -> str:
        """The id of what is made."""
        with Session(self.engine) as session:
            return session.get_one(IdempotentRequest, (self.person, self.key)).job

    def answer(self) -> Response | None:
        """As the first time, once that is over."""
        with Session(self.engine) as session:
            row = session.get(IdempotentRequest, (self.person, self.key))
        if row is None or row.status is None:
            return None
        return Response(row.body, row.status, {**(row.headers or {}), "Idempotency-Replayed": "true"})

    def keep(self, response: Response) -> None:
        """The answer, if the work was done."""
        if not 200 <= response.status_code < 300:
            self.give_up()
            return
        headers = {name: response.headers[name] for name in _HEADERS if name in response.headers}
        body = bytes(response.body).decode()
        kept = self._where(update(IdempotentRequest)).values(status=response.status_code, headers=headers, body=body)
        with self.engine.begin() as connection:
            connection.execute(kept)

    def give_up(self) -> None:
        """Nothing was done; the key is free again."""
        with self.engine.begin() as connection:
            connection.execute(self._where(delete(IdempotentRequest)))

    def _where(self, statement: Any) -> Any:
        return statement.where(
            IdempotentRequest.person == self.person,
            IdempotentRequest.key == self.key,
            IdempotentRequest.status.is_(None),
        )


async def _digest(request: Request) -> str:
    """SHA-256 of what is asked: of a form its fields and files, because the boundary between them is a new one
    each time."""
    total = hashlib.sha256()

    def add(*parts: str | bytes) -> None:
        for part in parts:
            data = part.encode() if isinstance(part, str) else part
            total.update(len(data).to_bytes(8, "big") + data)

    add(request.method, request.url.path, request.url.query)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        add(_canonical(await request.body()))
        return total.hexdigest()
    for name, value in sorted((await request.form()).multi_items(), key=lambda item: item[0]):
        if isinstance(value, UploadFile):
            content = hashlib.sha256()
            while chunk := await value.read(_CHUNK):
                content.update(chunk)
            await value.seek(0)
            add(name, value.filename or "", content.digest())
        else:
            add(name, value)
    return total.hexdigest()


def _canonical(body: bytes) -> bytes:
    try:
        return json.dumps(json.loads(body), sort_keys=True).encode()
    except ValueError:
        return body
