"""What single words do in a question: carry nothing, point at somebody, count, measure, or stand against another."""

from __future__ import annotations

__all__ = [
    "ABBREVIATED_UNITS", "AUXILIARIES", "BE", "CURRENCIES", "DAYS", "DETERMINERS", "ENGLISH", "ENGLISH_ALONE",
    "EXACT_UNITS", "FUTURE", "KEYWORDS", "LIGHT", "LIGHT_VERBS", "LINKS", "MONTHS", "NEGATORS", "NUMBERS",
    "OPPOSITES", "ORDINALS", "PAST", "PERSONS", "POSSESSIVES", "PREFIXES", "PREPOSITIONS", "PRESENT", "QUANTIFIERS",
    "SCALES", "SYNTAX", "UNITS", "UNLIKE", "WEAK", "participle", "words",
]  # fmt: skip


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def participle(word: str) -> bool:
    """Whether it looks like "done": after a form of "be", something is done."""
    return (
        (len(word) > 4 and word.endswith(("ed", "en")))
        or (word.endswith("ed") and word[-3:] != "eed")
        or word in _PARTICIPLES
    )


def _pairs(text: str) -> dict[str, str]:
    """{form: base} of "base form form | base form"."""
    found = {}
    for group in text.replace("\n", "|").split("|"):
        base, *forms = group.split() or [""]
        found.update(dict.fromkeys((base, *forms), base))
    return {form: base for form, base in found.items() if form}


def _sets(text: str) -> frozenset[frozenset[str]]:
    """Of "a b | c d"."""
    return frozenset(words(group) for group in text.replace("\n", "|").split("|") if group.strip())


# carry nothing by themselves; prepositions among them still hold the order
WEAK = words("""
    a an the be am is are was were been being do does did doing done have has had having will would shall can could may might
    should this that these those it its itself there here and or but if when while whether so then as who whom whose what which
    how why where such also very really quite rather ever yet already just please someone somebody anyone anybody one ones us
    myself yourself themselves ok okay oh well yes
    """)
# what tells English: one of the first, or some of the others
ENGLISH_ALONE = words("""
    the how what which when where why who you your does should could would they them their been being into between during until
    without because allowed available today tomorrow yesterday remind convert explain weather
    """)
ENGLISH = words("""
    are my did can it this that and from with not have there need please an for is of will give tell show if about before after
    pay buy open close use make find change cancel delete update order work get set add remove start stop long much many do i
    """)
PREPOSITIONS = words("in on at for of to by with about into onto as if when while so")
# of the same thing: paid by card is not paid for a card
UNLIKE = _sets("by for|by to|by of|by about|by on|by in|by at|by as|with for|with about|with of|about to")
PERSONS = {
    "i": "first", "me": "first object", "my": "first", "mine": "first", "we": "first", "us": "first object", "our": "first",
    "ours": "first", "you": "second", "your": "second", "yours": "second", "he": "he", "him": "he", "his": "he", "she": "she",
    "her": "she", "hers": "she", "they": "they", "them": "they", "their": "they", "theirs": "they",
}  # fmt: skip
DETERMINERS = words("a an the this that these those my your our his her their its any some")
POSSESSIVES = words("my your our his her their")
# words that join two of a kind, so that either may come first
LINKS = words("and or , vs versus between")
# before one of these a small word is the name of something: a "for" loop, the "in" operator
KEYWORDS = words("for while if do in is not and or as with when where")
SYNTAX = words("loop loops statement statements operator operators keyword keywords clause clauses")
NEGATORS = words("not no non never without nor neither unable")
QUANTIFIERS = words("all some any none every each both either few many most only several half whole entire")
# may stand in one of the questions alone
LIGHT = words("""
    any some own available currently possible exist provide offer located situated what_explaining what_listing what_time
    what_date what_hour what_day what_month what_year what_age what_city what_country what_person what_place what_company
    what_team what_language
    """)
# "make a payment" is "pay": may stand alone before a noun that matches another word
LIGHT_VERBS = words("make place take give get do submit file raise request perform put leave carry_out")
AUXILIARIES = {
    "can": "can", "could": "can", "may": "can", "might": "can", "should": "should", "will": "will", "would": "will",
    "shall": "will",
} | dict.fromkeys(words("is are am was were do does did has have had"), "is")  # fmt: skip
BE = words("is are am was were be been being get got gets")
_PARTICIPLES = words("""
    made built sold bought paid sent held run done won led found owned used seen known shown hit hurt cut put set shut read beat
    split caught taught told kept left lost stolen
    """)
PAST = words("did was were had")
PRESENT = words("is are am do does has have can HOW")
FUTURE = words("will shall")

NUMBERS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "dozen": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17,
    "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50, "sixty": 60,
    "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
ORDINALS = {
    "1st": "first", "2nd": "second", "3rd": "third", "4th": "fourth", "5th": "fifth", "6th": "sixth", "7th": "seventh",
    "8th": "eighth", "9th": "ninth", "10th": "tenth", "11th": "eleventh", "12th": "twelfth",
}  # fmt: skip
MONTHS = _pairs(
    "january jan | february feb | march mar | april apr | may^ | june jun | july jul | august aug | september sep sept"
    " | october oct | november nov | december dec"
)
DAYS = _pairs(
    "monday mondays mon | tuesday tuesdays tue tues | wednesday wednesdays wed | thursday thursdays thu thur thurs"
    " | friday fridays fri | saturday saturdays | sunday sundays | today | tomorrow | yesterday | tonight | weekend weekends"
    " | weekday weekdays | morning mornings | afternoon afternoons | evening evenings | night nights"
    " | 12:00 noon midday | 00:00 midnight"
)
CURRENCIES = {
    "£": "gbp", "$": "dollar", "€": "eur", "¥": "jpy", "₹": "inr", "₩": "krw", "a$": "aud", "c$": "cad", "us$": "usd",
}  # fmt: skip
# written out: a unit wherever they stand
UNITS = _pairs(
    """
    second seconds sec secs | minute minutes mins | hour hours hr hrs | day days | week weeks wk wks | fortnight fortnights
    month months mth mths | year years yr yrs | decade decades | century centuries | quarter quarters
    millisecond milliseconds | microsecond microseconds | nanosecond nanoseconds
    millimeter millimeters millimetre millimetres | centimeter centimeters centimetre centimetres
    meter meters metre metres | kilometer kilometers kilometre kilometres kilometer | mile miles | inch inches | foot feet
    yard yards | acre acres | hectare hectares | gram grams gramme grammes | kilogram kilograms kilo kilos kg kgs
    milligram milligrams | microgram micrograms | pound pounds | ounce ounces | stone stones | ton tons | tonne tonnes
    liter liters litre litres | milliliter milliliters millilitre millilitres | gallon gallons | pint pints | cup cups
    tablespoon tablespoons tbsp | teaspoon teaspoons tsp | bit bits | byte bytes | kilobyte kilobytes | megabyte megabytes
    gigabyte gigabytes | terabyte terabytes | petabyte petabytes | celsius centigrade | fahrenheit | kelvin
    watt watts | kilowatt kilowatts | volt volts | ampere amperes amps | hertz | percent percentage % | degree degrees
    mph | kph kmh | kwh | calorie calories kcal | joule joules | pixel pixels px | token tokens | lb lbs
    millimeter mm | centimeter cm | kilometer km kms | milligram mg | milliliter ml | kilobyte kb | megabyte mb
    gigabyte gb | terabyte tb | ounce oz | kilowatt kw | megahertz mhz | gigahertz ghz | mbps | gbps
    """
)
# only after a number: "5 m", "10GB"
ABBREVIATED_UNITS = _pairs(
    """
    second s sec | minute min mins | hour h hr hrs | day d | week w wk | year y yr yrs | millisecond ms | microsecond us µs
    nanosecond ns | millimeter mm | centimeter cm | meter m | kilometer km kms | mile mi | inch in | foot ft | yard yd
    gram g | kilogram kg kgs | milligram mg | microgram mcg µg | lb lbs | ounce oz | ton t | liter l | milliliter ml
    kilobyte kb | megabyte mb | gigabyte gb gig gigs | terabyte tb | petabyte pb | byte b | celsius c °c | fahrenheit f °f
    watt w | kilowatt kw | kwh | volt v | ampere a | hertz hz | kilohertz khz | megahertz mhz | gigahertz ghz
    percent % pct | degree ° | mph | kph kmh km/h | mbps mb/s | gbps gb/s | kcal cal | pixel px | fps | rpm | times x
    square_meter m2 sqm | square_foot ft2 sqft | bedroom bed beds
    """
)
EXACT_UNITS = {
    "Mb": "megabit", "Mbit": "megabit", "Gb": "gigabit", "Kb": "kilobit", "MW": "megawatt", "mW": "milliwatt",
}  # fmt: skip

# only for the reason: any other word in its place is refused as well
OPPOSITES = _sets("""
    enable disable|activate deactivate|turn_on turn_off|switch_on switch_off|open close|opened closed|lock unlock|buy sell
    increase decrease|raise lower|add remove|add subtract|upgrade downgrade|before after|minimum maximum|min max
    import export|first last|upload download|start stop|start end|begin end|accept decline|accept reject|accept refuse
    allow deny|allow block|allow forbid|allow ban|allow prevent|include exclude|install uninstall|log_in log_out
    sign_in sign_out|opt_in opt_out|connect disconnect|join leave|push pull|send receive|lend borrow|give take|hire fire
    arrive depart|arrival departure|enter exit|encrypt decrypt|encode decode|compress decompress|zip unzip|show hide
    mute unmute|pause resume|block unblock|follow unfollow|subscribe unsubscribe|win lose|pass fail|save spend|credit debit
    deposit withdraw|pros cons|pro con|advantage disadvantage|benefit drawback|strength weakness|more less|most least
    more fewer|over under|above below|up down|in out|on off|inside outside|high low|higher lower|highest lowest|long short
    longest shortest|large small|largest smallest|big small|bigger smaller|biggest smallest|tall short|fast slow
    fastest slowest|hot cold|cheap expensive|cheapest expensive|new old|newest oldest|latest oldest|early late|earliest latest
    good bad|best worst|better worse|safe dangerous|legal illegal|legal banned|easy hard|easy difficult|easiest hardest
    light heavy|strong weak|rich poor|public private|internal external|inbound outbound|incoming outgoing|indoor outdoor
    male female|man woman|domestic international|single double|manual automatic|positive negative|left right|north south|east west
    front back|top bottom|parent child|buyer seller|employer employee|landlord tenant|lender borrower|input output
    source target|ascending descending|horizontal vertical|full empty|full partial|odd even|true false|always never
    same different|with without|past future|read write|eat avoid
    take avoid|use avoid|cover exclude|synchronous asynchronous|gain lose|profit loss|asset liability|client server
    from to|love hate|cause prevent|improve worsen|approve reject|recommend avoid|wet dry|clean dirty|vertical horizontal
""")
PREFIXES = words("un in im ir il dis non de mis anti re pre post over under inter intra")
