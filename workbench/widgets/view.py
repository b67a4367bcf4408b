"""What all views share: texts to the browser, messages back, work in the kernel's loop, and a still form."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Protocol

import anywidget
import traitlets

from workbench.errors import WorkbenchError
from workbench.running.interrupt import on_interrupt
from workbench.tables import clean_text, html_text

__all__ = ["Still", "View", "asset", "in_place_of_older", "is_static", "one_line", "paragraphs"]

_HERE = Path(__file__).parent


class Still:
    """HTML and text, as a notebook's cell shows them where no widget can live."""

    def __init__(self, html: str, text: str) -> None:
        self._html, self._text = html, text

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return self._text


def is_static() -> bool:
    """Whether only still forms are to be shown (WORKBENCH_STATIC=1, as in report runs): a kernel cannot know its front end."""
    return bool(os.environ.get("WORKBENCH_STATIC"))


def asset(name: str) -> str:
    """A view's JavaScript or CSS behind what all views share, `view.js` and `view.css`, and behind its own parts: those of
    NAME.js are NAME_*.js. No build step."""
    stem, ending = Path(name).stem, Path(name).suffix
    parts = [_HERE / f"view{ending}", *sorted(_HERE.glob(f"{stem}_*{ending}")), _HERE / name]
    return "\n".join(part.read_text("utf-8") for part in parts)


def one_line(problem: BaseException) -> str:
    """What to show of an error in a view: ours as they are, others with their class."""
    text = str(problem) if isinstance(problem, WorkbenchError) else f"{type(problem).__name__}: {problem}"
    return clean_text(text)


class View(anywidget.AnyWidget):
    """A widget over something of ours. Subclasses set `_esm = asset("NAME.js")` and `_css = asset("NAME.css")`, and give `still`.

    What the browser sends ({"do": NAME, …}) goes to the method `hear_NAME(content)`; what that raises is shown as `error`.
    JupyterLab sends such messages to a thread beside the kernel's (a subshell), so that views answer while a cell runs:
    handlers must be short and must not touch the loop but through `start` and `soon`.
    """

    state = traitlets.Dict().tag(sync=True)
    error = traitlets.Unicode().tag(sync=True)

    def __init__(self, key: str, **traits: Any) -> None:
        """key: what is shown. A cell that is run again ends the view it made before, and what that view was doing."""
        super().__init__(**traits)
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        self._work: asyncio.Task[None] | None = None
        if hasattr(self.comm, "_reply_subshell_for"):
            # ipykernel 7.4 sends what answers a message of ours back to the shell we sent it from: the main one, behind the cell
            # that runs; the browser names the subshell that it wants
            self.comm._reply_subshell_for = lambda data, named: named
        self.on_msg(self._heard)
        in_place_of_older(self, key)

    def still(self) -> Still:
        """What is shown where no widget can live."""
        raise NotImplementedError

    def end(self) -> None:
        """Stop what the view does. What it shows stays."""
        self.stop()

    # -- messages -------------------------------------------------------------------------------------------------

    def _heard(self, _: object, content: Any, buffers: object) -> None:
        if not isinstance(content, Mapping) or not isinstance(content.get("do"), str):
            return
        handler: Callable[[Mapping[str, Any]], None] | None = getattr(self, f"hear_{content['do']}", None)
        if handler is None:
            return
        try:
            with self._lock:
                self.error = ""
                handler(content)
        except Exception as problem:  # noqa: BLE001  the browser is told; a traceback in the kernel's log is seen by nobody
            self._failed(problem)

    def _failed(self, problem: BaseException) -> None:
        """Show it; also what a view's `Worker` is given to call."""
        self.error = one_line(problem)

    # -- work in the kernel's loop ---------------------------------------------------------------------------------

    @property
    def working(self) -> bool:
        """Whether work that `start` began still goes on."""
        return self._work is not None and not self._work.done()

    def start(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run one piece of work in the kernel's loop, instead of what ran before; cells go on. An interrupt stops it."""
        self.soon(lambda: self._begin(job))

    def stop(self) -> None:
        """Cancel the work, if there is any."""
        work = self._work
        if work is not None and not work.done():
            self.soon(work.cancel)

    def soon(self, call: Callable[[], object]) -> None:
        """Call in the kernel's loop, from any thread."""
        if self._loop is None:
            raise WorkbenchError("this view was made outside of a running event loop: make it in a notebook's cell.")
        self._loop.call_soon_threadsafe(call)

    def _begin(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        before = self._work
        if before is not None:
            before.cancel()
        self._work = asyncio.get_running_loop().create_task(self._watched(job, before))

    async def _watched(self, job: Callable[[], Coroutine[Any, Any, None]], before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        loop, mine = asyncio.get_running_loop(), asyncio.current_task()
        with on_interrupt(lambda: loop.call_soon_threadsafe(mine.cancel) if mine else None):
            try:
                await job()
            except asyncio.CancelledError:
                raise
            except Exception as problem:  # noqa: BLE001  as in `_heard`
                self._failed(problem)

    # -- what a cell shows -----------------------------------------------------------------------------------------

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The widget and, for readers that draw none (GitHub, nbconvert, a printed page), its still form, in one bundle."""
        still = self.still()
        texts = {"text/html": still._repr_html_(), "text/plain": repr(still)}
        if is_static():
            return texts, {}
        found = super()._repr_mimebundle_(**kwargs)
        if found is None:
            return None
        data, metadata = found if isinstance(found, tuple) else (found, {})
        return data | texts, metadata


class _Ends(Protocol):
    """A view, as far as it is ended."""

    def end(self) -> None:
        """Stop what the view does."""


_living: dict[tuple[str, str], tuple[str, list[_Ends]]] = {}  # by kind and cell: its last run, and what that made


def in_place_of_older(view: _Ends, key: str) -> None:
    """End the views of this kind that an earlier run of the same cell made. key: what is shown, for where there are no cells."""
    cell, run = _cell()
    place = (type(view).__name__, cell or key)
    before, others = _living.get(place, ("", []))
    if not run or run != before:
        for other in others:
            other.end()
        others = []
    _living[place] = (run, [*others, view])


def _cell() -> tuple[str, str]:
    """The id of the notebook's cell that runs, and of this run; "" where there is none."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    with contextlib.suppress(Exception):  # not a kernel, or one that keeps no such thing
        parent = shell.get_parent()
        return str(parent["metadata"].get("cellId") or ""), str(parent["header"].get("msg_id") or "")
    return "", ""


def paragraphs(title: str, lines: list[str]) -> Still:
    """A still form of a title and a few sentences."""
    body = "".join(f"<p>{html_text(line)}</p>" for line in lines)
    return Still(f"<div><strong>{html_text(title)}</strong>{body}</div>", "\n".join(map(clean_text, lines)))
