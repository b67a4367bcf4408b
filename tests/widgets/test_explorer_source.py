"""Dashboards by hand, from the local log or from a double of Langfuse."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from workbench import Workbench
from workbench.errors import InputError
from workbench.records import Call
from workbench.settings import load_settings

Opened = Callable[[Callable[[], Any]], AbstractContextManager[Any]]
Until = Callable[..., Any]


def test_the_source_is_chosen_by_hand_double(
    project: Path, langfuse_double: Any, monkeypatch: pytest.MonkeyPatch, opened: Opened, until: Until
) -> None:
    """Where Langfuse is set up; what it cannot tell and that it is away is said, and what was drawn stays, and is called so."""
    bench = Workbench(settings=load_settings(project, environ=langfuse_double.environment))
    for at in range(12):
        bench.calls.append(
            Call(
                f"{at:016x}-1-1",
                time.time() - at,
                "openai/m",
                "chat",
                latency=1.0,
                cost=0.01,
                spent=0.01,
                prompt_tokens=10,
            )
        )
    bench.delivery.ship(days=5)
    monkeypatch.delenv("WORKBENCH_STATIC")
    with opened(lambda: bench.dashboards.explore("cost", 7)) as view:
        until(lambda: view.board is not None)
        logged = view.board.frame["spent"].sum()
        view.controls["source"].value = "langfuse"
        until(lambda: "as Langfuse has it" in view.board.title)
        assert view.board.frame["spent"].sum() == pytest.approx(logged)
        view.controls["by"].value = ("tenant",)
        until(lambda: "not grouped by that, but by model, prompt_ref" in view.children[1].value)
        assert "Below is what was drawn before." in view.children[1].value
        view.controls["by"].value = ()
        view.controls["board"].value = "cache"
        until(lambda: view.board.title == "What caches did" and not view.children[1].value)
        assert view.controls["source"].disabled
        langfuse_double.stop()
        view.controls["board"].value = "errors"
        until(lambda: "does not answer" in view.children[1].value)
        assert "Traceback" not in view.children[1].value
        view.controls["source"].value = "log"
        until(lambda: view.board.title == "What failed" and not view.children[1].value)
    bench.langfuse.close()


def test_without_langfuse_there_is_no_choice_but_its_name_says_what_is_missing_double(
    project: Path, monkeypatch: pytest.MonkeyPatch, opened: Opened, until: Until
) -> None:
    """And a source that there is not is refused at once."""
    bench = Workbench(settings=load_settings(project, environ={}))
    with pytest.raises(InputError, match='must be "log" or "langfuse"'):
        bench.dashboards.explore("cost", source="datadog")
    monkeypatch.delenv("WORKBENCH_STATIC")
    with opened(lambda: bench.dashboards.explore("cost", 7)) as view:
        assert "source" not in view.controls
    with opened(lambda: bench.dashboards.explore("cost", 7, source="langfuse")) as view:
        until(lambda: "set LANGFUSE_HOST" in view.children[1].value)
