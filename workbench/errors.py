"""Every error that the workbench raises on purpose.

Each message says what happened, what was probably meant and what to do. Catch the branch you can act on:

    WorkbenchError
    ├── InputError (ValueError)       what you passed is wrong: field, value and fix are in the message
    │   ├── SettingsError             environment, .env or workbench.toml
    │   ├── PromptError               a prompt's text, variables or reference
    │   │   └── PromptNotFoundError
    │   ├── ReleaseNotFoundError      no such feature, or no release of that number
    │   ├── DatasetError              a data set's file, line or column
    │   └── ParameterError            a notebook parameter
    ├── CallError                     one call to a model failed; `retryable` says whether trying again can help
    │   ├── ConnectError              nobody listens there, or the connection broke before an answer
    │   ├── CallTimeoutError          no answer within the deadline
    │   ├── AuthenticationError       401, 403
    │   ├── ModelNotFoundError        the server does not have that model
    │   ├── ContextLengthError        the prompt is longer than the model's context
    │   ├── BadRequestError           the server refused the request for another reason
    │   ├── RateLimitError            429, with `retry_after` seconds where the server gave them
    │   ├── OverloadedError           503, likewise
    │   ├── ServerError               other 5xx
    │   ├── IncompleteStreamError     the stream ended without its end
    │   ├── BadAnswerError            a 200 that is not an answer (HTML, broken JSON, no choices)
    │   └── StoppedError              the caller stopped waiting: interrupted or cancelled
    ├── LangfuseError                 Langfuse does not answer (`away`), or refuses
    ├── StoreError                    the key-value store cannot be started, reached or used
    ├── StalePlanError                what is live has changed since you looked: look again
    ├── WeightsError                  a model's weights cannot be fetched or do not match their sha256
    ├── LaunchError                   a server cannot be started, or ended; `log` is what it wrote
    ├── RunError                      a comparison cannot start, resume or be read
    └── ReportError                   a notebook run failed; `path` is what it left
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "AuthenticationError",
    "BadAnswerError",
    "BadRequestError",
    "CallError",
    "CallTimeoutError",
    "ConnectError",
    "ContextLengthError",
    "DatasetError",
    "IncompleteStreamError",
    "InputError",
    "LangfuseError",
    "LaunchError",
    "ModelNotFoundError",
    "OverloadedError",
    "ParameterError",
    "PromptError",
    "PromptNotFoundError",
    "RateLimitError",
    "ReleaseNotFoundError",
    "ReportError",
    "RunError",
    "ServerError",
    "SettingsError",
    "StalePlanError",
    "StoppedError",
    "StoreError",
    "WeightsError",
    "WorkbenchError",
    "did_you_mean",
    "short_repr",
]


class WorkbenchError(Exception):
    """Base of all errors here."""


class InputError(WorkbenchError, ValueError):
    """Something that the caller passed is wrong."""


class SettingsError(InputError):
    """A setting is unknown, malformed or contradicts another."""


class PromptError(InputError):
    """A prompt cannot be created or rendered as asked."""


class PromptNotFoundError(PromptError, LookupError):
    """No such prompt, version or label."""


class ReleaseNotFoundError(InputError, LookupError):
    """No such feature, or no release of that number."""


class DatasetError(InputError):
    """A data set cannot be read; the message names file and line."""


class ParameterError(InputError):
    """A notebook does not have this parameter, or not with this type."""


class CallError(WorkbenchError):
    """One call to a model failed.

    retryable: whether the same request may succeed later.
    retry_after: seconds the server asked for, None where it did not.
    status: HTTP status, None where there was none.
    """

    retryable: bool = False

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        # a server's own words may hold terminal escapes; they are shown, not obeyed
        super().__init__("".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in message))
        self.status = status
        self.retry_after = retry_after


class ConnectError(CallError):
    """The server cannot be reached."""

    retryable = True


class CallTimeoutError(CallError):
    """The deadline passed without a complete answer."""

    retryable = True


class AuthenticationError(CallError):
    """The key is missing, wrong, or may not use this."""


class ModelNotFoundError(CallError):
    """The server does not have the model."""


class ContextLengthError(CallError):
    """Prompt (plus requested output) is longer than the context."""


class BadRequestError(CallError):
    """The server refused the request."""


class RateLimitError(CallError):
    """Too many requests."""

    retryable = True


class OverloadedError(CallError):
    """The server is up but takes no work now."""

    retryable = True


class ServerError(CallError):
    """The server failed."""

    retryable = True


class IncompleteStreamError(CallError):
    """The answer was cut off on the way."""

    retryable = True


class BadAnswerError(CallError):
    """The server said 200, and what came is not an answer."""


class StoppedError(CallError):
    """The caller stopped waiting for the answer."""

    retryable = True


class StoreError(WorkbenchError):
    """The key-value store cannot be started, reached or used."""


class LangfuseError(WorkbenchError):
    """Langfuse does not answer, or refuses.

    away: no answer, or none that can be used now; what was last known may be used instead. status: HTTP status, None where there
    was none. retry_after: seconds the server asked for, None where it did not.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None, away: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.away = away


class StalePlanError(WorkbenchError):
    """What is live has changed since it was looked at; nothing was changed."""


class WeightsError(WorkbenchError):
    """Weights are missing, cannot be fetched, or are not what was pinned."""


class LaunchError(WorkbenchError):
    """A server does not come up, or ended by itself; `log` names the file with what it wrote, None if it never ran."""

    def __init__(self, message: str, *, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


class RunError(WorkbenchError):
    """A comparison cannot start, resume or be read."""


class ReportError(WorkbenchError):
    """A notebook run failed; `path` names the HTML with what it had, None if not even that could be written."""

    def __init__(self, message: str, *, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The end of a message: ` Did you mean 'x'?` with the known name that is most like `name`, or nothing."""
    import difflib

    near = difflib.get_close_matches(name, list(known), 1, cutoff)
    return f" Did you mean {near[0]!r}?" if near else ""


def short_repr(value: object, most: int = 60) -> str:
    """At most so many characters of a value's repr, for a message."""
    text = repr(value[: 2 * most] if isinstance(value, str) else value)
    return text if len(text) <= most else f"{text[: most - 1]}…"
