"""What the interface of delivery takes and says, as types."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from service.notify.schedule import clock_time
from service.notify.tables import ChannelName, Digest, Endpoint
from service.notify.texts import KINDS


def _hhmm(text: str) -> str:
    clock_time(text)
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError) as error:  # ValueError for impossible names is one already
        raise ValueError("no such time zone") from error
    return name


def _kind(name: str) -> str:
    if name not in KINDS:
        raise ValueError("no such kind")
    return name


Name = Annotated[str, Field(min_length=1, max_length=64)]
Kind = Annotated[str, AfterValidator(_kind), Field(json_schema_extra={"enum": list(KINDS)})]
TimeOfDay = Annotated[str, Field(pattern=r"^\d\d:\d\d$"), AfterValidator(_hhmm)]
Zone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]
Language = Literal["zh", "en"]


def _aware(moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise ValueError("a moment needs its offset from UTC")
    return moment


class EndpointIn(BaseModel):
    """A new endpoint."""

    model_config = ConfigDict(extra="forbid")

    channel: ChannelName
    address: str = Field(min_length=1, max_length=500, description="Mailbox, URL, or your own name for the inbox.")
    language: Language = "zh"
    secret: str | None = Field(default=None, max_length=200, description="Signing secret of DingTalk and Feishu.")


class EndpointOut(BaseModel):
    """An endpoint. Of addresses that are secret themselves only the beginning is shown."""

    id: str
    channel: ChannelName
    address: str
    language: str
    disabled_at: datetime | None
    disabled_reason: str | None

    @classmethod
    def of(cls, row: Endpoint) -> EndpointOut:
        """From a row of the database."""
        shown = row.address if row.channel in ("email", "inbox") else f"{row.address[:24]}…"
        values = {name: getattr(row, name) for name in cls.model_fields if name != "address"}
        return cls(address=shown, **values)


class NewEndpointOut(EndpointOut):
    """An endpoint and, once, the secret its webhooks are signed with."""

    secret: str | None


class SecretOut(BaseModel):
    """A new signing secret. The old one signs as well for a day."""

    secret: str


class SubscriptionChange(BaseModel):
    """What can be changed. An empty list means all."""

    model_config = ConfigDict(extra="forbid")

    kinds: list[Kind] = Field(default=[], max_length=50)
    areas: list[Name] = Field(default=[], max_length=50)
    systems: list[Name] = Field(default=[], max_length=50)
    streets: list[Name] = Field(default=[], max_length=50)
    quiet_from: TimeOfDay | None = None
    quiet_until: TimeOfDay | None = None
    time_zone: Zone = "Asia/Shanghai"
    digest: Digest | None = None
    digest_at: TimeOfDay = "08:00"
    muted_until: Annotated[datetime | None, AfterValidator(_aware)] = None


class SubscriptionIn(SubscriptionChange):
    """A new subscription."""

    endpoint_id: str


class SubscriptionOut(SubscriptionIn):
    """A subscription."""

    model_config = ConfigDict(extra="ignore", from_attributes=True)

    id: str
    created_at: datetime


class InboxItem(BaseModel):
    """A message in the inbox."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    message_id: str
    title: str
    body: str
    url: str | None
    created_at: datetime
    read_at: datetime | None


class InboxPage(BaseModel):
    """Messages, newest first."""

    items: list[InboxItem]
    total: int
    unread: int


class WhyOut(BaseModel):
    """Why a message was sent: in a sentence, and what of which subscription matched."""

    sentence: str
    subscription_id: str
    rules: list[dict[str, str]]
    events: list[str] = Field(description="Keys of the events in it.")
