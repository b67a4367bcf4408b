"""Secrets stay out of what a run leaves: parameters that look like one, and keys that strayed into outputs."""

from __future__ import annotations

import copy
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from workbench.settings.masking import MASK, mask_text

__all__ = ["looks_secret", "mask_notebook", "mask_value", "secret_texts"]

_WORDS = frozenset(
    {"key", "keys", "tokens", "passwords", "passwd", "pwd", "secrets", "credential", "credentials", "authorization",
     "bearer"}
)  # fmt: skip
_SHORTEST = 6


def looks_secret(name: str) -> bool:
    """Whether a parameter of this name probably holds a secret: `api_key`, `HF_TOKEN`, `dbPassword`."""
    return any(map(_secret_word, _split(name))) and name != "PWD"


def mask_value(name: str, value: Any, secrets: tuple[str, ...] = ()) -> Any:
    """A parameter's value to show: numbers and true/false stay, for `max_tokens` is no secret."""
    hidden = looks_secret(name)
    if isinstance(value, str):
        return MASK if hidden and value else mask_text(value, secrets)
    if isinstance(value, Mapping):
        return {key: mask_value(name if hidden else str(key), item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask_value(name, item, secrets) for item in value]
    return value


def secret_texts(values: Mapping[str, Any], *, shortest: int = _SHORTEST) -> tuple[str, ...]:
    """Values whose name ends like a secret's, longest first, as they would look in text, source code and HTML: to be
    masked wherever they turn up.

    `key_column` does not end like a secret: masking its value everywhere would make the outputs unreadable.
    shortest: values of fewer characters are left alone, for the same reason.
    """
    found = {
        text
        for name, value in values.items()
        for key, text in _texts(name, value)
        if looks_secret(key) and _secret_word(_split(key)[-1]) and len(text) >= shortest
    }
    found |= {form for text in found for form in (html.escape(text), repr(text)[1:-1], json.dumps(text)[1:-1])}
    return tuple(sorted(found, key=lambda text: (-len(text), text)))


def mask_notebook(notebook: Any, secrets: tuple[str, ...] = ()) -> Any:
    """A copy of an executed notebook without secrets, in parameters, sources, outputs and metadata.

    secrets: further texts to mask.
    """
    node = copy.deepcopy(notebook)
    about = node["metadata"].get("papermill", {})
    parameters = about.get("parameters") or {}
    secrets = (*secret_texts(parameters), *secrets)
    if parameters:
        about["parameters"] = {name: mask_value(name, value, secrets) for name, value in parameters.items()}
    for cell in node["cells"]:
        if parameters and "injected-parameters" in cell["metadata"].get("tags", []):
            shown = (f"{name} = {value!r}" for name, value in about["parameters"].items())
            cell["source"] = "\n".join(["# Parameters", *shown])
        cell["source"] = mask_text(cell["source"], secrets)
        if "outputs" in cell:
            cell["outputs"] = _map_texts(cell["outputs"], lambda text: mask_text(text, secrets))
    return node


def _secret_word(word: str) -> bool:
    return word in _WORDS or word.endswith(("password", "secret", "apikey", "token"))


def _split(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def _texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(name if looks_secret(name) else str(key), item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(name, item)


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Every text inside, changed in place of the old; the containers stay of their kind."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        for key in value:
            value[key] = _map_texts(value[key], change)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            value[at] = _map_texts(item, change)
    return value
