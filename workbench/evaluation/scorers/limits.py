"""Does the answer keep to its limits: how long it may be, and in which language it must be?"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from workbench.errors import InputError
from workbench.evaluation.scorers.scorer import Scorer, built_in
from workbench.evaluation.scorers.wording import RIGHT, short
from workbench.records import Example, Score

__all__ = ["language", "length"]

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+")


def length(
    *,
    min_words: int | None = None,
    max_words: int | None = None,
    min_characters: int | None = None,
    max_characters: int | None = None,
) -> Scorer:
    """1 if the answer is no shorter and no longer than this, else 0; `expected` is not read.

    Words are runs of letters or digits; characters are counted without white space around the answer. At least one limit.
    """
    limits = {
        "min_words": min_words, "max_words": max_words,
        "min_characters": min_characters, "max_characters": max_characters,
    }  # fmt: skip
    given = {name: value for name, value in limits.items() if value is not None}
    if not given:
        raise InputError(f"length: give at least one of {', '.join(limits)}, such as max_words=50.")
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InputError(f"length: {name} = {value!r} must be a whole number from 0.")
    for unit in ("words", "characters"):
        low, high = given.get(f"min_{unit}", 0), given.get(f"max_{unit}")
        if high is not None and low > high:
            raise InputError(f"length: min_{unit} = {low} is more than max_{unit} = {high}.")

    def score(text: str, example: Example) -> Score:
        for unit, count in (("words", len(_WORD.findall(text))), ("characters", len(text.strip()))):
            low, high = given.get(f"min_{unit}"), given.get(f"max_{unit}")
            if low is not None and count < low:
                return Score(0.0, f"{count:,} {unit}, at least {low:,} wanted")
            if high is not None and count > high:
                return Score(0.0, f"{count:,} {unit}, at most {high:,} wanted")
        return RIGHT

    return built_in("length", score, given)


# the commonest words that few of the others share
_COMMON = {
    code: frozenset(text.split())
    for code, text in {
        "da": "og det at er til på af den som ikke jeg der med for en et har kan vil blev efter også fra hvad men du skal vi",
        "de": "und der die das ist nicht ein eine zu mit den von sie ich auf dem für auch sich des im wird sind oder wir bei",
        "en": "the and of to is that it in you for was with are this not be have on as at by from but they we his her which an",
        "es": "el la los las de que y en un una es por con para no se del al lo como más pero su está son fue muy este sobre",
        "fi": "ja on ei se että hän mutta ovat oli tämä kun myös niin ole kuin joka sen mitä minä voi jos vain sitä olen mukaan",
        "fr": "le la les des et est une un que qui dans pour pas sur avec ce il elle vous nous du au en sont plus mais être",
        "it": "il di che è e la un una per non sono con del della si da ma più le gli anche come dei nel alla questo ho hai lo i",
        "nl": "de het een en van is dat niet op te zijn voor met die ik je wordt ook aan er maar om hij bij naar deze heeft",
        "no": "og det er ikke på å som til en av for med jeg har den et om kan vi men fra ble skal så du de etter også være hva",
        "pl": "i w nie na się jest to z że do jak od po ale za przez jego tego są co tak był przed ich może czy dla oraz tylko",
        "pt": "o a os as de que e do da em um uma não para com é por mais se no na dos como mas foi ao você ele são está também",
        "sv": "och att det är som en på av för med den till inte har ett jag om de var så men från vi kan han där eller när ska",
        "tr": "ve bir bu da de için ile çok ne var daha olarak gibi ama kadar değil o ben en sonra olan mi ya her bunu şey oldu",
    }.items()
}  # fmt: skip
# written in a script of their own, as Unicode names its letters; a language of a shared script is told by letters
_SCRIPTS = {
    "ar": "ARABIC", "el": "GREEK", "he": "HEBREW", "hi": "DEVANAGARI", "ja": "HIRAGANA KATAKANA", "ko": "HANGUL",
    "ru": "CYRILLIC", "th": "THAI", "zh": "CJK",
}  # fmt: skip
_ENOUGH = 3  # common words that tell a language


def language(code: str) -> Scorer:
    """1 if the answer is in this language, else 0; `expected` is not read.

    code: one of ar, da, de, el, en, es, fi, fr, he, hi, it, ja, ko, nl, no, pl, pt, ru, sv, th, tr and zh. Told by its script
    (any Cyrillic text counts as ru, Arabic as ar, Devanagari as hi) and, in Latin letters, by its commonest words, which takes
    a sentence or two: an answer that is too short or without such words is unscored, not wrong. Code blocks are left out.
    """
    known = sorted((*_COMMON, *_SCRIPTS))
    if code not in known:
        raise InputError(f"language: code = {code!r} must be one of {', '.join(known)}.")

    def score(text: str, example: Example) -> Score:
        found = _language_of(re.sub(r"```.*?(?:```|\Z)", " ", text, flags=re.DOTALL))
        if found is None:
            return Score(None, f"too little text to tell its language: {short(text)}")
        return RIGHT if found == code else Score(0.0, f"{found} instead of {code}: {short(text)}")

    return built_in("language", score, {"code": code})


def _language_of(text: str) -> str | None:
    scripts: Counter[str] = Counter()
    for letter in filter(str.isalpha, text[:20_000]):
        scripts[unicodedata.name(letter, "").split(" ")[0].split("-")[0]] += 1
    if not scripts:
        return None
    if scripts["HIRAGANA"] + scripts["KATAKANA"] and scripts["HIRAGANA"] + scripts["KATAKANA"] > scripts["CJK"] / 10:
        scripts["HIRAGANA"] += scripts.pop("CJK", 0)
    script = scripts.most_common(1)[0][0]
    if script != "LATIN":
        return next((code for code, names in _SCRIPTS.items() if script in names.split()), None)
    words = Counter(word.lower() for word in _WORD.findall(text[:20_000]))
    counts = Counter({code: sum(words[word] for word in common) for code, common in _COMMON.items()})
    (best, most), (_, second) = counts.most_common(2)
    return best if most >= _ENOUGH and most > second else None
