"""Telling someone: a webhook that is posted to, or a command that is started, when a report failed or breached a threshold."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from workbench.addresses import masked
from workbench.errors import InputError

__all__ = ["Alert", "alert_of", "check_webhook", "find_program"]

_ATTEMPTS = 3
_NO_HOST = "its address"


@dataclass(frozen=True, slots=True)
class Alert:
    """Who is told. webhook: an address that is posted a JSON object with `text` (which Slack and Mattermost show) and all of
    result.json; it is a secret. command: a program and its arguments, no shell, with the same JSON on its standard input.
    timeout: seconds for each attempt. missing: what should have named the webhook and does not, empty if nothing should."""

    webhook: str | None = None
    command: Sequence[str] = ()
    timeout: float = 10.0
    missing: str = ""

    def __repr__(self) -> str:
        return f"Alert(webhook={'****' if self.webhook else None}, command={list(self.command)!r})"

    def send(self, text: str, result: Mapping[str, Any], *, sleep: Callable[[float], object] = time.sleep) -> list[str]:
        """Tell everybody; returns what went wrong, a line each. Nothing is raised, and nothing is tried for ever: the webhook up
        to three times, the command once."""
        body = orjson.dumps({"text": text, "result": dict(result)})
        problems = [f"{self.missing} holds no address of a webhook"] if self.missing else []
        if self.webhook:
            problems += self._post(self.webhook, body, sleep)
        if self.command:
            problems += self._start(body)
        return problems

    def _post(self, url: str, body: bytes, sleep: Callable[[float], object]) -> list[str]:
        import httpx

        where, said = f"the webhook at {_host(url)}", ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                sleep(2.0**attempt)
            try:
                answer = httpx.post(
                    url, content=body, headers={"content-type": "application/json"}, timeout=self.timeout
                )
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                said = f"{where} does not answer: {type(error).__name__}"
                continue
            if answer.is_success:
                return []
            said = f"{where} answered with {answer.status_code}"
            if answer.status_code < 500 and answer.status_code != 429:
                break
        return [said]

    def _start(self, body: bytes) -> list[str]:
        program = self.command[0]
        try:
            done = subprocess.run(  # noqa: S603
                list(self.command), input=body, timeout=self.timeout, capture_output=True, check=False
            )
        except FileNotFoundError:
            return [f"the command {program!r} is not there"]
        except subprocess.TimeoutExpired:
            return [f"the command {program!r} took longer than {self.timeout:g} s and was ended"]
        except OSError as error:
            return [f"the command {program!r} cannot be started: {error}"]
        if done.returncode:
            last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            return [f"the command {program!r} exited with {done.returncode}{f': {last[0]}' if last else ''}"]
        return []


def alert_of(
    webhook: str = "", variable: str = "", command: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> Alert | None:
    """Who is told, None if nobody is to be. variable: of the environment, that holds the webhook's address where `webhook` is
    empty; if it does not, the alert says so when there is something to tell."""
    url = webhook or (os.environ if env is None else env).get(variable, "")
    missing = f"the variable {variable}" if variable and not url else ""
    return Alert(url or None, tuple(command), missing=missing) if url or command or missing else None


def check_webhook(url: str) -> None:
    """Raises InputError for an address that nothing can be posted to, without showing it: it is a secret."""
    if not url.startswith(("http://", "https://")) or _host(url) == _NO_HOST:
        raise InputError("the webhook's address must begin with http:// or https:// and name a host.")


def find_program(command: Sequence[str]) -> None:
    """Raises InputError for a command whose program is not there."""
    if command and shutil.which(command[0]) is None:
        raise InputError(
            f"the command {command[0]!r} is not there: it could not be started when there is something to tell."
        )


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(masked(url))
    return parts.hostname or _NO_HOST
