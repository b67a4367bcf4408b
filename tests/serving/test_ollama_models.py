"""The models of an Ollama server: described, listed, pulled, loaded, embedding, on several addresses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from serving_doubles import OLLAMA_SHOW, bodies, http, ndjson, ollama_at, sends, serve

from workbench import errors
from workbench.records import ModelInfo, Usage
from workbench.serving.ollama import Ollama

Make = Callable[..., Any]


# -- the models of a server


async def test_describe_of_a_recorded_ollama(recorded: Make, endpoint: Make) -> None:
    """Digest, the context of the model, what it can do, and the server's version."""
    runtime = ollama_at(endpoint, serve(recorded).url)
    info = await runtime.describe("smollm2:135m")
    await runtime.aclose()

    digest = "fd5f44c0b5aff6453726119fc560d73a8a995a55b4a49804bc24b1969ecf1794"
    assert ModelInfo("smollm2:135m", digest, 8192, "ollama 0.0.0-fb307608", capabilities=("completion",)) == info


@pytest.mark.parametrize("name", ["llama3.2", "llama3.2:latest", "library/llama3.2", "Llama3.2"])
async def test_describe_of_a_double_finds_the_digest_by_any_name(recorded: Make, endpoint: Make, name: str) -> None:
    """`:latest` and the library's name may be left out."""
    server = serve(recorded)
    server.say(
        "/api/tags", {"models": [{"name": "llama3.2:3b", "digest": "bb"}, {"name": "llama3.2:latest", "digest": "aa"}]}
    )
    server.say("/api/show", OLLAMA_SHOW)
    runtime = ollama_at(endpoint, server.url)
    assert "aa" == (await runtime.describe(name)).digest
    await runtime.aclose()


async def test_describe_what_a_recorded_ollama_does_not_have(recorded: Make, endpoint: Make) -> None:
    """The error lists what there is, and how to get what is not."""
    runtime = ollama_at(endpoint, serve(recorded).url)
    with pytest.raises(errors.ModelNotFoundError, match=r"It has: smollm2:135m\..*workbench model pull ollama/nope"):
        await runtime.describe("nope")
    await runtime.aclose()


async def test_describe_of_a_double_that_says_little(recorded: Make, endpoint: Make) -> None:
    """An old server tells neither context nor capabilities."""
    server = serve(recorded)
    server.say("/api/show", {"license": "MIT"})
    server.say("/api/tags", {"models": None})
    server.say("/api/version", {}, status=404)
    runtime = ollama_at(endpoint, server.url)
    assert ModelInfo("m") == await runtime.describe("m")
    await runtime.aclose()


async def test_health_of_a_recorded_ollama(recorded: Make, endpoint: Make) -> None:
    """Version and models; one without any says how to get one."""
    server = serve(recorded)
    runtime = ollama_at(endpoint, server.url)
    health = await runtime.health()
    server.play("tags_empty")
    empty = await runtime.health()
    await runtime.aclose()

    assert (True, "ollama 0.0.0-fb307608", ("smollm2:135m",), "") == (
        health.ok,
        health.version,
        health.models,
        health.fix,
    )
    assert f"answers at {server.url}, 1 model" == health.detail
    assert (True, "workbench model pull ollama/llama3.2:3b") == (empty.ok, empty.fix)


async def test_health_where_nobody_listens(endpoint: Make) -> None:
    """It says so, and how to start it."""
    runtime = ollama_at(endpoint, "http://127.0.0.1:9")
    health = await runtime.health()
    await runtime.aclose()
    assert not health.ok
    assert "nobody listens" in health.detail
    assert "ollama serve" in health.fix


async def test_list_running_and_show_of_a_recorded_ollama(recorded: Make, endpoint: Make) -> None:
    """As the server tells them."""
    server = serve(recorded)
    server.play("ps")
    runtime = ollama_at(endpoint, server.url)
    listed, running, shown = await runtime.list(), await runtime.running(), await runtime.show("smollm2:135m")
    await runtime.aclose()

    assert [("smollm2:135m", 98362745)] == [(item["name"], item["size"]) for item in listed]
    assert [("smollm2:135m", 4096)] == [(item["name"], item["context_length"]) for item in running]
    assert ("Q4_1", ["completion"]) == (shown["details"]["quantization_level"], shown["capabilities"])


async def test_load_and_unload_of_a_recorded_ollama(recorded: Make, endpoint: Make) -> None:
    """The bodies are those that a real server was sent."""
    server = serve(recorded)
    server.play("ps")
    runtime = ollama_at(endpoint, server.url)
    state = await runtime.load("smollm2:135m")
    await runtime.unload("smollm2:135m")
    await runtime.aclose()

    assert state is not None
    assert 4096 == state["context_length"]
    sent = bodies(server, "/api/chat")
    assert [server.exchanges[name]["request"]["json"] for name in ("load", "unload")] == sent


async def test_a_model_is_loaded_as_it_will_be_asked(recorded: Make, endpoint: Make) -> None:
    """With the endpoint's options of the model in memory, else the first call would load it anew."""
    server = serve(recorded)
    server.say("/api/chat", {"done": True, "done_reason": "load"})
    runtime = ollama_at(endpoint, server.url, options={"num_ctx": 8192, "temperature": 0, "keep_alive": "1h"})
    await runtime.load("m")
    await runtime.load("m", keep_alive=-1)
    await runtime.aclose()

    body = {"model": "m", "messages": [], "options": {"num_ctx": 8192}}
    assert [body | {"keep_alive": "1h"}, body | {"keep_alive": -1}] == bodies(server, "/api/chat")


async def test_a_double_of_an_embedding_model_is_loaded_too(recorded: Make, endpoint: Make) -> None:
    """It takes no chat, not even an empty one."""
    server = serve(recorded)
    server.say("/api/chat", {"error": '"nomic-embed-text" does not support chat'}, status=400)
    server.say("/api/embed", {"embeddings": []})
    runtime = ollama_at(endpoint, server.url)
    assert await runtime.load("nomic-embed-text") is None
    await runtime.aclose()
    assert [{"model": "nomic-embed-text", "input": []}] == bodies(server, "/api/embed")


async def test_what_cannot_be_loaded_is_an_error(recorded: Make, endpoint: Make) -> None:
    """A model that is not there."""
    server = serve(recorded)
    server.play("unknown_model_chat")
    runtime = ollama_at(endpoint, server.url)
    with pytest.raises(errors.ModelNotFoundError, match="It has: smollm2:135m"):
        await runtime.load("nope")
    await runtime.aclose()


# -- pulls

Seen = list[tuple[int, int, str]]


async def pulled(runtime: Ollama, model: str = "smollm2:135m", **fields: Any) -> Seen:
    seen: Seen = []
    try:
        await runtime.pull(model, progress=lambda *state: seen.append(state), **fields)
    finally:
        await runtime.aclose()
    return seen


async def test_a_recorded_pull_is_followed(recorded: Make, endpoint: Make) -> None:
    """Bytes of all layers together; `completed` may be absent."""
    seen = await pulled(ollama_at(endpoint, serve(recorded).url))

    assert (0, 0, "pulling manifest") == seen[0]
    assert (524288, 98362432, "pulling b179c9523d0e") == seen[1]
    assert (97779712, 98362534, "pulling e3b2721cec51") == seen[-4]
    assert ["verifying sha256 digest", "writing manifest"] == [status for _, _, status in seen[-3:-1]]
    assert (98362534, 98362534, "success") == seen[-1]


async def test_a_recorded_pull_that_failed(recorded: Make, endpoint: Make) -> None:
    """The error comes inside a 200 stream."""
    server = serve(recorded)
    server.play("pull_unreachable_registry_stream")
    with pytest.raises(
        errors.ServerError, match=r"could not pull 'm': pull model manifest: .*connection refused\. What it has"
    ):
        await pulled(ollama_at(endpoint, server.url), "m")


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        ("pull model manifest: file does not exist", errors.ModelNotFoundError, "library has no model 'm'"),
        (
            "pull model manifest: 412: requires a newer version of Ollama",
            errors.BadRequestError,
            "needs a newer Ollama",
        ),
        ("write /models/blob: no space left on device", errors.ServerError, "no space left on device"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_pulls_of_a_double_that_fail(
    recorded: Make, endpoint: Make, said: str, kind: type[errors.CallError], message: str, streamed: bool
) -> None:
    """Before the stream began or in it: each with what to do."""
    server = serve(recorded)
    answers = [{"status": "pulling manifest"}, {"error": said}] if streamed else [{"error": said}]
    server.say("/api/pull", *answers, status=200 if streamed else 500)
    with pytest.raises(kind, match=message):
        await pulled(ollama_at(endpoint, server.url), "m")


def layer(done: int) -> dict[str, Any]:
    return {"status": "pulling aa", "digest": "sha256:aa", "total": 300, "completed": done}


async def test_a_pull_that_was_cut_goes_on(raw: Make, endpoint: Make) -> None:
    """As long as each try brings more; Ollama keeps what it has."""
    tries = [ndjson(layer(100), length=9999), ndjson(layer(200)), ndjson(layer(300), {"status": "success"})]
    waits: list[float] = []

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = server.heads[-1]
        if "/api/pull" in head:
            writer.write(tries.pop(0))
        else:
            writer.write(http(json.dumps(OLLAMA_SHOW | {"models": [], "version": "0.34.0"})))

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    server = raw(act)
    found = endpoint(server.url, name="ollama", kind="ollama")
    seen = await pulled(Ollama(found, sleep=sleep), "m")

    assert [100, 200, 300, 300] == [done for done, _, _ in seen]
    assert [1.0, 1.0] == waits


async def test_a_pull_that_brings_nothing_more_is_given_up(raw: Make, endpoint: Make) -> None:
    """A second try that got no further than the first is the last."""

    async def sleep(seconds: float) -> None:
        return None

    server = raw(sends(ndjson(layer(100))))
    found = endpoint(server.url, name="ollama", kind="ollama")
    with pytest.raises(errors.IncompleteStreamError, match="100 bytes"):
        await pulled(Ollama(found, sleep=sleep), "m")
    assert 2 == len(server.heads)


async def test_a_pull_of_a_double_that_stalls(raw: Make, endpoint: Make) -> None:
    """There is a deadline for each word of the server, and none for the whole."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.hold(reader)

    server = raw(act)
    with pytest.raises(
        errors.CallTimeoutError, match=r"said nothing for 0.2 s while it pulled 'm' \(0 bytes by then\)"
    ):
        await pulled(ollama_at(endpoint, server.url), "m", stall=0.2)


async def test_a_slow_pull_outlasts_its_deadline_for_each_word(
    raw: Make, endpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight words, each of which took 0.8 of the deadline by the clock."""
    now, heard = [0.0], asyncio.Event()

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if "/api/pull" not in server.heads[-1]:
            writer.write(http(json.dumps(OLLAMA_SHOW | {"models": []})))
            return
        lines = [json.dumps(layer(done)) + "\n" for done in range(100, 107)] + ['{"status": "success"}\n']
        writer.write(http("", length=sum(map(len, lines)), content_type="application/x-ndjson"))
        for line in lines:
            now[0] += 40.0
            writer.write(line.encode())
            await writer.drain()
            await heard.wait()
            heard.clear()

    server = raw(act)
    monkeypatch.setattr("workbench.serving.connection.time", SimpleNamespace(perf_counter=lambda: now[0]))
    words: list[int] = []

    def show(done: int, total: int, status: str) -> None:
        words.append(done)
        server.loop.call_soon_threadsafe(heard.set)

    runtime = ollama_at(endpoint, server.url)
    await runtime.pull("m", progress=show, stall=50.0)
    await runtime.aclose()
    assert [*range(100, 107), 300] == words


# -- embeddings


async def test_embeddings_of_a_double(recorded: Make, endpoint: Make) -> None:
    """One row a text; too long a text is to be refused, not cut."""
    server = serve(recorded)
    answer = {"embeddings": [[1, 0], [0, 1]], "load_duration": 2 * 10**9, "prompt_eval_count": 7}
    server.say("/api/embed", answer)
    runtime = ollama_at(endpoint, server.url, options={"num_ctx": 8192, "temperature": 0, "keep_alive": "1h"})
    found = await runtime.embed(["a", "b"], "nomic-embed-text")
    await runtime.aclose()

    assert ((2, 2), "float32", [1.0, 0.0]) == (found.vectors.shape, found.vectors.dtype, list(found.vectors[0]))
    assert (Usage(7), 2.0, "ollama/nomic-embed-text") == (found.usage, found.timing.loading, found.model)
    body = {"model": "nomic-embed-text", "input": ["a", "b"], "keep_alive": "1h", "options": {"num_ctx": 8192}}
    assert [body | {"truncate": False}] == bodies(server, "/api/embed")


async def test_no_texts_give_no_rows(recorded: Make, endpoint: Make) -> None:
    """An empty list is a list."""
    server = serve(recorded)
    server.say("/api/embed", {"embeddings": []})
    runtime = ollama_at(endpoint, server.url, options={"allow_truncation": True})
    found = await runtime.embed([], "m")
    await runtime.aclose()
    assert (0, 0) == found.vectors.shape
    assert [{"model": "m", "input": []}] == bodies(server, "/api/embed")


async def test_a_recorded_chat_model_makes_no_embeddings(recorded: Make, endpoint: Make) -> None:
    """Ollama calls that 501; asking again cannot help."""
    runtime = ollama_at(endpoint, serve(recorded).url, options={"allow_truncation": True})
    with pytest.raises(
        errors.BadRequestError, match=r"does not support embeddings\. Embed with nomic-embed-text"
    ) as caught:
        await runtime.embed(["hello"], "smollm2:135m")
    await runtime.aclose()
    assert (501, False) == (caught.value.status, caught.value.retryable)


@pytest.mark.parametrize(
    ("answer", "status", "kind", "said"),
    [
        ({"embeddings": [[1, 0]]}, 200, errors.BadAnswerError, "1 vectors for 2 texts"),
        ({"embeddings": [[1], [1, 2]]}, 200, errors.BadAnswerError, "sent no vectors"),
        ({"embeddings": [1, 2]}, 200, errors.BadAnswerError, "sent no vectors"),
        ({"hello": 1}, 200, errors.BadAnswerError, "sent no vectors"),
        ([], 200, errors.BadAnswerError, "sent no vectors"),
        ({"error": "the input length exceeds the context length"}, 500, errors.ContextLengthError, "too long"),
        ({"error": "input exceeds maximum context length"}, 400, errors.ContextLengthError, "the 8,192 of this model"),
    ],
)
async def test_embeddings_of_a_double_that_go_wrong(
    recorded: Make, endpoint: Make, answer: Any, status: int, kind: type[errors.CallError], said: str
) -> None:
    """Never a row too few, and a text that is too long says so."""
    server = serve(recorded)
    server.say("/api/embed", answer, status=status)
    server.say("/api/show", OLLAMA_SHOW)
    runtime = ollama_at(endpoint, server.url)
    with pytest.raises(kind, match=said):
        await runtime.embed(["a", "b"], "m")
    await runtime.aclose()


# -- several addresses


async def test_each_address_has_models_of_its_own(recorded: Make, endpoint: Make) -> None:
    """What is pulled or loaded is so on all of them; the list is of all."""
    one, other = serve(recorded), serve(recorded)
    other.say(
        "/api/tags",
        {"models": [{"name": "a:1b", "digest": "aa"}, *one.exchanges["tags"]["response"]["json"]["models"]]},
    )
    runtime = ollama_at(endpoint, one.url, other.url)
    await runtime.pull("smollm2:135m", progress=lambda *state: None)
    await runtime.load("smollm2:135m")
    names = [item["name"] for item in await runtime.list()]
    await runtime.aclose()

    assert ["a:1b", "smollm2:135m"] == names
    for server in (one, other):
        assert (1, 1) == (len(bodies(server, "/api/pull")), len(bodies(server, "/api/chat")))


async def test_addresses_with_different_weights_under_one_name(recorded: Make, endpoint: Make) -> None:
    """Answers of two models must not be taken for those of one."""
    one, other = serve(recorded), serve(recorded)
    other.say("/api/tags", {"models": [{"name": "smollm2:135m", "digest": "bb"}]})
    runtime = ollama_at(endpoint, one.url, other.url)
    with pytest.raises(errors.BadAnswerError, match=f"different weights.*{one.url} fd5f44c0b5af, {other.url} bb"):
        await runtime.describe("smollm2:135m")
    await runtime.aclose()


async def test_health_of_one_address_that_is_gone(recorded: Make, endpoint: Make) -> None:
    """It says how many answer."""
    runtime = ollama_at(endpoint, serve(recorded).url, "http://127.0.0.1:9")
    health = await runtime.health()
    await runtime.aclose()
    assert (False, ("smollm2:135m",)) == (health.ok, health.models)
    assert "1 of 2 replicas answer" in health.detail
