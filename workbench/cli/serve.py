"""`workbench serve …`."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from itertools import count
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workbench.serving.launch import Vllm
    from workbench.serving.local_server import LocalServer

__all__ = ["app"]

app = App(name="serve", help="Start a model server on this machine: vLLM, or the embedded model behind an HTTP port.")

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_HEALTH = 10  # seconds between two looks at a running server


@app.command
def vllm(
    model: str,
    *extra: str,
    tensor_parallel: int | None = None,
    max_model_len: int | None = None,
    memory_fraction: float | None = None,
    port: int = 8000,
    host: str = "127.0.0.1",
    served_name: str | None = None,
    lora: list[str] | None = None,
    prompt_token_details: Annotated[bool, Parameter(negative="--no-prompt-token-details")] = True,
    tool_parser: str | None = None,
    reasoning_parser: str | None = None,
    executable: str = "vllm",
    timeout: float = 1800.0,
    print_only: Annotated[bool, Parameter(name="--print")] = False,
) -> int:
    """Start vLLM with a model, wait until it is ready, and say how to use it; Ctrl-C stops it.

    Where vLLM is not installed, the command line for the machine that has it is printed (exit code 1; with --print 0).
    The key is VLLM_API_KEY (environment or .env), else one that is made once and kept in .workbench/servers/vllm.key of the
    project folder; vLLM gets it by its environment.

    Parameters
    ----------
    model
        A name on the Hugging Face hub, such as meta-llama/Llama-3.1-8B-Instruct, or a folder.
    extra
        More arguments of `vllm serve`, after --, such as -- --max-num-seqs 64.
    tensor_parallel
        Over how many GPUs the weights are split.
    max_model_len
        Tokens of prompt and answer together (default: what the model was trained with).
    memory_fraction
        The share of each GPU's memory that vLLM takes, above 0 up to 1 (vLLM's default is 0.92).
    port
        Where it listens.
    host
        The address it listens at; on another than this machine's own, only paths under /v1 want the key.
    served_name
        What clients call the model (default: MODEL).
    lora
        NAME=FOLDER of an adapter; give it once for each.
    prompt_token_details
        Tell how many prompt tokens came from the prefix cache.
    tool_parser
        How the model writes tool calls, such as hermes or llama3_json; turns tools on.
    reasoning_parser
        How the model writes its thoughts, such as qwen3 or deepseek_r1.
    executable
        The program, if it is not on PATH, such as /opt/vllm/bin/vllm.
    timeout
        Seconds until it must be ready; a first start downloads the weights.
    print_only
        Print the command line and stop.
    """
    from workbench.serving.launch import Vllm
    from workbench.serving.local_server import key_file
    from workbench.settings import load_settings

    settings = load_settings()
    server = Vllm(
        model, tensor_parallel=tensor_parallel, max_model_len=max_model_len, memory_fraction=memory_fraction, port=port,
        host=host, served_name=served_name, lora=_adapters(lora or []), prompt_token_details=prompt_token_details,
        tool_parser=tool_parser, reasoning_parser=reasoning_parser, extra=extra, executable=executable, settings=settings,
    )  # fmt: skip
    if print_only or not server.installed:
        return _print(server, print_only=print_only)
    file: Path | None = None
    if not settings.endpoint("vllm").key:
        server.key, file = key_file(settings, "vllm")
    if server.host not in _LOOPBACK:
        _note(
            "note: whoever reaches this port can use /invocations, /metrics and other paths outside /v1 without the key: "
            "put a firewall or a proxy before it."
        )
    return _run(server, timeout, lambda: _vllm_usage(server, file))


@app.command
def embedded(
    model: str = "smollm2-135m", *, port: int = 8081, slots: int | None = None, timeout: float = 600.0
) -> int:  # fmt: skip
    """Give the embedded model an OpenAI-compatible port on this machine, so that any client can be tried without a GPU.

    Everything but /health wants the key, which is made once and kept in .workbench/servers/embedded.key of the project folder;
    VLLM_API_KEY and OPENAI_API_KEY do not change it. Ctrl-C stops it.

    Parameters
    ----------
    model
        smollm2-135m, or the path of a GGUF file.
    port
        Where it listens, on 127.0.0.1; 0 takes one that is free.
    slots
        Calls that run at once (default: that of the settings, 4); each takes memory for a context of its own.
    timeout
        Seconds until it must be ready.
    """
    from contextlib import ExitStack

    from workbench import weights
    from workbench.running.download import download_bar
    from workbench.serving.embedded_server import EmbeddedServer
    from workbench.serving.local_server import key_file
    from workbench.settings import load_settings

    settings = load_settings()
    key, file = key_file(settings, "embedded")
    with ExitStack() as stack:
        missing = model in weights.KNOWN and not weights.present(model, settings.weights)
        fetching = stack.enter_context(download_bar()) if missing else None
        server = EmbeddedServer(settings, model=model, port=port, slots=slots, key=key, fetching=fetching)
        return _run(server, timeout, lambda: _embedded_usage(server, file))


def _print(server: Vllm, *, print_only: bool) -> int:
    if not print_only:
        _note(
            f"vLLM is not installed here: there is no {server.command()[0]!r} on PATH (--executable names one that is "
            "elsewhere). The command for the machine that has it:"
        )
    print(server)
    _note(
        "Set VLLM_API_KEY in its environment (on the command line everybody there could read it) and the same one here, with "
        f"VLLM_BASE_URL; the model is then vllm/{server.model}."
    )
    if server.host in _LOOPBACK:
        _note(
            "It listens to its own machine only, which is safest: reach it from here by "
            f"`ssh -N -L {server.port}:{server.host}:{server.port} THAT-MACHINE`, or give it --host 0.0.0.0 behind a firewall."
        )
    return 0 if print_only else 1


def _run(server: LocalServer, timeout: float, usage: Callable[[], list[str]]) -> int:
    up = False

    async def serve() -> None:
        nonlocal up
        try:
            await server.start(timeout=timeout, progress=_show)
            up = True
            _clear()
            print("\n".join([*usage(), "Ctrl-C stops it."]), flush=True)
            await _watch(server)
        finally:
            await server.stop()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        if not up:
            raise
        print(f"\n{server.title} is stopped.")
    finally:
        _clear()
    return 0


async def _watch(server: LocalServer) -> None:
    """Until it ends, which is a LaunchError: say when its health changes. Each look at it is a line in its log."""
    well = True
    for second in count(1):
        await asyncio.sleep(1)
        if (second % _HEALTH == 0 or not server.running) and await server.healthy() != well:
            well = not well
            _note(f"{server.title} {'answers again' if well else 'does not answer its health check'}.")


def _vllm_usage(server: Vllm, file: Path | None) -> list[str]:
    key = (
        f'  export VLLM_API_KEY="$(cat {shlex.quote(str(file))})"'
        if file
        else "  (VLLM_API_KEY is the one that you have set)"
    )
    return [
        f"vLLM serves {server.model} at {server.url}. Its log is {server.log}. To use it:",
        f"  export VLLM_BASE_URL={server.url}",
        key,
        f"  workbench compare --model vllm/{server.model} …",
    ]


def _embedded_usage(server: LocalServer, file: Path) -> list[str]:
    return [
        f"The embedded model {server.model} is at {server.url}. Any OpenAI client uses it with:",
        f"  export OPENAI_BASE_URL={server.url}",
        f'  export OPENAI_API_KEY="$(cat {shlex.quote(str(file))})"',
        f"  workbench compare --model openai/{server.model} …",
    ]


def _adapters(pairs: list[str]) -> dict[str, str]:
    from workbench.errors import InputError

    found = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not (name and equals and path):
            raise InputError(f"--lora {pair!r} must be NAME=FOLDER, such as --lora support=/models/support-lora.")
        found[name] = path
    return found


def _show(elapsed: float, line: str) -> None:
    """What the server says while it starts: one line that is drawn over on a terminal, else one line each."""
    text = f"{elapsed:5.0f} s  {line}"
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[K{text[:width]}", end="", file=sys.stderr, flush=True)
    else:
        _note(text)


def _clear() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
