"""Why a lead was accepted or rejected: a stable code, and words where they are needed.

It is kept as the reason of the decision, `code` or `code: words`, so that the audit log seals both and training can
tell a shadow from a structure that may stand there.
"""

from __future__ import annotations

from typing import Literal, get_args

from service.triage.errors import ReasonUnusable

Verdict = Literal["real", "not_real"]
Code = Literal[
    "structure", "shadow", "vehicle", "dust_net", "season", "misregistration", "permitted", "other"
]  # fmt: skip
CODES: tuple[Code, ...] = get_args(Code)
REAL: tuple[Code, ...] = ("structure",)
NOT_REAL: tuple[Code, ...] = tuple(code for code in CODES if code not in REAL)
"""In the order in which they are offered. A `permitted` structure is one, and no rebound."""
EXPLAINED: tuple[Code, ...] = ("permitted", "other")
"""Say nothing without words: which permit, what else."""


def compose(verdict: Verdict, code: Code, words: str = "") -> str:
    """The reason as it is kept.

    Raises:
        ReasonUnusable: the code does not go with the verdict, or needs words.
    """
    words = " ".join(words.split())
    if code not in (REAL if verdict == "real" else NOT_REAL) or (code in EXPLAINED and not words):
        raise ReasonUnusable
    return f"{code}: {words}" if words else code


def parse(reason: str) -> tuple[Code | None, str]:
    """Code and words of a reason; no code where it was given in words alone."""
    head, _, words = reason.partition(": ")
    return next(((code, words) for code in CODES if code == head), (None, reason))
