"""The drill notebook, headless in a real kernel: real releases, counts and guard, in a Valkey of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from workbench.reporting import run_notebook

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "release_and_rollback.ipynb"


def test_the_bad_version_is_caught_and_undone(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From top to bottom; REDIS_URL of the project is not touched, and nothing is left behind."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    env = {"REDIS_URL": "redis://127.0.0.1:1/0", "TMPDIR": str(temporary)}
    report = run_notebook(NOTEBOOK, {}, out=project, cwd=project, env=env)
    assert report.status == "completed", report.error
    page = report.html.read_text("utf-8")
    for said in (
        "triage-api 1 · triage@1 · scripted/triage is live",
        "solved is higher in treatment",
        "triage-api 2 · triage@2 · scripted/triage is live",
        "stop treatment: done",
        "examples: 2 against 3; treatment stopped",
        "roll back the live release: done",
        "release 2 live, in place of 3",
        "guard: treatment stopped",
        "guard: back to 2",
    ):
        assert said in page
    assert not [*temporary.glob("drill-*")]
    assert not (project / ".workbench").exists()
