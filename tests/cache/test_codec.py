"""How answers are written and read back."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.cache.codec import CorruptError, Entry, UnfitError, decode, encode
from workbench.records import Completion, Timing, Usage

LARGEST = 1_000_000
PLAIN = Completion("yes", "stop", Usage(3, 1), Timing(1e9, 0.5), "openai/m")

text = st.text(max_size=8)
counts = st.none() | st.integers(0, 10**6)
seconds = st.floats(0, 1e6)
tables = st.dictionaries(text, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | seconds | text, max_size=3)
rows = st.lists(tables, max_size=2).map(tuple)
completions = st.builds(
    Completion, text=st.text(), finish_reason=st.none() | text, model=text, tool_calls=rows, request_id=st.none() | text,
    reasoning=text, logprobs=rows, truncated=st.booleans(), refused=st.booleans(),
    usage=st.builds(Usage, *([counts] * 4)),
    timing=st.builds(Timing, started_at=seconds, total=seconds, queued=seconds, first_token=st.none() | seconds,
                     loading=st.none() | seconds, prefill=st.none() | seconds, decode=st.none() | seconds),
)  # fmt: skip


def written(completion: Completion = PLAIN, **fields: Any) -> tuple[bytes, Entry]:
    """Encode with what does not matter to a test filled in."""
    given: dict[str, Any] = {"expires_at": 2e9, "cost": 0.25, "largest": LARGEST} | fields
    return encode(completion, **given)


@given(completions, st.none() | st.floats(0, 1e3), st.floats(0, 4e9))
@settings(max_examples=100, deadline=None, database=None)
def test_a_whole_completion_comes_back_equal_except_its_source(
    completion: Completion, cost: float | None, expires_at: float
) -> None:
    """Text, tool calls, usage, timing, log probabilities and all; so does what was noted beside it."""
    data, entry = written(completion, cost=cost, expires_at=expires_at)
    for found in (decode(data, largest=LARGEST), entry):
        assert found.completion == replace(completion, source="exact")
        assert (found.cost, found.expires_at, found.seconds) == (cost, expires_at, completion.timing.total)


def test_long_answers_are_compressed() -> None:
    """Short ones are not worth it."""
    long = replace(PLAIN, text="It came on time and works well. " * 500)
    data, _ = written(long)
    assert len(data) < len(long.text) / 20
    assert b"yes" in written()[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": "x" * LARGEST}, "are more than 1,000,000"),
        ({"text": "\ud800"}, "no JSON"),
        ({"tool_calls": ({"x": object()},)}, "no JSON"),
        ({"logprobs": ({"logprob": float("-inf")},)}, "would not come back equal"),
        ({"tool_calls": ({"x": (1, 2)},)}, "would not come back equal"),
    ],
)
def test_what_would_not_come_back_equal_is_not_written(change: dict[str, Any], message: str) -> None:
    """Better not kept than kept changed."""
    with pytest.raises(UnfitError, match=message):
        written(replace(PLAIN, **change))


def test_damage_anywhere_is_seen() -> None:
    """Each flipped byte, each cut, of a plain and of a compressed entry."""
    for completion in (PLAIN, replace(PLAIN, text="It came on time. " * 500)):
        data, _ = written(completion)
        for place in range(0, len(data), 7):
            with pytest.raises(CorruptError):
                decode(data[:place] + bytes([data[place] ^ 0x20]) + data[place + 1 :], largest=LARGEST)
            with pytest.raises(CorruptError):
                decode(data[:place], largest=LARGEST)


def test_what_unfolds_to_too_much_is_not_unfolded() -> None:
    """Somebody else may have written it."""
    bomb = zlib.compress(b" " * 50_000_000)
    with pytest.raises(CorruptError):
        decode(written()[0][:1] + b"\x01" + bytes(4) + bomb, largest=LARGEST)


def test_nobody_can_change_an_entry_for_others() -> None:
    """What holds dicts is made anew for each reader."""
    call = {"id": "1", "function": {"name": "f", "arguments": "{}"}}
    completion = replace(PLAIN, tool_calls=(call,), finish_reason="tool_calls")
    _, entry = written(completion)
    call["id"] = "changed by who made it"
    entry.completion.tool_calls[0]["function"]["name"] = "changed by who read it"
    assert entry.completion.tool_calls == ({"id": "1", "function": {"name": "f", "arguments": "{}"}},)
