"""What can go wrong with uploads and photographs of the field."""

from __future__ import annotations

from http import HTTPStatus

from service import errors

TUS = "1.0.0"


class UploadNotFound(errors.ServiceError):
    """Nobody, or somebody else, has begun this upload, or it has expired."""

    code = "upload_not_found"


class UploadOffset(errors.ServiceError):
    """The piece does not begin where the upload ends, or another one is being written this moment."""

    code = "upload_offset"


class UploadRefused(errors.ServiceError):
    """An upload that cannot be begun or gone on with; `code` says why."""

    code = "upload_malformed"


class UploadsTooMany(errors.ServiceError):
    """Whoever asks has too many unfinished uploads."""

    code = "uploads_too_many"


class UploadUnfinished(errors.ServiceError):
    """The upload has not arrived in full."""

    code = "upload_unfinished"


class UploadDamaged(errors.ServiceError):
    """What arrived is not what was sent."""

    code = "upload_damaged"


class PhotographNotFound(errors.ServiceError):
    """No photograph has this id, or there is none of this place."""

    code = "photograph_not_found"


errors.STATUS |= {
    UploadNotFound: HTTPStatus.NOT_FOUND,
    UploadOffset: HTTPStatus.CONFLICT,
    UploadRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    UploadsTooMany: HTTPStatus.TOO_MANY_REQUESTS,
    UploadUnfinished: HTTPStatus.CONFLICT,
    UploadDamaged: HTTPStatus.UNPROCESSABLE_ENTITY,
    PhotographNotFound: HTTPStatus.NOT_FOUND,
}
