"""What can go wrong with what the public may read and say."""

from __future__ import annotations

import math
from http import HTTPStatus

from service import errors


class PublicClosed(errors.ServiceError):
    """This service shows the public nothing."""

    code = "public_closed"


class ReportUnusable(errors.ServiceError):
    """A field of a report cannot be used; `code` says which and why."""


class ReportNotFound(errors.ServiceError):
    """No report has this id or token, or it has no photograph."""

    code = "report_not_found"


class ReportsBusy(errors.ServiceError):
    """Too many reports at this moment. Nothing is kept of who sent them."""

    code = "reports_busy"

    def __init__(self, wait_s: float) -> None:
        super().__init__()
        self.headers = {"Retry-After": str(max(1, math.ceil(wait_s)))}


errors.STATUS[PublicClosed] = HTTPStatus.NOT_FOUND
errors.STATUS[ReportUnusable] = HTTPStatus.UNPROCESSABLE_ENTITY
errors.STATUS[ReportNotFound] = HTTPStatus.NOT_FOUND
errors.STATUS[ReportsBusy] = HTTPStatus.TOO_MANY_REQUESTS
