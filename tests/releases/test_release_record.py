"""`Release` as a record: what is its identity, and both ways of its JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from workbench.errors import InputError
from workbench.prompts import draft
from workbench.records import Fallback, Message, Params, Release

if TYPE_CHECKING:
    from conftest import Make


def full() -> Release:
    """A release with everything."""
    chat = draft(
        "triage", [Message("system", "Be brief."), Message("user", "{{message}}")], config={"params": {"seed": 1}}
    )
    fallback = Fallback("openai/gpt-4o-mini", Params(temperature=0.5, stop=("\n",)), "sorry")
    params = Params(temperature=0.0, max_tokens=5, schema={"type": "object"}, extra={"mirostat": 1})
    prompt = replace(chat, version=3)
    return Release(
        "triage-api", 7, prompt, "ollama/llama3.2:3b", params, "ab" * 32, fallback, 1.5, "Ada", "why", "run/1"
    )


def test_json_brings_all_of_it_back() -> None:
    """Through text, with prompt, params and fallback; author and date of the prompt are not part of it."""
    made = full()
    assert made == Release.from_mapping(json.loads(json.dumps(made.to_mapping())))
    assert made.digest == full().digest


def test_the_digest_is_of_what_answers() -> None:
    """Number, date, author, reason and evidence are not in it; model, params, prompt and fallback are."""
    made = full()
    same = replace(made, number=8, created_at=9.0, by="Bob", reason="other", evidence=None)
    assert made.digest == same.digest
    for change in (
        {"model": "ollama/other"}, {"model_digest": None}, {"params": Params()}, {"fallback": None}, {"feature": "f"},
        {"prompt": replace(made.prompt, version=4)},
    ):  # fmt: skip
        assert made.digest != replace(made, **change).digest  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version 2, and this program reads 1"),
        ({"model": "ollama/other"}, "its digest does not fit"),
        ({"number": 0}, "its number is 0"),
        ({"params": {"temprature": 1}}, "unknown field 'temprature'"),
        ({"prompt": {"name": "x"}}, "this is no release: KeyError"),
        ({"fallback": "text"}, "this is no release"),
    ],
)
def test_what_is_not_whole_is_refused(change: dict[str, object], said: str) -> None:
    """A newer version, a change behind its back, a missing part."""
    with pytest.raises(InputError, match=said):
        Release.from_mapping(full().to_mapping() | change)


def test_names_are_checked(variant: Make) -> None:
    """Feature and models."""
    prompt = variant().prompt
    for feature in ("", "a b", "a{b}", "../x", "-x", "x" * 101):
        with pytest.raises(InputError, match="feature"):
            Release(feature, 1, prompt, "ollama/m")
    with pytest.raises(InputError, match="does not name an endpoint"):
        Release("f", 1, prompt, "m")
    with pytest.raises(InputError, match="name a model"):
        Fallback()
    with pytest.raises(InputError, match="name the model too"):
        Fallback(params=Params(seed=1), text="x")
