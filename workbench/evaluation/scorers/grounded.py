"""Faithfulness and relevance without a judge: named for what they are, an embedder and rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workbench.evaluation.scorers.meaning import checked_embedder, vectors_by
from workbench.evaluation.scorers.scorer import Scorer, model_scorer
from workbench.records import Example, Score

if TYPE_CHECKING:
    from workbench.client import Client

__all__ = ["faithfulness_by_rules", "relevance_by_embedding"]


def faithfulness_by_rules(*, model: str | None = None) -> Scorer:
    """How well the example's `context` bears out the answer, from 0 to 1, without a judge model.

    Every clause of the answer is held against the context by the embedder `model` (ENDPOINT/MODEL; by default the settings' one)
    and by its words; numbers, dates and names must be there, polarity and who does what to whom must agree. The answer is as
    good as its weakest part, and the explanation names what speaks against it. It reads English. Its number orders answers; it
    is no share of anything: compare variants by it, or set a threshold on your own examples.

    An empty answer, or an example without context, is unscored.
    """
    checked_embedder("faithfulness_by_rules", model)

    def bind(client: Client) -> Callable[[str, Example], Any]:
        from workbench.evaluation.grounding.support import ground

        vectors = vectors_by(client, model)

        async def score(text: str, example: Example) -> Score:
            if not (example.context or "").strip():
                return Score(None, "the example has no 'context' to be faithful to")
            found = await ground(text, example.context or "", vectors)
            if found is None:
                return Score(None, "the answer says nothing that could be held against the context")
            return Score(found.score, "; ".join(found.problems[:4]))

        return score

    return model_scorer("faithfulness_by_rules", bind, {} if model is None else {"model": model})


def relevance_by_embedding(*, model: str | None = None) -> Scorer:
    """How near in meaning the answer is to what was asked, from 0 to 1: the cosine of the embeddings of the example's inputs
    and of the answer's sentence that is nearest to them; below 0 it is 0.

    It tells an answer about something else, not a wrong one. model: as in `embedding_similarity`. An empty answer scores 0.
    """
    checked_embedder("relevance_by_embedding", model)

    def bind(client: Client) -> Callable[[str, Example], Any]:
        from workbench.evaluation.grounding.reading import sentences

        vectors = vectors_by(client, model)

        async def score(text: str, example: Example) -> Score:
            asked = "\n".join(str(value) for value in example.inputs.values()).strip()
            if not asked:
                return Score(None, "the example has no input that could be answered")
            if not text.strip():
                return Score(0.0, "the answer is empty")
            found = await vectors([asked, text, *sentences(text)])
            return Score(min(1.0, max(0.0, float((found[1:] @ found[0]).max()))))

        return score

    return model_scorer("relevance_by_embedding", bind, {} if model is None else {"model": model})
