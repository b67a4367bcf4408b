"""Compose today's `vllm serve` command line, start it here, or print it for another machine.

Flags as in vLLM 0.32 (vllm/entrypoints/launchers/cli_args.py, vllm/engine/arg_utils.py). The key never stands on the command
line, where every user of the machine could read it: vLLM takes it from VLLM_API_KEY.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import re
import shlex
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError, LaunchError
from workbench.serving.local_server import Environment, LocalServer
from workbench.settings import load_settings

if TYPE_CHECKING:
    from workbench.settings import Secret, Settings

__all__ = ["Vllm"]

# flags of vLLM that have an argument here, and what to say instead
_OWN = {
    "--tensor-parallel-size": "tensor_parallel", "-tp": "tensor_parallel", "--max-model-len": "max_model_len",
    "--gpu-memory-utilization": "memory_fraction", "--port": "port", "--host": "host", "--served-model-name": "served_name",
    "--enable-lora": "lora", "--lora-modules": "lora", "--enable-prompt-tokens-details": "prompt_token_details",
    "--enable-auto-tool-choice": "tool_parser", "--tool-call-parser": "tool_parser", "--reasoning-parser": "reasoning_parser",
    "--model": "model",
}  # fmt: skip


class Vllm(LocalServer):
    """`vllm serve` for one model: print it (`str`), take it as arguments (`command`), or start it (`async with`, `start`).

    model: a name on the Hugging Face hub, or a folder. tensor_parallel: over how many GPUs the weights are split.
    max_model_len: tokens of prompt and answer together, by default what the model was trained with. memory_fraction: of each
    GPU's memory, above 0 up to 1 (vLLM's default is 0.92). served_name: what clients call it, by default the model. lora:
    adapters by the name that clients use, with their folders. prompt_token_details: tell how many prompt tokens came from the
    prefix cache. tool_parser, reasoning_parser: how this model writes tool calls and thoughts, such as "hermes" and "qwen3".
    extra: more arguments of `vllm serve`, as they are. executable: the program, by name or path (vLLM often lives in an
    environment of its own). key: by default VLLM_API_KEY of the settings, else a new one; `endpoint()` carries it.

    Raises InputError for what vLLM would refuse, or what would not work from here.
    """

    title = "vLLM"
    kind = "vllm"

    def __init__(
        self,
        model: str,
        *,
        tensor_parallel: int | None = None,
        max_model_len: int | None = None,
        memory_fraction: float | None = None,
        port: int = 8000,
        host: str = "127.0.0.1",
        served_name: str | None = None,
        lora: Mapping[str, str | Path] | None = None,
        prompt_token_details: bool = True,
        tool_parser: str | None = None,
        reasoning_parser: str | None = None,
        extra: Sequence[str] = (),
        executable: str = "vllm",
        key: Secret | str | None = None,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        settings = settings or load_settings()
        known = settings.endpoints.get("vllm")
        super().__init__(
            host=_host(host), port=_whole("port", port, 1, 65535), key=key or (known.key if known else None),
            settings=settings, clock=clock, sleep=sleep,
        )  # fmt: skip
        self.model = served_name or model
        self._executable = executable
        self._arguments = ["serve", _model(model), "--host", self.host, "--port", str(self.port)]
        if tensor_parallel is not None:
            self._arguments += ["--tensor-parallel-size", str(_whole("tensor_parallel", tensor_parallel, 1))]
        if max_model_len is not None:
            self._arguments += ["--max-model-len", str(_whole("max_model_len", max_model_len, 1))]
        if memory_fraction is not None:
            self._arguments += ["--gpu-memory-utilization", str(_fraction(memory_fraction))]
        if served_name is not None:
            self._arguments += ["--served-model-name", _word("served_name", served_name)]
        if lora:
            self._arguments += ["--enable-lora", "--lora-modules", *(_adapter(*item) for item in lora.items())]
        if prompt_token_details:
            self._arguments.append("--enable-prompt-tokens-details")
        if tool_parser is not None:
            self._arguments += ["--enable-auto-tool-choice", "--tool-call-parser", _word("tool_parser", tool_parser)]
        if reasoning_parser is not None:
            self._arguments += ["--reasoning-parser", _word("reasoning_parser", reasoning_parser)]
        self._arguments += _extra(extra)

    def command(self) -> list[str]:
        """The command as arguments, without the key."""
        return [self._executable, *self._arguments]

    def env(self) -> dict[str, str]:
        """What the command needs in its environment: VLLM_API_KEY. It does not show the key unless you take it out."""
        return Environment(VLLM_API_KEY=self.key.reveal())

    def __str__(self) -> str:
        """The command as a line for a shell."""
        return shlex.join(self.command())

    def __repr__(self) -> str:
        return f"<Vllm {f'running at {self.url}' if self.running else 'not running'}: {self}>"

    @property
    def installed(self) -> bool:
        """Whether the program is here."""
        return shutil.which(self._executable) is not None

    async def _prepare(self) -> tuple[list[str], Mapping[str, str]]:
        found = shutil.which(self._executable)
        if found is None:
            raise LaunchError(
                f"vLLM is not installed here: there is no program {self._executable!r} on PATH. Name it if it is elsewhere "
                "(executable=\"/opt/vllm/bin/vllm\"), install it (docs.vllm.ai), or run this on the machine that has it, with "
                f"VLLM_API_KEY set there, and set VLLM_BASE_URL and VLLM_API_KEY here:\n{self}"
            )  # fmt: skip
        return [found, *self._arguments], os.environ | self.env()


def _model(model: str) -> str:
    if re.fullmatch(r"vllm/[^/]+/[^/]+", model):
        raise InputError(
            f"model {model!r}: leave out 'vllm/', which names the endpoint: vLLM knows this model as {model[5:]!r}."
        )
    expanded = str(Path(model).expanduser()) if model.startswith("~") else model
    return _word("model", expanded)


def _word(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value or value.startswith("-") or not value.isprintable():
        raise InputError(f"{name} = {value!r} must be a text that is not empty and does not begin with '-'.")
    return value


def _whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
        limit = f"from {low} to {high}" if high is not None else f"from {low}"
        raise InputError(f"{name} = {value!r} must be a whole number {limit}.")
    return value


def _fraction(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        percent = isinstance(value, (int, float)) and not isinstance(value, bool) and 1 < value <= 100
        meant = f" Did you mean {value / 100:g}?" if percent else ""
        raise InputError(
            f"memory_fraction = {value!r} must be a number above 0, up to 1: a share of the GPU's memory.{meant}"
        )
    return float(value)


def _host(value: Any) -> str:
    text = _word("host", value)
    with_port = re.fullmatch(r"([^:]+):\d+", text)
    if with_port or "://" in text or "/" in text:
        raise InputError(
            f"host = {value!r} must be a host alone, such as 127.0.0.1; the port is an argument of its own."
        )
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
            raise InputError(f"host = {value!r} is neither an IP address nor a name.") from None
        return text


def _adapter(name: Any, path: Any) -> str:
    name, path = _word("lora", name), _word(f"lora[{name!r}]", str(path))
    if "=" in name:
        raise InputError(f"lora: the name {name!r} must hold no '='.")
    # vLLM reads NAME=PATH, but takes anything with a comma for JSON
    return json.dumps({"name": name, "path": path}) if "," in f"{name}{path}" else f"{name}={path}"


def _extra(extra: Any) -> list[str]:
    if isinstance(extra, str) or not all(isinstance(item, str) for item in extra):
        raise InputError(
            f"extra = {extra!r} must be a list of arguments, such as ['--max-num-seqs', '64']: split a line with shlex.split."
        )
    for item in extra:
        # vLLM takes _ for - in the names of its flags
        flag = item.partition("=")[0].replace("_", "-") if item.startswith("--") else item
        if flag == "--api-key":
            raise InputError(
                "extra holds --api-key: everybody on the machine could read it in the list of processes. Set VLLM_API_KEY in the "
                "environment or .env, or pass key=; it goes to vLLM by its environment."
            )
        if flag in _OWN:
            raise InputError(f"extra holds {flag}: use the argument {_OWN[flag]} (--{_OWN[flag].replace('_', '-')}).")
    return list(extra)
