"""Sentence vectors in this process: an ONNX model of the all-MiniLM family, on one thread.

The steps are those of sentence-transformers' all-MiniLM-L6-v2: WordPiece tokens, at most 256 of them, the mean of the
last layer over the tokens, unit length (huggingface.co/sentence-transformers/all-MiniLM-L6-v2, modules.json). What comes
after the 256th token is not looked at, as the model was trained.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from workbench.errors import SettingsError, WeightsError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LONGEST", "Encoded", "MiniLM", "libraries", "load", "version"]

LONGEST = 256
"""Tokens of a text that count, with the two that the model adds."""

# padded tokens in one run of the model: attention needs memory by the square of a text's length
_BATCH = 1024


class Encoded(NamedTuple):
    """vectors: (texts, dimensions), float32, each of length 1. tokens: how many the model read. queued: seconds that went by
    while other texts were computed."""

    vectors: np.ndarray
    tokens: int
    queued: float


class MiniLM:
    """A loaded model, for all threads: texts are computed one batch after the other. `load` makes one, in 0.1-0.5 s.

    Raises WeightsError for files that are no model, SettingsError without onnxruntime.
    """

    def __init__(self, model: Path, tokenizer: Path, threads: int = 1) -> None:
        onnxruntime, tokenizers = libraries()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = False  # it would keep the memory of the longest batch for ever
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer))
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  (both raise whatever their Rust and C++ threw)
            raise WeightsError(
                f"{model.name} with {tokenizer.name} cannot be loaded from {model.parent}: {error}. Delete both and run again "
                "to fetch them anew."
            ) from None
        self._tokenizer.enable_truncation(LONGEST)
        self._tokenizer.no_padding()
        self._running = threading.Lock()

    def encode(self, texts: Sequence[str], stop: threading.Event | None = None) -> Encoded:
        """The vectors of `texts`, in their order. Blocks; once `stop` is set, InterruptedError comes within a batch."""
        import numpy as np

        # one by one: the tokenizer's own batches would start a thread for each processor
        encodings = [self._tokenizer.encode(text).ids for text in texts]
        vectors: np.ndarray | None = None
        queued = 0.0
        for batch in _batches([len(ids) for ids in encodings]):
            waiting = time.perf_counter()
            with self._running:
                queued += time.perf_counter() - waiting
                if stop is not None and stop.is_set():
                    raise InterruptedError
                found = self._run([encodings[index] for index in batch])
            if vectors is None:
                vectors = np.empty((len(texts), found.shape[1]), dtype=np.float32)
            vectors[batch] = found
        empty = np.empty((0, 0), dtype=np.float32)
        return Encoded(empty if vectors is None else vectors, sum(map(len, encodings)), queued)

    def close(self) -> None:
        """Wait for the batch that is running; no other begins, whoever waits for it."""
        self._running.acquire()

    def _run(self, batch: Sequence[Sequence[int]]) -> np.ndarray:
        import numpy as np

        ids = np.zeros((len(batch), max(map(len, batch))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (hidden,) = self._session.run(["last_hidden_state"], inputs)
        mean: np.ndarray = np.einsum("btd,bt->bd", hidden, mask.astype(np.float32)) / mask.sum(axis=1, keepdims=True)
        mean /= np.linalg.norm(mean, axis=1, keepdims=True)
        return mean.astype(np.float32)


def load(model: Path, tokenizer: Path, threads: int = 1) -> MiniLM:
    """The process's model of these files: loaded once, kept as long as someone holds it."""
    key = (model, tokenizer, threads)
    with _lock:
        found = _loaded.get(key)
        if found is None:
            found = _loaded[key] = MiniLM(model, tokenizer, threads)
        return found


@atexit.register
def _close_all() -> None:
    # a thread that is inside onnxruntime when the interpreter goes would abort the process; neither lock is given back
    _lock.acquire()
    for found in list(_loaded.values()):
        found.close()


def version() -> str:
    """Of what computes."""
    from importlib import metadata

    return f"onnxruntime {metadata.version('onnxruntime')}"


_loaded: WeakValueDictionary[tuple[Path, Path, int], MiniLM] = WeakValueDictionary()
_lock = threading.Lock()


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices, the short ones together, so that little is padded."""
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if not batches or room < lengths[batches[-1][0]]:
            batches.append([])
            room = _BATCH
        batches[-1].append(index)
        room -= lengths[batches[-1][0]]
    return batches


def libraries() -> tuple[Any, Any]:
    """The packages onnxruntime and tokenizers, or a SettingsError that says how to install them."""
    try:
        import onnxruntime
        import tokenizers
    except ImportError as error:
        raise SettingsError(
            f"embedded vectors need onnxruntime and tokenizers ({error}): pip install onnxruntime tokenizers, or choose an "
            "embedding model on a server, such as ollama/nomic-embed-text."
        ) from None
    return onnxruntime, tokenizers
