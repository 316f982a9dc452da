"""When: retries, what a receiver asks for, quiet hours, digests and pace. Pure functions of moments."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

from service.notify.tables import Subscription

Clock = Callable[[], datetime]

RETRY_AFTER_FAILURE: tuple[timedelta, ...] = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
"""Delays after the first to the ninth failure: with the immediate one, the ten attempts of Standard Webhooks."""

JITTER = 0.1
"""Share by which a delay is lengthened at most, so that receivers that failed together are not hit together."""

LONGEST_RETRY_AFTER = timedelta(days=1)

PACE_INTERVAL = timedelta(seconds=4)
PACE_BURST = 5
"""Five at once and one every four seconds: never more than 20 in any minute, the limit of the chat robots."""


def utc_now() -> datetime:
    """The clock of everything that is not a test."""
    return datetime.now(UTC)


def retry_delay(failures: int, jitter: float, delays: tuple[timedelta, ...] = RETRY_AFTER_FAILURE) -> timedelta | None:
    """How long to wait after that many failures; None if that was the last attempt.

    Args:
        failures: 1 or more.
        jitter: 0..1, drawn anew each time.
    """
    if failures > len(delays):
        return None
    return delays[failures - 1] * (1 + JITTER * jitter)


def retry_after(header: str | None, now: datetime) -> timedelta | None:
    """What `Retry-After` (RFC 9110) asks for, seconds or a date, one day at most; None if it cannot be read."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return min(timedelta(seconds=min(int(text), 10**6)), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(moment - now, timedelta()), LONGEST_RETRY_AFTER)


def pace(paced_at: datetime | None, now: datetime) -> tuple[bool, datetime]:
    """The generic cell rate algorithm (ITU-T I.371): may one more be sent now?

    Args:
        paced_at: when the receiver would be idle again at a steady pace; the only state there is.

    Returns:
        (True, the new state), or (False, the moment from which on it may be sent).
    """
    idle_at = max(paced_at or now, now)
    allowed_at = idle_at - (PACE_BURST - 1) * PACE_INTERVAL
    return (False, allowed_at) if now < allowed_at else (True, idle_at + PACE_INTERVAL)


def open_at(subscription: Subscription, moment: datetime) -> datetime:
    """The first moment from `moment` on that is neither muted nor in the quiet hours."""
    if subscription.muted_until:
        moment = max(moment, subscription.muted_until)
    return max(moment, _quiet_end(subscription, moment.astimezone(ZoneInfo(subscription.time_zone))))


def release(subscription: Subscription, created_at: datetime, now: datetime) -> datetime:
    """The earliest moment, not before `now`, at which an event of `created_at` may go out."""
    if subscription.digest:
        local = created_at.astimezone(ZoneInfo(subscription.time_zone))
        now = max(now, _digest_end(subscription, local))
    return open_at(subscription, now)


def clock_time(text: str) -> time:
    """ "HH:MM" as a time of day.

    Raises:
        ValueError: it is not one.
    """
    return datetime.strptime(text, "%H:%M").time()


def _digest_end(subscription: Subscription, local: datetime) -> datetime:
    if subscription.digest == "hourly":
        return local.replace(minute=0, second=0, microsecond=0).astimezone(UTC) + timedelta(hours=1)
    return _next(local, clock_time(subscription.digest_at))


def _quiet_end(subscription: Subscription, local: datetime) -> datetime:
    """End of the quiet hours that `local` falls into, `local` itself if into none."""
    if not subscription.quiet_from or not subscription.quiet_until:
        return local.astimezone(UTC)
    start, end = clock_time(subscription.quiet_from), clock_time(subscription.quiet_until)
    at = local.time()
    quiet = start <= at < end if start <= end else at >= start or at < end
    return _next(local, end) if quiet else local.astimezone(UTC)


def _next(local: datetime, at: time) -> datetime:
    """The next time the clock on the wall shows `at`."""
    moment = datetime.combine(local.date(), at, local.tzinfo)
    if moment <= local:
        moment = datetime.combine(local.date() + timedelta(days=1), at, local.tzinfo)
    return moment.astimezone(UTC)
