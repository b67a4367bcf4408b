"""Scorers by an embedder: how near in meaning two texts are. An embedding sees the topic, not a changed number or a "not"."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.evaluation.scorers.scorer import Scorer, model_scorer
from workbench.evaluation.scorers.wording import short, texts_of
from workbench.records import Example, Score, split_model

if TYPE_CHECKING:
    import numpy as np

    from workbench.client import Client

__all__ = ["Vectors", "checked_embedder", "embedding_similarity", "vectors_by"]

Vectors = Callable[[Sequence[str]], Awaitable["np.ndarray"]]
"""Texts -> (texts, dimensions), each of length 1."""


def embedding_similarity(*, model: str | None = None) -> Scorer:
    """The cosine of the answer's and `expected`'s embeddings, from -1 to 1; of several expected texts the best counts.

    model: the embedder, ENDPOINT/MODEL; by default the settings' `embedder`. It says whether both speak of the same, not
    whether both are true: "12 days" and "21 days", "is" and "is not" are nearly the same to it. An empty answer scores 0.
    """
    checked_embedder("embedding_similarity", model)

    def bind(client: Client) -> Callable[[str, Example], Any]:
        vectors = vectors_by(client, model)

        async def score(text: str, example: Example) -> Score:
            wanted = texts_of(example)
            if isinstance(wanted, Score):
                return wanted
            if not all(item.strip() for item in wanted):
                return Score(None, "'expected' is an empty text, which has no meaning to compare")
            if not text.strip():
                return Score(0.0, "the answer is empty")
            found = await vectors([text, *wanted])
            cosines = (found[1:] @ found[0]).tolist()
            best = max(cosines)
            return Score(min(1.0, max(-1.0, best)), f"against {short(wanted[cosines.index(best)])}")

        return score

    options = {} if model is None else {"model": model}
    return model_scorer("embedding_similarity", bind, options, needs_expected=True)


def checked_embedder(scorer: str, model: str | None) -> None:
    """Raise InputError for what names no model."""
    if model is not None and not isinstance(model, str):
        raise InputError(f"{scorer}: model = {model!r} must be ENDPOINT/MODEL, such as embedded/minilm-l6.")
    if model is not None:
        split_model(model)


def vectors_by(client: Client, model: str | None) -> Vectors:
    """Vectors by this embedder (None: the settings' one), each text computed once; the calls are logged with role scorer."""
    from workbench.cache.embedder import TextVectors

    name = model or client.settings.embedder

    async def embed(texts: Sequence[str]) -> np.ndarray:
        return (await client.embed(name, texts, role="scorer")).vectors

    known = TextVectors(embed)

    async def vectors(texts: Sequence[str]) -> np.ndarray:
        import asyncio

        import numpy as np

        found = np.stack(await asyncio.gather(*(known.vector(name, text) for text in texts)))
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.where(lengths > 0, lengths, 1.0))

    return vectors
