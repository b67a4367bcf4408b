"""Langfuse away, by a double of its server that refuses, hangs or fails: reads go on from what is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from workbench.errors import LangfuseError, PromptNotFoundError
from workbench.prompts.langfuse import LangfusePrompts
from workbench.settings import load_settings
from workbench.stores.langfuse import Langfuse, open_langfuse


def fail(double: Any, how: str) -> None:
    if how == "refuses":
        double.stop()
    else:
        double.mode = how


def timed(one: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.perf_counter()
    return one(), time.perf_counter() - begun


def second_process(double: Any, first: Langfuse) -> Langfuse:
    """The same settings and home, opened anew: nothing in memory."""
    assert first._home is not None
    found = open_langfuse(load_settings(first._home.parent, environ=double.environment))
    assert found is not None
    return found


@pytest.mark.parametrize("how", ["refuses", "hang", "500", "429", "html"])
def test_a_process_that_starts_in_an_outage_has_its_prompts_double(
    langfuse_double: Any, langfuse: Langfuse, how: str
) -> None:
    """The first read waits about a second at most, later ones not at all; lists, labels and versions too."""
    langfuse_double.edit("triage", "Label {{message}}", labels=("production",))
    langfuse_double.edit("other", "x")
    before = LangfusePrompts(langfuse)
    known = (before.get("triage@production"), before.list(), before.labels("triage"), before.versions("triage"))
    fail(langfuse_double, how)
    later = second_process(langfuse_double, langfuse)
    reader = LangfusePrompts(later)
    first, waited = timed(lambda: reader.get("triage@production"))
    assert known[0] == first
    assert waited < 1.9
    rest, waited = timed(lambda: (reader.list(), reader.labels("triage"), reader.versions("triage")))
    assert known[1:] == rest
    assert waited < 0.9  # to ask, it would wait for a second
    with pytest.raises(LangfuseError, match="is asked again in") as caught:
        reader.get("unseen@3")
    assert caught.value.away
    later.close()


@pytest.mark.parametrize("how", ["refuses", "hang"])
def test_a_running_process_waits_for_nobody_and_finds_it_again_double(
    langfuse_double: Any, tmp_path: Any, how: str
) -> None:
    """What was read before is served at once, however old; after the outage the new version comes by itself."""
    now = [0.0]
    settings = load_settings(tmp_path, environ=langfuse_double.environment)
    assert settings.langfuse_secret_key is not None
    langfuse = Langfuse(
        settings.langfuse_url,
        settings.langfuse_public_key,
        settings.langfuse_secret_key,
        home=tmp_path,
        clock=lambda: now[0],
    )
    reader = LangfusePrompts(langfuse)
    langfuse_double.edit("triage", "one")
    assert "one" == reader.get("triage").text
    langfuse_double.edit("triage", "two")
    fail(langfuse_double, how)
    now[0] += 61
    found, waited = timed(lambda: reader.get("triage").text)
    assert "one" == found
    assert waited < 0.9  # to ask, it would wait for a second
    reader.cache.settle()
    assert not langfuse.breaker.closed
    if how == "refuses":
        langfuse_double.start()
    langfuse_double.mode = "ok"
    asked = len(langfuse_double.requests)
    assert "one" == reader.get("triage").text  # the breaker is open: nothing is asked
    reader.cache.settle()
    assert asked == len(langfuse_double.requests)
    now[0] += 61
    reader.get("triage")
    reader.cache.settle()
    assert langfuse.breaker.closed
    assert "two" == reader.get("triage").text
    langfuse.close()


def test_what_is_gone_is_no_outage_double(langfuse_double: Any, langfuse: Langfuse) -> None:
    """A 404 ends what was known, also on disk."""
    langfuse_double.edit("triage", "one")
    langfuse_double.edit("kept", "x")
    assert "one" == LangfusePrompts(langfuse).get("triage@1").text
    langfuse_double.delete("triage")
    with pytest.raises(PromptNotFoundError, match=r"There are: kept\."):
        LangfusePrompts(langfuse).get("triage@1")
    langfuse_double.stop()
    with pytest.raises(LangfuseError):
        LangfusePrompts(langfuse).get("triage@1")


def test_wrong_keys_are_named_and_shown_nowhere_double(langfuse_double: Any, tmp_path: Any, caplog: Any) -> None:
    """The error says which settings to check; the secret is in no text."""
    langfuse = open_langfuse(
        load_settings(tmp_path, environ=langfuse_double.environment | {"LANGFUSE_SECRET_KEY": "sk-lf-wrong"})
    )
    assert langfuse is not None
    with pytest.raises(LangfuseError, match="LANGFUSE_SECRET_KEY") as caught:
        LangfusePrompts(langfuse).get("triage")
    assert 401 == caught.value.status
    health = langfuse.health()
    assert ("refuses the keys", "Langfuse 4.16.0") == (health.detail, health.version)
    assert "sk-lf-wrong" not in f"{caught.value!r} {caught.value} {health} {langfuse!r} {vars(langfuse)} {caplog.text}"
    langfuse.close()


def test_damaged_files_are_not_believed_double(langfuse_double: Any, langfuse: Langfuse) -> None:
    """A cache file that was cut off is as if it had never been."""
    langfuse_double.edit("triage", "one")
    reader = LangfusePrompts(langfuse)
    reader.get("triage")
    assert langfuse._home is not None
    kept = [*(langfuse._home / "langfuse").rglob("*.json")]
    assert kept
    for path in kept:
        path.write_text(path.read_text()[:20])
    langfuse_double.stop()
    with pytest.raises(LangfuseError, match="does not answer"):
        LangfusePrompts(langfuse).get("triage")
