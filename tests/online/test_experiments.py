"""`bench.experiments`: real releases and counts in one real Valkey; each step is in the history, and refused when it is late."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from workbench.errors import InputError, ReleaseNotFoundError, StalePlanError
from workbench.online import Arm, Guardrail, OnlineExperiment, Rules, assign
from workbench.online.counters import Counters
from workbench.online.experiments import Experiments
from workbench.online.guard import read_rules
from workbench.online.state import shares
from workbench.prompts import draft
from workbench.records import Params, Release, Variant
from workbench.releases import Releases
from workbench.stores.keyvalue import KeyValue

FEATURE = "triage-api"
PEOPLE = [f"user-{number}" for number in range(1_000)]


@pytest.fixture
def kv(valkey_home: Path) -> KeyValue:
    """The embedded Valkey of a home."""
    return KeyValue(None, valkey_home)


@pytest.fixture
def releases(kv: KeyValue, valkey_home: Path) -> Releases:
    """Release 1 is live, 2 and 3 are candidates."""
    made = Releases(kv, valkey_home, author="ann", clock=lambda: 1_000.0)
    for version in (1, 2, 3):
        prompt = replace(draft("triage", f"Label {version}: {{{{message}}}}"), version=version)
        variant = Variant(prompt, "ollama/llama3.2:3b", Params(), "ab" * 32)
        made.create(FEATURE, variant, reason="first", live=version == 1)
    return made


@pytest.fixture
def experiments(kv: KeyValue, releases: Releases) -> Experiments:
    """At a moment of its own."""
    return Experiments(releases, kv, clock=lambda: 1_000.0)


def served(experiments: Experiments) -> dict[str, int]:
    """Which release each user gets."""
    return {user: experiments.assign(FEATURE, user).release for user in PEOPLE[:200]}


def count(kv: KeyValue, experiment: OnlineExperiment, bad: float = 0.0) -> None:
    """Each user calls four times; every 1/bad-th call of the treatment fails. The treatment solves all, the control half."""
    counters = Counters(kv, every=3600)
    for number, user in enumerate(PEOPLE):
        given = assign(experiment, user)
        counters.exposed(FEATURE, given, user)
        for call in range(4):
            treated = given.arm == "treatment"
            failed = treated and bad > 0 and (4 * number + call) % round(1 / bad) == 0
            counters.called(FEATURE, given, user, error=failed, latency=0.2, cost=0.001)
            counters.outcome(FEATURE, given, user, "solved", float(treated or number % 2 == 0))
    assert counters.flush()
    counters.close()


def test_from_a_canary_to_everybody(experiments: Experiments, releases: Releases, kv: KeyValue) -> None:
    """Start, ramp, analyse, promote: nobody loses the treatment, and the history says who, what and why."""
    candidate = releases.get(FEATURE, 2)
    state = experiments.start(FEATURE, treatment=candidate, share=0.1, primary="solved", reason="half the tokens")
    assert ("running", 1, 2) == (state.status, state.experiment.control, state.experiment.arms["treatment"])
    before = served(experiments)
    state = experiments.ramp(FEATURE, 0.5, reason="no trouble in a day")
    after = served(experiments)
    assert all(after[user] == 2 for user, release in before.items() if release == 2)
    assert sum(release == 2 for release in after.values()) > sum(release == 2 for release in before.values()) > 0
    count(kv, state.experiment)
    said = experiments.analyse(FEATURE)
    assert "solved is higher in treatment" in str(said)
    assert {1, 2} == {*Experiments(releases, kv).minutes(FEATURE, 5)["release"]}
    assert 2 == experiments.promote(FEATURE, reason="solves more").number
    assert {2} == {*served(experiments).values()}
    events = releases.history(FEATURE).events[3:]
    assert [("experiment", "ann"), ("ramp", "ann"), ("release", "ann")] == [(e.kind, e.by) for e in events]
    assert "canary: 1 against 2, 10%" == events[0].sentence
    assert ("no trouble in a day", "canary: 1 against 2, 50%") == (events[1].reason, events[1].sentence)
    assert "experiment canary@1000" == events[2].evidence
    ended = experiments.get(FEATURE)
    assert "ended" == ended.status
    assert "solved is higher in treatment" in str(experiments.analyse(FEATURE))
    assert () == experiments.list()


def test_guardrails_begin_with_the_experiment_and_a_look_acts(
    experiments: Experiments, releases: Releases, kv: KeyValue
) -> None:
    """`check` only looks; `guard` stops the arm, and gives its lease back."""
    rules = [Guardrail("errors", margin=0.05), Guardrail("solved", margin=0.1, lower_is_worse=True)]
    state = experiments.start(FEATURE, treatment=2, share=0.5, guardrails=rules, reason="try")
    assert Rules(tuple(rules)) == read_rules(kv, FEATURE) == state.rules
    assert "nobody has looked at them yet: run `workbench release guard triage-api`" in str(state)
    count(kv, state.experiment, bad=0.25)
    looked = experiments.check(FEATURE)
    assert [("stop", False)] == [(action.kind, action.done) for action in looked.actions]
    assert 2 in served(experiments).values()
    done = experiments.guard(FEATURE)
    assert done is not None
    assert [("stop", True)] == [(action.kind, action.done) for action in done.actions]
    assert {1} == {*served(experiments).values()}
    state = experiments.get(FEATURE)
    assert ("stopped", None) == (state.status, state.holder)
    assert "last look" in str(state)
    assert "stopped by guard: error rate of treatment" in state.frame()["note"][1]
    assert "canary: 1 against 2; treatment stopped" == releases.history(FEATURE).events[-1].sentence
    with pytest.raises(InputError, match="name the arm to promote: every treatment was stopped"):
        experiments.promote(FEATURE, reason="no")
    with pytest.raises(InputError, match=r"every treatment of canary@.* was stopped, for good"):
        experiments.ramp(FEATURE, 0.9, reason="no")
    experiments.set_guardrails(FEATURE, None)
    assert read_rules(kv, FEATURE) is None


def test_the_kill_switch_and_back(experiments: Experiments, releases: Releases) -> None:
    """All get the control, testers too; afterwards everybody has the arm again that they had."""
    experiments.start(FEATURE, treatment=2, share=0.5, overrides={PEOPLE[0]: "treatment"}, reason="try")
    before = served(experiments)
    assert 2 == before[PEOPLE[0]]
    killed = experiments.kill(FEATURE, reason="looks odd")
    assert "killed" == killed.status
    assert {1} == {*served(experiments).values()}
    assert {"control": (1.0, 0.0), "treatment": (0.0, 0.0)} == shares(killed.experiment)
    event = releases.history(FEATURE).events[-1]
    assert ("stop", "looks odd", "canary: 1 against 2, switched off") == (event.kind, event.reason, event.sentence)
    assert killed.sequence == experiments.kill(FEATURE, reason="looks odd to me too").sequence
    assert event == releases.history(FEATURE).events[-1]
    assert "running" == experiments.resume(FEATURE, reason="it was the network").status
    assert before == served(experiments)
    with pytest.raises(InputError, match="is not switched off"):
        experiments.resume(FEATURE, reason="again")


def test_testers_are_added_and_taken_away(experiments: Experiments) -> None:
    """One by one, without touching the others."""
    experiments.start(FEATURE, treatment=2, share=0.0, overrides={"tess": "treatment"}, reason="testers only")
    state = experiments.override(FEATURE, {"carl": "control", "tom": "treatment"}, reason="more testers")
    assert "testers: carl: control, tess: treatment, tom: treatment" in str(state)
    experiments.override(FEATURE, {"tess": None}, reason="she has seen it")
    given = {user: experiments.assign(FEATURE, user) for user in ("tess", "tom", "ann")}
    assert {"tess": 1, "tom": 2, "ann": 1} == {user: found.release for user, found in given.items()}
    assert not any(found.counted for found in given.values())
    with pytest.raises(InputError, match="is given arm 'nobody'"):
        experiments.override(FEATURE, {"tess": "nobody"}, reason="x")


def test_one_of_several_treatments_is_stopped(experiments: Experiments, releases: Releases) -> None:
    """The other goes on; the experiment is ended by hand, and can be read afterwards, by its name too."""
    experiments.start(FEATURE, treatment={"short": 2, "long": 3}, share=0.3, reason="which?", name="two")
    state = experiments.stop(FEATURE, arm="short", reason="too short")
    assert ("running", {"control": 0.3, "short": 0.0, "long": 0.3}) == (
        state.status,
        {arm: found[1] for arm, found in shares(state.experiment).items()},
    )
    assert {1, 3} == {*served(experiments).values()}
    assert "two: 1 against 2, 3, 30% each; short stopped" == releases.history(FEATURE).events[-1].sentence
    ended = experiments.stop(FEATURE, reason="enough")
    assert "ended" == ended.status
    assert ("stop", "experiment two ended") == (
        releases.history(FEATURE).events[-1].kind,
        releases.history(FEATURE).events[-1].sentence,
    )
    assert {0.0} == {*ended.frame()["served"]}
    again = experiments.start(FEATURE, treatment=3, share=0.1, reason="once more", name="two")
    assert ("two@1000", "two@1001") == (ended.experiment.key, again.experiment.key)
    assert "ended" == experiments.get(FEATURE, "two@1000").status
    assert "two@1000: no users yet" in str(experiments.analyse(FEATURE, "two@1000"))
    with pytest.raises(InputError, match="has had no experiment 'three': it has had two@1001, two@1000"):
        experiments.get(FEATURE, "three")


def test_slices_of_a_group_do_not_overlap(experiments: Experiments, releases: Releases) -> None:
    """Two features: users of one experiment are in no other of its group; a slice that is taken is refused, with what is free."""
    releases.create("other-api", releases.get(FEATURE, 1), reason="first")
    releases.create("other-api", releases.get(FEATURE, 2), reason="a try", live=False)
    experiments.start(FEATURE, treatment=2, share=0.5, group="home", slice=(0, 0.4), reason="a")
    with pytest.raises(
        InputError, match=r"users from 0 to 0.4 are in experiment 'canary' of triage-api.*slice=\(0.4, 1\)"
    ):
        experiments.start("other-api", treatment=2, share=0.5, group="home", reason="b")
    experiments.start("other-api", treatment=2, share=0.5, group="home", slice=(0.4, 1), reason="b")
    both = [[experiments.assign(feature, user).counted for feature in (FEATURE, "other-api")] for user in PEOPLE[:200]]
    assert not any(all(found) for found in both)
    assert all(any(found) for found in both)
    assert ["other-api", FEATURE] == sorted(state.experiment.feature for state in experiments.list())
    experiments.stop(FEATURE, reason="enough")
    with pytest.raises(InputError, match=r"users from 0.4 to 1 are in .*slice=\(0, 0.4\)"):
        experiments.start(FEATURE, treatment=3, share=0.5, group="home", slice=(0, 0.5), reason="c")
    experiments.start(FEATURE, treatment=3, share=0.5, group="home", slice=(0, 0.4), reason="c")
    assert pytest.approx(0.2) == shares(experiments.get(FEATURE).experiment)["treatment"][0]


def test_what_is_wrong_is_refused_before_anything_changes(experiments: Experiments, releases: Releases) -> None:
    """With what to do instead; the history has nothing of it."""
    with pytest.raises(InputError, match="no experiment is on triage-api: release 1 is live for everybody"):
        experiments.ramp(FEATURE, 0.5, reason="x")
    with pytest.raises(InputError, match="has had no experiment yet"):
        experiments.get(FEATURE)
    with pytest.raises(ReleaseNotFoundError, match="nothing is live for nothing-api"):
        experiments.start("nothing-api", treatment=2, share=0.1, reason="x")
    with pytest.raises(ReleaseNotFoundError, match="there is no release 9"):
        experiments.start(FEATURE, treatment=9, share=0.1, reason="x", guardrails=[Guardrail("errors", margin=0.1)])
    with pytest.raises(InputError, match=r"is a workbench.online.Guardrail"):
        experiments.start(FEATURE, treatment=2, share=0.1, reason="x", guardrails=["errors"])  # type: ignore[list-item]
    with pytest.raises(InputError, match="is a release of other-api, not of triage-api"):
        experiments.start(
            FEATURE, treatment=replace(releases.get(FEATURE, 2), feature="other-api"), share=1, reason="x"
        )
    with pytest.raises(InputError, match="needs a reason"):
        experiments.start(FEATURE, treatment=2, share=0.1, reason=" ", guardrails=[Guardrail("errors", margin=0.1)])
    assert read_rules(experiments._kv, FEATURE) is None
    assert 3 == len(releases.history(FEATURE))
    experiments.start(FEATURE, treatment=2, share=0.3, reason="try")
    with pytest.raises(InputError, match="'canary' is on triage-api already"):
        experiments.start(FEATURE, treatment=3, share=0.3, reason="try", name="other")
    with pytest.raises(InputError, match="A ramp only grows"):
        experiments.ramp(FEATURE, 0.1, reason="less")
    assert 0.1 == experiments.ramp(FEATURE, 0.1, reason="less", shrink=True).experiment.share
    with pytest.raises(InputError, match="has no treatment 'nobody': it has treatment"):
        experiments.promote(FEATURE, "nobody", reason="x")
    with pytest.raises(InputError, match="has no treatment 'nobody'"):
        experiments.stop(FEATURE, arm="nobody", reason="x")


def test_a_change_that_comes_late_is_refused(
    experiments: Experiments, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody rolls back while the ramp is decided: the experiment that ended does not come back."""
    releases.promote(FEATURE, 3, reason="better")
    experiments.start(FEATURE, treatment=2, share=0.1, reason="try")
    ramped = OnlineExperiment.ramped

    def slowly(self: OnlineExperiment, share: float) -> OnlineExperiment:
        releases.rollback(FEATURE, reason="trouble")
        return ramped(self, share)

    monkeypatch.setattr(OnlineExperiment, "ramped", slowly)
    with pytest.raises(StalePlanError, match="now release 1 is live"):
        experiments.ramp(FEATURE, 0.5, reason="more")
    assert {1} == {*served(experiments).values()}


def test_the_state_is_shown_as_text_html_and_mapping(experiments: Experiments, releases: Releases) -> None:
    """Shares served and compared; what others have written is escaped."""
    made: Release = releases.create(FEATURE, releases.get(FEATURE, 2), reason="a try", live=False)
    state = experiments.start(
        FEATURE, treatment=made, share=0.8, overrides={"<b>": "treatment"}, primary="solved", reason="try"
    )
    assert "triage-api, experiment canary@1000: running, release 1 against 4" in str(state)
    assert {"control": (pytest.approx(0.2), pytest.approx(0.2)), "treatment": (0.8, pytest.approx(0.2))} == shares(
        state.experiment
    )
    assert "&lt;b&gt;" in state._repr_html_()
    assert "<b>" not in state._repr_html_()
    plain = state.to_mapping()
    assert ("running", 4, []) == (plain["status"], plain["arms"]["treatment"]["release"], plain["guardrails"])
    assert (Arm("treatment", 4),) == state.experiment.treatments


RAILS = {
    "errors": Guardrail("errors", margin=0.05),
    "slow": Guardrail.p95(2.0, margin=0.05),
    "cost": Guardrail("cost", margin=0.2, relative=True),
    "solved": Guardrail("solved", margin=0.05, lower_is_worse=True),
}


@pytest.mark.parametrize("treated", ["worse", "better"])
@pytest.mark.parametrize("metric", RAILS)
def test_each_guardrail_sees_harm_and_only_harm(
    experiments: Experiments, kv: KeyValue, metric: str, treated: str
) -> None:
    """Error rate, P95, cost and quality, from real counts: one arm is bad at one. If it is the control, nothing is done."""
    state = experiments.start(FEATURE, treatment=2, share=0.5, guardrails=[*RAILS.values()], reason="try")
    counters = Counters(kv, every=3600)
    counters.called(FEATURE, experiments.assign(FEATURE, None), None)
    assert counters.flush()  # from now on it knows what slow means
    for number, user in enumerate(PEOPLE):
        given = assign(state.experiment, user)
        counters.exposed(FEATURE, given, user)
        for call in range(3):
            bad = metric if (given.arm == "treatment") == (treated == "worse") and (number + call) % 3 else ""
            good = (number + call) % 20 > 0
            latency, cost = 3.0 if bad == "slow" else 0.5, 0.01 if bad == "cost" else 0.004
            counters.called(
                FEATURE, given, user, error=bad == "errors" or not good, latency=latency, cost=cost + call * 1e-4
            )
            counters.outcome(FEATURE, given, user, "solved", float(bad != "solved" and good))
    assert counters.flush()
    counters.close()
    found = experiments.check(FEATURE)
    failed = {(check.metric, check.arm) for check in found.checks if check.state == "failed"}
    if treated == "worse":
        assert {(metric, "treatment")} == {(name, arm) for name, arm in failed if arm != "live"}
        assert [("stop", "treatment")] == [(a.kind, a.arm) for a in found.actions if a.kind == "stop"]
    else:
        assert not [arm for _, arm in failed if arm == "treatment"]
        assert not [action for action in found.actions if action.kind == "stop"]
