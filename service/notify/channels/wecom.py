"""Group robots of WeCom (企业微信), https://developer.work.weixin.qq.com/document/path/91770."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from service.notify.channels.robot import Robot
from service.notify.tables import Endpoint


class WeCom(Robot):
    """Texts of 2,048 bytes. The key is in the address; there is nothing to sign."""

    __slots__ = ()
    limit_bytes: ClassVar[int] = 2048
    throttled: ClassVar[Mapping[int, timedelta]] = {45009: timedelta(minutes=1), 45033: timedelta(minutes=1)}

    def request(self, endpoint: Endpoint, text: str, now: datetime) -> tuple[str, dict[str, Any]]:
        """See `Robot`."""
        return endpoint.address, {"msgtype": "text", "text": {"content": text}}
