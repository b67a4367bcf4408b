"""Which threshold of the semantic cache keeps a budget of wrong answers, judged by pairs of questions.

Of all pairs asked, those at or above a threshold that the guard lets pass are served:

hit rate         served / asked
precision        right / (right + wrong) of the served
false-hit rate   wrong / asked: the share of all questions that gets a wrong answer

Intervals are Wilson's. A pair that nobody has labelled is asked like any other; if it is served, it may be right or wrong, and
the intervals reach from one to the other. So pairs that were easy to label cannot stand for those that were not.

The proposal is the lowest threshold from which on, at every one upwards, the false-hit rate's whole interval lies within the
budget. The thresholds are tested from the highest down, and the first that fails ends it, so there is nothing to correct
for having tried many (fixed-sequence testing: Maurer, Hothorn and Lehmacher 1995, in Biometrie in der
chemisch-pharmazeutischen Industrie 6; for thresholds: Angelopoulos, Bates, Candès, Jordan and Lei 2021, arXiv:2110.01052).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from workbench import tables
from workbench.cache.pairs import Pair
from workbench.cache.semantic_key import THRESHOLD
from workbench.evaluation.statistics import wilson, wilson_trials
from workbench.records import Interval

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["THRESHOLDS", "CacheTuning", "Point"]

THRESHOLDS = tuple(round(0.7 + step / 100, 2) for step in range(31))
"""0.70 to 1.00: shadow mode looks no lower."""

_ROUNDING = 1e-6  # of a cosine in float32; the cache allows for the same
_MOST_SHOWN = 20  # false hits in a table


@dataclass(frozen=True, slots=True)
class Point:
    """What the cache does with `asked` pairs at a threshold. right, wrong, unlabelled: the served, by what is known of them."""

    threshold: float
    guarded: bool
    asked: int
    right: int
    wrong: int
    unlabelled: int
    level: float

    @property
    def served(self) -> int:
        """All that are served."""
        return self.right + self.wrong + self.unlabelled

    @property
    def hit_rate(self) -> Interval:
        """Served / asked."""
        return wilson(self.served, self.asked, self.level)

    @property
    def precision(self) -> Interval | None:
        """Right / (right + wrong); None if no labelled pair is served."""
        labelled = self.right + self.wrong
        if not labelled:
            return None
        low = wilson(self.right, self.served, self.level).low
        high = wilson(self.right + self.unlabelled, self.served, self.level).high
        return Interval(self.right / labelled, low, high, self.level)

    @property
    def false_hit_rate(self) -> Interval:
        """Wrong / asked."""
        known = wilson(self.wrong, self.asked, self.level)
        return known._replace(high=wilson(self.wrong + self.unlabelled, self.asked, self.level).high)


@dataclass(frozen=True)
class CacheTuning:
    """What every threshold would do with these pairs, and the one to propose. Shows itself as a table.

    pairs: each once, with its cosine, the guard's word, and in `same` its label. thresholds: rising. budget: the highest
    false-hit rate. level: of the intervals. guarded: whether the proposal is for the cache with its guard.
    equal_answers: pairs that are labelled by nothing but their equal answers. repeats: pairs that were there before.
    contradictions: pairs with labels of both kinds, which count as not the same. recorded: pairs that came with a cosine.
    """

    pairs: tuple[Pair, ...]
    thresholds: tuple[float, ...] = THRESHOLDS
    budget: float = 0.01
    level: float = 0.95
    guarded: bool = True
    equal_answers: int = 0
    repeats: int = 0
    contradictions: int = 0
    recorded: int = 0

    def at(self, threshold: float, guarded: bool | None = None) -> Point:
        """What happens at a threshold, by default as the proposal has it: with the guard or without."""
        guarded = self.guarded if guarded is None else guarded
        found = Counter(pair.same for pair in self._served(threshold, guarded=guarded))
        return Point(threshold, guarded, len(self.pairs), found[True], found[False], found[None], self.level)

    def _served(self, threshold: float, *, guarded: bool) -> list[Pair]:
        least = threshold - _ROUNDING
        return [
            pair
            for pair in self.pairs
            if pair.cosine is not None and pair.cosine >= least and not (guarded and pair.veto)
        ]

    @staticmethod
    def written(threshold: float) -> str:
        """A threshold as people read it: `0.90`, `0.955`."""
        return max(f"{threshold:.6g}", f"{threshold:.2f}", key=len)

    # -- what to choose -------------------------------------------------------------------------------------------

    @cached_property
    def proposal(self) -> float | None:
        """The lowest threshold that surely keeps the budget and serves anything; None if none does."""
        return self._lowest(lambda point: point.false_hit_rate.high <= self.budget)[0]

    @cached_property
    def possible(self) -> float | None:
        """The same by the labelled pairs alone, without their interval: more labels may prove it. None if there is none."""
        return self._lowest(lambda point: point.false_hit_rate.estimate <= self.budget)[0]

    def _lowest(self, keeps: Callable[[Point], bool]) -> tuple[float | None, Point | None]:
        """The lowest threshold from which on all keep it, if anything is served there; and the first that does not."""
        found = None
        for threshold in reversed(self.thresholds):
            point = self.at(threshold)
            if not keeps(point):
                return found, point
            found = threshold if point.served else None
        return found, None

    @property
    def shown(self) -> float:
        """The threshold to look at: the proposed one, else the possible one, else the highest at which anything is served."""
        chosen = self.possible if self.proposal is None else self.proposal
        if chosen is not None:
            return chosen
        return next((t for t in reversed(self.thresholds) if self.at(t).served), self.thresholds[-1])

    @cached_property
    def sentence(self) -> str:
        """The proposal, or why there is none."""
        budget = f"the budget of {_exact(self.budget)}"
        how = "With the guard" if self.guarded else "Without the guard"
        if self.proposal is not None:
            point = self.at(self.proposal)
            return f"{how}, {self.written(self.proposal)} is the lowest threshold that keeps {budget}: {_told(point)}."
        if self.possible is not None:
            point = self.at(self.possible)
            return f"{how}, no threshold is proven to keep {budget}. {self._unproven(point)}"
        failed = self._lowest(lambda point: point.false_hit_rate.estimate <= self.budget)[1]
        if failed is None:
            return f"{how}, nothing is served at any threshold: there is nothing to propose."
        at = self.written(failed.threshold)
        return f"{how}, no threshold that serves anything keeps {budget}: even at {at}, {_told(failed)}."

    def _unproven(self, point: Point) -> str:
        """What is missing for a proposal."""
        said = f"By the estimate alone {self.written(point.threshold)} does: {_told(point)}."
        if point.unlabelled:
            said = f"{said} Without a label are {point.unlabelled:,} of the served: label these first."
            if wilson(point.wrong, point.asked, self.level).high <= self.budget:
                return said
        share = point.false_hit_rate.estimate
        needed = wilson_trials(share, self.budget, self.level)
        if needed is None:
            return f"{said} That is the budget itself, which no number of pairs would prove to be kept."
        condition = "with as small a share of false hits" if share else "without one false hit"
        return f"{said} To be sure takes about {needed:,} pairs {condition}."

    # -- the figures behind it ------------------------------------------------------------------------------------

    def frame(self) -> pd.DataFrame:
        """One row a threshold, with the guard and without: threshold, guarded, asked, served, right, wrong, unlabelled, and
        hit_rate, precision, false_hit_rate with _low and _high. A precision that nothing tells is NaN."""
        import pandas as pd

        rows = []
        for guarded in (True, False):
            for threshold in self.thresholds:
                point = self.at(threshold, guarded)
                row: dict[str, float] = {
                    "threshold": threshold, "guarded": guarded, "asked": point.asked, "served": point.served,
                    "right": point.right, "wrong": point.wrong, "unlabelled": point.unlabelled,
                }  # fmt: skip
                for name in ("hit_rate", "precision", "false_hit_rate"):
                    found: Interval | None = getattr(point, name)
                    ends = (math.nan,) * 3 if found is None else found[:3]
                    row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
                rows.append(row)
        return pd.DataFrame(rows)

    def table(self) -> pd.DataFrame:
        """A few thresholds as people read them: every cell is text."""
        import pandas as pd

        chosen = "proposed" if self.proposal is not None else "possible" if self.possible is not None else ""
        marks = {THRESHOLD: " (default)", self.shown: chosen and f" ({chosen})"}
        other = "without guard" if self.guarded else "with guard"
        rows = []
        for threshold in self.thresholds:
            if threshold not in marks and round(threshold * 100, 6) % 5:
                continue
            point, bare = self.at(threshold), self.at(threshold, not self.guarded)
            rows.append({
                "threshold": self.written(threshold) + marks.get(threshold, ""),
                "served": f"{point.served:,}",
                "hit rate": _with_interval(point.hit_rate),
                "precision": _with_interval(point.precision),
                "false-hit rate": _with_interval(point.false_hit_rate),
                other: f"{tables.format_share(bare.hit_rate.estimate)} hits, "
                f"{tables.format_share(bare.false_hit_rate.estimate)} false",
            })  # fmt: skip
        return pd.DataFrame(rows)

    @property
    def legend(self) -> str:
        """What the words of the table mean, in one line."""
        return (
            f"Of {len(self.pairs):,} pairs. Hit rate: share of all pairs that is served; precision: share of the served that is "
            f"right; false-hit rate: share of all pairs that is served wrongly. In brackets: {self.level:.0%} interval."
        )

    @property
    def worst(self) -> pd.DataFrame:
        """The false hits at `shown`, the highest cosine first: asked, cached, cosine, veto."""
        return self.false_hits(self.shown)

    def false_hits(self, threshold: float) -> pd.DataFrame:
        """What is served wrongly at a threshold, the highest cosine first: asked, cached, cosine, veto."""
        import pandas as pd

        found = [pair for pair in self._served(threshold, guarded=self.guarded) if pair.same is False]
        columns = ["asked", "cached", "cosine", "veto"]
        return pd.DataFrame([[getattr(pair, name) for name in columns] for pair in _falling(found)], columns=columns)

    def border(self, threshold: float, count: int = 5) -> pd.DataFrame:
        """The `count` pairs on each side of a threshold, the highest cosine first: asked, cached, cosine, same ("yes", "no" or
        "unlabelled"), and what happens ("served", "not served", or "vetoed" for what the guard alone stops)."""
        import pandas as pd

        known = _falling([pair for pair in self.pairs if pair.cosine is not None])
        least = threshold - _ROUNDING
        above = [pair for pair in known if (pair.cosine or 0.0) >= least][-count:]
        below = [pair for pair in known if (pair.cosine or 0.0) < least][:count]
        said = {True: "yes", False: "no", None: "unlabelled"}
        rows = [
            (pair.asked, pair.cached, f"{pair.cosine:.4f}", said[pair.same],
             "not served" if pair in below else "vetoed" if self.guarded and pair.veto else "served")
            for pair in (*above, *below)
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["asked", "cached", "cosine", "same", "what happens"])

    def to_label(self, threshold: float) -> list[Pair]:
        """What is served at a threshold and has no label, the highest cosine first."""
        return _falling([pair for pair in self._served(threshold, guarded=self.guarded) if pair.same is None])

    def notes(self) -> list[str]:
        """What a reader must know besides."""
        at = self.written(self.shown)
        guarded, bare = self.at(self.shown, guarded=True), self.at(self.shown, guarded=False)
        stopped = f"{bare.wrong - guarded.wrong:,} of {bare.wrong:,} false hits"
        lost = f"{bare.right - guarded.right:,} of {bare.right:,} right ones"
        said = [
            f"At {at} the guard stops {stopped}, and {lost}.",
            "The rates are shares of these pairs, not of all questions: one that had nothing near it is in no pair.",
        ]
        if self.shown == self.thresholds[0]:
            said.append(f"{at} is the lowest threshold that was tried.")
        unlabelled = sum(pair.same is None for pair in self.pairs)
        for count, told in (
            (
                self.recorded,
                "Pairs that came with their cosine: {}. Shadow mode records the nearest only, from 0.7 on.",
            ),
            (self.equal_answers, "Pairs without a label that count as the same, as their two answers are equal: {}."),
            (
                unlabelled,
                "Pairs without a label: {}. If served, the intervals reach from all of them right to all wrong.",
            ),
            (self.repeats, "Repeats, which count once with the pair that they repeat: {}."),
            (self.contradictions, "Pairs that are labelled both ways, and count as not the same: {}."),
        ):
            if count:
                said.append(told.format(f"{count:,}"))
        prompts = sorted({pair.prompt for pair in self.pairs})
        if len(prompts) > 1:
            named = ", ".join(prompt or "none" for prompt in prompts)
            said.append(f"The pairs come from {len(prompts)} prompts ({named}), each of which has its own threshold.")
        return said

    # -- how it is shown ------------------------------------------------------------------------------------------

    def _wrong(self, threshold: float) -> tuple[str, pd.DataFrame]:
        """The false hits at a threshold as a title and a table, not too long."""
        found = self.false_hits(threshold)
        few = found.head(_MOST_SHOWN).dropna(axis="columns", how="all")
        rest = f", the first {len(few)} of {len(found):,}" if len(found) > len(few) else ""
        return f"Served wrongly at {self.written(threshold)}{rest}", few

    def false_hits_html(self, threshold: float) -> str:
        """The false hits at a threshold as a table, or one line that there are none."""
        title, few = self._wrong(threshold)
        return tables.to_html(few, caption=title) if len(few) else f"<p>{title}: none of these pairs.</p>"

    def __str__(self) -> str:
        parts = [self.sentence, "", tables.to_text(self.table()), self.legend]
        title, few = self._wrong(self.shown)
        if len(few):
            parts += ["", tables.to_text(few, title=title), ""]
        return "\n".join([*parts, *(f"Note: {note}" for note in self.notes())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        shown = tables.to_html(self.table()) + f'<p class="wb-note">{tables.html_text(self.legend)}</p>'
        told = "".join(f"<p>{tables.html_text(note)}</p>" for note in self.notes())
        return (
            f"<p><strong>{tables.html_text(self.sentence)}</strong></p>{shown}{self.false_hits_html(self.shown)}{told}"
        )


def _falling(pairs: Iterable[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: pair.cosine or 0.0, reverse=True)


def _told(point: Point) -> str:
    hits, wrong = point.hit_rate, point.false_hit_rate
    return (
        f"{point.served:,} of {point.asked:,} pairs are served ({tables.format_share(hits.estimate)}), {point.wrong:,} of them "
        f"wrongly ({tables.format_share(wrong.estimate)} of all, {point.level:.0%} interval to "
        f"{tables.format_share(wrong.high)})"
    )


def _with_interval(found: Interval | None) -> str:
    if found is None:
        return tables.NOTHING
    return (
        f"{tables.format_share(found.estimate)} [{tables.format_share(found.low)}, {tables.format_share(found.high)}]"
    )


def _exact(share: float) -> str:
    return f"{100 * share:.4g}%"
