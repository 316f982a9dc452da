"""What can go wrong with versions of weights."""

from __future__ import annotations

from http import HTTPStatus

from service import errors


class ModelNotFound(errors.ServiceError):
    """No version, or more than one, has an id that begins so; or it has no such replay."""

    code = "model_not_found"


class ModelConflict(errors.ServiceError):
    """The step does not fit the state of the version; `code` says why."""


class ModelRefused(errors.ServiceError):
    """Weights that cannot be used here; `code` says why, with figures that its sentence names."""


errors.STATUS[ModelNotFound] = HTTPStatus.NOT_FOUND
errors.STATUS[ModelConflict] = HTTPStatus.CONFLICT
errors.STATUS[ModelRefused] = HTTPStatus.UNPROCESSABLE_ENTITY
