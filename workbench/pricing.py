"""What a call costs, in US dollars. An unknown price is None, never 0.

A price of yours in `prices.toml` comes first; then genai-prices (offline, dated with the installed version). The embedded and the
scripted runtime charge nothing. A server of your own has no price per token unless you give it one; with a price per hour its
cost is reckoned afterwards, from the time that it was busy (`frames.gpu`).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from workbench.errors import SettingsError, did_you_mean
from workbench.records import Usage
from workbench.settings import Endpoint

__all__ = ["ASSUMED_WEIGHT", "FittedWeight", "Price", "Prices", "Weighed", "call_cost", "read_prices", "weigh"]

ASSUMED_WEIGHT = 0.1  # of a prompt token, where nobody said and nothing was measured


@dataclass(frozen=True, slots=True)
class Price:
    """input, cached_input, output: dollars per million tokens; gpu_usd_per_hour: of all GPUs of an endpoint. prompt_weight: what
    a prompt token takes of a GPU's time, an output token being 1; None: as `workbench bench --weigh` found, see `weigh`.
    since: from when it holds, which reports say."""

    input: float | None = None
    cached_input: float | None = None
    output: float | None = None
    gpu_usd_per_hour: float | None = None
    prompt_weight: float | None = None
    since: date | None = None

    def cost(self, usage: Usage) -> float | None:
        """Dollars for these tokens; None if a price or a count is missing."""
        if self.input is None or self.output is None or usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
        cheap = self.input if self.cached_input is None else self.cached_input
        total = (usage.prompt_tokens - cached) * self.input + cached * cheap + usage.completion_tokens * self.output
        return total / 1e6


@dataclass(frozen=True, slots=True)
class FittedWeight:
    """What a prompt token takes of a model's server, an output token being 1, as a load test found. low, high: its 95% interval.
    in_flight: calls at once, on average, under that load. source: which test."""

    value: float
    low: float
    high: float
    in_flight: float
    source: str

    def __str__(self) -> str:
        return f"{self.value:.2g} [{self.low:.2g}, {self.high:.2g}]"


class Weighed(NamedTuple):
    """A weight that is used, and where it comes from."""

    value: float
    source: str


def weigh(price: Price, fitted: Sequence[FittedWeight] = (), in_flight: float = 1.0) -> Weighed:
    """The weight of a prompt token: what prices.toml says, else the fit whose load is nearest to `in_flight` calls at once, else
    an assumption, and named so."""
    if price.prompt_weight is not None:
        return Weighed(price.prompt_weight, "prices.toml")
    if fitted:
        at = max(in_flight, 1e-3)
        best = min(fitted, key=lambda fit: abs(math.log(max(fit.in_flight, 1e-3) / at)))
        return Weighed(best.value, f"{best.source}, {best.in_flight:.2g} at once, {best}")
    return Weighed(ASSUMED_WEIGHT, "assumed; workbench bench --weigh measures it")


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by model reference, which may hold `*`: the first that fits counts."""

    of_models: Mapping[str, Price] = field(default_factory=dict)

    def find(self, reference: str) -> Price | None:
        """The price of `ENDPOINT/MODEL`, None without one."""
        return next((price for name, price in self.of_models.items() if fnmatchcase(reference, name)), None)

    @property
    def gpus(self) -> dict[str, Price]:
        """Endpoints with a price per hour, by name."""
        return {
            name.partition("/")[0]: price
            for name, price in self.of_models.items()
            if price.gpu_usd_per_hour is not None
        }


def read_prices(path: Path) -> Prices:
    """The prices in a TOML file, none if it is not there. Raises SettingsError that names file, field, value and fix."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Prices()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read as TOML: {error}.") from None
    return Prices({name: _price(values, f'{path}: ["{name}"]', name) for name, values in table.items()})


def call_cost(endpoint: Endpoint, model: str, usage: Usage, prices: Prices | None = None) -> float | None:
    """Dollars for one call to `model` (without its endpoint) with this usage; None if the price or the usage is unknown."""
    own = prices.find(f"{endpoint.name}/{model}") if prices is not None else None
    if own is not None:
        return own.cost(usage)
    if endpoint.kind in ("embedded", "scripted"):
        return 0.0
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    if not endpoint.urls or not _known(endpoint.urls[0], model):
        return None
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price

    used = PricedUsage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cached_tokens,
    )
    try:
        return float(calc_price(used, model_ref=model, provider_api_url=endpoint.urls[0]).total_price)
    except (ValueError, TypeError):  # counts that contradict each other, such as more cached than prompt tokens
        return None


_FIELDS = ("input", "cached_input", "output", "gpu_usd_per_hour", "prompt_weight", "since")


def _price(values: Any, where: str, name: str) -> Price:
    if "/" not in name:
        raise SettingsError(
            f'{where} must be a model reference, ENDPOINT/MODEL, in which * stands for anything: ["vllm/*"].'
        )
    if not isinstance(values, dict):
        raise SettingsError(
            f"{where} = {values!r} must be a table with input and output, in dollars per million tokens."
        )
    for key, value in values.items():
        if key not in _FIELDS:
            meant = did_you_mean(key, _FIELDS)
            raise SettingsError(f"{where}: there is no field {key!r}.{meant} It may have: {', '.join(_FIELDS)}.")
        if key == "since":
            if not isinstance(value, date):
                raise SettingsError(
                    f"{where}: since = {value!r} must be a date, such as since = 2026-11-01 without quotes."
                )
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise SettingsError(f"{where}: {key} = {value!r} must be a number, 0 or above.")
    if ("input" in values) != ("output" in values):
        missing = "output" if "input" in values else "input"
        raise SettingsError(f"{where}: {missing} is missing; both are needed to know what a call costs.")
    if not values.keys() & {"input", "gpu_usd_per_hour"}:
        raise SettingsError(f"{where} has no price: give input and output, or gpu_usd_per_hour.")
    return Price(**values)


@lru_cache(maxsize=256)
def _known(url: str, model: str) -> bool:
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price

    try:
        calc_price(PricedUsage(input_tokens=1, output_tokens=1), model_ref=model, provider_api_url=url)
    except LookupError:
        return False
    return True
