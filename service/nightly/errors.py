"""What can go wrong with schedules and nights."""

from __future__ import annotations

from http import HTTPStatus

from service import errors


class ScheduleNotFound(errors.ServiceError):
    """No schedule has this id or name."""

    code = "schedule_not_found"


class ScheduleExists(errors.ServiceError):
    """There is a schedule of this name."""

    code = "schedule_exists"


class ScheduleUnusable(errors.ServiceError):
    """A schedule that makes no sense; `code` says why."""


class AreaBusy(errors.ServiceError):
    """Another night of the same area is being scanned."""

    code = "area_busy"


errors.STATUS[ScheduleNotFound] = HTTPStatus.NOT_FOUND
errors.STATUS[ScheduleExists] = HTTPStatus.CONFLICT
errors.STATUS[ScheduleUnusable] = HTTPStatus.UNPROCESSABLE_ENTITY
errors.STATUS[AreaBusy] = HTTPStatus.CONFLICT
