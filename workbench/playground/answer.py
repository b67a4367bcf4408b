"""One answer of a playground as it comes: text, and what is told of it under its column."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from workbench.errors import WorkbenchError
from workbench.playground.inputs import as_typed
from workbench.records import Chunk, Completion
from workbench.tables import format_money, format_number, format_seconds

__all__ = ["Answer", "State"]

State = Literal["waiting", "streaming", "done", "stopped", "failed"]
_SOURCES = {"model": "model", "exact": "exact cache", "semantic": "semantic cache"}


@dataclass(slots=True)
class Answer:
    """model: `endpoint/model`. prompt: such as "triage@2", or "triage@2, edited". first_token: seconds; tokens_per_second: after
    it; both, and cost (dollars, None if unknown), are those of when the answer was made. tool_calls: in OpenAI's form. fits:
    whether the text fits the JSON schema that was asked for, None where none was; misfit: why not. failure: why it failed.
    tag: the params of its column alone."""

    model: str
    prompt: str
    state: State = "waiting"
    text: str = ""
    reasoning: str = ""
    failure: str = ""
    first_token: float | None = None
    tokens_per_second: float | None = None
    tokens: int | None = None
    cost: float | None = None
    source: str = "model"
    finish_reason: str | None = None
    call_id: str | None = None
    tool_calls: list[Mapping[str, Any]] = field(default_factory=list)
    fits: bool | None = None
    misfit: str = ""
    tag: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ("done", "stopped", "failed")

    @property
    def title(self) -> str:
        """What was asked of whom."""
        return " · ".join(filter(None, (self.prompt, self.model, self.tag)))

    @property
    def whole(self) -> str:
        """The text, and each tool call in a line below it: `search({"query": "shoes"})`."""
        return "\n".join(filter(None, (self.text, *self.calls_shown())))

    def calls_shown(self) -> list[str]:
        """Each tool call as people read it."""
        return [f"{name}({as_typed(arguments)})" for name, arguments in map(_call, self.tool_calls)]

    @property
    def expected(self) -> str | list[dict[str, Any]]:
        """What the scorers take for right if this answer is: its text or, of an answer without one, its tool calls."""
        if self.text.strip() or not self.tool_calls:
            return self.text
        return [{"name": name, "arguments": arguments} for name, arguments in map(_call, self.tool_calls)]

    def figures(self) -> list[tuple[str, str]]:
        """(what, value) as people read them."""
        if self.state in ("waiting", "failed"):
            return []
        first = ("first token", format_seconds(self.first_token))
        if self.state != "done":
            return [first]
        cached = self.source != "model"
        money = f"$0 (saved {format_money(self.cost)})" if cached else format_money(self.cost)
        speed = self.tokens_per_second
        schema = [] if self.fits is None else [("schema", "fits" if self.fits else "does not fit")]
        return [
            first,
            ("speed", "–" if speed is None else f"{format_number(speed, 1)} tokens/s"),
            ("tokens", format_number(self.tokens, 0)),
            ("cost", money),
            ("source", _SOURCES.get(self.source, self.source)),
            *schema,
        ]

    def remark(self) -> str:
        """What a reader must know of it besides; "" if there is nothing."""
        if self.state == "stopped":
            return "Stopped: this is what there was."
        if self.state != "done":
            return ""
        told = ["Cut off at its length limit: raise max_tokens."] if self.finish_reason == "length" else []
        told += ["Filtered by the server."] if self.finish_reason == "content_filter" else []
        told += [f"Not as the JSON schema asks: {self.misfit}."] if self.fits is False else []
        told += ["Times are those of when the answer was made."] if self.source != "model" else []
        return " ".join(told)

    async def follow(
        self,
        chunks: AsyncGenerator[Chunk, None],
        cost: Callable[[Completion], float | None],
        check: Callable[[str], str] | None = None,
    ) -> None:
        """Take the pieces as they come. What fails is told in `failure`; a cancel closes the stream, and so the connection.

        check: why a text does not fit the schema that was asked for, "" if it does.
        """
        began = time.monotonic()
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    if chunk.text or chunk.reasoning:
                        if self.first_token is None:
                            self.first_token = time.monotonic() - began
                        self.state = "streaming"
                        self.text += chunk.text
                        self.reasoning += chunk.reasoning
                    if chunk.completion is not None:
                        self._finish(chunk.completion, cost, check)
            if not self.over:
                self.fail("The stream ended without an answer: run it again.")
        except asyncio.CancelledError:
            if not self.over:
                self.state = "stopped"
            raise
        except WorkbenchError as error:
            self.fail(str(error))
        except Exception as error:  # noqa: BLE001  one column's failure is shown in it, and the others go on
            self.fail(f"{type(error).__name__}: {error}")

    def fail(self, why: str) -> None:
        """No answer, or not all of it."""
        self.state, self.failure = "failed", why

    def _finish(
        self,
        done: Completion,
        cost: Callable[[Completion], float | None],
        check: Callable[[str], str] | None,
    ) -> None:
        self.state = "done"
        self.text, self.reasoning = self.text or done.text, self.reasoning or done.reasoning
        self.first_token, self.tokens_per_second = done.timing.first_token, done.tokens_per_second
        self.tokens, self.source, self.finish_reason = done.usage.completion_tokens, done.source, done.finish_reason
        self.cost, self.call_id = cost(done), done.call_id
        self.tool_calls = [dict(call) for call in done.tool_calls]
        if check is not None and (self.text or not self.tool_calls):
            self.misfit = check(self.text)
            self.fits = not self.misfit

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Answer:
        """The inverse; what another version wrote more is left out. TypeError if something is missing."""
        known = {item.name for item in fields(cls)}
        made = cls(**{name: value for name, value in values.items() if name in known})
        made.text, made.reasoning, made.failure = made.text or "", made.reasoning or "", made.failure or ""
        return made


def _call(call: Mapping[str, Any]) -> tuple[str, Any]:
    """Name and arguments of a tool call in OpenAI's form; arguments that are no JSON stay a text."""
    function = call.get("function")
    inner = function if isinstance(function, Mapping) else call
    arguments = inner.get("arguments", {})
    if isinstance(arguments, str):
        with contextlib.suppress(ValueError):
            arguments = json.loads(arguments or "{}")
    return str(inner.get("name") or "?"), arguments
