"""`workbench schedule` and `workbench report` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench import cli

TEXT = '[reports.nightly]\nnotebook = "ab_comparison"\ncron = "0 3 * * *"\ntimezone = "Europe/Berlin"\n'


def main(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    return int(ended.value.code or 0)


@pytest.fixture
def scheduled(project: Path) -> Path:
    (project / "reports").mkdir()
    (project / "reports" / "schedule.toml").write_text(TEXT)
    return project


def test_next_shows_the_times_in_the_report_s_zone(scheduled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", "next", "--count", "2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 2
    assert all(" 03:00 CE" in row["due"] for row in rows)
    assert main(["schedule", "next"]) == 0
    assert "No scheduler runs" in capsys.readouterr().out


def test_nothing_that_ran_says_what_to_do(scheduled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", "list"]) == 0
    assert "workbench schedule next" in capsys.readouterr().out
    assert main(["schedule", "run", "--once"]) == 0
    assert main(["report", "list"]) == 0
    assert "No report has run yet" in capsys.readouterr().out


def test_export_prints_or_writes(scheduled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", "export", "--to", "cron"]) == 0
    assert "0 3 * * *  cd " in capsys.readouterr().out
    assert main(["schedule", "export", "--to", "systemd", "--out", "units"]) == 0
    assert sorted(path.name for path in Path("units").iterdir()) == [
        "workbench-nightly.service",
        "workbench-nightly.timer",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["schedule", "list", "nihgtly"], "Did you mean 'nightly'"),
        (["schedule", "next", "--file", "none.toml"], "there is no schedule none.toml"),
        (["report", "list", "weekly"], "no report 'weekly' has run"),
        (["report", "run", "ab_comparison", "--check", "cost"], "NAME, one of"),
        (["report", "run", "ab_comparison", "--out", "x.html", "--check", "a < 1"], "--out writes one page"),
    ],
)
def test_what_cannot_be_is_an_error_with_exit_code_2(
    scheduled: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert main(words) == 2
    assert told in capsys.readouterr().err
