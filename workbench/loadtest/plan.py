"""What a load test would do and cost, before it does anything."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench import tables
from workbench.errors import InputError
from workbench.loadtest.workload import FORCES_LENGTH, poisson_arrivals
from workbench.records import Params, Usage, split_model
from workbench.settings import Endpoint

__all__ = ["Load", "LoadPlan", "Target", "make_load_plan"]

_CALIBRATION = 2  # calls that find out how many words make the prompt's length
_FEWEST = 32
_ROUNDS = 4  # of a concurrency, so that start and end weigh little
_WARM_ARRIVALS = 4
_WEIGHING = 16  # rounds, where the prompts' lengths vary
_MOST_AT_ONCE = 4_096
_MOST_REQUESTS = 100_000
_MOST_TOKENS = 100_000_000  # of one load: its prompts are made before it begins, and 500 MB is enough
_MOST_LOADS = 32
_LONGEST = 24 * 3600.0
_SPARE_FILES = 64


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked of a model. One of the two is set.

    concurrency: closed loop, so many workers that each send their next request when the last one is answered.
    rate: open loop, Poisson arrivals of so many requests a second, however long the answers take.
    """

    concurrency: int | None = None
    rate: float | None = None

    @property
    def label(self) -> str:
        """`16 at once` or `2.5/s`."""
        return f"{self.concurrency} at once" if self.concurrency is not None else f"{self.rate:g}/s"

    @property
    def words(self) -> str:
        """For the end of a sentence: `with 16 at once` or `at 2.5 requests a second`."""
        return f"with {self.label}" if self.concurrency is not None else f"at {self.rate:g} requests a second"


@dataclass(frozen=True, slots=True)
class Target:
    """What a request must keep to be good: seconds to the first token, for each later token, for the whole; None: any."""

    ttft: float | None = None
    tpot: float | None = None
    latency: float | None = None

    def __str__(self) -> str:
        named = (("TTFT", self.ttft), ("TPOT", self.tpot), ("latency", self.latency))
        return ", ".join(f"{name} ≤ {tables.format_seconds(value)}" for name, value in named if value is not None)

    def __bool__(self) -> bool:
        return any(value is not None for value in (self.ttft, self.tpot, self.latency))


@dataclass(frozen=True)
class LoadPlan:
    """A load test that has not run yet: every model under every load.

    requests, warmup: measured and discarded requests, one number a load. prompt_tokens, output_tokens: of each request.
    shared_tokens: how many of the prompt's first tokens are the same in all of them. raw: no chat template.
    weigh: prompts by turns of a fourth and of seven fourths of prompt_tokens (`prompt_lengths`).
    usd: dollars, None if a price is unknown (`unpriced` names the models).
    """

    models: tuple[str, ...]
    loads: tuple[Load, ...]
    requests: tuple[int, ...]
    warmup: tuple[int, ...]
    prompt_tokens: int
    output_tokens: int
    shared_tokens: int
    target: Target
    seed: int
    params: Params
    raw: bool
    timeout: float
    usd: float | None
    unpriced: tuple[str, ...] = ()
    unforced: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    weigh: bool = False

    @property
    def calls(self) -> int:
        """Measured requests."""
        return len(self.models) * sum(self.requests)

    @property
    def warmups(self) -> int:
        """Discarded requests."""
        return len(self.models) * (sum(self.warmup) + _CALIBRATION)

    @property
    def prompt_lengths(self) -> tuple[int, ...]:
        """Tokens of the prompts: one length, or the two that waves of requests take by turns."""
        return _by_turns(self.prompt_tokens) if self.weigh else (self.prompt_tokens,)

    @property
    def seconds(self) -> float | None:
        """At least so long, where the rates say so; None where it depends on the server alone."""
        if any(load.rate is None for load in self.loads):
            return None
        lasts = (poisson_arrivals(load.rate or 1, count, self.seed)[-1] for load, count in self._sized)
        return len(self.models) * sum(lasts)

    @property
    def _sized(self) -> list[tuple[Load, int]]:
        return list(zip(self.loads, self.requests, strict=True))

    def settings(self) -> dict[str, Any]:
        """What was asked for, in plain types, for JSON."""
        return {
            "models": list(self.models),
            "loads": [
                {"concurrency": load.concurrency, "rate": load.rate, "requests": count, "warmup": warm}
                for (load, count), warm in zip(self._sized, self.warmup, strict=True)
            ],
            "prompt_tokens": self.prompt_tokens,
            "output_tokens": self.output_tokens,
            "shared_tokens": self.shared_tokens,
            "target": {"ttft": self.target.ttft, "tpot": self.target.tpot, "latency": self.target.latency},
            "seed": self.seed,
            "params": self.params.to_mapping(),
            "raw": self.raw,
            "weigh": self.weigh,
            "timeout": self.timeout,
        }

    def lines(self) -> list[tuple[str, str]]:
        """What it says, as (name, value) pairs; text and HTML both print these."""
        closed = self.loads[0].concurrency is not None
        how = "at once (closed loop)" if closed else "arrivals a second (open loop, Poisson)"
        levels = ", ".join(f"{load.concurrency if closed else load.rate:g}" for load in self.loads)
        each = f"{self.requests[0]:,}" if len(set(self.requests)) == 1 else ", ".join(f"{n:,}" for n in self.requests)
        alike = f", the first {self.shared_tokens} the same in all" if self.shared_tokens else ", no two prompts alike"
        turns = " by turns" if self.weigh else ""
        tokens = (self.calls + self.warmups) * (self.prompt_tokens + self.output_tokens)
        money = tables.format_money(self.usd)
        if self.usd is None:
            money += f" (no price for {', '.join(self.unpriced)})"
        least = self.seconds
        time = "unknown until it has begun" if least is None else f"at least {tables.format_seconds(least)}"
        pairs = [
            ("models", ", ".join(self.models)),
            ("load", f"{levels} {how}; requests each: {each}"),
            ("prompts", f"about {' and '.join(f'{length:,}' for length in self.prompt_lengths)} tokens{turns}{alike}"),
            ("answers", f"{self.output_tokens:,} tokens"),
            ("target", str(self.target) or "none: no goodput"),
            ("calls", f"{self.calls:,}, and {self.warmups:,} to warm up"),
            ("tokens", f"about {tokens:,}"),
            ("cost", money),
            ("time", time),
        ]
        return pairs + [("note", note) for note in self.notes]

    def __str__(self) -> str:
        return "Plan of a load test\n" + "\n".join(f"  {name:<8} {value}" for name, value in self.lines())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        import pandas as pd

        frame = pd.DataFrame(self.lines(), columns=["plan", "value"])
        return tables.to_html(frame, caption="Plan: what this load test would do. A plan sends nothing.")


def make_load_plan(
    *,
    models: Sequence[str],
    endpoint: Callable[[str], Endpoint],
    kind: Callable[[str], str],
    cost: Callable[[str, Usage], float | None],
    concurrency: Sequence[int] | None = None,
    rate: Sequence[float] | None = None,
    requests: int | None = None,
    warmup: int | None = None,
    prompt_tokens: int = 128,
    output_tokens: int = 32,
    shared_tokens: int = 0,
    target: Target | Mapping[str, float] | None = None,
    seed: int = 0,
    params: Params | None = None,
    raw: bool = False,
    weigh: bool = False,
    timeout: float = 120.0,
) -> LoadPlan:
    """A plan, or an InputError that names what is wrong.

    endpoint(name): its settings. kind(model): of its runtime. cost(model, usage): dollars. requests: of each load, by default
    32, or 4 (to weigh: 16) times the concurrency where that is more. warmup: discarded requests before each load, by default one
    for each at once.
    """
    if isinstance(models, str) or not models:
        raise InputError("models = [...] is missing: name one model or more, such as ['embedded/smollm2-135m'].")
    if len(set(models)) < len(models):
        raise InputError(
            f"models = {list(models)!r}: each model once. To test it under several loads, give several loads."
        )
    for model in models:
        endpoint(split_model(model)[0])
    loads = _loads(concurrency, rate)
    _whole("prompt_tokens", prompt_tokens, 1)
    _whole("output_tokens", output_tokens, 1)
    _whole("shared_tokens", shared_tokens, 0)
    _whole("seed", seed, 0)
    if requests is not None:
        _whole("requests", requests, 1, _MOST_REQUESTS)
    if warmup is not None:
        _whole("warmup", warmup, 0, _MOST_REQUESTS)
    shortest = min(_by_turns(prompt_tokens)) if weigh else prompt_tokens
    if shared_tokens >= shortest:
        among = (
            f"the shortest prompts of {shortest}, a fourth of prompt_tokens"
            if weigh
            else f"prompt_tokens = {prompt_tokens}"
        )
        raise InputError(f"shared_tokens = {shared_tokens} must be less than {among}.")
    _above_zero("timeout", timeout)
    target = _target(target)
    params = params or Params()
    if params.max_tokens is not None:
        raise InputError("params.max_tokens is what output_tokens sets: leave it out of params and give output_tokens.")
    sizes = tuple(_requests_of(load, requests, prompt_tokens + output_tokens, weigh=weigh) for load in loads)
    warm = tuple(load.concurrency or _WARM_ARRIVALS if warmup is None else warmup for load in loads)
    for load, name in itertools.product(loads, {split_model(model)[0] for model in models}):
        _check_budget(endpoint(name), load, prompt_tokens + output_tokens)
    _check_files(max(load.concurrency or 0 for load in loads))
    prices = {model: cost(model, Usage(prompt_tokens, output_tokens)) for model in models}
    unpriced = tuple(model for model, price in prices.items() if price is None)
    usd = sum(price * (sum(sizes) + sum(warm) + _CALIBRATION) for price in prices.values() if price is not None)
    unforced = tuple(model for model in models if kind(model) not in FORCES_LENGTH and "ignore_eos" not in params.extra)
    return LoadPlan(
        models=tuple(models), loads=loads, requests=sizes, warmup=warm, prompt_tokens=prompt_tokens,
        output_tokens=output_tokens, shared_tokens=shared_tokens, target=target, seed=seed, params=params, raw=raw,
        timeout=float(timeout), usd=None if unpriced else usd, unpriced=unpriced, unforced=unforced,
        notes=_notes(loads, sizes, unforced), weigh=weigh,
    )  # fmt: skip


def _requests_of(load: Load, given: int | None, tokens: int, *, weigh: bool) -> int:
    """How many requests, of so many tokens each, this load takes; InputError where they are too few or too many for it."""
    at_once = load.concurrency or 0
    rounds = _WEIGHING if weigh else _ROUNDS
    size = max(_FEWEST, rounds * (at_once or _WARM_ARRIVALS)) if given is None else given
    if size < at_once:
        raise InputError(
            f"{load.label} with requests = {size} would never have {at_once} at once: give requests = "
            f"{_ROUNDS * at_once} or more, or a lower concurrency."
        )
    if size * tokens > _MOST_TOKENS:
        raise InputError(
            f"{size:,} requests of {tokens:,} tokens are more than {_MOST_TOKENS:,} tokens {load.words}: "
            "give fewer requests or shorter ones."
        )
    if load.rate is not None and size / load.rate > _LONGEST:
        raise InputError(
            f"rate = {load.rate:g}: {size:,} requests would take {tables.format_seconds(size / load.rate)}: give a "
            "higher rate or fewer requests."
        )
    return size


def _notes(loads: Sequence[Load], sizes: Sequence[int], unforced: Sequence[str]) -> tuple[str, ...]:
    """What to bear in mind when the figures are read."""
    notes = []
    if unforced:
        notes.append(
            f"{', '.join(unforced)}: this kind of server cannot be told to go on after the end of an answer, so answers may "
            "be shorter; their lengths are measured"
        )
    if any(load.concurrency and size < _ROUNDS * load.concurrency for load, size in zip(loads, sizes, strict=True)):
        notes.append(
            f"fewer than {_ROUNDS} requests for each at once: the beginning and the end, when the load is not full, weigh much"
        )
    if max(sizes) < 100:
        notes.append(
            f"P99 of {max(sizes)} requests is nearly their slowest: for one that can be repeated, give 400 or more"
        )
    return tuple(notes)


def _by_turns(tokens: int) -> tuple[int, int]:
    """A short and a long length whose mean is `tokens`."""
    short = max(1, tokens // 4)
    return short, 2 * tokens - short


def _loads(concurrency: Sequence[int] | None, rate: Sequence[float] | None) -> tuple[Load, ...]:
    if concurrency is not None and rate is not None:
        raise InputError(
            "concurrency and rate were both given: a load is either so many at once (closed loop) or so many arrivals a "
            "second (open loop). Run one after the other."
        )
    name: str = "concurrency" if rate is None else "rate"
    given: Any = ((1, 4, 16) if concurrency is None else concurrency) if rate is None else rate
    values: list[Any] = [given] if isinstance(given, (int, float)) else list(given)
    if not values:
        raise InputError(f"{name} = {given!r} names no load: give one or more, such as {name} = [1, 4].")
    if len(values) > _MOST_LOADS:
        raise InputError(f"{name} names {len(values)} loads: give {_MOST_LOADS} at most.")
    if len(set(values)) < len(values):
        raise InputError(f"{name} = {values!r} names a load twice: give each once.")
    for value in values:
        if name == "concurrency":
            _whole("concurrency", value, 1, _MOST_AT_ONCE)
        else:
            _above_zero("rate", value)
            if value > _MOST_REQUESTS:
                raise InputError(f"rate = {value:g} is more than {_MOST_REQUESTS:,} a second: no client sends so many.")
    return tuple(Load(concurrency=v) if name == "concurrency" else Load(rate=float(v)) for v in sorted(values))


def _target(given: Target | Mapping[str, float] | None) -> Target:
    if given is None:
        return Target()
    values = given if isinstance(given, Mapping) else {"ttft": given.ttft, "tpot": given.tpot, "latency": given.latency}
    for name, value in values.items():
        if name not in ("ttft", "tpot", "latency"):
            raise InputError(f"target: unknown field {name!r}. Known: ttft, tpot, latency, in seconds.")
        if value is not None:
            _above_zero(f"target {name}", value)
    return Target(**values)


def _whole(name: str, value: Any, least: int, most: int = 10_000_000) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(f"{name} = {value!r} must be a whole number from {least} to {most:,}.")


def _above_zero(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise InputError(f"{name} = {value!r} must be a number above 0.")


def _check_budget(endpoint: Endpoint, load: Load, tokens: int) -> None:
    """A load test sends as fast as it was told; a budget would be what it measures."""
    for name, limit, each in (
        ("requests_per_minute", endpoint.requests_per_minute, 1),
        ("tokens_per_minute", endpoint.tokens_per_minute, tokens),
    ):
        if limit is not None and (load.rate is None or load.rate * 60 * each > limit):
            most = limit / 60 / each
            raise InputError(
                f"endpoint {endpoint.name} has a budget, {name} = {limit:g}, which a load {load.words} may exceed: a load test "
                f"is not held back by it. Give a rate of at most {most:.3g} requests a second, or take the budget out of "
                "workbench.toml for this test."
            )


def _check_files(at_once: int) -> None:
    """Every call at once needs a connection, which is an open file."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and at_once + _SPARE_FILES > limit:
        allowed = "" if most == resource.RLIM_INFINITY else f" (at most {most})"
        raise InputError(
            f"concurrency = {at_once} needs as many open files, and this process may have {limit}: raise the limit with "
            f"`ulimit -n {at_once + 1024}`{allowed}, or give a lower concurrency."
        )
