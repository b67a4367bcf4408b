"""What a gate is, and how it is written.

    accuracy: non-inferior 0.02     the variant loses at most 0.02 against the control
    accuracy: better                better than the control
    accuracy >= 0.8                 the variant's own mean score
    p95_ms < 2000                   latency at a quantile: pXX_ms or pXX_s
    ttft_ms < 500                   time to first token, median; ttft_p95_ms at another quantile
    cost_per_call < 0.002           dollars of an answer, on average
    usd < 5                         dollars of all its answers
    error_rate < 0.05               share of calls that fail; errors <= 0 counts those of this run
    unscored_rate < 0.1             share of answers without the primary score; unscored <= 0 counts those of this run

`accuracy` stands for the name of any scorer of the comparison. A gate holds for every variant but the control (of a comparison of
one variant, for that one); ` for NAME` at its end names one of them, by label, prompt reference or model.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from workbench.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from workbench.evaluation.plan import Plan

__all__ = ["Gate", "Kind", "read_gates"]

Kind = Literal[
    "score", "latency", "first_token", "cost_per_call", "usd", "error_rate", "errors", "unscored_rate", "unscored"
]

_NUMBER = r"[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_FOR = re.compile(r"\s+for\s+(?P<variant>.+)$")
_AGAINST = re.compile(
    rf"(?P<name>.+?)\s*:\s*(?:(?P<better>better)|non[-_ ]?inferior(?:\s+(?:by\s+|within\s+)?(?P<margin>{_NUMBER}))?)",
    re.IGNORECASE,
)
_BOUND = re.compile(rf"(?P<name>[^<>=]+?)\s*(?P<sign><=|>=|<|>)\s*\$?(?P<bound>{_NUMBER})\s*(?P<unit>%|ms|s)?")
_QUANTILE = re.compile(r"(?P<first>ttft_?)?(?:p(?P<share>\d{1,2}(?:\.\d+)?)_?)?(?P<unit>ms|s)", re.IGNORECASE)
_PLAIN: dict[str, Kind] = {
    "cost_per_call": "cost_per_call", "usd": "usd", "error_rate": "error_rate", "errors": "errors",
    "unscored_rate": "unscored_rate", "unscored": "unscored",
}  # fmt: skip
_MEASURES = ("p95_ms", "p50_ms", "ttft_ms", "ttft_p95_ms", *_PLAIN)
_SHAPES = "'accuracy: non-inferior 0.02', 'accuracy: better', 'accuracy >= 0.8' or 'p95_ms < 2000'"


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition. text: as it was written. kind: what is measured; score: of which scorer.

    test: "better" and "non-inferior" (by `bound`) are against the control; a sign holds the variant's own value against `bound`,
    in seconds, dollars, shares or the score's units. quantile: of latencies. variants: the labels that it is about.
    """

    text: str
    kind: Kind
    test: Literal["better", "non-inferior", "<", "<=", ">", ">="]
    bound: float
    variants: tuple[str, ...]
    score: str = ""
    quantile: float = 0.5


def read_gates(gates: Sequence[str], plan: Plan) -> tuple[Gate, ...]:
    """The gates as this plan understands them. InputError names what is wrong with one, and what was probably meant."""
    if isinstance(gates, str):
        raise InputError(f"gates = {gates!r} must be a list of texts, such as [{gates!r}].")
    if not isinstance(gates, Sequence) or not gates:
        raise InputError(
            f"gates = {gates!r} must be a list of texts that is not empty, such as [{_SHAPES.split(',')[0]}]."
        )
    return tuple(_read(text, plan) for text in gates)


def _read(text: object, plan: Plan) -> Gate:
    if not isinstance(text, str):
        raise InputError(f"gate {text!r} must be a text, such as {_SHAPES}.")
    wish, named = text.strip(), None
    if found := _FOR.search(wish):
        wish, named = wish[: found.start()], found["variant"].strip()
    variants = _variants(text, named, plan)
    if against := _AGAINST.fullmatch(wish):
        return _against(text, against, variants, plan)
    bound = _BOUND.fullmatch(wish)
    if bound is None:
        raise InputError(f"gate {text!r} cannot be read.{_hint(wish)} Write it like {_SHAPES}.")
    return _bounded(text, bound, variants, plan)


def _against(text: str, found: re.Match[str], variants: tuple[str, ...], plan: Plan) -> Gate:
    score = _score(text, found["name"].strip(), plan, measures=False)
    if len(plan.variants) < 2:
        raise InputError(
            f"gate {text!r} is against the control, and {plan.control} is the only variant: add the version it should be "
            f"held against, or give a bound, such as '{score} >= 0.8'."
        )
    if plan.control in variants:
        raise InputError(f"gate {text!r} would hold the control {plan.control} against itself: name another variant.")
    if found["better"]:
        return Gate(text, "score", "better", 0.0, variants, score)
    if found["margin"] is None:
        raise InputError(
            f"gate {text!r} needs a margin: the loss that does not matter, such as '{score}: non-inferior 0.02'."
        )
    margin = _number(text, found["margin"])
    if margin < 0:
        raise InputError(f"gate {text!r}: the margin must be 0 or more: the loss that does not matter.")
    return Gate(text, "score", "non-inferior", margin, variants, score)


def _bounded(text: str, found: re.Match[str], variants: tuple[str, ...], plan: Plan) -> Gate:
    name, unit, bound = found["name"].strip().rstrip(":").strip(), found["unit"], _number(text, found["bound"])
    test: Any = found["sign"]
    if name in (scorer.name for scorer in plan.scorers):
        if unit:
            raise InputError(f"gate {text!r}: a score has no unit, so leave {unit!r} out (0.8 for 80%).")
        return Gate(text, "score", test, bound, variants, name)
    if timed := _QUANTILE.fullmatch(name):
        if unit:
            raise InputError(f"gate {text!r}: its name already says the unit, so leave {unit!r} out.")
        share = float(timed["share"]) / 100 if timed["share"] else 0.5
        if not (timed["share"] or timed["first"]):
            raise InputError(f"gate {text!r}: say which quantile, such as p95_{name} or ttft_{name}.")
        if not 0 < share < 1:
            raise InputError(f"gate {text!r}: a quantile lies between 0 and 100, such as p95_ms.")
        _check_range(text, bound, test, most=math.inf)
        seconds = bound / 1000 if timed["unit"].lower() == "ms" else bound
        return Gate(text, "first_token" if timed["first"] else "latency", test, seconds, variants, quantile=share)
    kind = _PLAIN.get(name)
    if kind is None:
        _score(text, name, plan, measures=True)
    assert kind is not None  # noqa: S101  (_score has raised)
    if unit == "%" and kind.endswith("_rate"):
        bound, unit = bound / 100, None
    if unit:
        raise InputError(f"gate {text!r}: {name} is not in {unit!r}: leave it out.")
    _check_range(text, bound, test, most=1.0 if kind.endswith("_rate") else math.inf)
    return Gate(text, kind, test, bound, variants)


def _check_range(text: str, bound: float, test: str, *, most: float) -> None:
    """What could never fail, or never pass, is a slip."""
    if test in (">", ">="):
        raise InputError(f"gate {text!r} asks for more of what should be little: write < or <=.")
    if not 0 <= bound <= most or (bound == 0 and test == "<"):
        limits = "from 0 to 1 (5% is 0.05)" if most == 1 else "0 or more"
        raise InputError(f"gate {text!r}: the bound must be {limits}, and nothing is below 0.")


def _score(text: str, name: str, plan: Plan, *, measures: bool) -> str:
    names = [scorer.name for scorer in plan.scorers]
    if name in names:
        return name
    known = [*names, *_MEASURES] if measures else names
    meant = did_you_mean(name, known, 0.5)
    if not measures and (name in _PLAIN or _QUANTILE.fullmatch(name)):
        raise InputError(
            f"gate {text!r}: {name} has a bound of its own, such as '{name} < 2000'. Against the control it is a guardrail of "
            "the comparison (see docs/comparisons.md)."
        )
    more = f" Else there is: {', '.join(_MEASURES)}." if measures else ""
    if not meant:  # such as accuracy, which no scorer is called
        more += f' A scorer gets another name by "as": primary = {{ name = "exact_match", as = "{name}" }}.'
    raise InputError(
        f"gate {text!r}: {name!r} is no score of this comparison.{meant} Its scores: {', '.join(names)}.{more}"
    )


def _variants(text: str, named: str | None, plan: Plan) -> tuple[str, ...]:
    if named is None:
        labels = tuple(variant.label for variant in plan.variants if variant.label != plan.control)
        return labels or (plan.control,)
    found = tuple(v.label for v in plan.variants if named in (v.label, v.prompt.ref, v.model))
    if not found:
        known = [name for v in plan.variants for name in (v.label, v.prompt.ref, v.model)]
        meant = did_you_mean(named, known, 0.5)
        raise InputError(
            f"gate {text!r}: {named!r} is none of the variants.{meant} There are: {'; '.join(v.label for v in plan.variants)}."
        )
    return found


def _number(text: str, number: str) -> float:
    value = float(number.replace("_", ""))
    if not math.isfinite(value):
        raise InputError(f"gate {text!r}: {number} is no number that a gate can hold.")
    return value


def _hint(wish: str) -> str:
    if "==" in wish or re.search(r"[^<>]=", wish):
        return " A measured value is never exactly equal: use <= or >=."
    if "<" in wish or ">" in wish:
        return " After the sign comes one number."
    words = wish.partition(":")[2].split()
    near = difflib.get_close_matches(words[0].lower() if words else "", ("better", "non-inferior"), 1, 0.5)
    if near:
        return f" Did you mean {near[0]!r}{' with its margin' if near[0] != 'better' else ''}?"
    return ""
