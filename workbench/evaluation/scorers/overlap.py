"""Scorers by the words that answer and `expected` share."""

from __future__ import annotations

import re
import string
from collections import Counter

from workbench.evaluation.scorers.scorer import Scorer, built_in
from workbench.evaluation.scorers.wording import short, texts_of
from workbench.records import Example, Score

__all__ = ["rouge_l", "token_f1"]


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


def rouge_l() -> Scorer:
    """ROUGE-L of answer and `expected`, from 0 to 1; of several expected texts the best counts.

    The F measure (precision and recall alike) of their longest common subsequence of words: lower case, letters and digits
    only, no stemming. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, section 3.1, on the whole text.
    Without words on either side it is 1 if both have none, else 0.
    """

    def score(text: str, example: Example) -> Score:
        wanted = texts_of(example)
        if isinstance(wanted, Score):
            return wanted
        answer = _WORDS.findall(text.lower())
        best = max((_subsequence_f1(answer, _WORDS.findall(item.lower())), item) for item in wanted)
        return Score(best[0], "" if best[0] == 1 else f"against {short(best[1])}")

    return built_in("rouge_l", score, {}, binary=False, needs_expected=True)


_WORDS = re.compile(r"[^\W_]+")


def _subsequence_f1(answer: list[str], wanted: list[str]) -> float:
    if not answer or not wanted:
        return float(answer == wanted)
    return 2 * _common_subsequence(answer, wanted) / (len(answer) + len(wanted))


def _common_subsequence(one: list[str], other: list[str]) -> int:
    """The length of the longest one. A row of the usual table is one integer, whose zero bits are the steps in it, so that
    long texts take no longer than their words need to be read a few times (Hyyrö, "Bit-parallel LCS-length computation
    revisited", 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    full = row = (1 << len(one)) - 1
    for word in other:
        met = row & places.get(word, 0)
        row = (row + met | row - met) & full
    return len(one) - row.bit_count()
