"""Stable machine codes for why something was refused or needs care, and what they say to a person.

A code never changes its meaning and is never translated. Its sentence and remedy stand in one catalogue per
language (`catalogue/zh.toml`, `catalogue/en.toml`), each with the same codes. Where a figure of a reason is
itself a code (`{"side": "before"}`), the sentence has what the catalogue calls it under `words`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGES = ("zh", "en")


@dataclass(frozen=True, slots=True)
class Reason:
    """A code with the figures that belong to it, for example `Reason("too_small", {"width": 1})`."""

    code: str
    values: dict[str, Any] = field(default_factory=dict)

    def say(self, language: str) -> str:
        """One plain sentence."""
        return self._text("say", language)

    def remedy(self, language: str) -> str:
        """What a person can do about it."""
        return self._text("do", language)

    def _text(self, part: str, language: str) -> str:
        words = catalogue(language)["words"]
        values = {k: words.get(v, v) if isinstance(v, str) else v for k, v in self.values.items()}
        return catalogue(language)[self.code][part].format_map(values)


class InputError(ValueError):
    """A file or parameter that cannot be used. Carries its `Reason`; `side` names the picture it is about."""

    def __init__(self, reason: Reason, side: str | None = None) -> None:
        self.reason, self.side = reason, side
        prefix = f"{side}: " if side else ""
        super().__init__(f"{prefix}{reason.say('en')} {reason.remedy('en')}")


@cache
def catalogue(language: str) -> dict[str, dict[str, str]]:
    """Code -> {"say": ..., "do": ...}, and "words" -> {code among the figures: word}.

    Raises:
        FileNotFoundError: no catalogue for this language (see `LANGUAGES`).
    """
    return tomllib.loads((files("inference") / "catalogue" / f"{language}.toml").read_text("utf-8"))
