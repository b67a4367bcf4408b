"""Templates: what counts as a variable, how values go in, and what the errors say."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from workbench.errors import PromptError
from workbench.prompts import draft, render, variables_of
from workbench.records import Message, Request


def completion(text: str, values: dict[str, object], *, exact: bool = True) -> str:
    return render(draft("p", text, kind="completion"), values, exact=exact).prompt


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("plain", ()),
        ("{{a}} {{ b }} {{a}} {{\tc1_ }}", ("a", "b", "c1_")),
        ("{{{a}}}", ("a",)),
        (r"\{{a}} \\{{b}} \\\{{c}}", ("b",)),
        ('{"label": {"x": 1}} {{"a"}} {{}} {{ }} {a} {{a b}} {{a-b}} {{1a}} {{é}} {{a\n}} {{a}', ()),
    ],
)
def test_variables_of(text: str, expected: tuple[str, ...]) -> None:
    """A variable is a name in double braces; every other brace is text."""
    assert expected == variables_of(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<{{x}}>", "<V>"),
        ("<{{ x }}>", "<V>"),
        (r"\{{ x }}{{x}}", "{{ x }}V"),
        (r"\\{{x}}", r"\V"),
        (r"\\\{{x}}{{x}}", r"\{{x}}V"),
        (r"\n{{x}}\\ \{x}", r"\nV\\ \{x}"),
        ('{"a": {{{x}}}}', '{"a": {V}}'),
        ("100% %s %(x)s %% {{x}}", "100% %s %(x)s %% V"),
        ("{{x}}{{x}}\n{{x}}\n", "VV\nV\n"),
    ],
)
def test_rendered_text(text: str, expected: str) -> None:
    """Values replace variables; escapes, percent signs, JSON braces and line ends come out as written."""
    assert expected == completion(text, {"x": "V"})


def test_text_without_variables() -> None:
    """A prompt without variables takes no values and comes out with its escapes resolved."""
    assert "50% {{x}}" == completion(r"50% \{{x}}", {})


def test_values_are_never_expanded_again() -> None:
    """A value that looks like a template stays as it is, so input cannot reach other values."""
    values: dict[str, object] = {"a": r"{{b}} \{{b}} %(b)s", "b": "secret"}
    assert r"{{b}} \{{b}} %(b)s|secret" == completion("{{a}}|{{b}}", values)


class Shown(str):
    """Text that prints as something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        (3, "3"),
        (True, "true"),
        (None, "null"),
        (0.5, "0.5"),
        (["a", 1, None], '["a", 1, null]'),
        ({"ä": (1, 2)}, '{"ä": [1, 2]}'),
        (Shown("red"), "red"),
        (np.int64(7), "7"),
        (np.bool_(True), "true"),
        (np.array([1, 2]), "[1, 2]"),
        ({"n": np.float32(0.5)}, '{"n": 0.5}'),
    ],
)
def test_values_that_are_not_text_go_in_as_json(value: object, expected: str) -> None:
    """Text goes in as it is, all else as JSON, NumPy's scalars and arrays included."""
    assert expected == completion("{{x}}", {"x": value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), date(2026, 1, 1), {1, 2}, object(), {("a",): 1}])
def test_values_without_json_are_refused(value: object) -> None:
    """A value that JSON cannot hold is an error with the variable, the type and what to do."""
    with pytest.raises(PromptError, match=rf"prompt p .*\{{\{{x\}}\}}.*{type(value).__name__}.*str\(\)"):
        completion("{{x}}", {"x": value})


def test_each_kind_gives_what_a_request_needs() -> None:
    """Text is one user message, completion is raw text, chat is its messages; all fit Request in order."""
    text = render(draft("p", "Hi {{x}}"), {"x": "A"})
    raw = render(draft("p", "Hi {{x}}:", kind="completion"), {"x": "A"})
    turns = [{"role": "system", "content": "Be {{x}}"}, {"role": "user", "content": "{{y}} {{x}}"}]
    chat = render(draft("p", turns), {"x": "A", "y": "B"})
    assert ("chat", (Message("user", "Hi A"),), "") == text
    assert ("completion", (), "Hi A:") == raw
    assert ("chat", (Message("system", "Be A"), Message("user", "B A")), "") == chat
    assert Request("e/m", "chat", (Message("user", "Hi A"),)) == Request("e/m", *text)


def test_a_missing_value_is_named() -> None:
    """A missing variable is an error that names prompt, variable and both ways out."""
    with pytest.raises(PromptError) as caught:
        completion("{{message}}", {})
    expected = (
        r"prompt p (not saved): it needs a value for {{message}}: pass 'message', or write \{{message}} in the prompt "
        "if it is meant as plain text. Its variables: message."
    )
    assert expected == str(caught.value)


@pytest.mark.parametrize("given", ["mesage", "Message", "messages"])
def test_a_misspelt_value_is_told_once(given: str) -> None:
    """A missing and an unused name that look alike are one mistake, and told as one."""
    with pytest.raises(PromptError) as caught:
        completion("{{message}}", {given: "x"})
    assert f"there is one called '{given}', which it does not use: call that 'message'" in str(caught.value)
    assert "does not use the value" not in str(caught.value)


def test_an_unused_value_is_an_error_unless_allowed() -> None:
    """A value that the prompt does not use is an error by default, and ignored with exact=False."""
    with pytest.raises(PromptError, match=r"does not use the value 'other'.*\{\{other\}\}.*exact=False"):
        completion("{{x}}", {"x": "1", "other": "2"})
    with pytest.raises(PromptError, match=r"does not use the value 'x'.*Its variables: none"):
        completion("no variables", {"x": "1"})
    assert "1" == completion("{{x}}", {"x": "1", "other": "2"}, exact=False)


def test_a_value_that_could_never_be_a_variable_is_explained() -> None:
    """A name that no variable can have says which names are possible."""
    with pytest.raises(PromptError, match="'user-name', and cannot: a variable's name is letters"):
        completion("{{user-name}} {{x}}", {"x": 1, "user-name": "2"})


def test_missing_stays_an_error_without_exact() -> None:
    """exact=False forgives extra values, never missing ones, and does not speak of the extra ones."""
    with pytest.raises(PromptError, match=r"\{\{y\}\}") as caught:
        completion("{{x}} {{y}}", {"x": "1", "unrelated": "2"}, exact=False)
    assert "unrelated" not in str(caught.value)


def test_rendering_leaves_its_arguments_alone() -> None:
    """Neither prompt nor values change, so a cell can be run again."""
    prompt, values = draft("p", "{{x}}", config={"params": {"stop": ["a"]}}), {"x": [1]}
    assert render(prompt, values) == render(prompt, values)
    assert ({"params": {"stop": ["a"]}}, {"x": [1]}) == (prompt.config, values)
