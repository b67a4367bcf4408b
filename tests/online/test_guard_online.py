"""The guard: real releases, real counts, one real Valkey."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from workbench.errors import InputError, StoreError
from workbench.online.assignment import Arm, Experiment, Parsed, assign
from workbench.online.counters import Counters
from workbench.online.guard import Evaluation, Guard, guarded, read_rules, write_rules
from workbench.online.keys import key
from workbench.online.picture import read_study
from workbench.online.rules import Guardrail, Rules
from workbench.prompts import draft
from workbench.records import Params, Variant
from workbench.releases import Releases
from workbench.stores.keyvalue import KeyValue

FEATURE = "triage-api"
RULES = Rules((Guardrail("errors", margin=0.03, limit=0.25), Guardrail.p95(2.0)))
Traffic = Callable[..., None]


@pytest.fixture
def kv(valkey_home: Path) -> KeyValue:
    """The embedded Valkey of a home."""
    return KeyValue(None, valkey_home)


@pytest.fixture
def releases(kv: KeyValue, valkey_home: Path) -> Releases:
    """Two releases of a feature: 2 is live, 1 came before."""
    made = Releases(kv, valkey_home, author="ann")
    for version in (1, 2):
        prompt = replace(draft("triage", f"Label {version}: {{{{message}}}}"), version=version)
        made.create(FEATURE, Variant(prompt, "ollama/llama3.2:3b", Params(), "ab" * 32), reason="first")
    return made


@pytest.fixture
def canary(releases: Releases) -> Experiment:
    """Release 2, which is live, against candidate 3."""
    release = releases.get(FEATURE, 2)
    releases.create(FEATURE, release, reason="a try", live=False)
    experiment = Experiment(FEATURE, "canary", 2, (Arm("treatment", 3),), 0.5, started_at=100.0)
    releases.set_experiment(FEATURE, experiment.to_mapping(), reason="is it as good?")
    return experiment


@pytest.fixture
def traffic(kv: KeyValue, releases: Releases) -> Traffic:
    """Users call what is live, through an application that counts; errors by release number."""

    def run(errors: dict[int, float], users: int = 400, latency: float = 0.5, first: int = 0) -> None:
        counters, parsed, rng = Counters(kv, every=3600), Parsed(), np.random.default_rng(first)
        counters.called(FEATURE, assign(Experiment(FEATURE, "x", 1, (Arm("t", 1),), 0), None), None)
        assert counters.flush()  # from now on it knows the guardrails
        live = releases.live(FEATURE)
        assert live is not None
        experiment = parsed.of(FEATURE, live.experiment, live.release.number)
        experiment = experiment or Experiment(FEATURE, "none", live.release.number, (Arm("t", 1),), 0.0, enabled=False)
        for number in range(first, first + users):
            given = assign(experiment, f"user-{number}")
            counters.exposed(FEATURE, given, f"user-{number}")
            for _ in range(3):
                failed = bool(rng.random() < errors[given.release])
                counters.called(FEATURE, given, f"user-{number}", error=failed, latency=latency, cost=0.01)
        assert counters.flush()
        counters.close()

    return run


def test_a_bad_treatment_is_stopped_and_nobody_gets_it_any_more(
    kv: KeyValue, releases: Releases, canary: Experiment, traffic: Traffic
) -> None:
    """The live release stays; who, why and the numbers are in the history."""
    write_rules(kv, FEATURE, RULES)
    traffic({2: 0.02, 3: 0.4})
    guard = Guard(kv, releases, clock=lambda: 500.0)
    looked = guard.evaluate(FEATURE)
    assert ["stop"] == [action.kind for action in looked.actions]
    assert 4 == releases.live(FEATURE).sequence  # type: ignore[union-attr]  # looking has changed nothing

    found = guard.step(FEATURE)
    assert found is not None
    assert [("stop", "treatment", True)] == [(action.kind, action.arm, action.done) for action in found.actions]
    live = releases.live(FEATURE)
    assert live is not None
    assert 2 == live.release.number
    stopped = Experiment.from_mapping(live.experiment or {})
    assert {2} == {assign(stopped, f"user-{n}").release for n in range(300)}
    told = stopped.treatments[0].stopped
    assert told is not None
    assert ("guard", 500.0) == (told["by"], told["at"])
    check = told["numbers"]["checks"][0]
    assert ("errors", "failed") == (check["metric"], check["state"])
    assert check["low"] > 0.03
    event = releases.history(FEATURE).events[-1]
    assert ("guard", "guard") == (event.kind, event.by)
    assert "error rate of treatment" in event.reason
    assert "worse than the control's by more than 3 points" in event.reason

    again = guard.step(FEATURE)
    assert again is not None
    assert () == again.actions
    assert 5 == releases.live(FEATURE).sequence  # type: ignore[union-attr]


def test_a_good_treatment_goes_on(kv: KeyValue, releases: Releases, canary: Experiment, traffic: Traffic) -> None:
    """Nothing is done, and each check says how it stands."""
    write_rules(kv, FEATURE, RULES)
    traffic({2: 0.05, 3: 0.05})
    found = Guard(kv, releases).step(FEATURE)
    assert found is not None
    assert found.ok
    assert {"held", "unclear"} >= {check.state for check in found.checks}
    assert 5 == len(found.checks)
    assert found.ratio_p is not None
    assert found.ratio_p > 0.01
    assert "held     share of calls above 2.0 s of live 0%: not worse than the limit of 5%" in str(found)


def test_a_bad_live_release_is_rolled_back_once(kv: KeyValue, releases: Releases, traffic: Traffic) -> None:
    """To the one before; if a person makes it live again, the guard only says that it fails."""
    write_rules(kv, FEATURE, RULES)
    traffic({2: 0.5})
    guard = Guard(kv, releases)
    found = guard.step(FEATURE)
    assert found is not None
    assert [("rollback", "live", True)] == [(action.kind, action.arm, action.done) for action in found.actions]
    live = releases.live(FEATURE)
    assert live is not None
    assert 1 == live.release.number
    event = releases.history(FEATURE).events[-1]
    assert ("guard", 1, 2) == (event.kind, event.release, event.before)
    assert "error rate of live 48%" in event.reason
    assert "worse than the limit of 25%" in event.reason

    releases.promote(FEATURE, 2, reason="the provider was down, not we")
    again = guard.step(FEATURE)
    assert again is not None
    assert () == again.actions
    assert "the guard has undone it before" in again.notes[0]


def test_with_nothing_to_go_back_to_it_says_so_and_still_stops_the_arm(
    kv: KeyValue, valkey_home: Path, traffic: Traffic, releases: Releases
) -> None:
    """The first release ever fails, and so does its experiment's treatment."""
    prompt = replace(draft("triage", "{{message}}"), version=1)
    releases.create("first", Variant(prompt, "ollama/m", Params(), "ab" * 32), reason="begin")
    releases.create("first", releases.get("first", 1), reason="a try", live=False)
    experiment = Experiment("first", "canary", 1, (Arm("treatment", 2),), 0.5)
    releases.set_experiment("first", experiment.to_mapping(), reason="try")
    write_rules(kv, "first", Rules((Guardrail("errors", limit=0.1),)))
    counters = Counters(kv, every=3600)
    for part in range(2):  # the first sending learns the guardrails
        for number in range(600 * part):
            given = assign(experiment, str(number))
            counters.exposed("first", given, str(number))
            counters.called("first", given, str(number), error=number % 2 == 0)
        counters.called("first", assign(experiment, None), None)
        assert counters.flush()
    counters.close()
    found = Guard(kv, releases).step("first")
    assert found is not None
    assert [("rollback", False), ("stop", True)] == [(action.kind, action.done) for action in found.actions]
    assert "nothing before it to go back to" in found.actions[0].why_not


def test_a_guard_that_was_held_up_cannot_act_late(
    kv: KeyValue, releases: Releases, canary: Experiment, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody changed what is live between its look and its action: it does nothing, and says why."""
    write_rules(kv, FEATURE, RULES)
    traffic({2: 0.02, 3: 0.4})
    guard = Guard(kv, releases)
    look = Guard._look

    def slowly(self: Guard, feature: str, rules: Rules | None) -> object:
        seen = look(self, feature, rules)
        releases.set_experiment(FEATURE, canary.ramped(0.1).to_mapping(), reason="less", kind="ramp")
        return seen

    monkeypatch.setattr(Guard, "_look", slowly)
    found = guard.step(FEATURE)
    assert found is not None
    assert [False] == [action.done for action in found.actions]
    assert "has changed since you looked" in found.actions[0].why_not
    assert "has changed" in str(found)
    assert 0.1 == (releases.live(FEATURE).experiment or {})["share"]  # type: ignore[union-attr]


def test_it_acts_when_memory_is_full(kv: KeyValue, releases: Releases, traffic: Traffic) -> None:
    """A bad release is undone although nothing can be counted any more."""
    write_rules(kv, FEATURE, RULES)
    traffic({2: 0.5})
    kv.sync().config_set("maxmemory-policy", "noeviction")
    kv.sync().config_set("maxmemory", "1")
    found = Guard(kv, releases).step(FEATURE)
    assert found is not None
    assert [True] == [action.done for action in found.actions]
    assert 1 == releases.live(FEATURE).release.number  # type: ignore[union-attr]


def test_one_guard_at_a_time(kv: KeyValue, releases: Releases) -> None:
    """Another gets it when the lease is given back, or has run out; who has it can be seen."""
    write_rules(kv, FEATURE, RULES)
    first, second = Guard(kv, releases, by="one"), Guard(kv, releases, by="two", lease=0.05)
    assert [(None, None)] == [(item.holder, item.looked) for item in guarded(kv)]
    assert first.step(FEATURE) is not None
    assert second.step(FEATURE) is None
    (item,) = guarded(kv)
    assert (FEATURE, RULES) == (item.feature, item.rules)
    assert item.looked is not None
    assert item.holder is not None
    assert item.holder.startswith("one on ")
    second.release([FEATURE])
    assert second.step(FEATURE) is None
    first.release([FEATURE])
    assert second.step(FEATURE) is not None
    assert 0 < kv.sync().pttl(key(FEATURE, "lease")) <= 50
    kv.sync().pexpire(key(FEATURE, "lease"), 0)  # as if it had died
    assert first.step(FEATURE) is not None


def test_watching_tells_a_store_that_is_away_and_goes_on(kv: KeyValue, releases: Releases) -> None:
    """And gives its lease back in the end."""
    write_rules(kv, FEATURE, RULES)
    told: list[Evaluation | StoreError] = []
    stop = threading.Event()

    def tell(found: Evaluation | StoreError) -> None:
        told.append(found)
        if len(told) == 3:
            stop.set()

    def live(feature: str) -> object:
        if len(told) == 1:
            raise StoreError("the key-value store failed: away")
        return Releases.live(releases, feature)

    double = type("ReleasesDouble", (), {"live": staticmethod(live)})()
    Guard(kv, double).watch([FEATURE], every=0.001, stop=stop, tell=tell)
    assert [Evaluation, StoreError, Evaluation] == [type(item) for item in told]
    assert not kv.sync().exists(key(FEATURE, "lease"))


def test_what_stands_in_the_way_is_noted(
    kv: KeyValue, releases: Releases, canary: Experiment, traffic: Traffic
) -> None:
    """No guardrails, nothing live, an experiment that is void, arms that get unequal users, counts that are not whole."""
    guard = Guard(kv, releases)
    assert "it has no guardrails" in guard.evaluate(FEATURE).notes[0]
    assert ("nothing is live",) == guard.evaluate("other").notes
    write_rules(kv, FEATURE, RULES)
    traffic({2: 0.02, 3: 0.4})
    kv.sync().delete(key(FEATURE, "u", f"{canary.key}|treatment|errors"))
    found = guard.evaluate(FEATURE)
    assert () == found.actions
    assert "nothing can be concluded" in found.notes[0]
    kv.sync().hincrby(key(FEATURE, "x", canary.key), "control+treatment|control", 400)
    assert "equally many users" in guard.evaluate(FEATURE).notes[0]
    void = replace(canary, control=1).to_mapping()
    releases.set_experiment(FEATURE, void, reason="a mistake")
    assert "is void: its control is release 1" in guard.evaluate(FEATURE).notes[0]
    assert not read_study(kv, FEATURE, canary.key).whole
    releases.set_experiment(FEATURE, None, reason="over")
    assert "no experiment runs" in guard.evaluate(FEATURE, Rules((Guardrail("errors", margin=0.1),))).notes[0]
    assert () == guard.evaluate(FEATURE, Rules((Guardrail("errors", limit=0.1),))).notes


def test_rules_are_kept_and_taken_away(kv: KeyValue) -> None:
    """As they were written."""
    assert read_rules(kv, FEATURE) is None
    write_rules(kv, FEATURE, RULES)
    assert read_rules(kv, FEATURE) == RULES
    write_rules(kv, FEATURE, None)
    assert (read_rules(kv, FEATURE), guarded(kv)) == (None, ())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Guardrail("errors"), "checks nothing"),
        (lambda: Guardrail("errors", margin=-0.1), "at least 0"),
        (lambda: Guardrail("errors", limit=float("nan")), "must be a number"),
        (lambda: Guardrail("slow", limit=0.05), "`seconds` belongs to"),
        (lambda: Guardrail("errors", limit=0.05, seconds=1.0), "`seconds` belongs to"),
        (lambda: Guardrail("a b", margin=0.1), "not usable as a name"),
        (lambda: Rules(()), "no guardrails"),
        (lambda: Rules((Guardrail("errors", margin=0.1), Guardrail("errors", limit=0.1))), "each metric once"),
        (lambda: Rules((Guardrail("errors", margin=0.1),), level=1.0), "between 0 and 1"),
        (lambda: Rules((Guardrail("errors", margin=0.1),), fewest=5), "at least 30"),
        (lambda: Rules.from_json('{"version": 2}'), "version 2"),
        (lambda: Rules.from_json("{}"), "no guardrails"),
    ],
)
def test_wrong_guardrails_are_named(make: Callable[[], object], says: str) -> None:
    """With what to do."""
    with pytest.raises(InputError, match=says):
        make()
