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


errors.STATUS[NotOnTheMap] = HTTPStatus.NOT_FOUND
errors.STATUS[QueryUnusable] = HTTPStatus.BAD_REQUEST
