"""Nested spans of a pipeline, such as a retrieval and the calls after it: one object for `with`, `async with` and as a decorator.

    @span(kind="retrieval")
    def search(question): ...

    async with span("answer", user="u1") as here:
        documents = search(question)
        reply = await bench.call("helpdesk", question=question, context=documents)
        here.set(output=reply.text)

What is opened or called inside of a span belongs to it: it carries the span's trace, and its user, tenant, session and feature
where it names none. It works over `await`, in tasks and threads that copy the context, and in generators, where the span is the
current one only while the generator's own code runs.
"""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from functools import wraps
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, overload

from workbench.calls import otel
from workbench.calls.context import scored_now
from workbench.calls.rows import Span
from workbench.errors import InputError

__all__ = ["KINDS", "ActiveSpan", "Spans", "about", "in_trace", "span", "write_spans_to"]

# kind -> gen_ai.operation.name
KINDS: Mapping[str, str] = {
    "workflow": "invoke_workflow", "retrieval": "retrieval", "generation": "chat", "embedding": "embeddings",
    "tool": "execute_tool", "agent": "invoke_agent",
}  # fmt: skip
_LONGEST = 2000  # characters of an error's message
_MOST_DOCUMENTS = 1000

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Sink(Protocol):
    """Takes finished spans."""

    def add_span(self, span: Span) -> Span:
        """Write one; gives it as it was written."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is handed down."""

    trace_id: str
    span_id: str
    values: Mapping[str, str]
    tags: tuple[str, ...]
    sink: Sink | None


_current: ContextVar[_Scope | None] = ContextVar("workbench_span", default=None)
_default: list[Sink] = []  # the log of the workbench that was made last


def write_spans_to(sink: Sink) -> None:
    """Where spans go that are opened through `workbench.span`, outside of any other."""
    _default[:] = [sink]


def about(fields: Mapping[str, Any]) -> dict[str, Any]:
    """These fields of a call's row, with the trace's, and the span's user, tenant, session and feature where they name none."""
    scope, fields = _current.get(), scored_now() | dict(fields)
    if scope is None:
        return {**fields, **in_trace()}
    given = {name: value for name, value in fields.items() if value is not None}
    return {**fields, **scope.values, "trace_id": scope.trace_id, "parent_id": scope.span_id, **given}


def in_trace() -> dict[str, str]:
    """trace_id and parent_id of what is made now, empty outside of a span of ours or of OpenTelemetry's."""
    scope = _current.get()
    if scope is not None:
        return {"trace_id": scope.trace_id, "parent_id": scope.span_id}
    around = otel.around()
    return {} if around is None else {"trace_id": around[0], "parent_id": around[1]}


class ActiveSpan:
    """A span that runs: it may be told more of itself."""

    def __init__(self, name: str, kind: str, values: Mapping[str, str], tags: tuple[str, ...], sink: Sink | None,
                 attributes: Mapping[str, Any]) -> None:  # fmt: skip
        self.name, self.kind, self.attributes = name, kind, dict(attributes)
        self._before = _current.get()
        before = self._before
        own = (*before.tags, *(tag for tag in tags if tag not in before.tags)) if before else tags
        self.operation = KINDS[kind]
        outside = otel.around() if before is None else None
        self._parent = before.span_id if before else outside[1] if outside else None
        self._otel = otel.start(f"{self.operation} {name}")
        ids = otel.ids(self._otel)
        trace_id, span_id = ids or (before.trace_id if before else _hex(16), _hex(8))
        above = {**before.values, **values} if before else dict(values)
        self._scope = _Scope(trace_id, span_id, above, own, sink or (before.sink if before else None))
        self._input: str | None = None
        self._output: str | None = None
        self._documents: list[str] | None = None
        self._wall, self._clock = time.time(), time.monotonic()

    @property
    def trace_id(self) -> str:
        """Of all that belongs together."""
        return self._scope.trace_id

    @property
    def span_id(self) -> str:
        """Of this step."""
        return self._scope.span_id

    def set(
        self,
        *,
        input: str | None = None,  # noqa: A002  (the conventions' word)
        output: str | None = None,
        documents: Iterable[Any] | None = None,
        **attributes: Any,
    ) -> None:
        """Keep what went in and came out, what was found, and anything else that JSON can hold. documents: texts, or what has
        one under "text", "content" or "page_content"."""
        self._input = input if input is not None else self._input
        self._output = output if output is not None else self._output
        if documents is not None:
            self._documents = [_text_of(document) for document in documents]
        self.attributes.update(attributes)

    def found(self, document: Any) -> None:
        """One document more."""
        self._documents = [] if self._documents is None else self._documents
        if len(self._documents) < _MOST_DOCUMENTS:
            self._documents.append(_text_of(document))

    @contextmanager
    def current(self) -> Iterator[None]:
        """What runs inside belongs to this span."""
        token = self.enter()
        try:
            yield
        finally:
            self.leave(token)

    def enter(self) -> tuple[Token[_Scope | None], Any]:
        """Make it the current one."""
        return _current.set(self._scope), otel.attach(self._otel)

    def leave(self, token: tuple[Token[_Scope | None], Any]) -> None:
        """Make the one before it the current one again."""
        otel.detach(token[1])
        try:
            _current.reset(token[0])
        except ValueError:  # a generator that is closed from elsewhere
            if _current.get() is self._scope:
                _current.set(self._before)

    def end(self, error: BaseException | None = None) -> None:
        """Write it."""
        scope, values = self._scope, self._scope.values
        if isinstance(error, (GeneratorExit, StopIteration, StopAsyncIteration)):
            error = None  # nobody wanted more
        attributes: dict[str, Any] = {"gen_ai.operation.name": self.operation, **self.attributes}
        if scope.values.get("session"):
            attributes["gen_ai.conversation.id"] = scope.values["session"]
        ended = self._wall + (time.monotonic() - self._clock)
        done = Span(
            scope.span_id, scope.trace_id, ended, self.name, self.kind, self._wall,
            self._parent, type(error).__name__ if error is not None else None,
            " ".join(str(error).split())[:_LONGEST] if error is not None else None, self._input, self._output,
            self._documents, attributes, values.get("feature"), values.get("tenant"), values.get("user"),
            values.get("session"), scope.tags,
        )  # fmt: skip
        sink = scope.sink or (_default[0] if _default else None)
        otel.finish(self._otel, sink.add_span(done) if sink is not None else done)


class SpanMaker:
    """What `span(...)` gives: for `with`, `async with`, and as a decorator, where each call makes a span of its own."""

    def __init__(self, name: str | None, kind: str, values: Mapping[str, str], tags: tuple[str, ...], sink: Sink | None,
                 attributes: Mapping[str, Any]) -> None:  # fmt: skip
        if kind not in KINDS:
            raise InputError(f"span: kind = {kind!r} must be one of {', '.join(KINDS)}.")
        for field, value in values.items():
            if not isinstance(value, str):
                raise InputError(f"span: {field} = {value!r} must be a text.")
        self._name, self._kind, self._values, self._tags = name, kind, values, tags
        self._sink, self._attributes = sink, attributes
        self._open: dict[str, tuple[ActiveSpan, Any]] = {}  # by span_id: several tasks may be in it at once

    def _start(self, name: str | None = None) -> ActiveSpan:
        named = self._name or name or self._kind
        return ActiveSpan(named, self._kind, self._values, self._tags, self._sink, self._attributes)

    def __enter__(self) -> ActiveSpan:
        begun = self._start()
        self._open[begun.span_id] = begun, begun.enter()
        return begun

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        scope = _current.get()
        mine = scope.span_id if scope is not None and scope.span_id in self._open else next(reversed(self._open))
        begun, token = self._open.pop(mine)
        begun.leave(token)
        begun.end(error)

    async def __aenter__(self) -> ActiveSpan:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: _Function) -> _Function:
        """The function, with a span around each call; of a retrieval, what it returns or yields are the documents."""
        if inspect.isasyncgenfunction(function):
            made: Any = self._async_generator(function)
        elif inspect.isgeneratorfunction(function):
            made = self._generator(function)
        elif inspect.iscoroutinefunction(function):
            made = self._coroutine(function)
        else:
            made = self._plain(function)
        return wraps(function)(made)  # type: ignore[return-value]

    def _plain(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            with _ended(self._start(function.__name__)) as begun, begun.current():
                result = function(*args, **kwargs)
                self._keep(begun, result)
                return result

        return run

    def _coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def run(*args: Any, **kwargs: Any) -> Any:
            with _ended(self._start(function.__name__)) as begun, begun.current():
                result = await function(*args, **kwargs)
                self._keep(begun, result)
                return result

        return run

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with _ended(self._start(function.__name__)) as begun:
                inner = function(*args, **kwargs)
                step, given = inner.send, None
                while True:
                    try:
                        with begun.current():
                            item = step(given)
                    except StopIteration as done:
                        return done.value
                    if self._kind == "retrieval":
                        begun.found(item)
                    try:
                        step, given = inner.send, (yield item)
                    except GeneratorExit:
                        with begun.current():
                            inner.close()
                        raise
                    except BaseException as error:  # noqa: BLE001  (the generator's to handle)
                        step, given = inner.throw, error

        return run

    def _async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def run(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            with _ended(self._start(function.__name__)) as begun:
                inner = function(*args, **kwargs)
                step, given = inner.asend, None
                while True:
                    try:
                        with begun.current():
                            item = await step(given)
                    except StopAsyncIteration:
                        return
                    if self._kind == "retrieval":
                        begun.found(item)
                    try:
                        step, given = inner.asend, (yield item)
                    except GeneratorExit:
                        with begun.current():
                            await inner.aclose()
                        raise
                    except BaseException as error:  # noqa: BLE001  (the generator's to handle)
                        step, given = inner.athrow, error

        return run

    def _keep(self, begun: ActiveSpan, result: Any) -> None:
        if self._kind == "retrieval" and isinstance(result, Sequence) and not isinstance(result, (str, bytes)):
            begun.set(documents=result)


@contextmanager
def _ended(begun: ActiveSpan) -> Iterator[ActiveSpan]:
    error: BaseException | None = None
    try:
        yield begun
    except BaseException as raised:
        error = raised
        raise
    finally:
        begun.end(error)


class Spans:
    """Makes spans. sink: where they go that are opened outside of any other; None: to the workbench that was made last."""

    def __init__(self, sink: Sink | None = None) -> None:
        self._sink = sink

    @overload
    def __call__(self, name: _Function, /) -> _Function: ...
    @overload
    def __call__(
        self, name: str | None = None, /, *, kind: str = ..., user: str | None = ..., tenant: str | None = ...,
        session: str | None = ..., feature: str | None = ..., tags: Sequence[str] = ..., **attributes: Any,
    ) -> SpanMaker: ...  # fmt: skip
    def __call__(
        self,
        name: Any = None,
        /,
        *,
        kind: str = "workflow",
        user: str | None = None,
        tenant: str | None = None,
        session: str | None = None,
        feature: str | None = None,
        tags: Sequence[str] = (),
        **attributes: Any,
    ) -> Any:
        """A span, for `with`, `async with` or as a decorator (then its name is the function's unless it is given one).

        kind: workflow, retrieval, generation, embedding, tool or agent. user, tenant, session, feature: of all that is made
        inside, unless it says otherwise. tags: words to find the trace by. attributes: see `ActiveSpan.set`.
        """
        values = {"user": user, "tenant": tenant, "session": session, "feature": feature}
        given = {field: value for field, value in values.items() if value is not None}
        if callable(name):
            return SpanMaker(None, kind, given, tuple(tags), self._sink, attributes)(name)
        if name is not None and not isinstance(name, str):
            raise InputError(f"span: name = {name!r} must be a text.")
        return SpanMaker(name, kind, given, tuple(tags), self._sink, attributes)

    def __enter__(self) -> Self:
        raise InputError('name the span: with span("search", kind="retrieval"): …')

    def __exit__(self, *_: object) -> None: ...


span = Spans()


def _hex(size: int) -> str:
    return os.urandom(size).hex()  # a seed that somebody sets must not make two traces one


def _text_of(document: Any) -> str:
    if isinstance(document, str):
        return document
    for name in ("text", "content", "page_content"):
        value = document.get(name) if isinstance(document, Mapping) else getattr(document, name, None)
        if isinstance(value, str):
            return value
    return str(document)
