"""Which language a reader gets, and the sentences in it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

COOKIE = "jingdi_language"


def negotiate(accept_language: str | None, languages: tuple[str, ...]) -> str:
    """The first of `languages` that `Accept-Language` (RFC 9110) ranks highest; the first one by default."""
    ranked: list[tuple[float, str]] = []
    for part in (accept_language or "").split(","):
        tag, _, parameters = part.partition(";")
        language = tag.strip().lower().split("-")[0]
        try:
            quality = float(parameters.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if language in languages and quality > 0:
            ranked.append((quality, language))
    return max(ranked, key=lambda item: item[0])[1] if ranked else languages[0]


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Dotted key -> sentence, from all files of the language. A key stands in one of them.

    Raises:
        ValueError: two files have the same key.
    """
    found: dict[str, str] = {}
    for file in (files("service") / "catalogue" / language).iterdir():
        part = dict(_flatten(tomllib.loads(file.read_text("utf-8"))))
        if twice := found.keys() & part.keys():
            raise ValueError(f"{language}: twice in the catalogues: {', '.join(sorted(twice))}")
        found |= part
    return found


def _flatten(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for key, value in table.items():
        flat += _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return flat


def say(language: str, key: str, **values: Any) -> str:
    """The sentence with this key.

    Raises:
        KeyError: there is none.
    """
    return catalogue(language)[key].format_map(values)


def word(language: str, code: str) -> str:
    """What a code (which picture, which transform) is called; the code itself if it has no name here."""
    return catalogue(language).get(f"word.{code}", code)
