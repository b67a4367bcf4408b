"""From text to words: numbers, dates, code and quoted strings are set apart before anything is rewritten."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from workbench.cache.guard.vocabulary import ABBREVIATED_UNITS, CURRENCIES, EXACT_UNITS, MONTHS, ORDINALS

__all__ = ["Mark", "Scanned", "clean", "quoted", "scan"]


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing a question speaks of. key: what it is compared by; kind: what the reason calls it; shown: as it was written."""

    key: str
    kind: str
    shown: str


@dataclass(slots=True)
class Scanned:
    """words: lower-case; `,` and `.` are pauses; ¤n stands for `apart[n]`. names: words that were capitalised."""

    words: list[str] = field(default_factory=list)
    apart: list[tuple[Mark, ...]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    asks: bool = False

    def set_apart(self, *marks: Mark) -> None:
        """Let these stand in the place of one word."""
        self.words.append(f"¤{len(self.apart)}")
        self.apart.append(marks)


_PLAIN = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "´": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "–": "-", "—": " , ", "−": "-", "‑": "-"}
)  # fmt: skip
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f\u00ad\u200b-\u200f\u2060\ufeff\ufe0f]")
_QUOTED = re.compile(r"```(.+?)```|`([^`]+)`|\"([^\"]+)\"|(?<![\w'])'([^']+)'(?![\w'])", re.DOTALL)
_TOKEN = re.compile(
    r"""
    (?P<word>[A-Z]?[a-z]+(?=[\s,?!;:)]|\.?(?:\s|$)))
  | (?P<quote>\x02\d+\x03)
  | (?P<code>
        (?:https?|ftps?|wss?|s3|file|ssh|git)://[^\s,;)\]]+ | www\.[^\s,;)\]]+ | [\w.+-]+@[\w-]+\.[\w.-]*\w
      | (?<![\w/])(?:~|\.{1,2})?(?:/[\w.*@-]*[\w*])+/? | \b[A-Za-z]:\\[^\s,;]* | \w[\w.-]*(?:/[\w.-]*\w){2,}
      | (?<!\S)--?[A-Za-z][\w-]*(?:=[^\s,;]+)?
      | [$@\#](?!\d)\w*[A-Za-z_]\w* | </?\w+>
      | (?<![\w.])\.[A-Za-z]\w+
      | \w*[A-Za-z]\w*(?:(?:\.|::|->)\w+)+(?:\(\))? | \w+\(\)
      | \b[^\W\d_]/[^\W\d_]\b
      | \w*_\w* | [A-Za-z]\w*\+\+ | [A-Za-z]\#(?!\w)
      | 0x[0-9a-fA-F]+\b
      | [a-z]+[A-Z]\w* | [A-Z][a-z]+[A-Z]\w*
      | [A-Za-z]+(?:-?\d+[A-Za-z]*)+(?:-[A-Za-z]*\d\w*)*
    )
  | (?P<date>\b\d{4}-\d{1,2}-\d{1,2}\b | \b\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}\b)
  | (?P<time>\b\d{1,2}(?:[:.]\d{2})?\s?[aApP]\.?[mM]\b\.? | \b\d{1,2}:\d{2}(?::\d{2})?\b)
  | (?P<number>(?:(?<![\w)])-)?(?:(?:US|us|A|C)?[£$€¥₹₩]\s?)?\d+(?:,\d{3})*(?:[.]\d+)*(?:/\d+)?[^\W_]*(?:°[CFcf]?|%)?(?:/[hs]\b)?)
  | (?P<other>[^\W\d_]+(?:'[^\W\d_]+)*)
  | (?P<pause>[,;:()\[\]{}]|[.?!]+)
  | (?P<symbol>[=<>+*^~|&@\#$\\%/!-]+|[^\s\w"'`])
    """,
    re.VERBOSE,
)
_NUMBER = re.compile(r"(-?)(us|a|c)?([£$€¥₹₩]?)\s?(\d[\d,]*(?:\.\d+)*(?:/\d+)?)([^\W\d_]*)(.*)", re.DOTALL)
_TIME = re.compile(r"(\d{1,2})(?:[:.](\d{2}))?(?::(\d{2}))?\s?([ap])?")
_OPERAND = re.compile(r"\s+(?:\d|[^\W\d_](?!\w))")
_INITIALS = re.compile(r"(?:[a-z]\.)+[a-z]?")
_SHORTENED = {"n't": "not", "'re": "are", "'ve": "have", "'ll": "will", "'m": "am", "'d": "would"}
_IS = frozenset("what how where who when why that there here it he she".split())
_MAGNITUDES = {"k": 1_000, "bn": 10**9, "b": 10**9, "m": 10**6, "mn": 10**6, "tn": 10**12}
_IGNORED = frozenset("-/…·•‹›¿¡©®™")
_ACCENTED = 4  # letters: in shorter words an accent tends to be another word
_UPPER_ONLY = {"US": "usa", "IT": "it^", "WHO": "who^"}
_MONTH_NAMES = tuple(dict.fromkeys(MONTHS.values()))
_MONTH_AFTER = frozenset(
    "in of since until till by from before after during last next this early late mid each every".split()
)


def clean(text: str) -> str:
    """The text in one spelling of letters, quotes, dashes and spaces."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", text).translate(_PLAIN))


def quoted(text: str) -> list[str]:
    """What stands in quotes or backticks, spaces made one."""
    return [" ".join(next(filter(None, match.groups())).split()) for match in _QUOTED.finditer(text)]


def scan(text: str, quotes: Iterable[str]) -> Scanned:
    """A cleaned text. `quotes`: strings that are one thing each wherever they occur, in quotes or without."""
    quotes = sorted({quote for quote in quotes if quote}, key=lambda quote: (-len(quote), quote))
    for number, quote in enumerate(quotes):
        words = r"\s+".join(map(re.escape, quote.split()))
        pattern = rf"(?<!\w)[\"'`]*{words}[\"'`]*(?!\w)"
        text = re.sub(pattern, f" \x02{number}\x03 ", text, flags=re.IGNORECASE)
    found = Scanned(asks="?" in text)
    words = [match.group() for match in re.finditer(r"[^\W\d_]+", text)]
    upper = sum(word.isupper() for word in words)
    shouted = upper > 3 and 2 * upper > len(words) or upper == len(words)
    titled = sum(word[0].isupper() for word in words) > 0.6 * len(words)
    starts = True
    for match in _TOKEN.finditer(text):
        kind, raw = str(match.lastgroup), match.group()
        low = raw.lower()
        if kind == "pause":
            ends = raw[0] in ".?!"
            found.words.append("." if ends else ",")
            starts = starts or ends
            continue
        if kind == "quote":
            quote = quotes[int(raw[1:-1])]
            found.set_apart(Mark(quote.casefold(), "quotes", f"“{quote}”"))
        elif kind in ("word", "other"):
            _word(found, raw, low, names=not (starts or titled or shouted), cased=not shouted)
        elif kind == "code":
            _code(found, raw, low)
        elif kind == "symbol":
            if raw == "&":
                found.words.append("and")
            elif raw == "-" and _minus(found.words, text, match.end()):
                found.set_apart(Mark(raw, "identifiers", raw))
            elif raw not in _IGNORED and set(raw) - {"-", "!"}:
                found.set_apart(Mark(raw, "identifiers", raw))
        elif kind == "date":
            _date(found, raw)
        elif kind == "time":
            _time(found, raw, low)
        else:
            _number(found, raw, low)
        starts = False
    return found


def _minus(words: list[str], text: str, end: int) -> bool:
    """A dash between spaces and single letters or numbers: a - b, but not "hello - a question"."""
    return bool(words) and (len(words[-1]) == 1 or words[-1][0] == "¤") and bool(_OPERAND.match(text, end))


def _word(found: Scanned, raw: str, low: str, *, names: bool, cased: bool) -> None:
    if cased and raw in _UPPER_ONLY:
        found.names.add(_UPPER_ONLY[raw])
        found.words.append(_UPPER_ONLY[raw])
        return
    if low == "may" and (
        found.words and (found.words[-1] in _MONTH_AFTER or found.words[-1][0] == "¤") or (names and raw == "May")
    ):
        low = "may^"
    base, mark, _ = low.partition("'")
    if mark:
        if low.endswith("n't"):
            found.words += [{"ca": "can", "wo": "will", "sha": "shall", "ai": "is"}.get(low[:-3], low[:-3]), "not"]
            return
        for ending, full in _SHORTENED.items():
            if low.endswith(ending):
                found.words += [low.removesuffix(ending), full]
                return
        if low.endswith("'s"):
            found.words += [base, "is"] if base in _IS else [base]
            if names:
                found.names.add(base)
            return
        low = low.replace("'", "")
    plain = {"u": "you", "ur": "your"}.get(low) or _unaccented(low)
    found.words.append(plain)
    if names and raw[0].isupper():
        found.names.add(plain)


def _unaccented(word: str) -> str:
    """A longer word of Latin letters without its accents, which many leave out: café, São Paulo."""
    if word.isascii() or len(word) < _ACCENTED:
        return word
    plain = "".join(letter for letter in unicodedata.normalize("NFD", word) if not unicodedata.combining(letter))
    return plain if plain.isascii() else word


def _code(found: Scanned, raw: str, low: str) -> None:
    if _INITIALS.fullmatch(low):  # U.K., e.g.
        plain = {"us": "usa"}.get(low.replace(".", ""), low.replace(".", ""))
        if plain not in ("eg", "ie"):
            found.words.append(plain)
            found.names.add(plain)
        return
    if low in ("w/o", "w/"):
        found.words.append("without" if low == "w/o" else "with")
        return
    if match := re.fullmatch(r"v(?:er(?:sion)?)?\.?(\d+(?:\.\d+)*)", low):
        found.words.append("version")
        found.set_apart(Mark(match.group(1), "numbers", raw))
        return
    if match := re.fullmatch(r"([a-z]+)-?(\d+)", low):  # covid-19, windows11, p60: also written apart
        found.words.append(match.group(1))
        found.names.add(match.group(1))
        found.set_apart(Mark(match.group(2), "numbers", raw))
        return
    flag = raw[0] == "-" and len(raw) == 2
    found.set_apart(Mark(raw if flag else low.rstrip("."), "identifiers", raw))


def _date(found: Scanned, raw: str) -> None:
    if match := re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})", raw):
        year, month, day = map(int, match.groups())
        if 1 <= month <= 12:
            found.set_apart(Mark(str(day), "dates", raw))
            found.set_apart(Mark(_MONTH_NAMES[month - 1], "dates", raw))
            found.set_apart(Mark(str(year), "dates", raw))
            return
    found.set_apart(Mark(re.sub(r"[.-]", "/", raw), "dates", raw))


def _time(found: Scanned, raw: str, low: str) -> None:
    match = _TIME.match(low)
    assert match is not None
    hour, minute, second, half = int(match.group(1)), match.group(2) or "00", match.group(3), match.group(4)
    if half and hour <= 12:
        hour = hour % 12 + (12 if half == "p" else 0)
    found.set_apart(Mark(f"{hour:02}:{minute}" + (f":{second}" if second else ""), "dates", raw))


def _number(found: Scanned, raw: str, low: str) -> None:
    match = _NUMBER.fullmatch(low.strip())
    if match is None:
        found.set_apart(Mark(low, "identifiers", raw))
        return
    sign, area, currency, digits, letters, rest = match.groups()
    digits = digits.rstrip(",").replace(",", "")
    unit = CURRENCIES.get((area or "") + currency) if currency else None
    if letters + rest and low.strip() not in ORDINALS:
        raw_unit = raw.strip()[-len(letters + rest) :]
        if letters in _MAGNITUDES and not rest and (currency or letters in ("k", "bn", "mn", "tn")):
            digits = _scaled(digits, _MAGNITUDES[letters])
        elif known := EXACT_UNITS.get(raw_unit) or ABBREVIATED_UNITS.get(letters + rest):
            unit = known
        elif re.fullmatch(r"(?:st|nd|rd|th|s)", letters + rest):
            found.set_apart(Mark(digits + letters, "numbers", raw))
            return
        else:
            found.set_apart(Mark(low.strip(), "identifiers", raw))
            return
    elif low.strip() in ORDINALS:
        found.words.append(ORDINALS[low.strip()])
        return
    if unit and "." in digits and digits.count(".") == 1:
        digits = digits.rstrip("0").rstrip(".")
    digits = digits.lstrip("0") or "0" if digits.isdigit() and len(digits) < 4 else digits
    marks = [Mark(sign + digits, "numbers", raw.strip())]
    if unit:
        marks.append(Mark(unit, "units", raw.strip()))
    found.set_apart(*marks)


def _scaled(digits: str, by: int) -> str:
    whole, _, part = digits.partition(".")
    if not part.isdigit() and part:
        return digits
    value = int(whole + part) * by
    scale = 10 ** len(part)
    return str(value // scale) if value % scale == 0 else f"{value / scale}"
