"""What a load test found: a table of models and loads, one sentence that answers, and what a reader must know besides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from workbench import tables
from workbench.errors import RunError
from workbench.loadtest.answer import answer
from workbench.loadtest.machine import machine
from workbench.loadtest.measures import METRICS, Cell, Sample, figure, interval
from workbench.loadtest.notes import notes
from workbench.loadtest.plan import Load, Target
from workbench.loadtest.weight import Unfitted, fit_weight
from workbench.records import Interval, ModelInfo
from workbench.running.saving import write_json

if TYPE_CHECKING:
    import pandas as pd

    from workbench.loadtest.against import Change
    from workbench.pricing import FittedWeight

__all__ = ["LoadTest", "Setup"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Setup:
    """A model as it was measured. words: of each prompt; words_per_token: what its tokeniser makes of them, None if unknown."""

    model: str
    kind: str
    digest: str | None
    server_version: str | None
    origin: str
    words: int
    words_per_token: float | None

    @classmethod
    def of(cls, model: str, kind: str, info: ModelInfo, *, words: int, words_per_token: float | None) -> Setup:
        """From what the endpoint said of the model."""
        return cls(model, kind, info.digest, info.server_version, info.origin, words, words_per_token)


@dataclass(frozen=True)
class LoadTest:
    """A load test and what it says.

    created_at: Unix seconds. settings: as `LoadPlan.settings` gives them. path: its folder. problems: why a model was given up,
    by model. stopped: why the whole ended early, None if it did not.
    """

    test_id: str
    created_at: float
    settings: Mapping[str, Any]
    path: Path
    setups: tuple[Setup, ...] = ()
    cells: tuple[Cell, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)
    stopped: str | None = None
    machine: Mapping[str, str] = field(default_factory=machine)

    # -- what it holds --------------------------------------------------------------------------------------------

    @property
    def models(self) -> tuple[str, ...]:
        """The models that were asked for."""
        return tuple(self.settings["models"])

    @property
    def loads(self) -> tuple[Load, ...]:
        """The loads that were asked for."""
        return tuple(Load(item["concurrency"], item["rate"]) for item in self.settings["loads"])

    @property
    def target(self) -> Target:
        """What a good request keeps."""
        return Target(**self.settings["target"])

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for was measured, and no request failed."""
        cells = len(self.cells) == len(self.models) * len(self.loads)
        return cells and not self.problems and self.stopped is None and not any(cell.errors for cell in self.cells)

    def cell(self, model: str, load: Load) -> Cell | None:
        """What was measured of a model under a load, None if nothing."""
        return next((cell for cell in self.cells if (cell.model, cell.load) == (model, load)), None)

    def setup(self, model: str) -> Setup | None:
        """A model as it was measured, None if it was not."""
        return next((setup for setup in self.setups if setup.model == model), None)

    # -- what it says ---------------------------------------------------------------------------------------------

    @cached_property
    def sentence(self) -> str:
        """Which is faster here, and by how much; or what one model gives."""
        return answer(self)

    def notes(self) -> list[str]:
        """What a reader must know besides: what failed, lengths that differ, a client that was late, others on the server."""
        return notes(self)

    @property
    def weighs(self) -> bool:
        """Whether it was asked for the weight of a prompt token."""
        return bool(self.settings.get("weigh", False))  # tests of before have no such setting

    @cached_property
    def weights(self) -> dict[tuple[str, Load], FittedWeight | str]:
        """What a prompt token takes of a server's time, an output token being 1, by model and load; or why none can tell."""
        found: dict[tuple[str, Load], FittedWeight | str] = {}
        for cell in self.cells:
            try:
                found[cell.model, cell.load] = fit_weight(cell, source=f"load test {self.test_id}")
            except Unfitted as why:
                found[cell.model, cell.load] = str(why)
        return found

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a model and load, as numbers: model, load, concurrency, rate, requests, failed, every figure of `METRICS`
        (tokens_per_second with _low and _high), prompt_tokens and output_tokens (means), lag_p99 and slip_p99 of this client,
        foreign, prefix_share. Seconds, and a second; unknown is NaN, never 0."""
        import pandas as pd

        return pd.DataFrame([self._summary_of(cell) for cell in self.cells])

    def _summary_of(self, cell: Cell) -> dict[str, Any]:
        row: dict[str, Any] = {
            "model": cell.model, "load": cell.load.label, "concurrency": cell.load.concurrency, "rate": cell.load.rate,
            "requests": len(cell.samples), "failed": cell.errors.total(),
        }  # fmt: skip
        for name, metric in METRICS.items():
            found = figure(cell, metric, self.target)
            row[name] = math.nan if found is None else found
        speed = interval(cell, METRICS["tokens_per_second"], self.target)
        prompt, output = cell.lengths("prompt_tokens"), cell.lengths("output_tokens")
        return row | {
            "tokens_per_second_low": speed.low if speed else math.nan,
            "tokens_per_second_high": speed.high if speed else math.nan,
            "prompt_tokens": prompt[0] if prompt else math.nan,
            "output_tokens": output[0] if output else math.nan,
            "lag_p99": cell.lag[1] if cell.lag else math.nan,
            "slip_p99": cell.slip,
            "foreign": math.nan if cell.foreign is None else cell.foreign,
            "prefix_share": math.nan if cell.prefix_share is None else cell.prefix_share,
        }

    def table(self) -> pd.DataFrame:
        """Models and loads side by side as people read it: every cell is text."""
        import pandas as pd

        rows = []
        for values in self.summary.to_dict("records"):
            row = {"model": values["model"], "load": values["load"]}
            for name, title in (("ttft", "TTFT"), ("tpot", "TPOT"), ("latency", "latency")):
                row[f"{title} P50 / P95 / P99"] = _together([values[f"{name}_p{p}"] for p in (50, 95, 99)])
            speed = values["tokens_per_second"], values["tokens_per_second_low"], values["tokens_per_second_high"]
            row |= {"tokens/s": _with_interval(speed), "requests/s": _short(values["requests_per_second"])}
            if self.target:
                row["goodput/s"] = _short(values["goodput"])
            failed = f" ({values['failed']} failed)" if values["failed"] else ""
            rows.append(
                row | {"client lag P99": tables.format_seconds(values["lag_p99"]), "n": f"{values['requests']}{failed}"}
            )
        return pd.DataFrame(rows)

    @property
    def legend(self) -> str:
        """What the less usual words of the table mean, in one line."""
        said = ["TTFT: time to the first token; TPOT: time per output token after it"]
        if self.target:
            said.append(f"goodput: answers a second that keep the target ({self.target})")
        if any(load.concurrency is not None for load in self.loads):
            said.append(
                "N at once: a closed loop, where each of N workers sends its next request when its last is answered"
            )
        if any(load.rate is not None for load in self.loads):
            said.append("N/s: an open loop, where N requests a second arrive however long the answers take")
        said += ["client lag: by how much this process was late in what it had to do", "n: measured requests"]
        return "; ".join(said) + "."

    def samples(self) -> pd.DataFrame:
        """One row a measured request: model, load, due, sent, ended, ttft, tpot, latency, the tokens, error."""
        import pandas as pd

        return pd.DataFrame(
            [
                {"model": cell.model, "load": cell.load.label, **sample._asdict(), "tpot": sample.tpot}
                for cell in self.cells
                for sample in cell.samples
            ]
        )

    def provenance(self) -> pd.DataFrame:
        """By what the figures were made: one row a fact."""
        import pandas as pd

        asked = self.settings
        facts = [("when", f"{datetime.fromtimestamp(self.created_at, UTC):%Y-%m-%d %H:%M} UTC")]
        for setup in self.setups:
            known = f"digest {setup.digest[:16]}" if setup.digest else "digest unknown"
            facts.append(
                ("model", f"{setup.model}, {known}, server {setup.server_version or setup.origin or 'unknown'}")
            )
        for cell in self.cells:
            got = [_told(cell.lengths(name)) for name in ("prompt_tokens", "output_tokens")]
            facts.append(
                ("lengths", f"{cell.model}, {cell.load.label}: prompts of {got[0]}, answers of {got[1]} tokens")
            )
        facts += [
            ("asked for", f"prompts of {asked['prompt_tokens']}, answers of {asked['output_tokens']} tokens"),
            ("seed", str(asked["seed"])),
            ("machine", ", ".join(f"{name} {value}" for name, value in self.machine.items())),
            ("intervals", "95%, of the variation within this run"),
            ("kept in", str(self.path)),
        ]
        return pd.DataFrame(facts, columns=["fact", "value"])

    def against(self, before: LoadTest) -> Change:
        """This test held against an earlier one: every figure's ratio, and how the two set-ups differ."""
        from workbench.loadtest.against import Change

        return Change(before, self)

    # -- how it is kept and shown ---------------------------------------------------------------------------------

    def to_mapping(self) -> dict[str, Any]:
        """Everything in plain types, for JSON: settings, set-ups, every request, and what was made of them. NaN is None."""
        return {
            "version": _VERSION,
            "id": self.test_id,
            "created_at": self.created_at,
            "complete": self.complete,
            "stopped": self.stopped,
            "problems": dict(self.problems),
            "settings": dict(self.settings),
            "machine": dict(self.machine),
            "setups": [asdict(setup) for setup in self.setups],
            "sentence": self.sentence,
            "notes": self.notes(),
            "summary": [
                {name: None if value != value else value for name, value in self._summary_of(cell).items()}
                for cell in self.cells
            ],
            "weights": [
                {"model": model, "load": load.label} | ({"unknown": found} if isinstance(found, str) else asdict(found))
                for (model, load), found in self.weights.items()
            ],
            "cells": [
                {
                    "model": cell.model, "concurrency": cell.load.concurrency, "rate": cell.load.rate, "planned": cell.planned,
                    "started_at": cell.started_at, "lag": cell.lag, "slip": cell.slip, "foreign": cell.foreign,
                    "prefix_share": cell.prefix_share, "busy": cell.busy, "said": dict(cell.said), "columns": Sample._fields,
                    "samples": [list(sample) for sample in cell.samples],
                }
                for cell in self.cells
            ],
        }  # fmt: skip

    def save(self, path: Path | str | None = None) -> Path:
        """Write it as JSON: into its own folder (result.json), or to `path`; whole or not at all."""
        target = self.path / "result.json" if path is None else Path(path).expanduser().resolve()
        return write_json(target, self.to_mapping(), indent=False)

    @classmethod
    def read(cls, path: Path) -> LoadTest:
        """From a file that `save` wrote. Raises RunError if it is none."""
        try:
            found = orjson.loads(path.read_bytes())
            if found["version"] != _VERSION:
                raise ValueError(f"it has version {found['version']!r}, this workbench reads {_VERSION}")
            return cls(
                found["id"], found["created_at"], found["settings"], path.parent,
                tuple(Setup(**item) for item in found["setups"]), tuple(map(_cell, found["cells"])),
                found["problems"], found["stopped"], found["machine"],
            )  # fmt: skip
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{path} is no load test that can be read: {error}. Choose another, or measure again."
            ) from None

    def __str__(self) -> str:
        parts = [self.sentence, ""]
        if self.cells:
            parts += [tables.to_text(self.table()), self.legend, *self._weighed()]
        return "\n".join(
            [*parts, *(f"Note: {note}" for note in self.notes()), f"Kept as {self.test_id} in {self.path}"]
        )

    def _weighed(self) -> list[str]:
        """A line for each weight, of a test that was asked for them."""
        return [
            f"{model}, {load.label}: the weight of a prompt token "
            + (f"cannot be told: {found}." if isinstance(found, str) else f"is {found}, an output token being 1.")
            for (model, load), found in (self.weights if self.weighs else {}).items()
        ]

    __repr__ = __str__

    def _repr_html_(self) -> str:
        told = "".join(f"<p>{tables.html_text(note)}</p>" for note in self.notes())
        shown = ""
        if self.cells:
            table = self.table()  # too wide for a page, so it comes in two
            times = [name for name in table.columns if "P50 / P95" in name]
            shown = tables.to_html(table.drop(columns=times), caption="Throughput")
            shown += tables.to_html(table[["model", "load", *times]], caption="Times")
            shown += f'<p class="wb-note">{tables.html_text(self.legend)}</p>'
            shown += "".join(f"<p>{tables.html_text(line)}</p>" for line in self._weighed())
        return f"<p><strong>{tables.html_text(self.sentence)}</strong></p>{shown}{told}"


def _cell(found: Mapping[str, Any]) -> Cell:
    if tuple(found["columns"]) != Sample._fields:
        raise ValueError(f"its requests have the columns {found['columns']}")
    return Cell(
        found["model"], Load(found["concurrency"], found["rate"]), found["planned"],
        tuple(Sample(*row) for row in found["samples"]), found["started_at"],
        tuple(found["lag"]) if found["lag"] else None, found["slip"], found["foreign"], found["prefix_share"], found["busy"],
        found.get("said", {}),
    )  # fmt: skip


def _together(values: Sequence[float]) -> str:
    """Seconds that share a unit: `118 / 131 / 140 ms`."""
    if any(math.isnan(value) for value in values):
        return "unknown"
    factor, unit = (1000, "ms") if max(values) < 0.9995 else (1, "s")
    shown = [value * factor for value in values]
    digits = 0 if max(shown) >= 99.5 else 1 if max(shown) >= 9.95 else 2
    return f"{' / '.join(f'{value:.{digits}f}' for value in shown)} {unit}"


def _short(value: float) -> str:
    """Three digits, or all of a larger number."""
    if math.isnan(value):
        return "unknown"
    return f"{value:,.0f}" if value >= 999.5 or not value else f"{value:#.3g}".rstrip(".")


def _with_interval(speed: tuple[float, float, float]) -> str:
    value, low, high = speed
    if math.isnan(value):
        return "unknown"
    digits = 0 if value >= 99.5 else 1
    shown = Interval(value, low, high, 0.95)
    return tables.format_number(value, digits) if math.isnan(low) else tables.format_interval(shown, digits=digits)


def _told(lengths: tuple[float, int, int] | None) -> str:
    if lengths is None:
        return "unknown"
    mean, least, most = lengths
    return f"{least:,}" if least == most else f"{mean:,.1f} ({least:,} to {most:,})"
