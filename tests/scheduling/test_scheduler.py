"""The loop, on a clock of its own and with reports that only take time: each slot once, whatever happens."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from workbench.errors import StoreError
from workbench.scheduling import Ledger, read_schedule
from workbench.scheduling.ledger import LostLeaseError
from workbench.scheduling.scheduler import Outcome, upcoming

if TYPE_CHECKING:
    from conftest import Home

DAY = 86_400.0
TWICE = 'timezone = "Europe/Berlin"\n[reports.quality]\nnotebook = "n"\ncron = "30 2,14 * * *"\n'
HOURLY = '[reports.cost]\nnotebook = "n"\ncron = "0 * * * *"\n'


def each_once(home: Home) -> None:
    began = Counter((job.entry.name, job.due) for job in home.reports.began)
    assert set(began.values()) == {1}, began.most_common(3)


def test_two_runs_a_day_for_a_month_over_the_end_of_summer_time_run_once_each(home: Home) -> None:
    home.write(TWICE)
    home.run(home.scheduler(), 31 * DAY)
    each_once(home)
    assert home.outcomes() == {"completed": 62}
    local = [job.due.astimezone(job.entry.cron.tz) for job in home.reports.began]
    assert {at.strftime("%H:%M") for at in local} == {"02:30", "14:30"}


def test_a_month_with_a_restart_every_few_hours_is_the_same_month(home: Home) -> None:
    home.write(TWICE)
    for turn in range(31 * 3):
        home.run(home.scheduler(), DAY / 3 + (turn % 7 - 3) * 600)
    began = Counter((job.entry.name, job.due) for job in home.reports.began if job.attempt == 1)
    assert set(began.values()) == {1}
    assert home.outcomes()["completed"] in (61, 62, 63)
    assert set(home.outcomes()) == {"completed"}


def test_of_two_schedulers_one_works_and_the_other_takes_over_when_it_is_gone(home: Home) -> None:
    home.write(HOURLY)
    first, second = home.scheduler(lease=30), home.scheduler(lease=30)
    for turn in range(12 * 60):
        if turn < 6 * 60:
            first.step()  # then it is gone, without a word
        second.step()
        home.clock.sleep(60 - 40 * (turn % 2))  # 20 and 60 s, around the lease's 30
    began = Counter(job.due for job in home.reports.began)
    assert set(began.values()) == {1}
    second.stop()
    assert home.outcomes() == {"completed": len(began)}
    assert any("waiting to take over" in line for line in home.said)


def test_a_scheduler_that_lost_its_lease_stops_what_runs_and_writes_nothing_more(home: Home) -> None:
    home.write(HOURLY)
    home.reports.takes = 7200
    first, ledger = home.scheduler(lease=30), home.ledger()
    first.step()
    home.clock.sleep(3600)
    first.step()
    assert len(home.reports.began) == 1
    home.clock.sleep(60)  # suspended: its lease ran out
    second = home.scheduler(ledger, lease=30)
    second.step()
    assert [job.attempt for job in home.reports.began] == [1, 2]
    first.step()
    assert any("took over" in line for line in home.said)
    home.clock.sleep(7200)
    second.step()
    second.stop()
    slots = [slot for slot in ledger.history() if slot.attempts]
    assert [(slot.outcome, slot.attempts) for slot in slots][-1] == ("completed", 2)


def test_what_a_scheduler_that_was_killed_had_completed_counts_and_is_not_run_again(home: Home) -> None:
    home.write(HOURLY)
    home.scheduler(lease=30).step()
    home.clock.sleep(3600)
    killed = home.scheduler(lease=30)
    killed.step()
    job = home.reports.began[0]
    home.reports.found[(job.entry.name, job.due, 1)] = Outcome("completed", page="kept.html")
    home.clock.sleep(31)
    again = home.scheduler()
    again.step()
    again.stop()
    assert len(home.reports.began) == 1
    assert home.outcomes() == {"completed": 1}


def test_an_attempt_that_was_lost_is_made_again_and_numbered(home: Home) -> None:
    home.write(HOURLY + "retries = 0\n")
    home.scheduler(lease=30).step()
    for _ in range(5):  # each one is killed in the middle
        home.clock.sleep(3600 if not home.reports.began else 40)
        home.scheduler(lease=30).step()
    assert [job.attempt for job in home.reports.began] == [1, 2, 3]
    assert home.outcomes()["lost"] == 1, "it is not made again for ever"


@pytest.mark.parametrize(
    ("policy", "outcomes"),
    [("once", {"completed": 1, "missed": 9}), ("all", {"completed": 10}), ("none", {"missed": 10})],
)
def test_what_was_missed_is_run_as_the_schedule_says(home: Home, policy: str, outcomes: dict[str, int]) -> None:
    home.write(HOURLY + f'catch_up = "{policy}"\n')
    home.run(home.scheduler(), 60)
    home.clock.sleep(10 * 3600)
    home.run(home.scheduler(), 1800)
    assert home.outcomes() == outcomes


def test_long_runs_do_not_pile_up(home: Home) -> None:
    home.write(HOURLY.replace("0 * * * *", "* * * * *"))
    home.reports.takes = 2.5 * 60
    home.run(home.scheduler(), 6.6 * 60)
    assert home.reports.most["all"] == 1
    found = home.outcomes()
    assert (found["completed"], found["skipped"], found["missed"]) == (2, 3, 0)
    assert any("was still going" in line for line in home.said)


def test_reports_of_one_time_run_one_after_the_other_or_as_many_as_may(home: Home) -> None:
    three = "".join(f'[reports.r{n}]\nnotebook = "n"\ncron = "0 * * * *"\n' for n in range(3))
    for running in (1, 2):
        home.write(f"running = {running}\n{three}")
        home.run(home.scheduler(), 2 * 3600)
        assert home.reports.most["all"] == running
        home.reports.most.clear()
    each_once(home)


def test_a_failure_is_retried_after_a_while_and_then_is_the_outcome(home: Home) -> None:
    home.write(TWICE + "retries = 2\nretry_after = 600\n")
    home.reports.outcome = lambda job: Outcome("failed", "no such prompt") if job.attempt < 3 else Outcome("completed")
    home.run(home.scheduler(), DAY)
    assert home.outcomes() == {"completed": 2}
    assert [job.attempt for job in home.reports.began] == [1, 2, 3, 1, 2, 3]
    home.reports.outcome = lambda job: Outcome("failed", "no such prompt")
    home.run(home.scheduler(), DAY)
    assert home.outcomes() == {"completed": 2, "failed": 2}


def test_a_breach_is_an_outcome_and_no_failure(home: Home) -> None:
    home.write(TWICE)
    home.reports.outcome = lambda job: Outcome("breached", "cost.daily_usd < 20 does not hold")
    home.run(home.scheduler(), DAY)
    assert home.outcomes() == {"breached": 2}
    assert len(home.reports.began) == 2


def test_a_scheduler_tells_how_the_slots_ended_that_it_ended(home: Home) -> None:
    home.write(TWICE + "retries = 1\nretry_after = 600\n")
    home.reports.outcome = lambda job: Outcome("failed" if job.attempt == 1 else "breached")
    scheduler = home.scheduler()
    home.run(scheduler, DAY)
    assert scheduler.outcomes == ["breached", "breached"], "an attempt that is made again is no outcome"


def test_a_stopped_scheduler_s_run_is_made_again_at_the_next_start(home: Home) -> None:
    home.write(HOURLY + "retries = 0\n")
    home.reports.takes = 1800
    home.run(home.scheduler(), 3600 + 60)
    assert home.outcomes() == {None: 1}
    home.run(home.scheduler(), 1900)
    assert home.outcomes()["completed"] == 1
    assert [job.attempt for job in home.reports.began] == [1, 2]


def test_a_changed_file_is_read_anew_and_a_broken_one_is_not_taken_over(home: Home) -> None:
    home.write(HOURLY)
    scheduler = home.scheduler()
    home.run(scheduler, 3700)
    home.write("running = 0\n")
    home.run(scheduler, 3600)
    assert any("not taken over" in line for line in home.said)
    assert home.outcomes() == {"completed": 2}
    home.write(HOURLY.replace("cost", "spend"))
    home.run(scheduler, 3600)
    assert {job.entry.name for job in home.reports.began} == {"cost", "spend"}


def test_a_report_that_left_the_schedule_leaves_no_open_slot(home: Home) -> None:
    home.write(HOURLY)
    home.reports.takes = 1800
    home.run(home.scheduler(), 3700)
    home.write(HOURLY.replace("cost", "spend"))
    home.run(home.scheduler(), 60)
    assert home.outcomes()["skipped"] == 1


def test_a_report_that_is_new_begins_now_and_has_missed_nothing(home: Home) -> None:
    home.write(HOURLY)
    home.run(home.scheduler(), 60)
    assert home.outcomes() == {}


def test_run_due_runs_what_is_due_and_returns(home: Home) -> None:
    home.write(HOURLY)
    home.scheduler().run_due()
    home.clock.sleep(3 * 3600)
    home.scheduler().run_due()
    assert home.outcomes() == {"completed": 1, "missed": 2}
    home.scheduler().run_due()
    assert len(home.reports.began) == 1


def test_only_the_holder_of_the_lease_writes(home: Home) -> None:
    mine, other = home.ledger(), home.ledger()
    now = datetime(2026, 10, 1, tzinfo=UTC)
    assert mine.hold(now, now + timedelta(seconds=30))
    assert not other.hold(now, now + timedelta(seconds=30))
    with pytest.raises(LostLeaseError):
        other.admit("r", [now], now)
    assert other.hold(now + timedelta(seconds=31), now + timedelta(seconds=60))
    with pytest.raises(LostLeaseError):
        mine.decide("r", now, "completed", now)
    mine.release()
    assert other.held_by(now + timedelta(seconds=32)) == other.holder


def test_a_ledger_that_cannot_be_opened_says_so(home: Home) -> None:
    (home.folder / "broken.sqlite").write_text("this is no database, and never was one")
    with pytest.raises(StoreError, match="cannot be opened"):
        Ledger(home.folder / "broken.sqlite", "me")


def test_what_comes_next_is_in_order_over_all_reports(home: Home) -> None:
    home.write(TWICE + HOURLY)
    schedule = read_schedule(home.folder / "schedule.toml")
    found = upcoming(schedule, datetime(2026, 10, 1, 11, 30, tzinfo=UTC), 3)
    assert [(f"{at:%H:%M}", entry.name) for at, entry in found] == [
        ("12:00", "cost"),
        ("12:30", "quality"),
        ("13:00", "cost"),
    ]


def test_once_ends_though_a_report_takes_longer_than_its_times_are_apart(home: Home) -> None:
    """What becomes due while it runs is left to the next call, which a timer of the system's makes."""
    home.write('[reports.cost]\nnotebook = "n"\ncron = "* * * * *"\n')
    home.scheduler().run_due()
    home.reports.takes = 150
    for turn in (1, 2):
        home.clock.at += 60
        home.scheduler().run_due()
        assert len(home.reports.began) == turn
    first, second = (job.due for job in home.reports.began)
    assert second - first == timedelta(minutes=3), "the latest that was due when it was called"
