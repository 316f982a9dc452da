"""Group robots of DingTalk (钉钉), https://open.dingtalk.com/document/orgapp/custom-robot-access."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote_plus

from service.notify.channels.robot import Robot
from service.notify.tables import Endpoint


def sign(secret: str, at: datetime) -> str:
    """Query that signs a request (加签): milliseconds, and their HMAC-SHA256 with the secret."""
    stamp = str(int(at.timestamp() * 1000))
    digest = hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256).digest()
    return f"timestamp={stamp}&sign={quote_plus(base64.b64encode(digest))}"


class DingTalk(Robot):
    """Texts of 4,096 bytes."""

    __slots__ = ()
    limit_bytes: ClassVar[int] = 4096
    throttled: ClassVar[Mapping[int, timedelta]] = {130101: timedelta(minutes=10), 410100: timedelta(minutes=10)}

    def request(self, endpoint: Endpoint, text: str, now: datetime) -> tuple[str, dict[str, Any]]:
        """See `Robot`."""
        url = endpoint.address
        if endpoint.secret:
            url += ("&" if "?" in url else "?") + sign(endpoint.secret, now)
        return url, {"msgtype": "text", "text": {"content": text}}
