"""What a comparison is made of and what it says: examples, variants, scores; intervals, contrasts, the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from workbench.records.identity import digest
from workbench.records.plain import plain
from workbench.records.prompt import Prompt
from workbench.records.request import Params

__all__ = ["Contrast", "Example", "GuardrailCheck", "Interval", "Score", "Variant", "Verdict"]


@dataclass(frozen=True, slots=True)
class Example:
    """One line of a data set. inputs: the prompt's variables. `line` is where it stood, from 1."""

    id: str
    inputs: Mapping[str, Any]
    expected: Any = None
    context: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    split: str | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """What a scorer found. value None means unscored (with the reason in `explanation`), which is not 0."""

    value: float | None
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing that is compared: a prompt version on a model with params. `digest` names the measurement:
    it holds prompt digest, model, model digest (or the server, where it gives no digest) and params."""

    prompt: Prompt
    model: str
    params: Params
    model_digest: str | None = None
    server_version: str | None = None
    origin: str = ""
    tag: str = ""

    @property
    def label(self) -> str:
        """What tables print: `sentiment@2 · embedded/smollm2-135m`, and the tag that tells params apart."""
        return f"{self.prompt.ref} · {self.model}" + (f" · {self.tag}" if self.tag else "")

    @property
    def digest(self) -> str:
        """SHA-256 of what determines the answers."""
        return digest([self.prompt.digest, self.model, self.model_digest or self.origin, self.params.to_mapping()])


class Interval(NamedTuple):
    """An estimate with a two-sided confidence interval; `level` such as 0.95."""

    estimate: float
    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class GuardrailCheck:
    """A score, latency or cost that must not get worse by more than its margin.

    held: the interval excludes a loss beyond the margin. broken: the interval lies wholly beyond it. unclear: neither.
    """

    name: str
    margin: float
    interval: Interval | None
    state: Literal["held", "broken", "unclear"]
    sentence: str


@dataclass(frozen=True, slots=True)
class Contrast:
    """One variant against the control on the primary score, paired by example.

    n: examples with both scored; discordant: how many of them differ; left_out: examples without a pair.
    n_needed: examples for 80% power to settle it within the margin, from the paired variance; None if it is not defined.
    method: the name of the interval, with its source in `evaluation.statistics`. sd: of the examples' differences.
    labels: of a judge's score, examples that people rated too; judged: the judge's own difference where those corrected it.
    """

    variant: str
    control: str
    decision: Literal["better", "worse", "equivalent", "undecided"]
    interval: Interval | None
    margin: float
    n: int
    discordant: int
    left_out: int
    method: str
    p_value: float | None
    n_needed: int | None
    guardrails: tuple[GuardrailCheck, ...]
    sentence: str
    sd: float | None = None
    labels: int | None = None
    judged: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison says. `winner` is a variant's label: better on the primary score and no guardrail broken."""

    primary: str
    control: str
    contrasts: tuple[Contrast, ...]
    winner: str | None
    sentence: str

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON. Intervals are {estimate, low, high, level}."""
        return plain(asdict(self))  # type: ignore[no-any-return]
