"""Data sets made from calls, ratings, playgrounds, caches and Langfuse, as parts of a purge."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from workbench.cache import Cache
from workbench.errors import LangfuseError
from workbench.playground import History, Run
from workbench.purging.purging import Found
from workbench.purging.who import Traces, Who
from workbench.running.saving import write_whole
from workbench.stores.langfuse import Langfuse, LangfuseSource

if TYPE_CHECKING:
    from langfuse.api.client import LangfuseAPI
    from langfuse.api.core import RequestOptions

    from workbench.evaluation.ratings.ratings import Ratings

__all__ = ["CachesPart", "DatasetsPart", "LangfusePart", "PlaygroundPart", "RatingsPart"]

_PAGES = 20  # of a hundred observations each, that Langfuse is asked for
_ONE_BY_ONE = 50  # traces that it is asked for by their ids


class DatasetsPart:
    """Examples made from calls that go, in drafts, published versions and the copies that comparisons read. folder: the project's
    data sets; copies: the home's."""

    name = "data sets"

    def __init__(self, folder: Path, copies: Path) -> None:
        self._folder, self._copies = folder, copies

    async def find(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`."""
        return await asyncio.to_thread(self._each, who, traces, write=False)

    async def remove(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`. A copy goes whole: its name is the digest of what it holds, and it is made again from what stays."""
        return await asyncio.to_thread(self._each, who, traces, write=True)

    def _each(self, who: Who, traces: Traces, *, write: bool) -> list[Found]:
        examples, copies = 0, 0
        for path in sorted([*self._folder.rglob("*.jsonl"), *self._copies.glob("*.jsonl")]):
            lines, gone = path.read_bytes().splitlines(keepends=True), 0
            kept = []
            for line in lines:
                if _is_theirs(line, who, traces):
                    gone += 1
                else:
                    kept.append(line)
            if not gone:
                continue
            copy = path.parent == self._copies
            examples, copies = examples + (0 if copy else gone), copies + copy
            if write and (copy or not kept):
                path.unlink()
            elif write:
                write_whole(path, b"".join(kept))
        return [Found(self.name, examples, "examples"), Found(self.name, copies, "copies with some of them")]


def _is_theirs(line: bytes, who: Who, traces: Traces) -> bool:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    about = row.get("metadata") if isinstance(row, dict) else None
    if not isinstance(about, dict) or about.get("call_id") is None:
        return False
    owned = who.before is None and who.fits(about.get("user"), about.get("tenant"), None)
    if owned or about["call_id"] in traces.calls:
        traces.calls.add(about["call_id"])
        traces.examples.add(str(row.get("id")))
        return True
    return False


class RatingsPart:
    """People's votes on answers that go, and those of the user as a rater."""

    name = "ratings"

    def __init__(self, ratings: Ratings) -> None:
        self._ratings = ratings

    async def find(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`."""
        return [Found(self.name, await asyncio.to_thread(self._purge, who, traces, dry_run=True), "votes")]

    async def remove(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`."""
        return [Found(self.name, await asyncio.to_thread(self._purge, who, traces, dry_run=False), "votes")]

    def _purge(self, who: Who, traces: Traces, *, dry_run: bool) -> int:
        if not self._ratings.store.folder.is_dir():
            return 0
        rater = who.user if who.tenant is None and who.before is None else None
        return self._ratings.purge(examples=traces.examples, calls=traces.calls, rater=rater, dry_run=dry_run)


class PlaygroundPart:
    """Runs of the playground: those whose example or call is theirs, or that are too old. Their own calls, which name nobody, go
    from the log with them."""

    name = "playground"

    def __init__(self, folder: Path) -> None:
        self._history = History(folder)

    async def find(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`."""
        return await asyncio.to_thread(self._each, who, traces, write=False)

    async def remove(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`."""
        return await asyncio.to_thread(self._each, who, traces, write=True)

    def _each(self, who: Who, traces: Traces, *, write: bool) -> list[Found]:
        def theirs(run: Run) -> bool:
            example = run.example is not None and run.example[1] in traces.examples
            return who.fits(run.user, run.tenant, run.at) or bool(run.calls & traces.calls) or example

        gone, broken = 0, 0
        for path, run in self._history.pick(theirs):
            if run is None:
                broken += 1
                continue
            gone += 1
            traces.calls |= {answer.call_id for answer in run.answers if answer.call_id}
            if write:
                path.unlink(missing_ok=True)
        left = f"{broken:,} files that cannot be read: delete them in {self._history.folder}" if broken else ""
        return [Found(self.name, gone, "runs", left)]


class CachesPart:
    """Answers kept for the models and prompts that the calls went to; the questions that the semantic cache compares, all.
    A cached answer does not say whose it is, and is only asked for again."""

    name = "caches"

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def find(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`."""
        if not traces.calls:
            return [Found(self.name, 0, "answers")]
        exact, meant = await self._cache.held_of(traces.scopes)
        return [Found(self.name, exact, "answers, all of those models and prompts: none bears a name"),
                Found(self.name, meant, "questions compared by meaning, all")]  # fmt: skip

    async def remove(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`."""
        if not traces.calls:
            return [Found(self.name, 0, "answers")]
        exact, meant = await self._cache.purge(traces.scopes)
        return [Found(self.name, exact, "answers, all of those models and prompts: none bears a name"),
                Found(self.name, meant, "questions compared by meaning, all")]  # fmt: skip


class LangfusePart:
    """What Langfuse holds is listed, and not removed: its traces are deleted there, by who may."""

    name = "Langfuse"

    def __init__(self, langfuse: LangfuseSource) -> None:
        self._langfuse = langfuse

    async def find(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`."""
        return await asyncio.to_thread(self._listed, who, traces)

    async def remove(self, who: Who, traces: Traces) -> list[Found]:
        """See `Part`."""
        return await asyncio.to_thread(self._listed, who, traces)

    def _listed(self, who: Who, traces: Traces) -> list[Found]:
        langfuse = self._langfuse()
        if langfuse is None:
            return []
        until = None if who.before is None else datetime.fromtimestamp(who.before, UTC)
        asked: list[dict[str, Any]] = [{"user_id": who.user, "to_start_time": until}]
        if who.user is None and who.tenant is not None:  # it knows no tenants
            asked = [{"trace_id": trace} for trace in sorted(traces.traces)[:_ONE_BY_ONE]]
        held: set[str] = set()
        more = len(traces.traces) > _ONE_BY_ONE and who.user is None and who.tenant is not None
        try:
            for query in asked:
                more |= _pages(langfuse, {name: value for name, value in query.items() if value is not None}, held)
        except LangfuseError as error:
            return [Found(self.name, None, "traces", f"it was not asked: {error}")]
        if not held:
            return [Found(self.name, 0, "traces")]
        some = ", ".join(sorted(held)[:5]) + (" …" if len(held) > 5 or more else "")
        return [
            Found(self.name, len(held), "traces, and maybe more" if more else "traces", f"delete them there: {some}")
        ]


def _pages(langfuse: Langfuse, query: dict[str, Any], held: set[str]) -> bool:
    """Add the ids of all traces; whether there are more than were asked for."""
    cursor: str | None = None

    def ask(api: LangfuseAPI, options: RequestOptions) -> Any:
        return api.observations.get_many(**query, fields="core", limit=100, cursor=cursor, request_options=options)

    for _ in range(_PAGES):
        found = langfuse.insist(ask, "what is kept of them")
        held |= {item.trace_id for item in found.data if item.trace_id}
        cursor = getattr(found.meta, "cursor", None)
        if not cursor:
            return False
    return True
