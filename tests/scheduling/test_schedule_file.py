"""schedule.toml: what it may say, and what is said of what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.errors import InputError
from workbench.scheduling import read_schedule

WHOLE = """
timezone = "Europe/Berlin"
running = 2

[reports.nightly]
notebook = "ab_comparison"
cron = "0 3 * * *"
parameters = { limit = 40, prompts = ["a@1"] }
checks = ["a@1.exact_match >= 0.8"]
catch_up = "all"
retries = 2
retry_after = 60
keep = 5
timeout = 600
webhook_env = "HOOK"
command = ["notify", "me"]

[reports.weekly]
notebook = "notebooks/x.ipynb"
cron = "@weekly"
timezone = "UTC"
enabled = false
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "schedule.toml"
    path.write_text(text)
    return path


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    schedule = read_schedule(written(tmp_path, WHOLE))
    nightly, weekly = schedule.entries
    assert (schedule.running, nightly.cron.zone, weekly.cron.zone, weekly.enabled) == (2, "Europe/Berlin", "UTC", False)
    assert (nightly.retries, nightly.retry_after, nightly.keep, nightly.timeout, nightly.catch_up) == (
        2,
        60,
        5,
        600,
        "all",
    )
    assert dict(nightly.parameters) == {"limit": 40, "prompts": ["a@1"]}
    assert str(nightly.checks[0]) == "a@1.exact_match >= 0.8"
    alert = nightly.alert({"HOOK": "https://hooks.example/secret"})
    assert alert is not None
    assert alert.webhook == "https://hooks.example/secret"
    assert "secret" not in repr(alert) + repr(schedule)
    assert weekly.alert({}) is None
    with pytest.raises(InputError, match="Did you mean 'nightly'"):
        schedule["nigthly"]


BASE = '[reports.a]\nnotebook = "n"\ncron = "0 3 * * *"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("zone = 'UTC'", "no field 'zone'"),
        ("timezone = 'Mars'", "no such time zone"),
        ("running = 0", "at least 1"),
        ("running = true", "must be a number"),
        (BASE + "retrys = 1", "Did you mean 'retries'"),
        (BASE + "retries = -1", "at least 0"),
        (BASE + "catch_up = 'twice'", "must be one of once, all, none"),
        (BASE + "checks = ['cost less 20']", "NAME, one of"),
        (BASE + "checks = [1]", "list of texts"),
        (BASE + "parameters = 3", "must be a table"),
        ("[reports.a]\nnotebook = 'n'", "cron is missing"),
        ("[reports.a]\nnotebook = 'n'\ncron = '0 25 * * *'", "25"),
        ("[reports.'../a']\nnotebook = 'n'\ncron = '@daily'", "a report's name"),
        ("[reports", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        read_schedule(written(tmp_path, text))
    assert "schedule.toml" in str(caught.value)


def test_a_missing_file_shows_one_to_begin_with(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"reports\.nightly"):
        read_schedule(tmp_path / "schedule.toml")
