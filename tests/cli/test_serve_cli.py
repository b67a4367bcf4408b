"""`workbench serve`, in processes of its own: with a double of vLLM, and with the real embedded model."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workbench import weights
from workbench.serving.local_server import check_port

DOUBLE = Path(__file__).parents[1] / "serving" / "vllm_double.py"
COMMAND = [sys.executable, "-m", "workbench", "serve"]


@pytest.fixture
def port(free_port: Callable[[], int]) -> int:
    return free_port()


@pytest.fixture
def double(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """double(mode) puts a double of the program vllm on PATH."""
    program = project / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S {shlex.quote(str(DOUBLE))} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return lambda mode: monkeypatch.setenv("VLLM_DOUBLE", mode)


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120)


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The running command and the lines that it printed when it was ready."""
    with subprocess.Popen(
        [*COMMAND, *arguments, "--timeout", "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                break
        try:
            yield process, lines
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)


def test_print_gives_the_line_alone(project: Path) -> None:
    """On standard output only what a shell takes; what else to know goes to standard error."""
    done = serve("vllm", "meta-llama/Llama-3.1-8B-Instruct", "--print", "--tensor-parallel", "2", "--lora", "s=/l/my lora",
                 "--no-prompt-token-details", "--", "--max-num-seqs", "64")  # fmt: skip
    expected = [
        "vllm", "serve", "meta-llama/Llama-3.1-8B-Instruct", "--host", "127.0.0.1", "--port", "8000", "--tensor-parallel-size",
        "2", "--enable-lora", "--lora-modules", "s=/l/my lora", "--max-num-seqs", "64",
    ]  # fmt: skip
    assert 0 == done.returncode
    assert expected == shlex.split(done.stdout)
    assert 1 == done.stdout.count("\n")
    assert "VLLM_API_KEY in its environment" in done.stderr
    assert "ssh -N -L 8000:127.0.0.1:8000" in done.stderr
    assert not (project / ".workbench").exists()


def test_without_vllm_the_line_is_printed(project: Path) -> None:
    """With a note and exit code 1, because nothing was started."""
    done = serve("vllm", "m", "--executable", "no-such-vllm")
    assert 1 == done.returncode
    assert "no-such-vllm serve m " in done.stdout
    assert "not installed here" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vllm", "m", "--memory-fraction", "90"], "Did you mean 0.9?"),
        (["vllm", "m", "--lora", "support"], "--lora 'support' must be NAME=FOLDER"),
        (["vllm", "m", "--", "--api-key", "k"], "list of processes"),
        (["vllm", "m", "--max-num-seqs", "64"], "--max-num-seqs"),
        (["embedded", "--port", "80000"], "port = 80000"),
    ],
)
def test_wrong_input_exits_2_and_names_it(project: Path, arguments: list[str], message: str) -> None:
    """One line, no traceback."""
    done = serve(*arguments)
    assert 2 == done.returncode
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_double_is_served_until_an_interrupt(project: Path, double: Callable[[str], None], port: int) -> None:
    """It says how to use it, keeps the key in a file of its owner's, and leaves nothing behind."""
    double("ready")
    file = project / ".workbench" / "servers" / "vllm.key"
    with serving("vllm", "m", "--port", str(port)) as (process, lines):
        text = "\n".join(lines)
        assert f"  export VLLM_BASE_URL=http://127.0.0.1:{port}/v1" in lines
        assert f'  export VLLM_API_KEY="$(cat {file})"' in lines
        key = file.read_text().strip()
        assert 0o600 == file.stat().st_mode & 0o777
        assert key not in text
        listed = subprocess.run(
            [sys.executable, "-m", "workbench", "model", "list", "vllm"], capture_output=True, text=True,
            env=os.environ | {"VLLM_BASE_URL": f"http://127.0.0.1:{port}/v1", "VLLM_API_KEY": key},
        )  # fmt: skip
        assert "vllm/m" in listed.stdout, listed.stderr
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=60)
    assert 0 == process.returncode, said
    assert "vLLM is stopped." in rest
    assert key not in rest + said
    check_port("127.0.0.1", port, "nobody")


def test_a_key_that_is_set_is_used(
    project: Path, double: Callable[[str], None], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is made, and no line shows it."""
    monkeypatch.setenv("VLLM_API_KEY", "the-key-of-the-user")
    double("ready")
    with serving("vllm", "m", "--port", str(port)) as (_, lines):
        assert "the one that you have set" in "\n".join(lines)
        assert "the-key-of-the-user" not in "\n".join(lines)
    assert [] == list((project / ".workbench" / "servers").glob("*.key"))


def test_a_double_that_dies_exits_1(project: Path, double: Callable[[str], None], port: int) -> None:
    """With the end of its log."""
    double("dies")
    done = serve("vllm", "m", "--port", str(port))
    assert 1 == done.returncode
    assert "error: vLLM ended before it was ready, with exit code 3" in done.stderr
    assert "CUDA out of memory" in done.stderr


def test_an_interrupted_start_exits_130(
    project: Path, double: Callable[[str], None], port: int, gone: Callable[..., bool]
) -> None:
    """As other commands do; the double is gone."""
    double("silent")
    with subprocess.Popen([*COMMAND, "vllm", "m", "--port", str(port)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "loaded m" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert 130 == process.returncode
    log = (project / ".workbench" / "servers" / f"vllm-{port}.log").read_text()
    found = re.search(r"^pids (\d+) (\d+)$", log, re.MULTILINE)
    assert found is not None
    assert gone([int(number) for number in found.groups()])


async def test_the_embedded_model_is_served_to_any_client(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the printed lines say, with the openai package; the weights are real."""
    from openai import AsyncOpenAI
    from platformdirs import user_cache_path

    pytest.importorskip("xllamacpp")
    weights.ensure("smollm2-135m", user_cache_path("llm-workbench") / "weights")

    def ask() -> tuple[list[str], int]:
        with serving("embedded", "--port", "0", "--slots", "1") as (process, lines):
            shell = "\n".join(line for line in lines if line.startswith("  export"))
            exported = subprocess.run(
                ["sh", "-c", f"{shell}\nprintf '%s\\n' \"$OPENAI_BASE_URL\" \"$OPENAI_API_KEY\""],
                capture_output=True, text=True,
            ).stdout.split()  # fmt: skip
            answers = asyncio.run(answer(*exported))
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        return answers, process.returncode

    async def answer(url: str, key: str) -> list[str]:
        async with AsyncOpenAI(base_url=url, api_key=key) as client:
            models = [model.id async for model in client.models.list()]
            found = await client.completions.create(
                model=models[0], prompt="apple, apple, apple, apple,", max_tokens=1, temperature=0, seed=1
            )
        return [*models, found.choices[0].text]

    assert (["smollm2-135m", " apple"], 0) == await asyncio.to_thread(ask)
