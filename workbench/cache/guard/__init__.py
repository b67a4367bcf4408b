"""May the answer to one question be served for another? A veto by what an embedding does not see.

An embedding puts "enable 2FA" beside "disable 2FA" and "order 48213" beside "order 48231". The guard reads both questions,
pairs up what they name, and refuses when anything is left over that it cannot explain: unsure means a miss. What it
can explain is politeness, word order, inflection, spelling, ways of asking, and synonyms on a list. It reads English; of
other languages only the same words in the same order pass.
"""

from __future__ import annotations

from workbench.cache.guard.comparing import difference
from workbench.cache.guard.reading import read
from workbench.cache.guard.scanning import clean, quoted, scan
from workbench.cache.guard.vocabulary import ENGLISH, ENGLISH_ALONE

__all__ = ["veto"]

_LONGEST = 2_000  # characters: what is longer is no question, and passes only if it is the same
_ENGLISH = 0.15  # the share of telling words from which on a text is taken for English


def veto(asked: str, cached: str) -> str | None:
    """Why the answer to `cached` must not be served for `asked`, as `kind: what`; None if it may.

    kind: numbers, units, dates, times, negation, opposites, names, quotes, identifiers, question, person, quantifiers,
    order or words. The same is said either way round.
    """
    one, other = sorted((clean(asked), clean(cached)))
    if one == other:
        return None
    if max(len(one), len(other)) > _LONGEST:
        return None if one.casefold().split() == other.casefold().split() else "words: too long to compare"
    if reason := _quotes(one, other):
        return reason
    quotes = (*quoted(one), *quoted(other))
    scanned = scan(one, quotes), scan(other, quotes)
    words = [set(each.words) for each in scanned]
    known = any(ENGLISH_ALONE & each or _ENGLISH * len(each) <= len(ENGLISH & each) for each in words)
    return difference(read(scanned[0], words[1], known=known), read(scanned[1], words[0], known=known))


def _quotes(one: str, other: str) -> str | None:
    """A quoted string must occur in the other question as well, letter by letter where both quote it."""
    both = quoted(one), quoted(other)
    shouted = one.isupper() or other.isupper()
    for quotes, text, others in ((both[0], other, both[1]), (both[1], one, both[0])):
        flat = " ".join(text.split()).casefold()
        for quote in quotes:
            if quote.casefold() not in flat:
                return f"quotes: only one has “{quote}”"
            if quote not in others and quote.casefold() in map(str.casefold, others) and not shouted:
                return f"quotes: “{quote}” in other letters"
    return None
