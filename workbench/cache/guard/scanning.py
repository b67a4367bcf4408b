"""From text to words: numbers, dates, code and quoted strings are set apart before anything is rewritten."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from workbench.cache.guard.spelling import small_word
from workbench.cache.guard.vocabulary import ABBREVIATED_UNITS, CURRENCIES, EXACT_UNITS, MONTHS, ORDINALS, words

__all__ = ["Mark", "Scanned", "clean", "quoted", "scan"]


class Mark(NamedTuple):
    """One thing a question speaks of. key: what it is compared by; kind: what a reason calls it; shown: as it was written."""

    key: str
    kind: str
    shown: str


@dataclass(slots=True)
class Scanned:
    """words: lower-case; `,` and `.` are pauses; ¤n stands for `apart[n]`. names: those that were capitalised.

    asks: there is a question mark.
    """

    words: list[str] = field(default_factory=list)
    apart: list[tuple[Mark, ...]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    asks: bool = False

    def set_apart(self, *marks: Mark) -> None:
        """Let these stand in the place of one word."""
        self.words.append(f"¤{len(self.apart)}")
        self.apart.append(marks)


_PLAIN = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "´": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "–": "-", "—": " , ",
     "−": "-", "‑": "-", "⁄": "/"}
)  # fmt: skip
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f\u00ad\u200b-\u200f\u2060\ufeff\ufe0f]")
_QUOTED = re.compile(r"```(.+?)```|`([^`]+)`|\"([^\"]+)\"|(?<![\w'])'([^']+)'(?![\w'])", re.DOTALL)
_PIECE = r"""
    (?P<words>[A-Z]?[a-z]+(?:\ [A-Z]?[a-z]+)*(?=[\s,?!;)]|[.:]?(?:\s|$)))
  | (?P<quote>\x02\d+\x03)
  | (?P<code>
        (?:https?|ftps?|wss?|s3|file|ssh|git)://[^\s,;)\]]+ | www\.[^\s,;)\]]+ | [\w.+-]++@[\w-]+\.[\w.-]*\w
      | (?<![\w/])(?:~|\.{1,2})?(?:/[\w.*@-]*[\w*])+/? | \b[A-Za-z]:\\[^\s,;]*
      | (?!\d{1,2}/\d{1,2}/\d{2,4}\b)\w[\w.-]*+(?:/[\w.-]*\w){2,}
      | (?<!\S)--?[A-Za-z][\w-]*(?:=[^\s,;]+)?
      | [$@\#](?!\d)\w*[A-Za-z_]\w* | </?\w+> | (?<![\w.])\.[A-Za-z]\w+
      | (?=\d*[A-Za-z_])\w++(?:(?:\.|::|->)\w+)+(?:\(\))? | \w++\(\) | \b[^\W\d_]/[^\W\d_]\b
      | \w*_\w* | [A-Za-z]\w*\+\+ | [A-Za-z]\#(?!\w) | 0x[0-9a-fA-F]+\b
      | [a-z]+[A-Z]\w* | [A-Z][a-z]+[A-Z]\w*
      | [A-Za-z]+(?:-?\d+[A-Za-z]*)+(?:-[A-Za-z]*\d\w*)*
    )
  | (?P<date>\b\d{4}-\d{1,2}-\d{1,2}\b | \b\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}\b)
  | (?P<time>\b\d{1,2}(?:[:.]\d{2})?\s?[aApP]\.?[mM]\b\.? | \b\d{1,2}:\d{2}(?::\d{2})?\b | \b\d{1,2}\ ?o'clock\b)
  | (?P<number>
        (?:(?<![\w)])-)?(?:(?:US|us|A|C)?[£$€¥₹₩]\s?)?
        \d+(?:,\d{3})*(?:[.]\d+)*(?:/\d+)?[^\W_]*(?:\ ?°(?:\ ?[CFcf]\b)?|%)?(?:/[hs]\b)?
    )
  | (?P<word>[^\W\d_]+(?:'[^\W\d_]+)*)
  | (?P<pause>[,;:()\[\]{}]|[.?!]+)
  | (?P<symbol>[=<>+*^~|&@\#$\\%/!-]+|[^\s\w"'`])
"""
_POINT = re.compile(r"(?<![\w.])\.(?=\d)")
_EXACT = re.compile(rf"(?<=\d) (?=(?:{'|'.join(EXACT_UNITS)})\b)")
_NUMBER = re.compile(r"(-?)(us|a|c)?([£$€¥₹₩]?)\s?(\d[\d,]*(?:\.\d+)*(?:/\d+)?)([^\W\d_]*)(.*)", re.DOTALL)
_TIME = re.compile(r"(\d{1,2})(?:[:.](\d{2}))?(?::(\d{2}))?\s?([ap])?")
_ISO_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_VERSION = re.compile(r"v(?:er(?:sion)?)?\.?(\d+(?:\.\d+)*)")
_NUMBERED = re.compile(r"([a-z]+)-?(\d+)")
_OPERAND = re.compile(r"\s+(?:\d|[^\W\d_](?!\w))")
_INITIALS = re.compile(r"(?:[a-z]\.)+[a-z]?")
_LETTERS = re.compile(r"[^\W\d_]+")

_SHORTENED = {"'re": "are", "'ve": "have", "'ll": "will", "'m": "am", "'d": "would"}
_SHORT = {"u": "you", "ur": "your"}
_UNUSUAL = words("may u ur")
_NOT = {"ca": "can", "wo": "will", "sha": "shall", "ai": "is"}
_IS = words("what how where who when why that there here it he she")
_ACCENTED = 3  # letters: in shorter words an accent tends to make another word
_MAGNITUDES = {"k": 1_000, "bn": 10**9, "b": 10**9, "m": 10**6, "mn": 10**6, "tn": 10**12}
_IGNORED = words("- / … · • ‹ › ¿ ¡ © ® ™")
_UPPER_ONLY = {"US": "usa", "IT": "it^", "WHO": "who^"}
_MONTH_NAMES = tuple(dict.fromkeys(MONTHS.values()))
_MONTH_AFTER = words("in of since until till by from before after during last next this early late mid each every")


def clean(text: str) -> str:
    """The text in one spelling of letters, quotes, dashes and spaces; .5 is 0.5, and units that capitals tell stand at theirs."""
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text).translate(_PLAIN))
    return _EXACT.sub("", _POINT.sub("0.", plain))


def quoted(text: str) -> list[str]:
    """What stands in quotes or backticks, spaces made one."""
    return [" ".join(next(filter(None, match.groups())).split()) for match in _QUOTED.finditer(text)]


@cache
def _pieces() -> re.Pattern[str]:
    return re.compile(_PIECE, re.VERBOSE)


def scan(text: str, quotes: Iterable[str]) -> Scanned:
    """A cleaned text. `quotes`: strings that are one thing each wherever they occur, in quotes or without."""
    known = sorted({quote for quote in quotes if quote}, key=lambda quote: (-len(quote), quote))
    for number, quote in enumerate(known):
        spaced = r"\s+".join(map(re.escape, quote.split()))
        text = re.sub(rf"(?<!\w)[\"'`]*{spaced}[\"'`]*(?!\w)", f" \x02{number}\x03 ", text, flags=re.IGNORECASE)
    found = Scanned(asks="?" in text)
    letters = _LETTERS.findall(text)
    upper = sum(map(str.isupper, letters))
    shouted = upper == len(letters) or (upper > 3 and 2 * upper > len(letters))
    longer = [word for word in letters if len(word) > 1 and not word.isupper()]
    titled = sum(word[0].isupper() for word in longer) > 0.6 * len(longer)
    starts = True
    for match in _pieces().finditer(text):
        kind, raw = match.lastgroup, match.group()
        if kind == "pause":
            ends = raw[0] in ".?!"
            found.words.append("." if ends else ",")
            starts = starts or ends
            continue
        if kind == "words":
            for word in raw.split():
                if word.islower() and word not in _UNUSUAL:
                    found.words.append(small_word(word))
                else:
                    _word(found, word, names=not (starts or titled or shouted), cased=not shouted)
                starts = False
        elif kind == "word":
            _word(found, raw, names=not (starts or titled or shouted), cased=not shouted)
        elif kind == "quote":
            quote = known[int(raw[1:-1])]
            found.set_apart(Mark(quote.casefold(), "quotes", f"“{quote}”"))
        elif kind == "symbol":
            _symbol(found, raw, text, match.end())
        elif kind == "code":
            _code(found, raw)
        elif kind == "date":
            _date(found, raw)
        elif kind == "time":
            _time(found, raw)
        else:
            _number(found, raw)
        starts = False
    return found


def _word(found: Scanned, raw: str, *, names: bool, cased: bool) -> None:
    """names: a capital tells a name here. cased: capitals tell something."""
    if cased and raw in _UPPER_ONLY:
        found.names.add(_UPPER_ONLY[raw])
        found.words.append(_UPPER_ONLY[raw])
        return
    word = raw.lower()
    if names and raw == "A":  # of A and B; no article
        word = "a^"
    if "'" in word:
        word = _contracted(found, word)
    elif word == "may" and _is_month(found.words, named=names and raw == "May"):
        word = "may^"
    plain = _SHORT.get(word) or small_word(_unaccented(word))
    if plain:
        found.words.append(plain)
        if names and raw[0].isupper():
            found.names.add(plain)


def _is_month(before: list[str], *, named: bool) -> bool:
    return named or bool(before and (before[-1] in _MONTH_AFTER or before[-1][0] == "¤"))


def _contracted(found: Scanned, word: str) -> str:
    """Add the words of a contraction and return "", or the word without its apostrophe."""
    if word.endswith("n't"):
        found.words += [_NOT.get(word[:-3], word[:-3]), "not"]
        return ""
    for ending, full in _SHORTENED.items():
        if word.endswith(ending):
            found.words += [word.removesuffix(ending), full]
            return ""
    base = word.removesuffix("'s")
    if base in _IS:
        found.words += [base, "is"]
        return ""
    return base.replace("'", "")


def _unaccented(word: str) -> str:
    """A longer word of Latin letters without its accents, which many leave out: café, São Paulo."""
    if word.isascii() or len(word) < _ACCENTED:
        return word
    plain = "".join(letter for letter in unicodedata.normalize("NFD", word) if not unicodedata.combining(letter))
    return plain if plain.isascii() else word


def _symbol(found: Scanned, raw: str, text: str, end: int) -> None:
    """A dash between single letters or numbers is a minus (a - b); elsewhere it is a pause."""
    before = found.words[-1] if found.words else ""
    if raw == "&":
        found.words.append("and")
    elif raw == "-":
        if before and (len(before) == 1 or before[0] == "¤") and _OPERAND.match(text, end):
            found.set_apart(Mark(raw, "identifiers", raw))
    elif raw not in _IGNORED and set(raw) - {"-", "!"}:
        found.set_apart(Mark(raw, "identifiers", raw))


def _code(found: Scanned, raw: str) -> None:
    low = raw.lower()
    if _INITIALS.fullmatch(low):  # U.K., e.g.
        plain = low.replace(".", "")
        if plain not in ("eg", "ie"):
            plain = "usa" if plain == "us" else plain
            found.words.append(plain)
            found.names.add(plain)
    elif low in ("w/o", "w/"):
        found.words.append("without" if low == "w/o" else "with")
    elif match := _VERSION.fullmatch(low):
        found.words.append("version")
        found.set_apart(Mark(match.group(1), "numbers", raw))
    elif match := _NUMBERED.fullmatch(low):  # covid-19, windows11, p60: also written apart
        found.words.append(match.group(1))
        found.names.add(match.group(1))
        found.set_apart(Mark(match.group(2), "numbers", raw))
    else:
        is_flag = raw[0] == "-" and len(raw) == 2
        found.set_apart(Mark(raw if is_flag else low.rstrip("."), "identifiers", raw))


def _date(found: Scanned, raw: str) -> None:
    """Day, month and year where it is plain which is which; else it is one thing, since nobody knows which part is the day."""
    match = _ISO_DATE.fullmatch(raw)
    if match and 1 <= int(match[2]) <= 12:
        for key in (str(int(match[3])), _MONTH_NAMES[int(match[2]) - 1], str(int(match[1]))):
            found.set_apart(Mark(key, "dates", raw))
        return
    parts = [int(part) for part in re.split(r"[/.-]", raw)]
    day, month = sorted(parts[:2], reverse=True)
    if parts[2] > 999 and month <= 12 < day <= 31:
        for key in (str(day), _MONTH_NAMES[month - 1], str(parts[2])):
            found.set_apart(Mark(key, "dates", raw))
        return
    found.set_apart(Mark(re.sub(r"[.-]", "/", raw), "dates", raw))


def _time(found: Scanned, raw: str) -> None:
    """Of the day, by the 24-hour clock."""
    match = _TIME.match(raw.lower())
    if match is None:
        raise AssertionError(f"{raw!r} was taken for a time of day")
    hour, minute, second, half = int(match[1]), match[2] or "00", match[3], match[4]
    if half and hour <= 12:
        hour = hour % 12 + (12 if half == "p" else 0)
    found.set_apart(Mark(f"{hour:02}:{minute}" + (f":{second}" if second else ""), "dates", raw))


def _number(found: Scanned, raw: str) -> None:
    """A number, then its unit. As it was written (Python 3.10 is not 3.1), but for zeros behind the point of a measure."""
    low = raw.lower()
    if low in ORDINALS:
        found.words.append(ORDINALS[low])
        return
    match = _NUMBER.fullmatch(low)
    if match is None:
        found.set_apart(Mark(low, "identifiers", raw))
        return
    sign, area, currency, digits, letters, rest = match.groups()
    digits, ending = digits.rstrip(",").replace(",", ""), (letters + rest).replace(" ", "")
    unit = CURRENCIES.get((area or "") + currency)
    if ending in _MAGNITUDES and (currency or ending in ("k", "bn", "mn", "tn")):
        digits = _multiplied(digits, _MAGNITUDES[ending])
    elif ending in ("st", "nd", "rd", "th", "s"):
        digits += ending if ending != "s" or len(digits) > 3 else ""
        unit = "second" if ending == "s" and len(digits) <= 3 else unit
    elif ending:
        unit = EXACT_UNITS.get(raw.replace(" ", "")[-len(ending) :]) or ABBREVIATED_UNITS.get(ending)
        if unit is None:
            found.set_apart(Mark(low, "identifiers", raw))
            return
    if unit and digits.count(".") == 1:
        digits = digits.rstrip("0").rstrip(".")
    if digits.isdigit() and len(digits) < 4:
        digits = str(int(digits))
    marks = [Mark(sign + digits, "numbers", raw) if digits != "1/2" else Mark("half", "quantifiers", raw)]
    if unit:
        marks.append(Mark(unit, "units", raw))
    found.set_apart(*marks)


def _multiplied(digits: str, by: int) -> str:
    whole, _, part = digits.partition(".")
    if not (whole + part).isdigit():
        return f"{digits}*{by}"
    value, scale = int(whole + part) * by, 10 ** len(part)
    return str(value // scale) if value % scale == 0 else f"{value / scale}"
