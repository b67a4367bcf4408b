"""What a rater may say: pass or fail, a grade, or which of two answers is better. Each choice has a key and a score from 0 to
1."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from workbench.errors import InputError

__all__ = ["PAIRWISE", "Choice", "Scale", "scale_of"]

PAIRWISE = "pairwise"
_MOST_GRADES = 9  # one key each


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to say. value: what is kept. key: what is pressed. score: from 0 to 1; of a pair, the first answer's."""

    value: str
    label: str
    key: str
    score: float


@dataclass(frozen=True, slots=True)
class Scale:
    """The choices of a question, worst first (of a pair: A, tie, B)."""

    name: str
    choices: tuple[Choice, ...]

    @property
    def pairwise(self) -> bool:
        """Whether two answers are held against each other."""
        return self.name == PAIRWISE

    @property
    def measure(self) -> Literal["nominal", "interval"]:
        """Whether choices are labels, or numbers that may be near each other."""
        return "nominal" if self.name in (PAIRWISE, "pass/fail") else "interval"

    def choice(self, value: object) -> Choice:
        """The choice with this value, label or key, whatever its case. InputError names the choices."""
        said = str(value).strip().lower()
        said = {"true": "pass", "false": "fail", "=": "tie"}.get(said, said)
        for choice in self.choices:
            if said in (choice.value, choice.label.lower(), choice.key):
                return choice
        known = ", ".join(choice.value for choice in self.choices)
        raise InputError(f"a vote of {value!r} is not on the scale {self.name}: it has {known}.")


def scale_of(scale: str | Scale) -> Scale:
    """The scale that is meant: "pass/fail", "pairwise" (A, B or tie), or whole grades from the worst to the best, such as
    "1-5"."""
    if isinstance(scale, Scale):
        return scale
    text = str(scale).strip().lower()
    if text in ("pass/fail", "pass-fail", "passfail"):
        return Scale("pass/fail", (Choice("fail", "Fail", "f", 0.0), Choice("pass", "Pass", "p", 1.0)))
    if text in (PAIRWISE, "a/b", "a/b/tie"):
        choices = (
            Choice("a", "A is better", "a", 1.0),
            Choice("tie", "Tie", "t", 0.5),
            Choice("b", "B is better", "b", 0.0),
        )
        return Scale(PAIRWISE, choices)
    grades = re.fullmatch(r"(\d)\s*(?:-|–|\.\.|to)\s*(\d)", text)
    if grades is None or not int(grades[1]) < int(grades[2]) <= _MOST_GRADES:
        raise InputError(
            f'scale = {scale!r} is none: use "pass/fail", "pairwise" (A, B or tie), or whole grades of one digit each, '
            f"worst first, "
            'such as "1-5".'
        )
    low, high = int(grades[1]), int(grades[2])
    made = (Choice(str(grade), str(grade), str(grade), (grade - low) / (high - low)) for grade in range(low, high + 1))
    return Scale(f"{low}-{high}", tuple(made))
