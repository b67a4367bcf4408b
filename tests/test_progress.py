"""What is shown of long work where no bar can be drawn: a few lines, each with something new."""

from __future__ import annotations

import pytest

from workbench.running import download
from workbench.running.download import download_bar
from workbench.running.progress import Progress, default_reporter


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """stderr is pytest's file, and nobody else watches."""
    monkeypatch.delenv("WORKBENCH_PROGRESS", raising=False)
    monkeypatch.delenv("WORKBENCH_STATIC", raising=False)


def lines(capsys: pytest.CaptureFixture[str], states: list[Progress]) -> list[str]:
    """What a reporter prints of these states."""
    report = default_reporter()
    for state in states:
        report(state)
    return capsys.readouterr().err.splitlines()


def test_each_quarter_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """However many calls there are."""
    states = [Progress(done, 1000, 0, 0, None, "m") for done in range(1001)]
    states.append(Progress(1000, 1000, 0, 0, None, "", finished=True))
    assert lines(capsys, states) == [f"m: {done:,} of 1,000 calls" for done in (250, 500, 750, 1000)]


def test_what_was_there_before_is_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """A run that goes on counts from where it stopped; one that has nothing to do is silent; an early end is told."""
    assert lines(capsys, [Progress(80, 80, 80, 0, 0.0, "", finished=True)]) == []
    begun = [Progress(done, 100, 60, 0, 0.0, "m") for done in range(60, 70)]
    assert lines(capsys, begun) == []
    ended = [*begun, Progress(70, 100, 60, 3, 0.0, "", finished=True)]
    assert lines(capsys, ended) == ["70 of 100 calls, 3 failed"]


def test_download_in_the_unit_that_the_text_uses(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """93 MB are 93 million bytes here as well; a line when something begins and at most one a second."""
    now = [0.0]
    monkeypatch.setattr(download.time, "monotonic", lambda: now[0])
    with download_bar() as show:
        for done in range(0, 93_000_001, 1_000_000):
            now[0] += 0.1
            show(done, 93_000_000, "downloading")
        show(0, 0, "verifying")
    assert capsys.readouterr().err.splitlines() == [
        "downloading: 0 of 93 MB",
        "downloading: 24 of 93 MB",
        "downloading: 47 of 93 MB",
        "downloading: 70 of 93 MB",
        "downloading: 93 of 93 MB",
        "verifying",
    ]
