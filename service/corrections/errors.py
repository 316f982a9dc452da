"""What can go wrong when findings are corrected."""

from __future__ import annotations

from http import HTTPStatus

from service import errors


class CorrectionUnusable(errors.ServiceError):
    """A correction fits neither the findings nor the picture; `code` says why."""

    code = "correction_outline"


class ReviewChanged(errors.ServiceError):
    """Somebody else has corrected the pair meanwhile."""

    code = "review_changed"


errors.STATUS[CorrectionUnusable] = HTTPStatus.UNPROCESSABLE_ENTITY
errors.STATUS[ReviewChanged] = HTTPStatus.CONFLICT
