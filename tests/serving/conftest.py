"""Fixtures for the runtimes: doubles of servers, and the real embedded weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from serving_doubles import RecordedServer

from workbench.settings import Endpoint, Secret, Settings


@pytest.fixture
def recorded() -> Iterator[Callable[..., Any]]:
    """recorded(name, key=...) starts a double that answers as a real server was recorded to."""
    with ExitStack() as stack:
        yield lambda name, key="": stack.enter_context(RecordedServer(name, key))


@pytest.fixture
def endpoint() -> Callable[..., Endpoint]:
    """endpoint(url, ...) makes an endpoint named vllm, with other fields as given."""

    def make(*urls: str, key: str = "", **fields: Any) -> Endpoint:
        given: dict[str, Any] = {"name": "vllm", "kind": "vllm", "key_setting": "VLLM_API_KEY"} | fields
        return Endpoint(urls=urls, key=Secret(key) if key else None, **given)

    return make


@pytest.fixture
def settings_in() -> Callable[..., Settings]:
    """settings_in(folder, weights=...) makes settings for a project in that folder."""

    def make(project: Path, weights: Path | None = None, endpoints: dict[str, Endpoint] | None = None) -> Settings:
        return Settings(
            project=project, home=project / ".workbench", prompts=project / "prompts", datasets=project / "datasets",
            notebooks=project / "notebooks", reports=project / "reports", weights=weights or project / "weights",
            model="embedded/smollm2-135m", author="test", endpoints=MappingProxyType(endpoints or {}),
            sources=MappingProxyType({}),
        )  # fmt: skip

    return make
