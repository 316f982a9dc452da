"""What can go wrong with what is printed."""

from __future__ import annotations

from http import HTTPStatus

from service import errors


class PeriodReversed(errors.ServiceError):
    """A period ends before it begins."""

    code = "period_reversed"


errors.STATUS[PeriodReversed] = HTTPStatus.UNPROCESSABLE_ENTITY
