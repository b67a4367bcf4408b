"""From what a model was shown back to the prompt's variables."""

from __future__ import annotations

import re

from workbench.errors import PromptError
from workbench.prompts import render
from workbench.prompts.template import TAG
from workbench.records import Prompt, Request

__all__ = ["inputs_of"]


def inputs_of(prompt: Prompt, request: str) -> dict[str, str] | None:
    """The texts that were filled into `prompt` (with its includes), so that it became `request`.

    None where the request is none of this prompt's, or where more than one filling gives it: an input is never guessed.
    """
    template = "\n".join(message.content for message in prompt.messages) if prompt.messages else prompt.text
    found = [_match(template, request, few) for few in (True, False)]
    if found[0] is None or found[0] != found[1] or set(found[0]) != set(prompt.variables):
        return None
    try:
        kind, messages, text = render(prompt, found[0])
    except PromptError:
        return None
    shown = Request("-/-", kind, messages, text).text()
    return found[0] if shown == request else None


def _match(template: str, request: str, few: bool) -> dict[str, str] | None:
    """With the shortest (or longest) texts that fit. A variable that stands twice must be the same in both places."""
    pattern, end, seen = [], 0, set[str]()
    for tag in TAG.finditer(template):
        if tag[1] or not tag[2]:
            continue
        pattern.append(re.escape(template[end : tag.start()]))
        pattern.append(f"(?P={tag[2]})" if tag[2] in seen else f"(?P<{tag[2]}>.*{'?' if few else ''})")
        seen.add(tag[2])
        end = tag.end()
    pattern.append(re.escape(template[end:]))
    found = re.fullmatch("".join(pattern), request, re.DOTALL)
    return None if found is None else found.groupdict()
