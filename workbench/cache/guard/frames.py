"""What people say around a question: greetings, thanks, apologies, "could you tell me", "I would like to know".

There are endless ways of saying it, but few words for it. So a clause of such words alone says nothing, and such words
before a question word only introduce it.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.cache.guard.vocabulary import words

__all__ = ["unframed"]

_QUESTION = words("how what when where who why which whose whom")
_IF = words("if whether")
# introduce: one of them must be there before a question word
_TELLING = words("""
    tell telling told know knowing explain explaining inform informing advise advising help helping assist clarify clarifying
    remind reminding show showing teach share say ask asking wonder wondering understand understanding learn find finding
    figure figuring work working sure certain clear idea clue curious curiosity question questions confused lost unsure
    confirm check checking hear hearing interested info information details guide enlighten forgot forgotten remember guess
    thinking elaborate describe describing point give
    """)
_NEEDS_OUT = words("find finding figure figuring work working")  # "find out how", but not "find what"
_AROUND = words("""
    a about able absolutely advance advice advise afternoon again all also am an and another any anybody anyone apologies
    apologise apologize appreciate appreciated are ask asking at be been best bit bother bothering brief but by can certain
    chance cheers check clarify clue come confirm confused could curiosity curious day days dear describe details do does doing
    don't easy else enlighten evening everybody everyone excuse explain feel few fine folks for forum forward
    free from give glad good got grateful great greetings guess guide guys had happen have having hear here hello help helpful
    helping hey hi hope hoping i idea if in info inform information interested is it just keen kind kindly know knowing know-how
    learn let like little look looking lost lot love many mate may maybe me might million mind minute moment moments morning
    most much my need new nice now of off oh ok okay on one opportunity or out pardon perhaps please pls plz point possible
    possibly pretty question questions quick quickly quite randomly random rather really regards reaching remind reply
    right say share should show simple simply sir madam so some somebody someone soon sorry stupid silly struggling sure take
    taking teach team tell telling ta thank thanks that the then there thinking this thx time to told topic total trouble
    troubling trying understand understanding understood unclear unsure us very wanna want wanted was way we well were what's
    will willing wish with wonder wonderful wondering work working would writing yes yo you your yourself advising figure
    figuring explaining find finding assist assistance support
    """)
_SPOKEN = words("""
    i me my we us you your it this that hi hello hey thanks thank thx cheers please pls sorry apologies ok okay so well
    yo now curious curiosity help question questions advance greetings dear regards excuse pardon morning afternoon evening
    """)  # what a clause that says nothing has at least one of; "love" and "time" may be things of a list
_NOT = words("not no never")
_UNKNOWING = words("know sure certain clear idea clue understand remember figure work find get see")
# before "you", "anyone": somebody is asked to tell; before "I" it is another question ("do I need to know how")
_ASKED = words("you someone anyone somebody anybody there it")
_KNOWING = words("know understand remember")
_HELPERS = words("can could will would may might do does did is are was were should must has have am")
_MAY = words("can could may might")
# what people thank, apologise and hope for beside that; whatever else they name, they tell something by it
_COURTESY = words("""
    thanks thank thx cheers sorry apologies hope hoping reading read message email long time patience service attention
    response reply answer inconvenience delay confusion disturb disturbing spam bad english typo typos basic dumb newbie being
    keeping great week weekend finds everything everyone going well
    """)
_OPENS = words("thanks thank thx cheers sorry apologies hope hoping")


def unframed(said: Sequence[str]) -> list[str]:
    """The words without clauses that say nothing, `ASK` or `ASK if` for what introduces a question."""
    clauses = _clauses(said)
    telling = [clause for clause in clauses if not _says_nothing(clause)]
    if not telling:
        return list(said)
    return [word for clause in telling for word in _introduced(clause)]


def _clauses(said: Sequence[str]) -> list[list[str]]:
    """With the pause that ends each."""
    found: list[list[str]] = [[]]
    for word in said:
        found[-1].append(word)
        if word in (",", "."):
            found.append([])
    return [clause for clause in found if clause]


def _says_nothing(clause: Sequence[str]) -> bool:
    """A lone "yes, how?" says something; so does "can I?"."""
    plain = [word for word in clause if word not in (",", ".")]
    if not plain:
        return True
    if _is_courtesy(plain) and _QUESTION.isdisjoint(plain):
        return True
    around = all(word in _AROUND or (word == "not" and "mind" in plain) for word in plain) and not _SPOKEN.isdisjoint(
        plain
    )
    return around and (plain[0] not in _HELPERS or _is_frame(plain))


def _is_courtesy(plain: Sequence[str]) -> bool:
    """Thanks, an apology or a good wish that names nothing: not "thanks for the wool coat"."""
    opens = plain[0] in _OPENS or (plain[0] == "i" and plain[1:2] == ["hope"])
    return opens and all(word in _AROUND or word in _COURTESY for word in plain)


def _introduced(clause: list[str]) -> list[str]:
    """The last question word before which everything introduces it."""
    found = 0
    for place, word in enumerate(clause):
        if (word in _QUESTION or (word in _IF and place)) and _is_frame(clause[:place]):
            found = place
        if not any(word in those for those in (_AROUND, _TELLING, _IF, _NOT)):
            break
    return ["ASK", *clause[found:]] if found else clause


def _is_frame(before: Sequence[str]) -> bool:
    """Whether these words ask to be told."""
    if _TELLING.isdisjoint(before):
        return False
    if not _NEEDS_OUT.isdisjoint(before) and "out" not in before and (_TELLING - _NEEDS_OUT).isdisjoint(before):
        return False
    # "whether I need to know how", and "I know how": nobody asks to be told how
    if any(word in _IF and not _leads_on(before[place + 1 :]) for place, word in enumerate(before)):
        return False
    if any(word in _KNOWING and before[place - 1] in ("i", "we") for place, word in enumerate(before) if place):
        return False
    if before[0] in _HELPERS and not (before[0] in _MAY and before[-1] == "ask"):
        asked = before[1] if len(before) > 1 else ""
        if asked not in _ASKED or (asked in ("there", "it") and "you" not in before):
            return False
    plain = [word for word in before if word not in ("really", "quite", "entirely", "at", "all")]
    return all(after in _UNKNOWING for word, after in zip(plain, (*plain[1:], ""), strict=True) if word in _NOT)


def _leads_on(after: Sequence[str]) -> bool:
    """Behind "wondering if": "you could tell me", "it is possible to find out", "I may ask"."""
    return bool(after) and (after[0] in _ASKED or (after[0] in ("i", "we") and after[1:2] != [] and after[1] in _MAY))
