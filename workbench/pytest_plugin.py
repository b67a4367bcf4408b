"""A fixture `compare` for tests of prompts; pytest finds it by itself where the package is installed.

    def test_triage(compare):
        compare(prompts=["triage@1", "triage@2"], data="tickets", scorer="exact_match", gate=["exact_match: non-inferior 0.02"])

The test fails with the verdict, the gates and the table. Nothing but pytest is imported before a test uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from workbench.evaluation.comparison import Comparison
    from workbench.workbench import Workbench

__all__ = ["CompareFixture", "compare", "pytest_addoption", "pytest_terminal_summary"]

_UNDECIDED = ("fail", "skip", "xfail")
_PROPERTY = "workbench"


def pytest_addoption(parser: pytest.Parser) -> None:
    """What a command line or an ini file may say."""
    group = parser.getgroup("workbench", "comparisons of prompts (the fixture compare)")
    group.addoption(
        "--workbench-undecided",
        choices=_UNDECIDED,
        help="what becomes of a test whose gates are undecided (by default the ini's workbench_undecided, else fail)",
    )
    group.addoption(
        "--workbench-plan", action="store_true", help="show each comparison's plan, ask no model, and skip the test"
    )
    group.addoption("--workbench-fresh", action="store_true", help="measure anew in place of reusing earlier answers")
    parser.addini(
        "workbench_undecided", "a test whose gates are undecided: fail (default), skip or xfail", default="fail"
    )
    parser.addini(
        "workbench_budget", "dollars that each comparison may spend at most, where the test does not say", default=""
    )


class CompareFixture:
    """What the fixture `compare` gives: call it to run a comparison and hold it to its gates."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._config = request.config

    def __call__(
        self,
        *,
        prompts: Sequence[Any],
        data: Any,
        model: str | Sequence[str] | None = None,
        scorer: Any = "exact_match",
        gate: str | Sequence[str] | None = None,
        undecided: Literal["fail", "skip", "xfail"] | None = None,
        fresh: bool | None = None,
        bench: Workbench | None = None,
        **options: Any,
    ) -> Comparison:
        """Run the comparison and return it if all gates pass; else the test fails with what they say.

        prompts: the first is the control. scorer: one, or a list whose first decides. gate: one or several, as in docs/gates.md;
        by default no variant may be worse than the control by more than the margin. undecided: fail, skip or xfail. bench: a
        workbench of your own, in place of the project's above the test's file. options: as of `Workbench.plan` (margin …).
        Rows of earlier runs are reused unless `fresh`.
        """
        __tracebackhide__ = True
        from workbench.errors import InputError

        said = self._config.getoption("--workbench-undecided") or self._config.getini("workbench_undecided")
        ways = str(undecided or said)
        if ways not in _UNDECIDED:
            raise InputError(f"undecided = {ways!r} must be one of {', '.join(_UNDECIDED)}.")
        planned: dict[str, Any] = {"prompts": prompts, "dataset": data, "budget": self._budget(), **options}
        if model is not None:
            planned["models"] = [model] if isinstance(model, str) else list(model)
        scorers = list(scorer) if isinstance(scorer, (list, tuple)) else [scorer]
        planned["primary"], planned["scorers"] = scorers[0], [*scorers[1:], *options.get("scorers", ())]
        gates = [gate] if isinstance(gate, str) else gate
        renew = self._config.getoption("--workbench-fresh") if fresh is None else fresh
        result = self._run(_compared(bench, self._project(), planned, gates, bool(renew), self._plan_only))
        if isinstance(result, str):
            pytest.skip(f"--workbench-plan: nothing was asked\n{result}")
        if result.run.stopped == "interrupted":
            raise KeyboardInterrupt
        report = result.gate(gates or _no_worse(result.run.plan))
        told = f"{report}\n\n{result}"
        self._request.node.user_properties.append((_PROPERTY, f"{report.sentence} {result.verdict.sentence}"))
        if report.state == "failed" or (report.state == "undecided" and ways == "fail"):
            pytest.fail(f"{result.verdict.sentence}\n\n{told}", pytrace=False)
        self._request.node.add_report_section("call", "comparison", told)  # for what the test itself asserts
        if report.state == "undecided":
            (pytest.skip if ways == "skip" else pytest.xfail)(f"{report.sentence} {result.verdict.sentence}")
        return result

    def _plan_only(self) -> bool:
        return bool(self._config.getoption("--workbench-plan"))

    def _budget(self) -> float | None:
        from workbench.errors import InputError

        text = str(self._config.getini("workbench_budget")).strip()
        try:
            return float(text) if text else None
        except ValueError:
            raise InputError(f"workbench_budget = {text} must be a number of dollars.") from None

    def _project(self) -> Path:
        """The folder with a workbench.toml that is nearest above the test's file, else pytest's root."""
        root = self._config.rootpath
        for folder in self._request.path.parents:
            if (folder / "workbench.toml").is_file():
                return folder
            if folder == root:
                break
        return root

    @staticmethod
    def _run(work: Coroutine[Any, Any, Comparison | str]) -> Comparison | str:
        """To its end, also where the test itself runs in an event loop."""
        __tracebackhide__ = True
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        if asyncio._get_running_loop() is None:
            return asyncio.run(work)
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, work).result()


async def _compared(
    bench: Workbench | None,
    project: Path,
    planned: dict[str, Any],
    gates: Sequence[str] | None,
    fresh: bool,
    plan_only: Callable[[], bool],
) -> Comparison | str:
    """The comparison, or its plan as text."""
    from contextlib import AsyncExitStack

    from workbench.evaluation.gates import read_gates
    from workbench.evaluation.gates.measuring import impossible
    from workbench.running.progress import silent
    from workbench.workbench import Workbench

    __tracebackhide__ = True
    async with AsyncExitStack() as stack:
        held: Workbench = bench if bench is not None else await stack.enter_async_context(Workbench(project))
        plan = held.plan(**planned)
        readable = read_gates(_no_worse(plan) if gates is None else gates, plan)  # before any call is made
        if plan_only():
            return "\n".join([str(plan), *(f"  warning     {said}" for said in impossible(readable, plan))])
        return await held.compare(plan, fresh=fresh, progress=silent)


def _no_worse(plan: Any) -> list[str]:
    return [f"{plan.primary.name}: non-inferior {plan.margin:.12g}"]


@pytest.fixture
def compare(request: pytest.FixtureRequest) -> CompareFixture:
    """Compare prompt versions and hold them to gates: `compare(prompts=[…], data=…, scorer=…, gate=[…])`; see CompareFixture."""
    return CompareFixture(request)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line a comparison: how its gates ended, and the verdict."""
    lines = [
        f"{report.nodeid}: {value}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == _PROPERTY
    ]
    if lines:
        terminalreporter.section("comparisons")
        for line in lines:
            terminalreporter.write_line(line)
