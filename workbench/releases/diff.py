"""Two releases side by side, and what a rollback would change."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.records import Release
from workbench.releases.history import moment

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ReleaseDiff", "ReleasePlan", "RollbackPlan"]

_CONTEXT = 3
_COLOURS = {"+": "rgba(46,160,67,.2)", "-": "rgba(248,81,73,.2)"}


@dataclass(frozen=True, slots=True)
class ReleaseDiff:
    """What is different between two releases."""

    before: Release
    after: Release

    def __bool__(self) -> bool:
        """Whether they answer differently."""
        return self.before.digest != self.after.digest

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """(what, before, after) for each field that differs, the prompt's text aside."""
        old, new = _fields(self.before), _fields(self.after)
        names = dict.fromkeys([*old, *new])
        return [
            (name, old.get(name, "not set"), new.get(name, "not set"))
            for name in names
            if old.get(name) != new.get(name)
        ]

    @property
    def text(self) -> list[str]:
        """The prompt's lines that differ, with those around them: `-` before, `+` after, a space both. Empty if it is equal."""
        old, new = _prompt_lines(self.before), _prompt_lines(self.after)
        return list(difflib.unified_diff(old, new, n=_CONTEXT, lineterm=""))[2:]

    def frame(self) -> pd.DataFrame:
        """`rows` as a table."""
        import pandas as pd

        columns = ["what", f"release {self.before.number}", f"release {self.after.number}"]
        return pd.DataFrame(self.rows, columns=columns)

    def __str__(self) -> str:
        from workbench import tables

        return "\n".join(self._said(tables.clean_text))

    __repr__ = __str__

    def _said(self, clean: Any) -> Iterator[str]:
        from workbench import tables

        yield clean(f"{self.before.label}  →  {self.after.label}")
        if not self:
            yield "They answer the same."
            return
        if self.rows:
            yield tables.to_text(self.frame())
        if self.text:
            yield "\nprompt"
            yield from (clean(line) for line in self.text)

    def _repr_html_(self) -> str:
        from workbench import tables

        caption = f"{self.before.label}  →  {self.after.label}"
        if not self:
            return f"<p>{tables.html_text(caption)}: they answer the same.</p>"
        lines = "".join(
            f'<div style="background:{_COLOURS.get(line[:1], "transparent")}">{tables.html_text(line)}</div>'
            for line in self.text
        )
        prompt = f'<pre style="white-space:pre-wrap">{lines}</pre>' if lines else ""
        return tables.to_html(self.frame(), caption=caption) + prompt


@dataclass(frozen=True, slots=True)
class ReleasePlan:
    """What a new release would do; nothing is changed yet. sequence: what it was made from; once that has changed, it is stale.
    current: None for the first release of a feature. target: under the number that it would have; not kept anywhere."""

    feature: str
    sequence: int
    current: Release | None
    target: Release
    experiment: str | None = None

    @property
    def diff(self) -> ReleaseDiff | None:
        """From what is live to what would be."""
        return None if self.current is None else ReleaseDiff(self.current, self.target)

    @property
    def sentence(self) -> str:
        """What it would do."""
        instead = f", in place of release {self.current.number}" if self.current is not None else ""
        new = self.target
        return (
            f"Release {new.number} of {self.feature}: {new.prompt.ref} · {new.model}{instead}.{_ends(self.experiment)}"
        )

    def __str__(self) -> str:
        from workbench import tables

        return "\n".join([tables.clean_text(self.sentence)] + ([] if self.diff is None else [str(self.diff)]))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from workbench.tables import html_text

        return f"<p>{html_text(self.sentence)}</p>{'' if self.diff is None else self.diff._repr_html_()}"


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What a rollback would do; nothing is changed yet. sequence: what it was made from; once that has changed, it is stale."""

    feature: str
    sequence: int
    current: Release
    target: Release
    experiment: str | None = None

    @property
    def diff(self) -> ReleaseDiff:
        """From what is live to what would be."""
        return ReleaseDiff(self.current, self.target)

    @property
    def sentence(self) -> str:
        """What it would do."""
        target = self.target
        why = f", {target.reason!r}" if target.reason else ""
        return (
            f"Rollback of {self.feature} from release {self.current.number} to {target.number} "
            f"({moment(target.created_at)} by {target.by}{why}).{_ends(self.experiment)}"
        )

    def __str__(self) -> str:
        from workbench import tables

        return f"{tables.clean_text(self.sentence)}\n{self.diff}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from workbench.tables import html_text

        return f"<p>{html_text(self.sentence)}</p>{self.diff._repr_html_()}"


def _ends(experiment: str | None) -> str:
    return f" The experiment {experiment} would end." if experiment else ""


def _fields(release: Release) -> dict[str, str]:
    prompt, fallback = release.prompt, release.fallback
    fields: dict[str, Any] = {
        "prompt": f"{prompt.ref} ({prompt.digest[:12]})", "kind": prompt.kind, "variables": ", ".join(prompt.variables),
        "model": release.model, "model digest": (release.model_digest or "unknown")[:12],
    }  # fmt: skip
    fields |= {f"config {name}": value for name, value in prompt.config.items() if name != "params"}
    fields |= release.params.to_mapping()
    if fallback is not None:
        fields |= {f"fallback {name}": value for name, value in fallback.to_mapping().items()}
    return {
        name: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for name, value in fields.items()
    }


def _prompt_lines(release: Release) -> list[str]:
    prompt = release.prompt
    if prompt.kind != "chat":
        return prompt.text.split("\n")
    return [line for message in prompt.messages for line in (f"[{message.role}]", *message.content.split("\n"))]
