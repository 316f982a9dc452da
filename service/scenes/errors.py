"""What can go wrong with scenes and maps."""

from __future__ import annotations

from http import HTTPStatus

from service import errors


class NotOnTheMap(errors.ServiceError):
    """A scene, a layer of one, a tile or a place that is not there; `code` says which."""

    code = "scene_not_found"


class QueryUnusable(errors.ServiceError):
    """A parameter of a query of OGC API Features is unknown or makes no sense, which the standard answers with 400."""

    code = "query_unusable"


class ImageryNotFound(errors.ServiceError):
    """There is no such imagery, or its files are gone; `code` says which."""

    code = "imagery_not_found"


class PickUnusable(errors.ServiceError):
    """Two dates that cannot be compared at a place; `code` says why."""

    code = "imagery_same"


errors.STATUS[ImageryNotFound] = HTTPStatus.NOT_FOUND
errors.STATUS[PickUnusable] = HTTPStatus.UNPROCESSABLE_ENTITY
errors.STATUS[NotOnTheMap] = HTTPStatus.NOT_FOUND
errors.STATUS[QueryUnusable] = HTTPStatus.BAD_REQUEST
