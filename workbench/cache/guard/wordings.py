"""Prices, measures, times and small things that are said in several ways, rewritten to one: rules as in `rewrites`."""

from __future__ import annotations

__all__ = ["ANYBODY", "BE", "FOR_ME", "HELPER", "SOME", "START", "WORDINGS"]

START = r"(?:(?<=^)|(?<=[,.] )|(?<=ASK ))"
BE = "(?:is|are|was|were|would be|will be)"
ANYBODY = "(?:i|we|you|one|someone|somebody|people|anyone|a person|users|a user)"
FOR_ME = "(?: for (?:me|us|someone|anyone))?"
HELPER = "(?:is|are|was|were|do|does|did|can|could|should|will|would|has|have|had)"
SOME = "([^,.]{1,80}?)"

WORDINGS: tuple[tuple[str, str, str], ...] = (
    # prices
    ("cost", r"\bhow much (?:money )?(?:(?:does|do|would|will) )?(?:it )?cost\b(?: to)?", "what is PRICE"),
    (
        "cost charge pay owe be",
        (
            r"\b(?:how much|what) (?:does|do|would|will) (?:it cost|you charge|they charge|i pay|i owe|we pay|you pay|it be)"
            r"(?: (?:for|to))?\b"
        ),
        "what is PRICE",
    ),
    ("cost costs", rf"\b(?:how much|what) (?:does|do|would|will) {SOME} costs?\b", r"what is PRICE \1"),
    ("costs", rf"\b(?:how much|what) {SOME} costs\b", r"what is PRICE \1"),
    ("cost costs", rf"\b(?:how much|what) did {SOME} costs?\b", r"what was PRICE \1"),
    ("much", r"\bhow much (?:was|were)\b", "what was PRICE"),
    ("much", r"\bhow much (?:is|are|for|will it be|would it be)\b", "what is PRICE"),
    (
        "charged",
        r"\bhow much (?:will|would|do|am|are) i (?:be |get |being )?charged(?: (?:for|to))?\b",
        "what is PRICE",
    ),
    (
        "price prices cost costs charge charges fee fees",
        r"\bwhat (?:was|were) the (?:total |full |overall )?(?:price|cost|charge|fee)s?(?: (?:of|for|to))?\b",
        "what was PRICE",
    ),
    (
        "price prices cost costs charge charges fee fees",
        rf"\bwhat {BE} the (?:total |full |overall )?(?:price|cost|charge|fee)s?(?: (?:of|for|to))?\b",
        "what is PRICE",
    ),
    ("by", rf"\bwho (?:is|are|was|were) {SOME} (\w+(?:ed|en|t|wn)) by(?= [.]|$)", r"who \2 \1"),
    ("by", rf"\bby who (?:is|are|was|were) {SOME} (\w+(?:ed|en|t|wn))(?= [.]|$)", r"who \2 \1"),
    ("looking", rf"{START}(?:i|we) (?:am|are) looking for(?: info(?:rmation)? (?:on|about))?\b", "ASK"),
    ("bit while", r"\bfor a (?:little |short )?(?:bit|while)\b", "awhile"),
    # measures
    ("degrees degree", r"\bdegrees? (?=(?:celsius|centigrade|fahrenheit|c|f)\b)", ""),
    ("many number", rf"\b(?:how many|what number of|what {BE} the (?:total )?number of)\b", "MANY"),
    ("MANY", r"\b(?:are|is) there\b", ""),
    (
        "long",
        (
            r"\bhow long (?:(?:does|do|did|will|would|is|are|was|can|could|should)(?: (?:it|i|we|you)\b)?(?: (?:take|taking))?"
            rf"|(?:has|have|had) it taken|it (?:will |would )?(?:takes?|took)){FOR_ME}(?: (?:to|for|until))?\b"
        ),
        "LONG",
    ),
    ("takes take", rf"\bhow long {SOME} takes?\b", r"LONG \1"),
    ("lasts last", rf"\bhow long {SOME} lasts?\b", r"LONG last \1"),  # what takes an hour may last a day
    (
        "time",
        (rf"\bhow much time (?:does|do|will)(?: it)?(?: take)?{FOR_ME}(?: to| for)?\b"),
        "LONG",
    ),
    ("duration length", rf"\bwhat {BE} the (?:duration|length) of\b", "LONG last"),
    ("LONG", rf"(?<=LONG ){SOME} takes?\b", r"\1"),
    ("LONG", rf"(?<=LONG )(?!last ){SOME} lasts?\b", r"last \1"),
    # of: so that what has it may stand before it ("Einstein's age")
    ("tall high", r"\bhow (?:tall|high)\b(?: (?:is|are)\b)?", "what is height of"),
    ("heavy", r"\bhow heavy\b(?: (?:is|are)\b)?", "what is weight of"),
    ("old", rf"\bhow old (?:do (?:{ANYBODY}|\w+) need to be|need to (?:{ANYBODY}|\w+) be) to\b", "what is age to"),
    ("old", r"\bhow old\b(?: (?:is|are)\b)?", "what is age of"),
    ("far", r"\bhow far\b", "what is distance"),
    ("big large", r"\bhow (?:big|large)\b(?: (?:is|are)\b)?", "what is size of"),
    ("deep", r"\bhow deep\b(?: (?:is|are)\b)?", "what is depth of"),
    ("wide", r"\bhow wide\b(?: (?:is|are)\b)?", "what is width of"),
    ("fast", r"\bhow fast\b", "what is speed"),
    ("often frequently", r"\bhow (?:often|frequently)\b", "what is frequency"),
    # when, where, why, what
    (
        "time date hour day month year",
        (
            r"\b(?:at |on |in )?what (time|date|hour|day|month|year)"
            rf"(?= (?:{HELPER}|the|my|your|it|i|you|we|they)\b)"
        ),
        r"when what_\1",
    ),
    ("place location", r"\b(?:at |in )?what (?:place|location)\b", "where"),
    (
        "how reason reasons why",
        r"\b(?:how come|for what reason|why is it that|what (?:is|are) the reasons?(?: (?:why|for|that|behind))?)\b",
        "why",
    ),
    ("where", r"\bwhere (?:can|do|could|would|should|might) i (?:find|locate|see)\b", "where is"),
    ("means", rf"\bwhat {SOME} means\b", r"what is \1"),
    ("meaning meanings", r"\bwhat (?:is|are) the meanings? of\b", "what is"),
    ("mean for to", rf"\bwhat does {SOME} (?:mean|stand for|refer to)\b", r"what is \1"),
    (
        "city country person place company team language",
        r"\bwhat (city|country|person|place|company|team|language)(?= (?:is|was|are|were)\b)",
        r"what what_\1",
    ),
    (
        "person country team company people",
        rf"\bwhat (person|country|team|company|people)(?= (?!{HELPER}\b))",
        r"who what_\1",
    ),
    ("if", r"\bwhat (?:will |would )?happens? if\b|\bwhat if\b", "what happen if"),
    # small things
    ("like", rf"\bwhat (is|are) {SOME} like\b", r"how \1 \2"),
    ("age", r"\bat what age\b", "when what_age"),
    ("phone", r"\bover the phone\b", "by phone"),
    ("got", r"\b(?:have|has) (you|we|they|i|he|she|it) got\b", r"do \1 have"),
    ("got", r"\b(have|has) got\b", r"\1"),
    ("got", r"\bgot (?=\w+ed\b)", "was "),
    ("get gets got getting", r"\b(?:get|gets|got|getting) (?=\w+ed\b)", "be "),
    ("have", r"\b(can|could|may) (i|we) have (?=(?:a|an|the|some|my|your)\b)", r"\1 \2 get "),
    (
        "longer unable able fail fails failed failing",
        r"\b(?:no longer|unable to|not able to|(?:fail|fails|failed|failing) to)\b",
        "not",
    ),
    ("going", r"\b(?:is|are|am) ([^,.]{1,60}?) going to\b(?! (?:the|a|my)\b)", r"will \1"),
    ("kind kinds type types sort sorts", r"\bwhat (?:kinds?|types?|sorts?) of\b", "what"),
    ("of", r"\b(one|some|any|all|none|each) of (?=the|my|your|these|those)", r"\1 "),
    ("one", r"\b(what|this|that|the|another|any|every|each|no|same|right|wrong|new|old|best|good) one\b", r"\1"),
    ("number no", r"\b(?:number|no) (?=¤)", ""),
    ("format", r"\b(?:in|as|to) (\S+) format\b", r"to \1"),
    ("age", r"\bthe age of (?=¤)", ""),
    (
        "day week month year hour minute night person",
        r"\b(?:each|every|per|a) (day|week|month|year|hour|minute|night|person)\b",
        r"each_\1",
    ),
    ("annually yearly per", r"\b(?:annually|yearly|per annum)\b", "each_year"),
    ("now moment present these", r"\b(?:right now|at the moment|at present|as of now|these days)\b", "now"),
    ("during", r"\bduring\b", "in"),
    ("event", r"\bin the event (?:that|of)\b", "if"),
    ("order so", r"\b(?:in order|so as) to\b", "to"),
    ("because due owing account", r"\b(?:because of|due to|owing to|on account of)\b", "because"),
    ("well", r"\bas well as\b", "and"),
    ("lot lots", r"\b(?:a )?lots? of\b", "many"),
    ("couple", r"\b(?:a )?couple of\b", "2"),
    ("too", r"\btoo (?:much|many)\b", "excess"),
    ("or", r"(?<=whether )or not\b|(?<=WHETHER )or not\b|(?<=if )or not\b|\bor not(?= [.,]|$)", ""),
    ("us", r"\b(in|to|from|of|within|across|around) the us\b", r"\1 usa"),
    ("clock", r"\bo clock\b", ""),
)
