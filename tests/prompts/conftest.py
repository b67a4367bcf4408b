"""An empty folder of prompts, and a clock that stands still."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.prompts import FilePrompts


class Clock:
    """A clock that moves when told; it begins on 2026-11-23, 10:00 UTC."""

    def __init__(self) -> None:
        self.now = 1795428000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def prompts(tmp_path: Path, clock: Clock) -> FilePrompts:
    return FilePrompts(tmp_path / "prompts", author="Ada", clock=clock)
