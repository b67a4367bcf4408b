"""The nouns: frozen records that every layer shares. Times are seconds, money is US dollars, instants are Unix seconds.

A record never reaches for a file or a network. `digest` is the one way to name content: SHA-256 over canonical JSON.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import rfc8785

from workbench.errors import InputError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "Call",
    "Chunk",
    "Completion",
    "Contrast",
    "Embeddings",
    "Example",
    "Fallback",
    "Feedback",
    "GuardrailCheck",
    "Health",
    "Interval",
    "Message",
    "ModelInfo",
    "Params",
    "Prompt",
    "PromptKind",
    "Release",
    "Request",
    "Score",
    "ServerMetrics",
    "Timing",
    "Usage",
    "Variant",
    "Verdict",
    "asdict_prompt",
    "canonical_json",
    "check_name",
    "digest",
    "split_model",
]

PromptKind = Literal["chat", "text", "completion"]

_RELEASE_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def canonical_json(value: object) -> bytes:
    """Canonical JSON (RFC 8785): equal content gives equal bytes on every machine.

    Raises InputError for what JSON cannot hold (NaN, sets, objects, integers beyond 2**53).
    """
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except (rfc8785.CanonicalizationError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"this value has no canonical JSON, so it cannot be identified: {error}. "
            "Use only text, numbers, true/false, None, lists and dicts with text keys."
        ) from None


def digest(value: object) -> str:
    """SHA-256, 64 hex digits, of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def check_name(name: str, what: str) -> str:
    """`name` if it is safe as a file name: letters, digits, `_`, `-`, `.`, at most 100, no leading `.` or `-`."""
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise InputError(
            f"{what} {name!r} is not usable as a name: use letters, digits, '_', '-' and '.', "
            "begin with a letter or digit, at most 100 characters."
        )
    return name


def split_model(model: str) -> tuple[str, str]:
    """`endpoint/model` -> (endpoint, model); the model's own name may hold slashes."""
    endpoint, slash, name = model.partition("/")
    if not (slash and endpoint and name):
        raise InputError(
            f"model {model!r} does not name an endpoint: write ENDPOINT/MODEL, "
            "such as embedded/smollm2-135m, ollama/llama3.2:3b or openai/gpt-4o-mini."
        )
    return endpoint, name


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat.

    parts: the content in OpenAI's form, where it is more than text (images, files); `content` is then its text alone.
    tool_calls: what the assistant asked for, as in `Completion.tool_calls`; tool_call_id: which of them a tool's turn answers.
    extra: fields sent as they are, such as `name`.
    """

    role: str
    content: str = ""
    parts: tuple[Mapping[str, Any], ...] = ()
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    tool_call_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Params:
    """How to sample. None means: not sent, the server's default holds.

    schema: a JSON schema that the answer must fit. tools, tool_choice: in OpenAI's form. logprobs: how many alternatives to tell
    for each token (0: only the token's own). think: whether, or how hard ("low", "medium", "high"), a model that can reason does.
    extra: fields sent as they are, for what only one server knows.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    logprobs: int | None = None
    think: bool | str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str = "params") -> Params:
        """Params from a TOML or YAML table. An unknown field or a wrong type is an InputError that names it."""
        known = {item.name for item in fields(cls)}
        for name in values:
            if name not in known:
                raise InputError(f"{where}: unknown field {name!r}. Known are {', '.join(sorted(known))}; "
                                 f"what only your server knows goes under 'extra'.")  # fmt: skip
        checks: dict[str, tuple[type, ...]] = {
            "temperature": (int, float), "top_p": (int, float), "max_tokens": (int,), "seed": (int,),
            "schema": (Mapping,), "extra": (Mapping,), "logprobs": (int,), "tool_choice": (str, Mapping),
        }  # fmt: skip
        cleaned = {name: value for name, value in values.items() if value is not None}
        for name, types in checks.items():
            value = cleaned.get(name)
            if value is not None and (not isinstance(value, types) or isinstance(value, bool)):
                raise InputError(f"{where}: {name} = {value!r} must be {' or '.join(t.__name__ for t in types)}.")
        if "stop" in cleaned:
            stop = cleaned["stop"]
            stop = (stop,) if isinstance(stop, str) else stop
            if not isinstance(stop, Sequence) or not all(isinstance(item, str) and item for item in stop):
                raise InputError(f"{where}: stop = {stop!r} must be a text or a list of texts, none of them empty.")
            cleaned["stop"] = tuple(stop)
        if "tools" in cleaned:
            tools = cleaned["tools"]
            if not isinstance(tools, (list, tuple)) or not all(isinstance(item, Mapping) for item in tools):
                raise InputError(f"{where}: tools = {tools!r} must be a list of tables, as OpenAI's API takes them.")
            cleaned["tools"] = tuple(tools)
        if not isinstance(cleaned.get("think", True), (bool, str)):
            raise InputError(f"{where}: think = {cleaned['think']!r} must be true, false or a level such as 'low'.")
        for name, low in (("temperature", 0), ("top_p", 0), ("max_tokens", 1), ("logprobs", 0)):
            if name in cleaned and cleaned[name] < low:
                raise InputError(f"{where}: {name} = {cleaned[name]!r} must be at least {low}.")
        return cls(**cleaned)

    def to_mapping(self) -> dict[str, Any]:
        """Only what is set, in plain types."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["stop"] = list(self.stop)
        values["schema"] = None if self.schema is None else dict(self.schema)
        values["tools"] = [dict(tool) for tool in self.tools]
        values["extra"] = dict(self.extra)
        return {name: value for name, value in values.items() if value not in (None, [], {})}

    def merged(self, over: Params) -> Params:
        """These params with what `over` sets laid over them."""
        return Params.from_mapping(self.to_mapping() | over.to_mapping())


@dataclass(frozen=True, slots=True)
class Request:
    """One question to one model, ready to be sent.

    kind chat: `messages` counts, and the model's chat template is applied.
    kind completion: `prompt` goes to the model raw.
    """

    model: str
    kind: Literal["chat", "completion"]
    messages: tuple[Message, ...] = ()
    prompt: str = ""
    params: Params = field(default_factory=Params)
    timeout: float = 120.0

    def text(self) -> str:
        """All that the model is shown, for look-ups and display."""
        return self.prompt if self.kind == "completion" else "\n".join(m.content for m in self.messages)


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the server reported them; None where it did not. `prompt_tokens` includes cached ones."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `queued`: in our own queue, part of no latency. `total`: from sending to the last byte.
    `first_token`: from sending to the first piece of text, None where the answer was not streamed.
    loading, prefill, decode: what the server itself says it took to load the model, to read the prompt and to write the answer;
    None where it does not say."""

    started_at: float
    total: float
    queued: float = 0.0
    first_token: float | None = None
    loading: float | None = None
    prefill: float | None = None
    decode: float | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streamed answer; the last one carries the Completion. reasoning, refused: as there, of this piece."""

    text: str = ""
    completion: Completion | None = None
    reasoning: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer. finish_reason: stop, length, tool_calls or content_filter. source: who answered now; "text" is a release's
    fixed fallback text.

    reasoning: what a reasoning model thought before it answered, where the server tells. logprobs: one mapping a token (token,
    logprob, top_logprobs), if asked for. truncated: the server silently left out part of the prompt, and that was allowed.
    refused: the server marked the text as the model's refusal to answer. fallback: what answered in place of the release's own
    model. call_id: the call's row in the log; it is left out when two answers are compared.
    """

    text: str
    finish_reason: str | None
    usage: Usage
    timing: Timing
    model: str
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    source: Literal["model", "exact", "semantic", "text"] = "model"
    request_id: str | None = None
    reasoning: str = ""
    logprobs: tuple[Mapping[str, Any], ...] = ()
    truncated: bool = False
    refused: bool = False
    fallback: Literal["model", "text"] | None = None
    call_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """vectors: (texts, dimensions), float32, one row a text in the order that they were given."""

    vectors: np.ndarray
    usage: Usage
    timing: Timing
    model: str


@dataclass(frozen=True, slots=True)
class ServerMetrics:
    """What a server says of its own load; None where it does not. running, waiting: requests. cache_use: share of the KV cache,
    0 to 1. prefix_queries, prefix_hits: prompt tokens looked up and found in the prefix cache, since it started, as are
    prompt_tokens, completion_tokens and requests. at: Unix seconds."""

    at: float
    running: float | None = None
    waiting: float | None = None
    cache_use: float | None = None
    prefix_queries: float | None = None
    prefix_hits: float | None = None
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    requests: float | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What an endpoint says of a model; None where it does not say. digest: of the weights, hex.

    origin: stands in for the digest where there is none: which server it was, so that two servers are never taken for one.
    capabilities: such as completion, tools, thinking, vision, embedding. base: of a LoRA adapter, the model it adapts.
    """

    model: str
    digest: str | None = None
    context_length: int | None = None
    server_version: str | None = None
    origin: str = ""
    capabilities: tuple[str, ...] = ()
    base: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Does an endpoint answer? detail: one line for people; fix: what to do if not."""

    ok: bool
    detail: str
    version: str | None = None
    models: tuple[str, ...] = ()
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One immutable version of a prompt. Its identity is `digest`; the number belongs to the place it is kept in.

    kind chat: `messages`. kind text: one user message, in `text`. kind completion: `text`, sent raw, no chat template.
    config: what travels with the prompt, such as {"params": {...}}.
    """

    name: str
    version: int
    kind: PromptKind
    text: str = ""
    messages: tuple[Message, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    author: str = ""
    message: str = ""
    created_at: str = ""
    parent: str | None = None
    variables: tuple[str, ...] = ()
    digest: str = ""

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Example:
    """One line of a data set. inputs: the prompt's variables. `line` is where it stood, from 1."""

    id: str
    inputs: Mapping[str, Any]
    expected: Any = None
    context: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    split: str | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """What a scorer found. value None means unscored (with the reason in `explanation`), which is not 0."""

    value: float | None
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing that is compared: a prompt version on a model with params. `digest` names the measurement:
    it holds prompt digest, model, model digest (or the server, where it gives no digest) and params."""

    prompt: Prompt
    model: str
    params: Params
    model_digest: str | None = None
    server_version: str | None = None
    origin: str = ""
    tag: str = ""

    @property
    def label(self) -> str:
        """What tables print: `sentiment@2 · embedded/smollm2-135m`, and the tag that tells params apart."""
        return f"{self.prompt.ref} · {self.model}" + (f" · {self.tag}" if self.tag else "")

    @property
    def digest(self) -> str:
        """SHA-256 of what determines the answers."""
        return digest([self.prompt.digest, self.model, self.model_digest or self.origin, self.params.to_mapping()])


@dataclass(frozen=True, slots=True)
class Fallback:
    """What answers when the model of a release cannot: another model (`endpoint/model`; params None: the release's own), then,
    or instead, a fixed text."""

    model: str | None = None
    params: Params | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if self.model is not None:
            split_model(self.model)
        elif self.params is not None:
            raise InputError("fallback: params are those of its model: name the model too.")
        elif self.text is None:
            raise InputError("fallback: name a model (ENDPOINT/MODEL), a text, or both.")

    def to_mapping(self) -> dict[str, Any]:
        """Only what is set, in plain types."""
        params = None if self.params is None else self.params.to_mapping()
        values = {"model": self.model, "params": params, "text": self.text}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Release:
    """All that a feature of an application needs to call a model: one immutable snapshot that refers to nothing else.

    number: counts up in a feature, from 1. prompt: with its text, everything that it includes filled in. model_digest: of the
    weights when it was released, None where the server does not say. created_at: Unix seconds. evidence: the id of the
    comparison that justified it. digest: SHA-256 of what determines the answers, so not of number, date, author and reason.
    """

    feature: str
    number: int
    prompt: Prompt
    model: str
    params: Params = field(default_factory=Params)
    model_digest: str | None = None
    fallback: Fallback | None = None
    created_at: float = 0.0
    by: str = ""
    reason: str = ""
    evidence: str | None = None
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        check_name(self.feature, "feature")
        split_model(self.model)
        object.__setattr__(self, "digest", digest(self._content()))

    @property
    def prompt_ref(self) -> str:
        """`name@version`, where it was made."""
        return self.prompt.ref

    @property
    def prompt_digest(self) -> str:
        """The prompt's identity wherever it is kept."""
        return self.prompt.digest

    @property
    def label(self) -> str:
        """What tables print: `triage-api 3 · triage@2 · ollama/llama3.2:3b`."""
        return f"{self.feature} {self.number} · {self.prompt.ref} · {self.model}"

    def _content(self) -> dict[str, Any]:
        prompt = self.prompt
        return {
            "feature": self.feature,
            "prompt": {
                "name": prompt.name, "version": prompt.version, "kind": prompt.kind, "text": prompt.text,
                "messages": [_plain_message(message) for message in prompt.messages], "config": _plain(prompt.config),
                "variables": list(prompt.variables), "digest": prompt.digest,
            },
            "model": self.model, "model_digest": self.model_digest, "params": self.params.to_mapping(),
            "fallback": None if self.fallback is None else self.fallback.to_mapping(),
        }  # fmt: skip

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "version": _RELEASE_VERSION, **self._content(), "number": self.number, "created_at": self.created_at, "by": self.by,
            "reason": self.reason, "evidence": self.evidence, "digest": self.digest,
        }  # fmt: skip

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Release:
        """The inverse. InputError for an unknown version, for what is missing or malformed, and where the digest does not fit."""
        version = values.get("version")
        if version != _RELEASE_VERSION:
            raise InputError(
                f"this release is written in version {version!r}, and this program reads {_RELEASE_VERSION}: update it."
            )
        try:
            given = dict(values["prompt"])
            messages = tuple(_message_of(item) for item in given.pop("messages"))
            prompt = Prompt(messages=messages, variables=tuple(given.pop("variables")), **given)
            fallback = values["fallback"]
            if fallback is not None:
                params = fallback.get("params")
                over = None if params is None else Params.from_mapping(params, "fallback.params")
                fallback = Fallback(fallback.get("model"), over, fallback.get("text"))
            plain = {
                name: values[name]
                for name in ("feature", "number", "model", "model_digest", "created_at", "by", "reason")
            }
            made = cls(prompt=prompt, params=Params.from_mapping(values["params"]), fallback=fallback,
                       evidence=values["evidence"], **plain)  # fmt: skip
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"this is no release: {error!r}. Write it with Release.to_mapping.") from None
        if not isinstance(made.number, int) or isinstance(made.number, bool) or made.number < 1:
            raise InputError(f"this is no release: its number is {made.number!r}, and must be a whole number from 1.")
        if made.digest != values.get("digest"):
            raise InputError(
                f"release {made.feature} {made.number} was changed after it was made: its digest does not fit."
            )
        return made


@dataclass(frozen=True, slots=True)
class Call:
    """One row of the call log: who asked what of which model, what was measured when the answer was made, and what
    was spent now. A row of a comparison is the same row with the fields from `run_id` on.

    ended_at: Unix seconds when the call ended. latency, queued, first_token: seconds. cost: dollars that the answer cost when
    it was made; spent: dollars spent now (0 for a replay); None is unknown. source: model, exact or semantic.
    error: class name, None if it worked; error_message: one line. attempts: how often it was sent. truncated: as in `Completion`.
    loading: seconds of `latency` that the server took to load the model, where it says so. role: "judge" or "scorer" of a call
    that was made to score an answer. tool_calls: as in `Completion`.

    Of an application's call: feature, release (its number), and the exposure: experiment (`Experiment.key`), arm, exposure (why
    it came to this arm, see `online.assignment`), counted (whether the user is part of the analysis). fallback: "model" if this
    row is the call of the release's fallback model, in place of the call of `instead_of`; "text" if this call failed, and the
    release's fixed text, which is then `text`, was served. So an application's calls are the rows without `instead_of`.
    """

    call_id: str
    ended_at: float
    model: str
    kind: str
    params: Mapping[str, Any] = field(default_factory=dict)
    model_digest: str | None = None
    server_version: str | None = None
    prompt_ref: str | None = None
    prompt_digest: str | None = None
    request: str | None = None
    text: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    latency: float | None = None
    queued: float | None = None
    first_token: float | None = None
    loading: float | None = None
    truncated: bool = False
    cost: float | None = None
    spent: float | None = None
    source: str = "model"
    error: str | None = None
    error_message: str | None = None
    attempts: int = 1
    feature: str | None = None
    tenant: str | None = None
    user: str | None = None
    release: int | None = None
    experiment: str | None = None
    arm: str | None = None
    exposure: str | None = None
    counted: bool = False
    fallback: str | None = None
    instead_of: str | None = None
    run_id: str | None = None
    variant: str | None = None
    dataset_digest: str | None = None
    example_id: str | None = None
    example: int | None = None
    repeat: int | None = None
    block: int | None = None
    position: int | None = None
    in_flight: int | None = None
    seed: int | None = None
    warmup: bool = False
    scores: Mapping[str, float | None] = field(default_factory=dict)
    explanations: Mapping[str, str] = field(default_factory=dict)
    role: str | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Feedback:
    """What became of a call, told later: one row beside the call log. told_at: Unix seconds. From `feature` on it is the call's,
    as far as it is known."""

    call_id: str
    told_at: float
    name: str
    value: float
    comment: str = ""
    feature: str | None = None
    release: int | None = None
    experiment: str | None = None
    arm: str | None = None
    user: str | None = None
    tenant: str | None = None


class Interval(NamedTuple):
    """An estimate with a two-sided confidence interval; `level` such as 0.95."""

    estimate: float
    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class GuardrailCheck:
    """A score, latency or cost that must not get worse by more than its margin.

    held: the interval excludes a loss beyond the margin. broken: the interval lies wholly beyond it. unclear: neither.
    """

    name: str
    margin: float
    interval: Interval | None
    state: Literal["held", "broken", "unclear"]
    sentence: str


@dataclass(frozen=True, slots=True)
class Contrast:
    """One variant against the control on the primary score, paired by example.

    n: examples with both scored; discordant: how many of them differ; left_out: examples without a pair.
    n_needed: examples for 80% power to settle it within the margin, from the paired variance; None if it is not defined.
    method: the name of the interval, with its source in `evaluation.statistics`. sd: of the examples' differences.
    """

    variant: str
    control: str
    decision: Literal["better", "worse", "equivalent", "undecided"]
    interval: Interval | None
    margin: float
    n: int
    discordant: int
    left_out: int
    method: str
    p_value: float | None
    n_needed: int | None
    guardrails: tuple[GuardrailCheck, ...]
    sentence: str
    sd: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison says. `winner` is a variant's label: better on the primary score and no guardrail broken."""

    primary: str
    control: str
    contrasts: tuple[Contrast, ...]
    winner: str | None
    sentence: str

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON. Intervals are {estimate, low, high, level}."""
        return _plain(asdict(self))  # type: ignore[no-any-return]


def asdict_prompt(prompt: Prompt) -> dict[str, Any]:
    """A prompt in plain types, for JSON."""
    return _plain(asdict(prompt))  # type: ignore[no-any-return]


def _plain_message(message: Message) -> dict[str, Any]:
    """Role and content, and what else is set."""
    rest = {name: getattr(message, name) for name in ("parts", "tool_calls", "tool_call_id", "extra")}
    set_ = {name: _plain(value) for name, value in rest.items() if value}
    return {"role": message.role, "content": message.content, **set_}


def _message_of(values: Mapping[str, Any]) -> Message:
    given = dict(values)
    for name in ("parts", "tool_calls"):
        if name in given:
            given[name] = tuple(given[name])
    return Message(**given)


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return value._asdict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
