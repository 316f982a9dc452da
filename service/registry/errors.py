"""What can go wrong with versions of weights."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from service import errors


class ModelNotFound(errors.ServiceError):
    """No version, or more than one, has an id that begins so; or it has no such replay."""

    def __init__(self, code: str = "model_not_found") -> None:
        super().__init__(code)
        self.code = code


class ModelConflict(errors.ServiceError):
    """The step does not fit the state of the version; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ModelRefused(errors.ServiceError):
    """Weights that cannot be used here; `code` says why, with figures that its sentence names."""

    def __init__(self, code: str, **values: Any) -> None:
        super().__init__(f"{code}: {values}")
        self.code, self.values = code, values


errors.STATUS[ModelNotFound] = HTTPStatus.NOT_FOUND
errors.STATUS[ModelConflict] = HTTPStatus.CONFLICT
errors.STATUS[ModelRefused] = HTTPStatus.UNPROCESSABLE_ENTITY
