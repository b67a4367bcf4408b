"""The same code on the workbench's client and on the openai package's own, against the same double."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
from serving_doubles import RecordedServer

from workbench import Workbench

KEY = "sk-not-to-be-seen"


@pytest.fixture
def vllm() -> Iterator[Any]:
    """A double that answers as a real vLLM was recorded to."""
    with RecordedServer("vllm", KEY) as server:
        yield server


@pytest.fixture
def ollama() -> Iterator[Any]:
    """A double that answers as a real Ollama was recorded to."""
    with RecordedServer("ollama") as server:
        yield server


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


@pytest.fixture
def unused_port(free_port: Callable[[], int]) -> int:
    """A port on which nobody listens."""
    return free_port()
