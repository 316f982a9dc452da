"""Group robots of Feishu (飞书), https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from service.notify.channels.robot import Robot
from service.notify.tables import Endpoint


def sign(secret: str, at: datetime) -> dict[str, str]:
    """Fields that sign a request (签名校验): seconds and secret are the key of an HMAC-SHA256 of nothing."""
    stamp = str(int(at.timestamp()))
    digest = hmac.new(f"{stamp}\n{secret}".encode(), b"", hashlib.sha256).digest()
    return {"timestamp": stamp, "sign": base64.b64encode(digest).decode()}


class Feishu(Robot):
    """Texts of 4,096 bytes (20 KB is what the robot takes; nobody reads that in a chat)."""

    __slots__ = ()
    limit_bytes: ClassVar[int] = 4096
    throttled: ClassVar[Mapping[int, timedelta]] = {11232: timedelta(minutes=1), 9499: timedelta(minutes=1)}

    def request(self, endpoint: Endpoint, text: str, now: datetime) -> tuple[str, dict[str, Any]]:
        """See `Robot`."""
        signed = sign(endpoint.secret, now) if endpoint.secret else {}
        return endpoint.address, signed | {"msg_type": "text", "content": {"text": text}}

    def code(self, body: Mapping[str, Any]) -> object:
        """See `Robot`. Older robots have only `StatusCode`."""
        return body.get("code", body.get("StatusCode"))
