"""Ways of asking that come to the same, rewritten to one; politeness and hesitation, rewritten to nothing.

A question arrives here as lower-case words with one space between, `,` and `.` for pauses, and ¤n for what must stay as it
is. Capitals mark what the rewrites decided: HOW, CAN, MANY, LONG, PRICE, ASK ("tell me …"), WHETHER.
"""

from __future__ import annotations

import re
from functools import cache

from workbench.cache.guard.vocabulary import NUMBERS, words

__all__ = ["HESITATIONS", "rewritten"]

HESITATIONS = words("""
    um umm uh uhh uhm er err erm hm hmm ah ahh huh please pls plz kindly lol btw basically actually honestly literally simply
    perhaps maybe anyway possibly probably sorry just exactly really roughly kinda somehow approximately usually typically
    normally generally ideally
""")
_START = r"(?:(?<=^)|(?<=[,.] )|(?<=ASK ))"
_BE = "(?:is|are|was|were|would be|will be)"
_DO = "(?:do|does|can|could|would|should|might|may|shall|must)"  # "how did people cook" is another question
_CAN_YOU = "(?:can|could|will|would) (?:you|someone|anyone|somebody|anybody)"
_I = "(?:i|we|you|one|someone|somebody|people|anyone|a person|users|a user)"
_FOR_ME = "(?: for (?:me|us|someone|anyone))?"
_HELPER = "(?:is|are|was|were|do|does|did|can|could|should|will|would|has|have|had)"
_WH = "(?:how|what|why|when|where|who|if|whether)"
_SOME = "([^,.]{1,80}?)"

# words of which one must occur for the rule to be worth a try, a pattern, what it becomes; tried in this order
_RULES: tuple[tuple[str, str, str], ...] = (
    # contractions that lost their apostrophe
    ("cannot cant", r"\b(?:cannot|cant)\b", "can not"),
    (
        "dont doesnt didnt isnt arent wasnt werent hasnt havent hadnt wouldnt couldnt shouldnt",
        rf"\b({_HELPER})nt\b",
        r"\1 not",
    ),
    ("wont", r"\bwont\b", "will not"),
    ("whats hows wheres whos thats theres whens", r"\b(what|how|where|who|that|there|when)s\b", r"\1 is"),
    ("im ive youre", r"\b(i|you)(?:m|ve|re)\b(?! \.)", r"\1"),
    ("gonna wanna", r"\b(?:gonna|wanna)\b", "want to"),
    ("gimme", r"\bgimme\b", "give me"),
    ("guys folks", r"\b(you) (?:guys|folks)\b", r"\1"),
    ("which", r"\bwhich\b", "what"),
    # politeness
    (
        "thanks thank thx cheers",
        (
            r"\b(?:many )?(?:thanks|thank you|thx|cheers)"
            r"(?: (?:so|very) much| a (?:lot|bunch|million)| in advance| again| you| for (?:your|the|any) help)*\b"
        ),
        "",
    ),
    (
        "regards appreciated",
        r"\b(?:(?:kind|best|warm) regards|(?:any|your) help (?:is|would be) (?:much )?appreciated)\b",
        "",
    ),
    (
        "hi hello hey hiya yo howdy greetings dear good morning afternoon evening",
        (
            rf"{_START}(?:hi|hello|hey|hiya|yo|howdy|greetings|dear|good (?:morning|afternoon|evening|day)"
            r"|(?:morning|afternoon|evening)(?= [.,]))"
            r"(?: (?:there|team|all|everyone|folks|guys|mate|sir|madam|support|again))*(?= |$)"
        ),
        "",
    ),
    (
        "question quick one",
        (
            r"\b(?:(?:a |another )?(?:quick|silly|stupid|dumb|simple|random|newbie|small|basic) (?:question|one)"
            r"|(?:one|another) question|i (?:have|had|have got) (?:a|one|another) question)"
            r"(?: (?:for you|here|about this|about|regarding|on))?\b"
        ),
        "",
    ),
    (
        "apologies bothering bother trouble asking hope hoping",
        (
            rf"{_START}(?:apologies )?(?:for (?:asking|bothering you)|to (?:bother|trouble) you(?: again)?"
            r"|(?:i (?:am )?)?hop(?:e|ing) (?:you are (?:well|doing well)|this finds you well|(?:you|someone) can help(?: me)?))"
            r"(?: (?:,|\.|but))*"
        ),
        "",
    ),
    (
        "help assist",
        rf"\b(?:{_CAN_YOU} (?:help|assist)(?: me)?(?: out)?|(?:i )?need (?:some )?help|help)(?= [.,]|$)",
        "",
    ),
    ("curiosity curious excuse pardon", r"\b(?:out of curiosity|(?:i am )?curious|excuse me|pardon me)\b", ""),
    (
        "way know mean guess think suppose",
        r"\b(?:by the way|(?<!do )(?<!would )(?<!did )you know|i (?:mean|guess|think|suppose))\b",
        "",
    ),
    (
        "so ok okay yeah yep yes well right alright and but oh now also question",
        rf"{_START}(?:(?:so|ok|okay|yeah|yep|yes|well|right|alright|and|but|oh|now|question|also)(?: ,)? )+(?=\S)",
        "",
    ),
    ("all", r"\bat all\b", ""),
    ("earth world hell heck", rf"\b({_WH}) (?:on earth|in the world|the (?:hell|heck))\b", r"\1"),
    (
        "right correct yes no it you i we they there that",
        (
            r" , (?:right|correct|yes|yeah|no"
            rf"|{_HELPER}(?: not)? (?:it|you|i|we|they|there|that))(?= [.]|$)"
        ),
        " TAG",
    ),
    # asked through another question
    ("wonder wondering", r"\b(?:i (?:am |was |have been )?)?wonder(?:ing)?(?: about)?\b", "ASK"),
    ("know", r"\b(?:(?:do|does|would) )?(?:you|someone|anyone|somebody|anybody) (?:happen to )?know\b", "ASK"),
    ("idea clue", r"\b(?:do you have )?any (?:idea|clue)(?: (?:about|on|of))?\b", "ASK"),
    (
        "know out learn understand",
        (
            r"\bi (?:would (?:like|love)|want|need|wish|am trying|am looking) to (?:know|understand|find out|learn)"
            r"(?: about)?\b"
        ),
        "ASK",
    ),
    (
        "tell help remind advise inform let ask know",
        (
            rf"\b{_CAN_YOU} (?:tell|help|remind|advise|inform|let) (?:me|us)(?: know| understand)?\b(?: about)?"
            r"|\b(?:can|could|may) i (?:ask(?: you)?|know)\b"
        ),
        "ASK",
    ),
    (
        "explain describe clarify define specify",
        rf"\b(?:{_CAN_YOU} |{_START})(?:explain|describe|clarify|define|specify)\b(?: (?:to|for) (?:me|us))?",
        "ASK what_explaining",
    ),
    (
        "give show list name",
        rf"\b(?:{_CAN_YOU} )?(?:give|show) (?:me|us)\b|\b(?:{_CAN_YOU} |{_START})(?:list|name)(?: for (?:me|us))?\b",
        "ASK what_listing",
    ),
    (
        "sure know figure work struggling understand get see forgot find confused remember",
        (
            r"\b(?:i (?:am )?)?(?:not sure|do not (?:know|understand|remember|see|get)|can not (?:figure|work|find) out"
            r"|can not (?:remember|understand)|forgot|trying to (?:figure|work|find) out|confused about"
            rf"|struggling to (?:understand|work out|figure out))(?= {_WH}\b)"
        ),
        "ASK",
    ),
    ("tell teach advise remind let", r"\b(?:tell|teach|advise|remind|let) (?:me|us)(?: know)?(?: about)?\b", "ASK"),
    # of something given; without a number it is another question: "calculate entropy", "what is entropy"
    (
        "calculate compute out",
        rf"{_START}(?:calculate|compute|work out|figure out|find out)(?= (?:¤|\d|(?:{'|'.join(NUMBERS)}|{_WH})\b))",
        "ASK",
    ),
    ("what_explaining what_listing", rf"\bASK what_\w+ (?={_WH}\b)", "ASK "),
    ("ASK", r"\bASK (?:what_\w+ )?ASK\b", "ASK"),
    ("if whether", r"\bASK (?:if|whether)\b", "ASK WHETHER"),
    # can I
    (
        "there",
        (
            r"\b(?:is|are) there (?:a|an|any|some) (?:easy |quick |simple |good )?(?:ways?|method)(?: for (?:me|us|someone))?"
            r"(?: to| of| that i can| i can| i could)\b"
        ),
        "WAY",
    ),
    (
        "there",
        (
            r"\b(?:is|are) there (?:a|an|any|some) (?:possibility|option|chance|means)(?: for (?:me|us|someone))?"
            r"(?: to| of| that i can| i can| i could)?\b"
        ),
        "CAN",
    ),
    (
        "it",
        (
            r"\b(?:is|would|will) it (?:be )?(?:possible|ok|okay|alright|all right|fine|acceptable|permitted|allowed"
            rf"|permissible|feasible){_FOR_ME}(?: to| if i| that i| i)?\b"
        ),
        "CAN",
    ),
    ("able", r"\b(?:would|will|do|am|are) (i|we|you|users|people) be able to\b", r"can \1"),
    ("able allowed permitted", r"\b(?:am|are) (i|we|you|users|people) (?:able|allowed|permitted) to\b", r"can \1"),
    (
        "have",
        (
            r"\b(?:do|does) (i|you|we|users|people) have (?:the |an? )?"
            r"(?:option|possibility|ability|right|opportunity|chance|permission) (?:to|of)\b"
        ),
        r"can \1",
    ),
    # must I
    ("required obliged obligated", r"\b(?:am|are) (i|we) (?:required|obliged|obligated) to\b", r"do \1 need to"),
    (
        "necessary mandatory compulsory required obligatory essential",
        (
            r"\bis it (?:necessary|mandatory|compulsory|required|obligatory|essential)"
            r"(?: for (?:me|us)| that i)?(?: to)?\b"
        ),
        "do i need to",
    ),
    (
        "must have has got needs required obliged",
        r"\b(?:must|have to|has to|got to|needs to|required to|obliged to)\b",
        "need to",
    ),
    ("need", r"^need to (i|we)\b", r"do \1 need to"),
    ("need", rf"{_START}need to (?=(?:the|a|an|my|our|your|all|every|each|both)\b)", "do need to "),
    ("need", r"\b(?:do|does) (?!(?:need|i|we|you|they|he|she|it) )([^,.]{1,60}?) need to\b", r"do need to \1"),
    ("need", r"\bneed to (i|we)\b", r"\1 need to"),
    ("ought it", r"\b(?:ought i to|is it (?:a good idea|advisable|recommended|wise)(?: for me)? to)\b", "should i"),
    # how do I
    (
        "way ways step steps process procedure method methods instructions approach technique",
        (
            rf"\bwhat {_BE} (?:the |a |some |my )?(?:best |right |correct |proper |usual |good |recommended |exact )?"
            r"(?:ways?|steps?|process|procedure|methods?|instructions|approach|technique)"
            r"(?: (?:that )?i (?:need|should|can)(?: to)?(?: follow| take| use)?)?"
            r"(?: (?:for|to|of|in order to|involved in|needed to|in))+\b"
        ),
        "HOW",
    ),
    (
        "steps ways way instructions procedure process method",
        (
            rf"{_START}(?:the |any )?(?:best |easiest |right )?"
            r"(?:steps?|ways?|instructions|procedure|process|method) (?:to|for|of)\b"
        ),
        "HOW",
    ),
    (
        "steps",
        r"\bwhat steps (?:are|is|do i have) (?:needed|required|necessary|involved|need(?:ed)?|to take)(?: (?:to|in|for))+\b",
        "HOW",
    ),
    ("way", rf"\b(?:in )?what way {_DO} {_I}\b", "HOW"),
    ("steps", r"\bwhat steps (?:do|should|can) i (?:need to )?(?:take|follow) to\b", "HOW"),
    ("do", rf"\bwhat (?:{_DO} {_I}|{_I}) (?:need to )?do (?:in order )?to\b", "HOW"),
    (
        "how",
        (
            rf"\bi (?:would like|want|need) to {_SOME} (?:,|\.|but|and) how (?:do|can|should|would) i (?:do|go about)"
            r" (?:that|this|it)\b"
        ),
        r"HOW \1",
    ),
    (
        "how",
        (
            rf"\bhow (?:{_DO} {_I}|{_I} (?:can|could|should|would|might|may|need to)|am {_I} (?:able )?to|is {_I} able to"
            rf"|will {_I}|(?:best )?to|need to {_I})\b(?: (?:go about|be able to|best|need to|have to))*"
        ),
        "HOW",
    ),
    ("like", r"\bHOW like\b", "HOW"),
    # wants
    (
        "help",
        rf"(?:\b{_CAN_YOU} |{_START})help (?:me|us)(?: to)? (?=(?!(?:with|understand|know|find out|{_WH})\b)\w)",
        "WANT ",
    ),
    (
        "want like love wish trying looking need",
        rf"{_START}(?:i|we) (?:would (?:like|love)|want|wish|am trying|are trying|am looking|need) to\b",
        "WANT",
    ),
    ("hope hoping plan intend", rf"{_START}(?:i|we) (?:hope|am hoping|plan|intend) to\b", ""),
    (
        "you",
        (
            r"\b(?:can|could|will|would) you"
            r" (?=(?:translate|write|summarize|summarise|draft|rewrite|convert|generate|proofread|recommend|suggest|\w+ me)\b)"
        ),
        "",
    ),
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
    ("cost costs", rf"\b(?:how much|what) (?:does|do|would|will) {_SOME} costs?\b", r"what is PRICE \1"),
    ("costs", rf"\b(?:how much|what) {_SOME} costs\b", r"what is PRICE \1"),
    ("cost costs", rf"\b(?:how much|what) did {_SOME} costs?\b", r"what was PRICE \1"),
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
        rf"\bwhat {_BE} the (?:total |full |overall )?(?:price|cost|charge|fee)s?(?: (?:of|for|to))?\b",
        "what is PRICE",
    ),
    ("by", rf"\bwho (?:is|are|was|were) {_SOME} (\w+(?:ed|en|t|wn)) by(?= [.]|$)", r"who \2 \1"),
    ("by", rf"\bby who (?:is|are|was|were) {_SOME} (\w+(?:ed|en|t|wn))(?= [.]|$)", r"who \2 \1"),
    ("looking", rf"{_START}(?:i|we) (?:am|are) looking for(?: info(?:rmation)? (?:on|about))?\b", "ASK"),
    ("bit while", r"\bfor a (?:little |short )?(?:bit|while)\b", "awhile"),
    # measures
    ("degrees degree", r"\bdegrees? (?=(?:celsius|centigrade|fahrenheit|c|f)\b)", ""),
    ("many number", rf"\b(?:how many|what number of|what {_BE} the (?:total )?number of)\b", "MANY"),
    ("MANY", r"\b(?:are|is) there\b", ""),
    (
        "long",
        (
            r"\bhow long (?:(?:does|do|did|will|would|is|are|was|can|could|should)(?: (?:it|i|we|you)\b)?(?: (?:take|taking))?"
            rf"|(?:has|have|had) it taken|it (?:will |would )?(?:takes?|took)){_FOR_ME}(?: (?:to|for|until))?\b"
        ),
        "LONG",
    ),
    ("takes take", rf"\bhow long {_SOME} takes?\b", r"LONG \1"),
    ("lasts last", rf"\bhow long {_SOME} lasts?\b", r"LONG last \1"),  # what takes an hour may last a day
    (
        "time",
        (rf"\bhow much time (?:does|do|will)(?: it)?(?: take)?{_FOR_ME}(?: to| for)?\b"),
        "LONG",
    ),
    ("duration length", rf"\bwhat {_BE} the (?:duration|length) of\b", "LONG last"),
    ("LONG", rf"(?<=LONG ){_SOME} takes?\b", r"\1"),
    ("LONG", rf"(?<=LONG )(?!last ){_SOME} lasts?\b", r"last \1"),
    # of: so that what has it may stand before it ("Einstein's age")
    ("tall high", r"\bhow (?:tall|high)\b(?: (?:is|are)\b)?", "what is height of"),
    ("heavy", r"\bhow heavy\b(?: (?:is|are)\b)?", "what is weight of"),
    ("old", rf"\bhow old (?:do (?:{_I}|\w+) need to be|need to (?:{_I}|\w+) be) to\b", "what is age to"),
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
            rf"(?= (?:{_HELPER}|the|my|your|it|i|you|we|they)\b)"
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
    ("means", rf"\bwhat {_SOME} means\b", r"what is \1"),
    ("meaning meanings", r"\bwhat (?:is|are) the meanings? of\b", "what is"),
    ("mean for to", rf"\bwhat does {_SOME} (?:mean|stand for|refer to)\b", r"what is \1"),
    (
        "city country person place company team language",
        r"\bwhat (city|country|person|place|company|team|language)(?= (?:is|was|are|were)\b)",
        r"what what_\1",
    ),
    (
        "person country team company people",
        rf"\bwhat (person|country|team|company|people)(?= (?!{_HELPER}\b))",
        r"who what_\1",
    ),
    ("if", r"\bwhat (?:will |would )?happens? if\b|\bwhat if\b", "what happen if"),
    # small things
    ("like", rf"\bwhat (is|are) {_SOME} like\b", r"how \1 \2"),
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


@cache
def _compiled() -> tuple[tuple[frozenset[str], re.Pattern[str], str], ...]:
    return tuple((words(needs), re.compile(pattern), new) for needs, pattern, new in _RULES)


def rewritten(text: str) -> str:
    """The text after all rules."""
    present = set(text.split())
    for needs, pattern, new in _compiled():
        if not needs.isdisjoint(present):
            text, count = pattern.subn(new, text)
            if count:
                split = text.split()
                text, present = " ".join(split), set(split)
    return text
