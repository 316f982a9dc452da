"""Everything else, through Apprise (https://github.com/caronc/apprise), an optional extra.

Apprise tells only whether it worked, does not deduplicate, and its plugins for WeCom, DingTalk and Feishu neither
read those robots' codes nor keep to their limits as `service.notify.channels.robot` does: they are refused, as is what
acts on this machine instead of sending, and what posts to any address without the signature a webhook has here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from service.language import say
from service.notify.channels.base import SENT, AddressError, Letter, Outcome
from service.notify.guard import Forbidden, Guard
from service.notify.tables import Endpoint

OWN_ADAPTER = ("wecombot", "dingtalk", "feishu", "lark")
LOCAL = ("dbus", "glib", "gnome", "kde", "qt", "macosx", "windows", "syslog")
UNSIGNED = ("json", "jsons", "xml", "xmls", "form", "forms")


@dataclass(frozen=True, slots=True)
class AppriseChannel:
    """Any service that Apprise knows, given as its URL."""

    guard: Guard
    paced: ClassVar[bool] = False

    def check(self, address: str) -> None:
        """See `Channel`."""
        plugin = _plugin(address)
        names = _schemes(plugin)
        if names & set(OWN_ADAPTER):
            raise AddressError("receiver_own_adapter")
        if names & {*LOCAL, *UNSIGNED}:
            raise AddressError("receiver_forbidden")
        try:
            self._guard(plugin)
        except Forbidden as error:
            raise AddressError("receiver_forbidden") from error
        except OSError as error:
            raise AddressError("receiver_unknown") from error

    def parts(self, letter: Letter) -> list[str]:
        """See `Channel`. Apprise itself keeps to the length each service takes."""
        return [letter.plain()]

    def send(self, endpoint: Endpoint, letter: Letter, part: str, now: datetime) -> Outcome:
        """See `Channel`."""
        text = f"{say(letter.language, 'notify.repeat')}\n{part}" if letter.repeat else part
        try:
            plugin = _plugin(endpoint.address)
            self._guard(plugin)
            accepted = bool(plugin.notify(body=text, title=""))
        except AddressError as error:
            return Outcome("retry", error.code)
        except Forbidden:
            return Outcome("retry", "address not allowed")
        except Exception as error:  # plugins of many hands
            return Outcome("retry", type(error).__name__, uncertain=True)
        return SENT if accepted else Outcome("retry", "not accepted", uncertain=True)

    def _guard(self, plugin: Any) -> None:
        if isinstance(plugin.host, str) and "." in plugin.host:  # others use the field for names that are no hosts
            self.guard.resolve(plugin.host, plugin.port or 443)


def _plugin(address: str) -> Any:
    try:
        from apprise import Apprise
    except ImportError as error:
        raise AddressError("channel_unavailable") from error
    plugin = Apprise.instantiate(address, suppress_exceptions=True)
    if plugin is None:
        raise AddressError("receiver_malformed")
    return plugin


def _schemes(plugin: Any) -> set[str]:
    schemes: set[str] = set()
    for value in (plugin.protocol, plugin.secure_protocol):
        schemes |= {value} if isinstance(value, str) else set(value or ())
    return schemes
