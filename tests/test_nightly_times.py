"""Due times: as the clock on the wall of the time zone says, once each, summer time or not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from service.nightly.errors import ScheduleUnusable
from service.nightly.times import check, due, local, upcoming

NIGHTLY = "30 2 * * *"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_every_night_at_half_past_two_in_beijing() -> None:
    found = due(NIGHTLY, "Asia/Shanghai", at("2026-03-01T00:00"), at("2026-03-04T00:00"))
    assert found == [at("2026-03-01T18:30"), at("2026-03-02T18:30"), at("2026-03-03T18:30")]
    assert {local(moment, "Asia/Shanghai").strftime("%H:%M") for moment in found} == {"02:30"}


def test_the_end_is_included_and_the_beginning_is_not() -> None:
    moment = at("2026-03-01T18:30")
    assert due(NIGHTLY, "Asia/Shanghai", moment - timedelta(seconds=1), moment) == [moment]
    assert due(NIGHTLY, "Asia/Shanghai", moment, moment + timedelta(hours=1)) == []


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2026-03-28T12:00", ["2026-03-29T01:00"]),  # 02:30 is left out: at the end of the hour, 03:00 CEST
        ("2026-10-24T12:00", ["2026-10-25T00:30"]),  # 02:30 comes twice: the first one alone
    ],
)
def test_the_hour_that_is_left_out_or_comes_twice_is_one_night(start: str, expected: list[str]) -> None:
    found = due(NIGHTLY, "Europe/Berlin", at(start), at(start) + timedelta(hours=23))
    assert found == [at(text) for text in expected]


def test_no_day_of_a_year_is_left_out_or_comes_twice() -> None:
    for zone in ("Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"):
        for cron in (NIGHTLY, "0 3 * * *", "15 1 * * *"):
            found = due(cron, zone, at("2025-12-31T12:00"), at("2026-12-31T12:00"))
            assert len({local(moment, zone).date() for moment in found}) == len(found) == 365


def test_what_is_upcoming_is_later_than_now() -> None:
    moment = at("2026-03-01T18:30")
    assert upcoming(NIGHTLY, "Asia/Shanghai", moment) == moment + timedelta(days=1)


@pytest.mark.parametrize("cron", [NIGHTLY, "0 */6 * * *", "0 2 * * 1-5", "0 2 1 * *", "0 0 29 2 *", "0 * * * *"])
def test_what_is_due_once_an_hour_or_less_is_taken(cron: str) -> None:
    check(cron, "Asia/Shanghai")


@pytest.mark.parametrize(
    ("cron", "zone", "code"),
    [
        ("", "UTC", "bad_cron"),
        ("every night", "UTC", "bad_cron"),
        ("0 2 * *", "UTC", "bad_cron"),
        ("0 0 2 * * *", "UTC", "bad_cron"),  # seconds
        ("0 25 * * *", "UTC", "bad_cron"),
        ("0 0 30 2 *", "UTC", "bad_cron"),  # never
        ("* 2 * * *", "UTC", "too_often"),
        ("0,30 2 * * *", "UTC", "too_often"),
        (NIGHTLY, "Mars/Olympus", "bad_time_zone"),
        (NIGHTLY, "../../etc/passwd", "bad_time_zone"),
        (NIGHTLY, "", "bad_time_zone"),
    ],
)
def test_what_is_never_due_or_too_often_is_refused(cron: str, zone: str, code: str) -> None:
    with pytest.raises(ScheduleUnusable) as refused:
        check(cron, zone)
    assert refused.value.code == code
