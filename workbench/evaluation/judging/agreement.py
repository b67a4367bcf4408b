"""How far raters agree, beyond what chance would give."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Literal

from workbench.errors import InputError

__all__ = ["cohen_kappa", "krippendorff_alpha"]


def cohen_kappa(
    one: Sequence[Hashable | None], other: Sequence[Hashable | None], *, weights: Literal["quadratic"] | None = None
) -> float | None:
    """Cohen's kappa of two raters, from -1 to 1: 1 is full agreement, 0 what chance gives; None where it is not defined.

    one, other: their ratings of the same things in the same order; None is no rating, and the pair is left out. weights:
    "quadratic" for numbers, where being off by two is four times as bad as by one. Cohen, "A coefficient of agreement for
    nominal scales", 1960; "Weighted kappa", 1968. It is not defined without a pair, or where both always say the same one thing.
    """
    if len(one) != len(other):
        raise InputError(f"kappa needs the same things rated by both, and got {len(one)} and {len(other)} ratings.")
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    if not pairs:
        return None

    def apart(a: Hashable, b: Hashable) -> float:
        return (float(a) - float(b)) ** 2 if weights else float(a != b)  # type: ignore[arg-type]

    mine, theirs = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    seen = sum(apart(a, b) for a, b in pairs) / len(pairs)
    chance = sum(apart(a, b) * mine[a] * theirs[b] for a in mine for b in theirs) / len(pairs) ** 2
    return None if chance == 0 else 1 - seen / chance


def krippendorff_alpha(
    ratings: Sequence[Mapping[str, Hashable]], *, scale: Literal["nominal", "interval"] = "nominal"
) -> float | None:
    """Krippendorff's alpha of any number of raters, from below 0 to 1; None where it is not defined.

    ratings: for each thing, rater -> rating; not all need to have rated all, and a thing with one rating is left out. scale:
    whether ratings are labels or numbers. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011.
    """
    units = [list(unit.values()) for unit in ratings if len(unit) > 1]

    def apart(a: Hashable, b: Hashable) -> float:
        return (float(a) - float(b)) ** 2 if scale == "interval" else float(a != b)  # type: ignore[arg-type]

    total = sum(map(len, units))
    everything = Counter(value for unit in units for value in unit)
    chance = sum(apart(a, b) * everything[a] * everything[b] for a in everything for b in everything)
    if total < 2 or chance == 0:
        return None
    seen = math.fsum(sum(apart(a, b) for a in unit for b in unit) / (len(unit) - 1) for unit in units)
    return 1 - (total - 1) * seen / chance
