"""The guard: what it refuses, by kind, what it lets pass, and what holds for any text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.cache.guard import veto
from workbench.cache.guard.lemmas import bases
from workbench.cache.guard.synonyms import groups_of
from workbench.cache.guard.vocabulary import LIGHT, OPPOSITES, WEAK

REFUSED = {
    "numbers": [
        ("Track order 48213", "Track order 48231"),
        ("Can I book a table for two?", "Can I book a table for 12?"),
        ("How do I upgrade to Python 3.10?", "How do I upgrade to Python 3.1?"),
        ("Is -5 C too cold for tomatoes?", "Is 5 C too cold for tomatoes?"),
        ("What is a return on $1.5 million?", "What is a return on $1.5 billion?"),
        ("Is the dose 0.5 mg?", "Is the dose 5 mg?"),
        ("What's the status of ticket ABC-123?", "What's the status of ticket ABC-124?"),
        ("When was the iPhone 14 released?", "When was the iPhone 15 released?"),
        ("Are people aged 18-25 eligible?", "Are people aged 18-30 eligible?"),
        ("What happened on the 3rd?", "What happened on the 4th?"),
    ],
    "units": [
        ("How far is Rome from Milan in km?", "How far is Rome from Milan in miles?"),
        ("Can I deduct £1,000?", "Can I deduct $1,000?"),
        ("What is 15% of 200?", "What is 15 of 200?"),
        ("Can I park here for 2 hours?", "Can I park here for 2 days?"),
        ("Does it come with 10GB?", "Does it come with 10TB?"),
    ],
    "dates": [
        ("Are you open on Saturday?", "Are you open on Sunday?"),
        ("Is the store open today?", "Is the store open tomorrow?"),
        ("What was my bill in May?", "What was my bill in March?"),
        ("Set an alarm for 7am", "Set an alarm for 7pm"),
        ("What is due on 2026-05-01?", "What is due on 2026-05-02?"),
    ],
    "times": [
        ("What was my balance?", "What is my balance?"),
        ("Who wins the cup?", "Who won the cup?"),
        ("Who will be president?", "Who is president?"),
    ],
    "negation": [
        ("Is the item refundable?", "Is the item non-refundable?"),
        ("Why can't I log in?", "Why can I log in?"),
        ("Should I take aspirin with food?", "Should I take aspirin without food?"),
        ("Are refunds never given?", "Are refunds given?"),
        ("Which plans include calls?", "Which plans don't include calls?"),
        ("Is there parking at the hotel?", "Is there no parking at the hotel?"),
        ("Can I bring a dog but not a cat?", "Can I bring a cat but not a dog?"),
    ],
    "opposites": [
        ("How do I enable 2FA?", "How do I disable 2FA?"),
        ("How do I turn Bluetooth on?", "How do I turn Bluetooth off?"),
        ("Is the shop open on holidays?", "Is the shop closed on holidays?"),
        ("What is the maximum upload size?", "What is the minimum upload size?"),
        ("How do I upgrade my plan?", "How do I downgrade my plan?"),
        ("Can I cancel before the trial ends?", "Can I cancel after the trial ends?"),
        ("How do I import contacts?", "How do I export contacts?"),
        ("How do I log in?", "How do I log out?"),
        ("Is my data encrypted?", "Is my data unencrypted?"),
        ("Sort the rows in ascending order, please", "Sort the rows in descending order, please"),
        ("What is the first day of term?", "What is the last day of term?"),
    ],
    "names": [
        ("What is the capital of Australia?", "What is the capital of Austria?"),
        ("How do I install it on Windows?", "How do I install it on Linux?"),
        ("What is the minimum wage in the US?", "What is the minimum wage in the UK?"),
        ("Convert 100 USD to GBP", "Convert 100 EUR to GBP"),
        ("How do I say this in Spanish?", "How do I say this in Italian?"),
        ("Tell me about us", "Tell me about the US"),
    ],
    "quotes": [
        ('What does "idempotent" mean?', 'What does "immutable" mean?'),
        ("Which files contain `TODO`?", "Which files contain `todo`?"),
    ],
    "identifiers": [
        ("How do I use --force?", "How do I use --dry-run?"),
        ("How do I use -r in grep?", "How do I use -R in grep?"),
        ("What does user_id hold?", "What does user_name hold?"),
        ("What does getUser do?", "What does getUsers do?"),
        ("Is a == b in JavaScript?", "Is a === b in JavaScript?"),
        ("Who can read /etc/passwd?", "Who can read /etc/shadow?"),
        ("What is on https://a.example/x?", "What is on https://a.example/y?"),
        ("What is 2+2?", "What is 2*2?"),
        ("Is it 👍?", "Is it 👎?"),
    ],
    "question": [
        ("What year was Lincoln born?", "What day was Lincoln born?"),
        ("How do I get a refund?", "Can I get a refund?"),
        ("Can I get a refund?", "Why can I get a refund?"),
        ("When does the course start?", "Where does the course start?"),
        ("What is a VPN for work?", "How do I VPN for work?"),
        ("What can I eat?", "What should I eat?"),
    ],
    "person": [
        ("What is your refund policy?", "What is my refund policy?"),
        ("Does he need a visa?", "Does she need a visa?"),
        ("Who can I call?", "Who can call me?"),
        ("Can my wife drive my car?", "Can I drive my wife's car?"),
    ],
    "quantifiers": [
        ("Can all users delete files?", "Can some users delete files?"),
        ("Can any member attend the meeting?", "Can every member attend the meeting?"),
        ("Can only members attend?", "Can members attend?"),
    ],
    "order": [
        ("Only managers can approve leave, right?", "Managers can only approve leave, right?"),
        ("What is a - b?", "What is b - a?"),
        ("How do I convert a Word document to PDF?", "How do I convert a PDF to a Word document?"),
        ("Transfer £50 from my savings to my current account", "Transfer £50 from my current account to my savings"),
        ("Is Python faster than Java?", "Is Java faster than Python?"),
        ("Do I need 2 forms for 7 guests?", "Do I need 7 forms for 2 guests?"),
        ("Who owns Instagram?", "Who does Instagram own?"),
        ("Does Google own YouTube?", "Does YouTube own Google?"),
        ("Did Microsoft acquire GitHub?", "Was Microsoft acquired by GitHub?"),
        ("Is tomato a fruit or vegetable?", "Is tomato a fruit and vegetable?"),
        ("Can I pay by card?", "Can I pay for a card?"),
        ("Will I get a refund if I cancel?", "Will I cancel if I get a refund?"),
        ("Are the points (3,5) and (1,2) near?", "Are the points (5,3) and (1,2) near?"),
        ('Replace "a" with "the"', 'Replace "the" with "a"'),
    ],
    "words": [
        ("Is the chicken dish gluten-free?", "Is the beef dish gluten-free?"),
        ("What are the symptoms of flu?", "What are the symptoms of flu in babies?"),
        ("How do I get a refund on a gift?", "How do I get a refund on a gift card?"),
        ("How do I reset my password?", "How do I change my password?"),
        ("How do I sign in?", "How do I sign up?"),
        ("Calculate the standard deviation", "What is the standard deviation?"),
        ("How do I write a for loop?", "How do I write a while loop?"),
        ("How do I say please in French?", "How do I say sorry in French?"),
    ],
}  # fmt: skip

KEPT = [
    # ways of asking
    ("How do I reset my password?", "how can i reset my password"),
    ("How do I reset my password?", "What's the way to reset my password?"),
    ("How do I reset my password?", "What are the steps to reset my password?"),
    ("How do I reset my password?", "Could you please tell me how to reset my password?"),
    ("How do I reset my password?", "Hi! I don't know how to reset my password. Thanks in advance"),
    ("Can I get a refund?", "Is it possible to get a refund?"),
    ("Can I bring food?", "Am I allowed to bring food?"),
    ("Do I have to pay tax?", "Must I pay tax?"),
    ("How much does the premium plan cost?", "What is the price of the premium plan?"),
    ("How often should I water my plants?", "How frequently should I water my plants?"),
    ("When does the store open?", "What time does the store open?"),
    ("Who is the CEO of Apple?", "Who's Apple's CEO?"),
    ("What is recursion?", "Explain recursion"),
    ("Do you ship to Spain?", "I was wondering if you ship to Spain"),
    ("Why can't I log in?", "Why am I unable to log in?"),
    ("Why isn't my printer working?", "Why is my printer not working?"),
    ("Thanks for your patience, how do I reset my password?", "How do I reset my password?"),
    ("I was wondering if you could tell me how to log in", "How do I log in?"),
    ("Who was Hamlet written by?", "Who wrote Hamlet?"),
    ("When is my subscription renewed?", "When does my subscription renew?"),
    ("How long does the battery last?", "What is the duration of the battery?"),
    ("What documents do I need?", "What documents are needed?"),
    ("Do you know the capital of France?", "What is the capital of France?"),
    ("The capital of France is?", "What is the capital of France?"),
    ("Shouldn't I get a receipt?", "Should I not get a receipt?"),
    ("How old is Einstein?", "What is Einstein's age?"),
    ("What number of items is in stock?", "How many items are in stock?"),
    ("Is the meeting on 12/25/2026?", "Is the meeting on December 25, 2026?"),
    ("It is broken. How do I return the broken phone?", "My phone is broken. How do I return it?"),
    # word order
    ("At the hotel, is there a luggage storage service?", "Is there a luggage storage service at the hotel?"),
    ("What is the Wi-Fi password for guests?", "What's the guest wifi password?"),
    ("What's the difference between TCP and UDP?", "What is the difference between UDP and TCP?"),
    ("How can the upload limit be increased?", "How do I increase the upload limit?"),
    # words
    ("How do I fix a leaky faucet?", "How do I repair a leaky tap?"),
    ("How do I turn dark mode off?", "How do I disable dark mode?"),
    ("What are the advantages of Rust?", "What are the benefits of Rust?"),
    ("Can I pay in instalments?", "Can I pay in installments?"),
    ("What colour is the sky?", "what color is the sky"),
    ("How do I cancel a subscription?", "How do I cancel subscriptions?"),
    ("What is the difference between them?", "What is the diffrence between them?"),
    ("How do I make a payment?", "How do I pay?"),
    ("Who is the president of the U.S.?", "Who is the president of the United States?"),
    ("Where is São Paulo?", "where is sao paulo"),
    # numbers, units, dates
    ("What is 5% of 1,000?", "What is five percent of 1000?"),
    ("Is the meeting at 3pm?", "Is the meeting at 15:00?"),
    ("Is it open on 1 May?", "Is it open on May 1st?"),
    ("How many miles is 10 km?", "How many miles are in 10 kilometres?"),
    ("What is the return on $1.5 million?", "What is the return on $1,500,000?"),
    ("Is .5 mg enough?", "Is 0.5 mg enough?"),
    # code and quotes
    ("How do I use `foo_bar`?", "How can I use foo_bar?"),
    ('What does "idempotent" mean?', "What does idempotent mean?"),
    ("How do I sort a list in Python?", "In python, how do i sort a list"),
]

# pairs that an earlier guard let pass
ONCE_SERVED = [
    # what thanks and wishes name
    ("Thanks for shipping order 48213, when will it arrive?", "Thanks for shipping order 48231, when will it arrive?"),
    ("Thanks for the wool coat, how do I wash it?", "Thanks for the raincoat, how do I wash it?"),
    ("Sorry for breaking the screen, how much is a repair?", "Sorry for breaking the battery, how much is a repair?"),
    ("Hoping this works with Windows, how do I install it?", "Hoping this works with Linux, how do I install it?"),
    ("I hope you deliver to Spain, how much is shipping?", "How much is shipping?"),
    # who asks to be told
    ("I don't know how to log in", "I know how to log in"),
    ("I'm not sure whether I need to know how to swim", "How do I swim?"),
    ("I tried to reset my password, what now?", "I need to reset my password, what now?"),
    ("I want to die", "How do I die?"),
    # who does it
    ("Do I owe them money?", "Do they owe me money?"),
    ("Can I refund?", "Can I be refunded?"),
    ("Do I charge for returns?", "Do I get charged for returns?"),
    ("I was hit by a car, what now?", "I hit a car, what now?"),
    ("Who fired?", "Who got fired?"),
    ("How do I invite?", "How do I get invited?"),
    ("Who was it sent by?", "Who was it sent to?"),
    ("Who should I send it to?", "Who should send it?"),
    ("What can I pay with?", "What can I pay for?"),
    ("If I cancel, do I get a refund?", "If I get a refund, do I cancel?"),
    # what is said twice
    ("Can a tenant sue a tenant?", "Can a tenant sue?"),
    ("Compare Paris, Texas and Paris, France", "Compare Texas and Paris, France"),
    ("What is the square of the square of 3?", "What is the square of 3?"),
    ("Who is the father of the father of Tom?", "Who is the father of Tom?"),
    ("What is the cost of cost accounting?", "What is cost accounting?"),
    ("Are you single or married?", "Are you single or not married?"),
    # how much, and whose
    ("Is .5 mg a safe dose?", "Is 5 mg a safe dose?"),
    ("How long does 10 GB take?", "How long does 10 Gb take?"),
    ("May I know your name?", "May I know my name?"),
    # when, and for how long
    ("How did people cook rice?", "How do people cook rice?"),
    ("How long does a haircut take?", "How long does a haircut last?"),
    # rare words that look like slips of common ones
    ("What is nitrite?", "What is nitrate?"),
    ("Is sulfite safe?", "Is sulfate safe?"),
    ("What does inulin do?", "What does insulin do?"),
    ("who is jonson", "who is johnson"),
    ("How do I clean a palate?", "How do I clean a plate?"),
    ("What is a CNA?", "What is a can?"),
    # small words that are what is asked about
    ("What does please mean in French?", "What does thanks mean in French?"),
    ("What does basically mean?", "What does literally mean?"),
    ("What is a just war?", "What is a war?"),
    ("How do I compare floats exactly?", "How do I compare floats approximately?"),
]

SENTENCES = [pair[0] for pairs in REFUSED.values() for pair in pairs] + [pair[1] for pair in KEPT]
WORDS = sorted({word for sentence in SENTENCES for word in sentence.split()} | WEAK | LIGHT)
texts = st.one_of(
    st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), st.sampled_from(SENTENCES)
)


@pytest.mark.parametrize(
    ("kind", "asked", "cached"), [(kind, *pair) for kind, pairs in REFUSED.items() for pair in pairs]
)
def test_what_changes_the_answer_is_refused(kind: str, asked: str, cached: str) -> None:
    """Each kind of difference, by the kind that the reason begins with."""
    assert kind == (veto(asked, cached) or "").partition(": ")[0]


@pytest.mark.parametrize(("asked", "cached"), ONCE_SERVED)
def test_what_was_once_served_wrongly_is_refused(asked: str, cached: str) -> None:
    """Found by people who tried to get a wrong answer, not by a benchmark."""
    assert veto(asked, cached) is not None


@pytest.mark.parametrize(
    ("asked", "cached", "reason"),
    [
        ("How do I enable 2FA?", "How do I disable 2FA?", "opposites: disable against enable"),
        ("Track order 48213", "Track order 48231", "numbers: 48213 against 48231"),
        ("Is it in Rome?", "Is it in Milan?", "names: Milan against Rome"),
        ("Can I get a refund?", "How do I get a refund?", "question: can against how"),
        ("How do I sort a list?", "How do I sort a list in place?", "words: only one has place"),
        ('What does "x y" do?', 'What does "x z" do?', "quotes: only one has “x y”"),
        ("Is A above B?", "Is B above A?", "order: A … B the other way round"),
    ],
)
def test_the_reason_says_what_differs(asked: str, cached: str, reason: str) -> None:
    """It is shown to people who wonder why there was no hit."""
    assert reason == veto(asked, cached)


@pytest.mark.parametrize(("asked", "cached"), KEPT)
def test_a_paraphrase_passes(asked: str, cached: str) -> None:
    """Politeness, order, inflection, spelling, synonyms and ways of asking change no answer."""
    assert veto(asked, cached) is None


@pytest.mark.parametrize(
    ("asked", "cached"),
    [
        ("Wie schalte ich das Licht an?", "Wie schalte ich das Licht aus?"),
        ("¿Cómo voy de Madrid a Sevilla?", "¿Cómo voy de Sevilla a Madrid?"),
        ("東京の天気は?", "大阪の天気は?"),
        ("क्या यह सही है?", "क्या यह गलत है?"),
        ("Ist das mit Zucker?", "Ist das ohne Zucker?"),
        ("Fährt er im Mai?", "Fährt er am Mai?"),
    ],
)
def test_of_another_language_only_the_same_words_pass(asked: str, cached: str) -> None:
    """No rule for English is trusted there: every word counts, and their order."""
    assert veto(asked, cached) is not None
    assert veto(asked, asked.upper().rstrip("?")) is None


@given(texts)
@settings(max_examples=200, deadline=None)
def test_a_question_is_never_refused_for_itself(text: str) -> None:
    """Nor with spaces around it, which takes the way through the comparison."""
    assert veto(text, text) is None
    assert veto(text, f"  {text}\n") is None


@given(texts, texts)
@settings(max_examples=300, deadline=None)
def test_the_same_is_said_either_way_round(asked: str, cached: str) -> None:
    """Which of the two came first is chance."""
    assert veto(asked, cached) == veto(cached, asked)


@given(st.sampled_from(WORDS), st.lists(st.sampled_from(WORDS), min_size=1, max_size=8), st.randoms())
@settings(max_examples=200, deadline=None)
def test_a_word_that_is_added_can_be_taken_away(word: str, sentence: list[str], random: object) -> None:
    """Adding a word is refused or passes; taking it away says the same."""
    longer = [*sentence, word]
    assert veto(" ".join(sentence), " ".join(longer)) == veto(" ".join(longer), " ".join(sentence))


@pytest.mark.parametrize("text", [pair[0] for pair in KEPT])
def test_case_and_punctuation_that_carry_nothing_do_not_matter(text: str) -> None:
    """A question in small letters, shouted, without its mark or with several is the same question."""
    for other in (text.lower(), text.upper(), text.rstrip("?!"), f"{text}!!", f"{text} :)", text.replace("'", "’")):
        assert veto(text, other) is None, other


@given(st.integers(0, 10**6), st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_any_other_number_is_refused(one: int, other: int) -> None:
    """Whatever the numbers are."""
    said = veto(f"How many days has order {one} left?", f"How many days has order {other} left?")
    assert (said is None) == (one == other)


@given(st.sampled_from(sorted({text for pair in KEPT for text in pair})), st.integers(0, 40))
@settings(max_examples=300, deadline=None)
def test_a_word_that_nobody_can_explain_is_refused_wherever_it_stands(text: str, place: int) -> None:
    """Also within thanks, greetings and what only introduces a question."""
    words = text.split()
    place %= len(words) + 1
    for strange in ("zorblax", "4711"):
        assert veto(text, " ".join([*words[:place], strange, *words[place:]])) is not None


@given(st.lists(st.sampled_from(["Ann", "Bob", "Eve", "Joe"]), min_size=2, max_size=2, unique=True))
def test_who_does_what_to_whom_is_kept_apart(names: list[str]) -> None:
    """Verbs, comparisons and directions: the two names may not change places."""
    one, other = names
    for pattern in ("Does {} know {}?", "Is {} taller than {}?", "Send it from {} to {}", "Did {} pay before {}?"):
        assert veto(pattern.format(one, other), pattern.format(other, one)) is not None


def test_no_synonym_is_an_opposite() -> None:
    """A word and its opposite share neither a base form nor a group of synonyms, and neither carries nothing."""
    for pair in OPPOSITES:
        one, other = sorted(pair)
        groups = [{group for base in bases(word) for group in groups_of(base)} for word in (one, other)]
        assert not bases(one) & bases(other), pair
        assert not groups[0] & groups[1], pair
        assert not LIGHT & pair, pair


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caring", "car"), ("filing", "filling"), ("employer", "employee"), ("news", "new"), ("hardly", "hard"),
        ("careful", "careless"), ("refundable", "refunded"), ("cheaper", "cheapest"), ("department", "depart"),
    ],
)  # fmt: skip
def test_words_that_only_look_alike_share_no_base(one: str, other: str) -> None:
    """What changes the meaning is not taken off."""
    assert not bases(one) & bases(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("stopped", "stop"), ("charging", "charge"), ("studies", "study"), ("children", "child"), ("cancellation", "cancel"),
        ("organise", "organize"), ("behaviour", "behaviors"), ("activation", "activate"), ("payments", "pay"),
        ("easily", "easy"), ("automatically", "automatic"), ("bought", "buy"),
    ],
)  # fmt: skip
def test_forms_of_a_word_share_a_base(one: str, other: str) -> None:
    """Plural, tense, -ing, -ly, British spelling, and the noun of a verb."""
    assert bases(one) & bases(other)


def test_what_is_no_question_passes_only_if_it_is_the_same() -> None:
    """A pasted document is not compared word by word."""
    text = "The quick brown fox. " * 200
    assert veto(text, text.upper()) is None
    assert "words: too long to compare" == veto(text, text + "End.")


@pytest.mark.parametrize(
    "text", ["a" * 1900, "a-" * 900, "1a" * 900, '"a" ' * 450, "how much what " * 130, "not cat " * 240]
)
def test_no_text_takes_long(text: str) -> None:
    """Patterns that make a backtracking expression hang; the test runner's patience is the limit."""
    assert veto(text, f"{text} b") is not None
