"""`workbench rate`."""

from __future__ import annotations

import getpass
import os
import sys
import textwrap
from collections.abc import Mapping
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from workbench.cli.keys import Keys
    from workbench.evaluation.ratings.session import Card, RatingSession
    from workbench.evaluation.runs import KeptRun
    from workbench.workbench import Workbench

__all__ = ["rate"]

_SKIP, _UNDO, _QUIT = ("s",), ("u", "\x7f", "\b"), ("q", "\x04", "")
_FEWEST_COLUMNS, _MOST_COLUMNS = 20, 100


def rate(
    run: str | None = None,
    *,
    question: str | None = None,
    rater: str | None = None,
    scale: str | None = None,
    examples: int = 100,
    variant: list[str] | None = None,
    show_expected: Annotated[bool, Parameter(name="--reference")] = False,
) -> int:
    """Rate a comparison's answers at the keyboard: blind, shuffled, one key a vote.

    Nothing tells which prompt or model gave an answer. Each vote is on disk before the next answer is shown; the same command
    goes on where you stopped. The scorer `ratings` lets these votes decide a comparison, or correct its judge.

    Parameters
    ----------
    run
        A run's id, or its beginning, from `workbench runs list`; by default the latest.
    question
        What you are asked, such as 'Is the answer helpful?'. By default the one that the run's scorers name, else the only one
        that was asked so far.
    rater
        Whose votes these are; by default your login name.
    scale
        pass/fail, grades such as 1-5, or pairwise. By default the question's own, and pass/fail for a new one.
    examples
        So many examples, drawn at random, the same for all raters; 0 is all.
    variant
        Only the answers of these variants (label or prompt reference); give it once for each. Pairs are of two.
    show_expected
        Show the expected answer too.
    """
    from workbench.cli.keys import Keys
    from workbench.workbench import Workbench

    Keys.check()
    bench = Workbench()
    kept = bench.runs.get(run) if run is not None else bench.runs.latest()
    known = bench.ratings.store.questions()
    asked = question or _question(bench, kept)
    found = scale or (known[asked].name if asked in known else "pass/fail")
    session = bench.ratings.session(
        kept.run_id, rater=rater or _login(), question=asked, scale=found, variants=variant,
        examples=examples or None, reference=show_expected,
    )  # fmt: skip
    print(f"{kept.run_id}: {session.progress.total:,} to rate by {_plain(session.rater)}, {session.progress}.")
    try:
        with Keys() as keys:
            _Desk(session, keys).work()
    finally:
        print(f"\n{session.progress}. Every vote is kept; the same command goes on from here.")
    return 0


class _Desk:
    """Shows item after item, and keeps what is pressed."""

    def __init__(self, session: RatingSession, keys: Keys) -> None:
        self._session, self._keys = session, keys
        self._bold = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def work(self) -> None:
        """Until all is rated, or the rater ends it."""
        while True:
            card = self._session.current
            print(self._drawn(card), flush=True)
            self._keys.drain()
            print(self._choices(card), flush=True)
            if not self._answered(card):
                return

    def _answered(self, card: Card | None) -> bool:
        """Wait for a key that does something; whether to go on."""
        from workbench.errors import WorkbenchError

        session = self._session
        while True:
            key = self._keys.next().lower()
            choice = next((one for one in session.scale.choices if one.key == key), None)
            try:
                if key in _QUIT:
                    return False
                if key in _UNDO:
                    done = session.progress
                    session.undo()
                    print("> undone" if session.progress != done else "> there is nothing to undo")
                elif card is not None and (choice is not None or key in _SKIP) and session.current != card:
                    print("> it was rated meanwhile, in another place")
                elif card is not None and choice is not None:
                    session.vote(choice.value, card=card.card_id)
                    print(f"> {choice.label}")
                elif card is not None and key in _SKIP:
                    session.skip(card=card.card_id)
                    print("> skipped")
                else:
                    print(f"> {_plain(key) if len(key) == 1 else 'that'} is no key here", flush=True)
                    continue
            except WorkbenchError as error:
                print(f"error: {error}", file=sys.stderr)
            return True

    def _drawn(self, card: Card | None) -> str:
        """What is to be rated, or that nothing is left."""
        session, progress = self._session, self._session.progress
        if card is None:
            if not progress.total:
                return "There is nothing to rate: no example was answered by all of the variants."
            return f"\nAll is rated. Thank you, {_plain(session.rater)}.\n{_plain(str(session.agreement()))}"
        width = max(_FEWEST_COLUMNS, min(get_terminal_size().columns, _MOST_COLUMNS))
        head = f"── {progress.rated + progress.skipped + 1:,} of {progress.total:,} "
        names = ("A", "B") if len(card.answers) > 1 else ("answer",)
        parts = [*card.inputs]
        parts += [(name, text) for name, text in (("context", card.context), ("expected", card.expected)) if text]
        parts += zip(names, card.answers, strict=True)
        body = (f"{self._strong(_plain(name))}\n{_indented(text, width)}" for name, text in parts)
        return "\n".join(["", head + "─" * max(0, width - len(head)), *body, ""])

    def _choices(self, card: Card | None) -> str:
        """The question, and the keys that do something now."""
        end = ["[u] undo", "[q] quit"]
        if card is None:
            return "  ".join(end if self._session.progress.total else end[1:])
        said = (one.label if one.label != one.key else "" for one in self._session.scale.choices)
        keys = [f"[{one.key}] {label}".rstrip() for one, label in zip(self._session.scale.choices, said, strict=True)]
        return f"{self._strong(_plain(self._session.question))}  {'  '.join([*keys, '[s] skip', *end])}"

    def _strong(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self._bold else text


def _plain(text: str) -> str:
    """What a model or a file holds must not act on the terminal."""
    from workbench.tables import clean_text

    return clean_text(text)


def _indented(text: str, width: int) -> str:
    lines = _plain(text).splitlines() or ["(empty)"]
    return "\n".join(textwrap.fill(line, width, initial_indent="  ", subsequent_indent="  ") for line in lines)


def _question(bench: Workbench, run: KeptRun) -> str:
    """What the run's scorers want people to be asked, else the one question that is known."""
    from workbench.errors import InputError

    named = list(dict.fromkeys(text for spec in run.plan["scorers"] if (text := _people(spec))))
    known = named or list(bench.ratings.store.questions())
    if len(known) == 1:
        return known[0]
    there = f" There are: {'; '.join(known)}." if known else ""
    raise InputError(f"what are people to be asked? --question 'Is the answer helpful?'.{there}")


def _people(spec: Mapping[str, object]) -> str:
    """The question that a scorer takes its ratings from, empty if it takes none."""
    return str(spec.get("people") or (spec.get("question") if spec.get("name") == "ratings" else "") or "")


def _login() -> str:
    from workbench.errors import InputError

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in some containers
        raise InputError("your login has no name here: say whose votes these are with --rater NAME.") from None
