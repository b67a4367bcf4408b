"""The embedded runtime, on the real SmolLM2-135M-Instruct."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workbench import errors, weights
from workbench.records import Message, Params, Request
from workbench.serving import engine as engines
from workbench.serving import open_runtime
from workbench.serving.embedded import Embedded
from workbench.settings import Endpoint, Settings

MODEL = "embedded/smollm2-135m"
FEW_SHOT = (
    "Message: I love this\nSentiment: positive\n\nMessage: it broke at once\nSentiment: negative\n\n"
    "Message: {}\nSentiment:"
)
GREEDY = Params(temperature=0, seed=1, max_tokens=8)
NEVER_ENDING = replace(GREEDY, max_tokens=None, extra={"ignore_eos": True})

Make = Callable[..., Any]


def raw(prompt: str, params: Params = GREEDY, **fields: Any) -> Request:
    return Request(MODEL, "completion", prompt=prompt, params=params, **fields)


def chat(text: str, params: Params = GREEDY) -> Request:
    return Request(MODEL, "chat", (Message("user", text),), params=params)


@pytest.fixture
def settings(real_weights: Path, settings_in: Make, tmp_path: Path) -> Settings:
    return settings_in(tmp_path, real_weights)  # type: ignore[no-any-return]


@pytest.fixture(scope="module", autouse=True)
def _loaded(real_weights: Path) -> Iterator[None]:
    """Keeps the model loaded over all tests here, as one more user would."""
    pytest.importorskip("xllamacpp")
    path = real_weights / weights.KNOWN["smollm2-135m"].file
    engines.acquire(path, engines.EngineOptions())
    yield
    engines.release(path, engines.EngineOptions())


@pytest.fixture
async def runtime(settings: Settings) -> AsyncIterator[Embedded]:
    runtime = Embedded(Endpoint("embedded", "embedded"), settings)
    yield runtime
    await runtime.aclose()


async def test_few_shot_completions_are_right_and_repeat(runtime: Embedded) -> None:
    """A raw completion with a stop text; the same words again, and the beginning of the prompt is not computed twice."""
    messages = ["Terrible service", "Wonderful lamp, thank you"]
    params = replace(GREEDY, stop=("\n",))
    first = [await runtime.complete(raw(FEW_SHOT.format(text), params)) for text in messages]
    again = [await runtime.complete(raw(FEW_SHOT.format(text), params)) for text in messages]

    assert ["negative", "positive"] == [answer.text.strip() for answer in first]
    assert [answer.text for answer in first] == [answer.text for answer in again]
    assert ["stop", "stop"] == [answer.finish_reason for answer in first]
    assert first[0].usage.prompt_tokens is not None
    assert 30 < first[0].usage.prompt_tokens < 50
    assert 2 == first[0].usage.completion_tokens
    assert (again[0].usage.cached_tokens or 0) > 20


async def test_timing_is_measured(runtime: Embedded) -> None:
    """The first token comes before the last, although nobody asked for a stream."""
    answer = await runtime.complete(raw("Once upon a time"))
    assert answer.timing.first_token is not None
    assert 0 < answer.timing.first_token < answer.timing.total
    assert abs(answer.timing.started_at - time.time()) < 60


async def test_a_chat_uses_the_template_and_stops_at_max_tokens(runtime: Embedded) -> None:
    """The template adds tokens that a raw completion of the same text does not have."""
    answer = await runtime.complete(chat("Say hi"))
    bare = await runtime.complete(raw("Say hi"))
    assert ("length", 8) == (answer.finish_reason, answer.usage.completion_tokens)
    assert (answer.usage.prompt_tokens or 0) > (bare.usage.prompt_tokens or 0) + 10


async def test_a_stream_says_the_same_in_pieces(runtime: Embedded) -> None:
    """The last chunk carries the completion."""
    whole = await runtime.complete(chat("Say hi"))
    chunks = [chunk async for chunk in runtime.stream(chat("Say hi"))]
    assert whole.text == "".join(chunk.text for chunk in chunks)
    assert len(chunks) > 4
    assert chunks[-1].completion is not None
    assert whole.text == chunks[-1].completion.text
    assert whole.usage.prompt_tokens == chunks[-1].completion.usage.prompt_tokens


async def test_a_seed_repeats_a_sampled_answer(runtime: Embedded) -> None:
    """And another seed gives another one."""
    params = Params(temperature=1.5, top_p=0.99, seed=11, max_tokens=12)
    texts = [(await runtime.complete(raw("Once", replace(params, seed=seed)))).text for seed in (11, 11, 12)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


@pytest.mark.parametrize("ask", [chat, raw])
async def test_an_answer_fits_a_schema(runtime: Embedded, ask: Callable[..., Request]) -> None:
    """In a chat and in a raw completion."""
    schema = {"type": "object", "properties": {"city": {"enum": ["Lisbon", "Rome"]}}, "required": ["city"],
              "additionalProperties": False}  # fmt: skip
    answer = await runtime.complete(ask("Where is Ana? As JSON:", Params(temperature=0, max_tokens=60, schema=schema)))
    assert json.loads(answer.text)["city"] in ("Lisbon", "Rome")


async def test_calls_at_once_get_the_same_answers(runtime: Embedded) -> None:
    """What else is asked at the same time changes no word, and waiting for a slot is no latency."""
    requests = [
        raw(f"The capital of {country} is") for country in ("France", "Italy", "Spain", "Peru", "Kenya", "Japan")
    ]
    alone = [(await runtime.complete(request)).text for request in requests]
    together = await asyncio.gather(*(runtime.complete(request) for request in requests))
    assert alone == [answer.text for answer in together]
    assert max(answer.timing.queued for answer in together) > min(answer.timing.total for answer in together) / 10


@pytest.mark.parametrize("ask", [chat, raw])
async def test_a_prompt_that_is_too_long(runtime: Embedded, ask: Callable[..., Request]) -> None:
    """An error with both numbers and the option that raises the limit."""
    with pytest.raises(errors.ContextLengthError, match=r"30\d\d tokens.*2048.*`context`"):
        await runtime.complete(ask("word " * 3000))


@pytest.mark.parametrize(
    "params",
    [Params(extra={"temperature": "hot"}), Params(schema={"type": "nonsense"}), Params(schema={"$ref": "#/nowhere"})],
)
async def test_wrong_params_are_refused(runtime: Embedded, params: Params) -> None:
    """With llama.cpp's own words."""
    with pytest.raises(errors.BadRequestError, match=r"llama\.cpp refused"):
        await runtime.complete(chat("x", params))


async def test_the_deadline_stops_the_model(runtime: Embedded) -> None:
    """A call that ran out of time leaves its slot at once."""
    with pytest.raises(errors.CallTimeoutError, match=r"within 0\.3 s"):
        await runtime.complete(raw("Once", NEVER_ENDING, timeout=0.3))
    engine = runtime._engines["smollm2-135m"][1]
    await asyncio.to_thread(wait_until_idle, engine)


async def test_cancelling_stops_the_model(runtime: Embedded) -> None:
    """Also while a long prompt is read, which takes seconds."""
    task = asyncio.create_task(runtime.complete(raw("word " * 1500, NEVER_ENDING)))
    engine = engines.acquire(runtime._folder / weights.KNOWN["smollm2-135m"].file, engines.EngineOptions())
    while not engine._running:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(wait_until_idle, engine)
    engines.release(runtime._folder / weights.KNOWN["smollm2-135m"].file, engines.EngineOptions())


async def test_leaving_a_stream_stops_the_model(runtime: Embedded) -> None:
    """Closing the iterator is enough."""
    pieces = runtime.stream(raw("Once", NEVER_ENDING))
    assert (await anext(pieces)).text
    await pieces.aclose()  # type: ignore[attr-defined]
    await asyncio.to_thread(wait_until_idle, runtime._engines["smollm2-135m"][1])


def wait_until_idle(engine: engines.Engine) -> None:
    deadline = time.monotonic() + 60
    while engine._running:
        assert time.monotonic() < deadline, "the model is still at it"
        time.sleep(0.01)


async def test_describe_gives_the_pinned_digest(runtime: Embedded) -> None:
    """Digest, context of one call, and the version of xllamacpp."""
    info = await runtime.describe("smollm2-135m")
    assert weights.KNOWN["smollm2-135m"].sha256 == info.digest
    assert 2048 == info.context_length
    assert (info.server_version or "").startswith("xllamacpp ")


async def test_a_file_of_ones_own(settings: Settings, real_weights: Path, tmp_path: Path) -> None:
    """Named by its path in the project; its digest is that of the bytes, and is remembered."""
    source = real_weights / weights.KNOWN["smollm2-135m"].file
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.gguf").symlink_to(source)
    runtime = Embedded(Endpoint("embedded", "embedded", options={"context": 999999}), settings)
    infos = [await runtime.describe(name) for name in ("models/mine.gguf", str(tmp_path / "models" / "mine.gguf"))]
    assert [hashlib.sha256(source.read_bytes()).hexdigest()] * 2 == [info.digest for info in infos]
    assert 8192 == infos[0].context_length


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("smolm2", "embedded/smollm2-135m"),
        ("models/none.gguf", r"no file .*models/none\.gguf"),
        ("~/none.gguf", "no file /"),
    ],
)
async def test_models_that_are_not_there(runtime: Embedded, model: str, said: str) -> None:
    """The message says what is there, or where it looked."""
    with pytest.raises(errors.ModelNotFoundError, match=said):
        await runtime.complete(replace(raw("x"), model=f"embedded/{model}"))


@pytest.mark.parametrize("content", [b"", b"hello", b"GGUF" + b"\xff" * 99, None])
async def test_files_that_are_no_models(
    runtime: Embedded, tmp_path: Path, real_weights: Path, content: bytes | None
) -> None:
    """Neither garbage nor a file that was cut (None) crashes the process."""
    if content is None:
        with (real_weights / weights.KNOWN["smollm2-135m"].file).open("rb") as file:
            content = file.read(3_000_000)
    (tmp_path / "bad.gguf").write_bytes(content)
    with pytest.raises(errors.WeightsError, match=r"bad\.gguf"):
        await runtime.complete(replace(raw("x"), model="embedded/bad.gguf"))


@pytest.mark.parametrize("options", [{"thread": 2}, {"threads": 0}, {"context": "big"}, {"slots": True}])
def test_wrong_options_are_named(settings: Settings, options: dict[str, Any]) -> None:
    """When the runtime is opened, not at the first call."""
    with pytest.raises(errors.SettingsError, match=next(iter(options))):
        open_runtime(Endpoint("embedded", "embedded", options=options), settings)


async def test_runtimes_share_one_model(runtime: Embedded, settings: Settings) -> None:
    """The last one to close unloads it; a closed one loads again when it is asked."""
    other = Embedded(Endpoint("embedded", "embedded"), settings)
    await runtime.complete(raw("a"))
    await other.complete(raw("a"))
    assert runtime._engines["smollm2-135m"][1] is other._engines["smollm2-135m"][1]
    await other.aclose()
    assert (await runtime.complete(raw("a"))).text
    assert (await other.complete(raw("a"))).text
    await other.aclose()


async def test_closing_ends_a_running_call(settings: Settings) -> None:
    """With an error that is not worth another try; the model of these options is unloaded."""
    options = {"context": 256, "slots": 1}
    runtime = Embedded(Endpoint("embedded", "embedded", options=options), settings)
    running = asyncio.create_task(anext(runtime.stream(raw("Once", NEVER_ENDING))))
    await running
    tasks = [asyncio.create_task(runtime.complete(raw("Once", NEVER_ENDING))) for _ in range(2)]
    await asyncio.sleep(0)
    await runtime.aclose()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(errors.ServerError, False)] * 2 == [(type(item), getattr(item, "retryable", None)) for item in ended]
    assert not [key for key in engines._shared if key[1] == engines.EngineOptions(context=256, slots=1)]


async def test_health_without_loading(runtime: Embedded, settings_in: Make, tmp_path: Path) -> None:
    """It says whether the weights are here or will be fetched."""
    here = await runtime.health()
    absent = await Embedded(Endpoint("embedded", "embedded"), settings_in(tmp_path, tmp_path / "none")).health()
    assert here.ok
    assert "smollm2-135m" in here.models
    assert (True, ()) == (absent.ok, absent.models)
    assert "93 MB" in absent.detail
    assert {} == runtime._engines


EXITS = """
import asyncio, sys
from pathlib import Path
from workbench.records import Params, Request
from workbench.serving.embedded import Embedded
from workbench.settings import Endpoint, load_settings
runtime = Embedded(Endpoint("embedded", "embedded"), load_settings(Path.cwd()))
request = Request("embedded/smollm2-135m", "completion", prompt="Once", params=Params(extra={"ignore_eos": True}))
async def main():
    async for chunk in runtime.stream(request):
        print("said", chunk.text, flush=True)
        sys.exit(3)
asyncio.run(main())
"""


def test_the_process_ends_while_the_model_speaks(real_weights: Path, tmp_path: Path) -> None:
    """Nobody closed anything: still no abort, no hang, no word on stderr, and the exit code is the program's."""
    environ = os.environ | {
        "WORKBENCH_WEIGHTS": str(real_weights),
        "PYTHONPATH": str(Path(engines.__file__).parents[2]),
    }
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", EXITS], cwd=tmp_path, env=environ, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (3, "") == (ended.returncode, ended.stderr)
    assert ended.stdout.startswith("said")


FORK = """
import asyncio, multiprocessing, sys
from pathlib import Path
from workbench.records import Message, Params, Request
from workbench.serving import open_runtime
from workbench.settings import Endpoint, load_settings

def ask(kept=[]):
    kept.append(open_runtime(Endpoint("embedded", "embedded"), load_settings(Path())))
    request = Request(
        "embedded/smollm2-135m", "chat", (Message("user", "hi"),), params=Params(temperature=0, max_tokens=2), timeout=20
    )
    async def main():
        return (await kept[-1].complete(request)).text
    print(asyncio.run(main()), flush=True)

ask()
child = multiprocessing.get_context("fork").Process(target=ask)
child.start()
child.join()
print(child.exitcode, flush=True)
ask()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_loads_its_own(real_weights: Path, tmp_path: Path) -> None:
    """The threads of the parent's are not there: a child would wait for ever."""
    environ = os.environ | {
        "WORKBENCH_WEIGHTS": str(real_weights),
        "PYTHONPATH": str(Path(engines.__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", FORK], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    said, again, code, last = done.stdout.split("\n")[:4]
    assert (said, "0", said) == (again, code, last), done.stderr


def test_a_missing_xllamacpp_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(errors.SettingsError, match="pip install xllamacpp"):
        engines.import_xllamacpp()
