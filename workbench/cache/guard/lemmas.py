"""The base forms that a word may be an inflection of: plural, tense, -ing, -ly and the noun made of a verb.

A word can have several; two words agree if they share one. Nothing that changes a meaning is taken off: no comparison
(-er, -est), no agent (-er, -ee), no -able, -less, -ful, and no prefix.
"""

from __future__ import annotations

import re
from functools import lru_cache

from workbench.cache.guard.vocabulary import words

__all__ = ["bases"]

_IRREGULAR = {
    form: base
    for line in """
    go goes went gone going|buy bought|sell sold|send sent|pay paid|say said|tell told|make made|take took taken
    get got gotten getting|give gave given|find found|keep kept|leave left|lose lost|hold held|bring brought|think thought
    teach taught|catch caught|feel felt|mean meant|meet met|build built|spend spent|lend lent|break broke broken
    speak spoke spoken|steal stole stolen|choose chose chosen|write wrote written|drive drove driven|ride rode ridden
    fly flew flown|grow grew grown|know knew known|throw threw thrown|draw drew drawn|see saw seen|eat ate eaten
    fall fell fallen|forget forgot forgotten|begin began begun|run ran|come came|become became|drink drank drunk
    sing sang sung|swim swam swum|win won|understand understood|sleep slept|wear wore worn|hide hid hidden
    freeze froze frozen|wake woke woken|rise rose risen|show shown|die died dying|lie lied lying|tie tied tying|hear heard
    need needs needed needing|feed fed|child children|person people|man men|woman women|foot feet|tooth teeth|mouse mice
    goose geese|knife knives|wife wives|life lives|leaf leaves|shelf shelves|half halves|index indices indexes
    matrix matrices|criterion criteria|analysis analyses|bus buses|gas gases|tax taxes taxing taxed|process processes
    class classes|pass passes|virus viruses|color colour colours colors|center centre centres centers|favorite favourite
    license licence licences|program programme programmes programs|gray grey|check cheque cheques checks|defense defence
    tire tyre tyres|neighbor neighbour neighbours|catalog catalogue|dialog dialogue|theater theatre|meter metre metres
    liter litre litres|fiber fibre|labor labour|flavor flavour|practice practise|jewelry jewellery|enroll enrol
    enrollment enrolment|install instal|fulfill fulfil|aluminum aluminium|airplane aeroplane|analyze analyse analysed analyzed
    installment instalment instalments installments|judgment judgement|aging ageing|inquiry enquiry enquiries
    inquire enquire|cancel cancelled canceled cancelling canceling cancellation cancelation cancellations
    travel travelled traveled travelling traveling|separate seperate|definitely definately|receive recieve recieved
    address adress|accommodation accomodation|necessary neccessary|occurred occured|calendar calender
    tomorrow tommorow tommorrow|wednesday wensday|february febuary|okay ok|subscribe subscription subscriptions
    """.replace("\n", "|").split("|")
    for base, *forms in [line.split() or [""]]
    for form in (base, *forms)
}
# words that only look like a plural, a tense or an adverb
_WHOLE = words("""
    always apartment apartments aws basement basements bed bias building canvas christmas css daily department departments
    diabetes dns during early earnings economics evening everything family gas goods government hardly his https hundred ios
    italy its james jeans july kansas king lately lens mathematics maths monthly morning nearly news nothing only paris
    perhaps physics politics premises red reply ring savings seed series sms something species speed spring string supply
    teams texas thing this tls wedding weekly whereas windows yearly yes anything assembly barely atlas
    """)
_VOWEL_GROUPS = re.compile("[aeiouy]+")
_LEAST = 3  # letters that must stay


@lru_cache(maxsize=8192)
def bases(word: str) -> frozenset[str]:
    """The word, spelt the American way, and what it may be a form of."""
    known = _IRREGULAR.get(word)
    if known is not None:
        return frozenset((known,))
    if word in _WHOLE or len(word) <= _LEAST or not word.isascii() or not word.isalpha():
        return frozenset((word,))
    word = _american(word)
    return frozenset((word, *_plural(word), *_verb(word), *_noun(word), *_adverb(word)))


def _american(word: str) -> str:
    if len(word) > 5:
        word = re.sub(r"is(e|es|ed|ing|ation|ations)$", r"iz\1", word)
        word = re.sub(r"our(s|ed|ing|ite|ites)?$", r"or\1", word)
    return word


def _plural(word: str) -> list[str]:
    if word.endswith("ies") and len(word) > 4:
        return [word[:-3] + "y"]
    if word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        return [word[:-2]]
    if word.endswith("oes"):
        return [word[:-2], word[:-1]]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return [word[:-1]]
    return []


def _verb(word: str) -> list[str]:
    """Of -ed and -ing; a short stem such as "car" in "caring" needs its e back, else a car would be care."""
    if word.endswith("ied") and len(word) > 4:
        return [word[:-3] + "y"]
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem == word or len(stem) < 2 or not _VOWEL_GROUPS.search(stem):
            continue
        if len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] not in "aeiou":
            return [stem, stem[:-1]]
        closed = stem[-1] not in "aeiouwxy" and stem[-2] in "aeiou" and (len(stem) < 3 or stem[-3] not in "aeiou")
        if closed and len(_VOWEL_GROUPS.findall(stem)) == 1:
            return [stem + "e"]
        return [stem, stem + "e"]
    return []


def _noun(word: str) -> list[str]:
    """Of the nouns that verbs make: activation, installation, payment."""
    single = word.removesuffix("s")
    if single.endswith("ation") and len(single) > 8:
        return [single, single[:-5], single[:-5] + "e", single[:-3] + "e"]
    if single.endswith("ion") and len(single) > 7:
        return [single, single[:-3], single[:-3] + "e"]
    if single.endswith("ment") and len(single) > 6:
        return [single, single[:-4]]
    return []


def _adverb(word: str) -> list[str]:
    if not word.endswith("ly") or len(word) < 6:
        return []
    if word.endswith("ically"):
        return [word[:-4], word[:-2]]
    return [word[:-3] + "y"] if word.endswith("ily") else [word[:-2]]
