"""Texts as a view shows them: made harmless, clipped, and with the words marked that differ from another text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from workbench.prompts.diff import Piece, word_diff
from workbench.tables import clean_text

__all__ = ["answer_of", "clipped", "excerpt", "marked"]

_DIFFED = 6_000  # characters of a text that are compared word by word: more takes long
_LEAD = 40  # unchanged characters shown before the first change, at least
_DELETED = 60  # characters shown of what only the other text has
_COMMON = 1 / 3  # of the texts' words are in both: below it marks hide more than they tell
_WORD = re.compile(r"\w+")


def answer_of(row: Mapping[str, Any]) -> str:
    """What a row answered: its text, and the tools that it called."""
    text = (row.get("text") or "").strip()
    tools = row.get("tool_calls") or ()
    return "\n".join(filter(None, (text, *(json.dumps(call, ensure_ascii=False) for call in tools))))


def clipped(text: str, limit: int) -> str:
    """The beginning of a text, harmless to a page, with a word on what is missing."""
    return (
        clean_text(text) if len(text) <= limit else f"{clean_text(text[:limit])}… (+{len(text) - limit:,} characters)"
    )


def marked(before: str, after: str) -> list[Piece] | None:
    """The words of both texts, and which only one of them has; None where they are too long to compare, or equal."""
    before, after = clean_text(before), clean_text(after)
    if before == after or max(len(before), len(after)) > _DIFFED:
        return None
    return list(word_diff(before, after))


def excerpt(before: str, after: str, limit: int) -> list[Piece]:
    """`after` in at most about `limit` characters with its differences to `before`, from a little before the first of them.

    What only `before` has is shortened and takes nothing of the limit; two texts with little in common are not marked.
    """
    if before == after or not after:
        return [Piece("=", clipped(after, limit))]
    begin, size = _begin(before, after, limit), 2 * limit
    pieces = _differences(before[begin : begin + size], after[begin : begin + size])
    if not begin and _share_kept(pieces) < _COMMON:
        return [Piece("=", clipped(after, limit))]
    found, left = [Piece("=", "… ")] if begin else [], limit
    for piece in pieces:
        if piece.kind == "-":
            found += [_shortened(piece)] if left > 0 else []
            continue
        if len(piece.text) > left:
            return [*found, Piece(piece.kind, f"{piece.text[:left]}…")]
        found.append(piece)
        left -= len(piece.text)
    return [*found, Piece("=", "…")] if len(after) > begin + size else found


def _shortened(piece: Piece) -> Piece:
    return piece if len(piece.text) <= _DELETED else Piece(piece.kind, f"{piece.text[:_DELETED].rstrip()}⋯")


def _share_kept(pieces: tuple[Piece, ...]) -> float:
    """The share of both texts' words that stand in the other one too; 1 where there are no words."""
    counts = {"=": 0, "+": 0, "-": 0}
    for piece in pieces:
        counts[piece.kind] += len(_WORD.findall(piece.text))
    words = 2 * counts["="] + counts["+"] + counts["-"]
    return 2 * counts["="] / words if words else 1.0


@lru_cache(maxsize=2_000)  # a page that is turned back to, and a run's page that is drawn again and again
def _differences(before: str, after: str) -> tuple[Piece, ...]:
    return word_diff(clean_text(before), clean_text(after))


def _begin(before: str, after: str, limit: int) -> int:
    """Where to begin to show them: at 0, or a little before the first difference if that is far from there."""
    pairs = zip(before, after, strict=False)
    differs = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(before), len(after)))
    if differs < limit // 2:
        return 0
    return max(after.rfind(" ", 0, differs - _LEAD) + 1, differs - 2 * _LEAD)
