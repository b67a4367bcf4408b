"""`workbench model …`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from workbench.serving.ollama import Ollama
    from workbench.workbench import Workbench

__all__ = ["app"]

app = App(name="model", help="List and show models; have Ollama pull, load and unload them.")

_Json = Annotated[bool, Parameter(name="--json")]


@app.command(name="list")
def list_(endpoint: str | None = None, *, json_output: _Json = False) -> int:
    """List the models of one endpoint, or of all that answer.

    Exit code 1 when an endpoint that was named or configured does not answer.

    Parameters
    ----------
    endpoint
        Such as ollama or vllm; by default all.
    json_output
        Print JSON in place of the table.
    """
    return asyncio.run(_list(endpoint, json_output=json_output))


@app.command
def show(model: str, *, json_output: _Json = False) -> None:
    """Show what a server tells of a model: digest, context length, capabilities, and of Ollama's also size and options.

    Parameters
    ----------
    model
        ENDPOINT/MODEL.
    json_output
        Print JSON in place of lines.
    """
    asyncio.run(_show(model, json_output=json_output))


@app.command
def pull(model: str) -> None:
    """Have Ollama fetch a model, or bring it up to date. A download that was cut goes on where it stopped.

    Parameters
    ----------
    model
        ENDPOINT/MODEL, such as ollama/llama3.2:3b.
    """

    async def run() -> None:
        from workbench.workbench import Workbench

        async with Workbench() as bench:
            ollama, name = _ollama(bench, model)
            info = await ollama.pull(name)
        facts = {
            "digest": (info.digest or "unknown")[:12], "context": info.context_length or "unknown",
            "can": ", ".join(info.capabilities) or "unknown",
        }  # fmt: skip
        _say(f"{model} is there: " + ", ".join(f"{name} {_number(value)}" for name, value in facts.items()))

    asyncio.run(run())


@app.command
def load(model: str, *, keep_alive: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None) -> None:
    """Bring a model into Ollama's memory, with the endpoint's options, so that the first call does not wait.

    Parameters
    ----------
    model
        ENDPOINT/MODEL, such as ollama/llama3.2:3b.
    keep_alive
        How long it stays without being asked, such as 30m, or -1m for ever; by default what the server does (5 minutes).
    """

    async def run() -> None:
        from workbench.tables import format_seconds
        from workbench.workbench import Workbench

        async with Workbench() as bench:
            ollama, name = _ollama(bench, model)
            clock = asyncio.get_running_loop().time
            began = clock()
            state = await ollama.load(name, keep_alive=keep_alive)
            _say(f"{model} is in memory after {format_seconds(clock() - began)}{_memory(state)}")

    asyncio.run(run())


@app.command
def unload(model: str) -> None:
    """Free the memory that a model takes in Ollama.

    Parameters
    ----------
    model
        ENDPOINT/MODEL, such as ollama/llama3.2:3b.
    """

    async def run() -> None:
        from workbench.workbench import Workbench

        async with Workbench() as bench:
            ollama, name = _ollama(bench, model)
            await ollama.unload(name)
        _say(f"{model} is out of memory")

    asyncio.run(run())


def _ollama(bench: Workbench, model: str) -> tuple[Ollama, str]:
    from workbench.records import split_model

    endpoint, name = split_model(model)
    return bench.ollama(endpoint), name


async def _list(endpoint: str | None, *, json_output: bool) -> int:
    from workbench.workbench import Workbench

    async with Workbench() as bench:
        if endpoint is not None:
            bench.settings.endpoint(endpoint)
        names = [endpoint] if endpoint else list(bench.settings.endpoints)
        found = await asyncio.gather(*(_rows(bench, name, wanted=endpoint is not None) for name in names))
    rows = [row for rows, _ in found for row in rows]
    faults = [fault for _, fault in found if fault]
    if json_output:
        print(json.dumps(rows, indent=2))
    elif rows:
        import pandas as pd

        from workbench.tables import to_text

        frame = pd.DataFrame([_shown(row) for row in rows])
        print(to_text(frame.loc[:, (frame != "").any()]))
    elif not faults:
        print("No models yet: workbench model pull ollama/llama3.2:3b")
    for fault in faults:
        _say(fault, file=sys.stderr)
    return 1 if faults else 0


async def _rows(bench: Workbench, endpoint: str, *, wanted: bool) -> tuple[list[dict[str, Any]], str]:
    """(one row a model, what is wrong with the endpoint)."""
    from workbench.errors import WorkbenchError
    from workbench.serving.ollama_server import OllamaServer, same_model

    wanted = wanted or bench.settings.endpoints[endpoint].configured
    try:
        runtime = bench.client.runtime(f"{endpoint}/-")
        health = await runtime.health()
        if not health.ok:
            return [], f"{endpoint}: {health.detail}. {health.fix}" if wanted else ""
        if not isinstance(runtime, OllamaServer):
            return [{"model": f"{endpoint}/{name}"} for name in health.models], ""
        listed, running = await runtime.list(), await runtime.running()
    except WorkbenchError as error:
        return [], f"{endpoint}: {error}" if wanted else ""
    rows = []
    for item in listed:
        details = item.get("details") or {}
        loaded = next((one for one in running if same_model(str(one.get("name")), str(item.get("name")))), None)
        rows.append(
            {
                "model": f"{endpoint}/{item.get('name')}", "size": item.get("size"), "parameters": details.get("parameter_size"),
                "quantization": details.get("quantization_level"), "digest": item.get("digest"), "running": loaded,
            }
        )  # fmt: skip
    return rows, ""


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "model": str(row["model"]), "size": _size(row.get("size")), "parameters": str(row.get("parameters") or ""),
        "quantization": str(row.get("quantization") or ""), "digest": str(row.get("digest") or "")[:12],
        "in memory": _memory(row.get("running")).lstrip(", "),
    }  # fmt: skip


async def _show(model: str, *, json_output: bool) -> None:
    from dataclasses import asdict

    from workbench.records import split_model
    from workbench.serving.ollama_server import OllamaServer, same_model
    from workbench.workbench import Workbench

    name = split_model(model)[1]
    async with Workbench() as bench:
        info = await bench.client.describe(model)
        facts = asdict(info) | {"model": model}
        runtime = bench.client.runtime(model)
        if isinstance(runtime, OllamaServer):
            shown = await runtime.show(name)
            facts |= {key: shown.get(key) for key in ("details", "parameters", "template", "license")}
            facts["running"] = next(
                (item for item in await runtime.running() if same_model(str(item.get("name")), name)), None
            )
    if json_output:
        print(json.dumps(facts, indent=2))
        return
    details = facts.get("details") or {}
    lines = {
        "model": model, "digest": info.digest or "unknown", "context length": _number(info.context_length or "unknown"),
        "capabilities": ", ".join(info.capabilities), "server": info.server_version or "",
        "family": details.get("family"), "parameters": details.get("parameter_size"),
        "quantization": details.get("quantization_level"), "adapts": info.base,
        "in memory": _memory(facts.get("running")).lstrip(", "),
        "options": "; ".join(" ".join(line.split()) for line in str(facts.get("parameters") or "").splitlines()),
    }  # fmt: skip
    _say("\n".join(f"{key:<15}{value}" for key, value in lines.items() if value))


def _memory(state: Mapping[str, Any] | None) -> str:
    """Such as `, context 4,096, 211 MB, until 09:40`; empty for what is not in memory."""
    if state is None:
        return ""
    context = state.get("context_length")
    parts = [f"context {context:,}" if isinstance(context, int) else "", _size(state.get("size"))]
    size, in_gpu = state.get("size") or 0, state.get("size_vram") or 0
    if size:
        parts.append(f"{in_gpu / size:.0%} on the GPU" if in_gpu else "on the CPU")
    try:
        until = datetime.fromisoformat(str(state.get("expires_at"))).astimezone()
    except (ValueError, OverflowError):
        return "".join(f", {part}" for part in parts if part)
    for_ever = until - datetime.now().astimezone() > timedelta(days=365)
    parts.append("for ever" if for_ever else f"until {until:%H:%M}")
    return "".join(f", {part}" for part in parts if part)


def _size(count: Any) -> str:
    if not isinstance(count, int) or isinstance(count, bool):
        return ""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _say(text: str, file: Any = None) -> None:
    """Names and templates come from servers: their signs are shown, not obeyed."""
    from workbench.tables import clean_text

    print(clean_text(text), file=file or sys.stdout)
