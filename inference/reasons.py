"""Stable machine codes for why something was refused or needs care, and what they say to a person.

A code never changes its meaning and is never translated. Its sentence and remedy stand in one catalogue per
language (`catalogue/zh.toml`, `catalogue/en.toml`), each with the same codes.
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
        return _entry(self.code, language)["say"].format_map(self.values)

    def remedy(self, language: str) -> str:
        """What a person can do about it."""
        return _entry(self.code, language)["do"].format_map(self.values)


class InputError(ValueError):
    """A file or parameter that cannot be used. Carries its `Reason`; `side` names the picture it is about."""

    def __init__(self, reason: Reason, side: str | None = None) -> None:
        self.reason, self.side = reason, side
        prefix = f"{side}: " if side else ""
        super().__init__(f"{prefix}{reason.say('en')} {reason.remedy('en')}")


@cache
def catalogue(language: str) -> dict[str, dict[str, str]]:
    """Code -> {"say": ..., "do": ...}.

    Raises:
        FileNotFoundError: no catalogue for this language (see `LANGUAGES`).
    """
    return tomllib.loads((files("inference") / "catalogue" / f"{language}.toml").read_text("utf-8"))


def _entry(code: str, language: str) -> dict[str, str]:
    return catalogue(language)[code]
