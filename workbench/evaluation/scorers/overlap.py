"""Scorers by the words that answer and `expected` share."""

from __future__ import annotations

import re
import string
from collections import Counter

from workbench.evaluation.scorers.scorer import Scorer, built_in
from workbench.evaluation.scorers.wording import short, texts_of
from workbench.records import Example, Score

__all__ = ["token_f1"]


def token_f1() -> Scorer:
    """F1 of the words that answer and `expected` share, from 0 to 1; of several expected texts the best counts.

    As in SQuAD: lower case, ASCII punctuation and the articles a, an, the removed, words split at white space and
    counted as often as they occur; with no words left on either side it is 1 if both have none, else 0. Rajpurkar et
    al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016, section 6.1, and the evaluation
    script of SQuAD 2.0 for texts without words.
    """

    def score(text: str, example: Example) -> Score:
        wanted = texts_of(example)
        if isinstance(wanted, Score):
            return wanted
        answer = _squad_words(text)
        best = max((_overlap(answer, _squad_words(item)), item) for item in wanted)
        return Score(best[0], "" if best[0] == 1 else f"against {short(best[1])}")

    return built_in("token_f1", score, {}, binary=False, needs_expected=True)


def _squad_words(text: str) -> list[str]:
    text = text.lower().translate(_NO_PUNCTUATION)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _overlap(answer: list[str], wanted: list[str]) -> float:
    if not answer or not wanted:
        return float(answer == wanted)
    # 2PR / (P + R) with P = shared / answer and R = shared / wanted.
    return 2 * (Counter(answer) & Counter(wanted)).total() / (len(answer) + len(wanted))
