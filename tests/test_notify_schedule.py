"""When: the ten attempts, what receivers ask for, quiet hours, digests, mute, and twenty a minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from service.notify.schedule import LONGEST_RETRY_AFTER, pace, release, retry_after, retry_delay
from service.notify.tables import Subscription

BEIJING = ZoneInfo("Asia/Shanghai")
NOON = datetime(2017, 7, 3, 12, 0, tzinfo=BEIJING)


def at(hour: int, minute: int = 0, day: int = 3) -> datetime:
    return datetime(2017, 7, day, hour, minute, tzinfo=BEIJING)


def subscription(**values: Any) -> Subscription:
    return Subscription(**({"time_zone": "Asia/Shanghai", "digest_at": "08:00"} | values))


def test_ten_attempts_are_made_as_standard_webhooks_has_them() -> None:
    delays = [retry_delay(failures, jitter=0.0) for failures in range(1, 11)]
    assert delays.pop() is None
    since_start = [str(each) for each in accumulate(delay for delay in delays if delay)]
    assert since_start == [
        "0:00:05", "0:05:05", "0:35:05", "2:35:05", "7:35:05", "17:35:05", "1 day, 7:35:05",
        "2 days, 3:35:05", "3 days, 3:35:05",
    ]  # fmt: skip


def test_jitter_lengthens_a_delay_and_never_shortens_it() -> None:
    assert retry_delay(2, jitter=0.0) == timedelta(minutes=5)
    assert retry_delay(2, jitter=1.0) == timedelta(minutes=5.5)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Mon, 03 Jul 2017 04:01:00 GMT", 60),
        ("Mon, 03 Jul 2017 03:00:00 GMT", 0),  # past
        ("99999999999999999999", LONGEST_RETRY_AFTER.total_seconds()),
        ("Sat, 03 Jul 2027 04:01:00 GMT", LONGEST_RETRY_AFTER.total_seconds()),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_a_day_at_most(header: str, seconds: float) -> None:
    assert retry_after(header, NOON.astimezone(UTC)) == timedelta(seconds=seconds)


@pytest.mark.parametrize("header", [None, "", "soon", "-5", "1.5", "٣"])
def test_a_retry_after_that_cannot_be_read_asks_for_nothing(header: str | None) -> None:
    assert retry_after(header, NOON) is None


def test_never_more_than_twenty_in_any_minute_and_all_of_them_in_the_end() -> None:
    now, state, sent = NOON, None, []
    while len(sent) < 100:
        allowed, moment = pace(state, now)
        if allowed:
            state = moment
            sent.append(now)
        else:
            assert moment > now
            now = moment
    assert sent[4] == NOON  # five at once
    for start in sent:
        assert sum(start <= moment < start + timedelta(minutes=1) for moment in sent) <= 20
    assert sent[-1] - NOON < timedelta(minutes=7)


def test_without_wishes_everything_goes_out_at_once() -> None:
    assert release(subscription(), NOON, NOON) == NOON


@pytest.mark.parametrize(
    ("now", "until"),
    [
        (at(21, 59), at(21, 59)),
        (at(22, 0), at(7, 0, day=4)),
        (at(3, 0), at(7, 0)),
        (at(6, 59), at(7, 0)),
        (at(7, 0), at(7, 0)),
    ],
)
def test_quiet_hours_may_run_over_midnight(now: datetime, until: datetime) -> None:
    assert release(subscription(quiet_from="22:00", quiet_until="07:00"), now, now) == until


def test_quiet_hours_are_those_of_the_named_zone() -> None:
    there = subscription(quiet_from="12:00", quiet_until="13:00", time_zone="Europe/Berlin")
    assert release(there, NOON, NOON) == NOON  # 06:00 in Berlin
    noon_there = datetime(2017, 7, 3, 12, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert release(there, noon_there, noon_there) == noon_there + timedelta(minutes=30)


def test_quiet_hours_end_by_the_clock_on_the_wall_when_summer_time_begins() -> None:
    there = subscription(quiet_from="22:00", quiet_until="07:00", time_zone="Europe/Berlin")
    evening = datetime(2017, 3, 25, 23, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    assert release(there, evening, evening).isoformat() == "2017-03-26T05:00:00+00:00"


def test_the_same_time_twice_means_no_quiet_hours() -> None:
    assert release(subscription(quiet_from="12:00", quiet_until="12:00"), NOON, NOON) == NOON


def test_an_hourly_digest_ends_with_the_hour_and_a_daily_one_at_its_time() -> None:
    assert release(subscription(digest="hourly"), at(12, 20), at(12, 20)) == at(13)
    assert release(subscription(digest="daily", digest_at="08:00"), at(12), at(12)) == at(8, day=4)
    assert release(subscription(digest="daily", digest_at="18:00"), at(12), at(12)) == at(18)


def test_a_digest_that_is_overdue_goes_out_now() -> None:
    assert release(subscription(digest="hourly"), at(9), at(12)) == at(12)


def test_what_is_muted_waits_and_then_keeps_the_quiet_hours() -> None:
    muted = subscription(muted_until=at(23), quiet_from="22:00", quiet_until="07:00")
    assert release(muted, NOON, NOON) == at(7, day=4)
