"""What became of a night, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference.reasons import Reason
from inference.reasons import catalogue as reasons_of
from service.language import catalogue, say


def sentence(reason: Mapping[str, Any], language: str) -> str:
    """Why a night, or a part of its area, was not seen."""
    code, values = str(reason["code"]), dict(reason["values"])
    if "share" in values:
        cause = say(language, f"scan.reason.{code}")
        return say(language, "scan.not_observed", reason=cause, share=f"{100 * values['share']:.3g}%")
    if f"nightly.reason.{code}" in catalogue(language):
        return say(language, f"nightly.reason.{code}", **values)
    if code in reasons_of(language):
        known = Reason(code, values)
        return f"{known.say(language)} {known.remedy(language)}"
    return code
