"""Who gets which release: exact, uniform, independent, and never a flip."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency

from workbench.errors import InputError
from workbench.online.assignment import BUCKETS, Arm, Experiment, Parsed, assign, bucket

VECTORS = [
    ("checkout", "u1", 1427180716049212),
    ("checkout", "u2", 3211573193046201),
    ("triage-api.canary", "ann@example.org", 1206148803717365),
    ("triage-api.canary", "", 1300473577175315),
    ("s", "ä", 4430832028673018),
    ("s", "🙂", 4226847121165332),
    ("s", "a\ud800", 2384666061294545),
    ("group/home", "u1", 1959820735575105),
]
PEOPLE = [f"user-{number}" for number in range(4_000)]
SHARES = st.floats(0, 1)


def canary(share: float = 0.5, **changes: object) -> Experiment:
    """Release 1 against release 2."""
    return replace(Experiment("triage-api", "canary", 1, (Arm("treatment", 2),), share), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("salt", "unit", "expected"), VECTORS)
def test_the_documented_vectors(salt: str, unit: str, expected: int) -> None:
    """Other languages find the same numbers; these were checked with sha256sum and with JavaScript."""
    assert expected == bucket(salt, unit)


def test_uniform_over_a_million_users() -> None:
    """Chi-square over 1,000 cells."""
    places = np.fromiter((bucket("uniform", str(n)) for n in range(1_000_000)), dtype=np.int64)
    counts = np.bincount(places * 1_000 // BUCKETS, minlength=1_000)
    statistic = float(((counts - 1_000) ** 2 / 1_000).sum())
    assert chi2.ppf(0.001, 999) < statistic < chi2.ppf(0.999, 999)


@pytest.mark.parametrize("others", [("b", "user"), ("a ", "user"), ("a", "User")])
def test_independent_between_salts(others: tuple[str, str]) -> None:
    """Where a user falls under one salt says nothing of another, however near the salts or the names are."""
    salt, name = others
    table = np.zeros((10, 10))
    for number in range(100_000):
        first, second = bucket("a", f"user{number}"), bucket(salt, f"{name}{number}")
        table[first * 10 // BUCKETS, second * 10 // BUCKETS] += 1
    assert 0.001 < chi2_contingency(table).pvalue


def test_equal_in_processes_with_other_hash_seeds() -> None:
    """Python's own hash would differ."""
    script = (
        "from workbench.online.assignment import Arm, Experiment, assign\n"
        "e = Experiment('triage-api', 'canary', 1, (Arm('treatment', 2),), 0.3)\n"
        "print(''.join(str(assign(e, f'user-{n}').release) for n in range(500)))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "4242")
    }
    here = "".join(str(assign(canary(0.3), f"user-{n}").release) for n in range(500))
    assert {here + "\n"} == said
    assert 100 < here.count("2") < 200


@settings(max_examples=60, deadline=None)
@given(SHARES, SHARES)
def test_a_growing_share_moves_nobody_out_of_a_treatment(first: float, second: float) -> None:
    """Nor is anybody counted in one arm now and in another later."""
    low, high = sorted((first, second))
    for user in PEOPLE[:300]:
        before, after = assign(canary(low), user), assign(canary(high), user)
        assert after.release == 2 or before.release == 1
        if before.counted and after.counted:
            assert before.arm == after.arm


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 5), st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_nobody_ever_changes_between_several_treatments(count: int, shares: list[float]) -> None:
    """Over a whole ramp each user has one arm at most."""
    arms = tuple(Arm(f"t{n}", n + 2) for n in range(count))
    ramp = [Experiment("f", "many", 1, arms, share / (count + 1)) for share in sorted(shares)]
    for user in PEOPLE[:100]:
        seen = [assign(step, user) for step in ramp]
        assert 1 >= len({found.arm for found in seen if found.arm is not None})
        inside = [found.counted for found in seen]
        assert sorted(inside) == inside


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8, 1.0])
def test_compared_arms_have_the_same_share(share: float) -> None:
    """Each of them min(share, 1 - share); the treatment is served to the share that was asked for."""
    found = [assign(canary(share), user) for user in PEOPLE]
    served = sum(item.release == 2 for item in found) / len(PEOPLE)
    assert share == pytest.approx(served, abs=0.03)
    for arm in ("control", "treatment"):
        counted = sum(item.counted and item.arm == arm for item in found) / len(PEOPLE)
        assert min(share, 1 - share) == pytest.approx(counted, abs=0.03)


def test_groups_keep_experiments_apart() -> None:
    """Users of one slice are in no experiment of another; all of a slice are in it."""
    first = canary(0.5, name="a", group="home", slice=(0, 0.4), salt="a")
    second = Experiment("other", "b", 5, (Arm("treatment", 6),), 0.5, group="home", slice=(0.4, 1))
    inside = [(assign(first, user).counted, assign(second, user).counted) for user in PEOPLE]
    assert not any(one and two for one, two in inside)
    assert 1.0 == sum(one or two for one, two in inside) / len(PEOPLE)
    assert pytest.approx(0.4, abs=0.03) == sum(one for one, _ in inside) / len(PEOPLE)
    outside = next(user for user in PEOPLE if not assign(first, user).counted)
    assert ("excluded", 1) == (assign(first, outside).why, assign(first, outside).release)


def test_testers_get_their_arm_and_are_not_counted() -> None:
    """Also in an experiment with no share; but not if it is switched off."""
    experiment = canary(0.0, overrides={"tess": "treatment", "carl": "control"})
    tess, carl = assign(experiment, "tess"), assign(experiment, "carl")
    assert (2, False, "tester") == (tess.release, tess.counted, tess.label)
    assert (1, False, "tester") == (carl.release, carl.counted, carl.label)
    assert 1 == assign(replace(experiment, enabled=False), "tess").release


def test_the_kill_switch_and_unknown_users_get_the_control() -> None:
    """And are not counted."""
    off = {(a.release, a.counted, a.why) for a in (assign(canary(enabled=False), user) for user in PEOPLE[:50])}
    assert {(1, False, "off")} == off
    for unknown in (None, ""):  # an empty text would be one user of many, and in the treatment with all of them
        nobody = assign(canary(1.0), unknown)
        assert (1, False, "anonymous", "live") == (nobody.release, nobody.counted, nobody.why, nobody.label)


def test_a_stopped_treatment_is_served_to_nobody() -> None:
    """The other one goes on, in the same places, and is compared with the control alone."""
    both = Experiment("f", "two", 1, (Arm("a", 2), Arm("b", 3)), 0.2)
    one = both.stopped("a", at=5.0, by="guard", reason="errors", worst=0.5)
    for user in PEOPLE[:1_000]:
        before, after = assign(both, user), assign(one, user)
        if before.arm == "a":
            assert (1, False, "stopped") == (after.release, after.counted, after.why)
        else:
            assert (before.release, before.arm) == (after.release, after.arm)
    assert {"b+control"} == {found.stage for user in PEOPLE if (found := assign(one, user)).counted}
    assert {"at": 5.0, "by": "guard", "reason": "errors", "numbers": {"worst": 0.5}} == one.treatments[0].stopped
    none = one.stopped("b", at=6.0, by="ann", reason="enough")
    assert not any(assign(none, user).counted for user in PEOPLE[:500])


def test_an_experiment_survives_json() -> None:
    """With all its fields, and gives the same arms."""
    import orjson

    experiment = canary(
        0.25, group="g", slice=(0.1, 0.9), overrides={"tess": "treatment"}, started_at=17.5, primary="solved"
    ).stopped("treatment", at=1.0, by="b", reason="r")
    back = Experiment.from_mapping(orjson.loads(orjson.dumps(experiment.to_mapping())))
    assert experiment == back
    assert [assign(experiment, user) for user in PEOPLE[:99]] == [assign(back, user) for user in PEOPLE[:99]]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"share": 1.5}, "share = 1.5 must be a number from 0 to 1"),
        ({"share": True}, "share = True must be"),
        ({"control": 0}, "control = 0 must be the number of a release"),
        ({"treatments": ()}, "name at least one"),
        ({"treatments": (Arm("control", 2),)}, "none of them 'control'"),
        ({"treatments": (Arm("a", 2), Arm("a", 3))}, "each once"),
        ({"treatments": (Arm("a", 2), Arm("b", 3))}, "room for 0.3333 each"),
        ({"salt": "a:b"}, "must hold no colon"),
        ({"slice": (0.0, 0.5)}, "name the group too"),
        ({"group": "g", "slice": (0.5, 0.5)}, "start < end"),
        ({"overrides": {"u": "nobody"}}, "'u' is given arm 'nobody'"),
        ({"name": "a b"}, "not usable as a name"),
        ({"treatments": (Arm("t", 2, stopped=False),)}, "stopped = False of arm 't' must be None"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], says: str) -> None:
    """With the field, the value and the fix."""
    with pytest.raises(InputError, match=says):
        canary(**changes)  # type: ignore[arg-type]


def test_what_cannot_be_read_is_refused() -> None:
    """An unknown version or field, or no experiment at all."""
    good = canary().to_mapping()
    for bad, says in (
        (good | {"version": 2}, "version 2, and this program reads 1"),
        (good | {"colour": "red"}, "unknown field 'colour'"),
        ({"version": 1}, "this is no experiment"),
        (good | {"treatments": 3}, "this is no experiment"),
    ):
        with pytest.raises(InputError, match=says):
            Experiment.from_mapping(bad)


def test_parsed_once_and_void_after_a_rollback() -> None:
    """The same mapping gives the same object; one against a release that is not live, or of a newer program, gives none."""
    parsed, mapping = Parsed(), canary().to_mapping()
    found = parsed.of("triage-api", mapping, 1)
    assert found == canary()
    assert found is parsed.of("triage-api", mapping, 1)
    assert parsed.of("triage-api", mapping, 7) is None
    assert parsed.of("triage-api", None, 1) is None
    assert parsed.of("triage-api", mapping | {"version": 9}, 1) is None
