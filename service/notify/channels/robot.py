"""What the group robots of WeCom, DingTalk and Feishu have in common.

They answer 200 whatever happens and say in the body how it went; they take 20 messages a minute and texts of limited
length; they cannot recognise a repeat, so a message that may be one says so and carries its reference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from service.language import say
from service.notify.channels.base import SENT, Letter, Outcome
from service.notify.channels.http import Answer, NoAnswer, Poster, failure, no_answer
from service.notify.tables import Endpoint
from service.notify.texts import split

_REPEAT_BYTES = 160  # room for the line that says it may be a repeat


@dataclass(frozen=True, slots=True)
class Robot:
    """A group robot.

    Attributes:
        limit_bytes: longest text in bytes of UTF-8.
        throttled: codes that mean "too many messages", and how long to leave the robot alone then.
    """

    poster: Poster
    paced: ClassVar[bool] = True
    limit_bytes: ClassVar[int]
    throttled: ClassVar[Mapping[int, timedelta]]

    def request(self, endpoint: Endpoint, text: str, now: datetime) -> tuple[str, dict[str, Any]]:
        """Address and JSON body, signed if the robot has a secret."""
        raise NotImplementedError

    def code(self, body: Mapping[str, Any]) -> object:
        """The robot's own code, 0 for success."""
        return body.get("errcode")

    def check(self, address: str) -> None:
        """See `Channel`."""
        self.poster.check(address)

    def parts(self, letter: Letter) -> list[str]:
        """See `Channel`."""
        return split(letter.plain(), self.limit_bytes - _REPEAT_BYTES)

    def send(self, endpoint: Endpoint, letter: Letter, part: str, now: datetime) -> Outcome:
        """See `Channel`."""
        text = f"{say(letter.language, 'notify.repeat')}\n{part}" if letter.repeat else part
        url, body = self.request(endpoint, text, now)
        headers = {"Content-Type": "application/json; charset=utf-8", "Idempotency-Key": letter.id}
        try:
            answer = self.poster.post(url, json.dumps(body, ensure_ascii=False).encode(), headers)
        except NoAnswer as error:
            return no_answer(error)
        return self._outcome(answer, now) if 200 <= answer.status < 300 else failure(answer, now)

    def _outcome(self, answer: Answer, now: datetime) -> Outcome:
        try:
            body = json.loads(answer.body)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return Outcome("retry", "not the robot's answer")
        code = self.code(body)
        if type(code) is not int:
            return Outcome("retry", "no code in the answer")
        if code == 0:
            return SENT
        reason = f"code {code}: {body.get('errmsg') or body.get('msg') or ''}"[:200]
        return Outcome("retry", reason, self.throttled.get(code))
