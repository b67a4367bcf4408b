"""Ways of asking that come to the same, rewritten to one; politeness and hesitation, rewritten to nothing.

A question arrives here as lower-case words with one space between, `,` and `.` for pauses, and ¤n for what must stay as it
is. Capitals mark what the rewrites decided: HOW, CAN, MANY, LONG, PRICE, ASK ("tell me …"), WHETHER.
"""

from __future__ import annotations

import re
from functools import cache

__all__ = ["HESITATIONS", "rewritten"]

HESITATIONS = frozenset(
    """
    um umm uh uhh uhm er err erm hm hmm ah ahh huh please pls plz kindly lol btw basically actually honestly literally
    simply perhaps maybe anyway possibly probably sorry just exactly really roughly kinda somehow approximately usually typically normally
    generally ideally
    """.split()
)
_I = "(?:i|we|you|one|someone|somebody|people|anyone|a person|users|a user)"
_BE = "(?:is|are|was|were|would be|will be)"
_FOR_ME = "(?: for (?:me|us|someone|anyone))?"
_MODAL = "(?:do|does|can|could|would|should|might|may|shall|must|did)"
_START = r"(?:(?<=^)|(?<=[,.] )|(?<=ASK ))"
_YOU = "(?:you|someone|anyone|somebody|anybody)"

# (what must occur in the text for it to be worth a try, pattern, replacement), tried in this order
_RULES: tuple[tuple[str, str, str], ...] = (
    # contractions that lost their apostrophe
    ("cannot|cant", r"\b(?:cannot|cant)\b", "can not"),
    (
        "dont|snt|dnt|erent|avent|arent",
        r"\b(do|does|did|is|are|was|were|has|have|had|would|could|should)nt\b",
        r"\1 not",
    ),
    ("wont", r"\bwont\b", "will not"),
    ("hats|hows|heres|hos|hens", r"\b(what|how|where|who|that|there|when)s\b", r"\1 is"),
    ("im|ive|oure", r"\b(i|you)(?:m|ve|re)\b(?! \.)", r"\1"),
    ("onna", r"\b(?:gonna|wanna)\b", "want to"),
    ("which", r"\bwhich\b", "what"),
    # politeness
    (
        "thank|thx|cheers",
        r"\b(?:many )?(?:thanks|thank you|thx|cheers)(?: (?:so|very) much| a (?:lot|bunch|million)| in advance| again| you"
        r"| for (?:your|the|any) help)*\b",
        "",
    ),
    (
        "regards|apprecia",
        r"\b(?:(?:kind|best|warm) regards|(?:any|your) help (?:is|would be) (?:much )?appreciated)\b",
        "",
    ),
    (
        "hi |hello|hey|hiya|yo |howdy|greetings|dear|good |ing ",
        _START
        + r"(?:hi|hello|hey|hiya|yo|howdy|greetings|dear|good (?:morning|afternoon|evening|day)|(?:morning|afternoon|evening)(?= [.,]))"
        r"(?: (?:there|team|all|everyone|folks|guys|mate|sir|madam|support|again))*(?= |$)",
        "",
    ),
    (
        "quick|question",
        r"\b(?:(?:a |another )?(?:quick|silly|stupid|dumb|simple|random|newbie|noob|small|basic) (?:question|one|q)|(?:one|another) question)"
        r"(?: (?:for you|here|about this))?\b",
        "",
    ),
    (
        "sorry|apolog|bother|hope|hoping",
        _START
        + r"(?:apologies )?(?:if this is a|for (?:asking|bothering you)|to (?:bother|trouble|ask)(?: you)?(?: again)?|(?:i (?:am )?)?hop(?:e|ing) "
        r"(?:you are (?:well|doing well)|this finds you well|you can help(?: me)?|someone can help(?: me)?))(?: (?:,|\.|but))*",
        "",
    ),
    (
        "help",
        r"\b(?:(?:can|could|would) (?:you|someone|anyone) (?:help|assist)(?: me)?(?: out)?(?: with this)?(?= [.,]|$)|i need (?:some )?help(?= [.,])"
        r"|need help(?= [.,])|help(?= [.,]|$))",
        "",
    ),
    (
        "question|curious",
        r"\bi (?:have|had|have got) (?:a|one|another) question(?: (?:about|for you|regarding|on))?\b",
        "",
    ),
    ("curious|curiosity", r"\b(?:out of curiosity|(?:i am )?curious)\b", ""),
    ("excuse|pardon", r"\b(?:excuse|pardon) me\b", ""),
    (
        "by the way|you know|i mean|i guess|i think|suppose",
        r"\b(?:by the way|you know|i (?:mean|guess|think|suppose))\b",
        "",
    ),
    (
        "so |ok|yeah|yep|yes|well |right |and |but |oh |now |also |question",
        _START + r"(?:(?:so|ok|okay|yeah|yep|yes|well|right|alright|and|but|oh|now|question|also)(?: ,)? )+(?=\S)",
        "",
    ),
    # asked through another question
    ("wonder", r"\b(?:i (?:am |was |have been )?)?wonder(?:ing)?(?: about)?\b", "ASK"),
    (" know", rf"\b(?:(?:do|does|would) )?{_YOU} (?:happen to )?know\b", "ASK"),
    ("idea|clue", r"\b(?:do you have )?any (?:idea|clue)(?: (?:about|on|of))?\b", "ASK"),
    (
        "know|find out|learn|understand",
        r"\bi (?:would (?:like|love)|want|need|wish|am trying|am looking) to (?:know|understand|find out|learn)(?: about)?\b",
        "ASK",
    ),
    (
        "tell|give|show|help|remind|advise|ask|inform|explain|describe|clarify|define|list|name|specify",
        rf"\b(?:can|could|will|would|may) (?:{_YOU}|i) (?:tell|help|remind|advise|ask|inform|let)(?: (?:me|us|you))"
        r"(?: know| understand)?\b(?: about)?|\b(?:can|could|may) i ask(?: you)?\b",
        "ASK",
    ),
    (
        "explain|describe|clarify|define|specify|elaborate",
        rf"\b(?:can|could|will|would) {_YOU} (?:explain|describe|clarify|define|specify)\b(?: (?:to|for) me)?",
        "ASK what_explaining",
    ),
    (
        "give|show|list|name",
        rf"\b(?:can|could|will|would) {_YOU} (?:(?:give|show) (?:me|us)|list|name)\b",
        "ASK what_listing",
    ),
    (
        "sure|know|figure|struggl|trouble|understand|forgot|confused",
        r"\b(?:i (?:am )?)?(?:not sure|do not (?:know|understand|remember|see|get)|can not (?:figure|work|find) out|can not (?:remember|understand)"
        r"|forgot|forget|trying to (?:figure|work|find) out|confused about|struggling to (?:understand|work out|figure out))(?= (?:how|why|what|when|where|which|who)\b)",
        "ASK",
    ),
    ("tell|teach|advise|remind|let ", r"\b(?:tell|teach|advise|remind|let) (?:me|us)(?: know)?(?: about)?\b", "ASK"),
    ("show|give", r"\b(?:show|give) (?:me|us)\b", "ASK what_listing"),
    (
        "explain|describe|define|clarify|specify",
        _START + r"(?:explain|describe|define|clarify|specify)(?: (?:to|for) (?:me|us))?\b",
        "ASK what_explaining",
    ),
    ("list|name", _START + r"(?:list|name)(?: (?:to|for) (?:me|us))?\b", "ASK what_listing"),
    # of something given; without a number it is another question: "calculate entropy", "what is entropy"
    (
        "calculate|compute|work out|figure out|find out",
        _START
        + r"(?:calculate|compute|work out|figure out|find out)(?= (?:¤|how|what|why|when|where|who|if|whether|\d))",
        "ASK",
    ),
    ("ASK what", r"\bASK what_\w+ (?=(?:how|what|why|when|where|who|if|whether)\b)", "ASK "),
    ("ASK", r"\bASK (?:what_\w+ )?ASK\b", "ASK"),
    ("ASK", r"\bASK (?:if|whether)\b", "ASK WHETHER"),
    # can I
    (
        "is there|are there",
        r"\b(?:is|are) there (?:a|an|any|some) (?:ways?|method|possibility|option|chance|means)(?: for (?:me|us|someone))?"
        r"(?: to| of| that i can| i can| i could)?\b",
        "CAN",
    ),
    (
        "is it|would it|will it",
        r"\b(?:is|would|will) it (?:be )?(?:possible|ok|okay|alright|all right|fine|acceptable|permitted|allowed|permissible"
        rf"|feasible){_FOR_ME}(?: to| if i| that i| i)?\b",
        "CAN",
    ),
    ("able|allowed|permitted", r"\b(?:am|are) (i|we|you|users|people) (?:able|allowed|permitted) to\b", r"can \1"),
    # must I
    ("am|are", r"\b(?:am|are) (i|we) (?:required|obliged|obligated) to\b", r"do \1 need to"),
    (
        "is it",
        r"\bis it (?:necessary|mandatory|compulsory|required|obligatory|essential)(?: for (?:me|us)| that i)?(?: to)?\b",
        "do i need to",
    ),
    (
        "must|have to|has to|got to|needs to|required to|obliged to",
        r"\b(?:must|have to|has to|got to|needs to|required to|obliged to)\b",
        "need to",
    ),
    ("need to", r"^need to (i|we)\b", r"do \1 need to"),
    ("need to", r"\bneed to (i|we)\b", r"\1 need to"),
    ("ought|is it", r"\b(?:ought i to|is it (?:a good idea|advisable|recommended|wise)(?: for me)? to)\b", "should i"),
    # how do I
    (
        "what",
        rf"\bwhat {_BE} (?:the |a |some |my )?(?:best |right |correct |proper |usual |good |recommended |exact )?"
        r"(?:way|ways|steps|step|process|procedure|method|methods|instructions|approach|technique)"
        r"(?: (?:that )?i (?:need|should|can)(?: to)?(?: follow| take| use)?)?"
        r"(?: (?:for|to|of|in order to|involved in|needed to|in))+\b",
        "HOW",
    ),
    ("way", rf"\b(?:in )?what way {_MODAL} {_I}\b", "HOW"),
    ("steps", r"\bwhat steps (?:do|should|can) i (?:need to )?(?:take|follow) to\b", "HOW"),
    ("do to|do in order", rf"\bwhat {_MODAL} {_I} (?:need to )?do (?:in order )?to\b", "HOW"),
    (
        "how",
        r"\bi (?:would like|want|need) to ([^,.]{0,80}?) (?:,|\.|but|and) how (?:do|can|should|would) i (?:do|go about) (?:that|this|it)\b",
        r"HOW \1",
    ),
    (
        "how",
        rf"\bhow (?:{_MODAL} {_I}|{_I} (?:can|could|should|would|might|may|need to)|am {_I} (?:able )?to|is {_I} able to|will {_I}|(?:best )?to|need to {_I})\b"
        r"(?: (?:go about|be able to|best|need to|have to))*",
        "HOW",
    ),
    ("HOW", r"\bHOW like\b", "HOW"),
    # wants
    (
        "want|like|love|wish|trying|looking|hop|plan|intend|need|tried",
        _START
        + r"(?:i|we) (?:would (?:like|love)|want|wish|am trying|are trying|am looking|hope|am hoping|plan|intend|need|tried) to\b",
        "",
    ),
    (
        " you ",
        r"\b(?:can|could|would|will) you (?=(?:translate|write|summarize|summarise|draft|rewrite|convert|generate|proofread)\b)",
        "",
    ),
    # prices
    ("how much", r"\bhow much (?:money )?(?:(?:does|do|would|will) )?(?:it )?cost\b(?: to)?", "what is PRICE"),
    (
        "how much|what",
        r"\b(?:how much|what) (?:does|do|would|will) (?:it cost|you charge|they charge|i pay|i owe|we pay|you pay|it be)"
        r"(?: (?:for|to))?\b",
        "what is PRICE",
    ),
    (" cost", r"\b(?:how much|what) (?:does|do|would|will) ([^,.]{1,80}?) costs?\b", r"what is PRICE \1"),
    (" costs", r"\b(?:how much|what) ([^,.]{1,80}?) costs\b", r"what is PRICE \1"),
    (" cost", r"\b(?:how much|what) did ([^,.]{1,80}?) costs?\b", r"what was PRICE \1"),
    ("how much w", r"\bhow much (?:was|were)\b", "what was PRICE"),
    ("how much", r"\bhow much (?:is|are|for|will it be|would it be)\b", "what is PRICE"),
    (
        "price|cost|charge|fee",
        rf"\bwhat {_BE} the (?:total |full )?(?:price|cost|charge|fee)s?(?: (?:of|for|to))?\b",
        "what is PRICE",
    ),
    (
        "charged",
        r"\bhow much (?:will|would|do|am|are) i (?:be |get |being )?charged(?: (?:for|to))?\b",
        "what is PRICE",
    ),
    # measures
    ("many|number", rf"\b(?:how many|what {_BE} the (?:total )?number of)\b", "MANY"),
    ("MANY", r"\b(?:are|is) there\b", ""),
    (
        "how long",
        rf"\bhow long (?:does|do|did|will|would|is|are|was)(?: it)?(?: (?:take|taking))?{_FOR_ME}(?: (?:to|for|until))?\b",
        "LONG",
    ),
    (
        "time|duration|length",
        rf"\b(?:how much time (?:does|do|will)(?: it)?(?: take)?{_FOR_ME}(?: to| for)?|what {_BE} the (?:duration|length) of)\b",
        "LONG",
    ),
    ("how long", r"\bhow long (?:it|that) (?:will |would )?(?:takes?|took)(?: (?:to|for))?\b", "LONG"),
    ("LONG", r"(?<=LONG )([^,.]{0,80}?) (?:takes?|last)\b", r"\1"),
    ("how ", r"\bhow (?:tall|high)\b", "what is height"),
    ("how h", r"\bhow heavy\b", "what is weight"),
    ("how old", r"\bhow old\b", "what is age"),
    ("how far", r"\bhow far\b", "what is distance"),
    ("how ", r"\bhow (?:big|large)\b", "what is size"),
    ("how d", r"\bhow deep\b", "what is depth"),
    ("how w", r"\bhow wide\b", "what is width"),
    ("how f", r"\bhow fast\b", "what is speed"),
    ("how ", r"\bhow (?:often|frequently)\b", "what is frequency"),
    # when, where, why, what
    (
        "what",
        r"\b(?:at |on |in )?what (time|date|hour|day|month|year)(?= (?:is|are|was|were|do|does|did|can|could|should|will|would|the|my|your|it|i|you|we|they)\b)",
        r"when what_\1",
    ),
    ("what", r"\b(?:at |in )?what (?:place|location)\b", "where"),
    (
        "how come|reason|why is it",
        r"\b(?:how come|for what reason|why is it that|what (?:is|are) the reasons? (?:why|for|that|behind))\b",
        "why",
    ),
    ("where", r"\bwhere (?:can|do|could|would|should|might) i (?:find|locate|see)\b", "where is"),
    ("means", r"\bwhat ([^,.]{1,80}?) means\b", r"what is \1"),
    ("the meaning of", r"\bwhat (?:is|are) the meanings? of\b", "what is"),
    ("what", r"\bwhat does ([^,.]{1,80}?) (?:mean|stand for|refer to)\b", r"what is \1"),
    ("what", r"\bwhat (city|country|person|place|company|team|language)(?= (?:is|was|are|were)\b)", r"what what_\1"),
    (
        "what",
        r"\bwhat (person|country|team|company|people)(?= (?!(?:is|was|are|were|do|does|did|can|could|should|will|would|has|have)\b))",
        r"who what_\1",
    ),
    ("if", r"\bwhat (?:will |would )?happens? if\b|\bwhat if\b", "what happen if"),
    ("got", r"\b(?:have|has) (you|we|they|i|he|she|it) got\b", r"do \1 have"),
    ("got", r"\b(have|has) got\b", r"\1"),
    ("get|got", r"\b(?:get|gets|got|getting) (?=\w+ed\b)", ""),
    ("have", r"\b(can|could|may) (i|we) have (?=(?:a|an|the|some|my|your)\b)", r"\1 \2 get "),
    (" of ", r"\bwhat (?:kinds?|types?|sorts?) of\b", "what"),
    ("number", r"\b(?:number|no) (?=¤)", ""),
    ("format", r"\b(?:in|as|to) (\S+) format\b", r"to \1"),
    ("the age of", r"\bthe age of (?=¤)", ""),
    # small things
    ("no longer|able to|fail", r"\b(?:no longer|unable to|not able to|(?:fail|fails|failed|failing) to)\b", "not"),
    (
        "day|week|month|year|hour|minute|night|person",
        r"\b(?:each|every|per|a) (day|week|month|year|hour|minute|night|person)\b",
        r"each_\1",
    ),
    ("annu|yearly", r"\b(?:annually|yearly|per annum)\b", "each_year"),
    ("right now|moment|present|as of|these", r"\b(?:right now|at the moment|at present|as of now|these days)\b", "now"),
    ("going to", r"\b(?:is|are|am) ([^,.]{1,60}?) going to\b(?! (?:the|a|my)\b)", r"will \1"),
    ("during", r"\bduring\b", "in"),
    ("in the event", r"\bin the event (?:that|of)\b", "if"),
    ("in order to|so as to", r"\b(?:in order|so as) to\b", "to"),
    ("because of|due to|owing to|account of", r"\b(?:because of|due to|owing to|on account of)\b", "because"),
    ("as well as", r"\bas well as\b", "and"),
    ("lot", r"\b(?:a )?lots? of\b", "many"),
    ("couple of", r"\b(?:a )?couple of\b", "2"),
    ("too m", r"\btoo (?:much|many)\b", "excess"),
    (" one", r"\b(what|this|that|the|another|any|every|each|no|same|right|wrong|new|old|best|good) one\b", r"\1"),
    (" of ", r"\b(one|some|any|all|none|each) of (?=the|my|your|these|those)", r"\1 "),
    ("or not", r"\bor not\b", ""),
    (" the us", r"\b(in|to|from|of|within|across|around) the us\b", r"\1 usa"),
    ("clock", r"\bo clock\b", ""),
)


@cache
def _compiled() -> tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...]:
    return tuple((tuple(needs.split("|")), re.compile(pattern), new) for needs, pattern, new in _RULES)


def rewritten(text: str) -> str:
    """The text after all rules."""
    for needs, pattern, new in _compiled():
        for need in needs:
            if need in text:
                text, count = pattern.subn(new, text)
                if count:
                    text = " ".join(text.split())
                break
    return text
