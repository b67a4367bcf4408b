"""Whether one word is another one misspelt."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import resources

from workbench.cache.guard.lemmas import bases
from workbench.cache.guard.synonyms import groups_of

__all__ = ["misspelt", "small_word"]

_LEAST = 5  # letters of the right spelling; shorter words have too many neighbours
_NAMELESS = 6  # letters of two words of which neither is known
# their slips are words of no kind; the commoner ones last
_SMALL = [
    "are", "can", "from", "why", "what", "where", "when", "which", "does", "have", "will", "would", "should", "could", "your",
    "this", "that", "with", "and", "the", "how",
]  # fmt: skip
_SHORT = {"cna", "hwy", "rae", "aer"}  # slips that are also abbreviations or names


@lru_cache(maxsize=4096)
def misspelt(one: str, other: str) -> bool:
    """One letter is missing, doubled, another one, or changed places with its neighbour, and one of the two is no known word.

    Two words that exist ("contact", "contract"; "insulin", "inulin") are never each other's misspelling.
    """
    short, long = sorted((one, other), key=lambda word: (len(word), word))
    if len(long) - len(short) > 1 or len(long) < _LEAST or short[0] != long[0] or not (short + long).isalpha():
        return False
    at = next((at for at, letter in enumerate(short) if letter != long[at]), len(short))
    if len(short) < len(long):
        close = short[at:] == long[at + 1 :] != ""
    else:
        exchanged = short[at : at + 2] == long[at : at + 2][::-1]
        close = short[at + 2 :] == long[at + 2 :] and (exchanged or short[at + 1 :] == long[at + 1 :] != "")
        close = close and (exchanged or (len(long) > _LEAST and _near(short[at], long[at])))
    if not close:
        return False
    known = is_known(one), is_known(other)
    return known[0] != known[1] or (not any(known) and _slip(short, long, at))


def _near(one: str, other: str) -> bool:
    """Letters that are taken for each other: two vowels, or neighbours on the keyboard."""
    if one in "aeiouy" and other in "aeiouy":
        return True
    return any(one + other in row or other + one in row for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm"))


def _slip(short: str, long: str, at: int) -> bool:
    """Of two words that nobody knows: a doubled letter is missing, or -ant stands for -ent."""
    if len(short) < _NAMELESS:
        return False
    if len(short) < len(long):
        return long[at] == long[at - 1]
    return {short[at], long[at]} <= {"a", "e", "i"} and short[at + 1 :] in ("nt", "nce", "ncy", "ble")


def is_known(word: str) -> bool:
    """Whether it is a word that many texts use, or a form of one."""
    return any(base in _known() or groups_of(base) for base in bases(word))


@cache
def _known() -> frozenset[str]:
    """Words of several lists (see words.NOTICE): common ones, and rare ones that one slip makes of another (palate, inulin)."""
    return frozenset(resources.files(__package__).joinpath("words.txt").read_text("ascii").split())


def small_word(word: str) -> str:
    """The small word that this is a slip of ("teh", "wher"), else the word."""
    return _slips().get(word, word)


@cache
def _slips() -> dict[str, str]:
    found: dict[str, str] = {}
    for word in _SMALL:
        exchanged = [word[:at] + word[at + 1] + word[at] + word[at + 2 :] for at in range(len(word) - 1)]
        missing = [word[:at] + word[at + 1 :] for at in range(1, len(word))] if len(word) > 4 else []
        found.update((slip, word) for slip in (*exchanged, *missing) if slip != word and slip not in _SHORT)
    return {slip: word for slip, word in found.items() if len(slip) < 4 or slip not in _known()}
