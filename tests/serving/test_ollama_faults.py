"""The Ollama runtime: what it does not send, and servers that refuse, break, or cut a prompt silently."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from serving_doubles import OLLAMA, OLLAMA_SHOW, SHORT, ask, bodies, chat, http, listen, ndjson, ollama_at, sends, serve

from workbench import errors
from workbench.records import Message, Params, Request

Make = Callable[..., Any]
CTX = {"num_ctx": 1024}
RAW = Request("ollama/smollm2:135m", "completion", prompt="Say hi.", params=SHORT.params)
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}

# -- what is refused before anything is sent

BROKEN_CALL = {"id": "c", "function": {"name": "weather", "arguments": "{city"}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
REFUSED: list[tuple[Params | Request, str]] = [
    (Params(extra={"num_contx": 1}), r"params\.extra: Ollama has no option 'num_contx'\. Did you mean 'num_ctx'\?"),
    (Params(extra={"mirostatt": 5}), r"no option 'mirostatt'\. It would ignore it"),
    (Params(extra={"guided_json": {}}), r"no option 'guided_json'.*Known: allow_truncation, draft_num_predict"),
    (Params(extra={"num_ctx": "big"}), r"num_ctx = 'big' \(str\) must be a whole number from 1"),
    (Params(extra={"num_ctx": 0}), r"num_ctx = 0 \(int\) must be"),
    (Params(extra={"num_ctx": 4096.0}), r"num_ctx = 4096.0 \(float\) must be a whole number"),
    (Params(extra={"top_k": True}), r"top_k = True \(bool\) must be a whole number"),
    (Params(extra={"min_p": "0.1"}), r"min_p = '0.1' \(str\) must be a number from 0"),
    (Params(extra={"repeat_penalty": float("nan")}), r"repeat_penalty = nan \(float\) must be a number"),
    (Params(extra={"mirostat": 3}), r"mirostat = 3 \(int\) must be a whole number from 0 to 2"),
    (Params(extra={"use_mmap": 1}), r"use_mmap = 1 \(int\) must be true or false"),
    (Params(extra={"stop": "x"}), r"stop = 'x' \(str\) must be a list of texts"),
    (Params(extra={"keep_alive": "10 minutes"}), r"keep_alive = '10 minutes' \(str\) must be seconds, or a duration such as"),
    (Params(extra={"format": "yaml"}), r"format = 'yaml' \(str\) must be 'json' or a JSON schema"),
    (Params(extra={"truncate": True}), r"truncate is not yours to send.*allow_truncation = true"),
    (Params(extra={"system": "Be brief."}), r"system belongs to a completion.*message of role system"),
    (Params(temperature="hot"), r"params: temperature = 'hot' \(str\) must be a number"),  # type: ignore[arg-type]
    (Params(max_tokens=1.5), r"params: num_predict \(max_tokens\) = 1.5 \(float\)"),  # type: ignore[arg-type]
    (Params(tools=(WEATHER,), tool_choice="required"), r"tool_choice = 'required' is not possible.*leaves the choice"),
    (replace(RAW, params=Params(tools=(WEATHER,))), r"a completion takes no tools"),
    (replace(RAW, params=Params(extra={"suffix": "}"})), r"suffix means nothing\. Add raw = false"),
    (replace(OLLAMA, messages=()), r"there is no message"),
    (replace(OLLAMA, messages=(Message("user", parts=(IMAGE,)),)), r"'https://example.org/cat.png' is not in the message itself"),
    (replace(OLLAMA, messages=(Message("user", parts=({"type": "file"},)),)), r"not a part of type 'file'"),
    (replace(OLLAMA, messages=(Message("assistant", tool_calls=(BROKEN_CALL,)),)), r"'weather' in a message must be a JSON"),
    (replace(OLLAMA, messages=(Message("user", "\ud800"),)), r"half of a surrogate pair"),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("given", "said"), REFUSED, ids=[said[:40] for _, said in REFUSED])
async def test_what_ollama_would_ignore_or_break_on_is_not_sent(
    recorded: Make, endpoint: Make, given: Params | Request, said: str, stream: bool
) -> None:
    """The message names field, value and what it must be; nothing reaches the server."""
    server = serve(recorded)
    request = replace(OLLAMA, params=given) if isinstance(given, Params) else given
    runtime = ollama_at(endpoint, server.url)
    with pytest.raises(errors.BadRequestError, match=said):
        await (listen(runtime, request) if stream else ask(runtime, request))
    assert [] == server.seen


@pytest.mark.parametrize(
    ("version", "refused"), [("0.6.8", False), ("0.7.0", True), ("1.0.0", True), ("0.0.0-fb307608", True)]
)
async def test_options_that_ollama_has_dropped(recorded: Make, endpoint: Make, version: str, refused: bool) -> None:
    """A double of before 0.7 gets mirostat; a later one would ignore it, so it is an error."""
    server = serve(recorded)
    server.say("/api/version", {"version": version})
    server.say("/api/chat", chat())
    request = replace(OLLAMA, params=Params(extra=CTX | {"mirostat": 2}))
    runtime = ollama_at(endpoint, server.url)
    if refused:
        with pytest.raises(errors.BadRequestError, match=f"has not known mirostat since 0.7.*this one is {version}"):
            await ask(runtime, request)
    else:
        await ask(runtime, request)
        assert 2 == bodies(server, "/api/chat")[0]["options"]["mirostat"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"num_cxt": 1},
            r"workbench.toml: \[endpoints.ollama.options\]: Ollama has no option 'num_cxt'. Did you mean 'num_ctx'",
        ),
        ({"num_ctx": "4k"}, r"num_ctx = '4k' \(str\) must be a whole number from 1"),
        ({"allow_truncation": "yes"}, r"allow_truncation = 'yes' \(str\) must be true or false"),
        ({"system": "Be brief."}, r"no option 'system'"),
        ({"stream_usage": False}, r"no option 'stream_usage'"),
    ],
)
def test_wrong_options_of_an_endpoint(endpoint: Make, options: dict[str, Any], said: str) -> None:
    """They are errors of the settings, found before the first call."""
    with pytest.raises(errors.SettingsError, match=said):
        ollama_at(endpoint, "http://127.0.0.1:1", options=options)


async def test_params_are_laid_over_the_endpoints_options(recorded: Make, endpoint: Make) -> None:
    """The endpoint's options are defaults; params are stronger, and params.extra strongest."""
    server = serve(recorded)
    server.say("/api/chat", chat())
    options = {"num_ctx": 8192, "temperature": 0.5, "top_k": 5, "num_predict": 7, "keep_alive": "1h"}
    params = Params(temperature=0, max_tokens=8, stop=("\n",), extra={"num_predict": 9, "keep_alive": 60})
    await ask(ollama_at(endpoint, server.url, options=options), replace(OLLAMA, params=params))

    body = bodies(server, "/api/chat")[0]
    assert {"num_ctx": 8192, "temperature": 0, "top_k": 5, "num_predict": 9, "stop": ["\n"]} == body["options"]
    assert 60 == body["keep_alive"]


# -- faults

NESTED = json.dumps({"error": {
    "code": 400, "message": "request (2622 tokens) exceeds the available context size (512 tokens), try increasing it",
    "type": "exceed_context_size_error", "n_prompt_tokens": 2622, "n_ctx": 512,
}})  # fmt: skip
MULTIMODAL = json.dumps({"error": {
    "code": 400, "message": "Multimodal data provided, but model does not support multimodal requests.",
    "type": "invalid_request_error",
}})  # fmt: skip
WORDS: list[tuple[int, str, type[errors.CallError], bool, str]] = [
    (400, NESTED, errors.ContextLengthError, False,
     "the prompt has 2,622 tokens, and the context holds 512. Set num_ctx in params.extra, up to the 8,192 of this model"),
    (400, "the input length exceeds the context length", errors.ContextLengthError, False,
     "the prompt is too long, and the context holds 1,024"),
    (400, NESTED.replace("2622", "9000"), errors.ContextLengthError, False,
     "The model was trained with no more than 8,192: shorten the prompt"),
    (500, "the input length exceeds the context length", errors.ContextLengthError, False, "the prompt is too long"),
    (400, MULTIMODAL, errors.BadRequestError, False, "ollama/smollm2:135m does not support multimodal. Take a model"),
    (400, '"nomic-embed-text" does not support chat', errors.BadRequestError, False, "does not support chat"),
    (401, "unauthorized", errors.AuthenticationError, False, "OLLAMA_API_KEY"),
    (500, "model requires more system memory (8.0 GiB) than is available (2.0 GiB)", errors.ServerError, False, "8.0 GiB"),
    (500, "model runner has unexpectedly stopped", errors.ServerError, True, "unexpectedly stopped"),
    (404, "404 page not found", errors.BadRequestError, False, "either this is not Ollama's address"),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "words", "kind", "retryable", "said"), WORDS, ids=[f"{w[0]}-{n}" for n, w in enumerate(WORDS)]
)
async def test_refusals_of_a_double(
    recorded: Make, endpoint: Make, status: int, words: str, kind: type[errors.CallError], retryable: bool, said: str,
    stream: bool,
) -> None:  # fmt: skip
    """What servers from 0.12 to 0.40 say, some of it as JSON in a text, becomes the error that it means, with the fix."""
    server = serve(recorded)
    server.say("/api/chat", {"error": words}, status=status)
    runtime = ollama_at(endpoint, server.url)
    with pytest.raises(kind) as caught:
        await (listen(runtime, SHORT) if stream else ask(runtime, SHORT))

    assert (kind, status, retryable) == (type(caught.value), caught.value.status, caught.value.retryable)
    assert said in str(caught.value)


RECORDED_FAULTS: list[tuple[str, type[errors.CallError], bool, str]] = [
    ("unknown_model_chat", errors.ModelNotFoundError, False,
     "It has: smollm2:135m. Name one of those as ollama/MODEL, or get it with `workbench model pull ollama/smollm2:135m`"),
    ("think_unsupported", errors.BadRequestError, False, "does not support thinking. Leave out params.think"),
    ("tools_unsupported", errors.BadRequestError, False, "does not support tools. Leave out params.tools"),
    ("wrong_option_type", errors.BadRequestError, False, 'option "temperature" must be of type float32. Correct it in params'),
    ("busy_while_loading", errors.OverloadedError, True, "server busy"),
    ("malformed_json", errors.BadRequestError, False, "invalid character"),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("name", "kind", "retryable", "said"), RECORDED_FAULTS, ids=[item[0] for item in RECORDED_FAULTS]
)
async def test_refusals_of_a_recorded_ollama(
    recorded: Make, endpoint: Make, name: str, kind: type[errors.CallError], retryable: bool, said: str, stream: bool
) -> None:
    """Each is its own error, and is tried again only where that can help."""
    server = serve(recorded)
    server.play(name)
    runtime = ollama_at(endpoint, server.url)
    with pytest.raises(kind) as caught:
        await (listen(runtime, SHORT) if stream else ask(runtime, SHORT))

    assert (kind, retryable) == (type(caught.value), caught.value.retryable)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("words", "kind"),
    [("an error was encountered while running the model", errors.ServerError), (NESTED, errors.ContextLengthError)],
)
async def test_an_error_inside_a_stream_of_a_double(
    recorded: Make, endpoint: Make, words: str, kind: type[errors.CallError]
) -> None:
    """200 was said before anything went wrong; the pieces that came are not taken for an answer."""
    server = serve(recorded)
    server.say("/api/chat", chat("The", done=False), {"error": words})
    with pytest.raises(kind):
        await listen(ollama_at(endpoint, server.url), SHORT)


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (ndjson(chat("The", done=False)), errors.IncompleteStreamError, "after 3 characters"),
        (ndjson(chat("The", done=False), length=9999), errors.IncompleteStreamError, "after 3 characters"),
        (ndjson(), errors.IncompleteStreamError, "after nothing"),
        (http("<html>Sign in</html>", content_type="text/html"), errors.BadAnswerError, "HTML"),
        (http("<html>", content_type="application/x-ndjson"), errors.IncompleteStreamError, "nothing"),
        (http("<html>\n", content_type="application/x-ndjson"), errors.BadAnswerError, "HTML"),
        (ndjson({"hello": "world"}), errors.BadAnswerError, "no part of an answer of Ollama"),
        (http("[]\n", content_type="application/x-ndjson"), errors.BadAnswerError, "no JSON|OLLAMA_HOST"),
        (ndjson(chat("", message={"content": 3})), errors.BadAnswerError, "no part of an answer"),
        (ndjson(chat("", message={"tool_calls": [{}]})), errors.BadAnswerError, "no part of an answer"),
    ],
)  # fmt: skip
async def test_streams_of_a_double_that_go_wrong(
    raw: Make, endpoint: Make, answer: bytes, kind: type[errors.CallError], said: str
) -> None:
    """Half an answer, or none, is never taken for a whole one."""
    with pytest.raises(kind, match=said):
        await listen(ollama_at(endpoint, raw(sends(answer)).url), SHORT)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<html>Sign in</html>", "HTML"),
        ("[]", "no part of an answer"),
        ('{"hello": 1}', "no part of an answer"),
        ("{", "no JSON"),
    ],
)
async def test_200_without_an_answer_from_a_double(raw: Make, endpoint: Make, body: str, said: str) -> None:
    """A web page at that address, or another API."""
    with pytest.raises(errors.BadAnswerError, match=said):
        await ask(ollama_at(endpoint, raw(sends(http(body))).url), SHORT)


async def test_an_unfinished_answer_of_a_double(recorded: Make, endpoint: Make) -> None:
    """done must be true."""
    server = serve(recorded)
    server.say("/api/chat", chat("The", done=False))
    with pytest.raises(errors.IncompleteStreamError, match="3 characters"):
        await ask(ollama_at(endpoint, server.url), SHORT)


async def test_an_empty_prompt_only_loads_the_model(recorded: Make, endpoint: Make) -> None:
    """Ollama calls that an answer; it is none."""
    server = serve(recorded)
    server.say("/api/generate", {"response": "", "done": True, "done_reason": "load"})
    with pytest.raises(errors.BadRequestError, match="the prompt is empty"):
        await ask(ollama_at(endpoint, server.url), replace(RAW, prompt=""))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_double_that_stalls(raw: Make, endpoint: Make, stream: bool) -> None:
    """The deadline ends it, and hanging up frees the server."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if stream:
            writer.write(ndjson(chat("The", done=False), length=9999))
            await writer.drain()
        await server.hold(reader)

    server = raw(act)
    runtime = ollama_at(endpoint, server.url)
    with pytest.raises(errors.CallTimeoutError, match="stopped after 3 characters" if stream else "within 1 s"):
        await (listen(runtime, replace(SHORT, timeout=1.0)) if stream else ask(runtime, replace(SHORT, timeout=1.0)))
    assert server.closed.wait(60)


async def test_cancelling_a_stream_hangs_up(raw: Make, endpoint: Make) -> None:
    """Leaving the loop over a stream stops the server's work."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ndjson(chat("The", done=False), length=9999))
        await writer.drain()
        await server.hold(reader)

    server = raw(act)
    runtime = ollama_at(endpoint, server.url)
    chunks = runtime.stream(SHORT)
    assert "The" == (await anext(chunks)).text
    await chunks.aclose()
    assert await asyncio.to_thread(server.closed.wait, 60)
    await runtime.aclose()


async def test_nobody_listens(endpoint: Make) -> None:
    """The message says how to start it."""
    with pytest.raises(errors.ConnectError, match=r"Start it with `ollama serve`.*OLLAMA_HOST"):
        await ask(ollama_at(endpoint, "http://127.0.0.1:9"), SHORT)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_key_is_sent_and_shown_nowhere(recorded: Make, endpoint: Make, stream: bool) -> None:
    """A server that repeats it does not bring it into an error."""
    server = serve(recorded)
    server.say("/api/chat", {"message": {"content": "s3cret"}, "wrong": "s3cret"}, status=418)
    runtime = ollama_at(endpoint, server.url, key="s3cret")
    for body, status in (
        ({"error": "not with s3cret"}, 400),
        ({"hello": "s3cret"}, 200),
        ({"error": "s3cret broke"}, 200),
    ):
        server.say("/api/chat", body, status=status)
        with pytest.raises(errors.CallError) as caught:
            await (listen(runtime, SHORT) if stream else ask(runtime, SHORT))
        assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(runtime)
    assert "Bearer s3cret" == server.seen[0][1]["Authorization"]


# -- prompts that did not fit

LONG = replace(SHORT, messages=(Message("user", "word " * 3000),), params=Params(max_tokens=4, extra={"num_ctx": 512}))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_recorded_silent_truncation_is_found(recorded: Make, endpoint: Make, stream: bool) -> None:
    """3,000 words in a context of 512 tokens: the server said 200, and had read 258."""
    server = serve(recorded)
    whole = server.exchanges["silent_truncation"]["response"]["json"]
    server.say("/api/chat", *([chat("", done=False), whole] if stream else [whole]))
    with pytest.raises(errors.ContextLengthError) as caught:
        await (listen(ollama_at(endpoint, server.url), LONG) if stream else ask(ollama_at(endpoint, server.url), LONG))
    expected = (
        "ollama/smollm2:135m: the prompt has at least 3,000 tokens, and the context holds 512. Set num_ctx in params.extra, up "
        "to the 8,192 of this model (memory grows with it), or for all calls under [endpoints.ollama.options] in workbench.toml; "
        "or shorten the prompt. With allow_truncation = true Ollama answers to what fits, and the answer is flagged as truncated."
    )
    assert expected == str(caught.value)
    assert not caught.value.retryable


@pytest.mark.parametrize("where", ["endpoint", "request"])
async def test_a_truncation_that_is_allowed_is_flagged(recorded: Make, endpoint: Make, where: str) -> None:
    """Then the server is asked for what it does by itself."""
    server = serve(recorded)
    server.play("silent_truncation")
    allowed = {"allow_truncation": True}
    request = (
        LONG if where == "endpoint" else replace(LONG, params=replace(LONG.params, extra=LONG.params.extra | allowed))
    )
    answer = await ask(ollama_at(endpoint, server.url, options=allowed if where == "endpoint" else {}), request)

    assert (True, 258) == (answer.truncated, answer.usage.prompt_tokens)
    assert not {"truncate", "shift", "allow_truncation"} & bodies(server, "/api/chat")[0].keys()


def counts(prompt: int | None, answer: int = 2, reason: str = "stop", **fields: Any) -> dict[str, Any]:
    return chat(prompt_eval_count=prompt, eval_count=answer, done_reason=reason, load_duration=10**6, **fields)


def told(context: int | None, name: str = "smollm2:135m") -> dict[str, Any]:
    return {"models": [{"name": name} | ({"context_length": context} if context else {})]}


OLD = {"model_info": OLLAMA_SHOW["model_info"]}  # a server that tells no capabilities, and may not count cached tokens
CUT: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any], int, str | None]] = [
    # what, num_ctx and max_tokens, /api/ps, /api/show, the answer, words of the prompt, what is said
    ("0.12.5 cuts to the context", {"num_ctx": 512}, {}, OLLAMA_SHOW, counts(512, 11), 300, "cut to the 512 tokens that fit"),
    ("to one less", {"num_ctx": 512}, {}, OLLAMA_SHOW, counts(511, 11), 300, "cut to the 511 tokens"),
    ("a server that cuts to its own context", {}, told(4096), OLLAMA_SHOW, counts(4096), 3000, "the context holds 4,096"),
    ("a server that tells nothing", {}, {}, OLD, counts(4096), 3000, "the context holds 4,096"),
    ("half the context", {}, told(4096), OLLAMA_SHOW, counts(2050), 3100, "only 2,050 tokens of a prompt that has"),
    ("messages left out", {}, told(4096), OLLAMA_SHOW, counts(30), 5000, "the prompt has at least 5,000 tokens"),
    ("no count at all", {"num_ctx": 512}, {}, OLLAMA_SHOW, counts(None), 600, "the prompt has at least 600 tokens"),
    ("an old server, no count", {"num_ctx": 512}, {}, OLD, counts(None), 600, "the prompt has at least 600 tokens"),
    ("0.12.6 without shift = false", {"num_ctx": 512}, {}, OLLAMA_SHOW, counts(496, 30), 300, "outgrew it, and the beginning"),
    ("answer cut by the window", {"num_ctx": 512, "max_tokens": 900}, {}, OLLAMA_SHOW, counts(61, 451, "length"), 40,
     "after a prompt of 61 tokens the answer had room for 451 of the 900"),
    ("by 0.12.6", {"num_ctx": 512, "max_tokens": 900}, {}, OLLAMA_SHOW, counts(61, 452, "length"), 40, "room for 452 of the 900"),
    ("more than the model was trained with", {"num_ctx": 16384}, {}, OLLAMA_SHOW, counts(8192), 6000, "no more than 8,192"),

    ("all fits", {"num_ctx": 512}, {}, OLLAMA_SHOW, counts(318, 7), 300, None),
    ("ends exactly at the window", {"num_ctx": 512}, {}, OLLAMA_SHOW, counts(500, 12), 300, None),
    ("length by max_tokens", {"num_ctx": 512, "max_tokens": 100}, {}, OLLAMA_SHOW, counts(412, 100, "length"), 300, None),
    ("fills the window as it was asked to", {"num_ctx": 512}, {}, OLLAMA_SHOW, counts(61, 451, "length"), 40, None),
    ("without a limit", {"num_ctx": 512, "max_tokens": -1}, {}, OLLAMA_SHOW, counts(61, 451, "length"), 40, None),
    ("a larger context, told", {}, told(32768), OLLAMA_SHOW, counts(4096), 3000, None),
    ("a larger context, not told", {}, {}, OLD, counts(5000), 3000, None),
    ("an old server that counts no cached tokens", {}, {}, OLD, counts(2100), 3000, None),
    ("and is given a context", {"num_ctx": 4096}, {}, OLD, counts(2100), 3000, None),
    ("no count of a short prompt", {"num_ctx": 512}, {}, OLLAMA_SHOW, counts(None), 300, None),
    ("no count, and nothing told", {}, {}, OLD, counts(None), 5000, None),
    ("a template that leaves text out", {}, told(4096), OLLAMA_SHOW, counts(40), 900, None),
    ("more than trained, on a server that gives it", {"num_ctx": 16384}, {}, OLD, counts(9000), 6000, None),
    ("another model in memory", {}, told(512, "other:1b"), OLLAMA_SHOW, counts(512), 300, None),
    ("a cloud model", {}, {}, OLLAMA_SHOW, counts(4096, remote_host="https://ollama.com"), 3000, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "ps", "show", "answer", "words", "said"), [c[1:] for c in CUT], ids=[c[0] for c in CUT]
)
async def test_whether_a_double_cut_the_prompt(
    recorded: Make, endpoint: Make, given: dict[str, Any], ps: dict[str, Any], show: dict[str, Any], answer: dict[str, Any],
    words: int, said: str | None,
) -> None:  # fmt: skip
    """Counts of servers old and new: what was cut is found, and nothing else is taken for it."""
    server = serve(recorded)
    server.say("/api/ps", ps)
    server.say("/api/show", show)
    server.say("/api/chat", answer)
    extra = {"num_predict" if name == "max_tokens" else name: value for name, value in given.items()}
    request = replace(OLLAMA, messages=(Message("user", "word " * words),), params=Params(extra=extra))
    runtime = ollama_at(endpoint, server.url)
    if said is None:
        found = await ask(runtime, request)
        assert not found.truncated
    else:
        with pytest.raises(errors.ContextLengthError, match=said):
            await ask(runtime, request)


async def test_the_context_is_asked_for_once_and_again_after_a_reload(recorded: Make, endpoint: Make) -> None:
    """A model that was loaded anew may have another one."""
    server = serve(recorded)
    server.say("/api/ps", told(8192))
    server.say("/api/chat", counts(600))
    runtime = ollama_at(endpoint, server.url)
    for _ in range(3):
        await runtime.complete(OLLAMA)
    assert 1 == len(bodies(server, "/api/ps"))

    server.say("/api/ps", told(600))
    server.say("/api/chat", counts(600) | {"load_duration": 10**9})
    with pytest.raises(errors.ContextLengthError, match="the context holds 600"):
        await runtime.complete(OLLAMA)
    assert 2 == len(bodies(server, "/api/ps"))
    await runtime.aclose()


@pytest.mark.parametrize("path", ["/api/ps", "/api/show"])
async def test_a_double_that_tells_no_context_is_no_hindrance(recorded: Make, endpoint: Make, path: str) -> None:
    """A proxy may let nothing through but the call itself; it is asked once."""
    server = serve(recorded)
    server.say("/api/chat", counts(100))
    server.say(path, {"error": "forbidden"}, status=403)
    runtime = ollama_at(endpoint, server.url)
    for _ in range(2):
        assert "ok" == (await runtime.complete(OLLAMA if path == "/api/ps" else SHORT)).text
    await runtime.aclose()
    assert 1 == len(bodies(server, path))
