"""`Vllm`: the command line of vLLM 0.32, and what becomes of the process, with a double of the program."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench import errors
from workbench.serving import local_server, open_runtime
from workbench.serving.launch import Vllm
from workbench.serving.local_server import check_port, key_file
from workbench.serving.process import ServerProcess
from workbench.settings import Secret, Settings, load_settings

KEY = "key-that-nobody-sees"
DOUBLE = Path(__file__).with_name("vllm_double.py")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path, environ={"VLLM_API_KEY": KEY})


@pytest.fixture
def port(free_port: Callable[[], int]) -> int:
    return free_port()


@pytest.fixture
def double(tmp_path: Path, settings: Settings, port: int, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Vllm]:
    """double(mode) is a Vllm whose program is the double; nothing of it is left after the test."""
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S {shlex.quote(str(DOUBLE))} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)

    def make(mode: str = "ready", **fields: Any) -> Vllm:
        monkeypatch.setenv("VLLM_DOUBLE", mode)
        return Vllm("m", **({"port": port, "settings": settings} | fields))

    return make


def pids(server: Vllm) -> list[int]:
    """The double's process and its child's, as it wrote them into its log."""
    assert server.log is not None
    found = re.search(r"^pids (\d+) (\d+)$", server.log.read_text(), re.MULTILINE)
    assert found is not None
    return [int(found[1]), int(found[2])]


def test_the_command_is_that_of_vllm(settings: Settings) -> None:
    """Each argument by today's name; what is not given is not there."""
    plain = Vllm("meta-llama/Llama-3.1-8B-Instruct", settings=settings)
    full = Vllm(
        "/models/my llama", tensor_parallel=4, max_model_len=8192, memory_fraction=0.9, port=8001, host="0.0.0.0",  # noqa: S104
        served_name="llama", lora={"support": "/l/support", "odd": "/l/a,b"}, prompt_token_details=False, tool_parser="hermes",
        reasoning_parser="qwen3", extra=["--max-num-seqs", "64"], executable="/opt/vllm/bin/vllm", settings=settings,
    )  # fmt: skip
    assert [
        "vllm", "serve", "meta-llama/Llama-3.1-8B-Instruct", "--host", "127.0.0.1", "--port", "8000",
        "--enable-prompt-tokens-details",
    ] == plain.command()  # fmt: skip
    assert [
        "/opt/vllm/bin/vllm", "serve", "/models/my llama", "--host", "0.0.0.0", "--port", "8001",  # noqa: S104
        "--tensor-parallel-size", "4",
        "--max-model-len", "8192", "--gpu-memory-utilization", "0.9", "--served-model-name", "llama", "--enable-lora",
        "--lora-modules", "support=/l/support", '{"name": "odd", "path": "/l/a,b"}', "--enable-auto-tool-choice",
        "--tool-call-parser", "hermes", "--reasoning-parser", "qwen3", "--max-num-seqs", "64",
    ] == full.command()  # fmt: skip
    assert full.command() == shlex.split(str(full))
    assert ("http://127.0.0.1:8001/v1", "llama") == (full.url, full.model)
    assert "http://[::1]:8000/v1" == Vllm("m", host="::1", settings=settings).url


def test_the_key_goes_by_the_environment_alone(settings: Settings, tmp_path: Path) -> None:
    """From the settings, from the caller, or a new one each time; no text shows it."""
    known = Vllm("m", settings=settings)
    given = Vllm("m", key="mine", settings=settings)
    new = [Vllm("m", settings=load_settings(tmp_path, environ={})) for _ in range(2)]
    assert [KEY, "mine"] == [known.env()["VLLM_API_KEY"], given.env()["VLLM_API_KEY"]]
    assert new[0].key != new[1].key
    assert len(new[0].key.reveal()) >= 32
    assert len(Vllm("m", key="", settings=load_settings(tmp_path, environ={})).key.reveal()) >= 32
    shown = f"{known} {known!r} {known.env()!r} {known.env()} {known.endpoint()!r} {known.command()}"
    assert KEY not in shown
    assert known.endpoint().key == Secret(KEY)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": ""}, "model = ''"),
        ({"model": "--help"}, "does not begin with '-'"),
        ({"model": "vllm/meta-llama/Llama-3.1-8B"}, "leave out 'vllm/'"),
        ({"tensor_parallel": 0}, "tensor_parallel = 0 must be a whole number from 1"),
        ({"tensor_parallel": True}, "tensor_parallel = True"),
        ({"max_model_len": 2.5}, "max_model_len = 2.5"),
        ({"memory_fraction": 90}, "memory_fraction = 90 .* Did you mean 0.9?"),
        ({"memory_fraction": 0}, "above 0"),
        ({"port": 70000}, "from 1 to 65535"),
        ({"port": "8000"}, "port = '8000'"),
        ({"host": "http://gpu:8000"}, "a host alone"),
        ({"host": "gpu:8000"}, "the port is an argument of its own"),
        ({"host": "gpu a"}, "neither an IP address nor a name"),
        ({"served_name": "-x"}, "served_name"),
        ({"lora": {"a=b": "/l"}}, "no '='"),
        ({"tool_parser": ""}, "tool_parser = ''"),
        ({"extra": "--max-num-seqs 64"}, "shlex.split"),
        ({"extra": ["--api-key", "k"]}, "list of processes"),
        ({"extra": ["--api_key=k"]}, "VLLM_API_KEY"),
        ({"extra": ["--max_model_len=5"]}, "use the argument max_model_len"),
        ({"extra": ["-tp", "2"]}, "use the argument tensor_parallel"),
        ({"key": "two words"}, "printable ASCII"),
    ],
)
def test_wrong_arguments_are_named(settings: Settings, arguments: dict[str, Any], message: str) -> None:
    """Before anything is started, with what to write in their place."""
    with pytest.raises(errors.InputError, match=message) as caught:
        Vllm(**({"model": "m", "settings": settings} | arguments))
    assert "two words" not in str(caught.value)


async def test_without_vllm_the_command_is_shown(settings: Settings) -> None:
    """It can be run where vLLM is; the message names both settings."""
    server = Vllm("meta-llama/Llama-3.1-8B-Instruct", executable="no-such-vllm", settings=settings)
    with pytest.raises(errors.LaunchError, match="VLLM_BASE_URL and VLLM_API_KEY") as caught:
        await server.start()
    assert str(server) in str(caught.value)
    assert not server.installed
    assert not server.running


async def test_the_double_starts_answers_and_stops(
    double: Callable[..., Vllm], port: int, gone: Callable[..., bool]
) -> None:
    """Progress is told, the runtime reaches it, and afterwards the port is free and no process is left."""
    told: list[tuple[float, str]] = []
    server = double()
    await server.start(timeout=60, progress=lambda *what: told.append(what))
    numbers = pids(server)
    assert server.running
    assert await server.healthy()
    runtime = open_runtime(server.endpoint(), server.settings)
    assert ("m",) == (await runtime.health()).models
    await runtime.aclose()
    with pytest.raises(errors.LaunchError, match="runs already"):
        await server.start()
    commands = "".join(Path(f"/proc/{number}/cmdline").read_text() for number in [*numbers, _parent(numbers[0])])
    assert "guard.py" in commands
    assert KEY not in commands
    await server.stop()
    assert not server.running
    assert gone(numbers)
    check_port("127.0.0.1", port, "nobody")
    assert "INFO loaded m" == told[-1][1]
    assert [seconds for seconds, _ in told] == sorted(seconds for seconds, _ in told)


async def test_the_log_of_the_double_is_its_owners_alone(double: Callable[..., Vllm], settings: Settings) -> None:
    """It lies in the workbench home, which git ignores."""
    async with double() as server:
        assert server.log is not None
        assert settings.servers == server.log.parent
        assert 0o600 == server.log.stat().st_mode & 0o777
        assert 0o700 == server.log.parent.stat().st_mode & 0o777
        assert "*\n" == (settings.home / ".gitignore").read_text()


async def test_a_double_that_dies_is_quoted(double: Callable[..., Vllm], gone: Callable[..., bool]) -> None:
    """What happened without the stack's frames, and without the key; its child is gone too."""
    server = double("dies")
    with pytest.raises(errors.LaunchError, match=r"exit code 3.*\n(.*\n)*.*CUDA out of memory") as caught:
        await server.start(timeout=60)
    said = str(caught.value)
    assert "engine.py" not in said
    assert "^^^" not in said
    assert KEY not in said
    assert "the key is ****" in said
    assert server.log == caught.value.log
    assert gone(pids(server))


async def test_a_double_that_is_never_ready_is_given_up(double: Callable[..., Vllm]) -> None:
    """After the timeout, by the clock that was given; nothing is left."""
    clock = iter(range(0, 10_000, 250))
    server = double("silent", clock=lambda: float(next(clock)))
    with pytest.raises(errors.LaunchError, match=r"not ready within 600 s.*timeout"):
        await server.start(timeout=600)
    assert not server.running


async def test_a_cancelled_start_of_the_double_leaves_nothing(
    double: Callable[..., Vllm], gone: Callable[..., bool]
) -> None:
    """As does an interrupted one."""
    waiting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        if server.log is not None and "pids" in server.log.read_text():
            waiting.set()
        await asyncio.sleep(0.02)

    server = double("silent", sleep=sleep)
    task = asyncio.create_task(server.start(timeout=60))
    await asyncio.wait_for(waiting.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gone(pids(server))


async def test_a_port_that_is_taken(double: Callable[..., Vllm], port: int) -> None:
    """Found before vLLM is started, which would need a minute to say so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        server = double()
        with pytest.raises(errors.LaunchError, match=f"cannot listen at 127.0.0.1:{port}.*another port"):
            await server.start(timeout=60)
    assert server.log is None


async def test_a_double_that_knows_another_key_is_another_server(double: Callable[..., Vllm]) -> None:
    """Its health alone does not make it ours."""
    with pytest.raises(errors.LaunchError, match="does not know the key"):
        await double("foreign").start(timeout=60)


async def test_a_double_that_ends_by_itself_is_noticed(double: Callable[..., Vllm], gone: Callable[..., bool]) -> None:
    """With the end of its log, and without the processes that it left."""
    async with double("crash") as server:
        await asyncio.to_thread(_crash, server.port)
        with pytest.raises(errors.LaunchError, match=r"ended by itself, with exit code 3(.*\n)*.*out of memory"):
            await asyncio.wait_for(_until_it_raises(server.healthy), 60)
        assert gone(pids(server))


def test_a_process_that_takes_no_sigterm_is_killed(
    double: Callable[..., Vllm], tmp_path: Path, gone: Callable[..., bool]
) -> None:
    """So are its children, after the grace; the double ignores the signal."""
    server = double("stubborn")
    process = ServerProcess(
        [str(tmp_path / "bin" / "vllm"), *server.command()[1:]], name="the double", log=tmp_path / "log",
        environ=os.environ | server.env(), grace=0.2,
    )  # fmt: skip
    while "INFO" not in process.tail():
        assert process.running
    numbers = [int(number) for number in re.findall(r"\d+", process.tail().split("\n")[0])]
    process.stop()
    assert not process.running
    assert gone(numbers)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans are not adopted")
async def test_the_doubles_child_with_a_session_of_its_own_ends_too(
    double: Callable[..., Vllm], gone: Callable[..., bool]
) -> None:
    """It is not in the group that is told to end."""
    async with double("leaves") as server:
        child = pids(server)[1]
        assert child == os.getsid(child)
    assert gone(pids(server))


STARTER = """
import asyncio, sys, time
from workbench.serving.launch import Vllm
async def main():
    server = Vllm("m", port={port})
    await server.start(timeout=60)
    print(server.log.read_text().split("\\n")[0], flush=True)
    time.sleep(600)
asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_double_ends_with_who_started_it(
    double: Callable[..., Vllm], tmp_path: Path, port: int, number: int, gone: Callable[..., bool]
) -> None:
    """However that ended, such as a kernel that is restarted."""
    double()
    environ = os.environ | {"VLLM_API_KEY": KEY, "WORKBENCH_PROJECT": str(tmp_path)}
    environ["PYTHONPATH"] = str(Path(local_server.__file__).parents[2])
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER.format(port=port)], stdout=subprocess.PIPE, text=True, env=environ
    )
    with starter:
        assert starter.stdout is not None
        line = starter.stdout.readline()
        starter.send_signal(number)
    assert gone([int(text) for text in line.split()[1:]])


def test_a_log_is_shown_as_plain_text(tmp_path: Path) -> None:
    """Colours and bars that draw over themselves are taken out, and signs that act on a terminal are replaced."""
    script = r"print('\x1b[31mred\x1b[0m \x07bell\n 10%\r 50%\r100% \nsecret-1\n\n')"
    process = ServerProcess(
        [sys.executable, "-S", "-c", script], name="x", log=tmp_path / "log", environ={}, hide="secret-1"
    )
    while process.running:
        pass
    assert "red \N{REPLACEMENT CHARACTER}bell\n100%\n****" == process.tail()
    assert "****" == process.last_line()
    process.stop()


def test_a_key_is_kept_for_its_owner_only(settings: Settings) -> None:
    """Made once, read again; one that others could read is replaced."""
    key, path = key_file(settings, "vllm")
    assert 0o600 == path.stat().st_mode & 0o777
    assert (key, path) == key_file(settings, "vllm")
    assert key.reveal() == path.read_text().strip()
    assert key != key_file(settings, "embedded")[0]
    path.chmod(0o644)
    assert key != key_file(settings, "vllm")[0]
    assert 0o600 == path.stat().st_mode & 0o777
    assert [".gitignore", "embedded.key", "vllm.key"] == sorted(item.name for item in path.parent.iterdir())


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    """Names the folder and the setting."""
    (tmp_path / "file").write_text("")
    settings = load_settings(tmp_path, environ={"WORKBENCH_HOME": str(tmp_path / "file")})
    with pytest.raises(errors.LaunchError, match="set WORKBENCH_HOME"):
        key_file(settings, "vllm")


def _parent(number: int) -> int:
    return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])


async def _until_it_raises(ask: Callable[[], Awaitable[object]]) -> None:
    while True:
        await ask()


def _crash(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"GET /crash HTTP/1.0\r\n\r\n")
        connection.recv(1)


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path, gone: Callable[..., bool]) -> Iterator[None]:
    yield
    mine = [
        int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _read(path)
    ]
    assert gone(mine)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
