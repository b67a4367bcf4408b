"""What is the same and what is not, between prompts in files and in Langfuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from workbench import tables
from workbench.records import Prompt

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LabelState", "PromptState", "Sent", "SyncDone", "SyncStatus", "There", "label_states"]

Standing = Literal[
    "same",
    "to mirror",
    "not pushed",
    "moved there",
    "moved in both",
    "there only",
    "taken off here",
    "mirrored",
    "overruled",
]


@dataclass(frozen=True, slots=True)
class There:
    """One prompt in Langfuse: versions by number, why some cannot be read here, and where labels stand."""

    versions: dict[int, Prompt]
    broken: dict[int, str]
    labels: dict[str, int]

    @property
    def by_digest(self) -> dict[str, Prompt]:
        """The newest version with each digest, oldest first."""
        found: dict[str, Prompt] = {}
        for number in sorted(self.versions):
            found.pop(self.versions[number].digest, None)
            found[self.versions[number].digest] = self.versions[number]
        return found


@dataclass(frozen=True, slots=True)
class LabelState:
    """A label. here, there: the numbers it stands on, None if it stands nowhere. want: the number there of the version it
    stands on here, None if that was not pushed. mirrored: the number there that it was last put on from here.
    follow: the number here of the version that it stands on there, None if that was not pulled."""

    name: str
    label: str
    standing: Standing
    here: int | None
    there: int | None
    want: int | None
    mirrored: int | None
    follow: int | None = None

    @property
    def same(self) -> bool:
        """Whether it stands on the same text in both."""
        return self.standing == "same"

    @property
    def to_mirror(self) -> bool:
        """Whether the next push moves it there."""
        return self.standing == "to mirror"

    @property
    def unsent(self) -> bool:
        """Whether its version is not there yet."""
        return self.standing == "not pushed"

    @property
    def taken_off(self) -> bool:
        """Whether it was taken off here, which Langfuse's API cannot do."""
        return self.standing == "taken off here"

    @property
    def drift(self) -> bool:
        """Whether somebody moved it in Langfuse."""
        return self.standing in ("moved there", "moved in both", "there only")

    @property
    def contested(self) -> bool:
        """Whether it was moved there although it stands somewhere here."""
        return self.standing in ("moved there", "moved in both")

    def moved(self, *, overruled: bool) -> LabelState:
        """After it was moved there."""
        return replace(self, standing="overruled" if overruled else "mirrored", there=self.want)

    @property
    def sentence(self) -> str:
        """What is the matter, and what to do."""
        place = f"{self.name}: label {self.label}"
        ours = (
            "nowhere here"
            if self.here is None
            else f"on {self.here} here"
            + (f" (which is {self.want} there)" if self.want not in (None, self.here) else "")
        )
        match self.standing:
            case "same":
                return f"{place} is {ours} and on {self.there} there: the same text"
            case "to mirror":
                return f"{place} is {ours}: the next push moves it there" + (
                    f", from {self.there}" if self.there else ""
                )
            case "not pushed":
                return f"{place} is {ours}, and that version is not in Langfuse"
            case "taken off here":
                return f"{place} was taken off here and is on {self.there} there: only Langfuse's page can take one off"
            case "mirrored" | "overruled":
                how = "" if self.standing == "mirrored" else ", over a move that was made there"
                return f"{place} is on {self.there} there now{how}"
        who = {"moved in both": "was moved in both places", "there only": "stands only in Langfuse"}.get(
            self.standing, "was moved in Langfuse"
        )
        ref = f"{self.name}@{self.follow or 'N'}"
        first = "" if self.follow else "`workbench prompt pull`, then "
        accept = f"{first}`workbench prompt label {ref} {self.label} -m REASON` to follow"
        insist = f", `workbench prompt push {self.name} --overrule {self.label}` to move it back" if self.want else ""
        return f"{place} {who}: on {self.there} there, {ours}. {accept}{insist}."


def label_states(
    name: str,
    here: Mapping[str, int],
    digests: Mapping[int, str],
    mirrored: Mapping[str, int],
    there: Mapping[str, int],
    versions_there: Mapping[int, Prompt],
) -> tuple[LabelState, ...]:
    """Each label of one prompt. digests: of the versions here, by number."""
    numbers = {prompt.digest: number for number, prompt in sorted(versions_there.items())}
    found = []
    for label in sorted({*here, *there}):
        at, stands, last = there.get(label), here.get(label), mirrored.get(label)
        digest = digests.get(stands) if stands is not None else None
        want = numbers.get(digest) if digest is not None else None
        at_digest = versions_there[at].digest if at is not None and at in versions_there else None
        follow = max((number for number, known in digests.items() if known == at_digest), default=None)
        standing: Standing
        if stands is None:
            standing = "taken off here" if at == last else "there only"
        elif at is not None and digest is not None and at_digest == digest:
            standing = "same"
        elif at is not None and at != last:
            standing = (
                "moved there" if last is not None and want == last else "moved in both" if last else "moved there"
            )
        else:
            standing = "not pushed" if want is None else "to mirror"
        found.append(LabelState(name, label, standing, stands, at, want, last, follow))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class PromptState:
    """One prompt in both places, by digest. broken, there_broken: what cannot be read, and why, by number."""

    name: str
    here: Mapping[str, Prompt]
    there: Mapping[str, Prompt]
    broken: Mapping[int, str]
    there_broken: Mapping[int, str]
    archived: frozenset[int]
    labels: tuple[LabelState, ...] = ()

    @property
    def here_only(self) -> dict[str, int]:
        """Digest and number here of what a push would send."""
        return {d: p.version for d, p in self.here.items() if d not in self.there and p.version not in self.archived}

    @property
    def there_only(self) -> dict[str, int]:
        """Digest and number there of what a pull would make."""
        return {d: p.version for d, p in self.there.items() if d not in self.here}

    @property
    def clashes(self) -> tuple[int, ...]:
        """Numbers that mean one text here and another there."""
        here = {prompt.version: digest for digest, prompt in self.here.items()}
        there = {prompt.version: digest for digest, prompt in self.there.items()}
        return tuple(number for number in sorted(here.keys() & there.keys()) if here[number] != there[number])

    @property
    def state(self) -> str:
        """same, to push, to pull, conflict (both have versions that the other lacks), or broken."""
        if self.broken or self.there_broken:
            return "broken"
        if self.here_only and self.there_only:
            return "conflict"
        return "to push" if self.here_only else "to pull" if self.there_only else "same"

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of it, a sentence each."""
        said = [f"{self.name}@{number}: {why}" for number, why in self.broken.items()]
        said += [f"{self.name}@{number} in Langfuse: {why}" for number, why in self.there_broken.items()]
        for number in self.clashes:
            said.append(f"{self.name}@{number} here and {number} there are different texts{self._elsewhere(number)}")
        here, there = [*self.here.values()], [*self.there.values()]
        if here and there and not self.here_only and not self.there_only and here[-1].digest != there[-1].digest:
            said.append(
                f"{self.name}: the latest here is {here[-1].ref}, the latest there {there[-1].version}, which is another text: "
                "name a version or a label instead"
            )
        return (*said, *(label.sentence for label in self.labels if not label.same))

    def _elsewhere(self, number: int) -> str:
        here = next(d for d, p in self.here.items() if p.version == number)
        there = next(d for d, p in self.there.items() if p.version == number)
        ours, theirs = self.there.get(here), self.here.get(there)
        said = [f"ours is {ours.version} there" if ours else "ours is not there"]
        said.append(f"theirs is {theirs.version} here" if theirs else "theirs is not here")
        return f" ({', '.join(said)})"

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        digests = dict.fromkeys([*self.here, *self.there])
        versions = [
            {
                "digest": digest,
                "here": self.here[digest].version if digest in self.here else None,
                "there": self.there[digest].version if digest in self.there else None,
            }
            for digest in digests
        ]
        return {
            "name": self.name, "state": self.state, "versions": versions, "clashes": [*self.clashes],
            "labels": [asdict(label) for label in self.labels], "notes": [*self.notes],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """All prompts in both places. unusable: what is in Langfuse and can be no prompt here, and why."""

    address: str
    prompts: tuple[PromptState, ...]
    unusable: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether both hold the same, labels too."""
        return all(item.state == "same" and all(label.same for label in item.labels) for item in self.prompts)

    @property
    def drift(self) -> tuple[LabelState, ...]:
        """The labels that somebody moved in Langfuse."""
        return tuple(label for item in self.prompts for label in item.labels if label.drift)

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "ok": self.ok, "address": self.address, "prompts": [item.to_mapping() for item in self.prompts],
            "unusable": dict(self.unusable),
        }  # fmt: skip

    def frame(self) -> pd.DataFrame:
        """One row a prompt."""
        import pandas as pd

        rows = [
            (
                item.name, item.state, _mapped(item), _numbers(item.here_only), _numbers(item.there_only),
                ", ".join(f"{label.label}: {label.standing}" for label in item.labels),
            )
            for item in self.prompts
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["prompt", "state", "here = there", "only here", "only there", "labels"])

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know, a sentence each."""
        unusable = [f"{name} in Langfuse is left out: {why}" for name, why in self.unusable.items()]
        return (*(note for item in self.prompts for note in item.notes), *unusable)

    def __str__(self) -> str:
        table = (
            tables.to_text(self.frame(), title=f"Files and Langfuse at {self.address}")
            if self.prompts
            else "No prompts yet."
        )
        return "\n".join([table, *(tables.clean_text(note) for note in self.notes)])

    __repr__ = __str__

    def _repr_html_(self) -> str:

        notes = "".join(f"<li>{tables.html_text(note)}</li>" for note in self.notes)
        return tables.to_html(self.frame(), caption=f"Files and Langfuse at {self.address}") + (
            f"<ul>{notes}</ul>" if notes else ""
        )


@dataclass(frozen=True, slots=True)
class Sent:
    """A version that was pushed or pulled. ref: its name and number here."""

    ref: str
    digest: str
    here: int
    there: int


@dataclass(frozen=True, slots=True)
class SyncDone:
    """What a push or pull did. labels: those that were moved there, or could not be. problems: what was not done, and why.
    notes: what can have no name here, which is left out for good."""

    what: Literal["push", "pull"]
    versions: tuple[Sent, ...]
    labels: tuple[LabelState, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all was done, and nobody moved a label there."""
        return not self.problems and not any(label.contested or label.unsent for label in self.labels)

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {"ok": self.ok} | asdict(self)

    def __str__(self) -> str:
        said = [
            f"{item.ref} -> {item.there} in Langfuse"
            if self.what == "push"
            else f"{item.there} in Langfuse -> {item.ref}"
            for item in self.versions
        ]
        said += [label.sentence for label in self.labels] + [*self.problems, *self.notes]
        return tables.clean_text("\n".join(said)) or f"Nothing to {self.what}: both hold the same."

    __repr__ = __str__


def _mapped(item: PromptState) -> str:
    pairs = [(p.version, item.there[d].version) for d, p in item.here.items() if d in item.there]
    return ", ".join(str(here) if here == there else f"{here} = {there}" for here, there in pairs)


def _numbers(found: Mapping[str, int]) -> str:
    return ", ".join(str(number) for number in found.values())
