"""One call of an application: which model to ask next, and the rows that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from workbench.cache.lookup import Meaning
from workbench.calls.context import context_of
from workbench.calls.spans import about
from workbench.client import RETRIES, new_call_id
from workbench.errors import BadRequestError, CallError, InputError, StoppedError
from workbench.online.assignment import Assignment
from workbench.prompts import render
from workbench.records import Call, Completion, Params, Release, Request, Timing, Usage

__all__ = ["Ask", "Way"]


class Way(NamedTuple):
    """One model to ask."""

    request: Request
    meaning: Meaning
    retries: int


@dataclass(slots=True)
class Ask:
    """One call of an application. began: monotonic seconds. rows: of the calls of models that it took.

    error: whether the release's own model did not answer. latency: seconds; None where no model answered now.
    """

    release: Release
    given: Assignment
    user: str | None
    tenant: str | None
    values: Mapping[str, Any]
    timeout: float
    began: float
    rows: list[Call] = field(default_factory=list)
    error: bool = True
    latency: float | None = None
    _model: str = ""
    _params: Params = field(default_factory=Params)
    _on_fallback: bool = False
    _before: int = 0

    def first(self) -> Way:
        """The release's own model, tried once more at most if there is a fallback. Raises PromptError."""
        self._model, self._params = self.release.model, self.release.params
        return self._way(RETRIES if self.release.fallback is None else 1)

    def after(self, error: CallError | InputError) -> Way | None:
        """The fallback's model; None if there is none, if it was asked, or if it must not be: what a server refused to answer is
        not put to another one."""
        fallback = self.release.fallback
        if fallback is None or fallback.model is None or self._on_fallback:
            return None
        if isinstance(error, (BadRequestError, StoppedError)):
            return None
        self._on_fallback = True
        self._model, self._params = fallback.model, fallback.params or self.release.params
        return self._way(RETRIES if fallback.text is None else 1)

    def has_text(self, error: CallError | InputError) -> bool:
        """Whether a fixed text answers now."""
        fallback = self.release.fallback
        return fallback is not None and fallback.text is not None and not isinstance(error, StoppedError)

    def say_text(self, now: float) -> Completion:
        """The fixed text, as the answer of the call that failed last."""
        fallback, last = self.release.fallback, self.rows[-1]
        text = "" if fallback is None or fallback.text is None else fallback.text
        self.rows[-1] = replace(last, text=text, fallback="text")
        took = now - self.began
        return Completion(
            text, "stop", Usage(), Timing(last.ended_at - took, took), last.model, source="text", fallback="text",
            call_id=last.call_id,
        )  # fmt: skip

    def answered(self, completion: Completion, now: float) -> Completion:
        """A model, or a cache, has answered."""
        if self._on_fallback:
            self.latency = now - self.began  # so long it took who asked
            return replace(completion, fallback="model")
        self.error = False
        self.latency = completion.timing.total if completion.source == "model" else None
        return completion

    def failed(self, error: CallError | InputError, at: float) -> None:
        """Writes a row where the client wrote none, because nothing was sent. at: Unix seconds."""
        if self._on_fallback:
            first = self.rows[0]
            error.add_note(f"Before that the release's own model {first.model} failed: {first.error_message}")
        if len(self.rows) > self._before:
            return
        kind = "completion" if self.release.prompt.kind == "completion" else "chat"
        said = " ".join(str(error).split())[:2000]
        self.rows.append(
            Call(
                new_call_id(), at, self._model, kind, params=self._params.to_mapping(), error=type(error).__name__,
                error_message=said, **about(self.fields()),
            )
        )  # fmt: skip

    def fields(self) -> dict[str, Any]:
        """What the client does not know of a row."""
        release, given = self.release, self.given
        return {
            "feature": release.feature, "release": release.number, "prompt_ref": release.prompt.ref,
            "prompt_digest": release.prompt.digest, "user": self.user, "tenant": self.tenant, "arm": given.arm,
            "experiment": given.experiment, "exposure": given.why, "counted": given.counted,
            "fallback": "model" if self._on_fallback else None,
            "instead_of": self.rows[0].call_id if self._on_fallback else None, "context": context_of(self.values),
        }  # fmt: skip

    def _way(self, retries: int) -> Way:
        self._before = len(self.rows)
        prompt, model, params, timeout = self.release.prompt, self._model, self._params, self.timeout
        # what it does not use belongs to other releases
        values = {name: self.values[name] for name in prompt.variables if name in self.values}

        def build(given: Mapping[str, object]) -> Request:
            return Request(model, *render(prompt, given), params, timeout)

        return Way(build(values), Meaning(prompt, values, build), retries)
