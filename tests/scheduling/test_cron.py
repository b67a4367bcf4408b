"""Cron expressions in time zones: cron's weekdays, either day field, and both changes of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.scheduling import Cron

BERLIN = ZoneInfo("Europe/Berlin")


def local(cron: Cron, first: str, last: str) -> list[str]:
    between = (
        datetime.fromisoformat(first).replace(tzinfo=BERLIN),
        datetime.fromisoformat(last).replace(tzinfo=BERLIN),
    )
    return [f"{at.astimezone(BERLIN):%a %d %H:%M %Z}" for at in cron.between(*between)]


def test_monday_is_1_as_in_cron_and_not_tuesday() -> None:
    assert local(Cron("0 3 * * 1", "Europe/Berlin"), "2026-11-01", "2026-11-15") == [
        "Mon 02 03:00 CET",
        "Mon 09 03:00 CET",
    ]


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("0", "Sun"), ("7", "Sun"), ("mon-fri", "Mon Tue Wed Thu Fri"), ("1-5", "Mon Tue Wed Thu Fri"), ("5-7", "Fri Sat Sun"),
        ("fri-mon", "Fri Sat Sun Mon"), ("*/2", "Sun Tue Thu Sat"), ("MON,wed", "Mon Wed"), ("1-5/2", "Mon Wed Fri"),
        ("*", "all"),
    ],
)  # fmt: skip
def test_the_days_of_the_week_are_cron_s(field: str, days: str) -> None:
    found = local(Cron(f"0 3 * * {field}", "Europe/Berlin"), "2026-11-01", "2026-11-08")
    wanted = "Sun Mon Tue Wed Thu Fri Sat" if days == "all" else days
    assert sorted({text[:3] for text in found}) == sorted(wanted.split())


def test_either_day_field_is_enough_when_both_are_set() -> None:
    found = local(Cron("0 3 13 * 5", "Europe/Berlin"), "2026-10-10", "2026-11-14")
    assert [text[:6] for text in found] == ["Tue 13", "Fri 16", "Fri 23", "Fri 30", "Fri 06", "Fri 13"]


def test_a_time_that_the_end_of_summer_time_repeats_comes_once() -> None:
    found = local(Cron("30 2 * * *", "Europe/Berlin"), "2026-10-24", "2026-10-27")
    assert found == ["Sat 24 02:30 CEST", "Sun 25 02:30 CEST", "Mon 26 02:30 CET"]


def test_a_time_that_summer_time_leaves_out_comes_once_an_hour_later_by_the_clock() -> None:
    found = local(Cron("30 2 * * *", "Europe/Berlin"), "2026-03-28", "2026-03-31")
    assert found == ["Sat 28 02:30 CET", "Sun 29 03:30 CEST", "Mon 30 02:30 CEST"]


def test_every_hour_goes_on_by_elapsed_time_over_both_changes() -> None:
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)):
        start = datetime.fromisoformat(day).replace(tzinfo=BERLIN)
        end = datetime.fromisoformat(day).replace(tzinfo=BERLIN) + timedelta(days=1)
        found = list(
            Cron("0 * * * *", "Europe/Berlin").between(start - timedelta(seconds=1), end - timedelta(seconds=1))
        )
        assert len(found) == hours
        assert {later - sooner for sooner, later in pairwise(found)} == {timedelta(hours=1)}


@given(
    minute=st.integers(0, 59), hour=st.integers(0, 23), zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Tokyo"]),
    year=st.integers(2024, 2032),
)  # fmt: skip
@settings(max_examples=12, deadline=None)
def test_a_daily_time_comes_once_on_each_day_of_a_year(minute: int, hour: int, zone: str, year: int) -> None:
    tz = ZoneInfo(zone)
    start = datetime(year, 1, 1, tzinfo=tz) - timedelta(seconds=1)
    found = list(
        Cron(f"{minute} {hour} * * *", zone).between(start, datetime(year + 1, 1, 1, tzinfo=tz) - timedelta(seconds=1))
    )
    days = [at.astimezone(tz).date() for at in found]
    assert len(days) == len(set(days)) == (datetime(year + 1, 1, 1, tzinfo=UTC) - datetime(year, 1, 1, tzinfo=UTC)).days


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("0 3 * *", "has 4 fields, but cron has five"), ("61 3 * * *", "61"), ("0 3 * * fun", "no day of the week"),
        ("0 3 30 2 *", "never comes"), ("0 3 * * 1/0", "no day of the week"), ("", "0 fields"),
    ],
)  # fmt: skip
def test_what_is_no_expression_says_so(expression: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Cron(expression)


def test_a_zone_that_is_none_names_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'Europe/Berlin'"):
        Cron("@daily", "Europe/Berln")
