"""One of a thing is not several, no figure is a negative zero, and a level is never rounded to another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from workbench.evaluation.gates import read_gates
from workbench.evaluation.gates.measuring import impossible
from workbench.evaluation.judging.asking import JudgeUse
from workbench.evaluation.judging.reports import by_whom, judge_notes
from workbench.evaluation.scorers import judge
from workbench.evaluation.statistics import paired_interval
from workbench.tables import NOTHING, format_signed

Compared = Callable[..., tuple[Any, Any, Any]]


def judged_once() -> object:
    """A judge that was asked a single time."""
    use = JudgeUse("scripted/judge", "judge-rubric@0", "d", judgements=1, reused=1, calls=1, repaired=1, failed=1)

    class Asked:
        def __init__(self) -> None:
            self.use = use

        async def __call__(self, text: str) -> None:
            return None

    return replace(judge("scripted/judge", rubric="?", people="?"), function=Asked())


def test_a_judge_that_was_asked_once() -> None:
    """Every count in its notes is in the singular, and what it says of no difference is 0.00."""
    scorer = judged_once()
    (note,) = judge_notes([scorer])
    assert "1 call (0 from the cache)" in note
    assert "1 judgement kept from earlier runs; 1 answer repaired; 1 call failed." in note
    found = paired_interval([0.0, 1.0], [0.0, 1.0])
    assert "both answers to 1 example, and a correction" in by_whom(scorer, [replace(found, labels=1)])
    assert "(the judge alone says 0.00)" in by_whom(scorer, [replace(found, labels=60, judged=-0.001)])


SIGNED = [(0.0, "0.00"), (-0.001, "0.00"), (0.004, "0.00"), (0.05, "+0.05"), (-2, "-2.00"), (None, NOTHING)]


@pytest.mark.parametrize(("value", "text"), SIGNED)
def test_a_difference_has_its_sign(value: float | None, text: str) -> None:
    """What rounds to nothing has none."""
    assert format_signed(value) == text


def rows(count: int) -> list[dict[str, object]]:
    """All but the first want a yes; that one has no expected answer."""
    return [{"expected": "yes" if at else None} for at in range(count)]


def test_levels_are_not_rounded(compared: Compared) -> None:
    """99.5% is not 100%, in plan, notes, provenance and slices."""
    result, plan, _ = compared("yes", rows(12), level=0.995, repeats=2)
    shown = "\n".join([str(plan), str(result), result.provenance().to_string()])
    assert "99.5% intervals" in shown
    assert "itself differs by up to 0 on exact_match (99.5%)" in shown
    assert "(100%)" not in shown
    assert "100%;" not in shown
    assert "1 example has no expected answer: exact_match leaves it unscored" in shown


def test_gates_that_so_few_examples_cannot_pass(compared: Compared) -> None:
    """73 answers without an error keep their rate below 5%, and 73 right ones their score above 0.95; 72 do neither."""
    bounds = ["error_rate < 0.05", "error_rate <= 0.05", "exact_match >= 0.95", "exact_match > 0.95", "exact_match < 1"]
    for examples, refused in ((72, 4), (73, 0)):
        result, plan, _ = compared("yes", rows(examples))
        said = impossible(read_gates(bounds, plan), plan)
        assert [f"cannot pass with {examples} examples: it needs 73" in line for line in said] == [True] * refused
        passed = [check.state == "passed" for check in result.gate(bounds[:2]).checks]
        assert passed == [not refused] * 2


def test_an_end_that_decides_is_not_shown_as_nothing(compared: Compared) -> None:
    """400 scores that rise by about 0.003: the slice is better, and its printed interval leaves 0 out too."""

    def close(text: str, example: object) -> float:
        at = int(text.rsplit(" ", 1)[1])
        return 0.5 + at / 1000 + (0.003 + 0.001 * (at % 3) if text.startswith("Long") else 0.0)

    parts = [{"metadata": {"part": "all"}}] * 400
    result, *_ = compared(lambda request: request.text(), parts, primary=close, margin=0.001)
    text = result.slice_text("part")
    line = next(line for line in text.splitlines() if "tell@2" in line)
    assert "[+0.0039" in line
    assert line.endswith("better")
