"""`workbench release guard`, as a person runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.online.assignment import Arm, Experiment, assign
from workbench.online.counters import Counters
from workbench.online.guard import guarded, read_rules, write_rules
from workbench.online.rules import Guardrail, Rules
from workbench.stores.keyvalue import KeyValue
from workbench.stores.valkey import EmbeddedValkey

RELEASE = ["release", "create", "triage-api", "triage@1", "--model", "scripted/m", "--reason", "begin"]
EXPERIMENT = Experiment("triage-api", "canary", 1, (Arm("treatment", 2),), 0.5)


@pytest.fixture
def kv(project: Path) -> Iterator[KeyValue]:
    """The store of a project in which release 1 is live against candidate 2."""
    prompts = project / "prompts"
    from workbench.prompts import FilePrompts
    from workbench.releases import Releases

    FilePrompts(prompts, author="ann").create("triage", "Label: {{message}}")
    run(*RELEASE)
    run(*RELEASE, "--candidate")
    store = KeyValue(None, project / ".workbench")
    Releases(store, project / ".workbench").set_experiment("triage-api", EXPERIMENT.to_mapping(), reason="try")
    yield store
    store.close()
    EmbeddedValkey(project / ".workbench").stop()


def run(*arguments: str, code: int = 0) -> str:
    """What the command prints."""
    done = subprocess.run([sys.executable, "-m", "workbench", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def bad_treatment(kv: KeyValue) -> None:
    """600 users, every second call of the treatment's an error."""
    counters = Counters(kv, every=3600)
    for number in range(600):
        user, given = str(number), assign(EXPERIMENT, str(number))
        counters.exposed("triage-api", given, user)
        counters.called("triage-api", given, user, error=given.release == 2 and number % 2 == 0, latency=0.1)
    assert counters.flush()
    counters.close()


def test_a_dry_run_says_what_would_be_done_and_once_does_it(kv: KeyValue) -> None:
    """Exit code 1 where something failed; afterwards 0. Only the real run keeps the guardrails."""
    bad_treatment(kv)
    looked = run("release", "guard", "triage-api", "--error-margin", "0.05", "--dry-run", code=1)
    assert "stop treatment: not done: dry run" in looked
    assert read_rules(kv, "triage-api") is None
    assert "guard triage-api" not in run("doctor")
    done = run("release", "guard", "triage-api", "--error-margin", "0.05", "--p95", "2", "--once", code=1)
    assert "failed   error rate of treatment" in done
    assert "stop treatment: done" in done
    again = json.loads(run("release", "guard", "--once", "--json"))
    assert (True, 1) == (again["ok"], again["release"])
    assert "guard" in run("release", "list", "triage-api")
    assert "last look: " in run("doctor")
    assert "taken away" in run("release", "guard", "--off")
    slip = run("release", "guard", "triag-api", "--p95", "2", "--once", code=2)
    assert "nothing is live for triag-api" in slip
    assert "Features with releases: triage-api" in slip
    assert () == guarded(kv)


def test_it_watches_until_it_is_told_to_end(kv: KeyValue) -> None:
    """It stops the treatment by itself, and gives the lease back on SIGTERM."""
    command = [
        sys.executable,
        "-m",
        "workbench",
        "release",
        "guard",
        "triage-api",
        "--error-margin",
        "0.05",
        "--every",
        "0.05",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "triage-api: release 1, canary@0" in process.stdout.readline()
        assert "too few" in process.stdout.readline()
        bad_treatment(kv)
        lines = iter(process.stdout.readline, "")
        assert any("stop treatment: done" in line for line in lines)
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(60)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert [None] == [item.holder for item in guarded(kv)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--p95", "2"], "guardrails belong to a feature"),
        (["f", "--slow-margin", "0.1"], "give both"),
        (["f", "--score", "solved"], "must be NAME=MARGIN"),
        (["f", "--every", "31"], "must lie between 0 and 30"),
        (["--once"], "no feature has guardrails"),
    ],
)
def test_wrong_options_are_named(project: Path, arguments: list[str], says: str) -> None:
    """With the option and what to write."""
    assert says in run("release", "guard", *arguments, code=2)
    EmbeddedValkey(project / ".workbench").stop()


def test_doctor_says_that_nobody_guards(kv: KeyValue) -> None:
    """Where there are guardrails and no guard has looked for a while."""
    write_rules(kv, "triage-api", Rules((Guardrail.p95(2.0),)))
    said = run("doctor")
    assert "NOBODY GUARDS IT, last look: never" in said
    assert "guard triage-api: run `workbench release guard triage-api`" in said
