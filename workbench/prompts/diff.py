"""Two prompt versions side by side: which words differ, and what else."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from workbench import tables
from workbench.prompts.base import prompt_text
from workbench.records import Prompt

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Piece", "PromptDiff", "word_diff"]

_TOKEN = re.compile(r"\{\{[^{}\n]*\}\}|\w+|\n|[^\S\n]+|[^\w\s]")
_MOST = 3_000  # tokens on one side of a changed block; comparing more word by word takes seconds
_AROUND = 3  # unchanged lines shown before and after a change
_COLOURS = {"-": "\x1b[31;9m", "+": "\x1b[32m"}
_MARKS = {"-": ("[-", "-]"), "+": ("{+", "+}")}
_STYLE = (
    ".wb-diff{white-space:pre-wrap;overflow-wrap:anywhere;font-size:13px;line-height:1.5;padding:.6em .8em;margin:.4em 0;"
    "border:1px solid rgba(128,128,128,.35);border-radius:4px;background:transparent;color:inherit}"
    ".wb-diff ins{background:rgba(46,160,67,.28);text-decoration:none;border-radius:2px}"
    ".wb-diff del{background:rgba(248,81,73,.25);text-decoration:line-through;border-radius:2px}"
    ".wb-diff .wb-gap{opacity:.6;font-style:italic}"
)
_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    '<meta name="viewport" content="width=device-width"><title>{title}</title><style>body{{font-family:system-ui,sans-serif;'
    "max-width:60em;margin:2em auto;padding:0 1em}}</style></head><body>{body}</body></html>\n"
)


class Piece(NamedTuple):
    """A stretch of text: `=` in both, `-` only before, `+` only after."""

    kind: Literal["=", "-", "+"]
    text: str


def word_diff(before: str, after: str) -> tuple[Piece, ...]:
    """The words that differ. The `=` and `-` pieces joined are `before`, the `=` and `+` pieces are `after`."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    pieces: list[Piece] = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(Piece("=", "".join(old[i1:i2])))
        else:
            pieces += _words("".join(old[i1:i2]), "".join(new[j1:j2]))
    return tuple(_joined(pieces))


@dataclass(frozen=True, slots=True)
class PromptDiff:
    """What is different between two versions, of one prompt or of two, in one home or in two. True if they answer differently."""

    before: Prompt
    after: Prompt

    def __bool__(self) -> bool:
        return self.before.digest != self.after.digest

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The words of the text or messages, in order."""
        return word_diff(prompt_text(self.before), prompt_text(self.after))

    @property
    def shown(self) -> list[tuple[str, str]]:
        """The pieces as a view shows them: (`=`, `-` or `+`, text), spaces and line ends of a change made visible, and
        ("…", "n equal lines") for what is far from every change. Empty where the texts are equal."""
        pieces = self.pieces
        if all(piece.kind == "=" for piece in pieces):
            return []
        return [
            ("…", _left_out(piece)) if isinstance(piece, int)
            else (piece.kind, tables.clean_text(piece.text) if piece.kind == "=" else _visible(piece.text))
            for piece in _near(pieces)
        ]  # fmt: skip

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """(what, before, after) for each field that differs, the text aside."""
        old, new = _fields(self.before), _fields(self.after)
        return [
            (name, old.get(name, "not set"), new.get(name, "not set"))
            for name in dict.fromkeys([*old, *new])
            if old.get(name) != new.get(name)
        ]

    def frame(self) -> pd.DataFrame:
        """`rows` as a table."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=["what", self.before.ref, self.after.ref])

    def to_text(self, *, colour: bool = False) -> str:
        """For a terminal: words taken away as [-so-], new ones as {+so+}, or red and green where it shows colours."""
        lines = [_title(self)]
        if not self:
            return "\n".join([*lines, "They are the same."])
        if self.rows:
            lines.append(tables.to_text(self.frame()))
        if any(piece.kind != "=" for piece in self.pieces):
            lines += ["", "".join(_shown(_near(self.pieces), colour))]
        return "\n".join(lines)

    def to_html(self) -> str:
        """A whole page."""
        return _PAGE.format(title=tables.html_text(_title(self)), body=self._repr_html_())

    def __str__(self) -> str:
        return self.to_text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if not self:
            return f"<p>{tables.html_text(_title(self))}: they are the same.</p>"
        table = (
            tables.to_html(self.frame(), caption=_title(self))
            if self.rows
            else f"<p>{tables.html_text(_title(self))}</p>"
        )
        if all(piece.kind == "=" for piece in self.pieces):
            return table
        return f'{table}<style>{_STYLE}</style><pre class="wb-diff">{"".join(_marked(_near(self.pieces)))}</pre>'


def _words(before: str, after: str) -> Iterator[Piece]:
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    if len(old) > _MOST or len(new) > _MOST:
        yield from (Piece("-", before), Piece("+", after))
        return
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            yield Piece("=", "".join(old[i1:i2]))
        else:
            yield from (Piece("-", "".join(old[i1:i2])), Piece("+", "".join(new[j1:j2])))


def _joined(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Without empty pieces, and with a single space between two changes made part of them: fewer, longer changes read better."""
    out: list[Piece] = []
    kept = [piece for piece in pieces if piece.text]
    for at, piece in enumerate(kept):
        between = 0 < at < len(kept) - 1 and kept[at - 1].kind != "=" and kept[at + 1].kind != "="
        if piece.kind == "=" and piece.text == " " and between:
            out += [Piece("-", " "), Piece("+", " ")]
        else:
            out.append(piece)
    gone, come = "", ""
    for piece in out:
        if piece.kind == "-":
            gone += piece.text
        elif piece.kind == "+":
            come += piece.text
        else:
            yield from (Piece(kind, text) for kind, text in _sides(gone, come))
            gone, come = "", ""
            yield piece
    yield from (Piece(kind, text) for kind, text in _sides(gone, come))


def _sides(gone: str, come: str) -> list[tuple[Literal["-", "+"], str]]:
    sides: list[tuple[Literal["-", "+"], str]] = [("-", gone), ("+", come)]
    return [side for side in sides if side[1]]


def _near(pieces: Sequence[Piece]) -> Iterator[Piece | int]:
    """The pieces with long unchanged stretches cut to the lines around changes; a number is how many lines are left out."""
    for at, piece in enumerate(pieces):
        lines = piece.text.splitlines(keepends=True)
        head = 0 if at == 0 else _AROUND + 1
        tail = 0 if at == len(pieces) - 1 else _AROUND + 1
        if piece.kind != "=" or len(lines) <= head + tail + 1:
            yield piece
            continue
        if head:
            yield Piece("=", "".join(lines[:head]))
        yield len(lines) - head - tail
        if tail:
            yield Piece("=", "".join(lines[-tail:]))


def _shown(pieces: Iterator[Piece | int], colour: bool) -> Iterator[str]:
    for piece in pieces:
        if isinstance(piece, int):
            yield f"⋯ {_left_out(piece)}\n"
        elif piece.kind == "=":
            yield tables.clean_text(piece.text)
        else:
            begin, end = (_COLOURS[piece.kind], "\x1b[0m") if colour else _MARKS[piece.kind]
            yield f"{begin}{_visible(piece.text)}{end}"


def _marked(pieces: Iterator[Piece | int]) -> Iterator[str]:
    tags = {"-": "del", "+": "ins"}
    for piece in pieces:
        if isinstance(piece, int):
            yield f'<span class="wb-gap">⋯ {_left_out(piece)}</span>\n'
        elif piece.kind == "=":
            yield tables.html_text(piece.text)
        else:
            yield f"<{tags[piece.kind]}>{tables.html_text(_visible(piece.text))}</{tags[piece.kind]}>"


def _left_out(lines: int) -> str:
    return f"{lines} equal line{'' if lines == 1 else 's'}"


def _visible(text: str) -> str:
    """A change that is only a line end or spaces shows too."""
    clean = tables.clean_text(text)
    if clean.strip(" ") == "":
        return clean.replace(" ", "·")
    return clean.replace("\n", "⏎\n")


def _title(diff: PromptDiff) -> str:
    sides = (
        f"{prompt.ref} ({prompt.digest[:12]}{', ' + prompt.author if prompt.author else ''})"
        for prompt in (diff.before, diff.after)
    )
    message = f": {diff.after.message}" if diff.after.message else ""
    return tables.clean_text("  →  ".join(sides) + message)


def _fields(prompt: Prompt) -> dict[str, str]:
    config: dict[str, Any] = dict(prompt.config)
    params = config.pop("params", None) or {}
    fields: dict[str, Any] = {"kind": prompt.kind, "variables": ", ".join(prompt.variables) or "none"}
    fields |= params if isinstance(params, dict) else {"params": params}
    fields |= {f"config {name}": value for name, value in config.items()}
    return {
        name: value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
        for name, value in fields.items()
    }
