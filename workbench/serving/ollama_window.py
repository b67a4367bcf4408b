"""Finds out from the counts of an answer whether Ollama silently left out a part of the prompt.

Servers from 0.12.6 (2025-10) on refuse what does not fit when they are asked to (`truncate` and `shift` false). This is for
those that do not: before, a prompt was cut to exactly the context, or whole messages went; later ones, asked for nothing,
keep about half the context. All of them answer 200.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from workbench.records import Usage

__all__ = ["DEFAULT_CONTEXT", "Window", "least_tokens", "left_out"]

DEFAULT_CONTEXT = 4096
"""Tokens that a server gives a model where nobody says otherwise, and does not tell."""


class Window(NamedTuple):
    """What fits into one call. context: tokens of prompt and answer. sure: it was set or told, not guessed.
    counts_all: the server's `prompt_eval_count` holds tokens that it had cached, as it does since 0.4 (2024-11)."""

    context: int = DEFAULT_CONTEXT
    sure: bool = False
    counts_all: bool = False


def least_tokens(texts: Iterable[str]) -> int:
    """A number of tokens that the texts have at least: no usual tokenizer joins what white space parts."""
    return sum(len(text.split()) for text in texts)


def left_out(window: Window, least: int, usage: Usage, finish: str | None, wanted: int | None) -> str | None:
    """What did not fit, in words, None if all did. A false alarm costs a good answer, so only what is certain counts.

    least: tokens that the prompt has at least. wanted: tokens that the answer was given room for, None where no limit was set.
    """
    context, prompt = window.context, usage.prompt_tokens
    if prompt is not None and prompt > context + 1:
        return None  # it did fit, so the context is another one than we think
    if prompt is not None and prompt >= context - 1:
        return f"the prompt was cut to the {prompt:,} tokens that fit"
    if window.sure and least > context:
        return f"the prompt has at least {least:,} tokens"
    if prompt is None:
        return None
    # a shorter count alone can also come from a template that shows the model less than all
    if window.counts_all and context // 2 <= prompt < least:
        return f"only {prompt:,} tokens of a prompt that has at least {least:,} were read"
    if not window.sure:
        return None
    answer = usage.completion_tokens or 0
    if prompt + answer > context + 1:
        return f"prompt ({prompt:,} tokens) and answer ({answer:,}) outgrew it, and the beginning of the prompt was dropped"
    if finish == "length" and wanted is not None and answer < wanted and prompt + answer >= context - 1:
        return (
            f"after a prompt of {prompt:,} tokens the answer had room for {answer:,} of the {wanted:,} it was promised"
        )
    return None
