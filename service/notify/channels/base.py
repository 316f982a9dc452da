"""What all channels share: the letter that is sent, and what can become of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, Protocol

from service.language import say
from service.notify.tables import Endpoint


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt.

    Attributes:
        kind: `sent` on the receiver's own success code only; `retry` later; `refused` for good, this message;
            `gone` for good, the whole endpoint.
        reason: what the receiver said, short and without secrets.
        after: nothing at all should be sent there for so long.
        uncertain: there was no answer; the receiver may have taken it.
    """

    kind: Literal["sent", "retry", "refused", "gone"]
    reason: str = ""
    after: timedelta | None = None
    uncertain: bool = False


SENT = Outcome("sent")


@dataclass(frozen=True, slots=True)
class Letter:
    """A message ready for any channel.

    Attributes:
        id: idempotency key, the same on every attempt.
        at: when the message was formed.
        data: for programs; the payload of a webhook.
        repeat: the receiver may have it already.
        unsubscribe_url: ends the subscription without logging in; None without a public address.
    """

    id: str
    at: datetime
    language: str
    title: str
    body: str
    why: str
    url: str | None
    data: Mapping[str, Any]
    repeat: bool = False
    unsubscribe_url: str | None = None

    def plain(self) -> str:
        """As plain text with everything in it."""
        reference = say(self.language, "notify.reference", id=self.id)
        return f"{say(self.language, 'notify.heading', title=self.title)}\n{self.body}\n\n{self.why}\n{reference}"


class AddressError(ValueError):
    """An address that the channel cannot use. `code` names the sentences in the catalogue."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Channel(Protocol):
    """One way to receivers.

    Attributes:
        paced: the receiver takes at most 20 messages a minute.
    """

    paced: ClassVar[bool]

    def check(self, address: str) -> None:
        """Refuse an address before it is stored.

        Raises:
            AddressError: it cannot be used.
        """

    def parts(self, letter: Letter) -> list[str]:
        """What is sent in one piece each."""

    def send(self, endpoint: Endpoint, letter: Letter, part: str, now: datetime) -> Outcome:
        """Make one attempt. Never raises for what a receiver or the network does."""
