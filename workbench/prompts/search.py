"""Look for words in prompts: names, texts, labels, variables, authors and messages of all versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench import tables
from workbench.errors import InputError
from workbench.records import Prompt

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Hit", "SearchResult", "search"]

_AROUND = 40  # characters shown on both sides of what was found


@dataclass(frozen=True, slots=True)
class Hit:
    """A version that was found. where: in what of it; excerpt: the place."""

    ref: str
    where: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What was found: by name, newest version first."""

    text: str
    hits: tuple[Hit, ...]

    def frame(self) -> pd.DataFrame:
        """One row a version."""
        import pandas as pd

        return pd.DataFrame(
            [(hit.ref, hit.where, hit.excerpt) for hit in self.hits], columns=["prompt", "found in", "there"]
        )

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)

    def __str__(self) -> str:
        if not self.hits:
            return tables.clean_text(f"No prompt holds {self.text!r}.")
        return tables.to_text(self.frame())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return tables.to_html(self.frame(), caption=f"Prompts that hold {self.text!r}")


def search(text: str, versions: Iterable[Prompt], labels: Mapping[str, Iterable[str]]) -> SearchResult:
    """The versions that hold every word of `text`, whatever its case. labels: by reference."""
    words = text.casefold().split()
    if not words:
        raise InputError("say which words to look for.")
    hits = []
    for prompt in sorted(versions, key=lambda item: (item.name, -item.version)):
        fields = {
            "name": prompt.name,
            "label": ", ".join(labels.get(prompt.ref, ())),
            "text": "\n".join([prompt.text, *(item.content for item in prompt.messages)]).strip("\n"),
            "message": prompt.message,
            "variables": ", ".join(prompt.variables),
            "author": prompt.author,
        }
        whole = "\n".join(fields.values()).casefold()
        if all(word in whole for word in words):
            where = [name for name, value in fields.items() if any(word in value.casefold() for word in words)]
            hits.append(Hit(prompt.ref, ", ".join(where), _excerpt(fields[where[0]], words)))
    return SearchResult(text, tuple(hits))


def _excerpt(value: str, words: list[str]) -> str:
    at = min(found for word in words if (found := value.casefold().find(word)) >= 0)
    begin, end = max(0, at - _AROUND), at + _AROUND
    return f"{'…' if begin else ''}{value[begin:end]}{'…' if end < len(value) else ''}"
