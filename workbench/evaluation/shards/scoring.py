"""How scorers reach workers: as the names and arguments they are made from, never as code.

A built-in scorer is its spec; a function of the user's is MODULE:FUNCTION, which each worker imports.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.errors import InputError
from workbench.evaluation.scorers import Scorer, as_scorer

__all__ = ["SentScorer", "sent_scorers"]


@dataclass(frozen=True, slots=True)
class SentScorer:
    """spec: of which `as_scorer` makes it again; the rest is as in `Scorer`."""

    name: str
    binary: bool | None
    higher_is_better: bool
    spec: Mapping[str, Any]

    def made(self) -> Scorer:
        """The scorer, in this process. InputError if its module is not here, or another version of it."""
        found = as_scorer(self.spec)
        here, there = found.spec.get("source_sha256"), self.spec.get("source_sha256")
        if None not in (here, there) and here != there:
            raise InputError(
                f"the source of scorer {self.name!r} ({self.spec['function']}) is not the caller's: install the same version of "
                "its module here, and start the worker again."
            )
        return replace(found, name=self.name, binary=self.binary, higher_is_better=self.higher_is_better)


def sent_scorers(scorers: Sequence[Scorer]) -> tuple[SentScorer, ...]:
    """Those that workers apply, as they travel. The rest is applied by the caller: they ask a model, or depend on another's
    score. InputError, with what to do, for a function that no worker could import."""
    return tuple(_sent(scorer) for scorer in scorers if scorer.bind is None and scorer.needs is None)


def _sent(scorer: Scorer) -> SentScorer:
    for spec in _specs(scorer):
        try:
            again = as_scorer(spec)
        except InputError:
            continue
        if _same(again.function, scorer.function):
            return SentScorer(scorer.name, scorer.binary, scorer.higher_is_better, dict(again.spec))
    raise InputError(
        f"scorer {scorer.name!r} cannot go to the workers: it is {_where(scorer.function)}, and workers import a scorer by its "
        "name. Write it as a function at the top of a module that they can import too (a file in their working folder, say) and "
        'pass "MODULE:FUNCTION", such as "checks:is_polite"; or leave the executor out, and it runs in this process.'
    )


def _specs(scorer: Scorer) -> Iterator[Mapping[str, Any]]:
    yield scorer.spec
    module, name = getattr(scorer.function, "__module__", None), getattr(scorer.function, "__qualname__", None)
    if module and name and module != "__main__":  # a worker's program is another
        yield {"name": "python", "function": f"{module}:{name}"}


def _same(one: Any, other: Any) -> bool:
    """Whether it is that very function; those that a built-in scorer makes anew share their code."""
    code = getattr(one, "__code__", None)
    return one == other or (code is not None and code is getattr(other, "__code__", None))


def _where(function: Any) -> str:
    """What makes it unknown to others."""
    name = getattr(function, "__qualname__", "")
    if name.rpartition(".")[2] == "<lambda>":
        return "a lambda"
    if "<locals>" in name:
        return f"defined inside a function ({name})"
    if getattr(function, "__module__", None) == "__main__" and name:
        return "defined in this notebook or program itself"
    if isinstance(function, functools.partial):
        return "a functools.partial, which has no name"
    return f"a {type(function).__name__}, which its module does not hold by that name"
