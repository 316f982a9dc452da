"""Signed webhooks after Standard Webhooks 1.0 (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from standardwebhooks import Webhook

from service.notify.channels.base import SENT, Letter, Outcome
from service.notify.channels.http import NoAnswer, Poster, failure, no_answer
from service.notify.tables import Endpoint


def new_secret() -> str:
    """A random signing secret of 32 bytes."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(endpoint: Endpoint, message_id: str, at: datetime, body: str) -> str:
    """The signatures: with the secret and, while it is being replaced, with the previous one too."""
    keys = [endpoint.secret]
    if endpoint.previous_until and endpoint.previous_until > at:
        keys.append(endpoint.previous_secret)
    return " ".join(Webhook(key).sign(message_id, at, body) for key in keys if key)


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """POSTs JSON; any 2xx is success. Receivers deduplicate by `webhook-id`."""

    poster: Poster
    paced: ClassVar[bool] = False

    def check(self, address: str) -> None:
        """See `Channel`."""
        self.poster.check(address)

    def parts(self, letter: Letter) -> list[str]:
        """See `Channel`."""
        return [json.dumps(letter.data, ensure_ascii=False, separators=(",", ":"), sort_keys=True)]

    def send(self, endpoint: Endpoint, letter: Letter, part: str, now: datetime) -> Outcome:
        """See `Channel`."""
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": letter.id,
            "webhook-id": letter.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature(endpoint, letter.id, now, part),
        }
        try:
            answer = self.poster.post(endpoint.address, part.encode(), headers)
        except NoAnswer as error:
            return no_answer(error)
        return SENT if 200 <= answer.status < 300 else failure(answer, now)
