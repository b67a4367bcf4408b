"""Prompts in files and in Langfuse, held together: `status`, `push`, `pull`, and labels.

A digest is the same text in both; numbers belong to one place each and are mapped by digest. Nothing is overwritten: a version
that the other place lacks is added there under its next number. The ledger here says where labels stand. A label there is moved
only if nobody has moved it since it was last written from here; otherwise it is drift, which is told and left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from workbench.errors import LangfuseError, PromptError
from workbench.prompts.base import LATEST, check_prompt_name
from workbench.prompts.includes import includes_of
from workbench.prompts.langfuse import ask_index, ask_version, together, why_not
from workbench.prompts.langfuse_form import flat, from_langfuse, plain, to_langfuse
from workbench.prompts.sync_state import LabelState, PromptState, Sent, SyncDone, SyncStatus, There, label_states
from workbench.records import Prompt

if TYPE_CHECKING:
    from workbench.prompts.files import FilePrompts
    from workbench.stores.langfuse import Langfuse

__all__ = ["Sync"]

Asked = Callable[[Callable[[Any, Any], Any], str], Any]


class Sync:
    """The two places of one project. Each call looks at both anew. by: who is named in the ledger."""

    def __init__(self, files: FilePrompts, langfuse: Langfuse) -> None:
        self.files = files
        self.langfuse = langfuse

    def status(self, *names: str) -> SyncStatus:
        """What is different, by prompt; of all where none is named. Changes nothing. LangfuseError if it does not answer."""
        look = _Look(self.files, self.langfuse.insist)
        return SyncStatus(
            self.langfuse.address, tuple(look.state(name) for name in look.chosen(names)), look.unusable()
        )

    def push(self, *names: str, overrule: Sequence[str] = ()) -> SyncDone:
        """Send what Langfuse lacks, what is included first, then move the labels there to where they stand here.

        What was archived is not sent. A prompt with versions there that are unknown here is refused: pull it first. overrule:
        labels that are moved even if somebody moved them there.
        """
        look = _Look(self.files, self.langfuse.insist)
        sent: list[Sent] = []
        problems: list[str] = []
        chosen = look.chosen(names)
        for name in chosen:
            state = look.state(name)
            problems += [f"{name}@{number}: {why}" for number, why in state.broken.items()]
            if state.there_only:
                there = ", ".join(f"{number}" for number in state.there_only.values())
                problems.append(
                    f"{name} is not pushed: Langfuse has {there} of it, which is unknown here: pull it first."
                )
                continue
            for digest in state.here_only:
                try:
                    self._send(look, name, digest, sent, ())
                except (PromptError, LangfuseError) as error:
                    if isinstance(error, LangfuseError) and error.away:
                        raise
                    problems.append(f"{state.here[digest].ref} is not pushed. {error}")
        labels: list[LabelState] = []
        for name in chosen:
            labels += self._mirror(look, name, overrule)
        return SyncDone("push", tuple(sent), tuple(labels), tuple(problems))

    def pull(self, *names: str) -> SyncDone:
        """Make a version here of each that Langfuse has and files lack, with its author, date and message.

        No label moves here: those that stand elsewhere there are told as drift.
        """
        look = _Look(self.files, self.langfuse.insist)
        got: list[Sent] = []
        problems: list[str] = []
        chosen = look.chosen(names)
        for name in chosen:
            state = look.state(name)
            problems += [f"{name}@{number} in Langfuse: {why}" for number, why in state.there_broken.items()]
            for digest, number in state.there_only.items():
                try:
                    self._fetch(look, name, digest, got, ())
                except PromptError as error:
                    problems.append(f"{name}@{number} in Langfuse is not pulled. {error}")
        labels = [label for name in chosen for label in look.state(name).labels if label.drift]
        notes = tuple(f"{name} in Langfuse is left out: {why}" for name, why in look.unusable().items() if not names)
        return SyncDone("pull", tuple(got), tuple(labels), tuple(problems), notes)

    def mirror(self, name: str, label: str) -> LabelState | None:
        """Move one label there, if its version is there; what became of it, None if Langfuse does not know the prompt.

        Asks within seconds, as it comes with each move here. LangfuseError if there is no answer.
        """
        look = _Look(self.files, self.langfuse.ask)
        if look.there(name) is None:
            return None
        return next((item for item in self._mirror(look, name, (), only=label)), None)

    def _send(self, look: _Look, name: str, digest: str, sent: list[Sent], above: tuple[str, ...]) -> int:
        """The number there of that version, which is sent if it is not there. What it includes is sent first."""
        known = look.state(name).there.get(digest)
        if known is not None:
            return known.version
        if digest in above:
            raise PromptError(f"{name} includes itself.")
        prompt = look.state(name).here[digest]

        def number_of(included: str, start: str) -> tuple[str, int]:
            whole = self.files.find(included, start).digest
            return look.there_name(included), self._send(look, included, whole, sent, (*above, digest))

        body = to_langfuse(prompt, look.there_name(name), number_of)
        made = plain(look.ask(lambda api, options: _create(api, options, body), f"push {prompt.ref}"))
        back = look.read(made)
        if back.digest != digest:
            raise PromptError(
                f"{prompt.ref} came back from Langfuse as another text ({back.ref} there): look at it there."
            )
        look.put(name, back)
        sent.append(Sent(prompt.ref, digest, prompt.version, back.version))
        return back.version

    def _fetch(self, look: _Look, name: str, digest: str, got: list[Sent], above: tuple[str, ...]) -> None:
        prompt = look.state(name).there[digest]
        if digest in above:
            raise PromptError(f"{name} includes itself.")
        for include in includes_of(prompt):
            start = include.pinned or ""
            if not any(known.startswith(start) for known in look.state(include.name).here):
                whole = next((known for known in look.state(include.name).there if known.startswith(start)), None)
                if whole is not None:
                    self._fetch(look, include.name, whole, got, (*above, digest))
        if digest in look.state(name).here:
            return
        made = self.files.add(prompt)
        look.put(name, made, here=True)
        got.append(Sent(made.ref, digest, made.version, prompt.version))

    def _mirror(self, look: _Look, name: str, overrule: Sequence[str], *, only: str | None = None) -> list[LabelState]:
        """The labels that were moved there, or could not be."""
        found: list[LabelState] = []
        for item in look.state(name).labels:
            if only not in (None, item.label):
                continue
            forced = item.drift and item.label in overrule and item.want is not None
            if item.to_mirror or forced:
                look.ask(_relabel(look.there_name(name), item), f"label {item.label} of {name}")
                item = item.moved(overruled=forced)
                self._record(item, "overrules a move that was made there" if forced else "as it stands here")
                found.append(item)
            elif item.same and item.mirrored != item.there:
                self._record(item, "stands there already")
            elif item.contested or item.unsent or item.taken_off:
                found.append(item)
        return found

    def _record(self, item: LabelState, reason: str) -> None:
        fields = {"label": item.label, "to": item.here, "remote": item.there}
        self.files.ledger.write(item.name, "mirror", fields, by=self.files.who(), reason=reason)


class _Look:
    """What both places hold, read once. ask: `Langfuse.insist`, or `ask` where somebody waits."""

    def __init__(self, files: FilePrompts, ask: Asked) -> None:
        self.files = files
        self.ask = ask
        self._index = {item["name"]: item for item in ask_index(ask)}
        self._names = {
            flat(name): name for name in sorted(self._index, key=lambda name: "/" not in name) if not why_not(name)
        }
        self._forms: dict[tuple[str, int | str], dict[str, Any]] = {}
        self._there: dict[str, There] = {}
        self._here: dict[str, tuple[dict[str, Prompt], dict[int, str]]] = {}
        self._digests: dict[str, dict[int, str]] = {}  # by name here and number

    def chosen(self, names: Iterable[str]) -> tuple[str, ...]:
        """The names that are meant, or all. PromptError for one that is nowhere."""
        known = {*self.files.names(), *self._names}
        for name in names:
            if check_prompt_name(name) not in known:
                raise PromptError(
                    f"There is no prompt {name!r}, here or in Langfuse. There are: {', '.join(sorted(known))}."
                )
        return tuple(dict.fromkeys(names)) or tuple(sorted(known))

    def unusable(self) -> dict[str, str]:
        """What is there and can have no name here."""
        found = {name: why for name in self._index if (why := why_not(name))}
        return found | {
            name: f"its name here, {flat(name)}, is another prompt's"
            for name in self._index
            if name not in found and self._names[flat(name)] != name
        }

    def there_name(self, name: str) -> str:
        return str(self._names.get(name, name))

    def there(self, name: str) -> There | None:
        """What Langfuse has of that prompt."""
        if name not in self._names:
            return None
        if name not in self._there:
            self._there[name] = self._read(self._names[name])
        return self._there[name]

    def here(self, name: str) -> tuple[dict[str, Prompt], dict[int, str]]:
        """What files have: by digest, oldest first; and what cannot be read, by number."""
        if name not in self._here:
            good: dict[str, Prompt] = {}
            bad: dict[int, str] = {}
            for number in self.files.numbers(name):
                try:
                    prompt = self.files.get(f"{name}@{number}")
                    self._digests.setdefault(name, {})[number] = prompt.digest
                    good.pop(prompt.digest, None)
                    good[prompt.digest] = prompt
                except PromptError as error:
                    bad[number] = str(error)
            self._here[name] = good, bad
        return self._here[name]

    def state(self, name: str) -> PromptState:
        there = self.there(name) or There({}, {}, {})
        here, broken = self.here(name)
        away = self.files.archived(name)
        ledger, digests = self.files.ledger, self._digests.get(name, {})
        labels = label_states(
            name,
            self.files.labels(name) if here or broken else {},
            digests,
            ledger.mirrored(name),
            there.labels,
            there.versions,
        )
        return PromptState(name, here, there.by_digest, broken, there.broken, away, labels)

    def put(self, name: str, prompt: Prompt, *, here: bool = False) -> None:
        """It is there now."""
        if here:
            self.here(name)[0][prompt.digest] = prompt
            self._digests.setdefault(name, {})[prompt.version] = prompt.digest
            return
        self._names.setdefault(name, self.there_name(name))
        self._there.setdefault(name, There({}, {}, {})).versions[prompt.version] = prompt

    def read(self, form: dict[str, Any]) -> Prompt:
        self._forms[form["name"], form["version"]] = form
        return from_langfuse(form, self._digest_of)

    def _read(self, there: str) -> There:
        numbers = sorted(self._index[there]["versions"])
        found = There({}, {}, {})

        def one(number: int) -> dict[str, Any] | None:
            try:
                return ask_version(self.ask, there, number)
            except PromptError as error:
                found.broken[number] = str(error)
                return None

        self._forms |= {
            (there, n): form for n, form in zip(numbers, together(one, numbers), strict=True) if form is not None
        }
        for number in numbers:
            if number in found.broken:
                continue
            form = self._forms[there, number]
            found.labels.update({label: number for label in form["labels"] if label != LATEST})
            try:
                found.versions[number] = from_langfuse(form, self._digest_of)
            except (PromptError, RecursionError) as error:
                found.broken[number] = str(error)
        return found

    def _digest_of(self, there: str, which: str | int) -> str:
        key = there, which
        if key not in self._forms:
            try:
                self._forms[key] = ask_version(self.ask, there, which)
            except LangfuseError as error:
                if error.status != 404:
                    raise
                raise PromptError(f"it includes {there}@{which}, which is not there.") from None
        found: Prompt = from_langfuse(self._forms[key], self._digest_of)
        return found.digest


def _relabel(there: str, item: LabelState) -> Callable[[Any, Any], Any]:
    name, number, labels = quote(there, safe=""), item.want, [item.label]
    return lambda api, options: api.prompt_version.update(name, number, new_labels=labels, request_options=options)


def _create(api: Any, options: Any, body: dict[str, Any]) -> Any:
    from langfuse.api.prompts.types import CreateChatPromptRequest, CreateTextPromptRequest

    kind = CreateChatPromptRequest if body["type"] == "chat" else CreateTextPromptRequest
    return api.prompts.create(request=kind(**body), request_options=options)
