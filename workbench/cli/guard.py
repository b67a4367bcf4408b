"""`workbench release guard`."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from workbench.errors import StoreError
    from workbench.online.guard import Evaluation, Guard
    from workbench.online.rules import Rules
    from workbench.stores.keyvalue import KeyValue

__all__ = ["guard"]


def guard(
    *features: str,
    error_margin: float | None = None,
    error_limit: float | None = None,
    p95: float | None = None,
    slow_margin: float | None = None,
    cost_margin: float | None = None,
    cost_limit: float | None = None,
    score: list[str] | None = None,
    level: float = 0.05,
    fewest: int = 100,
    once: bool = False,
    dry_run: bool = False,
    every: float = 10.0,
    off: bool = False,
    json_output: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Guard features: a treatment that breaks a guardrail is stopped, a live release that does is rolled back. Runs until Ctrl-C.

    Guardrails that are given are kept with the feature, for the next time and for other guards; one guard at a time acts.

    Parameters
    ----------
    features
        Such as triage-api; by default all that have guardrails.
    error_margin
        By how much a treatment's error rate may be above the control's, such as 0.02 for 2 points.
    error_limit
        What the error rate of a treatment, or of the live release, may not be above.
    p95
        Seconds that the 95th percentile of latency, of a treatment or of the live release, may not be above.
    slow_margin
        By how much a treatment's share of calls above --p95 may be above the control's.
    cost_margin
        By how much, as a share, a treatment's cost of a call may be above the control's, such as 0.2 for 20%.
    cost_limit
        Dollars that a call of a treatment, or of the live release, may not cost on average.
    score
        NAME=MARGIN: by how much a treatment's mean of this outcome may be below the control's; may be given again.
    level
        How likely, at most, a false alarm is, over all guardrails and all looks.
    fewest
        Users in each arm below which nothing is decided.
    once
        Look once, act, and end; exit code 1 if something failed.
    dry_run
        Look once, and only say what would be done; given guardrails are not kept.
    every
        Seconds between looks, less than the 30 after which another guard takes over.
    off
        Take the guardrails away.
    json_output
        One JSON object for each look.
    """
    from workbench.errors import InputError
    from workbench.online.guard import Guard, guarded, write_rules
    from workbench.workbench import Workbench

    rules = _rules(error_margin, error_limit, p95, slow_margin, cost_margin, cost_limit, score or [], level, fewest)
    if rules is not None and not features:
        raise InputError(
            "guardrails belong to a feature: name one, as in `workbench release guard triage-api --p95 2`."
        )
    if not 0 < every < 30:
        raise InputError(f"--every {every!r} must lie between 0 and 30 seconds.")
    bench = Workbench()
    kv: KeyValue = bench._release_kv
    names = features or tuple(item.feature for item in guarded(kv))
    if not names:
        raise InputError("no feature has guardrails: `workbench release guard triage-api --error-margin 0.02 --p95 2`.")
    if off:
        for name in names:
            write_rules(kv, name, None)
        print(f"guardrails taken away: {', '.join(names)}")
        return 0
    for name in features:  # a slip in the name would be guarded for ever, and the feature that was meant by nobody
        bench.releases.must_be_live(name)
    acting = Guard(kv, bench.releases)
    if dry_run:
        return _print([acting.evaluate(name, rules) for name in names], json_output)
    for name in names if rules is not None else ():
        write_rules(kv, name, rules)
    if once:
        return _once(acting, kv, names, json_output)
    _watch(acting, names, every, json_output)
    return 0


def _rules(
    error_margin: float | None, error_limit: float | None, p95: float | None, slow_margin: float | None,
    cost_margin: float | None, cost_limit: float | None, scores: Sequence[str], level: float, fewest: int,
) -> Rules | None:  # fmt: skip
    from workbench.errors import InputError
    from workbench.online.rules import Guardrail, Rules

    found = []
    if error_margin is not None or error_limit is not None:
        found.append(Guardrail("errors", margin=error_margin, limit=error_limit))
    if p95 is not None:
        found.append(Guardrail.p95(p95, slow_margin))
    elif slow_margin is not None:
        raise InputError("--slow-margin is about calls that take longer than --p95: give both.")
    if cost_margin is not None or cost_limit is not None:
        found.append(Guardrail("cost", margin=cost_margin, relative=cost_margin is not None, limit=cost_limit))
    for text in scores:
        name, _, margin = text.partition("=")
        try:
            value = float(margin)
        except ValueError:
            value = math.nan
        if not value >= 0:
            raise InputError(f"--score {text!r} must be NAME=MARGIN, such as solved=0.05.")
        found.append(Guardrail(name, margin=value, lower_is_worse=True))
    return Rules(tuple(found), level, fewest) if found else None


def _once(acting: Guard, kv: KeyValue, names: Sequence[str], json_output: bool) -> int:
    from workbench.online.guard import guarded

    found = []
    try:
        for name in names:
            seen = acting.step(name)
            if seen is None:
                holder = next((item.holder for item in guarded(kv) if item.feature == name), None)
                print(f"{name}: {holder or 'another guard'} has it; --dry-run only looks")
            else:
                found.append(seen)
    finally:
        acting.release(names)
    return _print(found, json_output)


def _watch(acting: Guard, names: Sequence[str], every: float, json_output: bool) -> None:
    stop, shown = threading.Event(), dict[str, object]()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def tell(found: Evaluation | StoreError) -> None:
        from datetime import UTC, datetime

        from workbench.online.guard import Evaluation

        if not isinstance(found, Evaluation):
            if shown.get("") != str(found):
                shown[""] = str(found)
                print(found, flush=True)
            return
        shown.pop("", None)
        states = [(check.metric, check.arm, check.kind, check.state) for check in found.checks]
        now = (found.release, found.experiment, states, [action.kind for action in found.actions], len(found.notes))
        if shown.get(found.feature) != now:
            shown[found.feature] = now
            if not json_output:
                print(f"{datetime.now(UTC):%H:%M:%S} UTC", end=" ")
            _print([found], json_output)

    acting.watch(names, every=every, stop=stop, tell=tell)


def _print(found: Sequence[Evaluation], json_output: bool) -> int:
    from workbench.tables import clean_text

    for item in found:
        print(json.dumps(item.to_mapping()) if json_output else clean_text(str(item)), flush=True)
    return 0 if all(item.ok for item in found) else 1
