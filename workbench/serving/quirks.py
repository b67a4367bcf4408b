"""What a server would ignore, change or leave unsaid without a word: refused before it is sent, or set right afterwards.

Sources: vLLM's documentation of structured outputs (the guided_* fields are gone since 0.12); TGI's router (`lib.rs`,
`validation.rs`, `chat.rs`) and its openapi.json of 3.3; a llama-server that was asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from workbench.errors import BadRequestError, ContextLengthError
from workbench.records import Request, Usage
from workbench.serving.wire import Answer

__all__ = ["StopTexts", "refuse", "settle"]

_GUIDED = {
    "guided_json": "json", "guided_regex": "regex", "guided_choice": "choice", "guided_grammar": "grammar",
    "guided_whitespace_pattern": "whitespace_pattern", "structural_tag": "structural_tag",
}  # fmt: skip
_TGI_USUAL = frozenset((
    "logprobs", "max_completion_tokens", "max_tokens", "messages", "model", "prompt", "seed", "stop", "stream", "stream_options",
    "temperature", "tool_choice", "tools", "top_logprobs", "top_p",
))  # fmt: skip
_TGI_TAKES = {
    "chat": _TGI_USUAL - {"prompt"} | {"frequency_penalty", "guideline", "response_format", "tool_prompt"},
    "completion": _TGI_USUAL - {"logprobs", "messages", "stream_options", "tool_choice", "tools", "top_logprobs"}
    | {"frequency_penalty", "repetition_penalty"},
}
# who is known to hold a raw completion to a schema: by response_format, or llama-server by json_schema
_SCHEMA_ON_COMPLETIONS = ("llama-server", "vllm")


def refuse(request: Request, kind: str) -> None:
    """Raise BadRequestError for what this kind of server would leave out of account silently."""
    params = request.params
    if kind == "tgi":
        _refuse_tgi(request)
    elif kind == "vllm" and params.extra:
        for name in params.extra:
            if name in _GUIDED or name.startswith("guided_"):
                raise BadRequestError(_gone(request.model, name))
    if request.kind == "completion":
        for name in ("tools", "tool_choice", "think"):
            if getattr(params, name) not in (None, ()):
                raise BadRequestError(
                    f"{request.model}: params.{name} needs a chat: a completion's text goes to the model raw, and {name} would "
                    "be ignored. Use a prompt of kind chat or text, or leave it out."
                )
        if params.schema is not None and kind not in _SCHEMA_ON_COMPLETIONS and "response_format" not in params.extra:
            raise BadRequestError(
                f"{request.model}: it is not known that {kind} holds a raw completion to a schema; some servers ignore it "
                "without a word. Use a prompt of kind chat or text, or send what your server documents in params.extra."
            )


def _gone(model: str, name: str) -> str:
    if name not in _GUIDED:
        return (
            f"{model}: vLLM ignores {name} since 0.12, without a word. Leave it out; the server chooses the backend, or is told "
            "with `vllm serve --structured-outputs-config`."
        )
    schema = ", or params.schema" if name == "guided_json" else ""
    return (
        f"{model}: vLLM ignores {name} since 0.12, without a word. Write params.extra = "
        f'{{"structured_outputs": {{"{_GUIDED[name]}": …}}}}{schema} instead.'
    )


def _refuse_tgi(request: Request) -> None:
    params, model = request.params, request.model
    for name in params.extra:
        if name == "presence_penalty":
            raise BadRequestError(
                f"{model}: TGI takes presence_penalty + 2 as its repetition penalty, so that 0 is a strong penalty and no "
                "value means what it means elsewhere. Leave it out, or use frequency_penalty."
            )
        if name not in _TGI_TAKES[request.kind]:
            choice = ""
            if name.startswith("guided_") or name == "structured_outputs":
                choice = ' For a choice send {"response_format": {"type": "regex", "value": "yes|no"}}.'
            more = sorted(_TGI_TAKES[request.kind] - _TGI_USUAL)
            raise BadRequestError(
                f"{model}: TGI does nothing with {name}, and says nothing. Leave it out of params.extra.{choice} Beside params a "
                f"{request.kind} takes {', '.join(more)}."
            )
    if params.think is not None:
        raise BadRequestError(f"{model}: TGI cannot be told how hard to think. Leave params.think out, or use vLLM.")
    if request.kind == "completion" and params.logprobs is not None:
        raise BadRequestError(f"{model}: TGI gives no logprobs for completions. Use a prompt of kind chat or text.")
    if any(message.tool_calls and (message.content or message.parts) for message in request.messages):
        raise BadRequestError(
            f"{model}: TGI forgets the tool calls of a message that also has text. Leave the content of that message empty."
        )


def settle(request: Request, kind: str, answer: Answer, usage: Usage, *, streamed: bool) -> tuple[Answer, Usage]:
    """What the server meant. Raises ContextLengthError if it cut the answer without saying so."""
    if kind not in ("llama-server", "tgi"):
        return answer, usage
    params = request.params
    asked, given = params.max_tokens, usage.completion_tokens
    if answer.finish_reason == "length" and asked is not None and given is not None and given < asked:
        limit = (
            "TGI cuts at what is left of --max-total-tokens (max_total_tokens in its /info), and a max_tokens above 1024 "
            "counts as 1024"
            if kind == "tgi"
            else "the context of a slot was full (n_ctx in its /props; llama-server divides --ctx-size by --parallel)"
        )
        raise ContextLengthError(
            f"{request.model} cut the answer after {given:,} tokens although max_tokens is {asked:,}, and did not say so: "
            f"{limit}. Set max_tokens to {given:,} or less, shorten the prompt, or start the server with more.",
            status=200,
        )
    if kind == "tgi":
        if answer.finish_reason == "stop":
            answer = answer._replace(text=StopTexts(params.stop).without(answer.text))
        if params.tools and not answer.tool_calls and not streamed and params.tool_choice in (None, "auto"):
            # it generated twice, for the choice and for the text, and counts the first with the second's text
            answer, usage = answer._replace(finish_reason=None), replace(usage, completion_tokens=None)
    return answer, usage


class StopTexts:
    """Takes the stop text off the end of an answer, where a server leaves it; in a stream, holds back what may become one."""

    __slots__ = ("_said", "_stops", "_text")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._text = ""
        self._said = 0

    def without(self, text: str) -> str:
        """The text without the stop text that it ends with."""
        ending = max((stop for stop in self._stops if text.endswith(stop)), key=len, default="")
        return text[: len(text) - len(ending)]

    def take(self, piece: str) -> str:
        """Add a piece; returns what can be told already."""
        self._text += piece
        return self._tell(len(self._text) - self._held())

    def rest(self, text: str) -> str:
        """What is still to be told of this, the whole text."""
        self._text = text
        return self._tell(len(text))

    def _tell(self, until: int) -> str:
        said, self._said = self._said, max(self._said, until)
        return self._text[said : self._said]

    def _held(self) -> int:
        """How many characters at the end may be the beginning of a stop text."""
        for count in range(min(len(self._text), max(map(len, self._stops), default=0)), 0, -1):
            end = self._text[-count:]
            if any(stop.startswith(end) for stop in self._stops):
                return count
        return 0
