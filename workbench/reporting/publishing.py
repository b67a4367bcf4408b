"""What a report says in numbers: a notebook publishes them, the run keeps them beside the page.

They travel in the executed notebook, as an output of a type of its own that nothing draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import InputError

__all__ = ["Published", "publish", "published_in"]

MIME = "application/vnd.workbench.report+json"


@dataclass(frozen=True, slots=True)
class Published:
    """numbers: by name; None is unknown. says: what the report says in words, such as its verdict. causes: what could explain a
    change of them (a prompt's digest, a model's, a price)."""

    numbers: Mapping[str, float | None] = field(default_factory=dict)
    says: Mapping[str, str] = field(default_factory=dict)
    causes: Mapping[str, str] = field(default_factory=dict)


def publish(
    numbers: Mapping[str, Any], causes: Mapping[str, Any] | None = None, says: Mapping[str, Any] | None = None
) -> None:
    """Give this report its numbers, such as `publish({"cost.daily_usd": 12.4}, {"model": "llama3.2:3b 9f1c…"})`.

    The next run of the report is held against them, and thresholds are checked on them. Called again, it adds. numbers: None and
    NaN are unknown. causes: texts; what differs from the last run's is named beside the numbers. says: sentences, such as a
    verdict. Raises InputError for a value that is no number.
    """
    from IPython.display import display

    known = {str(name): _number(str(name), value) for name, value in numbers.items()}
    said = {"numbers": known, "causes": _texts(causes), "says": _texts(says)}
    display({MIME: said, "text/plain": ""}, raw=True)  # type: ignore[no-untyped-call]


def published_in(notebook: Any) -> Published:
    """What the cells of an executed notebook published, later ones over earlier ones."""
    numbers: dict[str, float | None] = {}
    causes: dict[str, str] = {}
    says: dict[str, str] = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            said = output.get("data", {}).get(MIME)
            if isinstance(said, Mapping):
                numbers |= said.get("numbers", {})
                causes |= said.get("causes", {})
                says |= said.get("says", {})
    return Published(numbers, says, causes)


def _texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    return {str(name): str(value) for name, value in (values or {}).items()}


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"publish: {name} = {value!r} is no number. Facts in words belong into causes.") from None
    return number if math.isfinite(number) else None
