"""Answers side by side in a notebook's cell, of a comparison that is over, or of a plan that is started here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
import traitlets

from workbench import tables
from workbench.errors import InputError
from workbench.evaluation.behind import rows
from workbench.evaluation.browsing import ExamplePages, Query, metric_names
from workbench.evaluation.browsing.answers_page import MOST
from workbench.evaluation.comparison import Comparison
from workbench.evaluation.plan import Plan
from workbench.evaluation.run import Run, Watch
from workbench.running.progress import Progress, Reporter
from workbench.widgets.comparison_export import KINDS, free_name, write_rows
from workbench.widgets.comparison_head import cost, facts, facts_so_far, offer, total
from workbench.widgets.comparison_look import Look, render_example, render_page
from workbench.widgets.comparison_marks import Marking
from workbench.widgets.comparison_still import still_comparison, still_plan
from workbench.widgets.view import Still, View, asset
from workbench.widgets.worker import Worker

__all__ = ["Compare", "ComparisonView"]

_EVERY = 0.4  # seconds between two signs of a run that goes on


class Compare(Protocol):
    """`Workbench.compare`."""

    def __call__(self, plan: Plan, *, progress: Reporter, watch: Watch) -> Awaitable[Comparison]:
        """Run the plan."""


class ComparisonView(View):
    """Draws examples as rows and variants as columns. The browser asks for one page at a time, by message, and what it is
    sent is kept nowhere: the widget's state holds the verdict, the columns' heads, and what was last asked for.

    Of a plan it shows what it would do, with a button that starts it: rows, progress and money come in as answers do. `result` is
    the Comparison then. Stop, a kernel's interrupt, and running the cell again end the run with what is there.
    """

    _esm = asset("comparison.js")
    _css = asset("comparison.css")

    asked = traitlets.Dict().tag(sync=True)

    _running: ClassVar[dict[str, asyncio.Task[Any]]] = {}

    def __init__(self, thing: Comparison | Plan, compare: Compare | None = None, trace_address: str = "") -> None:
        """compare: runs a plan. trace_address: of Langfuse, "" for none."""
        self._plan = thing.run.plan if isinstance(thing, Comparison) else thing
        self._result = thing if isinstance(thing, Comparison) else None
        self._pages = thing.pages if isinstance(thing, Comparison) else None
        self._compare = compare
        self._trace = trace_address.rstrip("/")
        self._progress: Progress | None = None
        self._began = self._told = 0.0
        self._outcome = ""
        self._halting = False
        self._worker = Worker("comparison-view", self._failed)
        self._sending = _Sending(self.send, {}, self._plan)
        self._saver = Worker("comparison-export", self._failed)
        self._marking = Marking(lambda told: self.send(told), self._failed)
        super().__init__(self._plan.digest, state=self._state())

    @property
    def result(self) -> Comparison:
        """What was compared; of a run that was stopped, what is there. InputError before it has ended."""
        if self._result is None:
            when = "wait for its end" if self.working else "press Start"
            raise InputError(f"this comparison has no result yet: {when}, then ask again.")
        return self._result

    def rows(self) -> pd.DataFrame:
        """What the filters leave now, in the view's order: a row for each variant, example and repeat (`Comparison.rows`), with
        columns mark, star and comment."""
        if self._pages is None:
            return self.result.rows()
        return _rows(self._pages, Query.from_mapping(self.asked))

    def to_csv(self, path: Path | str | None = None) -> Path:
        """Write `rows()` with inputs and expected answers; see `comparison_export.write_rows`."""
        return write_rows(self.rows(), self._plan, "csv", path)

    def to_jsonl(self, path: Path | str | None = None) -> Path:
        """The same as JSON lines, where every text is exactly as it was answered."""
        return write_rows(self.rows(), self._plan, "jsonl", path)

    def to_html(self, path: Path | str | None = None, *, most: int = MOST) -> Path:
        """What the filters leave now as one page to send; see `Comparison.to_html`. path: None is DATASET-TIME.html."""
        return self._save_page(Query.from_mapping(self.asked), path, most)

    def _save_page(self, query: Query, path: Path | str | None = None, most: int = MOST) -> Path:
        return self.result.to_html(free_name(self._plan, "html") if path is None else path, query, most=most)

    def still(self) -> Still:
        """See `still_comparison`."""
        return still_comparison(self._result) if self._result is not None else still_plan(self._plan)

    # -- what the browser draws besides rows ------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        plan, result = self._plan, self._result
        labels = [variant.label for variant in plan.variants]
        state: dict[str, Any] = {
            "phase": "done" if result is not None else "plan" if self._progress is None else "running",
            "primary": plan.primary.name,
            "metrics": [[name, tables.clean_text(label)] for name, label in metric_names(plan).items()],
            "examples": len(plan.indices),
            "repeats": plan.repeats,
            "control": labels.index(plan.control),
            "variants": [{"label": tables.clean_text(label), "facts": []} for label in labels],
            "plan": [[name, tables.clean_text(text)] for name, text in plan.lines()] if result is None else [],
            "verdict": "",
            "again": offer(*self._left(result)),
            "outcome": self._outcome,
            "cost": "",
            "notes": [],
            "progress": None,
        }
        if self._progress is not None and result is None:
            state["progress"] = self._progressed(self._progress)
        if result is not None:
            state["verdict"] = tables.clean_text(result.verdict.sentence)
            state["notes"] = [tables.clean_text(note) for note in result.notes()]
            state["cost"] = cost(result)
            table = result.table().to_dict("records")
            said = [facts(row, plan.primary.name, total(result, at)) for at, row in enumerate(table)]
        elif self._pages is not None:
            said = [facts_so_far(means) for means in self._pages.means()]
        else:
            return state
        state["variants"] = [kept | {"facts": lines} for kept, lines in zip(state["variants"], said, strict=True)]
        return state

    def _left(self, result: Comparison | None) -> tuple[int, int]:
        """Answers never asked for and calls that failed, which going on would ask for; none of a run that ended by its own plan,
        since it would end there again."""
        if self._compare is None or result is None or result.run.ended in ("clear", "budget"):
            return 0, 0
        numbers = result.run.measurements
        broken = int(numbers.broken.sum())
        return numbers.total - numbers.done - broken, broken

    def _progressed(self, progress: Progress) -> dict[str, Any]:
        seconds, fresh = time.monotonic() - self._began, progress.done - progress.reused
        left = seconds / fresh * (progress.total - progress.done) if fresh > 0 else None
        said = [f"{progress.done:,} of {progress.total:,} answers"]
        said += [f"{progress.reused:,} replayed"] if progress.reused else []
        said += [f"{progress.errors:,} failed"] if progress.errors else []
        said.append(f"{tables.format_money(progress.usd)} spent")
        said += [f"about {tables.format_seconds(left)} left"] if left else []
        said += ["stopping"] if self._halting else []
        return {"done": progress.done, "total": progress.total, "text": ", ".join(said)}

    # -- pages --------------------------------------------------------------------------------------------------------

    def hear_page(self, content: Mapping[str, Any]) -> None:
        """{"query": …, "page": number, "size": rows, "look": …, "view": who asks, "turn": its count} → "page", twice: without and
        with the differing words marked, or once with texts rendered; before it "searching", while texts are looked through, and
        "spread" if that is open."""
        query, number, size = Query.from_mapping(content.get("query") or {}), int(content["page"]), int(content["size"])
        look = Look.from_mapping(content.get("look"))

        def answer(pages: ExamplePages, sent: _Sending) -> None:
            if query.search and not pages.search(query.search).advance(sent.searching):
                return
            plain = render_page(pages.page(query, number, size, marks=False, whole=look.whole))
            if look.spread:
                sent("spread", pages.spread(query))
            sent("page", plain)
            if not look.rendered and not sent.cancelled:
                marked = pages.with_marks(plain)
                if marked != plain:
                    sent("page", marked)

        self._answer(content, answer)
        self.asked = query.to_mapping() | {"page": str(number), "size": str(size), "look": look.to_mapping()}

    def hear_open(self, content: Mapping[str, Any]) -> None:
        """{"query": …, "at": example, "step": places, …} → "open"."""
        query, at, step = (
            Query.from_mapping(content.get("query") or {}),
            int(content["at"]),
            int(content.get("step", 0)),
        )
        look = Look.from_mapping(content.get("look"))

        def answer(pages: ExamplePages, sent: _Sending) -> None:
            found = self._linked(pages.example(query, at, step))
            sent("open", render_example(found) if look.rendered else found)

        self._answer(content, answer)

    def hear_fields(self, content: Mapping[str, Any]) -> None:
        """{…} → "fields": metadata that splits the data."""
        self._answer(content, lambda pages, sent: sent("fields", {"fields": pages.fields()}))

    def hear_save(self, content: Mapping[str, Any]) -> None:
        """{"query": …, "kind": "csv", "jsonl" or "html", "view": …} → "saved": a file in the working folder, and how many rows it
        has."""
        query, kind, pages = Query.from_mapping(content.get("query") or {}), str(content.get("kind")), self._pages
        if pages is None or kind not in (*KINDS, "html"):
            return

        def save() -> None:
            if kind == "html":
                path, count = self._save_page(query), min(len(pages.order(query)), MOST)
            else:
                found = _rows(pages, query)
                path, count = write_rows(found, self._plan, kind), len(found)
            self.send({"do": "saved", "view": content.get("view"), "file": tables.clean_text(path.name), "rows": count})

        self._saver.do(save)

    def hear_mark(self, content: Mapping[str, Any]) -> None:
        """{"at": example, "variant": its place, "change": {"mark" | "star" | "comment": …}, "view": …, "count": its count} →
        "marked", once it is on disk."""
        if self._pages is not None:
            self._marking.hear(self._pages, content)

    def _answer(self, content: Mapping[str, Any], answer: Callable[[ExamplePages, _Sending], None]) -> None:
        """In turn, in a thread; what was asked for later cuts short what was asked for before."""
        pages = self._pages
        if pages is None:
            return
        sending = _Sending(self.send, {name: content.get(name) for name in ("view", "turn")}, self._plan)
        if content["do"] != "fields":
            self._sending.cancelled = True
            self._sending = sending

        self._worker.do(lambda: None if sending.cancelled else answer(pages, sending))

    def _linked(self, example: dict[str, Any]) -> dict[str, Any]:
        for variant in example["variants"]:
            for repeat in variant["repeats"]:
                if self._trace and "trace" in repeat:
                    repeat["trace_url"] = f"{self._trace}/trace/{repeat['trace']}"
        return example

    # -- a run --------------------------------------------------------------------------------------------------------

    def hear_start(self, content: Mapping[str, Any]) -> None:
        """Run the plan, or go on with what was stopped."""
        if self._compare is None or (self._result is not None and not any(self._left(self._result))):
            raise InputError("this plan has no answers to ask for: bench.compare(plan, fresh=True) measures it anew.")
        if not self.working:
            self.start(self._run)

    def hear_stop(self, content: Mapping[str, Any]) -> None:
        """End the run with what is there."""
        self.stop()

    async def _run(self) -> None:
        """The run, in a task of its own: being cancelled asks it to end in order, and its partial result is kept."""
        assert self._compare is not None  # noqa: S101  (for the type checker)
        earlier = self._running.get(self._plan.digest)
        if earlier is not None and not earlier.done():
            await asyncio.wait([earlier])  # an earlier view of the same plan, which ends or has our answers
        halt = asyncio.Event()
        kept, self._result = self._result, None
        before, self._outcome = None if kept is None else kept.run.measurements.broken, ""
        self._halting, self._began = False, time.monotonic()
        self._note(Progress(0, self._plan.estimate.calls, 0, 0, 0.0, ""))
        running = asyncio.ensure_future(
            self._compare(self._plan, progress=self._note, watch=Watch(self._begun, halt)),
        )
        self._running[self._plan.digest] = running
        try:
            while not running.done():
                try:
                    await asyncio.wait([running])
                except asyncio.CancelledError:
                    if halt.is_set():  # told twice: do not wait for its end
                        running.cancel()
                        raise
                    halt.set()
                    self._halting = True
            self._result = running.result()
            self._pages = self._result.pages
            if before is not None and not self._result.run.stopped:
                still = int((before & self._result.run.measurements.broken).sum())
                self._outcome = f"asked again: {still:,} still failed" if still else ""
        finally:
            if self._running.get(self._plan.digest) is running:
                del self._running[self._plan.digest]
            self._progress = None
            self._result = self._result or kept
            self.state = self._state()

    def _begun(self, run: Run) -> None:
        self._pages = ExamplePages(run)

    def _note(self, progress: Progress) -> None:
        now = time.monotonic()
        self._progress = progress
        if now >= self._told + _EVERY or progress.finished:
            self._told = now
            self.state = self._state()


def _rows(pages: ExamplePages, query: Query) -> pd.DataFrame:
    """What a query leaves, in its order, with marks."""
    if query.search:
        pages.search(query.search).advance(lambda looked: True)
    order = pages.order(query)
    found = rows(pages.run, set(order.tolist()))
    place = pd.Series(np.arange(len(order)), index=order)
    ordered = found.iloc[np.argsort(found["example"].map(place), kind="stable")].reset_index(drop=True)
    return pages.marks.beside(ordered)


class _Sending:
    """Sends to the browser's view that asked, until it asked for something else."""

    def __init__(self, send: Callable[[dict[str, Any]], object], reply: Mapping[str, Any], plan: Plan) -> None:
        self.cancelled = False
        self._send, self._reply = send, reply
        self._texts = len(plan.indices) * (1 + len(plan.variants) * plan.repeats)
        self._next = time.monotonic() + _EVERY

    def __call__(self, do: str, content: Mapping[str, Any]) -> None:
        if not self.cancelled:
            self._send({**content, **self._reply, "do": do})

    def searching(self, looked: int) -> bool:
        """Tell now and then how far a search is; False once it is to end."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY
            self("searching", {"share": min(1.0, looked / self._texts)})
        return not self.cancelled
