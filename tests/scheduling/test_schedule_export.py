"""Files for cron, systemd and Airflow: what they say is what our schedule says."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from workbench.errors import InputError
from workbench.scheduling import Cron, read_schedule
from workbench.scheduling.export import export
from workbench.settings import load_settings

TEXT = """timezone = "Europe/Berlin"
[reports.nightly-quality]
notebook = "ab_comparison"
cron = "30 3 * * mon-fri"
parameters = { limit = 40, prompts = ["it's 100% @1", "b@2"] }
checks = ["b@2.exact_match >= 0.8"]
webhook_env = "TEAM_HOOK"
[reports.weekly]
notebook = "ab_comparison"
cron = "@weekly"
timezone = "UTC"
catch_up = "none"
[reports.off]
notebook = "ab_comparison"
cron = "@daily"
enabled = false
"""


@pytest.fixture
def exported(project: Path) -> Path:
    (project / "schedule.toml").write_text(TEXT)
    return project


def files(project: Path, to: str) -> dict[str, str]:
    return dict(export(read_schedule(project / "schedule.toml"), load_settings(project), to))  # type: ignore[arg-type]


def test_a_project_s_path_may_hold_a_per_cent_sign(tmp_path: Path) -> None:
    """Which is a new line to cron, and begins a specifier of systemd's."""
    project = tmp_path / "100% done"
    project.mkdir()
    (project / "schedule.toml").write_text(TEXT)
    assert "100\\% done' && " in files(project, "cron")["workbench.crontab"]
    unit = files(project, "systemd")["workbench-weekly.service"]
    assert f"WorkingDirectory={tmp_path}/100%% done\n" in unit


def test_the_crontab_runs_the_same_command_in_the_same_zone(exported: Path) -> None:
    text = files(exported, "cron")["workbench.crontab"]
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines[0] == "CRON_TZ=Europe/Berlin"
    assert lines[2] == "CRON_TZ=UTC"
    assert re.match(r"30 3 \* \* mon-fri  cd ", lines[1])
    assert len(lines) == 4, "what is not enabled is left out"
    command = lines[1].split("&& ", 1)[1].replace("\\%", "%")
    words = shlex.split(command)
    assert words[:6] == [sys.executable, "-m", "workbench", "report", "run", "ab_comparison"]
    assert 'prompts=["it\'s 100% @1", "b@2"]' in words
    assert words[-2:] == ["--webhook", "$TEAM_HOOK"]
    assert "%" not in lines[1].replace("\\%", ""), "a bare % would end the command"


def test_systemd_s_units_name_the_times_and_the_command(exported: Path) -> None:
    made = files(exported, "systemd")
    names = ("nightly-quality", "weekly")
    assert set(made) == {f"workbench-{name}.{kind}" for name in names for kind in ("service", "timer")}
    timer = configparser.ConfigParser()
    timer.read_string(made["workbench-nightly-quality.timer"])
    assert timer["Timer"]["OnCalendar"] == "Mon,Tue,Wed,Thu,Fri *-*-* 3:30:00 Europe/Berlin"
    assert timer["Timer"]["Persistent"] == "true"
    assert "Persistent=false" in made["workbench-weekly.timer"]
    assert '"prompts=[\\"it\'s 100%% @1\\", \\"b@2\\"]"' in made["workbench-nightly-quality.service"]


CRONS = ["30 3 * * mon-fri", "*/20 6-18 * * *", "0 0 1 jan,jul *", "5,35 */4 * * 0", "0 12 1-15/2 * *", "0 3 13 * 5"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
@pytest.mark.parametrize("expression", CRONS)
def test_systemd_itself_reads_the_same_times(project: Path, expression: str) -> None:
    (project / "schedule.toml").write_text(f'[reports.r]\nnotebook = "ab_comparison"\ncron = "{expression}"\n')
    timer = files(project, "systemd")["workbench-r.timer"]
    calendars = re.findall(r"^OnCalendar=(.*)$", timer, re.MULTILINE)
    base = datetime(2026, 10, 20, 1, 2, tzinfo=UTC)
    found: set[datetime] = set()
    for calendar in calendars:
        done = subprocess.run(
            ["systemd-analyze", "calendar", "--iterations=8", f"--base-time={base:%Y-%m-%d %H:%M:%S} UTC", calendar],
            capture_output=True, text=True, env=os.environ | {"TZ": "UTC", "LC_ALL": "C"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        times = re.findall(r"(?:Next elapse|Iter\S* #\d+): \w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", done.stdout)
        found |= {datetime.fromisoformat(text).replace(tzinfo=UTC) for text in times}
    ours, at = [], base
    for _ in range(8):
        following = Cron(expression).after(at)
        assert following is not None
        ours.append(at := following)
    assert sorted(found)[:8] == ours


def test_the_dag_is_python_with_papermill_s_operator_and_the_same_times(exported: Path) -> None:
    text = files(exported, "airflow")["workbench_reports.py"]
    tree = ast.parse(text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [call.func.id for call in calls if isinstance(call.func, ast.Name)]
    assert names.count("PapermillOperator") == names.count("DAG") == 2
    assert "CronTriggerTimetable('30 3 * * mon-fri', timezone='Europe/Berlin')" in text
    assert "{'limit': 40, 'prompts': [\"it's 100% @1\", 'b@2']}" in text


@pytest.mark.skipif(
    "WORKBENCH_TEST_AIRFLOW" not in os.environ, reason="opt-in: WORKBENCH_TEST_AIRFLOW=path of a python with Airflow"
)
def test_a_real_airflow_parses_the_dag(exported: Path) -> None:
    folder = exported / "dags"
    folder.mkdir()
    for name, text in files(exported, "airflow").items():
        (folder / name).write_text(text)
    program = (
        "import sys; from airflow.dag_processing.dagbag import DagBag; bag = DagBag(sys.argv[1])\n"
        "assert not bag.import_errors, bag.import_errors\nprint(sorted(bag.dags))"
    )
    env = os.environ | {"AIRFLOW_HOME": str(exported / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    done = subprocess.run(
        [os.environ["WORKBENCH_TEST_AIRFLOW"], "-c", program, str(folder)], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "['workbench_nightly_quality', 'workbench_weekly']" in done.stdout


def test_a_webhook_s_address_is_not_written_into_other_files(project: Path) -> None:
    (project / "schedule.toml").write_text(
        '[reports.r]\nnotebook = "ab_comparison"\ncron = "@daily"\nwebhook = "https://hooks.example/T0/secret"\n'
    )
    with pytest.raises(InputError, match="webhook_env") as caught:
        files(project, "cron")
    assert "secret" not in str(caught.value).replace("It is a secret", "")
