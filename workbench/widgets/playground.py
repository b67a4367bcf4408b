"""A playground in a notebook's cell."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.playground import Playground
from workbench.playground.sampling import FIELDS, read_params
from workbench.tables import clean_text, format_count
from workbench.widgets.playground_state import row_of, state_of, still_playground, when
from workbench.widgets.playground_stream import Stream
from workbench.widgets.view import Still, View, asset
from workbench.widgets.worker import Worker

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from workbench.evaluation.datasets import Dataset
    from workbench.playground.playground import Parts

__all__ = ["PlaygroundView", "open_playground", "still_playground"]

_TICK = 0.04  # seconds between two messages of a stream
_NO_QUESTION: dict[str, Any] = {}


def open_playground(
    parts: Parts,
    prompt: str | None = None,
    *,
    models: Sequence[str] = (),
    versions: Sequence[int] = (),
    dataset: str | Path | pd.DataFrame | Dataset | None = None,
) -> PlaygroundView:
    """A form for a prompt's text, values and params; run, and the answers of all columns stream side by side.

    prompt: NAME, NAME@2 or NAME@label; by default the first one. models: of the columns, by default the settings' one; versions:
    such as [1, 2], each on each model, by default the text in the form; at most four columns. dataset: where examples are picked
    from, as in `bench.plan`. Its `play` is the form: `await view.play.run()` runs it without a browser.
    """
    return PlaygroundView(Playground(parts, prompt, models=models, versions=versions, dataset=dataset))


class PlaygroundView(View):
    """Draws a Playground. What is around the fields is `state`; the fields' texts and the answers go as messages: `form` and
    `whole` once, then `more` with what came since, numbered so that a browser that missed one asks for `whole`."""

    _esm = asset("playground.js")
    _css = asset("playground.css")

    def __init__(self, play: Playground) -> None:
        super().__init__(play.base.name)
        self.play = play
        self._stream = Stream(play, self.send)
        self._worker = Worker("playground", self._failed)
        self._models: list[str] = []
        self._history = [row_of(run) for run in play.history.latest()]
        self._note, self._ask = "", _NO_QUESTION
        self._running, self._showing = False, threading.Lock()
        self._datasets, self._drafts = play.set_names()
        self._learning: asyncio.Future[None] | None = None
        self._show()

    def still(self) -> Still:
        """See `still_playground`."""
        return still_playground(self.play)

    # -- what the browser asks for ------------------------------------------------------------------------------------

    def _heard(self, widget: object, content: Any, buffers: object) -> None:
        """In turn, in a thread: prompts and data sets may be far away. A stop waits for nothing."""
        if isinstance(content, Mapping) and content.get("do") == "stop":
            self.stop()
        else:
            self._worker.do(lambda: self._handle(widget, content, buffers))

    def _handle(self, widget: object, content: Any, buffers: object) -> None:
        super()._heard(widget, content, buffers)
        self._show()

    def end(self) -> None:
        """Stop the run, and hear no more."""
        super().end()
        self._worker.end()

    def hear_form(self, content: Mapping[str, Any]) -> None:
        """A page that is new."""
        self._send_form()
        if self._learning is None:
            self.soon(self._learn_soon)

    def hear_whole(self, content: Mapping[str, Any]) -> None:
        """A page that is new, or that missed something of the answers."""
        self._stream.whole()

    def hear_open(self, content: Mapping[str, Any]) -> None:
        """{"ref": "triage@2", "sure": whether edits may go}"""
        if self._unsure(content):
            return
        self.play.open(str(content.get("ref", "")))
        self._said("")
        self._send_form()

    def hear_edit(self, content: Mapping[str, Any]) -> None:
        """{"at": which text, "text": …}"""
        self.play.edit(_number(content, "at"), str(content.get("text", "")))

    def hear_messages(self, content: Mapping[str, Any]) -> None:
        """{"kind": …, "messages": [{"role": …, "content": …}, …]}: all of them as they are now; the one text of another kind."""
        kind, given = content.get("kind"), content.get("messages")
        turns = given if isinstance(given, list) and all(isinstance(item, Mapping) for item in given) else []
        try:
            self.play.rewrite(turns if kind == "chat" else str(turns[0].get("content", "")) if turns else "", kind=kind)
        except InputError:
            self._send_form()  # the page shows what it is not
            raise

    def hear_go_on(self, content: Mapping[str, Any]) -> None:
        """{"at": column}: its answer becomes a message, and the next is the user's."""
        self.play.go_on(_number(content, "at"))
        self._send_form()

    def hear_input(self, content: Mapping[str, Any]) -> None:
        """{"name": variable, "text": …}"""
        self.play.inputs[str(content.get("name", ""))] = str(content.get("text", ""))

    def hear_params(self, content: Mapping[str, Any]) -> None:
        """{"values": {name: text}, "fresh": …}"""
        given = content.get("values")
        values = {name: str(given.get(name, "")) for name in FIELDS} if isinstance(given, Mapping) else {}
        with contextlib.suppress(InputError):  # it is told beside the fields, in the state
            self.play.set_params(
                {name: text for name, text in values.items() if text.strip()}, fresh=content.get("fresh") is True
            )

    def hear_column(self, content: Mapping[str, Any]) -> None:
        """{"at": column, "model": …, "version": number or null, "params": JSON as a text}"""
        version = content.get("version")
        at, model, params = _number(content, "at"), str(content.get("model", "")), str(content.get("params", ""))
        self.play.change_column(at, model, version if isinstance(version, int) else None, params)

    def hear_add(self, content: Mapping[str, Any]) -> None:
        """One more column."""
        self.play.add_column()

    def hear_remove(self, content: Mapping[str, Any]) -> None:
        """{"at": column}"""
        if self.working:
            raise InputError("stop the run before you remove a column.")
        self.play.remove_column(_number(content, "at"))
        self._stream.whole()

    def hear_dataset(self, content: Mapping[str, Any]) -> None:
        """{"name": of a data set, "" for none}"""
        self.play.take_from(str(content.get("name", "")))

    def hear_pick(self, content: Mapping[str, Any]) -> None:
        """{"at": example, from 0}"""
        self.play.pick(_number(content, "at"))
        self._send_form()

    def hear_run(self, content: Mapping[str, Any]) -> None:
        """Ask all columns."""
        self._said("")
        asked = self.play.prepare()
        self._stream.whole()
        self.start(lambda: self._run(asked))

    def hear_step(self, content: Mapping[str, Any]) -> None:
        """{"by": 1 for the next example, -1 for the one before}; past either end nothing changes."""
        now, by = self.play.example, content.get("by")
        at = (-1 if now is None else now.at) + (1 if by == 1 else -1)
        if self.play.dataset is not None and 0 <= at < len(self.play.dataset):
            self.play.pick(at)
            self._send_form()

    def hear_save(self, content: Mapping[str, Any]) -> None:
        """{"message": what changed, "params": whether the form's become its own, "sure": also after somebody's newer one}"""
        newer = self.play.newer()
        if newer is not None and content.get("sure") is not True:
            by = f" by {newer.author}" if newer.author else ""
            self._ask = {
                "question": clean_text(
                    f"{newer.ref} was saved{by} since you opened {self.play.base.ref} ({newer.message or 'without a message'}). "
                    "Save yours as a version after it? It will not hold their change."
                ),
                "again": {**content, "sure": True},
            }
            return
        known = {prompt.version for prompt in self.play.versions}
        made = self.play.save(
            str(content.get("message", "")),
            params=read_params(self.play.params) if content.get("params") is True else None,
        )
        if made.version in known:
            self._said(f"No new version: {made.ref} says just this.")
        else:
            self._said(f"Saved as {made.ref}{_by(made.author)}.")

    def hear_keep(self, content: Mapping[str, Any]) -> None:
        """{"at": column, "name": of the data set, "expected": what is right}"""
        expected = content.get("expected")
        name = str(content.get("name", "")).strip()
        draft = self.play.keep(_number(content, "at"), name, expected if isinstance(expected, str) else None)
        self._datasets, self._drafts = self.play.set_names()
        self._said(
            f"Kept: the draft {draft.name!r} has {format_count(len(draft.rows()), 'example')}. "
            f"bench.datasets.draft({draft.name!r}).publish() makes a data set of it."
        )

    def hear_back(self, content: Mapping[str, Any]) -> None:
        """{"id": of a run, "sure": whether edits may go}"""
        if self._unsure(content):
            return
        if self.working:
            raise InputError("stop the run before you bring another one back.")
        run = self.play.bring_back(str(content.get("id", "")))
        self._said(f"This is the run of {when(run)}." + ("" if run.kept else " Its texts were not kept (calls_text)."))
        self._send_form()
        self._stream.whole()

    def hear_no(self, content: Mapping[str, Any]) -> None:
        """The answer to a question was no."""
        self._ask = _NO_QUESTION

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _run(self, asked: Callable[[], Any]) -> None:
        ticking = asyncio.create_task(self._tick())
        self._running = True
        self._show()
        try:
            await asked()
        finally:
            ticking.cancel()
            self._stream.more()
            self._history = [row_of(run) for run in self.play.history.latest()]
            self._running = False
            self._show()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            self._stream.more()

    def _learn_soon(self) -> None:
        self._learning = asyncio.ensure_future(self._learn())

    async def _learn(self) -> None:
        """Which models there are, beside all else."""
        self._models = await self.play.models()
        self._show()

    def _unsure(self, content: Mapping[str, Any]) -> bool:
        """Whether it must be asked first if edits may go."""
        sure = content.get("sure") is True or not self.play.edited
        self._ask = _NO_QUESTION if sure else {
            "question": "Your changes of the text are not saved. Drop them?", "again": {**content, "sure": True}
        }  # fmt: skip
        return not sure

    def _said(self, note: str) -> None:
        self._note, self._ask = clean_text(note), _NO_QUESTION

    def _send_form(self) -> None:
        play = self.play
        roles = [clean_text(role) for role in play.roles]
        texts = [{"role": role, "text": text} for role, text in zip(roles, play.texts, strict=True)]
        self.send({
            "do": "form", "kind": play.kind, "texts": texts, "inputs": play.inputs, "params": play.params, "fresh": play.fresh,
        })  # fmt: skip

    def _show(self) -> None:
        with self._showing:
            self._draw()

    def _draw(self) -> None:
        self.state = state_of(self.play) | {
            "running": self._running, "note": self._note, "ask": self._ask, "models": [clean_text(name) for name in self._models],
            "datasets": self._datasets, "drafts": self._drafts, "history": self._history,
        }  # fmt: skip


def _by(author: str) -> str:
    return f" by {author}" if author else ""


def _number(content: Mapping[str, Any], name: str) -> int:
    value = content.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else -1
