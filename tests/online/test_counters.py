"""Counts of several processes in a real Valkey: whole, once, and never in the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from workbench.errors import InputError, StoreError
from workbench.online.assignment import Arm, Experiment, assign
from workbench.online.counters import Counters
from workbench.online.guard import guarded, write_rules
from workbench.online.picture import Moments, read_minutes, read_picture, read_study
from workbench.online.rules import Guardrail, Rules
from workbench.stores.keyvalue import KeyValue
from workbench.stores.valkey import EmbeddedValkey

WORKER = Path(__file__).with_name("counting_worker.py")
EXPERIMENT = Experiment("triage-api", "canary", 1, (Arm("treatment", 2),), 0.5)
USERS = [f"user-{n}" for n in range(40)]
TREATED = next(user for user in USERS if assign(EXPERIMENT, user).arm == "treatment")


@pytest.fixture
def kv(valkey_home: Path) -> KeyValue:
    """The embedded Valkey of a home."""
    return KeyValue(None, valkey_home)


@pytest.fixture
def counters(kv: KeyValue) -> Iterator[Counters]:
    """Counters that send when they are told to: by themselves only after an hour."""
    made = Counters(kv, every=3600)
    yield made
    made.close(0.0)


class Impatient:
    """A key-value store whose client waits a tenth of a second for an answer, and the rest as `KeyValue` has it."""

    server = None

    def __init__(self, socket: Path) -> None:
        retry = Retry(NoBackoff(), 0)
        self._client = redis.Redis(unix_socket_path=str(socket), socket_timeout=0.1, retry=retry, protocol=3)
        self.address = str(socket)

    def sync(self) -> redis.Redis:
        return self._client


def moments_of(values: dict[str, list[float]]) -> Moments:
    """From the definition."""
    sums = {user: (sum(given), len(given)) for user, given in values.items()}
    flat = [value for given in values.values() for value in given]
    return Moments(
        len(sums), sum(flat), len(flat), sum(v * v for v in flat), sum(s * s for s, _ in sums.values()),
        sum(s * c for s, c in sums.values()), sum(c * c for _, c in sums.values()),
    )  # fmt: skip


def test_the_picture_is_whole_over_processes(kv: KeyValue, valkey_home: Path) -> None:
    """Four processes, one of which forks, count 400 calls each of 50 users whom they share; every number is what it must be."""
    kv.sync().ping()
    jobs = [[sys.executable, str(WORKER), str(valkey_home), str(n), "50", "400"] for n in range(4)]
    running = [subprocess.Popen([*job, "fork"] if n == 0 else job) for n, job in enumerate(jobs)]
    assert [0] * 4 == [process.wait(60) for process in running]

    values: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    calls: dict[int, list[tuple[bool, float]]] = defaultdict(list)
    for number in range(4):
        for index in range(400):
            user = f"user-{(number * 7 + index * 13) % 50}"
            given = assign(EXPERIMENT, user)
            assert given.arm is not None
            calls[given.release].append((index % 10 == 0, 0.1 * (1 + index % 7)))
            values[given.arm, "errors"][user].append(float(index % 10 == 0))
            values[given.arm, "cost"][user].append(0.01)
            if index % 3 == 0:
                values[given.arm, "solved"][user].append(float(index % 2))
    picture = read_picture(kv, "triage-api")
    assert ["canary@0/control", "canary@0/treatment"] == [cell.label for cell in picture.cells]
    for cell in picture.cells:
        expected = calls[cell.release]
        assert (len(expected), sum(error for error, _ in expected)) == (cell.figures.calls, cell.figures.errors)
        assert sorted(x for _, x in expected)[len(expected) // 2] == pytest.approx(cell.latency(0.5), rel=0.011)
        assert 0.01 == pytest.approx(cell.cost)
    study = read_study(kv, "triage-api", EXPERIMENT.key)
    assert study.whole
    assert {"control+treatment"} == set(study.exposures)
    assert {arm: len(values[arm, "errors"]) for arm in ("control", "treatment")} == dict(
        study.exposures["control+treatment"]
    )
    assert set(values) == set(study.moments)
    for place, found in study.moments.items():
        assert moments_of(values[place]) == pytest.approx(found)
    by_minute = read_minutes(kv, "triage-api", 5)
    assert sum(map(len, calls.values())) == sum(cell.figures.calls for cell in by_minute)
    assert 2 == len(picture.frame())


def test_on_a_cluster(valkey_of: Callable[[str], str], tmp_path: Path) -> None:
    """All keys of a feature are on one node; guardrails and reading work there too."""
    kv, feature = KeyValue(valkey_of("valkey-cluster"), tmp_path), "on-a-cluster"
    write_rules(kv, feature, Rules((Guardrail.p95(1.5),)))
    counters = Counters(kv, every=3600)
    for _ in range(2):
        for user in USERS:
            given = assign(EXPERIMENT, user)
            counters.exposed(feature, given, user)
            counters.called(feature, given, user, latency=2.0, cost=0.01)
        assert counters.flush(), counters.last_fault
    counters.close()
    study = read_study(kv, feature, EXPERIMENT.key)
    assert study.whole
    assert len(USERS) == sum(study.moments[arm, "slow-1.5"].s for arm in ("control", "treatment"))
    assert 2 * len(USERS) == sum(cell.figures.calls for cell in read_minutes(kv, feature, 5))
    assert [feature] == [item.feature for item in guarded(kv)]
    kv.close()


def test_only_the_first_calls_of_a_user_weigh(kv: KeyValue, valkey_home: Path) -> None:
    """`cap` of them in the analysis, whoever counts them; the figures have all."""
    given = assign(EXPERIMENT, TREATED)
    for _ in range(2):
        counters = Counters(kv, every=3600, cap=10)
        for _ in range(25):
            counters.called("triage-api", given, TREATED, error=True)
        assert counters.flush()
        counters.close(0.0)
    assert 10 == read_study(kv, "triage-api", EXPERIMENT.key).moments["treatment", "errors"].c
    assert 50 == read_picture(kv, "triage-api").cells[0].figures.calls


def count(counters: Counters, calls: int, users: int = 40) -> None:
    """Calls of some users, one in ten with an error."""
    for index in range(calls):
        user = f"user-{index % users}"
        given = assign(EXPERIMENT, user)
        counters.exposed("triage-api", given, user)
        counters.called("triage-api", given, user, error=index % 10 == 0, latency=0.2, cost=0.01)


def total(kv: KeyValue) -> int:
    """Calls in the store."""
    return sum(cell.figures.calls for cell in read_picture(kv, "triage-api").cells)


def test_nothing_is_raised_or_lost_while_the_store_is_away(valkey_home: Path) -> None:
    """What was counted before the server is there, and between two lives of it, is sent when it is, and once."""
    server = EmbeddedValkey(valkey_home)
    kv = KeyValue(f"unix://{server.socket}", valkey_home)
    counters = Counters(kv, every=3600)
    count(counters, 500)
    assert not counters.flush()
    assert counters.last_fault
    server.ensure()
    count(counters, 500)
    assert counters.flush()
    assert "" == counters.last_fault
    assert 1_000 == total(kv)
    server.stop()
    count(counters, 500)
    assert not counters.flush()
    assert not counters.flush()
    server.ensure()
    count(counters, 500)
    assert counters.flush()
    assert 2_000 == total(kv)
    study = read_study(kv, "triage-api", EXPERIMENT.key)
    assert study.whole
    assert 40 == study.users("control") + study.users("treatment")
    assert 2_000 == sum(found.c for (_, metric), found in study.moments.items() if metric == "errors")
    counters.close()
    kv.close()


def test_a_batch_without_an_answer_counts_once(kv: KeyValue, valkey_home: Path) -> None:
    """The server is stopped in the middle (SIGSTOP): it applies what it got when it goes on, and passes over the second time."""
    process = int(kv.sync().info("server")["process_id"])
    assert kv.server is not None
    counters = Counters(Impatient(kv.server.socket), every=3600)  # type: ignore[arg-type]
    count(counters, 100)
    os.kill(process, signal.SIGSTOP)
    try:
        assert not counters.flush()
        assert "Timeout" in counters.last_fault
    finally:
        os.kill(process, signal.SIGCONT)
    deadline = time.monotonic() + 60
    while not counters.flush():
        assert time.monotonic() < deadline
    assert 100 == total(kv)
    assert 100 == sum(
        m.c for (_, metric), m in read_study(kv, "triage-api", EXPERIMENT.key).moments.items() if metric == "errors"
    )
    counters.close(0.0)


def test_full_memory_delays_and_loses_nothing(kv: KeyValue) -> None:
    """The script is refused as a whole, and sent again."""
    client, counters = kv.sync(), Counters(kv, every=3600)
    count(counters, 100)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1mb")
    client.config_set("maxmemory", "1")
    assert not counters.flush()
    assert "memory" in counters.last_fault
    client.config_set("maxmemory", "0")
    assert counters.flush()
    assert 100 == total(kv)
    counters.close(0.0)


def test_memory_is_bounded_while_the_store_is_away(valkey_home: Path) -> None:
    """Beyond `most` users the values of others are lost, and how many is told in the store."""
    server = EmbeddedValkey(valkey_home)
    kv = KeyValue(f"unix://{server.socket}", valkey_home)
    counters = Counters(kv, every=3600, most=30)
    count(counters, 400, users=200)
    server.ensure()
    assert counters.flush()
    picture = read_picture(kv, "triage-api")
    assert 400 == sum(cell.figures.calls for cell in picture.cells)
    assert 400 * 3 - 2 * 30 == picture.lost  # of 200 users ten were kept, with three entries each, and came twice
    study = read_study(kv, "triage-api", EXPERIMENT.key)
    assert study.whole
    assert 30 == study.users("control") + study.users("treatment") + sum(found.n for found in study.moments.values())
    counters.close(0.0)
    kv.close()


def test_a_study_of_which_the_store_dropped_a_part_says_so(kv: KeyValue, counters: Counters) -> None:
    """As a full store with a policy for keys that expire would."""
    count(counters, 100)
    assert counters.flush()
    assert read_study(kv, "triage-api", EXPERIMENT.key).whole
    [name] = kv.sync().keys("*:u:*|treatment|errors")
    kv.sync().delete(name)
    assert not read_study(kv, "triage-api", EXPERIMENT.key).whole


def test_guardrails_reach_who_counts(kv: KeyValue, counters: Counters) -> None:
    """From the first sending on: what is slow, and the users of the live release by itself."""
    write_rules(kv, "triage-api", Rules((Guardrail.p95(1.5), Guardrail("errors", limit=0.1))))
    given = assign(EXPERIMENT, TREATED)
    other = assign(EXPERIMENT, next(user for user in USERS if assign(EXPERIMENT, user).arm == "control"))
    counters.called("triage-api", given, TREATED, latency=9.0)
    assert counters.flush()
    counters.called("triage-api", given, TREATED, latency=1.0)
    counters.called("triage-api", given, TREATED, latency=2.0)
    counters.called("triage-api", other, "someone", latency=1.0)
    assert counters.flush()
    study, live = read_study(kv, "triage-api", EXPERIMENT.key), read_study(kv, "triage-api", "release-1")
    assert (1, 2) == (study.moments["treatment", "slow-1.5"].s, study.moments["treatment", "slow-1.5"].c)
    assert {("live", "errors"), ("live", "slow-1.5")} == set(live.moments)
    assert 1 == live.moments["live", "errors"].n


def test_nobody_and_testers_are_in_no_study(kv: KeyValue, counters: Counters) -> None:
    """Only in the figures."""
    from dataclasses import replace

    counters.called("triage-api", assign(EXPERIMENT, None), None, cost=float("nan"), latency=float("nan"))
    tester = assign(replace(EXPERIMENT, overrides={"tess": "treatment"}), "tess")
    counters.exposed("triage-api", tester, "tess")
    counters.called("triage-api", tester, "tess", latency=-1.0)
    counters.outcome("triage-api", tester, None, "solved", 1.0)
    assert counters.flush()
    picture = read_picture(kv, "triage-api")
    assert [(1, "live"), (2, "tester")] == [(cell.release, cell.label) for cell in picture.cells]
    assert [(1, 1, None)] * 2 == [(c.figures.calls, c.figures.unpriced, c.latency(0.5)) for c in picture.cells]
    assert {} == dict(read_study(kv, "triage-api", EXPERIMENT.key).moments)


def test_the_background_sends_by_itself(kv: KeyValue) -> None:
    """Without `flush`, and again after that."""
    counters = Counters(kv, every=0.01)
    for wanted in (50, 100):
        count(counters, 50)
        deadline = time.monotonic() + 60
        while total(kv) < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert 100 == total(kv)
    counters.close()


def test_a_script_that_just_ends_has_counted(kv: KeyValue, valkey_home: Path) -> None:
    """The rest is sent when the interpreter ends."""
    kv.sync().ping()
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from workbench.online.assignment import Assignment\nfrom workbench.online.counters import Counters\n"
        "from workbench.stores.keyvalue import KeyValue\n"
        "Counters(KeyValue(None, Path(sys.argv[1])), every=3600).called('f', Assignment(3), 'u')\n"
        "kept = Counters(KeyValue(None, Path(sys.argv[1])), every=3600)\nkept.called('triage-api', Assignment(3), 'u')\n"
    )
    subprocess.run([sys.executable, "-c", script, str(valkey_home)], check=True, timeout=60)
    assert 1 == total(kv)


def test_no_outcome_and_no_store_are_told(counters: Counters, tmp_path: Path) -> None:
    """A wrong name or number to who gives it, a store that is away to who reads."""
    given = assign(EXPERIMENT, TREATED)
    for name, value, says in (
        ("errors", 1.0, "counted by itself"), ("slow-2", 1.0, "counted by itself"), ("a b", 1.0, "not usable as a name"),
        ("solved", float("nan"), "must be a number"),
        ("solved", 10**400, "= 1000000"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=says):
            counters.outcome("triage-api", given, TREATED, name, value)
    with pytest.raises(StoreError, match="workbench doctor"):
        read_picture(KeyValue(f"unix://{tmp_path}/nobody", tmp_path), "triage-api")
