"""What can go wrong with what is printed."""

from __future__ import annotations

from http import HTTPStatus

from service import errors


class PeriodReversed(errors.ServiceError):
    """A period ends before it begins."""

    code = "period_reversed"


class NoResult(errors.ServiceError):
    """The comparison failed, so that there is nothing to report."""

    code = "no_result"


errors.STATUS[NoResult] = HTTPStatus.NOT_FOUND
errors.STATUS[PeriodReversed] = HTTPStatus.UNPROCESSABLE_ENTITY
