"""What names an answer, whoever gave it."""

from __future__ import annotations

from workbench.records import Example, digest

__all__ = ["answer_id"]


def answer_id(example: Example, text: str) -> str:
    """32 hex digits of an example's inputs and context and the answer's text. So a rating holds in every run in which this answer
    occurs, and two variants with the same words are rated once."""
    inputs = {str(name): str(value) for name, value in example.inputs.items()}
    return digest({"inputs": inputs, "context": example.context or "", "text": text.strip()})[:32]
