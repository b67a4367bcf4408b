"""Models in this process. Through llama.cpp: `embedded/smollm2-135m`, or `embedded/PATH.gguf` for a file of your own. Through
onnxruntime: `embedded/minilm-l6`, which makes vectors."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workbench import weights
from workbench.errors import (
    BadAnswerError,
    BadRequestError,
    CallError,
    CallTimeoutError,
    ContextLengthError,
    ModelNotFoundError,
    ServerError,
)
from workbench.records import (
    Chunk,
    Completion,
    Embeddings,
    Health,
    ModelInfo,
    Request,
    Timing,
    Usage,
    digest,
    split_model,
)
from workbench.serving import engine as engines
from workbench.serving import minilm
from workbench.serving.wire import StreamedAnswer, request_body

if TYPE_CHECKING:
    from workbench.settings import Endpoint, Settings

__all__ = ["Embedded", "gguf_file", "in_thread"]

T = TypeVar("T")


class Embedded:
    """Runs GGUF files with llama.cpp, and MiniLM with onnxruntime. A model is loaded at its first call, which is in no latency.

    The options of the endpoint: `threads` (1), `context` (2048 tokens a call), `slots` (4).
    progress: told of a download of weights, see `workbench.weights`. clock: Unix seconds.
    """

    kind = "embedded"

    def __init__(
        self,
        endpoint: Endpoint,
        settings: Settings,
        *,
        progress: weights.Progress | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.concurrency = endpoint.concurrency or 1
        self._name = endpoint.name
        self._options = engines.EngineOptions.from_mapping(endpoint.options, f"[endpoints.{endpoint.name}] options")
        self._project = settings.project
        self._folder = settings.weights
        self._progress = progress
        self._clock = clock
        self._lock = threading.Lock()
        self._engines: dict[str, tuple[Path, engines.Engine]] = {}
        self._encoders: dict[str, minilm.MiniLM] = {}

    def __repr__(self) -> str:
        return f"Embedded({self._name!r}, {self._options}, loaded={sorted(self._engines)})"

    async def complete(self, request: Request) -> Completion:
        """The whole answer. The deadline counts from when the model is loaded. Raises a CallError."""
        last = Chunk()
        async for chunk in self._run(request, pieces=False):
            last = chunk
        assert last.completion is not None  # noqa: S101  (for the type checker: the last chunk carries it)
        return last.completion

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Token by token. The deadline counts from when the model is loaded. Raises a CallError."""
        async for chunk in self._run(request, pieces=True):
            yield chunk

    async def embed(self, texts: Sequence[str], model: str, timeout: float = 60.0) -> Embeddings:
        """One vector of length 1 a text, of its first 256 tokens. The deadline counts from when the model is loaded.

        Raises a CallError; BadRequestError for a model that answers.
        """
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise BadRequestError(f"{self._name}/{model}: texts[{index}] is {text!r:.80}, which is not text.")
        encoder = self._encoders.get(model)
        if encoder is None:
            encoder = await in_thread(partial(self._load_encoder, model))
        started_at, began = self._clock(), time.perf_counter()
        try:
            async with asyncio.timeout(timeout):
                found = await in_thread(partial(encoder.encode, texts))
        except TimeoutError:
            raise CallTimeoutError(
                f"{self._name}/{model}: no vectors for {len(texts):,} texts within {timeout:g} s. Give it more time (timeout), "
                "or fewer texts at once."
            ) from None
        timing = Timing(started_at, time.perf_counter() - began - found.queued, found.queued)
        return Embeddings(found.vectors, Usage(prompt_tokens=found.tokens), timing, f"{self._name}/{model}")

    async def describe(self, model: str) -> ModelInfo:
        """digest: SHA-256 of the file; of a model that makes vectors, of all that determines them. context_length: tokens that
        fit into one call. Fetches weights that are missing."""
        return await in_thread(lambda stop: self._describe(model, stop))

    async def health(self) -> Health:
        """Whether llama.cpp is installed and which models are here; loads nothing."""
        if util.find_spec("xllamacpp") is None:
            return Health(False, "xllamacpp is not installed", fix="pip install xllamacpp")
        here = [name for name in weights.KNOWN if weights.present(name, self._folder)]
        missing = [
            f"{name} is fetched at its first use ({known.download / 1e6:.0f} MB)"
            for name, known in weights.KNOWN.items()
            if name not in here
        ]
        detail = "; ".join([*([f"{', '.join(here)} in {self._folder}"] if here else []), *missing])
        return Health(True, detail, _version(), tuple(here))

    async def aclose(self) -> None:
        """Stop running calls and unload what no other runtime of this process uses."""
        with self._lock:
            held = list(self._engines.values())
            self._engines.clear()
        self._encoders.clear()
        for path, _ in held:
            await in_thread(lambda stop, path=path: engines.release(path, self._options))  # type: ignore[misc]

    async def _run(self, request: Request, *, pieces: bool) -> AsyncGenerator[Chunk, None]:
        model = split_model(request.model)[1]
        found = self._engines.get(model)
        engine = found[1] if found else await in_thread(lambda stop: self._load(model, stop))
        call = _Call(request, asyncio.get_running_loop(), pieces, self._clock)
        left = request.timeout
        engine.submit(call)
        try:
            while True:
                waited = time.perf_counter()
                async with asyncio.timeout(left):
                    text = await call.pieces.get()
                left -= time.perf_counter() - waited
                if text is None:
                    break
                yield Chunk(text)
        except TimeoutError:
            said = f" ({len(call.answer.text):,} characters had come)" if call.answer.begun else ""
            raise CallTimeoutError(
                f"{request.model}: no complete answer within {request.timeout:g} s{said}. Give it more time (timeout), ask "
                "for fewer tokens (max_tokens), or send fewer calls at once (concurrency)."
            ) from None
        finally:
            call.cancelled = True  # stops the model if it is still at it
        yield Chunk(completion=call.completion(request))

    def _load(self, model: str, stop: threading.Event) -> engines.Engine:
        with self._lock:
            if model not in self._engines:
                path = self._path(model, stop)
                self._engines[model] = (path, engines.acquire(path, self._options))
            return self._engines[model][1]

    def _load_encoder(self, model: str, stop: threading.Event) -> minilm.MiniLM:
        known = weights.KNOWN.get(model)
        if known is None or known.use != "embed":
            what = "answers and makes no vectors" if known else "is not known here"
            raise (BadRequestError if known else ModelNotFoundError)(
                f"{self._name}/{model} {what}. Models that make vectors: {_by_use('embed', self._name)}; on a server, such as "
                "ollama/nomic-embed-text."
            )
        path = self._fetch_encoder(model, stop)
        (tokenizer,) = known.needs
        found = self._encoders[model] = minilm.load(path, self._folder / tokenizer.file, self._options.threads)
        return found

    def _fetch_encoder(self, model: str, stop: threading.Event) -> Path:
        minilm.libraries()  # without them there is no use for the weights
        return weights.ensure(model, self._folder, progress=self._reporter(stop))

    def _describe(self, model: str, stop: threading.Event) -> ModelInfo:
        known = weights.KNOWN.get(model)
        if known is not None and known.use == "embed":
            self._fetch_encoder(model, stop)
            determined = digest([known.sha256, *(part.sha256 for part in known.needs), minilm.LONGEST])
            return ModelInfo(model, determined, minilm.LONGEST, minilm.version(), capabilities=("embedding",))
        path = self._path(model, stop)
        context = min(self._options.context, engines.trained_context(path))
        return ModelInfo(model, weights.file_digest(path, self._folder), context, _version())

    def _path(self, model: str, stop: threading.Event) -> Path:
        """The model's file; known weights are fetched."""
        progress = self._reporter(stop)
        return gguf_file(model, project=self._project, folder=self._folder, progress=progress, name=self._name)

    def _reporter(self, stop: threading.Event) -> weights.Progress:
        def report(done: int, total: int, phase: str) -> None:
            if stop.is_set():
                raise InterruptedError
            if self._progress is not None:
                self._progress(done, total, phase)

        return report


class _Call:
    """One call, as the engine sees it; what arrives in its thread is handed to the event loop."""

    def __init__(
        self, request: Request, loop: asyncio.AbstractEventLoop, stream: bool, clock: Callable[[], float]
    ) -> None:
        self.chat = request.kind == "chat"
        body = request_body(request, "embedded", stream=True)
        if not self.chat and request.params.schema is not None and "response_format" not in request.params.extra:
            del body["response_format"]
            body["json_schema"] = request.params.schema
        # progress chunks come between the batches of a prompt, and make it possible to stop there
        self.body: dict[str, Any] = body | {
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,
        }
        self.cancelled = False
        self.answer = StreamedAnswer()
        self.pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._loop = loop
        self._stream = stream
        self._clock = clock
        self._submitted = time.perf_counter()
        self._error: Mapping[str, Any] | Exception | None = None
        self._started_at = self._started = self._ended = 0.0
        self._first: float | None = None

    def start(self) -> None:
        self._started_at, self._started = self._clock(), time.perf_counter()

    def take(self, chunk: Mapping[str, Any]) -> bool:
        if self.cancelled:
            return True
        if "error" in chunk:
            self._error = chunk["error"]
            return True
        try:
            text = self.answer.add(chunk)
        except BadAnswerError as error:
            self._error = error
            return True
        if self._first is None and self.answer.begun:
            self._first = time.perf_counter() - self._started
        if text and self._stream:
            self._hand_over(text)
        return False

    def end(self, error: Exception | None) -> None:
        self._ended = time.perf_counter()
        self._error = self._error or error
        self._hand_over(None)

    def _hand_over(self, piece: str | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self.pieces.put_nowait, piece)
        except RuntimeError:  # the loop is closed, so nobody waits
            self.cancelled = True

    def completion(self, request: Request) -> Completion:
        """The answer, or the CallError that stands for it."""
        if self._error is not None:
            raise _refused(request.model, self._error)
        answer = self.answer
        if not answer.ended:
            unloaded = ServerError(f"{request.model}: the model was unloaded (aclose) while it answered.")
            unloaded.retryable = False
            raise unloaded
        whole = answer.answer
        timing = Timing(
            self._started_at, self._ended - self._started, self._started - self._submitted, self._first
        )  # fmt: skip
        return Completion(
            whole.text, whole.finish_reason, answer.usage, timing, request.model, whole.tool_calls, "model",
            answer.request_id, whole.reasoning, whole.logprobs,
        )  # fmt: skip


def _refused(model: str, error: Mapping[str, Any] | Exception) -> CallError:
    if isinstance(error, CallError):
        return error
    if isinstance(error, Exception):
        return BadRequestError(
            f"{model}: llama.cpp refused the request: {error}. Check params, schema and params.extra."
        )
    said, status = str(error.get("message", error)), error.get("code")
    code = status if isinstance(status, int) else None
    if error.get("type") == "exceed_context_size_error":
        return ContextLengthError(
            f"{model}: the prompt has {error.get('n_prompt_tokens', 'too many')} tokens and the context holds "
            f"{error.get('n_ctx', 'fewer')}. Shorten it, or raise `context` under "
            f"[endpoints.{split_model(model)[0]}.options] in workbench.toml, up to what the model was trained with.",
            status=code,
        )
    if code is not None and code < 500:
        return BadRequestError(
            f"{model}: llama.cpp refused the request: {said}. Check params, schema and params.extra.", status=code
        )
    return ServerError(f"{model}: llama.cpp failed: {said}.", status=code)


def _version() -> str:
    return f"xllamacpp {metadata.version('xllamacpp')}"


def _by_use(use: str, endpoint: str) -> str:
    return ", ".join(f"{endpoint}/{name}" for name, known in weights.KNOWN.items() if known.use == use)


def gguf_file(
    model: str, *, project: Path, folder: Path, progress: weights.Progress | None = None, name: str = "embedded"
) -> Path:
    """The file of a model that is known by name (fetched into `folder` if it is not there), or of one that is named by its path.

    name: the endpoint's. Raises ModelNotFoundError that says what there is, WeightsError, and what `progress` raises.
    """
    engines.import_xllamacpp()
    if model in weights.KNOWN:
        if weights.KNOWN[model].use != "chat":
            raise BadRequestError(
                f"{name}/{model} makes vectors and answers nothing. Models that do: {_by_use('chat', name)}."
            )
        return weights.ensure(model, folder, progress=progress)
    given = Path(model).expanduser()
    places = [given] if given.is_absolute() else [project / given, Path.cwd() / given]
    for place in places:
        if place.is_file():
            return place.resolve()
    known = _by_use("chat", name)
    if given.suffix == ".gguf":
        near = sorted({str(path.name) for place in places for path in place.parent.glob("*.gguf")})
        raise ModelNotFoundError(
            f"{name}/{model}: there is no file {' or '.join(str(place) for place in dict.fromkeys(places))}. "
            f"GGUF files in that folder: {', '.join(near) or 'none'}. Known by name: {known}."
        )
    raise ModelNotFoundError(
        f"{name} has no model {model!r}. It has: {known}; a GGUF file of your own is named by its path, such as "
        f"{name}/models/mine.gguf."
    )


async def in_thread(work: Callable[[threading.Event], T]) -> T:
    """Run blocking work in a thread that does not keep the process alive; `stop` is set once nobody waits for it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    stop = threading.Event()

    def settle(result: T | None, error: BaseException | None) -> None:
        if not future.done():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work(stop)
        except BaseException as raised:  # noqa: BLE001  (it is raised where it is awaited)
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            return

    threading.Thread(target=run, name="embedded-load", daemon=True).start()
    try:
        return await future
    finally:
        stop.set()
