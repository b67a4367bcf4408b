"""Ollama's options, typed and checked before they are sent: the server ignores a name that it does not know, and so would
answer as if nothing had been asked; a wrong type it calls a failure of its own (500).

Names and types are those of `Options` and `Runner` in Ollama's api/types.go.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from workbench.errors import BadRequestError, SettingsError, did_you_mean
from workbench.records import Params

__all__ = ["DROPPED", "Choice", "choose", "defaults"]


class _Rule(NamedTuple):
    """What a value must be: said in words, and as a test."""

    wanted: str
    fits: Callable[[Any], bool]


def _whole(low: int | None = None, high: int | None = None) -> _Rule:
    span = "" if low is None else f" from {low}" + ("" if high is None else f" to {high}")

    def fits(value: Any) -> bool:
        return type(value) is int and (low is None or value >= low) and (high is None or value <= high)

    return _Rule(f"a whole number{span}", fits)


def _number(low: float | None = None) -> _Rule:
    def fits(value: Any) -> bool:
        return type(value) in (int, float) and math.isfinite(value) and (low is None or value >= low)

    return _Rule("a number" if low is None else f"a number from {low:g}", fits)


_DURATION = re.compile(r"0|-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+")
_SWITCH = _Rule("true or false", lambda value: isinstance(value, bool))
_TEXT = _Rule("a text", lambda value: isinstance(value, str))
_TEXTS = _Rule(
    "a list of texts", lambda value: isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
)

# of the model in memory: another value loads it anew
_RUNNER: dict[str, _Rule] = {
    "num_ctx": _whole(1), "num_batch": _whole(1), "num_gpu": _whole(-1), "main_gpu": _whole(0), "num_thread": _whole(0),
    "use_mmap": _SWITCH, "draft_num_predict": _whole(0),
}  # fmt: skip
_OLD: dict[str, _Rule] = {
    "mirostat": _whole(0, 2), "mirostat_tau": _number(), "mirostat_eta": _number(),
    "penalize_newline": _SWITCH, "numa": _SWITCH, "low_vram": _SWITCH, "f16_kv": _SWITCH, "logits_all": _SWITCH,
    "vocab_only": _SWITCH, "use_mlock": _SWITCH,
}  # fmt: skip
_OPTIONS: dict[str, _Rule] = _RUNNER | _OLD | {
    "num_keep": _whole(), "num_predict": _whole(-2), "seed": _whole(), "top_k": _whole(0), "repeat_last_n": _whole(-1),
    "temperature": _number(0), "top_p": _number(0), "min_p": _number(0), "typical_p": _number(0), "stop": _TEXTS,
    "repeat_penalty": _number(), "presence_penalty": _number(), "frequency_penalty": _number(),
}  # fmt: skip
_COMPLETION = ("raw", "suffix", "system", "template")
# beside the options
_FIELDS: dict[str, _Rule] = {
    "keep_alive": _Rule(
        "seconds, or a duration such as '10m', '24h' or '-1m' (for ever)",
        lambda value: _number().fits(value) or (isinstance(value, str) and _DURATION.fullmatch(value) is not None),
    ),
    "format": _Rule("'json' or a JSON schema", lambda value: value == "json" or isinstance(value, Mapping)),
    "raw": _SWITCH, "suffix": _TEXT, "system": _TEXT, "template": _TEXT,
}  # fmt: skip
_OURS: dict[str, _Rule] = {"allow_truncation": _SWITCH}
_KNOWN: dict[str, _Rule] = _OPTIONS | _FIELDS | _OURS

DROPPED = frozenset(_OLD)
"""Options that Ollama took until 0.7 (2025-05) and has ignored since."""


class Choice(NamedTuple):
    """What one request sends: options under `options`, fields beside it."""

    options: Mapping[str, Any]
    fields: Mapping[str, Any]
    allow_truncation: bool = False

    @property
    def runner(self) -> dict[str, Any]:
        """The options that the model is loaded with."""
        return {name: value for name, value in self.options.items() if name in _RUNNER}


_NOTHING = Choice(MappingProxyType({}), MappingProxyType({}))


def defaults(values: Mapping[str, Any], endpoint: str) -> Choice:
    """An endpoint's options: Ollama's own, `keep_alive`, and `allow_truncation`. Raises SettingsError."""
    where = f"workbench.toml: [endpoints.{endpoint}.options]"
    known = _OPTIONS | _OURS | {"keep_alive": _FIELDS["keep_alive"]}
    if problem := _problem(values.items(), known, where):
        raise SettingsError(problem)
    return _laid_over(_NOTHING, values)


def choose(params: Params, base: Choice, kind: str, model: str) -> Choice:
    """The endpoint's defaults, over them what params say, over that params.extra. Raises BadRequestError.

    kind: chat or completion.
    """
    sampling = {
        "temperature": params.temperature, "top_p": params.top_p, "seed": params.seed, "num_predict": params.max_tokens,
        "stop": list(params.stop) or None,
    }  # fmt: skip
    given = {name: value for name, value in sampling.items() if value is not None}
    problem = _problem(given.items(), _OPTIONS, f"{model}: params") or _problem(
        params.extra.items(), _KNOWN, f"{model}: params.extra"
    )
    if problem is None and params.extra:
        problem = _misplaced(params.extra, kind, model)
    if problem is not None:
        raise BadRequestError(problem)
    return _laid_over(base, {**given, **params.extra}) if given or params.extra else base


def _laid_over(base: Choice, values: Mapping[str, Any]) -> Choice:
    return Choice(
        {**base.options, **{name: value for name, value in values.items() if name in _OPTIONS}},
        {**base.fields, **{name: value for name, value in values.items() if name in _FIELDS}},
        values.get("allow_truncation", base.allow_truncation),
    )


def _problem(values: Iterable[tuple[str, Any]], known: Mapping[str, _Rule], where: str) -> str | None:
    for name, value in values:
        rule = known.get(name)
        if rule is None:
            return _unknown(name, known, where)
        if not rule.fits(value):
            named = f"{name} (max_tokens)" if name == "num_predict" and where.endswith("params") else name
            return f"{where}: {named} = {value!r} ({type(value).__name__}) must be {rule.wanted}."
    return None


def _unknown(name: str, known: Mapping[str, _Rule], where: str) -> str:
    if name in ("truncate", "shift"):
        return (
            f"{where}: {name} is not yours to send: Ollama is always asked to refuse what does not fit. With "
            "allow_truncation = true it cuts, and the answer is flagged as truncated."
        )
    meant = did_you_mean(str(name), known.keys() - DROPPED)
    return (
        f"{where}: Ollama has no option {name!r}.{meant} It would ignore it without a word. "
        f"Known: {', '.join(sorted(known.keys() - DROPPED))}."
    )


def _misplaced(extra: Mapping[str, Any], kind: str, model: str) -> str | None:
    named = [name for name in _COMPLETION if name in extra]
    if not named:
        return None
    if kind == "chat":
        return (
            f"{model}: params.extra: {named[0]} belongs to a completion, not to a chat. "
            "Give a chat its system text as a message of role system."
        )
    if extra.get("raw", True) and named != ["raw"]:
        other = next(name for name in named if name != "raw")
        return (
            f"{model}: params.extra: a completion is sent raw, without the model's template, where {other} means "
            "nothing. Add raw = false to have the template applied."
        )
    return None
