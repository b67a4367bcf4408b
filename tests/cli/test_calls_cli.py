"""`workbench calls …` as a new user types it: an empty log, then the sample."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench import cli
from workbench.stores.valkey import EmbeddedValkey


@pytest.fixture
def sample(project: Path) -> Iterator[Path]:
    """Where a sample will be."""
    yield project / ".workbench" / "sample"
    EmbeddedValkey(project / ".workbench" / "sample" / ".workbench").stop()


def test_a_new_user_makes_a_sample_asks_it_compacts_it_and_purges_somebody(
    project: Path, sample: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def workbench(*arguments: str, cwd: Path, code: int = 0) -> tuple[str, str]:
        monkeypatch.setenv("WORKBENCH_PROJECT", str(cwd))
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        assert int(ended.value.code or 0) == code
        return capsys.readouterr()

    said, hint = workbench("calls", "sql", "select model from calls", cwd=project)
    assert "(no rows)" in said
    assert "`workbench calls sample` makes one" in hint
    made, _ = workbench("calls", "sample", "--days", "3", "--calls", "15", cwd=project)
    assert f"cd {sample}" in made
    assert not (project / ".workbench" / "calls").exists(), "the log of the project is not touched"
    assert EmbeddedValkey(sample / ".workbench").stop() is False, "its store does not run on"

    (one,) = workbench("calls", "sql", "--json", "select max(call_id) as call_id from calls", cwd=sample)[
        0
    ].splitlines()
    assert "1 step, 1 call" in workbench("calls", "trace", json.loads(one)["call_id"], cwd=sample)[0]
    assert "no span yet" in workbench("calls", "trace", cwd=sample, code=2)[1]

    (row,) = workbench("calls", "sql", "--json", "select count(*) as n, max(user) as user from calls", cwd=sample)[
        0
    ].splitlines()
    found = json.loads(row)
    assert made.startswith(f"{found['n']:,} calls of 3 days in ")
    said, _ = workbench("calls", "compact", cwd=sample)
    assert "segments are now in" in said
    assert "nothing to compact" in workbench("calls", "compact", cwd=sample)[0]
    kept, _ = workbench("data", "purge", "--user", found["user"], cwd=sample)
    assert "Nothing in: " in kept
    assert "comparisons (rows)" in kept
    assert "Nothing was removed" in kept
    gone, _ = workbench("data", "purge", "--user", found["user"], "--yes", cwd=sample)
    places = [line.split("  ")[0] for line in kept.splitlines() if line.startswith(("call log", "caches"))]
    removed = gone.partition("Removed of")[2]
    assert [line.split("  ")[0] for line in removed.splitlines() if line.startswith(("call log", "caches"))] == places
    assert "Nothing is kept of" in workbench("data", "purge", "--user", found["user"], cwd=sample)[0]
    refused = workbench("calls", "sample", str(project), cwd=project, code=2)[1]
    assert "is not empty and holds no sample" in refused
