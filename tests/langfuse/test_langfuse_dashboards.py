"""Dashboards of what Langfuse has, on a double of the server: what the log says of the same calls, as far as it can tell."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from workbench import Workbench
from workbench.calls import CallScore
from workbench.errors import InputError, LangfuseError
from workbench.records import Call
from workbench.settings import load_settings

NOON = datetime(2026, 10, 20, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = NOON + 3600

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def bench(project: Path, langfuse_double: Any) -> Iterator[Workbench]:
    """Three days of calls of two versions and two models, some failed, some scored; all of it sent to Langfuse."""
    found = Workbench(settings=load_settings(project, environ=langfuse_double.environment), clock=Clock())
    for text in ("Label: {{message}}", "Label well: {{message}}"):
        found.prompts.create("tone", text)
    found.prompts.push("tone")
    digests = {f"tone@{prompt.version}": prompt.digest for prompt in found.prompts.versions("tone")}
    for number in range(48):
        call_id, ref = f"{number:016x}-1-1", f"tone@{1 + number % 2}"
        failed = number % 8 == 5
        found.calls.append(
            Call(
                call_id, NOON - number % 3 * DAY + number, f"openai/m{number % 4 // 2}", "chat", prompt_ref=ref,
                prompt_digest=digests[ref], latency=1 + number / 10, first_token=0.25, cost=None if failed else 0.01,
                spent=None if failed else 0.01, prompt_tokens=100, completion_tokens=20, feature="a" if number % 3 else "b",
                error="RateLimitError" if failed else None, user=f"u{number % 5}",
            )
        )  # fmt: skip
        if not failed:
            found.calls.add_score(
                CallScore(call_id, "judge", "s", NOON + 60, number / 48, called_at=NOON - number % 3 * DAY + number,
                          model=f"openai/m{number % 4 // 2}", prompt_ref=ref, user=f"u{number % 5}")
            )  # fmt: skip
    found.delivery.ship(days=5)
    yield found
    found.langfuse.close()


def without_endpoint(frame: Any) -> Any:
    """Langfuse has a model's name only."""
    return frame.assign(model=frame["model"].str.removeprefix("openai/"))


def test_boards_say_what_the_log_says_double(bench: Workbench) -> None:
    """Cost, latency, quality, errors and versions, number by number; what Langfuse cannot tell is not made up."""
    boards = bench.dashboards
    mine, theirs = without_endpoint(boards.cost(7).frame), boards.cost(7, source="langfuse").frame
    assert list(mine.columns) == list(theirs.columns)
    for name in ("at", "model", "calls", "prompt_tokens", "completion_tokens"):
        assert mine[name].tolist() == theirs[name].tolist(), name
    assert theirs["spent"].tolist() == pytest.approx(mine["spent"].tolist())
    assert theirs["saved"].isna().all()
    mine = without_endpoint(boards.latency(7, by=["model"]).frame)
    theirs = boards.latency(7, source="langfuse").frame
    assert list(mine.columns) == list(theirs.columns)
    assert theirs["calls"].tolist() == mine["calls"].tolist()
    for name in ("p50", "p95", "p99", "first_token_p50"):
        assert theirs[name].tolist() == pytest.approx(mine[name].tolist(), abs=2e-3)
    mine, theirs = boards.quality(7).frame, boards.quality(7, source="langfuse").frame
    assert list(mine.columns) == list(theirs.columns)
    assert (theirs["at"].tolist(), theirs["n"].tolist()) == (mine["at"].tolist(), mine["n"].tolist())
    assert theirs["mean"].tolist() == pytest.approx(mine["mean"].tolist())
    assert theirs["low"].isna().all()
    mine, theirs = boards.errors(7).frame, boards.errors(7, source="langfuse").frame
    assert list(mine.columns) == list(theirs.columns)
    assert theirs["rate"].tolist() == pytest.approx(mine["rate"].tolist())
    mine, theirs = without_endpoint(boards.versions(7).frame), boards.versions(7, source="langfuse").frame
    assert list(mine.columns) == list(theirs.columns)
    for name in ("prompt", "version", "model", "n", "errors", "per_day", "scorer", "scored"):
        assert mine[name].tolist() == theirs[name].tolist(), name
    for name in ("latency_p50", "cost_per_call", "score"):
        assert theirs[name].tolist() == pytest.approx(mine[name].tolist(), abs=2e-3), name


def test_every_board_draws_and_prints_double(bench: Workbench) -> None:
    """The same figures and tables; unknown numbers are unknown; of a feature, of nothing, of weeks."""
    boards = bench.dashboards
    for name in ("cost", "latency", "quality", "errors", "versions"):
        for more in ({}, {"model": "openai/m1"}, {"model": "nobody"}):
            board = getattr(boards, name)(7, source="langfuse", **more)
            assert "nan" not in str(board).lower().replace("nano", "")
            assert all(value is None or math.isfinite(value) for value in board.numbers.values())
            assert all(figure.to_json() for figure in board.figures)
    found = boards.cost(7, source="langfuse", feature="a").frame
    assert found["calls"].sum() == boards.cost(7, feature="a").frame["calls"].sum() == 32
    weekly = boards.errors(7, every="week", source="langfuse").frame
    assert set(weekly["at"]) == set(boards.errors(7, every="week").frame["at"])
    numbers = boards.cost(7, source="langfuse").numbers
    assert numbers["cost.saved_usd"] is None
    assert numbers["cost.spent_usd"] == pytest.approx(0.42)


def test_an_answer_is_kept_for_ten_minutes_double(bench: Workbench, langfuse_double: Any) -> None:
    """Its cloud allows 100 such queries a day; what it answered still counts while it is away."""
    first = bench.dashboards.errors(7, source="langfuse").frame
    asked = len(langfuse_double.requests)
    assert first.equals(bench.dashboards.errors(7, source="langfuse").frame)
    assert asked == len(langfuse_double.requests)
    langfuse_double.stop()
    assert first.equals(bench.dashboards.errors(7, source="langfuse").frame)
    with pytest.raises(LangfuseError, match="does not answer"):
        bench.dashboards.errors(6, source="langfuse")


def test_what_langfuse_cannot_tell_is_told_double(bench: Workbench, langfuse_double: Any) -> None:
    """By name, with what to do instead."""
    boards = bench.dashboards
    with pytest.raises(InputError, match="nothing of our caches"):
        boards.cache(7, source="langfuse")
    with pytest.raises(InputError, match="not grouped by that, but by model, prompt_ref"):
        boards.cost(7, by=["tenant"], source="langfuse")
    with pytest.raises(InputError, match="does not tell scores apart by feature"):
        boards.quality(7, feature="a", source="langfuse")
    with pytest.raises(InputError, match='must be "log" or "langfuse"'):
        boards.cost(7, source="datadog")  # type: ignore[arg-type]
    langfuse_double.mode = "500"
    with pytest.raises(LangfuseError):
        boards.cost(5, source="langfuse")
