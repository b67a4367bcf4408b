"""Ways of asking that come to the same, rewritten to one; politeness and hesitation, rewritten to nothing.

A question arrives here as lower-case words with one space between, `,` and `.` for pauses, and ¤n for what must stay as it
is. Capitals mark what the rewrites decided: HOW, CAN, MANY, LONG, PRICE, ASK ("tell me …"), WHETHER.
"""

from __future__ import annotations

import re
from functools import cache

from workbench.cache.guard.vocabulary import NUMBERS, words
from workbench.cache.guard.wordings import ANYBODY, BE, FOR_ME, HELPER, SOME, START, WORDINGS

__all__ = ["HESITATIONS", "rewritten"]

HESITATIONS = words("""
    um umm uh uhh uhm er err erm hm hmm ah ahh huh please pls plz kindly lol btw basically actually honestly literally simply
    perhaps maybe anyway possibly probably sorry just exactly really roughly kinda somehow approximately usually typically
    normally generally ideally
""")
_DO = "(?:do|does|can|could|would|should|might|may|shall|must)"  # "how did people cook" is another question
_CAN_YOU = "(?:can|could|will|would) (?:you|someone|anyone|somebody|anybody)"
_WH = "(?:how|what|why|when|where|who|if|whether)"

# words of which one must occur for the rule to be worth a try, a pattern, what it becomes; tried in this order
_RULES: tuple[tuple[str, str, str], ...] = (
    # contractions that lost their apostrophe
    ("cannot cant", r"\b(?:cannot|cant)\b", "can not"),
    (
        "dont doesnt didnt isnt arent wasnt werent hasnt havent hadnt wouldnt couldnt shouldnt",
        rf"\b({HELPER})nt\b",
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
            rf"{START}(?:hi|hello|hey|hiya|yo|howdy|greetings|dear|good (?:morning|afternoon|evening|day)"
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
            rf"{START}(?:apologies )?(?:for (?:asking|bothering you)|to (?:bother|trouble) you(?: again)?"
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
        rf"{START}(?:(?:so|ok|okay|yeah|yep|yes|well|right|alright|and|but|oh|now|question|also)(?: ,)? )+(?=\S)",
        "",
    ),
    ("all", r"\bat all\b", ""),
    ("earth world hell heck", rf"\b({_WH}) (?:on earth|in the world|the (?:hell|heck))\b", r"\1"),
    (
        "right correct yes no it you i we they there that",
        (
            r" , (?:right|correct|yes|yeah|no"
            rf"|{HELPER}(?: not)? (?:it|you|i|we|they|there|that))(?= [.]|$)"
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
        rf"\b(?:{_CAN_YOU} |{START})(?:explain|describe|clarify|define|specify)\b(?: (?:to|for) (?:me|us))?",
        "ASK what_explaining",
    ),
    (
        "give show list name",
        rf"\b(?:{_CAN_YOU} )?(?:give|show) (?:me|us)\b|\b(?:{_CAN_YOU} |{START})(?:list|name)(?: for (?:me|us))?\b",
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
        rf"{START}(?:calculate|compute|work out|figure out|find out)(?= (?:¤|\d|(?:{'|'.join(NUMBERS)}|{_WH})\b))",
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
            rf"|permissible|feasible){FOR_ME}(?: to| if i| that i| i)?\b"
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
    ("need", rf"{START}need to (?=(?:the|a|an|my|our|your|all|every|each|both)\b)", "do need to "),
    ("need", r"\b(?:do|does) (?!(?:need|i|we|you|they|he|she|it) )([^,.]{1,60}?) need to\b", r"do need to \1"),
    ("need", r"\bneed to (i|we)\b", r"\1 need to"),
    ("ought it", r"\b(?:ought i to|is it (?:a good idea|advisable|recommended|wise)(?: for me)? to)\b", "should i"),
    # how do I
    (
        "way ways step steps process procedure method methods instructions approach technique",
        (
            rf"\bwhat {BE} (?:the |a |some |my )?(?:best |right |correct |proper |usual |good |recommended |exact )?"
            r"(?:ways?|steps?|process|procedure|methods?|instructions|approach|technique)"
            r"(?: (?:that )?i (?:need|should|can)(?: to)?(?: follow| take| use)?)?"
            r"(?: (?:for|to|of|in order to|involved in|needed to|in))+\b"
        ),
        "HOW",
    ),
    (
        "steps ways way instructions procedure process method",
        (
            rf"{START}(?:the |any )?(?:best |easiest |right )?"
            r"(?:steps?|ways?|instructions|procedure|process|method) (?:to|for|of)\b"
        ),
        "HOW",
    ),
    (
        "steps",
        r"\bwhat steps (?:are|is|do i have) (?:needed|required|necessary|involved|need(?:ed)?|to take)(?: (?:to|in|for))+\b",
        "HOW",
    ),
    ("way", rf"\b(?:in )?what way {_DO} {ANYBODY}\b", "HOW"),
    ("steps", r"\bwhat steps (?:do|should|can) i (?:need to )?(?:take|follow) to\b", "HOW"),
    ("do", rf"\bwhat (?:{_DO} {ANYBODY}|{ANYBODY}) (?:need to )?do (?:in order )?to\b", "HOW"),
    (
        "how",
        (
            rf"\bi (?:would like|want|need) to {SOME} (?:,|\.|but|and) how (?:do|can|should|would) i (?:do|go about)"
            r" (?:that|this|it)\b"
        ),
        r"HOW \1",
    ),
    (
        "how",
        (
            rf"\bhow (?:{_DO} {ANYBODY}|{ANYBODY} (?:can|could|should|would|might|may|need to)|am {ANYBODY} (?:able )?to"
            rf"|is {ANYBODY} able to"
            rf"|will {ANYBODY}|(?:best )?to|need to {ANYBODY})\b(?: (?:go about|be able to|best|need to|have to))*"
        ),
        "HOW",
    ),
    ("like", r"\bHOW like\b", "HOW"),
    # wants
    (
        "help",
        rf"(?:\b{_CAN_YOU} |{START})help (?:me|us)(?: to)? (?=(?!(?:with|understand|know|find out|{_WH})\b)\w)",
        "WANT ",
    ),
    (
        "want like love wish trying looking need",
        rf"{START}(?:i|we) (?:would (?:like|love)|want|wish|am trying|are trying|am looking|need) to\b",
        "WANT",
    ),
    ("hope hoping plan intend", rf"{START}(?:i|we) (?:hope|am hoping|plan|intend) to\b", ""),
    (
        "you",
        (
            r"\b(?:can|could|will|would) you"
            r" (?=(?:translate|write|summarize|summarise|draft|rewrite|convert|generate|proofread|recommend|suggest|\w+ me)\b)"
        ),
        "",
    ),
)


@cache
def _compiled() -> tuple[tuple[frozenset[str], re.Pattern[str], str], ...]:
    return tuple((words(needs), re.compile(pattern), new) for needs, pattern, new in (*_RULES, *WORDINGS))


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
