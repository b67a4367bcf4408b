"""Releases on a real Valkey; variants to release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from workbench.prompts import draft
from workbench.records import Params, Variant
from workbench.releases import Releases
from workbench.stores.keyvalue import KeyValue

if TYPE_CHECKING:
    from conftest import Server

Make = Callable[..., Variant]


@pytest.fixture
def variant() -> Make:
    """variant(3, "text {{message}}", temperature=0.5) holds triage@3."""

    def make(version: int = 1, text: str = "Label: {{message}}", **params: Any) -> Variant:
        prompt = replace(draft("triage", text), version=version)
        return Variant(prompt, "ollama/llama3.2:3b", Params.from_mapping(params), "ab" * 32)

    return make


@pytest.fixture
def releases_of(tmp_path: Path) -> Iterator[Callable[[str], Releases]]:
    """releases_of(url): as an application has them, whose home is the test's folder."""
    with ExitStack() as stack:

        def make(url: str) -> Releases:
            kv = KeyValue(url, tmp_path / "home")
            stack.callback(kv.close)
            releases = Releases(kv, tmp_path / "home", author="Ada")
            stack.callback(releases.close)
            return releases

        yield make


@pytest.fixture
def releases(server: Server, releases_of: Callable[[str], Releases]) -> Releases:
    """On `server`."""
    return releases_of(server.url)
