"""llama.cpp in this process: one server per GGUF file and options, shared by all runtimes, stopped cleanly at exit.

A call runs in a thread of ours, without Python's lock while it computes. Such a thread must not be inside llama.cpp when
the interpreter goes (the process would abort), so calls are told to stop and are waited for at exit; at most one batch
of the prompt, about a second, has to be finished first.
"""

from __future__ import annotations

import atexit
import queue
import secrets
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from workbench.errors import SettingsError, WeightsError
from workbench.running.forking import begin_anew, keep

__all__ = ["Engine", "EngineOptions", "Job", "acquire", "open_server", "release", "trained_context"]

# a call can be cancelled between two batches of its prompt; larger ones are no faster on a CPU
_BATCH = 128
# bounds the copies of evaluated prompts that llama.cpp keeps beside the slots; its own default is 8 GB
_PROMPT_CACHE_MB = 256


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a model is run.

    threads: of the processor; more than there are free cores is many times slower. context: tokens of prompt and answer
    together, in one call; at most what the model was trained with. slots: prompts whose beginning is remembered, which
    are also the calls that can run at once; each has a context of its own.
    """

    threads: int = 1
    context: int = 2048
    slots: int = 4

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any], where: str) -> EngineOptions:
        """From a table of the settings. Raises SettingsError that names the wrong option."""
        known = [item.name for item in fields(cls)]
        for name, value in options.items():
            if name not in known:
                raise SettingsError(f"{where}: unknown option {name!r}. Known: {', '.join(known)}.")
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise SettingsError(f"{where}: {name} = {value!r} must be a whole number from 1.")
        return cls(**options)


class Job(Protocol):
    """One call. `start` and `end` bracket it in the engine's thread; `take` gets each chunk and returns True to stop."""

    chat: bool
    body: dict[str, Any]
    cancelled: bool

    def start(self) -> None:
        """The engine begins."""

    def take(self, chunk: Mapping[str, Any]) -> bool:
        """One chunk, as an OpenAI server would stream it, or an error object."""

    def end(self, error: Exception | None) -> None:
        """The engine is done; error: what llama.cpp refused the request with."""


class Engine:
    """A loaded model. Making one takes a second or more and raises WeightsError if llama.cpp cannot load the file."""

    def __init__(self, path: Path, options: EngineOptions) -> None:
        # it opens a port on the loopback interface, which nobody else shall use
        self._server = open_server(path, options, key=secrets.token_hex(32))
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._running: set[Job] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"embedded-{path.stem}-{number}", daemon=True)
            for number in range(options.slots)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """Run it as soon as a slot is free."""
        with self._lock:
            if not self._closed:
                self._jobs.put(job)
                return
        job.end(None)

    def close(self) -> None:
        """Stop what runs, wait for it, and free the memory. Jobs that still wait end as cancelled."""
        with self._lock:
            self._closed = True
            for job in list(self._running):
                job.cancelled = True
            for _ in self._threads:
                self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        if _inherited:  # llama.cpp would wait for a thread of its own that only the parent has, and abort
            keep(self._server)
        self._server = None

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            error: Exception | None = None
            self._running.add(job)
            job.cancelled = job.cancelled or self._closed
            if not job.cancelled:
                job.start()
                handle = self._server.handle_chat_completions if job.chat else self._server.handle_completions
                try:
                    handle(job.body, job.take)
                except Exception as refused:  # noqa: BLE001  (whatever C++ throws)
                    error = refused
            self._running.discard(job)
            job.end(error)
            del job


def open_server(path: Path, options: EngineOptions, *, key: str, **fields: Any) -> Any:
    """A server of xllamacpp's with its model loaded; fields: of its `CommonParams`. Raises WeightsError if it cannot be."""
    xllamacpp = import_xllamacpp()
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.n_parallel = options.slots
    # a slot keeps its own cache (not unified): only then a text does not depend on what else was asked
    params.n_ctx = min(options.context, trained_context(path)) * options.slots
    params.n_batch = params.n_ubatch = _BATCH
    params.cache_ram_mib = _PROMPT_CACHE_MB
    params.api_keys = [key]
    params.ui = params.endpoint_slots = params.endpoint_props = params.endpoint_metrics = False
    params.n_threads_http = 1
    params.verbosity = -1
    for name, value in fields.items():
        setattr(params, name, value)
    try:
        return xllamacpp.Server(params)
    except Exception as error:  # noqa: BLE001  (whatever C++ throws)
        why = str(error).rstrip(".") or "no reason given"
        raise WeightsError(
            f"llama.cpp cannot load {path}: {why}. The file may be damaged, of an architecture that this xllamacpp does "
            "not know (try a newer one), or too large for the memory."
        ) from None


class _Shared:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.engine: Engine | None = None
        self.users = 0


_shared: dict[tuple[Path, EngineOptions], _Shared] = {}
_shared_lock = threading.Lock()
_stopping = False
_inherited = False  # llama.cpp ran in the process that this one was forked from


def acquire(path: Path, options: EngineOptions) -> Engine:
    """The process's engine for this file, loaded if need be. Blocks; give it back with `release`."""
    with _shared_lock:
        if _stopping:
            raise WeightsError(f"{path} is not loaded, because this process is ending.")
        entry = _shared.setdefault((path, options), _Shared())
        entry.users += 1
    try:
        with entry.lock:
            if entry.engine is None:
                entry.engine = Engine(path, options)
            return entry.engine
    except BaseException:
        release(path, options)
        raise


def release(path: Path, options: EngineOptions) -> None:
    """Give an engine back; the last one to do so unloads it. Blocks until its calls have stopped."""
    with _shared_lock:
        entry = _shared.get((path, options))
        if entry is None:
            return
        entry.users -= 1
        if entry.users > 0:
            return
        del _shared[path, options]
    if entry.engine is not None:
        entry.engine.close()


@atexit.register
def _stop_all() -> None:
    global _stopping
    with _shared_lock:
        _stopping = True
        entries = list(_shared.values())
        _shared.clear()
    for entry in entries:
        with entry.lock:
            if entry.engine is not None:
                entry.engine.close()
                entry.engine = None


class _Forks:
    """Tells a child that llama.cpp's threads are its parent's."""

    def after_fork(self) -> None:
        global _shared_lock, _inherited
        _inherited = _inherited or bool(_shared)
        keep(*_shared.values())
        _shared.clear()
        _shared_lock = threading.Lock()


_forks = _Forks()
begin_anew(_forks)


def import_xllamacpp() -> Any:
    """The package, or a SettingsError that says how to install it."""
    try:
        import xllamacpp
    except ImportError as error:
        raise SettingsError(
            f"embedded models need xllamacpp ({error}): pip install xllamacpp, "
            "or choose a model on a server, such as ollama/llama3.2:3b."
        ) from None
    return xllamacpp


# the sizes of GGUF's fixed value types; 8 is text and 9 an array
_FIXED = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


def trained_context(path: Path) -> int:
    """The context length in the header of a GGUF file (github.com/ggml-org/ggml/blob/master/docs/gguf.md), in tokens.

    Raises WeightsError if the file is none or does not say.
    """
    with path.open("rb") as file:
        try:
            magic, _, _, count = struct.unpack("<4sIQQ", file.read(24))
            if magic == b"GGUF":
                for _ in range(count):
                    name, value = _text(file), _value(file)
                    if name.endswith(b".context_length"):
                        return int(value)
        except (struct.error, KeyError, TypeError, ValueError, OverflowError):
            pass
    raise WeightsError(f"{path} is not a usable GGUF file: its header has no context length. It may be cut off.")


def _value(file: BinaryIO) -> Any:
    kind = _number(file, "<I")
    if kind == 8:
        return _text(file)
    if kind != 9:
        return _number(file, _FIXED[kind])
    kind, count = _number(file, "<I"), _number(file, "<Q")
    if kind == 8:
        for _ in range(count):
            file.seek(_number(file, "<Q"), 1)
    else:
        file.seek(struct.calcsize(_FIXED[kind]) * count, 1)
    return None


def _number(file: BinaryIO, layout: str) -> Any:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))[0]


def _text(file: BinaryIO) -> bytes:
    size = _number(file, "<Q")
    if size > 1 << 24:
        raise ValueError(size)
    return file.read(size)
