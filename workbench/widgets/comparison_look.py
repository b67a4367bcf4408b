"""How a reader has a comparison drawn: kept with the view, so that a page that is loaded again draws the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from workbench.widgets.rendered import rendered

__all__ = ["Look", "render_example", "render_page"]

_MOST = 200  # names that are kept
WHOLE = 1_200  # characters of an answer that are rendered in a row


@dataclass(frozen=True, slots=True)
class Look:
    """rendered: answers as Markdown or indented JSON. spread: the distributions are open. hidden: labels of variants without a
    column. without: scores and facts that cells leave out."""

    rendered: bool = False
    spread: bool = False
    hidden: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @classmethod
    def from_mapping(cls, values: object) -> Look:
        """From what a browser sent, whatever that is."""
        given = values if isinstance(values, Mapping) else {}
        rendered, spread = (given.get(name) is True for name in ("rendered", "spread"))
        return cls(rendered, spread, _names(given.get("hidden")), _names(given.get("without")))

    def to_mapping(self) -> dict[str, Any]:
        """Plain types."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def whole(self) -> int:
        """Characters of each answer that a page needs besides its excerpt."""
        return WHOLE if self.rendered else 0


def render_page(page: dict[str, Any]) -> dict[str, Any]:
    """A page of `ExamplePages` with a `tree` (see `rendered`) in the place of each cell's text."""
    for row in page["rows"]:
        for cell in row["cells"]:
            if "text" in cell:
                cell["tree"] = rendered(cell.pop("text"))
    return page


def render_example(example: dict[str, Any]) -> dict[str, Any]:
    """An opened example with a `tree` beside each answer's text."""
    for variant in example["variants"]:
        for repeat in variant["repeats"]:
            if repeat["state"] in ("fresh", "replayed"):
                repeat["tree"] = rendered(repeat["text"])
    return example


def _names(given: object) -> tuple[str, ...]:
    return tuple(name for name in given if isinstance(name, str))[:_MOST] if isinstance(given, list) else ()
