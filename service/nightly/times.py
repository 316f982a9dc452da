"""When a schedule is due: cron expressions in a time zone. Pure functions of moments.

Summer time is as Debian's cron has it: what is due in the hour that is left out is due at its end, what is due in the
hour that comes twice is due once. `cronsim`, which Healthchecks runs on, does just that and depends on nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from service.nightly.errors import ScheduleUnusable

LEAST_APART = timedelta(hours=1)
_FIELDS, _TRIED = 5, 60


def check(cron: str, time_zone: str) -> None:
    """Refuse what is never due, or too often to be scanned.

    Raises:
        ScheduleUnusable: `bad_time_zone`, `bad_cron`, `too_often`.
    """
    start = datetime(2026, 1, 1, tzinfo=_zone(time_zone))
    try:
        if len(cron.split()) != _FIELDS:
            raise CronSimError
        found = [moment.astimezone(UTC) for moment in islice(CronSim(cron, start), _TRIED)]
    except CronSimError:
        found = []
    if not found:
        raise ScheduleUnusable("bad_cron", cron=cron)
    if any(later - earlier < LEAST_APART for earlier, later in pairwise(found)):
        raise ScheduleUnusable("too_often", cron=cron)


def due(cron: str, time_zone: str, after: datetime, until: datetime) -> list[datetime]:
    """All moments at which it is due, later than `after` and up to `until`, in UTC; oldest first."""
    found = []
    for moment in CronSim(cron, after.astimezone(_zone(time_zone))):
        if moment > until:
            break
        found.append(moment.astimezone(UTC))
    return found


def upcoming(cron: str, time_zone: str, after: datetime) -> datetime:
    """The next moment after this one, in UTC."""
    return next(CronSim(cron, after.astimezone(_zone(time_zone)))).astimezone(UTC)


def local(moment: datetime, time_zone: str) -> datetime:
    """A moment on the clock of a time zone."""
    return moment.astimezone(_zone(time_zone))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleUnusable("bad_time_zone", name=name[:64]) from None
