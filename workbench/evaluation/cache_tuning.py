"""Judge the semantic cache's thresholds by pairs of questions: embed them, ask the guard, count. See `cache_thresholds`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.cache.embedder import Embed, TextVectors
from workbench.cache.guard import veto
from workbench.cache.pairs import Pair
from workbench.cache.semantic import Guard
from workbench.errors import InputError
from workbench.evaluation.cache_thresholds import THRESHOLDS, CacheTuning

if TYPE_CHECKING:
    import numpy as np

__all__ = ["THRESHOLDS", "CacheTuning", "tune"]


async def tune(
    pairs: Iterable[Pair],
    embed: Embed,
    *,
    guard: Guard = veto,
    budget: float = 0.01,
    level: float = 0.95,
    thresholds: Sequence[float] = THRESHOLDS,
    guarded: bool = True,
) -> CacheTuning:
    """Judge every threshold by these pairs. Cosines that are missing are computed, by `embed`; the guard judges each pair anew.

    budget: the highest false-hit rate, above 0 and below 1. thresholds: above 0 to 1. guarded: propose for the cache with its
    guard. Raises InputError for values that do not fit and if no pair is labelled, and what `embed` raises.
    """
    given = list(pairs)
    _check(given, budget, level, thresholds)
    groups: dict[tuple[str, str, str], list[Pair]] = {}
    for pair in given:
        groups.setdefault((pair.prompt, pair.asked.strip(), pair.cached.strip()), []).append(pair)
    merged = [_merged(group) for group in groups.values()]
    unknown = dict.fromkeys(text for pair in merged if pair.cosine is None for text in (pair.asked, pair.cached))
    vectors = await _vectors(list(unknown), embed)
    judged = tuple(
        replace(
            pair,
            cosine=_cosine(vectors[pair.asked], vectors[pair.cached]) if pair.cosine is None else pair.cosine,
            veto=_vetoed(guard, pair),
        )
        for pair in merged
    )
    return CacheTuning(
        judged, tuple(sorted(set(thresholds))), budget, level, guarded,
        equal_answers=sum(
            pair.same is True and all(one.same is None for one in group)
            for pair, group in zip(merged, groups.values(), strict=True)
        ),
        repeats=len(given) - len(merged),
        contradictions=sum({True, False} <= {pair.same for pair in group} for group in groups.values()),
        recorded=sum(pair.cosine is not None for pair in merged),
    )  # fmt: skip


def _merged(group: Sequence[Pair]) -> Pair:
    """One pair of those with equal texts, labelled: what a person said counts, and of contradictions the cautious one."""
    said = [pair.same for pair in group if pair.same is not None] or [pair.label for pair in group if pair.label]
    same = all(said) if said else None
    cosine = next((pair.cosine for pair in group if pair.cosine is not None), None)
    return replace(group[0], asked=group[0].asked.strip(), cached=group[0].cached.strip(), same=same, cosine=cosine)


async def _vectors(texts: Sequence[str], embed: Embed) -> dict[str, np.ndarray]:
    known = TextVectors(embed)
    found = await asyncio.gather(*(known.vector("", text) for text in texts))
    return dict(zip(texts, found, strict=True))


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    import numpy as np

    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else 0.0


def _vetoed(guard: Guard, pair: Pair) -> str | None:
    try:
        return guard(pair.asked, pair.cached)
    except Exception as error:  # noqa: BLE001  (unsure means no, as in the cache)
        return f"the guard failed: {type(error).__name__}"


def _check(pairs: Sequence[Pair], budget: float, level: float, thresholds: Sequence[float]) -> None:
    for name, value, usual in (("budget", budget, "0.01 for 1%"), ("level", level, "0.95")):
        if not 0 < value < 1:
            raise InputError(f"{name} = {value!r} must lie between 0 and 1, such as {usual}.")
    if not thresholds or not all(0 < threshold <= 1 for threshold in thresholds):
        raise InputError(
            f"thresholds = {thresholds!r} must be cosines above 0 and at most 1, such as [0.85, 0.9, 0.95]."
        )
    if not pairs:
        raise InputError(
            "there are no pairs to tune with: use the cache in shadow mode for a while, or write and label some."
        )
    if all(pair.label is None for pair in pairs):
        raise InputError(
            f"none of the {len(pairs):,} pairs is labelled: each needs a field `same`, true or false. `workbench cache export "
            "FILE --pairs` writes what was recorded: say in each line whether it is the same, and pass that file."
        )
