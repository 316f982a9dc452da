"""What messages say, from the catalogues: one event, a digest of several, and why somebody is told."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any
from urllib.parse import urljoin

from service.language import catalogue, say, word
from service.notify.tables import Delivery, EventRow

_KIND = "notify.kind."
KINDS: tuple[str, ...] = tuple(
    key.removeprefix(_KIND).removesuffix(".title")
    for key in catalogue("zh")
    if key.startswith(_KIND) and key.endswith(".title")
)
"""Kinds of events there are words for."""

PLACE = ("site", "area", "system", "street")
RULE = ("kind", "area", "system", "street")
_PREFIX_BYTES = 16  # room for "(12/34)\n"


@dataclass(frozen=True, slots=True)
class Text:
    """A message for people. `url` is where to read more, if there is such a place."""

    title: str
    body: str
    why: str
    url: str | None


def parameters(kind: str) -> set[str]:
    """The parameters an event of this kind has, beside its place."""
    keys = (f"{_KIND}{kind}.title", f"{_KIND}{kind}.body")
    names = {name for key in keys for _, name, _, _ in Formatter().parse(catalogue("zh")[key]) if name}
    return names - set(PLACE)


def compose(deliveries: Sequence[Delivery], language: str, public_url: str | None) -> Text:
    """The text of one message, from its deliveries in the order they came in.

    Args:
        public_url: address of the service, against which addresses of events are resolved.
    """
    why = explain(language, [delivery.rule for delivery in deliveries])
    events = [delivery.event for delivery in deliveries]
    if len(events) == 1:
        title, body = (_say(language, events[0], part) for part in ("title", "body"))
        url = _absolute(events[0].url, public_url)
        return Text(title, body if url is None else f"{body}\n{url}", why, url)
    lines = []
    for number, event in enumerate(events, 1):
        url = _absolute(event.url, public_url)
        lines.append(f"{number}. {_say(language, event, 'title')}" + (f"\n{url}" if url else ""))
    title = say(language, "notify.digest.title", count=len(events))
    return Text(title, "\n".join([say(language, "notify.digest.lead"), *lines]), why, _absolute("/", public_url))


def explain(language: str, rules: Sequence[Mapping[str, str]]) -> str:
    """The sentence that answers "why am I getting this"."""
    parts = []
    for field in RULE:
        values = dict.fromkeys(rule[field] for rule in rules if field in rule)
        if values:
            named = say(language, "notify.why.separator").join(_named(language, field, value) for value in values)
            parts.append(say(language, f"notify.why.{field}", value=named))
    if not parts:
        return say(language, "notify.why.everything")
    return say(language, "notify.why.rule", rule=say(language, "notify.why.and").join(parts))


def split(text: str, limit: int) -> list[str]:
    """Cut a text into parts of at most `limit` bytes of UTF-8, numbered if there are several.

    Cut between lines where that leaves at least half a part, else between characters; never inside a character and
    never before a mark that belongs to the one in front of it.
    """
    if len(text.encode()) <= limit:
        return [text]
    parts, rest = [], text
    while rest:
        part = _head(rest, limit - _PREFIX_BYTES)
        parts.append(part.strip("\n"))
        rest = rest[len(part) :].lstrip("\n")
    return [f"({number}/{len(parts)})\n{part}" for number, part in enumerate(parts, 1)]


def _head(text: str, limit: int) -> str:
    fits = text.encode()[:limit].decode(errors="ignore")
    if len(fits) == len(text):
        return text
    newline = fits.rfind("\n")
    if newline >= len(fits) // 2:
        return fits[:newline]
    end = len(fits)
    while end > 1 and (unicodedata.category(text[end]) in ("Mn", "Me", "Cf") or text[end - 1] == "\u200d"):
        end -= 1
    return text[:end]


def _say(language: str, event: EventRow, part: str) -> str:
    values: dict[str, Any] = {field: getattr(event, field) or say(language, "notify.unknown") for field in PLACE}
    if event.system:
        values["system"] = _named(language, "system", event.system)
    return say(language, f"{_KIND}{event.kind}.{part}", **values | event.params)


def _named(language: str, field: str, value: str) -> str:
    if field == "kind":
        return say(language, f"{_KIND}{value}.name")
    return catalogue(language).get(f"notify.system.{value}", value) if field == "system" else word(language, value)


def _absolute(url: str | None, public_url: str | None) -> str | None:
    if url is None or (public_url is None and url.startswith("/")):
        return None
    return urljoin(public_url or "", url)
