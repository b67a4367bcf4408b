"""What the exact cache would have saved, by a call log that was written for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.calls import CallLog
from workbench.errors import InputError
from workbench.evaluation.cache_savings import simulate
from workbench.records import Call

NOW, DAY = 1_700_000_000.0, 86400.0


@pytest.fixture
def log(tmp_path: Path) -> Iterator[CallLog]:
    found = CallLog(tmp_path / "calls", tmp_path / "runs")
    yield found
    found.close()


def write(log: CallLog, days_ago: float, request: str = "hi", **fields: Any) -> None:
    known: dict[str, Any] = {
        "model": "openai/m", "kind": "chat", "params": {"temperature": 0}, "latency": 2.0, "cost": 0.01, "text": "yes",
        "finish_reason": "stop",
    }  # fmt: skip
    at = NOW - DAY * days_ago
    log.append(Call(call_id=f"{at}-{request}-{len(fields)}", ended_at=at, request=request, **(known | fields)))


def test_a_repeat_saves_what_the_first_answer_took(log: CallLog) -> None:
    """Not what the repeat took; and a first call saves nothing."""
    write(log, 3, latency=5.0, cost=0.5)
    write(log, 2)
    write(log, 1)
    write(log, 1, "another")
    total = simulate(log, clock=lambda: NOW).total
    assert (4, 2, 10.0, 1.0, 0) == (total.calls, total.repeats, total.seconds, total.dollars, total.served)


@pytest.mark.parametrize(
    "other",
    [
        {"tenant": "acme"}, {"model": "openai/n"}, {"params": {"temperature": 0, "max_tokens": 5}}, {"kind": "completion"},
        {"prompt_ref": "triage@2"},
    ],
)  # fmt: skip
def test_what_differs_is_no_repeat(log: CallLog, other: dict[str, Any]) -> None:
    """As in the cache's key and scope."""
    write(log, 2)
    write(log, 1, **other)
    assert 0 == simulate(log, clock=lambda: NOW).total.repeats


@pytest.mark.parametrize(
    "first", [{"finish_reason": "length"}, {"truncated": True}, {"error": "ServerError", "finish_reason": None}]
)
def test_what_is_never_kept_serves_nobody(log: CallLog, first: dict[str, Any]) -> None:
    """Errors, and answers that were cut off or made from a part of the prompt."""
    write(log, 2, **first)
    write(log, 1)
    assert 0 == simulate(log, clock=lambda: NOW).total.repeats


def test_an_answer_lives_for_its_ttl_from_when_it_was_made(log: CallLog) -> None:
    """A hit prolongs nothing: the third call makes the answer anew, which serves the fourth."""
    for days_ago in (4.0, 3.2, 2.5, 1.6):
        write(log, days_ago)
    assert 2 == simulate(log, ttl=DAY, clock=lambda: NOW).total.repeats


def test_sampled_repeats_are_counted_apart(log: CallLog) -> None:
    """No temperature 0 and no seed: each call asked for an answer of its own. A seed asks for the same."""
    for params in ({}, {"temperature": 0.7}, {"temperature": 0.7, "seed": 3}):
        write(log, 2, params=params, cost=0.25)
        write(log, 1, params=params)
    total = simulate(log, clock=lambda: NOW).total
    assert (2, 0.5, 4.0) == (total.sampled, total.sampled_dollars, total.sampled_seconds)
    assert (1, 0.25) == (total.repeats, total.dollars)


def test_what_a_cache_served_already_is_told(log: CallLog) -> None:
    """Also where the answer was made before the days that are looked at."""
    write(log, 9)
    write(log, 2, source="exact", spent=0.0)
    write(log, 1, source="exact", spent=0.0)
    total = simulate(log, clock=lambda: NOW).total
    assert (2, 2, 2, 4.0) == (total.calls, total.repeats, total.served, total.seconds)


def test_comparisons_warm_ups_and_embeddings_are_left_out(log: CallLog) -> None:
    """What they repeat, they repeat on purpose."""
    for fields in ({"run_id": "r"}, {"warmup": True}, {"kind": "embedding"}):
        write(log, 2, **fields)
        write(log, 1, **fields)
    found = simulate(log, clock=lambda: NOW)
    assert 0 == found.total.calls
    assert "no call was answered" in str(found)


def test_a_price_that_is_not_known_is_not_nothing(log: CallLog) -> None:
    """All unknown, and some."""
    for _ in range(2):
        write(log, 2, cost=None)
    assert "an unknown sum" in simulate(log, clock=lambda: NOW).sentence
    write(log, 2, "priced", cost=1.5)
    write(log, 1, "priced")
    assert "$1.50 (and 1 calls without a price)" in simulate(log, clock=lambda: NOW).sentence


def test_it_shows_itself_as_text_html_frame_and_json(log: CallLog) -> None:
    """A model's name is escaped in HTML."""
    for days_ago in (2, 1):
        write(log, days_ago, model="openai/<m>")
    found = simulate(log, clock=lambda: NOW)
    assert "50%" in str(found)
    assert "openai/&lt;m&gt;" in found._repr_html_()
    assert [1] == found.frame()["repeats"].tolist()
    assert 1 == found.to_mapping()["total"]["repeats"]


def test_days_that_are_none(log: CallLog) -> None:
    """The message says what would do."""
    with pytest.raises(InputError, match="days = 0 must be above 0, such as 7"):
        simulate(log, days=0)
