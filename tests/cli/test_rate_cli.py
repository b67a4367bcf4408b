"""`workbench rate` in real terminals: what is pressed, what is kept, what is refused."""

from __future__ import annotations

import asyncio
import codecs
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from workbench import Rule, Scripted, Workbench, scorers
from workbench.cli import main
from workbench.cli.keys import Keys
from workbench.cli.rate import _question
from workbench.evaluation.ratings.scale import scale_of
from workbench.records import Request
from workbench.running.progress import silent

QUESTION = "Is it right?"
COMMAND = [sys.executable, "-m", "workbench", "rate"]


def answer(request: Request) -> str:
    text = request.text()
    return f"wrong \x1b[31m{text[-1]}" if "Badly" in text else f"right {text[-1]}"


@pytest.fixture
def bench(project: Path) -> Workbench:
    """A project with one finished run: 4 questions, two prompts, 8 answers."""

    async def go() -> Workbench:
        async with Workbench(project, runtimes={"scripted": Scripted([Rule(answer=answer)])}) as bench:
            bench.prompts.create("tell", "Badly: {{question}}")
            bench.prompts.create("tell", "Well: {{question}}")
            data = pd.DataFrame({"question": [f"q {number}" for number in range(4)], "expected": "x"})
            plan = bench.plan(prompts=["tell@1", "tell@2"], models=["scripted/m"], dataset=data)
            await bench.compare(plan, progress=silent)
            return bench

    return asyncio.run(go())


class Screen:
    """A terminal, and the process that runs in it. shown: all that was written to it."""

    def __init__(self, project: Path, *arguments: str) -> None:
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        terminal = os.ttyname(self.slave)
        # a session leader that opens it gets it as its controlling terminal: so Ctrl-C is a signal
        command = ["sh", "-c", f'exec "$0" "$@" <{terminal} >{terminal} 2>&1', *COMMAND, *arguments]
        environment = {**os.environ, "USER": "ana", "LOGNAME": "ana", "COLUMNS": "60"}
        self.process = subprocess.Popen(command, cwd=project, env=environment, start_new_session=True)
        self.shown = ""
        self._text = codecs.getincrementaldecoder("utf-8")()  # what is read may end in the middle of a sign

    def press(self, keys: str, until: str = r"\[q\] quit") -> str:
        """Press these keys; what is shown from then on, up to a text."""
        os.write(self.master, keys.encode())
        return self.see(until)

    def see(self, until: str) -> str:
        found, ends = "", time.monotonic() + 60
        while not re.search(until, found):
            assert time.monotonic() < ends, found
            if select.select([self.master], [], [], 1)[0]:
                found += self._text.decode(os.read(self.master, 65536))
        self.shown += found
        return found

    def end(self) -> int:
        code = self.process.wait(60)
        while select.select([self.master], [], [], 0)[0]:
            self.shown += self._text.decode(os.read(self.master, 65536))
        assert self.before == termios.tcgetattr(self.slave)
        return code


@pytest.fixture
def screen(project: Path) -> Iterator[Callable[..., Any]]:
    """Opens a terminal with `workbench rate` in it."""
    made: list[Screen] = []

    @contextmanager
    def open_screen(*arguments: str) -> Iterator[Screen]:
        made.append(Screen(project, *arguments))
        made[-1].see(r"\[q\] quit")
        yield made[-1]

    yield open_screen
    for one in made:
        one.process.kill()
        one.process.wait()
        os.close(one.master)
        os.close(one.slave)


def values(bench: Workbench, rater: str = "ana") -> list[str | None]:
    return [vote.value for vote in bench.ratings.store.votes(QUESTION) if vote.rater == rater]


def test_rating_from_the_first_key_to_the_last(bench: Workbench, screen: Callable[..., Any]) -> None:
    """Blind; each vote is kept at once; an arrow, a pasted word and an unknown key are no votes; undo, skip; Ctrl-C ends with 130
    and the terminal as it was; the same command goes on; at the end everything is rated, and undo still works."""
    with screen("--question", QUESTION) as one:
        assert "8 to rate by ana, 0 of 8 rated" in one.shown
        assert "── 1 of 8 ──" in one.shown
        assert re.search(r"question\S*\r\n  q \d", one.shown)
        assert "[f] Fail  [p] Pass  [s] skip  [u] undo  [q] quit" in one.shown
        second = one.press("p")
        assert "> Pass" in second
        assert "── 2 of 8 ──" in second
        assert values(bench) == ["pass"]
        for nothing, named in (("\x1b[A", "that"), ("fff", "that"), ("x", "x")):
            one.press(nothing, f"> {named} is no key here")
        one.press("F", r"3 of 8[\s\S]*\[q\] quit")
        assert values(bench) == ["pass", "fail"]
        one.press("s", r"4 of 8[\s\S]*\[q\] quit")
        one.press("\x7f", r"> undone[\s\S]*3 of 8[\s\S]*\[q\] quit")
        assert values(bench) == ["pass", "fail"]
        one.press("s", r"4 of 8[\s\S]*\[q\] quit")
        one.press("\x03", "the same command goes on from here")
        assert one.end() == 130
        assert "2 of 8 rated, 1 skipped. Every vote is kept" in one.shown
    with screen() as two:  # the latest run, the only question
        assert "2 of 8 rated, 1 skipped" in two.shown
        for number in range(4, 9):
            assert f"── {number} of 8 ──" in two.shown
            two.press("p")
        assert "All is rated. Thank you, ana." in two.shown
        assert "only ana has rated" in two.shown
        two.press("u", r"8 of 8[\s\S]*\[q\] quit")
        two.press("f", r"All is rated[\s\S]*\[q\] quit")
        two.press("q", "from here")
        assert two.end() == 0
    assert values(bench) == ["pass", "fail", None, "pass", "pass", "pass", "pass", "fail"]
    shown = one.shown + two.shown
    assert not [word for word in ("tell@", "scripted/", "Badly", "Well", "\x1b[31m") if word in shown]
    assert "wrong ␛[31m" in shown


def test_what_was_typed_before_the_next_answer_could_be_read_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a key that is held down votes once."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    with os.fdopen(slave, "r") as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        Keys.check()
        with Keys() as keys:
            os.write(master, b"aaa")
            keys.drain()
            os.write(master, b"b")
            assert keys.next() == "b"
        assert before == termios.tcgetattr(slave)
    os.close(master)


def test_pairs_of_two_and_a_killed_process_loses_no_vote(bench: Workbench, screen: Callable[..., Any]) -> None:
    """Each vote is on disk before the next pair is shown; what the rater said in another place meanwhile stands."""
    with screen("--question", QUESTION, "--scale", "pairwise", "--variant", "tell@1", "--variant", "tell@2") as one:
        assert re.search(r"A\S*\r\n  (right|wrong)[\s\S]*B\S*\r\n  (right|wrong)", one.shown)
        one.press("a", r"2 of 4[\s\S]*\[q\] quit")
        assert values(bench) == ["a"]
        run = bench.runs.latest().run_id
        bench.ratings.session(run, rater="ana", question=QUESTION, scale="pairwise").vote("b")
        one.press("a", r"it was rated meanwhile[\s\S]*3 of 4[\s\S]*\[q\] quit")
        one.process.kill()
        assert one.process.wait() == -9
    assert values(bench) == ["a", "b"]


def test_a_runs_id_rates_what_its_comparison_would(bench: Workbench) -> None:
    """The same items in the same order, so that people may rate here and in a notebook."""

    async def go() -> Any:
        async with bench:
            data = pd.DataFrame({"question": [f"q {number}" for number in range(4)], "expected": "x"})
            plan = bench.plan(prompts=["tell@1", "tell@2"], models=["scripted/m"], dataset=data)
            return await bench.compare(plan, progress=silent)

    result = asyncio.run(go())
    for scale in ("1-5", "pairwise"):
        there, here = (
            bench.ratings.session(run, rater="ana", question=f"{scale}?", scale=scale, examples=3)._items
            for run in (result.run.folder.run_id, result)
        )
        assert there == here
        assert len(there) == (3 if scale == "pairwise" else 6)


def refused(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["rate", *arguments])
    return ended.value.code


def test_what_cannot_be_rated_is_said(
    project: Path, bench: Workbench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No terminal, no question, an unknown run, a data set that is gone."""
    done = subprocess.run(COMMAND, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert (2, "") == (done.returncode, done.stdout)
    assert "standard input is no terminal: run this in one (ssh with -t" in done.stderr
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    for arguments, message in (
        ([], "what are people to be asked? --question 'Is the answer helpful?'"),
        (["nothing/1", "--question", "?"], "run 'nothing/1' is no run"),
        (["--question", "?", "--variant", "tell@3"], "'tell@3' is none of the variants"),
    ):
        assert refused(*arguments) == 2
        assert message in capsys.readouterr().err
    for path in (project / ".workbench" / "datasets").iterdir():
        path.unlink()
    assert refused("--question", "?") == 2
    assert "the data set it was made on is gone" in capsys.readouterr().err


def test_the_question_that_a_judge_is_to_be_corrected_by_is_the_one(project: Path, bench: Workbench) -> None:
    """So nobody has to type it twice."""

    async def go() -> None:
        async with bench:
            bench.ratings.store.ask("Another?", scale_of("1-5"))
            data = pd.DataFrame({"question": ["q 1", "q 2"]})
            judge = scorers.judge("scripted/judge", rubric="Right?", people=QUESTION)
            plan = bench.plan(prompts=["tell@1", "tell@2"], models=["scripted/m"], dataset=data, primary=judge)
            await bench.compare(plan, progress=silent)

    asyncio.run(go())
    assert _question(bench, bench.runs.latest()) == QUESTION
