"""Prompts in Langfuse, read as those in files are: numbers and labels are Langfuse's, the digest is the same in both.

Reads go through a cache (see `stores.last_known`): they do not wait for a server that is slow or away. Names have no folders
here, so `support/triage` there is `support.triage`; what can be no prompt here is left out of lists and named by `unusable`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from workbench.errors import LangfuseError, PromptError, PromptNotFoundError
from workbench.prompts.base import LATEST, check_prompt_name, near_matches, parse_ref, ranges
from workbench.prompts.includes import PINNED, Resolving, sound_first
from workbench.prompts.langfuse_form import Form, flat, from_langfuse, plain
from workbench.records import Prompt

if TYPE_CHECKING:
    from workbench.stores.langfuse import Langfuse

__all__ = ["LangfusePrompts", "ask_index", "ask_version", "together", "why_not"]

_PAGE = 100  # the most that it lists at once
_AT_ONCE = 8
_INDEX = "index"
Asked = Callable[[Callable[[Any, Any], Any], str], Any]


class LangfusePrompts(Resolving):
    """The prompts of one Langfuse project. It satisfies PromptReader; any number of threads may use it.

    fresh: seconds for which an answer is served without asking again.
    """

    def __init__(self, langfuse: Langfuse, *, fresh: float = 60.0) -> None:
        self.langfuse = langfuse
        self.cache = langfuse.last_known("prompts", fresh=fresh)
        self._found: dict[
            tuple[str, str], Prompt
        ] = {}  # included versions, by name and the first digits of their digest
        self._parses: dict[tuple[str, int | str], tuple[Form, Prompt]] = {}

    def __repr__(self) -> str:
        return f"LangfusePrompts({self.langfuse.address})"

    def list(self) -> tuple[Prompt, ...]:
        """The latest version of every prompt, by name. What can be no prompt here is left out: see `unusable`."""
        return tuple(item for item in self._latest().values() if isinstance(item, Prompt))

    def names(self) -> tuple[str, ...]:
        """The names of all prompts that can be read here."""
        return tuple(sorted(self._index()))

    def unusable(self) -> dict[str, str]:
        """What is there and can be no prompt here: why, by its name there."""
        found = {str(item["name"]): why for item in self._listing() if (why := why_not(item["name"]))}
        shadowed = (
            {item["name"] for item in self._listing()} - found.keys() - {e["name"] for e in self._index().values()}
        )
        found |= {name: f"its name here, {flat(name)}, is another prompt's" for name in shadowed}
        found |= {name: str(item) for name, item in self._latest().items() if not isinstance(item, Prompt)}
        return dict(sorted(found.items()))

    def get(self, ref: str) -> Prompt:
        """The version that `name` (the latest), `name@3` or `name@label` stands for.

        Raises PromptNotFoundError, and LangfuseError where Langfuse does not answer and never did.
        """
        name, number, label = parse_ref(ref)
        there = self._there(name)
        which: int | str = number if number is not None else label or LATEST
        try:
            return self._read(there, which)
        except LangfuseError as error:
            if error.status != 404:
                raise
        raise self._not_found(name, which)

    def versions(self, name: str) -> tuple[Prompt, ...]:
        """All versions of one prompt, oldest first."""
        entry = self._entry(name)
        return tuple(together(lambda number: self._read(entry["name"], number), sorted(entry["versions"])))

    def labels(self, name: str) -> dict[str, int]:
        """Which version each label stands on there; `latest` is not listed."""
        entry = self._entry(name)
        labels = sorted(set(entry["labels"]) - {LATEST})
        numbers = together(lambda label: int(self._form(entry["name"], label)["version"]), labels)
        return dict(zip(labels, numbers, strict=True))

    def _repr_html_(self) -> str:
        import pandas as pd

        from workbench import tables

        rows = [(p.ref, p.kind, ", ".join(p.variables), p.author, p.message) for p in self.list()]
        frame = pd.DataFrame(rows, columns=["prompt", "kind", "variables", "author", "message"])
        return tables.to_html(frame, caption=f"Prompts in Langfuse at {self.langfuse.address}")

    def refresh(self) -> None:
        """Ask for everything anew when it is next read."""
        self.cache.forget()

    def _latest(self) -> dict[str, Prompt | PromptError]:
        """By name there."""

        def one(name: str) -> Prompt | PromptError:
            try:
                return self._read(name, LATEST)
            except PromptError as error:
                return error

        names = [entry["name"] for _, entry in sorted(self._index().items())]
        return dict(zip(names, together(one, names), strict=True))

    def _listing(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.cache.get(_INDEX, lambda: ask_index(self.langfuse.ask))
        return found

    def _index(self) -> dict[str, Mapping[str, Any]]:
        """What is listed, by name here. Where two names there are one here, the one without folders counts."""
        found: dict[str, Mapping[str, Any]] = {}
        for item in sorted(self._listing(), key=lambda item: "/" in item["name"]):
            if not why_not(item["name"]):
                found.setdefault(flat(item["name"]), item)
        return found

    def _entry(self, name: str) -> Mapping[str, Any]:
        found = self._index().get(check_prompt_name(name))
        if found is None:
            self.cache.forget(_INDEX)
            found = self._index().get(name)
        if found is None:
            raise self._not_found(name, LATEST)
        return found

    def _there(self, name: str) -> str:
        """Its name in Langfuse. A name without a dot can be no folder's, and needs no look at the list."""
        if "." not in name:
            return name
        try:
            return str(self._entry(name)["name"])
        except PromptNotFoundError:
            return name

    def bare(self, name: str) -> Iterator[Prompt]:
        """As in Resolving."""
        entry = self._entry(name)
        return sound_first(lambda number: self._plain(entry["name"], number), entry["versions"])

    def pinned(self, name: str, digest: str) -> Prompt:
        """As in Resolving; what was read already is not looked for."""
        return self._found.get((name, digest)) or super().pinned(name, digest)

    def _read(self, there: str, which: int | str) -> Prompt:
        return self.with_variables(self._plain(there, which))

    def _plain(self, there: str, which: int | str) -> Prompt:
        try:
            return self._parsed(there, which)
        except PromptError as error:
            raise PromptError(f"{there} in Langfuse can be no prompt here. {error}") from None
        except RecursionError:
            raise PromptError(f"{there} in Langfuse includes itself, by way of labels that were moved.") from None

    def _parsed(self, there: str, which: int | str) -> Prompt:
        form = self._form(there, which)
        held = self._parses.get((there, which))
        if held is None or held[0] is not form:
            moving: list[str] = []

            def digest_of(name: str, included: str | int) -> str:
                moving.append(name)
                return self._digest_of(name, included)

            held = form, from_langfuse(form, digest_of)
            if not moving:  # what an include by label stands for may change while this stays
                self._parses[there, which] = held
        prompt = held[1]
        # The caller gets a config of its own, so that nothing done to it reaches the next reader.
        return replace(prompt, config=copy.deepcopy(prompt.config)) if prompt.config else prompt

    def _digest_of(self, there: str, which: str | int) -> str:
        """Of what is included, which is kept, as it is asked for next."""
        try:
            found = self._parsed(there, which)
        except LangfuseError as error:
            if error.status != 404:
                raise
            raise PromptError(f"it includes {there}@{which}, which is not there.") from None
        self._found[found.name, found.digest[:PINNED]] = found
        return found.digest

    def _form(self, there: str, which: int | str) -> Form:
        found: Form = self.cache.get(f"{there}@{which}", lambda: ask_version(self.langfuse.ask, there, which))
        return found

    def _not_found(self, name: str, which: int | str) -> PromptNotFoundError:
        """What there is instead. The list may be older than what was asked for."""
        self.cache.forget(_INDEX)
        index = self._index()
        where = f"in Langfuse at {self.langfuse.address}"
        if name not in index:
            there = (
                f"There are: {', '.join(sorted(index))}."
                if index
                else "It has none yet: `workbench prompt push` sends yours."
            )
            return PromptNotFoundError(f"There is no prompt {name!r} {where}.{near_matches(name, index)} {there}")
        numbers, labels = sorted(index[name]["versions"]), [*index[name]["labels"]]
        if isinstance(which, int):
            return PromptNotFoundError(f"{name} has no version {which} {where}; it has {ranges(numbers)}.")
        meant = re.fullmatch(r"v?\.?([0-9]+)", which)
        hint = f" Did you mean {name}@{int(meant[1])}?" if meant else near_matches(which, labels)
        return PromptNotFoundError(
            f"{name} has no label {which!r} {where}.{hint} There are: {', '.join(sorted(labels))}; its versions are "
            f"{ranges(numbers)}."
        )


def ask_index(ask: Asked) -> list[dict[str, Any]]:
    """All prompts: name there, version numbers, labels. ask: `Langfuse.ask` or `Langfuse.insist`."""
    found: list[dict[str, Any]] = []
    for page in range(1, 10_000):

        def call(api: Any, options: Any, page: int = page) -> Any:
            # SDK 5.0.4 takes `limit` and does not send it
            options = {**options, "additional_query_parameters": {"limit": _PAGE}}
            return api.prompts.list(page=page, request_options=options)

        answer = ask(call, "the list of prompts")
        found += [{"name": m.name, "versions": [*m.versions], "labels": [*m.labels]} for m in answer.data]
        if page >= answer.meta.total_pages:
            break
    return found


def ask_version(ask: Asked, there: str, which: int | str) -> dict[str, Any]:
    """One version by number or label, its includes not filled in. PromptError for one that the SDK cannot read."""
    chosen = {"version": which} if isinstance(which, int) else {"label": which}
    name = quote(there, safe="")

    def call(api: Any, options: Any) -> Any:
        return api.prompts.get(name, resolve=False, request_options=options, **chosen)

    try:
        return plain(ask(call, f"prompt {there}@{which}"))
    except LangfuseError as error:
        if error.away or error.status != 200:
            raise
        raise PromptError(str(error)) from None


def version_finder(langfuse: Langfuse) -> Callable[[str, str | None], int | None]:
    """Asks, once a text, for the number in Langfuse of a version here, by reference and digest; None if it is not there.
    LangfuseError if Langfuse is away."""
    found: dict[str, int | None] = {}

    def find(ref: str, digest: str | None) -> int | None:
        if digest is None:
            return None
        if digest not in found:
            try:
                there = LangfusePrompts(langfuse).versions(ref.partition("@")[0])
            except PromptError:
                there = ()
            found[digest] = next((prompt.version for prompt in reversed(there) if prompt.digest == digest), None)
        return found[digest]

    return find


def why_not(there: str) -> str:
    """Why a prompt of that name there can have none here; empty if it can."""
    try:
        check_prompt_name(flat(there))
    except PromptError as error:
        return str(error)
    return ""


def together(one: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """`one` of each, a few at once."""
    if len(items) < 2:
        return [one(item) for item in items]
    first = one(items[0])  # alone: if the server is away, only one waits to find out
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="workbench-langfuse") as pool:
        return [first, *pool.map(one, items[1:])]
