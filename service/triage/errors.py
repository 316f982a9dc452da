"""What can go wrong when leads are decided."""

from __future__ import annotations

from http import HTTPStatus

from service import errors


class SecondReviewerRequired(errors.ServiceError):
    """A sure lead, or one on a closed site, is not dismissed from a desk by one person alone."""

    code = "second_reviewer_required"


class ProposalPending(errors.ServiceError):
    """Somebody has proposed to dismiss the alert, and whoever asks is not the one to confirm it."""

    code = "proposal_pending"


class ReasonUnusable(errors.ServiceError):
    """The code of a reason does not go with the verdict, or has to be explained and is not."""

    code = "reason_unusable"


errors.STATUS[SecondReviewerRequired] = HTTPStatus.FORBIDDEN
errors.STATUS[ProposalPending] = HTTPStatus.CONFLICT
errors.STATUS[ReasonUnusable] = HTTPStatus.UNPROCESSABLE_ENTITY
