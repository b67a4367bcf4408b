"""Langfuse: the one place for its address, credentials, client and circuit breaker. Prompts, traces and data sets build on it.

The SDK's generated client (`LangfuseAPI`) makes the requests, one attempt each: its own retries and caches block in outages.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.errors import LangfuseError, SettingsError
from workbench.settings import Secret, Settings
from workbench.stores.breaker import Breaker
from workbench.stores.last_known import LastKnown

if TYPE_CHECKING:
    from langfuse.api.client import LangfuseAPI
    from langfuse.api.core import RequestOptions

__all__ = ["Langfuse", "LangfuseHealth", "LangfuseSource", "open_langfuse"]

T = TypeVar("T")
_READ = 1  # seconds to connect, and to each answer, where an application waits
_ASKED = 10  # where somebody asked for it by name: push, pull, status
_HEALTH = 5  # of each of two answers
_PATIENCE = 30.0  # the longest `Retry-After` that such a one waits
_log = logging.getLogger("workbench.langfuse")


@dataclass(frozen=True, slots=True)
class LangfuseHealth:
    """Does it answer, and know our keys? version: its own. project: the name of the keys' project. fix: what to do if not."""

    ok: bool
    detail: str
    version: str | None = None
    project: str = ""
    fix: str = ""


class Langfuse:
    """One project of one Langfuse server. Any number of threads may use it; nothing is imported or connected before it is asked.

    home: where what was last known is kept, None for nowhere. clock: seconds, monotonic. The repr shows no key.
    """

    def __init__(
        self,
        url: str,
        public_key: str,
        secret_key: Secret,
        *,
        home: Path | None = None,
        prepare: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address = url
        self.breaker = Breaker(clock=clock)
        self.public_key = public_key
        self.secret_key = secret_key
        self._home = home
        self._prepare = prepare
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._told = False  # that the keys are refused
        self._api: LangfuseAPI | None = None
        self._close: Callable[[], object] = lambda: None

    def __repr__(self) -> str:
        return f"Langfuse({self.address})"

    @property
    def identity(self) -> str:
        """16 hex digits that name server and project: two of them never share what is kept."""
        return hashlib.sha256(f"{self.address}\n{self.public_key}".encode()).hexdigest()[:16]

    def last_known(self, what: str, *, fresh: float = 60.0) -> LastKnown:
        """A cache of this project's answers. what: a name such as "prompts". fresh: seconds."""
        folder = None if self._home is None else self._home / "langfuse" / self.identity / what
        breaker = self.breaker
        return LastKnown(
            folder, ready=lambda: breaker.closed, due=lambda: not breaker.remaining, fresh=fresh, clock=self._clock,
            prepare=self._prepare,
        )  # fmt: skip

    def ask(self, call: Callable[[LangfuseAPI, RequestOptions], T], what: str) -> T:
        """One exchange, within about a second. what: said in errors, such as "prompt triage".

        call: gets client and request options. Raises LangfuseError: at once while the breaker is open; `away` where it is an
        outage, `status` where the server refused.
        """
        if not self.breaker.admit():
            raise LangfuseError(
                f"{what}: Langfuse at {self.address} does not answer ({self.breaker.reason}); it is asked again in "
                f"{self.breaker.remaining:.0f} s.",
                away=True,
            )
        return self._exchange(call, what, _READ, warn=True)

    def insist(self, call: Callable[[LangfuseAPI, RequestOptions], T], what: str) -> T:
        """The same for what somebody asked for by name: patient, asks even if the breaker is open, and waits where the server
        says so (429) or where writers got in each other's way (of 16 creates of one prompt at once, 10 are refused)."""
        for attempt in range(1, 9):
            try:
                return self._exchange(call, what, _ASKED, warn=False)
            except LangfuseError as error:
                clash = error.status == 400 and "unique constraint" in str(error).lower()
                busy = error.status == 429 and (error.retry_after or 1.0) <= _PATIENCE
                if attempt == 8 or not (clash or busy):
                    raise
                pause = (error.retry_after or 1.0) if busy else 0.05 * 2**attempt
                self._sleep(pause * (1 + random.random()))  # noqa: S311  (so that they do not meet again)
        raise AssertionError

    def health(self) -> LangfuseHealth:
        """Whether it answers and knows the keys. Never raises."""
        try:
            said: Any = self._exchange(
                lambda api, options: api.health.health(request_options=options), "health", _HEALTH, warn=False
            )
        except LangfuseError as error:
            return LangfuseHealth(False, "does not answer", fix=str(error))
        version = f"Langfuse {said.version}"
        try:
            found: Any = self._exchange(
                lambda api, options: api.projects.get(request_options=options), "project", _HEALTH, warn=False
            )
        except LangfuseError as error:
            return LangfuseHealth(
                False, "refuses the keys" if error.status in (401, 403) else "fails", version, fix=str(error)
            )
        project = found.data[0].name if found.data else "?"
        return LangfuseHealth(True, f"answers, project {project}", version, project)

    def close(self) -> None:
        """Close its connections. It may be used again."""
        with self._lock:
            close, self._close, self._api = self._close, lambda: None, None
        close()

    def _exchange(self, call: Callable[[LangfuseAPI, RequestOptions], T], what: str, seconds: int, *, warn: bool) -> T:
        import httpx

        api = self._client()
        from langfuse.api.core.api_error import ApiError
        from pydantic import ValidationError

        closed = self.breaker.closed
        try:
            answer = call(api, {"timeout_in_seconds": seconds, "max_retries": 0})
        except ApiError as error:
            found = self._refused(error.status_code, error.headers, error.body, what)
        except httpx.TimeoutException:
            found = self._failed(f"no answer within {seconds} s", what)
        except httpx.HTTPError as error:
            found = self._failed(" ".join(str(error).split()) or type(error).__name__, what)
        except ValidationError as error:  # one odd thing in it is no outage
            self.breaker.succeeded()
            why = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
            found = LangfuseError(f"{what}: what Langfuse at {self.address} answers cannot be read: {why}.", status=200)
        except ValueError as error:
            found = self._failed(f"an answer that is not Langfuse's ({error})", what)
        else:
            self.breaker.succeeded()
            return answer
        if warn and closed and not self.breaker.closed:
            _log.warning(
                "Langfuse at %s: %s. What was last known of it is used until it answers.",
                self.address,
                self.breaker.reason,
            )
        raise found

    def _failed(
        self, why: str, what: str, status: int | None = None, retry_after: float | None = None
    ) -> LangfuseError:
        self.breaker.failed(why, retry_after=retry_after)
        return LangfuseError(
            f"{what}: Langfuse at {self.address} does not answer: {why}. Start it, or correct LANGFUSE_HOST.",
            status=status, retry_after=retry_after, away=True,
        )  # fmt: skip

    def _refused(self, status: int | None, headers: Any, body: Any, what: str) -> LangfuseError:
        said = _said(body)
        if status == 429:
            return self._failed(f"too many requests (429): {said}", what, status, _retry_after(headers))
        if status is None or status >= 500:
            return self._failed(f"{status}: {said}", what, status)
        if status == 413:
            return LangfuseError(
                f"{what}: that is more than Langfuse at {self.address} takes at once (413).", status=status
            )
        if not isinstance(body, dict):
            return self._failed(f"{status} with a page that is not Langfuse's", what, status)
        self.breaker.succeeded()  # it answers, if not what was hoped for
        if status in (401, 403):
            fix = "Check LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY, and that they are of this server."
            if not self._told:
                self._told = True
                _log.warning(
                    "Langfuse at %s refuses the keys (%s). What was last known of it is used.", self.address, status
                )
            # reads go on from what is known: a key that was replaced must not stop an application
            return LangfuseError(
                f"{what}: Langfuse at {self.address} refuses the keys ({status}): {said}. {fix}",
                status=status,
                away=True,
            )
        return LangfuseError(f"{what}: Langfuse at {self.address} refuses ({status}): {said}.", status=status)

    def _client(self) -> LangfuseAPI:
        with self._lock:
            if self._api is None:
                try:
                    import httpx
                    from langfuse.api.client import LangfuseAPI
                except ImportError:
                    raise SettingsError(
                        "Langfuse is in the settings, and its SDK is not installed: pip install 'llm-workbench[langfuse]'."
                    ) from None
                http = httpx.Client(timeout=_ASKED)
                self._close = weakref.finalize(self, http.close)  # also for those who never call `close`
                self._api = LangfuseAPI(
                    base_url=self.address,
                    username=self.public_key,
                    password=self.secret_key.reveal,
                    x_langfuse_sdk_name="llm-workbench",
                    x_langfuse_public_key=self.public_key,
                    httpx_client=http,
                )
            return self._api


class LangfuseSource:
    """The one Langfuse of a workbench, opened when it is first called for: prompts, traces and data sets share it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._opened: Langfuse | None = None

    def __call__(self) -> Langfuse | None:
        """It, or None if there is none in the settings. SettingsError where only a part of it is set."""
        with self._lock:
            if self._opened is None:
                self._opened = open_langfuse(self._settings)
            return self._opened

    @property
    def is_set(self) -> bool:
        """Whether the settings have one, if only in part."""
        return bool(self._settings.langfuse_public_key or self._settings.langfuse_secret_key is not None)

    def need(self) -> Langfuse:
        """It; SettingsError if there is none in the settings."""
        found = self()
        if found is None:
            raise SettingsError(
                f"{self._settings.sources['registry']} asks for Langfuse, and there is none in the settings: set LANGFUSE_HOST, "
                "LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY."
            )
        return found

    def required(self) -> Langfuse:
        """It, for what was asked of Langfuse by name; SettingsError if there is none in the settings."""
        found = self()
        if found is None:
            raise SettingsError(
                "there is no Langfuse in the settings: set LANGFUSE_HOST, LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY. Both keys "
                "are shown in its project's settings, under API keys."
            )
        return found

    def close(self) -> None:
        """Close its connections."""
        if self._opened is not None:
            self._opened.close()


def open_langfuse(settings: Settings) -> Langfuse | None:
    """The Langfuse of the settings, None if there is none. SettingsError where only a part of it is set."""
    public, secret = settings.langfuse_public_key, settings.langfuse_secret_key
    if not public and secret is None:
        if settings.sources["langfuse_url"] == "default":
            return None
        missing = "LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are"
    elif not public or secret is None:
        missing = f"LANGFUSE_{'SECRET' if public else 'PUBLIC'}_KEY is"
    else:
        return Langfuse(settings.langfuse_url, public, secret, home=settings.home, prepare=settings.make_home)
    raise SettingsError(
        f"Langfuse is set only in part: {missing} missing. Both keys are shown in its project's settings, under API keys."
    )


def _said(body: Any) -> str:
    """What a server said, in one line that does nothing to a terminal."""
    if isinstance(body, dict):
        details = body.get("error")
        more = (
            [item.get("message", "") for item in details if isinstance(item, dict)] if isinstance(details, list) else []
        )
        text = ": ".join(str(part) for part in (body.get("message") or body.get("error"), *more) if part)
    else:
        text = str(body)
    line = " ".join("".join(c if c.isprintable() or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text).split())
    return line[:300].rstrip(".") or "no reason given"


def _retry_after(headers: Any) -> float | None:
    found = {str(name).lower(): value for name, value in (headers or {}).items()}.get("retry-after")
    try:
        return None if found is None else max(0.0, float(found))
    except ValueError:
        return None
