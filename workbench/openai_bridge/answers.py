"""A Completion as OpenAI's API would say it: one JSON object, or the events of a stream.

Each answer has a field `workbench` besides: the model as `endpoint/model`, who answered (source), dollars (cost, None if
unknown) and seconds (latency, first_token, queued).
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from workbench.records import Chunk, Completion, Embeddings, Usage, split_model

__all__ = ["DONE", "Events", "answer_body", "embedding_body", "event"]

DONE = b"data: [DONE]\n\n"


def event(body: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(body) + b"\n\n"


def answer_body(kind: str, completion: Completion, cost: float | None) -> dict[str, Any]:
    """A `chat.completion` or a `text_completion`."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": completion.finish_reason}
    if kind == "chat":
        choice["message"] = _message(completion)
        choice["logprobs"] = _chat_logprobs(completion.logprobs)
    else:
        choice["text"] = completion.text
        choice["logprobs"] = _text_logprobs(completion.logprobs)
    return {
        "id": completion.request_id or _new_id(kind),
        "object": "chat.completion" if kind == "chat" else "text_completion",
        "created": int(completion.timing.started_at),
        "model": split_model(completion.model)[1],
        "choices": [choice],
        "usage": _usage(completion.usage),
        "workbench": _about(completion, cost),
    }


class Events:
    """The events of one streamed answer. usage: whether the last chunk tells the token counts. clock: Unix seconds."""

    def __init__(self, kind: str, model: str, *, usage: bool, clock: Callable[[], float] = time.time) -> None:
        self._chat = kind == "chat"
        self._usage = usage
        self._head = {
            "id": _new_id(kind),
            "object": "chat.completion.chunk" if self._chat else "text_completion",
            "created": int(clock()),
            "model": split_model(model)[1],
        }
        self._text = self._thoughts = 0

    def begin(self) -> Iterator[bytes]:
        """Who speaks, before anything is said."""
        if self._chat:
            yield self._event({"delta": {"role": "assistant", "content": ""}})

    def piece(self, chunk: Chunk) -> Iterator[bytes]:
        """What a chunk without a Completion brings."""
        if chunk.reasoning and self._chat:
            self._thoughts += len(chunk.reasoning)
            yield self._event({"delta": {"reasoning": chunk.reasoning, "reasoning_content": chunk.reasoning}})
        if chunk.text:
            self._text += len(chunk.text)
            name = "refusal" if chunk.refused else "content"
            yield self._event({"delta": {name: chunk.text}} if self._chat else {"text": chunk.text})

    def end(self, completion: Completion, cost: float | None) -> Iterator[bytes]:
        """What the pieces did not bring (tool calls and logprobs come here), the finish reason and the usage."""
        left = Chunk(
            completion.text[self._text :], None, completion.reasoning[self._thoughts :], completion.refused
        )  # fmt: skip
        yield from self.piece(left)
        last: dict[str, Any] = {"finish_reason": completion.finish_reason}
        if self._chat:
            if completion.tool_calls:
                calls = [{"index": index, **call} for index, call in enumerate(completion.tool_calls)]
                yield self._event({"delta": {"tool_calls": calls}})
            last |= {"delta": {}, "logprobs": _chat_logprobs(completion.logprobs)}
        else:
            last |= {"text": "", "logprobs": _text_logprobs(completion.logprobs)}
        yield self._event(last, workbench=_about(completion, cost))
        if self._usage:
            yield event(self._head | {"choices": [], "usage": _usage(completion.usage)})

    def _event(self, choice: dict[str, Any], **fields: Any) -> bytes:
        whole = {"index": 0, "finish_reason": None, "logprobs": None} | choice
        return event(self._head | {"choices": [whole]} | fields)


def embedding_body(found: Embeddings, *, encoded: bool) -> dict[str, Any]:
    """A list of `embedding`s. encoded: in base64 of little-endian float32, as the openai package asks for by default."""
    vectors = found.vectors.astype("<f4", copy=False)
    rows = (
        [base64.b64encode(row.tobytes()).decode() for row in vectors]
        if encoded
        else vectors.tolist()
    )  # fmt: skip
    tokens = found.usage.prompt_tokens
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)],
        "model": split_model(found.model)[1],
        "usage": None if tokens is None else {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _message(completion: Completion) -> dict[str, Any]:
    body: dict[str, Any] = {"role": "assistant", "content": completion.text, "refusal": None}
    if completion.refused:
        body |= {"content": None, "refusal": completion.text}
    if completion.tool_calls:
        body["tool_calls"] = list(completion.tool_calls)
        body["content"] = body["content"] or None
    if completion.reasoning:  # servers name it in two ways, and code reads either
        body |= {"reasoning": completion.reasoning, "reasoning_content": completion.reasoning}
    return body


def _usage(usage: Usage) -> dict[str, Any] | None:
    """None where the server counted only a part: an invented zero would be summed up."""
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    body: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    if usage.cached_tokens is not None:
        body["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        body["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return body


def _about(completion: Completion, cost: float | None) -> dict[str, Any]:
    timing = completion.timing
    return {
        "model": completion.model, "source": completion.source, "cost": cost, "latency": timing.total,
        "first_token": timing.first_token, "queued": timing.queued, "truncated": completion.truncated,
    }  # fmt: skip


def _chat_logprobs(found: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if not found:
        return None
    return {
        "content": [
            _token(item["token"], item["logprob"])
            | {"top_logprobs": [_token(token, value) for token, value in item["top_logprobs"].items()]}
            for item in found
        ]
    }


def _token(token: str, logprob: float) -> dict[str, Any]:
    # a token that is a part of a character has no text of its own, so its bytes are not known here
    known = "\N{REPLACEMENT CHARACTER}" not in token
    return {"token": token, "logprob": logprob, "bytes": list(token.encode()) if known else None}


def _text_logprobs(found: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if not found:
        return None
    offsets, at = [], 0
    for item in found:
        offsets.append(at)
        at += len(item["token"])
    return {
        "tokens": [item["token"] for item in found],
        "token_logprobs": [item["logprob"] for item in found],
        "top_logprobs": [dict(item["top_logprobs"]) or None for item in found],
        "text_offset": offsets,
    }


def _new_id(kind: str) -> str:
    return f"{'chatcmpl' if kind == 'chat' else 'cmpl'}-{uuid.uuid4().hex}"
