"""What the workbench adds to code of the openai package: models by name, limits, retries, the log, and a stream that stops."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest
from serving_doubles import delta, http, sse

from workbench import Rule, Scripted, Workbench, errors
from workbench.openai_bridge import BASE_URL, http_client

if TYPE_CHECKING:
    from conftest import OpenAIDouble

Bench = Callable[..., Workbench]
ROOT = Path(__file__).parents[2]
HI: Any = [{"role": "user", "content": "love it"}]


@pytest.mark.parametrize(
    ("bound", "named", "asked"),
    [
        ("scripted/a", "", "scripted/a"),
        ("scripted/a", "a", "scripted/a"),
        ("scripted/a", "scripted/a", "scripted/a"),
        ("scripted/a", "b", "scripted/b"),
        ("scripted/a", "other/b", "other/b"),
        ("scripted/a", "meta-llama/b", "scripted/meta-llama/b"),
        ("scripted/other/b", "other/b", "scripted/other/b"),
    ],
)
async def test_a_call_names_its_model_with_or_without_the_endpoint(
    bound: str, named: str, asked: str, bench_on: Bench
) -> None:
    """What the client is bound to wins over an endpoint of the same name: nothing goes to another server by accident."""
    runtime = Scripted([Rule(answer=lambda request: request.model)])
    client = bench_on(runtimes={"scripted": runtime, "other": runtime}).openai(bound)
    answer = await client.chat.completions.create(model=named, messages=HI)
    assert asked == answer.choices[0].message.content == answer.model_extra["workbench"]["model"]
    assert asked.partition("/")[2] == answer.model


async def test_without_a_model_it_is_that_of_the_settings(bench_on: Bench) -> None:
    """As everywhere in the workbench."""
    client = bench_on(settings='model = "scripted/echo"\n').openai()
    assert "love it" == (await client.chat.completions.create(model="", messages=HI)).choices[0].message.content


async def test_every_call_is_a_row_of_the_log(openai_double: OpenAIDouble, bench_on: Bench) -> None:
    """Streamed or not, also one that failed; with the user that the call named."""
    bench = bench_on(openai_double.url)
    client = bench.openai("vllm/m")
    answer = await client.chat.completions.create(model="m", messages=HI, user="u1")
    await client.chat.completions.create(model="m", messages=HI, temperature=0.5)
    openai_double.refuse = "broken"
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "broken"}])
    rows = bench.calls.sql("select * from calls order by ended_at").to_dict("records")
    assert ["vllm/m"] * 3 == [row["model"] for row in rows]
    assert ["positive", "positive"] == [row["text"] for row in rows[:2]]
    assert ["u1"] == [row["user"] for row in rows if isinstance(row["user"], str)]
    assert (2, 1) == (rows[0]["prompt_tokens"], rows[0]["completion_tokens"])
    assert '{"temperature":0.5}' == rows[1]["params"]
    assert "BadRequestError" == rows[2]["error"]
    assert answer.model_extra["workbench"]["latency"] == pytest.approx(rows[0]["latency"])


async def test_the_limit_of_the_endpoint_holds(openai_double: OpenAIDouble, bench_on: Bench) -> None:
    """However many calls the code sends at once."""
    openai_double.delay = 0.02
    settings = f'[endpoints.gpu]\nkind = "vllm"\nurls = ["{openai_double.url}"]\nconcurrency = 2\n'
    client = bench_on(settings=settings).openai("gpu/m")
    calls = [client.chat.completions.create(model="m", messages=HI) for _ in range(8)]
    assert {"positive"} == {answer.choices[0].message.content for answer in await asyncio.gather(*calls)}
    assert 2 == openai_double.most_in_flight


async def test_a_price_is_told_with_the_answer(bench_on: Bench) -> None:
    """Nothing for a model in this process; unknown is None."""
    client = bench_on(runtimes={"scripted": Scripted([Rule(answer="ok")])}).openai("scripted/m")
    told = (await client.chat.completions.create(model="m", messages=HI)).model_extra["workbench"]
    assert {"model": "scripted/m", "source": "model", "truncated": False} == {
        name: told[name] for name in ("model", "source", "truncated")
    }
    assert {"cost", "latency", "first_token", "queued"} <= set(told)


@pytest.mark.parametrize("leave", ["close", "break", "cancel"])
async def test_leaving_a_stream_hangs_up_on_the_double(leave: str, raw: Callable[..., Any], bench_on: Bench) -> None:
    """So that the server frees its slot, and the limiter ours; the log says that it was stopped."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(sse(delta("Once"), delta(" upon")), length=10_000, content_type="text/event-stream"))
        await writer.drain()
        await server.hold(reader)

    server = raw(act)
    bench = bench_on(server.url)
    stream = await bench.openai("vllm/m").chat.completions.create(model="m", messages=HI, stream=True)
    seen: list[str | None] = []

    async def read(count: int) -> None:
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content)
            if len(seen) == count:
                break

    if leave == "cancel":
        reading = asyncio.create_task(read(99))
        while len(seen) < 2:
            await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    elif leave == "break":
        async with stream:
            await read(2)
    else:
        await read(2)
        await stream.close()
    assert await asyncio.to_thread(server.closed.wait, 60)
    assert ["", "Once"] == seen[:2]
    assert 0 == bench.client.limiter("vllm/m").in_flight
    assert ["StoppedError"] == bench.calls.sql("select error from calls")["error"].tolist()


async def test_cancelling_a_call_hangs_up_on_the_double(raw: Callable[..., Any], bench_on: Bench) -> None:
    """Before the first byte, streamed or not."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hold(reader)

    for stream in (False, True):
        server = raw(act)
        client = bench_on(server.url).openai("vllm/m")
        call = asyncio.create_task(client.chat.completions.create(model="m", messages=HI, stream=stream))
        assert await asyncio.to_thread(server.arrived.wait, 5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(server.closed.wait, 60)


async def test_closing_the_client_leaves_the_workbench_open(bench_on: Bench) -> None:
    """Others use it too; and the client's own doors lead nowhere else."""
    bench = bench_on()
    async with bench.openai("scripted/echo") as client:
        assert BASE_URL == str(client.base_url).rstrip("/")
        await client.chat.completions.create(model="echo", messages=HI)
    with pytest.raises(RuntimeError, match="client has been closed"):
        await client.chat.completions.create(model="echo", messages=HI)
    assert "ok" == (await bench.ask("ok", model="scripted/echo")).text


async def test_the_http_client_alone_serves_other_packages(bench_on: Bench) -> None:
    """Whatever address they were given, no socket is opened."""
    async with http_client(bench_on().client, "scripted/echo") as client:
        for url in ("https://api.openai.com/v1/chat/completions", "/chat/completions"):
            answer = await client.post(url, json={"messages": HI})
            assert "love it" == answer.json()["choices"][0]["message"]["content"]
        for body, message in ((b"{", "no JSON"), (b"[]", "must be a JSON object")):
            refused = await client.post("/chat/completions", content=body)
            assert 400 == refused.status_code
            assert message in refused.json()["error"]["message"]
    assert isinstance(client, httpx.AsyncClient)


async def test_real_weights_answer_through_the_package(
    real_weights: Path, monkeypatch: pytest.MonkeyPatch, bench_on: Bench
) -> None:
    """Chat, stream and schema on the embedded model: the same text and counts as from the workbench itself."""
    monkeypatch.setenv("WORKBENCH_WEIGHTS", str(real_weights))
    bench = bench_on()
    client = bench.openai("embedded/smollm2-135m")
    wanted: dict[str, Any] = {"model": "smollm2-135m", "messages": HI, "max_tokens": 8, "temperature": 0}
    answer = await client.chat.completions.create(**wanted, logprobs=True, top_logprobs=2)
    asked = await bench.ask("love it", model="embedded/smollm2-135m", params={"max_tokens": 8, "temperature": 0})
    assert asked.text == answer.choices[0].message.content
    assert asked.usage.prompt_tokens == answer.usage.prompt_tokens
    tokens = answer.choices[0].logprobs.content
    assert (8, asked.text) == (len(tokens), "".join(item.token for item in tokens))
    chunks = [chunk async for chunk in await client.chat.completions.create(**wanted, stream=True)]
    assert asked.text == "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    schema = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "mood", "schema": schema}}
    found = await client.chat.completions.create(**(wanted | {"max_tokens": 30}), response_format=form)
    assert re.fullmatch(r'\{\s*"mood"\s*:\s*"(good|bad)"\s*\}', found.choices[0].message.content)


def test_importing_the_workbench_imports_no_openai() -> None:
    """Half a second that only those pay who use it."""
    script = "import sys, workbench; print(sorted({'openai', 'httpx'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert "[]\n" == ran.stdout


def test_without_the_package_it_says_what_to_install(bench_on: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(errors.InputError, match=r"needs the openai package .* pip install 'openai>=2'"):
        bench_on().openai("scripted/echo")


def test_the_code_of_the_guide_runs_on_a_double(openai_double: OpenAIDouble, project: Path) -> None:
    """The first example of docs/openai_package.md, as it stands."""
    page = (ROOT / "docs" / "openai_package.md").read_text("utf-8")
    example = page.partition("```python\n")[2].partition("```")[0]
    openai_double.models = ["meta-llama/Llama-3.1-8B-Instruct"]
    env = {**os.environ, "VLLM_BASE_URL": openai_double.url, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", example], capture_output=True, text=True, timeout=120, cwd=project, env=env
    )  # fmt: skip
    assert ("", 0) == (ran.stderr, ran.returncode)
    assert ran.stdout.startswith("negative\n")
